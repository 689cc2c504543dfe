//! DEL calls IPAM first, and tries every step.

use crate::common::MACVLAN;
use serde_json::{Value, json};
use testkit::{Container, Invocation, Node, ScriptedIpam, state};

/// A call of `verb` with the scripted IPAM plugin.
fn call(ipam: &ScriptedIpam<'_>, container: &Container, verb: &str) -> Invocation {
    let config = MACVLAN.layer2(json!({"ipam": {"type": "scripted"}}));
    let call = ipam.command(&MACVLAN.plugin(), verb).container(container);
    call.config(&config)
}

fn answer() -> Value {
    json!({"cniVersion": "1.1.0", "ips": [{"address": "10.1.0.9/24"}]})
}

#[test]
fn malformed_arguments_are_ignored() {
    let attached = MACVLAN.attached(&json!({}));
    let call = MACVLAN
        .plugin()
        .command("DEL")
        .container(&attached.container);
    let call = call.args("nonsense").config(&attached.run.with_prev());
    call.run().expect_ok();
    assert_eq!(attached.container.link_names(), ["lo"]);
}

#[test]
fn the_link_is_deleted_though_ipam_fails() {
    let network = MACVLAN.network();
    let ipam = ScriptedIpam::answering(&network, &answer());
    let container = network.container("c1");
    call(&ipam, &container, "ADD").run().expect_ok();
    network.write("scripted", "#!/bin/sh\nexit 3\n");
    call(&ipam, &container, "DEL")
        .run()
        .expect_error(0)
        .mentions("netplugin failed with no error message");
    assert_eq!(container.link_names(), ["lo"]);
}

/// A DHCP client sends its release through the interface.
#[test]
fn ipam_is_called_before_the_link_is_deleted() {
    let network = MACVLAN.network();
    let container = network.container("c1");
    let script = format!(
        "if [ \"$CNI_COMMAND\" = DEL ]; then ip -n c1 link show eth0 > /run/testkit/seen; fi\n\
         echo '{}'",
        answer()
    );
    let ipam = ScriptedIpam::new(&network, &script);
    // The script runs the commands on ADD only; change it to run them on DEL too.
    let path = network.dir().join("scripted");
    let text = std::fs::read_to_string(path).unwrap();
    network.write("scripted", text.replace("= ADD ]", "!= CHECK ]"));
    call(&ipam, &container, "ADD").run().expect_ok();
    call(&ipam, &container, "DEL").run().expect_ok();
    let seen = std::fs::read_to_string(network.dir().join("seen")).unwrap();
    assert!(seen.contains("eth0"), "{seen}");
    assert_eq!(ipam.calls(), ["ADD", "DEL"]);
}

#[test]
fn the_host_is_left_as_it_was() {
    let network = MACVLAN.network();
    let container = network.container("c1");
    let config = MACVLAN.dual(json!({}));
    let add_and_del = || {
        MACVLAN.plugin().add(&container, &config).expect_ok();
        MACVLAN.plugin().del(&container, &config).expect_ok();
        state(&network)
    };
    let before = add_and_del();
    before.assert_same(&add_and_del());
}
