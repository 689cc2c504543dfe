//! Many calls at once, as on a node that boots or with a job of fifty containers.

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

/// Returns a call of the bridge plugin for each container; `path` is the `CNI_PATH` of the n-th.
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
        // All run at once, possibly on two cores.
        call.config(&configs[n % configs.len()])
            .deadline(Duration::from_secs(120))
    })
}

/// Attaches and detaches a container, so that the bridge and the directories exist. Returns the state of the host.
fn warmed_up(host: &Host, config: &Value) -> Snapshot {
    let first = host.container("first");
    answer::result(&Plugin::new("bridge").add(&first, config));
    answer::silent(Plugin::new("bridge").del(&first, config));
    drop(first);
    state::of(host)
}

/// Returns the addresses in the results, which must all differ.
#[track_caller]
fn addresses(added: &[Run]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for run in added {
        for ip in answer::result(run)["ips"].as_array().into_iter().flatten() {
            let address = ip["address"].as_str().unwrap_or_default().to_owned();
            assert!(all.insert(address.clone()), "{address} was allocated twice");
        }
    }
    all
}

/// The number of ports of the bridge.
fn ports(host: &Host) -> usize {
    host.ip_json(&["link", "show", "master", "cni0"])
        .as_array()
        .map_or(0, Vec::len)
}

/// Demands that every container reaches the gateway with both families. The limit is generous, because the machine is
/// busy.
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

/// Runs fifty ADDs at once, then fifty CHECKs, then fifty DELs.
#[track_caller]
fn add_check_and_del_at_once(path: impl Fn(usize) -> PathBuf + Copy) {
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
        // The hardware address of the bridge has not changed since any ADD.
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
        // With the other IPAM plugin, so that each side deletes leases of the other.
        for run in run_all(calls("DEL", &containers, &configs, |n| path(n + 1))) {
            answer::silent(run);
        }
        state::assert_back(&empty, &host);
        assert_eq!((ports(&host), state::leases("net").len()), (0, 0));
    }
    state::assert_back(&before, &host);
}

#[test]
fn fifty_containers_at_once() {
    add_check_and_del_at_once(|_| bin_dir());
}

/// Every second IPAM plugin is the peer's, as while the binaries of a node are being replaced.
#[test]
fn fifty_containers_at_once_with_both_ipam_plugins() {
    add_check_and_del_at_once(|n| {
        if n.is_multiple_of(2) {
            bin_dir()
        } else {
            peer_dir()
        }
    });
}

/// On a fresh host, all fifty find that the bridge is missing.
#[test]
fn fifty_containers_at_once_on_a_fresh_host() {
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

/// ADDs and DELs of different containers run at the same time.
#[test]
fn adds_and_dels_at_once() {
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
        let (added_now, deleted_now) = if round % 2 == 0 {
            (even, odd)
        } else {
            (odd, even)
        };
        let runs = run_all(call("ADD", added_now).chain(call("DEL", deleted_now)));
        let (added, deleted) = runs.split_at(added_now.len());
        assert_eq!(addresses(added).len(), 2 * added_now.len());
        for run in deleted {
            answer::silent(run.clone());
        }
        assert_eq!(ports(&host), added_now.len());
        assert_gateway_answers(added_now);
    }
    run_all(call("DEL", odd))
        .into_iter()
        .for_each(|run| drop(answer::silent(run)));
    drop(containers);
    state::assert_back(&before, &host);
}

/// With more containers than addresses, ADD succeeds once per address, and the other ADDs fail and leave nothing.
#[test]
fn more_containers_than_addresses() {
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

/// A process that creates and deletes links all the time, which keeps the kernel's RTNL lock busy.
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

/// When the RTNL lock is busy, the kernel activates an IPv6 address some time after it has accepted it, also without
/// duplicate address detection. Until then it drops packets to the address, and neighbour discovery retries only after
/// a second. ADD must not return before the addresses are active.
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
            // An answer to the first neighbour solicitation takes far less than half a second.
            let gateway = "fd00:50::1".parse().expect("an address");
            let answered = container.can_reach(gateway, Duration::from_millis(500));
            answer::silent(Plugin::new("bridge").del(&container, &config));
            // ADD waits for at most two seconds, then logs a warning and returns.
            let is_within_limit = added.elapsed < Duration::from_secs(2);
            (is_within_limit && !answered).then(|| container.id().to_owned())
        })
        .collect();
    assert!(
        late.is_empty(),
        "no answer right after ADD: {}",
        late.join(" ")
    );
}

/// Of ten ADDs of one attachment at once, one succeeds. Ten DELs at once all succeed.
#[test]
fn the_same_attachment_ten_times_at_once() {
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

/// DEL succeeds if the namespace is deleted while it runs.
#[test]
fn namespaces_are_deleted_during_del() {
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
