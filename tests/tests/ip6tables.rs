//! Hosts with iptables but without ip6tables, and kernels without IPv6.

use blackbox::{answer, state};
use serde_json::{Value, json};
use testkit::{Container, Host, Invocation, Node, Plugin, bin_dir};

const V4: &str = "10.62.0.0/24";
const V6: &str = "fd00:62::/64";

/// A chain whose plugins all use iptables.
fn chain(subnets: &[&str]) -> Vec<Value> {
    let ranges: Vec<Value> = subnets
        .iter()
        .map(|subnet| json!([{"subnet": subnet}]))
        .collect();
    let mut plugins = vec![
        json!({
            "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "ipMasqBackend": "iptables",
            "ipam": {"type": "host-local", "ranges": ranges}
        }),
        json!({
            "type": "portmap", "backend": "iptables", "capabilities": {"portMappings": true},
            "runtimeConfig": {"portMappings": [{"hostPort": 8062, "containerPort": 80, "protocol": "tcp"}]}
        }),
        json!({"type": "firewall", "backend": "iptables", "ingressPolicy": "same-bridge"}),
    ];
    for plugin in &mut plugins {
        plugin["cniVersion"] = "1.1.0".into();
        plugin["name"] = "net".into();
    }
    plugins
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

fn call(path: &str, verb: &str, container: Option<&Container>, config: &Value) -> Invocation {
    let name = config["type"].as_str().unwrap_or_default();
    let call = Plugin::new(name)
        .command(verb)
        .path(bin_dir())
        .env("PATH", path)
        .config(config);
    match container {
        Some(container) => call.container(container).ifname("eth0"),
        None => call,
    }
}

#[track_caller]
fn add(path: &str, container: &Container, plugins: &[Value]) -> Value {
    let mut result = None;
    for plugin in plugins {
        let mut config = plugin.clone();
        if let Some(result) = result.take() {
            config["prevResult"] = result;
        }
        let run = call(path, "ADD", Some(container), &config).run();
        result = Some(run.expect_ok().json());
    }
    result.unwrap_or_default()
}

/// Runs DEL of the whole chain, which must print nothing at all.
#[track_caller]
fn del(path: &str, container: &Container, plugins: &[Value], result: Option<&Value>) {
    for plugin in plugins.iter().rev() {
        let mut config = plugin.clone();
        if let Some(result) = result {
            config["prevResult"] = result.clone();
        }
        let run = answer::silent(call(path, "DEL", Some(container), &config).run());
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
    let path = path_without_ip6tables(&host);
    let container = host.container("c1");
    let plugins = chain(&[V4, V6]);
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
    for result in [Some(&result), None] {
        del(&path, &container, &plugins, result);
    }
    state::assert_back(&before, &host);
}

#[test]
fn an_ipv4_network_needs_no_ip6tables() {
    let host = Host::new();
    create_foreign_ipv6_chains(&host);
    let path = path_without_ip6tables(&host);
    let plugins = chain(&[V4]);
    let container = host.container("c1");
    let result = add(&path, &container, &plugins);
    del(&path, &container, &plugins, Some(&result));
    let before = state::of(&host);
    let result = add(&path, &container, &plugins);
    for mut plugin in plugins.clone() {
        answer::silent(call(&path, "STATUS", None, &plugin).run());
        plugin["prevResult"] = result.clone();
        answer::silent(call(&path, "CHECK", Some(&container), &plugin).run());
    }
    del(&path, &container, &plugins, Some(&result));
    state::assert_back(&before, &host);
}

#[test]
fn status_of_an_ipv6_network_names_the_missing_ip6tables() {
    let host = Host::new();
    let path = path_without_ip6tables(&host);
    let [bridge, mut portmap, mut firewall] =
        <[Value; 3]>::try_from(chain(&[V4, V6])).expect("three plugins");
    portmap["conditionsV6"] = json!(["-s", V6]);
    firewall["runtimeConfig"] = json!({"ips": ["10.62.0.2/24", "fd00:62::2/64"]});
    for config in [bridge, portmap, firewall] {
        let error = call(&path, "STATUS", None, &config).run().expect_error(50);
        let text = format!("{} {}", error.msg, error.details);
        assert!(
            text.contains("exec: \"ip6tables\": executable file not found in $PATH"),
            "{text}"
        );
        assert!(text.contains("install iptables or use nftables"), "{text}");
        // With ip6tables, STATUS succeeds.
        answer::silent(call("/usr/sbin:/usr/bin", "STATUS", None, &config).run());
    }
}

/// DEL and GC look for IPv6 rules even if the network has no IPv6.
#[test]
fn del_and_gc_succeed_in_a_kernel_without_ipv6() {
    testkit::needs(&["no-ipv6"]);
    let host = Host::new();
    let path = "/usr/sbin:/usr/bin";
    let container = host.container("c1");
    let plugins = chain(&[V4, V6]);
    del(path, &container, &plugins, None);
    for mut config in plugins {
        config["cni.dev/valid-attachments"] = json!([]);
        answer::silent(call(path, "GC", None, &config).run());
    }
}
