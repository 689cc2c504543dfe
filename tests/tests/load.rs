//! Many calls at once: a node that starts, or a job that runs fifty containers.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use blackbox::{answer, networks, state};
use serde_json::Value;
use testkit::{
    Container, Host, Invocation, Node, Plugin, Run, Snapshot, bin_dir, peer_dir, run_all,
};

const CONTAINERS: usize = 50;
const DUAL: &[&str] = &["10.50.0.0/24", "fd00:50::/64"];

fn containers(host: &Host) -> Vec<Container> {
    (0..CONTAINERS)
        .map(|n| host.container(&format!("c{n}")))
        .collect()
}

/// A call of the bridge plugin for each container, IPAM plugins found where `path` says.
fn calls<'a>(
    verb: &'a str,
    containers: &'a [Container],
    configs: &'a [Value],
    path: impl Fn(usize) -> PathBuf + 'a,
) -> impl Iterator<Item = Invocation> + 'a {
    containers.iter().enumerate().map(move |(n, container)| {
        let call = Plugin::new("bridge")
            .command(verb)
            .path(path(n))
            .container(container);
        // All on two cores, or fewer.
        call.config(&configs[n % configs.len()])
            .deadline(Duration::from_secs(120))
    })
}

/// The state of a host whose bridge and directories have been made by a first container.
fn warmed_up(host: &Host, config: &Value) -> Snapshot {
    let first = host.container("first");
    answer::result(&Plugin::new("bridge").add(&first, config));
    answer::silent(Plugin::new("bridge").del(&first, config));
    drop(first);
    state::of(host)
}

/// The addresses in the results, which must all be different.
#[track_caller]
fn addresses(added: &[Run]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for run in added {
        for ip in answer::result(run)["ips"].as_array().into_iter().flatten() {
            let address = ip["address"].as_str().unwrap_or_default().to_owned();
            assert!(
                all.insert(address.clone()),
                "{address} was handed out twice"
            );
        }
    }
    all
}

/// The bridge's ports.
fn ports(host: &Host) -> usize {
    host.ip_json(&["link", "show", "master", "cni0"])
        .as_array()
        .map_or(0, Vec::len)
}

/// Every container reaches the gateway over both families. How soon is not the question here: the kernel of a machine
/// this busy takes its time.
#[track_caller]
fn assert_gateway_answers(containers: &[Container]) {
    for container in containers {
        for gateway in ["10.50.0.1", "fd00:50::1"] {
            let gateway = gateway.parse().expect("an address");
            assert!(
                container.can_reach(gateway, Duration::from_secs(10)),
                "{} does not reach {gateway}",
                container.id()
            );
        }
    }
}

/// Fifty ADDs at once, each followed through to the end, then fifty DELs.
#[track_caller]
fn come_and_go(path: impl Fn(usize) -> PathBuf + Copy) {
    let host = Host::new();
    let configs = [networks::bridged("1.0.0", DUAL)];
    let before = warmed_up(&host, &configs[0]);
    for _ in 0..2 {
        let containers = containers(&host);
        let empty = state::of(&host);
        let added = run_all(calls("ADD", &containers, &configs, path));
        assert_eq!(addresses(&added).len(), 2 * CONTAINERS);
        assert_eq!(state::leases("net").len(), 2 * CONTAINERS);
        assert_eq!(ports(&host), CONTAINERS);
        assert_gateway_answers(&containers);
        // The bridge's own address has not changed under the containers.
        let bridge = host.link("cni0").expect("the bridge is there");
        for run in &added {
            assert_eq!(
                run.json()["interfaces"][0]["mac"],
                bridge["address"],
                "{}",
                run.report()
            );
        }
        let checks: Vec<Value> = added.iter().map(Run::with_prev).collect();
        for run in run_all(calls("CHECK", &containers, &checks, path)) {
            answer::silent(run);
        }
        // The other way round, so that what one side wrote the other removes.
        for run in run_all(calls("DEL", &containers, &configs, |n| path(n + 1))) {
            answer::silent(run);
        }
        state::assert_back(&empty, &host);
        assert_eq!((ports(&host), state::leases("net").len()), (0, 0));
    }
    state::assert_back(&before, &host);
}

#[test]
fn fifty_at_once() {
    come_and_go(|_| bin_dir());
}

/// In the midst of an exchange of binaries: every second IPAM plugin is the peer's.
#[test]
fn fifty_at_once_with_both_ipam_plugins() {
    come_and_go(|n| {
        if n.is_multiple_of(2) {
            bin_dir()
        } else {
            peer_dir()
        }
    });
}

/// On a host that has nothing yet, all fifty find the bridge missing.
#[test]
fn fifty_at_once_on_a_fresh_host() {
    for _ in 0..3 {
        let host = Host::new();
        let containers = containers(&host);
        let configs = [networks::bridged("1.1.0", DUAL)];
        let added = run_all(calls("ADD", &containers, &configs, |_| bin_dir()));
        assert_eq!(addresses(&added).len(), 2 * CONTAINERS);
        assert_gateway_answers(&containers);
        let deleted = run_all(calls("DEL", &containers, &configs, |_| bin_dir()));
        deleted
            .into_iter()
            .for_each(|run| drop(answer::silent(run)));
        assert_eq!((ports(&host), state::leases("net").len()), (0, 0));
        assert!(state::veths(&host).is_empty());
    }
}

/// ADDs and DELs of different containers at the same time, round after round.
#[test]
fn coming_and_going_at_once() {
    let host = Host::new();
    let configs = [networks::bridged("1.1.0", DUAL)];
    let before = warmed_up(&host, &configs[0]);
    let containers = containers(&host);
    let (odd, even) = containers.split_at(CONTAINERS / 2);
    let call = |verb, some| calls(verb, some, &configs, |_| bin_dir());
    run_all(call("ADD", odd))
        .iter()
        .for_each(|run| drop(answer::result(run)));
    for round in 0..4 {
        let (come, go) = if round % 2 == 0 {
            (even, odd)
        } else {
            (odd, even)
        };
        let runs = run_all(call("ADD", come).chain(call("DEL", go)));
        let (added, deleted) = runs.split_at(come.len());
        assert_eq!(addresses(added).len(), 2 * come.len());
        for run in deleted {
            answer::silent(run.clone());
        }
        assert_eq!(ports(&host), come.len());
        assert_gateway_answers(come);
    }
    run_all(call("DEL", odd))
        .into_iter()
        .for_each(|run| drop(answer::silent(run)));
    drop(containers);
    state::assert_back(&before, &host);
}

/// More containers than addresses: as many succeed as there are, the others fail cleanly.
#[test]
fn more_than_there_are_addresses() {
    let host = Host::new();
    let configs = [networks::bridged(
        "1.1.0",
        &["fd00:50::/64", "10.50.0.0/27"],
    )];
    let containers = containers(&host);
    let runs = run_all(calls("ADD", &containers, &configs, |_| bin_dir()));
    let (added, failed): (Vec<Run>, Vec<Run>) = runs.into_iter().partition(Run::is_ok);
    assert_eq!(added.len(), 29);
    assert_eq!(addresses(&added).len(), 58);
    for run in failed {
        let error = answer::refusal(run, 999);
        assert!(
            error.msg.contains("no IP addresses available in range set"),
            "{}",
            error.msg
        );
    }
    assert_eq!((ports(&host), state::leases("net").len()), (29, 58));
    assert_eq!(state::veths(&host).len(), 29);
    for run in run_all(calls("DEL", &containers, &configs, |_| bin_dir())) {
        answer::silent(run);
    }
    assert_eq!((ports(&host), state::leases("net").len()), (0, 0));
}

/// Makes and removes links without end, which keeps the kernel's one lock for all of networking busy.
struct Churn(Child);

impl Churn {
    fn start() -> Churn {
        let forever = "while ip link add x type veth peer name y && ip link del x; do :; done";
        Churn(
            Command::new("sh")
                .args(["-c", forever])
                .spawn()
                .expect("start a shell"),
        )
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// On a host where links come and go, the kernel finishes IPv6 addresses some time after it has accepted them, also
/// without duplicate address detection: until then it drops what is sent to them, and the next try of neighbour
/// discovery comes a second later. ADD must not return before.
#[test]
fn addresses_are_ready_when_add_returns() {
    let host = Host::new();
    let config = networks::bridged("1.1.0", DUAL);
    let _churn = Churn::start();
    let late: Vec<String> = (0..60)
        .filter_map(|n| {
            let container = host.container(&format!("c{n}"));
            let added = Plugin::new("bridge").add(&container, &config);
            answer::result(&added);
            // The first datagram asks for the neighbour; half a second is far more than the answer takes.
            let gateway = "fd00:50::1".parse().expect("an address");
            let answered = container.can_reach(gateway, Duration::from_millis(500));
            answer::silent(Plugin::new("bridge").del(&container, &config));
            // After two seconds ADD does not wait any longer, and says so.
            let patient = added.elapsed < Duration::from_secs(2);
            (patient && !answered).then(|| container.id().to_owned())
        })
        .collect();
    assert!(
        late.is_empty(),
        "without an answer at once: {}",
        late.join(" ")
    );
}

/// One and the same attachment asked for ten times at once: one gets it, DELs in between do no harm.
#[test]
fn the_same_one_ten_times() {
    let host = Host::new();
    let config = networks::bridged("1.1.0", DUAL);
    let container = host.container("c1");
    let bridge = Plugin::new("bridge");
    let call = |verb| bridge.command(verb).container(&container).config(&config);
    for _ in 0..5 {
        let runs = run_all((0..10).map(|_| call("ADD")));
        let (added, failed): (Vec<Run>, Vec<Run>) = runs.into_iter().partition(Run::is_ok);
        assert_eq!(added.len(), 1);
        failed
            .into_iter()
            .for_each(|run| drop(answer::refusal(run, 999)));
        assert_eq!((ports(&host), state::leases("net").len()), (1, 2));
        answer::silent(bridge.check(&container, &added[0].with_prev()));
        for run in run_all((0..10).map(|_| call("DEL"))) {
            answer::silent(run);
        }
        assert_eq!((ports(&host), state::leases("net").len()), (0, 0));
    }
}

/// Containers that end while their DELs run.
#[test]
fn namespaces_vanish_during_del() {
    let host = Host::new();
    let configs = [networks::bridged("1.1.0", DUAL)];
    let before = warmed_up(&host, &configs[0]);
    let containers = containers(&host);
    let added = run_all(calls("ADD", &containers, &configs, |_| bin_dir()));
    assert_eq!(addresses(&added).len(), 2 * CONTAINERS);
    let running: Vec<_> = calls("DEL", &containers, &configs, |_| bin_dir())
        .map(Invocation::start)
        .collect();
    for container in containers {
        drop(container);
        thread::sleep(Duration::from_micros(500));
    }
    for run in running {
        answer::silent(run.wait());
    }
    state::assert_back(&before, &host);
    assert!(state::leases("net").is_empty());
}
