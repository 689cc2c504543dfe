//! Hosts with iptables but without ip6tables, and kernels without IPv6.

use std::path::Path;

use blackbox::chain::Chain;
use blackbox::{answer, state};
use serde_json::{Value, json};
use testkit::{Container, Host, Node};

const V4: &str = "10.62.0.0/24";
const V6: &str = "fd00:62::/64";

/// A chain whose plugins all use iptables.
fn chain(subnets: &[&str]) -> Chain {
    let ranges: Vec<Value> = subnets
        .iter()
        .map(|subnet| json!([{"subnet": subnet}]))
        .collect();
    Chain::new(vec![
        json!({
            "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "ipMasqBackend": "iptables",
            "ipam": {"type": "host-local", "ranges": ranges}
        }),
        json!({
            "type": "portmap", "backend": "iptables", "capabilities": {"portMappings": true},
            "runtimeConfig": {"portMappings": [{"hostPort": 8062, "containerPort": 80, "protocol": "tcp"}]}
        }),
        json!({"type": "firewall", "backend": "iptables", "ingressPolicy": "same-bridge"}),
    ])
}

/// Returns a `$PATH` with the IPv4 commands only.
fn path_without_ip6tables(host: &Host) -> String {
    let dir = host.dir().join("iptables-only");
    std::fs::create_dir_all(&dir).expect("create a directory");
    for command in ["iptables", "iptables-save", "iptables-restore"] {
        let link = dir.join(command);
        if !link.is_symlink() {
            let program = format!("/usr/sbin/{command}");
            std::os::unix::fs::symlink(program, &link).expect("create a link");
        }
    }
    dir.display().to_string()
}

/// Runs DEL of the whole chain, which must print nothing at all.
#[track_caller]
fn del(chain: &Chain, container: &Container, result: &Value) {
    for call in chain.calls("DEL", container.netns(), result) {
        let run = answer::silent(call.run());
        assert_eq!(run.stderr_text(), "", "{}", run.report());
    }
}

/// Creates chains of another program in the IPv6 tables of both variants.
fn create_foreign_ipv6_chains(host: &Host) {
    for command in ["ip6tables-legacy", "ip6tables-nft"] {
        for table in ["nat", "filter"] {
            host.command(&[command, "-t", table, "-N", "OTHER"]);
        }
    }
}

#[test]
fn del_of_an_ipv6_network_succeeds_without_ip6tables() {
    let host = Host::new();
    create_foreign_ipv6_chains(&host);
    let container = host.container("c1");
    let mut chain = chain(&[V4, V6]);
    chain.path = Some(path_without_ip6tables(&host));
    let before = state::of(&host);
    // The result of a failed ADD.
    let result = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "cni0"}, {"name": "eth0", "sandbox": container.netns()}],
        "ips": [
            {"address": "10.62.0.2/24", "interface": 1},
            {"address": "fd00:62::2/64", "interface": 1}
        ]
    });
    for result in [result, Value::Null] {
        del(&chain, &container, &result);
    }
    state::assert_back(&before, &host);
}

#[test]
fn an_ipv4_network_needs_no_ip6tables() {
    let host = Host::new();
    create_foreign_ipv6_chains(&host);
    let mut chain = chain(&[V4]);
    chain.path = Some(path_without_ip6tables(&host));
    let container = host.container("c1");
    let result = chain.add(&container);
    del(&chain, &container, &result);
    let before = state::of(&host);
    let result = chain.add(&container);
    chain.status();
    chain.check(&container);
    del(&chain, &container, &result);
    state::assert_back(&before, &host);
}

#[test]
fn status_of_an_ipv6_network_names_the_missing_ip6tables() {
    let host = Host::new();
    let path = path_without_ip6tables(&host);
    let mut chain = chain(&[V4, V6]);
    chain.plugins[1]["conditionsV6"] = json!(["-s", V6]);
    chain.plugins[2]["runtimeConfig"] = json!({"ips": ["10.62.0.2/24", "fd00:62::2/64"]});
    // With ip6tables, STATUS succeeds.
    chain.status();
    chain.path = Some(path);
    for call in chain.calls("STATUS", Path::new(""), &Value::Null) {
        let error = call.run().expect_error(50);
        let text = format!("{} {}", error.msg, error.details);
        assert!(
            text.contains("exec: \"ip6tables\": executable file not found in $PATH"),
            "{text}"
        );
        assert!(text.contains("install iptables or use nftables"), "{text}");
    }
}

/// DEL and GC look for IPv6 rules even if the network has no IPv6.
#[test]
fn del_and_gc_succeed_in_a_kernel_without_ipv6() {
    testkit::needs(&["no-ipv6"]);
    let host = Host::new();
    let container = host.container("c1");
    let chain = chain(&[V4, V6]);
    del(&chain, &container, &Value::Null);
    chain.gc(false);
}
