//! Bad input is refused before anything is changed.

use crate::common::{TAP, added, eth0};
use serde_json::{Value, json};
use testkit::table::cases;
use testkit::{ErrorReply, Host, Node, leases};

/// ADD of `config` fails and changes nothing.
#[track_caller]
fn refused(config: &Value, code: u64) -> ErrorReply {
    let host = Host::new();
    let container = host.container("c1");
    container.ip("link add veth0 type veth peer name veth1");
    let before = host.snapshot();
    let call = TAP
        .plugin()
        .command("ADD")
        .container(&container)
        .config(config);
    let error = call.run().expect_error(code);
    before.assert_same(&host.snapshot());
    assert_eq!(leases("net"), [""; 0]);
    error
}

#[test]
fn wrong_types() {
    for (key, value) in [
        ("mtu", json!("1500")),
        ("multiQueue", json!(1)),
        ("owner", json!("root")),
        ("owner", json!(-1)),
        ("group", json!(4294967296_u64)),
        ("mac", json!(7)),
        ("bridge", json!({})),
        ("selinuxContext", json!([])),
        ("args", json!("MAC=x")),
        ("runtimeConfig", json!({"mac": 7})),
        ("ipam", json!("host-local")),
        ("prevResult", json!(true)),
    ] {
        let error = refused(&TAP.layer2(json!({key: value})), 999);
        error.mentions("failed to load netconf: ").mentions(key);
    }
}

#[test]
fn wrong_values() {
    for case in cases(
        r#"
        {"mtu": -1} => 7: mtu -1 is out of range (68 to 65535)
        {"mtu": 10} => 7: mtu 10 is out of range (68 to 65535)
        {"mtu": 65535} => failed to configure tap "eth0":
        {"mac": "02:00"} => address 02:00: invalid MAC address
        {"runtimeConfig": {"mac": "01:00:00:00:00:01"}} => address 01:00:00:00:00:01: invalid MAC address
        {"bridge": "br0/x"} => 7: invalid bridge name
        {"bridge": "br0"} => failed to get bridge br0: Link not found
        {"bridge": "veth0"} => failed to get bridge veth0: "veth0" already exists but is not a bridge
        {"numQueues": 2} => 2: does not support "numQueues"
        {"owner": 4294967295} => failed to create tap: TUNSETOWNER: invalid argument
        {"group": 4294967295} => failed to create tap: TUNSETGROUP: invalid argument
        "#,
    ) {
        let (code, words) = (case.code, &case.words);
        refused(&TAP.layer2(case.extra.clone()), code).mentions(words);
        refused(&TAP.dual(case.extra), code).mentions(words);
    }
}

/// Without SELinux the kernel refuses every context. With SELinux and no policy it accepts
/// every context, and the helper creates the tap.
#[test]
fn an_unknown_selinux_context() {
    const CONTEXT: &str = "no_u:no_r:no_t:s0";
    let config = TAP.layer2(json!({"selinuxContext": CONTEXT}));
    // On a thread of its own, since the context is an attribute of the thread.
    let attempt = || std::fs::write("/proc/thread-self/attr/exec", CONTEXT);
    if std::thread::spawn(attempt).join().unwrap().is_ok() {
        let (_host, container, run) = added(&config);
        assert_eq!(eth0(&container)["linkinfo"]["info_data"]["type"], "tap");
        TAP.plugin().check(&container, &run.with_prev()).expect_ok();
    } else {
        refused(&config, 999).mentions("failed to create tap: failed set socket label: ");
    }
}

#[test]
fn an_interface_that_exists() {
    let host = Host::new();
    let container = host.container("c1");
    container.ip("tuntap add eth0 mode tap");
    let before = host.snapshot();
    for config in [TAP.layer2(json!({})), TAP.dual(json!({}))] {
        TAP.plugin()
            .add(&container, &config)
            .expect_error(999)
            .mentions("\"eth0\" already exists");
        before.assert_same(&host.snapshot());
    }
}

#[test]
fn an_interface_name_with_a_pattern() {
    let host = Host::new();
    let container = host.container("c1");
    let before = host.snapshot();
    let call = TAP
        .plugin()
        .command("ADD")
        .container(&container)
        .ifname("tap%d");
    call.config(&TAP.layer2(json!({})))
        .run()
        .expect_error(999)
        .mentions("failed to create tap: TUNSETIFF: invalid argument");
    before.assert_same(&host.snapshot());
}
