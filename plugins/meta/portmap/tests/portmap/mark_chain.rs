//! `externalSetMarkChain`, which another program may create later or never.

use std::net::SocketAddr;

use serde_json::json;
use testkit::{Host, Node};

use crate::common::{Net, Server, config, is_mapped, portmap, rules_of, web};

const WARNING: &str = "portmap: externalSetMarkChain KUBE-MARK-MASQ does not exist in table nat (";

fn create(host: &Host) {
    for command in ["iptables", "ip6tables"] {
        let words = [command, "-t", "nat", "-N", "KUBE-MARK-MASQ"];
        host.command(&words);
    }
}

/// The plugin's own chain marks, so connections from localhost and neighbours work.
#[test]
fn a_missing_chain_is_replaced() {
    let net = Net::new();
    let server = Server::new(&net.container, 80);
    let keys = json!({"cniVersion": "1.1.0", "externalSetMarkChain": "KUBE-MARK-MASQ"});
    let config = config(&net.container, &web(), &keys);
    portmap().status(&config).expect_ok();
    let add = || portmap().add(&net.container, &config).expect_ok();
    let warnings = add().stderr_text();
    for family in ["ipv4", "ipv6"] {
        let warning = format!("{WARNING}{family}); CNI-HOSTPORT-SETMARK marks connections instead");
        assert!(warnings.contains(&warning), "{warnings}");
    }
    portmap().check(&net.container, &config).expect_ok();
    let gateway = Some("10.1.0.1".parse().unwrap());
    let to = |address: &str| SocketAddr::new(address.parse().unwrap(), 8080);
    assert_eq!(server.tcp(&net.host, to("127.0.0.1")), gateway);
    assert_eq!(server.tcp(&net.neighbour, to("192.0.2.1")), gateway);
    // The chain is created later; nothing changes for existing containers.
    create(&net.host);
    portmap().check(&net.container, &config).expect_ok();
    net.host
        .command(&["iptables", "-t", "nat", "-F", "CNI-HOSTPORT-SETMARK"]);
    portmap()
        .check(&net.container, &config)
        .expect_error(999)
        .mentions("in chain CNI-HOSTPORT-SETMARK not found");
    // The next ADD uses it.
    assert_eq!(add().stderr_text(), "");
    assert!(!rules_of(&net.host, "-j KUBE-MARK-MASQ").is_empty());
    portmap().check(&net.container, &config).expect_ok();
    portmap().del(&net.container, &config).expect_ok();
    assert!(!is_mapped(&net.host));
}

#[test]
fn del_and_gc_find_the_rules_whichever_chain_marks() {
    for exists_at_add in [false, true] {
        for exists_at_del in [false, true] {
            for verb in ["DEL", "GC"] {
                let host = Host::new();
                let container = host.container("c1");
                let keys = json!({
                    "backend": "iptables", "externalSetMarkChain": "KUBE-MARK-MASQ",
                    "cniVersion": "1.1.0", "cni.dev/valid-attachments": [],
                });
                let config = config(&container, &web(), &keys);
                if exists_at_add {
                    create(&host);
                }
                let run = portmap().add(&container, &config).expect_ok();
                assert_eq!(run.stderr_text().contains(WARNING), !exists_at_add);
                if exists_at_del && !exists_at_add {
                    create(&host);
                }
                portmap().check(&container, &config).expect_ok();
                if verb == "DEL" {
                    portmap().del(&container, &config).expect_ok();
                } else {
                    portmap().gc(&config).expect_ok();
                }
                assert!(!is_mapped(&host), "{verb}");
                assert_eq!(rules_of(&host, "CNI-DN-"), [""; 0]);
            }
        }
    }
}
