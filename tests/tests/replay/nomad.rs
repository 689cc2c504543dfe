//! Nomad: three tries without DEL, CHECK when it finds its namespaces again, rules that it looks for itself.

use blackbox::{reach, state};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, outside};

use crate::caller::{Call, Caller, addresses, var_run};

const ALLOCATION: &str = "5c2b1a9e-0d5f-4a44-8c5f-93a6f4f0a6b1";
const FILE: &str = "nomad.conflist";

/// A client of Nomad with its network `nomad`, which keeps addresses in `/var/run/cni`.
struct Machine {
    host: Host,
    outside: Container,
    nomad: Caller,
}

/// The network as Nomad generates it, with changes to `ipam` of the bridge.
fn machine(change: impl Fn(&mut Value)) -> Machine {
    let host = Host::new();
    let outside = outside(&host);
    let variables = json!({"HOME": "/root", "NOMAD_ADDR": "http://127.0.0.1:4646"});
    let nomad = Caller::new(&host, &variables, "/var/lib/cni");
    let mut network = nomad.network(FILE);
    change(&mut network["plugins"][1]["ipam"]);
    nomad.write(FILE, &network);
    // What outlives allocations.
    let first = host.container("first");
    let call = allocation("00000000-0000-0000-0000-000000000000", &first, 23456);
    nomad.add("nomad", &call);
    nomad.del("nomad", &call);
    Machine {
        host,
        outside,
        nomad,
    }
}

/// Each port of the group is mapped for both protocols. The order of arguments is random, and one is JSON.
fn allocation(id: &str, container: &Container, host_port: u16) -> Call {
    let transparent_proxy = r#"{"ConsulDNSIP":"","ProxyUserID":"101","ExcludeUIDs":["1","2"]}"#;
    let mapping = |protocol: &str| json!({"HostPort": host_port, "ContainerPort": 8080, "Protocol": protocol, "HostIP": ""});
    let args = [
        ("NOMAD_GROUP_NAME", "cache"),
        ("CONSUL_IPTABLES_CONFIG", transparent_proxy),
        ("NOMAD_ALLOC_ID", id),
        ("IgnoreUnknown", "true"),
        ("NOMAD_JOB_ID", "web"),
        ("NOMAD_NAMESPACE", "default"),
        ("NOMAD_REGION", "global"),
    ];
    Call {
        id: id.to_owned(),
        netns: var_run(container),
        if_name: "eth0",
        args: args.map(|(key, value)| (key, value.to_owned())).to_vec(),
        capabilities: json!({"portMappings": [mapping("tcp"), mapping("udp")]}),
    }
}

/// The rules are those that Nomad and its operators expect.
#[track_caller]
fn assert_rules(host: &Host) {
    // Nomad deletes rules of this form itself when DEL fails.
    let nat = host.command(&["iptables-save", "-t", "nat"]);
    let start = format!(
        "-A POSTROUTING -s 172.26.64.3/32 -m comment --comment \"name: \\\"nomad\\\" id: \\\"{ALLOCATION}\\\"\" -j CNI-"
    );
    assert!(nat.lines().any(|rule| rule.starts_with(&start)), "{nat}");
    // Operators filter in this chain, before anything is accepted.
    let filter = host.command(&["iptables-save", "-t", "filter"]);
    assert!(filter.contains("\n:NOMAD-ADMIN "), "{filter}");
    let mut rules = filter.lines();
    let first = rules.find(|rule| rule.starts_with("-A CNI-FORWARD"));
    assert!(first.unwrap().ends_with("-j NOMAD-ADMIN"), "{filter}");
}

#[test]
fn an_allocation_runs_is_found_again_and_ends() {
    let Machine {
        host,
        outside,
        nomad,
    } = machine(|_| {});
    let before = state::of(&host);
    let container = host.container(ALLOCATION);
    let call = allocation(ALLOCATION, &container, 23456);
    let result = nomad.add("nomad", &call);
    assert_eq!(addresses(&result), ["172.26.64.3/20"]);
    // The first plugin of the chain is loopback.
    container.ping("127.0.0.1");
    reach::tcp(&container, 8080, &outside, ("192.0.2.1", 23456)).unwrap();
    reach::udp(&container, 8080, &outside, ("192.0.2.1", 23456)).unwrap();
    reach::tcp(&outside, 4000, &container, ("192.0.2.9", 4000)).unwrap();
    assert_rules(&host);
    // The client has been restarted.
    nomad.check("nomad", &call);

    nomad.del("nomad", &call);
    drop(container);
    state::assert_back(&before, &host);
    nomad.del("nomad", &call);
    state::assert_back(&before, &host);
}

/// Nomad tries ADD three times with pauses and without DEL between; here the last address is free for the third.
#[test]
fn the_third_try_succeeds_without_a_del_before() {
    let range = json!([[{"subnet": "172.26.64.0/20", "rangeEnd": "172.26.64.2"}]]);
    let Machine {
        host,
        nomad,
        outside: _outside,
    } = machine(|ipam| ipam["ranges"] = range.clone());
    let (first, second) = (host.container("c1"), host.container(ALLOCATION));
    // Upstream's loopback has no undo either.
    second.ip("link set lo up");
    let holder = allocation("11111111-1111-1111-1111-111111111111", &first, 23456);
    nomad.add("nomad", &holder);
    let full = state::of(&host);
    let call = allocation(ALLOCATION, &second, 23457);
    for _ in 0..2 {
        let error = nomad.ask("add", "nomad", &call).unwrap_err();
        let text = "no IP addresses available in range set: 172.26.64.1-172.26.64.2";
        assert!(error.contains(text), "{error}");
        state::assert_back(&full, &host);
    }
    nomad.del("nomad", &holder);
    let result = nomad.add("nomad", &call);
    assert_eq!(addresses(&result), ["172.26.64.2/20"]);
    nomad.check("nomad", &call);
    second.ping("172.26.64.1");
}
