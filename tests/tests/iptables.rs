//! iptables with and without its commands, hosts without ip6tables, and kernels without IPv6.

use std::fs;
use std::os::unix::fs::PermissionsExt;
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
    fs::create_dir_all(&dir).expect("create a directory");
    for command in ["iptables", "iptables-save", "iptables-restore"] {
        let link = dir.join(command);
        if !link.is_symlink() {
            let program = format!("/usr/sbin/{command}");
            std::os::unix::fs::symlink(program, &link).expect("create a link");
        }
    }
    dir.display().to_string()
}

/// Returns a `$PATH` with the commands of iptables-nft, each of which writes its name to `log` first.
fn path_of_counted_commands(host: &Host, log: &Path) -> String {
    let dir = host.dir().join("counted");
    fs::create_dir_all(&dir).expect("create a directory");
    for family in ["iptables", "ip6tables"] {
        for suffix in ["", "-save", "-restore"] {
            let command = format!("{family}-nft{suffix}");
            let script = format!(
                "#!/bin/sh\necho {command} >> {}\nexec /usr/sbin/{command} \"$@\"\n",
                log.display()
            );
            let file = dir.join(&command);
            fs::write(&file, script).expect("write a script");
            fs::set_permissions(&file, PermissionsExt::from_mode(0o755))
                .expect("make it executable");
            let link = dir.join(format!("{family}{suffix}"));
            std::os::unix::fs::symlink(&command, link).expect("create a link");
        }
    }
    dir.display().to_string()
}

/// All rules of both families as iptables prints them, without dates and counters.
fn rules(host: &Host) -> Vec<String> {
    let mut lines = Vec::new();
    for command in ["iptables-nft-save", "ip6tables-nft-save"] {
        let text = host.command(&[command]);
        let rules = text.lines().filter(|line| !line.starts_with('#'));
        lines.extend(rules.map(|line| line.split(" [").next().unwrap_or(line).to_owned()));
    }
    lines
}

/// What attaching and detaching two containers does with a value of `CNI_IPTABLES`.
#[derive(Default)]
struct Observed {
    /// The rules after each ADD and DEL.
    rules: Vec<Vec<String>>,
    /// The plugins that ran commands in the second ADD.
    added_by_commands: Vec<String>,
    /// The plugins that ran commands in the first DEL.
    deleted_by_commands: Vec<String>,
}

/// Runs a verb of the chain. Returns the plugins that ran commands of iptables.
#[track_caller]
fn users_of_commands(
    chain: &Chain,
    verb: &str,
    container: &Container,
    env: (&str, &str),
    log: &Path,
) -> Vec<String> {
    let (mut result, mut users) = (Value::Null, Vec::new());
    let mut types: Vec<&Value> = chain.plugins.iter().map(|p| &p["type"]).collect();
    if verb == "DEL" {
        types.reverse();
    }
    for (number, kind) in types.into_iter().enumerate() {
        let mut calls = chain.calls(verb, container.netns(), &result);
        let run = calls.swap_remove(number).env(env.0, env.1).run();
        match verb {
            "DEL" => drop(answer::silent(run)),
            _ => result = answer::result(&run),
        }
        if fs::remove_file(log).is_ok() {
            users.push(kind.as_str().unwrap_or_default().to_owned());
        }
    }
    users
}

fn observe(env: (&str, &str)) -> Observed {
    let host = Host::new();
    let log = host.dir().join("log");
    let path = path_of_counted_commands(&host, &log);
    let attached = [("c1", 8062), ("c2", 8063)].map(|(name, port)| {
        let mut chain = chain(&[V4, V6]);
        chain.path = Some(path.clone());
        chain.container_id = name.into();
        chain.plugins[1]["runtimeConfig"]["portMappings"] = json!([
            {"hostPort": port, "containerPort": 80, "protocol": "tcp"},
            {"hostPort": port, "containerPort": 53, "protocol": "udp"},
            {"hostPort": port + 10, "containerPort": 81, "protocol": "tcp", "hostIP": "127.0.0.1"},
            {"hostPort": port + 20, "containerPort": 82, "protocol": "tcp", "hostIP": "::1"},
        ]);
        // A policy depends on the other rules of the table, which are read by a command.
        chain.plugins[2] = json!({"type": "firewall", "backend": "iptables"});
        (chain, host.container(name))
    });
    let mut observed = Observed::default();
    for (chain, container) in &attached {
        observed.added_by_commands = users_of_commands(chain, "ADD", container, env, &log);
        observed.rules.push(rules(&host));
    }
    for (chain, container) in attached.iter().rev() {
        let users = users_of_commands(chain, "DEL", container, env, &log);
        if observed.deleted_by_commands.is_empty() {
            observed.deleted_by_commands = users;
        }
        observed.rules.push(rules(&host));
    }
    observed
}

#[test]
fn rules_are_the_same_with_and_without_commands() {
    let without = observe(("CNI_IPTABLES", ""));
    let with = observe(("CNI_IPTABLES", "commands"));
    assert_eq!(without.rules, with.rules);
    assert!(
        without.rules[1]
            .iter()
            .any(|rule| rule.contains("10.62.0.3/32"))
    );
    assert_eq!(without.added_by_commands, [""; 0]);
    assert_eq!(with.added_by_commands, ["bridge", "portmap", "firewall"]);
    assert_eq!(without.deleted_by_commands, [""; 0]);
    assert_eq!(with.deleted_by_commands, ["firewall", "portmap", "bridge"]);
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
