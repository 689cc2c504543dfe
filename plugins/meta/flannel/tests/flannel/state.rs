//! What is kept for DEL, and where.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::common::{
    IPV4, STATE, SUBNET_FILE, config, flannel, host, read_state, states, write_state,
};
use serde_json::{Value, json};
use testkit::{Container, Node, Plugin, leases};

/// What upstream keeps of network `net`.
const UPSTREAM: &str = r#"{"cniVersion":"1.1.0","ipMasq":false,"ipam":{"ranges":[[{"subnet":"10.1.17.0/24"}]],"routes":[{"dst":"10.1.0.0/16"}],"type":"host-local"},"isGateway":true,"mtu":1472,"name":"net","type":"bridge"}"#;

fn call(verb: &str, container: &Container, if_name: &str, config: &Value) -> testkit::Run {
    let call = flannel().command(verb).container(container);
    call.ifname(if_name).config(config).run()
}

#[test]
fn records_have_upstreams_form() {
    let host = host(IPV4);
    let container = host.container("c1");
    flannel().add(&container, &config(json!({}))).expect_ok();
    assert_eq!(states(), ["c1", "c1:net:eth0"]);
    for name in states() {
        assert_eq!(read_state(&name), UPSTREAM);
        let mode = fs::metadata(format!("{STATE}/{name}"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let mode = fs::metadata(STATE).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

/// Upstream has attached the container; all that it has left is its file.
#[test]
fn records_of_upstream_are_used() {
    let host = host(IPV4);
    let container = host.container("c1");
    let state: Value = serde_json::from_str(UPSTREAM).unwrap();
    let added = Plugin::new("bridge").add(&container, &state).expect_ok();
    write_state("c1", UPSTREAM);
    fs::remove_file(SUBNET_FILE).unwrap();
    let config = config(json!({"prevResult": added.json()}));
    flannel().check(&container, &config).expect_ok();
    flannel().del(&container, &config).expect_ok();
    assert_eq!(leases("net"), [""; 0]);
    assert_eq!(container.link("eth0"), None);
    assert_eq!(states(), [""; 0]);
}

/// Upstream's DEL has removed its file, and its next ADD has written another: that one
/// counts, not what is left of ours.
#[test]
fn upstream_uses_our_records() {
    let host = host(IPV4);
    let container = host.container("c1");
    flannel().add(&container, &config(json!({}))).expect_ok();
    let newer = UPSTREAM.replace("host-local", "nosuchplugin");
    write_state("c1", &newer);
    flannel()
        .del(&container, &config(json!({})))
        .expect_error(999)
        .mentions("nosuchplugin");
    write_state("c1", UPSTREAM);
    flannel().del(&container, &config(json!({}))).expect_ok();
    assert_eq!(states(), [""; 0]);
}

/// One container on two networks, which have but one of upstream's files.
#[test]
fn two_networks() {
    let host = host(IPV4);
    let container = host.container("c1");
    let second = |verb: &str| {
        let bridge = json!({"delegate": {"bridge": "cni1", "isGateway": false}, "name": "other"});
        call(verb, &container, "net1", &config(bridge)).expect_ok()
    };
    flannel().add(&container, &config(json!({}))).expect_ok();
    second("ADD");
    assert_eq!(states(), ["c1", "c1:net:eth0", "c1:other:net1"]);
    assert_eq!(read_state("c1"), UPSTREAM);
    flannel().del(&container, &config(json!({}))).expect_ok();
    assert_eq!(states(), ["c1:other:net1"]);
    assert_eq!(leases("other"), ["10.1.17.2"]);
    second("DEL");
    assert_eq!(states(), [""; 0]);
    assert_eq!(leases("other"), [""; 0]);
    // And the other way round.
    flannel().add(&container, &config(json!({}))).expect_ok();
    second("ADD");
    second("DEL");
    assert_eq!(states(), ["c1", "c1:net:eth0"]);
    flannel().del(&container, &config(json!({}))).expect_ok();
    assert_eq!((states(), leases("net")), Default::default());
}

#[test]
fn two_interfaces_of_one_network() {
    let host = host(IPV4);
    let container = host.container("c1");
    for if_name in ["eth0", "net1"] {
        call("ADD", &container, if_name, &config(json!({}))).expect_ok();
    }
    assert_eq!(states(), ["c1", "c1:net:eth0", "c1:net:net1"]);
    // Twice, as the first may have been cut short.
    for _ in 0..2 {
        call("DEL", &container, "eth0", &config(json!({}))).expect_ok();
        assert_eq!(states(), ["c1", "c1:net:net1"]);
        assert_eq!(leases("net").len(), 1);
        assert!(container.link("net1").is_some());
    }
    call("DEL", &container, "net1", &config(json!({}))).expect_ok();
    assert_eq!((states(), leases("net")), Default::default());
}

/// A crash in the middle of upstream's writing.
#[test]
fn what_cannot_be_read() {
    for broken in ["", "{", "null", "{\"type\":5}", "\u{0}\u{0}"] {
        let host = host(IPV4);
        let container = host.container("c1");
        flannel().add(&container, &config(json!({}))).expect_ok();
        let broken_files = |names: &[&str]| {
            for name in names {
                write_state(name, broken);
            }
        };
        broken_files(&["c1", "c1:net:eth0"]);
        let check = config(json!({"prevResult": {"cniVersion": "1.1.0"}}));
        flannel()
            .check(&container, &check)
            .expect_error(999)
            .mentions("does not hold the configuration");
        flannel().del(&container, &config(json!({}))).expect_ok();
        assert_eq!((states(), leases("net")), Default::default(), "{broken:?}");
        // One of the two is enough.
        flannel().add(&container, &config(json!({}))).expect_ok();
        broken_files(&["c1"]);
        fs::remove_file(SUBNET_FILE).unwrap();
        flannel().del(&container, &config(json!({}))).expect_ok();
        assert_eq!((states(), leases("net")), Default::default(), "{broken:?}");
    }
}

/// A name that is too long for a file.
#[test]
fn a_long_name() {
    let host = host(IPV4);
    let container = host.container("c1");
    let config = config(json!({"name": "n".repeat(250)}));
    flannel().add(&container, &config).expect_ok();
    assert_eq!(states().len(), 2);
    flannel().del(&container, &config).expect_ok();
    assert_eq!(states(), [""; 0]);
}

#[test]
fn another_directory() {
    let host = host(IPV4);
    let container = host.container("c1");
    let config = config(json!({"dataDir": "/run/elsewhere/flannel"}));
    flannel().add(&container, &config).expect_ok();
    assert_eq!(states(), [""; 0]);
    assert_eq!(fs::read_dir("/run/elsewhere/flannel").unwrap().count(), 2);
    flannel().del(&container, &config).expect_ok();
    assert_eq!(fs::read_dir("/run/elsewhere/flannel").unwrap().count(), 0);
}

/// Nothing is attached that could not be detached.
#[test]
fn an_unwritable_data_dir() {
    let host = host(IPV4);
    let container = host.container("c1");
    fs::create_dir_all(STATE).unwrap();
    host.make_read_only(STATE);
    flannel()
        .add(&container, &config(json!({})))
        .expect_error(999)
        .mentions("cannot write /var/lib/cni/flannel/c1:net:eth0: read-only file system");
    assert_eq!(container.link_names(), ["lo"]);
    host.unmount(STATE);
    fs::remove_dir(STATE).unwrap();
    fs::write(STATE, "a file").unwrap();
    let error = flannel()
        .add(&container, &config(json!({})))
        .expect_error(999);
    error.mentions("cannot create /var/lib/cni/flannel");
    flannel().del(&container, &config(json!({}))).expect_ok();
}
