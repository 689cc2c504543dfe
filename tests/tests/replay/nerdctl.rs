//! nerdctl 2: DEL without a namespace before each ADD and at the end, networks in parallel.

use std::thread;

use blackbox::{reach, state};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, Service, filters, outside};

use crate::caller::{Call, Caller, addresses, hex_id};

/// A host with the default network of nerdctl, and `other`, which was created with `--ipv6` and
/// `--opt com.docker.network.bridge.enable_icc=false`.
struct Machine {
    host: Host,
    client: Container,
    nerdctl: Caller,
}

fn machine() -> Machine {
    let host = Host::new();
    let client = outside(&host);
    let variables = json!({
        "HOME": "/root", "USER": "root", "LANG": "en_US.UTF-8", "TERM": "xterm-256color",
        "CONTAINERD_ADDRESS": "/run/containerd/containerd.sock",
    });
    let nerdctl = Caller::new(&host, &variables, "/var/lib/cni");
    let mut network = nerdctl.network("nerdctl-bridge.conflist");
    network["name"] = "other".into();
    network["nerdctlID"] = hex_id(7).into();
    // What it writes only if the firewall plugin says that it is 1.7.1 or later.
    network["plugins"][2]["ingressPolicy"] = "isolated".into();
    let bridge = &mut network["plugins"][0];
    bridge["bridge"] = "br-17f29b073143".into();
    bridge["capabilities"] = json!({"ips": true});
    bridge["ipam"]["ranges"] =
        json!([[{"gateway": "10.4.1.1", "subnet": "10.4.1.0/24"}], [{"subnet": "fd00:4:1::/64"}]]);
    bridge["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
    nerdctl.write("nerdctl-other.conflist", &network);
    // What outlives containers.
    let first = host.container("first");
    for (name, if_name) in [("bridge", "eth0"), ("other", "eth1")] {
        let call = web(&first.netns().display().to_string(), if_name);
        nerdctl.add(name, &call);
        nerdctl.del(name, &call);
    }
    Machine {
        host,
        client,
        nerdctl,
    }
}

/// `nerdctl run --hostname web --publish 8080:80/tcp --publish 5353:53/udp`
fn web(netns: &str, if_name: &'static str) -> Call {
    Call {
        id: format!("default-{}", hex_id(1)),
        netns: netns.to_owned(),
        if_name,
        args: vec![
            ("IgnoreUnknown", "1".to_owned()),
            ("NERDCTL_CNI_DHCP_HOSTNAME", "web".to_owned()),
        ],
        capabilities: json!({"portMappings": [
            {"HostPort": 8080, "ContainerPort": 80, "Protocol": "tcp", "HostIP": "0.0.0.0"},
            {"HostPort": 5353, "ContainerPort": 53, "Protocol": "udp", "HostIP": "0.0.0.0"},
        ]}),
    }
}

/// A process in the container: nerdctl names namespaces by it, which it knows only while that runs.
fn process(container: &Container) -> (Service, String) {
    let process = container.enter(|| Service::start(&["sleep", "600"]));
    let netns = format!("/proc/{}/ns/net", process.pid());
    (process, netns)
}

/// Nothing in the filters has the container's ID, which is what nerdctl itself looks for.
#[track_caller]
fn assert_no_rules(host: &Host) {
    let rules = filters(host).join("\n");
    assert!(!rules.contains(&hex_id(1)), "{rules}");
}

#[test]
fn a_container_is_run_stopped_and_started_again() {
    let Machine {
        host,
        client,
        nerdctl,
    } = machine();
    let before = state::of(&host);
    for _ in ["run", "start"] {
        // The hook deletes what a crash may have left, before it knows a namespace.
        let mut call = web("", "eth0");
        // --ip and --mac-address
        call.args.push(("MAC", "92:d0:c6:0a:29:33".to_owned()));
        call.args.push(("IP", "10.4.0.77".to_owned()));
        nerdctl.del("bridge", &call);
        state::assert_back(&before, &host);

        let container = host.container("c1");
        let (process, netns) = process(&container);
        call.netns = netns;
        let result = nerdctl.add("bridge", &call);
        assert_eq!(addresses(&result), ["10.4.0.77/24"]);
        let mac = container.link_attribute("eth0", "/address");
        assert_eq!(mac, "92:d0:c6:0a:29:33");
        let seen = reach::tcp(&container, 80, &client, ("192.0.2.1", 8080));
        assert_eq!(seen.unwrap().to_string(), "192.0.2.9");
        reach::udp(&container, 53, &client, ("192.0.2.1", 5353)).unwrap();
        reach::tcp(&client, 4000, &container, ("192.0.2.9", 4000)).unwrap();
        // The chain that it removes from nat when DEL fails, by its own computation of the name.
        let name = format!("bridge{}", call.id);
        let sum = host.command(&["sh", "-c", "printf %s \"$1\" | sha512sum", "sh", &name]);
        let nat = host.command(&["iptables-save", "-t", "nat"]);
        assert!(nat.contains(&format!(":CNI-{} ", &sum[..24])), "{nat}");

        // The container has ended when the hook runs.
        drop(process);
        drop(container);
        nerdctl.del("bridge", &call.without_netns());
        assert_no_rules(&host);
        state::assert_back(&before, &host);
    }
}

#[test]
fn networks_are_attached_at_the_same_time() {
    let Machine {
        host,
        client,
        nerdctl,
    } = machine();
    let before = state::of(&host);
    let container = host.container("c1");
    let (process, netns) = process(&container);
    let mut calls = [
        ("bridge", web(&netns, "eth0")),
        ("other", web(&netns, "eth1")),
    ];
    for (_, call) in &mut calls {
        // Every network gets all values. --ip6 is a capability, without a prefix length.
        call.capabilities["ips"] = json!(["fd00:4:1::77"]);
        call.capabilities["aliases"] = json!({"bridge": ["web"], "other": ["web"]});
        call.capabilities["dns"] =
            json!({"Servers": ["192.0.2.53"], "Searches": ["example"], "Options": []});
    }
    let results: Vec<Value> = thread::scope(|scope| {
        let nerdctl = &nerdctl;
        let add = |(name, call): &(&'static str, Call)| {
            let (name, call) = (*name, call.clone());
            scope.spawn(move || nerdctl.add(name, &call))
        };
        let adding: Vec<_> = calls.iter().map(add).collect();
        adding.into_iter().map(|add| add.join().unwrap()).collect()
    });
    assert_eq!(addresses(&results[0]), ["10.4.0.3/24"]);
    assert_eq!(addresses(&results[1]), ["10.4.1.3/24", "fd00:4:1::77/64"]);
    assert_eq!(container.addresses("eth1"), addresses(&results[1]));
    container.ping("10.4.0.1");
    container.ping("fd00:4:1::1");
    reach::tcp(&container, 80, &client, ("192.0.2.1", 8080)).unwrap();

    assert_isolated(&host, &nerdctl, &container);

    drop(process);
    drop(container);
    for (name, call) in &calls {
        nerdctl.del(name, &call.without_netns());
    }
    assert_no_rules(&host);
    state::assert_back(&before, &host);
}

/// Another container reaches the first by way of `bridge`, and not by way of `other`, whether or not it has that network.
#[track_caller]
fn assert_isolated(host: &Host, nerdctl: &Caller, first: &Container) {
    let second = host.container("c2");
    let netns = second.netns().display().to_string();
    let calls = [
        ("bridge", web(&netns, "eth0")),
        ("other", web(&netns, "eth1")),
    ];
    let calls = calls.map(|(name, call)| {
        let id = format!("default-{}", hex_id(2));
        let capabilities = json!({});
        let call = Call {
            id,
            capabilities,
            ..call
        };
        (name, call)
    });
    for (name, call) in &calls {
        nerdctl.add(name, call);
        reach::tcp(first, 80, &second, ("10.4.0.3", 80)).unwrap();
        assert!(second.try_ping("10.4.1.3").is_err());
    }
    drop(second);
    for (name, call) in &calls {
        nerdctl.del(name, &call.without_netns());
    }
}

/// nerdctl gives `--ip` to every network of the container.
#[test]
fn an_address_of_another_network_is_refused_by_name() {
    let Machine {
        host,
        nerdctl,
        client: _client,
    } = machine();
    let container = host.container("c1");
    let (_process, netns) = process(&container);
    let before = state::of(&host);
    let mut call = web(&netns, "eth1");
    call.args.push(("IP", "10.4.0.77".to_owned()));
    let error = nerdctl.ask("add", "other", &call).unwrap_err();
    for part in ["10.4.0.77", "10.4.1.1-10.4.1.254"] {
        assert!(error.contains(part), "{error}");
    }
    nerdctl.del("other", &call.without_netns());
    state::assert_back(&before, &host);
}
