//! Commands that are executed: none for nftables, at most two per family for iptables.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use testkit::{Container, Host, Node, merge};

use crate::common::{config, portmap, web};

/// A directory of commands that log their calls.
fn logging_commands(host: &Host) -> String {
    for name in ["iptables", "ip6tables"] {
        for suffix in ["", "-save", "-restore"] {
            let name = format!("{name}{suffix}");
            let dir = host.dir().display();
            let real = host.command(&["sh", "-c", &format!("command -v {name}")]);
            let script = format!(
                "#!/bin/sh\necho {name} >> {dir}/calls\nexec {} \"$@\"\n",
                real.trim()
            );
            let path = host.write(&name, script);
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    host.dir().display().to_string()
}

fn calls(host: &Host, container: &Container, verb: &str, config: &Value) -> Vec<String> {
    host.write("calls", "");
    let path = host.dir().display().to_string();
    let call = portmap().command(verb).container(container);
    call.env("PATH", path).config(config).run().expect_ok();
    let log = fs::read_to_string(host.dir().join("calls")).unwrap();
    log.lines().map(str::to_owned).collect()
}

#[test]
fn nftables_executes_nothing() {
    let host = Host::new();
    logging_commands(&host);
    let container = host.container("c1");
    for keys in [json!({"backend": "nftables"}), json!({"rules": "map"})] {
        let config = config(&container, &web(), &keys);
        for verb in ["ADD", "CHECK", "DEL", "DEL"] {
            assert_eq!(
                calls(&host, &container, verb, &config),
                [""; 0],
                "{keys} {verb}"
            );
        }
    }
}

#[test]
fn iptables_executes_little() {
    let host = Host::new();
    logging_commands(&host);
    let container = host.container("c1");
    let keys = json!({"backend": "iptables"});
    let config = config(&container, &web(), &keys);
    let first = calls(&host, &container, "ADD", &config);
    assert!(first.len() <= 6, "{first:?}");
    let restores = ["iptables-restore", "ip6tables-restore"];
    // The default variant's rules are in nf_tables and are deleted over netlink.
    assert_eq!(calls(&host, &container, "DEL", &config), [""; 0]);
    // The shared chains exist now.
    assert_eq!(calls(&host, &container, "ADD", &config), restores);
    let auto = merge(config.clone(), &json!({"backend": null}));
    assert_eq!(calls(&host, &container, "DEL", &auto), [""; 0]);
    assert_eq!(calls(&host, &container, "ADD", &auto), restores);
    // Without a record.
    fs::remove_dir_all("/run/cni").unwrap();
    assert_eq!(calls(&host, &container, "DEL", &auto), [""; 0]);
    assert_eq!(calls(&host, &container, "DEL", &auto), [""; 0]);
}

#[test]
fn status_asks_for_ipv6_only_where_it_is_used() {
    let host = Host::new();
    logging_commands(&host);
    let container = host.container("c1");
    for (keys, expected) in [
        (json!({}), &["iptables"][..]),
        (
            json!({"conditionsV6": ["-s", "fd00::/8"]}),
            &["iptables", "ip6tables"],
        ),
    ] {
        let keys = merge(keys, &json!({"backend": "iptables", "cniVersion": "1.1.0"}));
        let mut config = config(&container, &web(), &keys);
        config["prevResult"] = Value::Null;
        assert_eq!(calls(&host, &container, "STATUS", &config), expected);
    }
}
