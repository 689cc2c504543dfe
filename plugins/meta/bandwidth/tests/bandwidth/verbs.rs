//! ADD, CHECK and DEL in every version.

use crate::common::{IFB, bandwidth, bare, both, host, qdisc, run};
use rtnl::{QdiscInfo, Tbf, TcHandle};
use serde_json::{Value, json};
use testkit::{Host, Node};

#[test]
fn version() {
    let _host = Host::new();
    let reply = bandwidth().version().expect_ok().json();
    let versions = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
    assert_eq!(
        reply,
        json!({"cniVersion": "1.1.0", "supportedVersions": versions})
    );
}

/// The result of the previous plugins in `version`.
fn result(version: &str) -> Value {
    let old = version < "1.0.0";
    let mut result = json!({
        "cniVersion": version,
        "interfaces": [
            {"name": "br0", "mac": "02:00:00:00:00:01"},
            {"name": "veth1", "mac": "02:00:00:00:00:02"},
            {"name": "eth0", "mac": "02:00:00:00:00:03", "sandbox": "/run/netns/c1"},
        ],
        "ips": [
            {"interface": 2, "address": "10.1.0.2/24", "gateway": "10.1.0.1"},
            {"interface": 2, "address": "fd00:1::2/64"},
        ],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.9.0.0/16", "gw": "10.1.0.9"}],
        "dns": {"nameservers": ["10.1.0.53"], "search": ["example.org"]},
    });
    if old {
        result["ips"][0]["version"] = json!("4");
        result["ips"][1]["version"] = json!("6");
    }
    if version == "1.1.0" {
        result["interfaces"][2]["mtu"] = json!(1500);
        result["routes"][1]["mtu"] = json!(1400);
    }
    result
}

#[test]
fn every_version() {
    let (host, container) = host();
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let before = host.snapshot();
        let config = both(json!({"cniVersion": version, "prevResult": result(version)}));
        let run = bandwidth().add(&container, &config).expect_ok();
        let ifb = host.link(IFB).expect("the ifb");
        let mut expected = result(version);
        let interfaces = expected["interfaces"].as_array_mut().unwrap();
        interfaces.push(json!({"name": IFB, "mac": ifb["address"]}));
        assert_eq!(run.json(), expected, "{version}");
        assert_eq!(run.stderr_text(), "", "{version}");
        // The output is the previous result with the ifb added.
        let idle = merge_away_rates(&run.with_prev());
        let again = bandwidth().add(&container, &idle).expect_ok();
        assert_eq!(again.stdout_text(), run.stdout_text());

        let check = bandwidth().check(&container, &run.with_prev());
        if version >= "0.4.0" {
            assert_eq!(check.expect_ok().stdout_text(), "");
        } else {
            check
                .expect_error(1)
                .mentions("config version does not allow CHECK");
        }
        for _ in 0..2 {
            let del = bandwidth().del(&container, &run.with_prev()).expect_ok();
            assert_eq!((del.stdout_text(), del.stderr_text()), Default::default());
            before.assert_same(&host.snapshot());
        }
    }
    let old = both(json!({"cniVersion": "0.2.0"}));
    bandwidth()
        .add(&container, &old)
        .expect_error(1)
        .mentions("incompatible CNI versions");
}

fn merge_away_rates(config: &Value) -> Value {
    testkit::merge(
        config.clone(),
        &json!({"ingressRate": null, "ingressBurst": null, "egressRate": null, "egressBurst": null}),
    )
}

fn tbf(rate: u64, limit: u32, buffer: u32) -> Option<QdiscInfo> {
    Some(QdiscInfo::Tbf(Tbf {
        rate,
        limit,
        buffer,
    }))
}

#[test]
fn qdiscs_and_filters() {
    let (host, container) = host();
    run(&host, "ip link set veth1 mtu 1400");
    bandwidth().add(&container, &both(json!({}))).expect_ok();
    let root = |link| qdisc(link, TcHandle::ROOT).map(|qdisc| qdisc.info);
    // 100 kB last 0.1 s at a rate of 1 MB/s; a tick is 64 ns.
    assert_eq!(root("veth1"), tbf(1_000_000, 125_000, 1_562_500));
    assert_eq!(root(IFB), tbf(2_000_000, 250_000, 1_562_500));
    let ifb = host.link(IFB).expect("the ifb");
    assert_eq!(ifb["mtu"], 1400);
    assert_eq!(ifb["linkinfo"]["info_kind"], "ifb");
    assert_eq!(ifb["ifalias"], "cni:net/c1/eth0");
    assert!(ifb["flags"].as_array().unwrap().contains(&json!("UP")));
    assert_eq!(ifb["txqlen"], Value::Null);
    let filters = host.command(&["tc", "filter", "show", "dev", "veth1", "ingress"]);
    let redirect = format!("(Egress Redirect to device {IFB}) stolen");
    assert!(filters.contains(&redirect), "{filters}");
    // Packets pass in both directions.
    container.ping("10.1.0.1");
    container.ping("fd00:1::1");
}

#[test]
fn one_direction_only() {
    let (host, container) = host();
    let before = host.snapshot();
    let ingress = bare(json!({"ingressRate": 8000, "ingressBurst": 80_000}));
    let run = bandwidth().add(&container, &ingress).expect_ok();
    assert_eq!(run.json(), ingress["prevResult"]);
    assert_eq!(host.link(IFB), None);
    assert_eq!(qdisc("veth1", TcHandle::INGRESS), None);
    bandwidth().check(&container, &run.with_prev()).expect_ok();
    bandwidth().del(&container, &run.with_prev()).expect_ok();
    before.assert_same(&host.snapshot());

    let egress = bare(json!({"egressRate": 8000, "egressBurst": 80_000}));
    let run = bandwidth().add(&container, &egress).expect_ok();
    let root = qdisc("veth1", TcHandle::ROOT).expect("the kernel's own");
    assert_eq!(root.kind, "noqueue");
    bandwidth().check(&container, &run.with_prev()).expect_ok();
    bandwidth().del(&container, &run.with_prev()).expect_ok();
    before.assert_same(&host.snapshot());
}

#[test]
fn nothing_to_shape() {
    let (host, container) = host();
    let before = host.snapshot();
    let zero = json!({"ingressRate": 0, "ingressBurst": 0, "egressRate": 0, "egressBurst": 0});
    for extra in [
        json!({}),
        zero.clone(),
        json!({"runtimeConfig": {}}),
        json!({"runtimeConfig": {"bandwidth": null}}),
        json!({"runtimeConfig": {"bandwidth": zero}}),
    ] {
        let config = bare(extra);
        let run = bandwidth().add(&container, &config).expect_ok();
        assert_eq!(run.json(), config["prevResult"]);
        bandwidth().check(&container, &config).expect_ok();
        bandwidth().del(&container, &config).expect_ok();
        before.assert_same(&host.snapshot());
        // Upstream dies of this one.
        let alone = testkit::merge(config, &json!({"prevResult": null}));
        let error = bandwidth().add(&container, &alone).expect_error(999);
        error.mentions("must be called as chained plugin");
    }
}

#[test]
fn rates_of_the_runtime() {
    let (_host, container) = host();
    let rate = |config: &Value| {
        let run = bandwidth().add(&container, config).expect_ok();
        let rate = match qdisc("veth1", TcHandle::ROOT).map(|qdisc| qdisc.info) {
            Some(QdiscInfo::Tbf(tbf)) => tbf.rate,
            _ => 0,
        };
        bandwidth().check(&container, &run.with_prev()).expect_ok();
        bandwidth().del(&container, &run.with_prev()).expect_ok();
        rate
    };
    let runtime = json!({"ingressRate": 8000, "ingressBurst": 80_000});
    let with = |extra: Value| {
        let runtime = bare(json!({"runtimeConfig": {"bandWidth": runtime}}));
        testkit::merge(runtime, &extra)
    };
    assert_eq!(rate(&with(json!({}))), 1000);
    // Each of the four keys puts the runtime's out of force, whatever it says.
    assert_eq!(
        rate(&with(
            json!({"ingressRate": 16_000, "ingressBurst": 80_000})
        )),
        2000
    );
    for key in ["ingressRate", "ingressBurst", "egressRate", "EGRESSBURST"] {
        assert_eq!(rate(&with(json!({key: 0}))), 0, "{key}");
        let mut config = with(json!({}));
        config[key] = Value::Null;
        assert_eq!(rate(&config), 0, "{key}");
    }
    // The plugin's other keys do not.
    assert_eq!(rate(&with(json!({"latency": "25ms"}))), 1000);
}

#[test]
fn status() {
    let _host = Host::new();
    let config = json!({"cniVersion": "1.1.0", "name": "net", "type": "bandwidth"});
    bandwidth().status(&config).expect_ok();
    let rated = json!({"ingressRate": 8000, "ingressBurst": 80_000});
    bandwidth()
        .status(&testkit::merge(config.clone(), &rated))
        .expect_ok();
    let broken = testkit::merge(config, &json!({"ingressRate": 8000}));
    bandwidth()
        .status(&broken)
        .expect_error(999)
        .mentions("burst must also be set");
}
