//! STATUS tells whether ADD would work now: code 50, or 51 if existing containers are affected too, with what to do in
//! the details. It changes nothing.

use serde_json::{Value, json};
use testkit::{Host, Node, Plugin, has, merge, needs};

fn network(plugin: &str, keys: &Value) -> Value {
    let config = json!({"cniVersion": "1.1.0", "name": "net", "type": plugin, "ipam": ipam()});
    merge(config, keys)
}

fn ipam() -> Value {
    json!({"type": "host-local", "ranges": [[{"subnet": "10.60.0.0/24"}]]})
}

/// A host with the link `up0`, which is up and can be a master.
fn host() -> Host {
    let host = Host::new();
    host.ip("link add up0 type veth peer name far0");
    host.ip("link set up0 up");
    host
}

#[track_caller]
fn is_ready(host: &Host, config: &Value) {
    let before = host.snapshot();
    let plugin = config["type"].as_str().expect("a type");
    let run = Plugin::new(plugin).status(config).expect_ok();
    assert_eq!((run.stdout_text(), run.stderr_text()), Default::default());
    before.assert_same(&host.snapshot());
}

/// `hint` is in the details, which must not be empty.
#[track_caller]
fn fails(host: &Host, config: &Value, code: u64, words: &str, hint: &str) {
    let before = host.snapshot();
    let plugin = config["type"].as_str().expect("a type");
    let error = Plugin::new(plugin).status(config).expect_error(code);
    assert!(error.msg.contains(words), "{}", error.text());
    assert!(
        !hint.is_empty() && error.details.contains(hint),
        "{}",
        error.text()
    );
    before.assert_same(&host.snapshot());
}

/// Kinds of links that some of the kernels of the tests lack.
const KINDS: [&str; 4] = ["dummy", "ipvlan", "vlan", "vrf"];

fn needs_kind(kind: &str) -> Value {
    network(
        kind,
        &json!({"master": "up0", "vlanId": 5, "vrfname": "red"}),
    )
}

/// On the kernel that most tests run on, some of [`KINDS`] are missing.
#[test]
fn a_missing_kind_of_link_is_reported() {
    let host = host();
    for kind in KINDS {
        let config = needs_kind(kind);
        match has(kind) {
            true => is_ready(&host, &config),
            false => {
                let words = format!("the kernel has no links of the kind {kind}");
                let hint = format!("modprobe rtnl-link-{kind}");
                fails(&host, &config, 50, &words, &hint);
                let in_container = merge(config, &json!({"linkInContainer": true}));
                fails(&host, &in_container, 50, &words, &hint);
            }
        }
    }
    for plugin in ["bridge", "ptp", "macvlan"] {
        is_ready(
            &host,
            &network(plugin, &json!({"master": "up0", "isGateway": true})),
        );
    }
}

#[test]
fn existing_kinds_of_links_are_ready() {
    needs(&KINDS);
    let host = host();
    for kind in KINDS {
        is_ready(&host, &needs_kind(kind));
    }
}

/// The masters of vlan and ipvlan are tested where the kernel has these kinds.
fn masters(plugins: &[&str]) {
    let host = host();
    host.ip("link add down0 type veth peer name far1");
    host.ip("link add br0 type bridge");
    host.ip("link add port0 master br0 type veth peer name far2");
    for plugin in plugins {
        let on = |master: &str| network(plugin, &json!({"master": master, "vlanId": 5}));
        is_ready(&host, &on("up0"));
        fails(
            &host,
            &on("gone0"),
            50,
            "failed to lookup master \"gone0\"",
            "ip link",
        );
        fails(
            &host,
            &on("down0"),
            51,
            "master \"down0\" is down",
            "ip link set down0 up",
        );
        let too_large = merge(on("up0"), &json!({"mtu": 9000}));
        fails(&host, &too_large, 50, "invalid MTU 9000", "lower \"mtu\"");
        if *plugin != "vlan" {
            fails(&host, &on("port0"), 50, "port of a bridge", "ip link");
            fails(&host, &on("lo"), 50, "loopback", "ip link");
        }
        if *plugin == "macvlan" {
            fails(
                &host,
                &on(""),
                50,
                "no default route interface found",
                "set \"master\"",
            );
        }
    }
}

#[test]
fn masters_of_macvlan() {
    masters(&["macvlan"]);
}

#[test]
fn masters_of_ipvlan_and_vlan() {
    needs(&["ipvlan", "vlan"]);
    masters(&["ipvlan", "vlan"]);
}

#[test]
fn a_missing_ipam_plugin_is_reported() {
    let host = host();
    let plugins = ["bridge", "ptp", "macvlan", "tap", "host-device"];
    for plugin in plugins {
        let keys = json!({"master": "up0", "device": "up0"});
        let config = network(plugin, &keys);
        is_ready(&host, &config);
        let missing = merge(config, &json!({"ipam": {"type": "nosuch"}}));
        let words = "failed to find plugin \"nosuch\" in path";
        fails(
            &host,
            &missing,
            50,
            words,
            "install the plugin into one of the directories of CNI_PATH",
        );
    }
    for kind in ["dummy", "ipvlan", "vlan"]
        .into_iter()
        .filter(|kind| has(kind))
    {
        let missing = merge(needs_kind(kind), &json!({"ipam": {"type": "nosuch"}}));
        fails(
            &host,
            &missing,
            50,
            "failed to find plugin \"nosuch\" in path",
            "CNI_PATH",
        );
    }
}

#[test]
fn what_ipam_reports_is_reported() {
    let host = host();
    for plugin in ["bridge", "ptp", "macvlan", "tap", "host-device"] {
        let with = |ipam: Value| {
            let keys = json!({"master": "up0", "device": "up0", "ipam": null});
            merge(network(plugin, &keys), &json!({"ipam": ipam}))
        };
        let dhcp = with(json!({"type": "dhcp"}));
        fails(&host, &dhcp, 50, "dhcp.sock", "dhcp daemon");
        let full = json!({"type": "host-local", "dataDir": "/run/full", "ranges": [[
            {"subnet": "10.61.0.0/24", "rangeStart": "10.61.0.9", "rangeEnd": "10.61.0.9"}]]});
        std::fs::create_dir_all("/run/full/net").expect("create the state directory");
        std::fs::write("/run/full/net/10.61.0.9", "other\r\neth0").expect("reserve the address");
        fails(
            &host,
            &with(full),
            50,
            "host-local cannot reserve addresses",
            "10.61.0.9",
        );
    }
}

#[test]
fn forwarding_that_cannot_be_enabled_is_reported() {
    let host = host();
    let configs = [
        network("ptp", &json!({})),
        network("bridge", &json!({"isGateway": true})),
    ];
    host.set_sysctl("net/ipv4/ip_forward", "0");
    configs.iter().for_each(|config| is_ready(&host, config));
    host.make_read_only("/proc/sys");
    for config in &configs {
        fails(
            &host,
            config,
            50,
            "forwarding is off and cannot be enabled: net/ipv4/ip_forward: read-only file system",
            "set net.ipv4.ip_forward to 1",
        );
    }
    // A bridge that is no gateway needs none.
    is_ready(&host, &network("bridge", &json!({})));
    host.unmount("/proc/sys");
    host.set_sysctl("net/ipv4/ip_forward", "1");
    host.make_read_only("/proc/sys");
    configs.iter().for_each(|config| is_ready(&host, config));
}

#[test]
fn a_bridge_of_another_kind_is_reported() {
    let host = host();
    let config = network("bridge", &json!({"bridge": "up0"}));
    fails(
        &host,
        &config,
        50,
        "already exists but is not a bridge",
        "another name",
    );
}

/// The bridge does not exist yet.
#[test]
fn missing_vlan_filtering_is_reported() {
    let host = host();
    let config = network("bridge", &json!({"vlan": 100}));
    match has("bridge-vlan-filtering") {
        true => is_ready(&host, &config),
        false => fails(&host, &config, 50, "vlan", "CONFIG_BRIDGE_VLAN_FILTERING"),
    }
}

#[test]
fn a_missing_tun_device_is_reported() {
    let host = host();
    let config = network("tap", &json!({}));
    is_ready(&host, &config);
    host.mount_tmpfs("/dev/net", "size=4k");
    let words = "cannot create taps: /dev/net/tun: no such file or directory";
    fails(&host, &config, 50, words, "modprobe tun");
    host.unmount("/dev/net");
}

#[test]
fn a_kernel_without_ipv6_is_reported() {
    needs(&["no-ipv6"]);
    let host = host();
    for plugin in ["bridge", "ptp", "macvlan", "host-device"] {
        let config = network(plugin, &json!({"master": "up0", "device": "up0"}));
        is_ready(&host, &config);
        let subnet = json!({"subnet": "fd00:60::/64"});
        let ranges = json!({"ipam": {"type": "host-local", "ranges": [[subnet]]}});
        let words = "ipam has IPv6 addresses, and the kernel has no IPv6";
        fails(&host, &merge(config, &ranges), 50, words, "ipv6.disable=1");
    }
}

#[test]
fn sysctls_that_containers_lack_are_reported() {
    let host = host();
    let set = |key: &str| {
        let keys = json!({"ipam": null, "sysctl": {key: "1"}});
        network("tuning", &keys)
    };
    for key in [
        "net.core.somaxconn",
        "net.ipv4.conf.IFNAME.arp_filter",
        "net.ipv4.conf.eth0.arp_filter",
        "net/ipv4/conf/eth0.100/arp_filter",
        "net.ipv6.conf.all.disable_ipv6",
        "net.ipv6.neigh.net1.retrans_time_ms",
        "net.ipv4.route.flush",
    ] {
        is_ready(&host, &set(key));
    }
    for key in [
        "net.ipv4.nosuch",
        "net.ipv4.conf.IFNAME.nosuch",
        "net.ipv4.conf.eth0",
        // The host has it.
        "net.core.netdev_max_backlog",
    ] {
        let words = format!("failed to set sysctl \"{key}\": no such sysctl");
        fails(&host, &set(key), 50, &words, "remove it from \"sysctl\"");
    }
}

#[test]
fn queues_that_the_kernel_lacks_are_reported() {
    let host = host();
    let rates = json!({"ipam": null, "ingressRate": 5_000_000, "ingressBurst": 500_000,
                       "egressRate": 5_000_000, "egressBurst": 500_000});
    let config = network("bandwidth", &rates);
    is_ready(&host, &config);
    is_ready(
        &host,
        &merge(config.clone(), &json!({"unshapedSubnets": ["10.0.0.0/8"]})),
    );
    for queue in ["fq_codel", "fq"] {
        let queued = merge(config.clone(), &json!({"queue": queue}));
        match has(queue) {
            true => is_ready(&host, &queued),
            false => {
                let hint = format!("load the module sch_{queue}");
                fails(&host, &queued, 50, "create qdisc", &hint);
            }
        }
    }
}

#[test]
fn queues_are_ready() {
    needs(&["fq_codel", "fq"]);
    let host = host();
    for queue in ["fq_codel", "fq"] {
        let rates =
            json!({"ipam": null, "queue": queue, "egressRate": 5_000_000, "egressBurst": 500_000});
        is_ready(&host, &network("bandwidth", &rates));
    }
}

#[test]
fn a_missing_packet_filter_is_reported() {
    let _host = host();
    let configs = [
        ("portmap", json!({"backend": "iptables"})),
        ("firewall", json!({"backend": "iptables"})),
        (
            "bridge",
            json!({"ipMasq": true, "ipMasqBackend": "iptables", "isGateway": true}),
        ),
        ("ptp", json!({"ipMasq": true, "ipMasqBackend": "iptables"})),
    ];
    for (plugin, keys) in configs {
        let status = |path: &str| {
            let status = Plugin::new(plugin).command("STATUS");
            status
                .config(&network(plugin, &keys))
                .env("PATH", path)
                .run()
        };
        status("/usr/sbin:/usr/bin:/sbin:/bin").expect_ok();
        let error = status("/nowhere").expect_error(50);
        assert!(error.msg.contains("iptables"), "{}", error.text());
        assert!(
            error.details.contains("install iptables"),
            "{}",
            error.text()
        );
    }
}

/// Nothing on the host is needed.
#[test]
fn plugins_without_needs_are_ready() {
    let host = host();
    let plain = json!({"ipam": {"type": "static", "addresses": [{"address": "10.60.0.9/24"}]}});
    for config in [
        network("loopback", &json!({"ipam": null})),
        network("sbr", &json!({"ipam": null})),
        network("static", &plain),
    ] {
        is_ready(&host, &config);
    }
}
