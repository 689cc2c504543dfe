//! The plugin is killed in the middle of its work: by the OOM killer, a timeout of the runtime, a node that goes
//! down. Whatever it had done by then, DEL removes it, a new ADD works, and GC finds what nobody DELeted.
//!
//! The moments are spread evenly over the time that an undisturbed run takes, and a little beyond.

use std::thread;
use std::time::{Duration, Instant};

use blackbox::{answer, networks, state};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use testkit::{Container, Host, Node, Plugin, Running};

/// How many moments of a run are tried.
const MOMENTS: u32 = 60;

/// Who dies.
#[derive(Clone, Copy, Debug)]
enum Victim {
    /// The plugin and its delegate, as when a node or a service's control group goes down.
    Both,
    /// The plugin alone, as when a runtime's patience ends; its delegate runs on for a while.
    Plugin,
}

fn config() -> Value {
    networks::bridged("1.1.0", &["10.60.0.0/24", "fd00:60::/64"])
}

fn start(verb: &str, container: &Container) -> Running {
    Plugin::new("bridge")
        .command(verb)
        .container(container)
        .config(&config())
        .start()
}

/// How long the plugin takes here and now: the longest of a few runs.
fn duration_of(host: &Host) -> (Duration, Duration) {
    let container = host.container("measured");
    let mut longest = (Duration::ZERO, Duration::ZERO);
    for _ in 0..5 {
        let add = start("ADD", &container).wait().expect_ok().elapsed;
        let del = start("DEL", &container).wait().expect_ok().elapsed;
        longest = (longest.0.max(add), longest.1.max(del));
    }
    longest
}

/// Kills the plugin after `moment`; whether it was still running. Returns when no process of it is left.
fn kill_after(mut running: Running, moment: Duration, victim: Victim) -> bool {
    let until = Instant::now() + moment;
    // Sleeping is too coarse for the last millisecond.
    while Instant::now() < until {
        if until.saturating_duration_since(Instant::now()) > Duration::from_millis(1) {
            thread::sleep(Duration::from_micros(200));
        }
    }
    let pid = Pid::from_raw(i32::try_from(running.pid()).expect("a process ID"));
    match victim {
        Victim::Both => running.kill(),
        Victim::Plugin => kill(pid, Signal::SIGKILL).expect("kill the plugin"),
    }
    let killed = running.wait().status.code().is_none();
    // The delegate is in the same process group.
    let end = Instant::now() + Duration::from_secs(10);
    while killpg(pid, None) != Err(Errno::ESRCH) {
        assert!(
            Instant::now() < end,
            "a process of the plugin's is still there after 10 s"
        );
        thread::sleep(Duration::from_millis(1));
    }
    killed
}

#[track_caller]
fn assert_works(host: &Host, container: &Container) {
    let bridge = Plugin::new("bridge");
    let added = bridge.add(container, &config());
    let result = answer::result(&added);
    answer::silent(bridge.check(container, &added.with_prev()));
    for gateway in ["10.60.0.1", "fd00:60::1"] {
        let gateway = gateway.parse().expect("an address");
        assert!(
            container.can_reach(gateway, Duration::from_secs(1)),
            "no answer of {gateway}\n{result}"
        );
    }
    answer::silent(bridge.del(container, &config()));
    assert!(state::veths(host).is_empty());
    assert!(state::leases("net").is_empty());
}

/// After the first container has come and gone, so that only what belongs to one attachment is in question.
#[track_caller]
fn add_is_killed(victim: Victim) {
    let host = Host::new();
    let (whole, _) = duration_of(&host);
    let before = state::of(&host);
    let mut killed = 0;
    for moment in 0..MOMENTS {
        let container = host.container(&format!("c{moment}"));
        let fresh = state::of(&host);
        killed += u32::from(kill_after(
            start("ADD", &container),
            whole * moment / MOMENTS,
            victim,
        ));
        answer::silent(start("DEL", &container).wait());
        state::assert_back(&fresh, &host);
        assert!(state::veths(&host).is_empty());
        if moment % 4 == 0 {
            assert_works(&host, &container);
        }
    }
    state::assert_back(&before, &host);
    assert!(
        killed > MOMENTS / 4,
        "only {killed} of {MOMENTS} were killed in time"
    );
}

#[test]
fn add_is_killed_with_its_delegate() {
    add_is_killed(Victim::Both);
}

#[test]
fn add_is_killed_alone() {
    add_is_killed(Victim::Plugin);
}

/// The very first ADD of a host, which also makes the bridge and the directories: a new ADD finishes the work.
#[test]
fn the_first_add_of_all_is_killed() {
    let whole = duration_of(&Host::new()).0 * 2;
    for moment in 0..MOMENTS / 2 {
        let host = Host::new();
        let container = host.container("c1");
        kill_after(
            start("ADD", &container),
            whole * moment / (MOMENTS / 2),
            Victim::Both,
        );
        answer::silent(start("DEL", &container).wait());
        assert!(state::veths(&host).is_empty());
        assert!(state::leases("net").is_empty());
        assert!(container.link("eth0").is_none());
        assert_works(&host, &container);
        assert_eq!(host.addresses("cni0"), ["10.60.0.1/24", "fd00:60::1/64"]);
    }
}

/// Without DEL: the runtime retries, under the same ID once the namespace is made anew.
#[test]
fn add_is_killed_and_the_container_gone() {
    let host = Host::new();
    let (whole, _) = duration_of(&host);
    let before = state::of(&host);
    let mut configured = config();
    configured["cni.dev/valid-attachments"] = json!([]);
    for moment in 0..MOMENTS / 2 {
        let container = host.container("c1");
        kill_after(
            start("ADD", &container),
            whole * moment / (MOMENTS / 2),
            Victim::Both,
        );
        drop(container);
        answer::silent(Plugin::new("bridge").gc(&configured));
        state::assert_back(&before, &host);
        assert!(state::leases("net").is_empty());
    }
    assert_works(&host, &host.container("c1"));
}

/// A crash of one does not touch the others.
#[test]
fn neighbours_live_on() {
    let host = Host::new();
    let (whole, _) = duration_of(&host);
    let neighbour = host.container("neighbour");
    let added = start("ADD", &neighbour).wait();
    answer::result(&added);
    let before = state::of(&host);
    let mut keep = config();
    keep["cni.dev/valid-attachments"] = json!([{"containerID": "neighbour", "ifname": "eth0"}]);
    for moment in 0..MOMENTS / 4 {
        let container = host.container("c1");
        kill_after(
            start("ADD", &container),
            whole * moment / (MOMENTS / 4),
            Victim::Both,
        );
        answer::silent(Plugin::new("bridge").check(&neighbour, &added.with_prev()));
        neighbour.ping("10.60.0.1");
        drop(container);
        answer::silent(Plugin::new("bridge").gc(&keep));
        state::assert_back(&before, &host);
    }
}

/// DEL killed, then repeated.
#[test]
fn del_is_killed() {
    let host = Host::new();
    let (_, whole) = duration_of(&host);
    let container = host.container("c1");
    let before = state::of(&host);
    let mut killed = 0;
    for moment in 0..MOMENTS {
        answer::result(&start("ADD", &container).wait());
        killed += u32::from(kill_after(
            start("DEL", &container),
            whole * moment / MOMENTS,
            Victim::Both,
        ));
        answer::silent(start("DEL", &container).wait());
        state::assert_back(&before, &host);
    }
    assert!(
        killed > MOMENTS / 4,
        "only {killed} of {MOMENTS} were killed in time"
    );
}

/// host-local itself, which must neither leak an address nor leave one half written: DEL finds it all, and so does
/// the peer's.
#[test]
fn host_local_is_killed() {
    let host = Host::new();
    let container = host.container("c1");
    let (ours, peer) = (Plugin::new("host-local"), Plugin::peer("host-local"));
    let add = || {
        ours.command("ADD")
            .container(&container)
            .config(&config())
            .start()
    };
    let mut whole = Duration::ZERO;
    for _ in 0..5 {
        whole = whole.max(add().wait().expect_ok().elapsed);
        answer::silent(ours.del(&container, &config()));
    }
    let mut killed = 0;
    for moment in 0..2 * MOMENTS {
        killed += u32::from(kill_after(
            add(),
            whole * moment / (2 * MOMENTS),
            Victim::Both,
        ));
        for (ip, content) in state::leases("net") {
            assert_eq!(content, "c1\r\neth0", "{ip} after {moment}/{}", 2 * MOMENTS);
        }
        let cleaner = if moment % 2 == 0 { &ours } else { &peer };
        let mut old = config();
        old["cniVersion"] = json!("1.0.0");
        answer::silent(cleaner.del(&container, &old));
        assert!(state::leases("net").is_empty());
    }
    assert!(
        killed > MOMENTS / 2,
        "only {killed} of {} were killed in time",
        2 * MOMENTS
    );
    // Nor does anything pile up beside the addresses.
    let files = host.snapshot();
    let beside: Vec<&str> = files
        .lines("host files")
        .into_iter()
        .filter(|l| l.contains("/net/"))
        .collect();
    assert!(beside.len() <= 6, "{beside:#?}");
    answer::result(&ours.add(&container, &config()));
}
