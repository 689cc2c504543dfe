//! Results in every version of the specification, compared byte for byte.

use crate::common::{bridge, dual, host_end, ipv4, ipv6, layer2};
use serde_json::{Value, json};
use testkit::{Host, Node, Run, VERSIONS, leases};

/// The formats of results, by the versions that have them.
#[derive(Clone, Copy)]
struct Texts {
    until_0_2: &'static str,
    until_0_4: &'static str,
    since_1_0: &'static str,
}

macro_rules! texts {
    ($name:literal) => {
        Texts {
            until_0_2: include_str!(concat!("results/", $name, "-0.1.json")),
            until_0_4: include_str!(concat!("results/", $name, "-0.3.json")),
            since_1_0: include_str!(concat!("results/", $name, "-1.0.json")),
        }
    };
}

impl Texts {
    fn of(self, version: &str) -> &'static str {
        match version {
            "0.1.0" | "0.2.0" => self.until_0_2,
            "1.0.0" | "1.1.0" => self.since_1_0,
            _ => self.until_0_4,
        }
    }
}

/// The expected text with the names and hardware addresses of the links.
fn fill_in(text: &str, version: &str, host: &Host, container: &impl Node, run: &Run) -> String {
    let mut text = text.trim_end().replace("VERSION", version);
    if version == "1.1.0" {
        // The first version whose interfaces have an MTU.
        text = text.replace("_MAC\",", "_MAC\",\n            \"mtu\": 1500,");
    }
    if text.contains("HOST_VETH") {
        let veth = host_end(run);
        let mac = |mac: Value| mac.as_str().unwrap().to_owned();
        text = text
            .replace("HOST_MAC", &mac(host.link_attribute(&veth, "/address")))
            .replace("HOST_VETH", &veth)
            .replace("BRIDGE_MAC", &mac(host.link_attribute("cni0", "/address")))
            .replace(
                "CONTAINER_MAC",
                &mac(container.link_attribute("eth0", "/address")),
            );
    }
    text
}

/// ADD, CHECK, DEL and DEL again in every version.
fn round_trips(config: &Value, texts: Texts) {
    let host = Host::new();
    for version in VERSIONS {
        let container = host.container("c1");
        let untouched = host.snapshot().lines("c1 link").join("\n");
        let mut config = config.clone();
        config["cniVersion"] = version.into();

        let run = bridge().add(&container, &config).expect_ok();
        assert_eq!(
            run.stdout_text(),
            fill_in(texts.of(version), version, &host, &container, &run),
            "{version}"
        );
        assert_eq!(run.stderr_text(), "", "{version}");

        let check = bridge().check(&container, &run.with_prev());
        if version >= "0.4.0" {
            assert_eq!(check.expect_ok().stdout_text(), "");
        } else {
            check
                .expect_error(1)
                .mentions("config version does not allow CHECK");
        }
        for _ in 0..2 {
            let del = bridge().del(&container, &run.with_prev()).expect_ok();
            assert_eq!((del.stdout_text(), del.stderr_text()), Default::default());
            assert_eq!(host.link_names(), ["cni0", "lo"]);
            assert_eq!(host.snapshot().lines("c1 link").join("\n"), untouched);
            assert_eq!(leases("net"), [""; 0]);
        }
        // Every version is to get the same addresses.
        host.command(&["rm", "-r", "/var/lib/cni/networks"]);
    }
}

fn configured() -> Value {
    json!({
        "isDefaultGateway": true,
        "dns": {"nameservers": ["10.1.0.1"], "search": ["example.org"]},
    })
}

#[test]
fn ipv4_results() {
    round_trips(&ipv4(configured()), texts!("ipv4"));
}

#[test]
fn ipv6_results() {
    round_trips(&ipv6(configured()), texts!("ipv6"));
}

#[test]
fn dual_stack_results() {
    round_trips(&dual(configured()), texts!("dual"));
}

#[test]
fn results_without_ipam() {
    let host = Host::new();
    for version in VERSIONS {
        let container = host.container("c1");
        let config = layer2(json!({"cniVersion": version}));
        let before = host.snapshot();
        let run = bridge().add(&container, &config);
        if version < "0.3.0" {
            run.expect_error(999)
                .mentions("cannot convert: no valid IP addresses");
            before.assert_same(&host.snapshot());
            continue;
        }
        let run = run.expect_ok();
        let text = match version.starts_with('0') {
            true => include_str!("results/layer2-0.3.json"),
            false => include_str!("results/layer2-1.0.json"),
        };
        assert_eq!(
            run.stdout_text(),
            fill_in(text, version, &host, &container, &run)
        );
        if version >= "0.4.0" {
            bridge().check(&container, &run.with_prev()).expect_ok();
        }
        bridge().del(&container, &config).expect_ok();
        bridge().del(&container, &config).expect_ok();
        assert_eq!(container.link_names(), ["lo"]);
    }
}

#[test]
fn an_absent_or_empty_version_is_0_1_0() {
    for version in [Value::Null, "".into()] {
        let host = Host::new();
        let container = host.container("c1");
        let mut config = dual(configured());
        config["cniVersion"] = version;
        let run = bridge().add(&container, &config).expect_ok();
        let expected = fill_in(texts!("dual").until_0_2, "0.1.0", &host, &container, &run);
        assert_eq!(run.stdout_text(), expected);
    }
}

#[test]
fn supported_versions() {
    let reply = bridge().version().expect_ok().json();
    assert_eq!(
        reply,
        json!({"cniVersion": "1.1.0", "supportedVersions": VERSIONS})
    );
}
