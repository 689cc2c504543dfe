//! The plugin is killed in the middle of its work: by the OOM killer, a timeout of the runtime, a node that goes
//! down. Whatever it had done by then, DEL removes it, a new ADD works, and GC finds what nobody DELeted.
//!
//! The moments are spread evenly over the time that an undisturbed run takes. How long that is the tests find out as
//! they go, since it changes with the load of the machine.

use std::thread;
use std::time::{Duration, Instant};

use blackbox::networks::{self, with};
use blackbox::{answer, state};
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

/// Makes the bridge and the directories, which stay for good.
fn warm_up(host: &Host) {
    let container = host.container("warm-up");
    answer::result(&start("ADD", &container).wait());
    answer::silent(start("DEL", &container).wait());
}

/// Kills plugins, each a little earlier or later than the others.
struct Killer {
    victim: Victim,
    /// How long a run takes, as far as is known.
    whole: Duration,
    strikes: u32,
    in_time: u32,
}

impl Killer {
    fn of(victim: Victim) -> Killer {
        Killer {
            victim,
            whole: Duration::from_millis(10),
            strikes: 0,
            in_time: 0,
        }
    }

    /// Lets the plugin run for some part of its time and kills it. Returns when no process of it is left.
    fn strike(&mut self, mut running: Running) {
        let until = Instant::now() + self.whole * self.per_cent() / 100;
        // Sleeping is too coarse for the last millisecond.
        while Instant::now() < until {
            if until.saturating_duration_since(Instant::now()) > Duration::from_millis(1) {
                thread::sleep(Duration::from_micros(200));
            }
        }
        let pid = Pid::from_raw(i32::try_from(running.pid()).expect("a process ID"));
        match self.victim {
            Victim::Both => running.kill(),
            Victim::Plugin => kill(pid, Signal::SIGKILL).expect("kill the plugin"),
        }
        let in_time = running.wait().status.code().is_none();
        // The delegate is in the same process group.
        let end = Instant::now() + Duration::from_secs(10);
        while killpg(pid, None) != Err(Errno::ESRCH) {
            assert!(
                Instant::now() < end,
                "a process of the plugin's is still there after 10 s"
            );
            thread::sleep(Duration::from_millis(1));
        }
        self.learn(in_time);
    }

    /// The part of a run after which to strike: evenly spread, but not in order, by the multiples of the golden ratio.
    fn per_cent(&self) -> u32 {
        self.strikes * 618 % 1000 / 10
    }

    fn learn(&mut self, in_time: bool) {
        if in_time && self.per_cent() > 75 {
            self.whole = self.whole * 5 / 4;
        } else if !in_time {
            self.whole = self.whole * 4 / 5;
        }
        self.strikes += 1;
        self.in_time += u32::from(in_time);
    }

    /// Demands that the strikes were not in vain.
    #[track_caller]
    fn assert_effective(&self) {
        let (in_time, strikes) = (self.in_time, self.strikes);
        assert!(
            in_time > strikes / 3,
            "only {in_time} of {strikes} plugins were killed in time"
        );
    }
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
            container.can_reach(gateway, Duration::from_secs(5)),
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
    warm_up(&host);
    let before = state::of(&host);
    let mut killer = Killer::of(victim);
    let mut remnants = 0;
    for n in 0..MOMENTS {
        let container = host.container(&format!("c{n}"));
        let fresh = state::of(&host);
        killer.strike(start("ADD", &container));
        let remains = container.link("eth0").is_some() || !state::leases("net").is_empty();
        remnants += u32::from(remains);
        answer::silent(start("DEL", &container).wait());
        state::assert_back(&fresh, &host);
        assert!(state::veths(&host).is_empty());
        if n % 4 == 0 {
            assert_works(&host, &container);
        }
    }
    state::assert_back(&before, &host);
    killer.assert_effective();
    // Or nothing was shown.
    assert!(
        remnants > MOMENTS / 10,
        "only {remnants} of {MOMENTS} left anything behind"
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
    let mut killer = Killer::of(Victim::Both);
    for _ in 0..MOMENTS / 2 {
        let host = Host::new();
        let container = host.container("c1");
        killer.strike(start("ADD", &container));
        answer::silent(start("DEL", &container).wait());
        assert!(state::veths(&host).is_empty());
        assert!(state::leases("net").is_empty());
        assert!(container.link("eth0").is_none());
        assert_works(&host, &container);
        assert_eq!(host.addresses("cni0"), ["10.60.0.1/24", "fd00:60::1/64"]);
    }
    killer.assert_effective();
}

/// Without DEL, the container being gone: GC finds what is left.
#[test]
fn add_is_killed_and_the_container_gone() {
    let host = Host::new();
    warm_up(&host);
    let before = state::of(&host);
    let mut nobody = config();
    nobody["cni.dev/valid-attachments"] = json!([]);
    let mut killer = Killer::of(Victim::Both);
    for _ in 0..MOMENTS / 2 {
        let container = host.container("c1");
        killer.strike(start("ADD", &container));
        drop(container);
        answer::silent(Plugin::new("bridge").gc(&nobody));
        state::assert_back(&before, &host);
        assert!(state::leases("net").is_empty());
    }
    killer.assert_effective();
    assert_works(&host, &host.container("c1"));
}

/// A crash of one does not touch the others.
#[test]
fn neighbours_live_on() {
    let host = Host::new();
    let neighbour = host.container("neighbour");
    let added = start("ADD", &neighbour).wait();
    answer::result(&added);
    let before = state::of(&host);
    let mut keep = config();
    keep["cni.dev/valid-attachments"] = json!([{"containerID": "neighbour", "ifname": "eth0"}]);
    let mut killer = Killer::of(Victim::Both);
    for _ in 0..MOMENTS / 4 {
        let container = host.container("c1");
        killer.strike(start("ADD", &container));
        answer::silent(Plugin::new("bridge").check(&neighbour, &added.with_prev()));
        neighbour.ping("10.60.0.1");
        drop(container);
        answer::silent(Plugin::new("bridge").gc(&keep));
        state::assert_back(&before, &host);
    }
    killer.assert_effective();
}

/// DEL killed, then repeated.
#[test]
fn del_is_killed() {
    let host = Host::new();
    warm_up(&host);
    let container = host.container("c1");
    let before = state::of(&host);
    let mut killer = Killer::of(Victim::Both);
    for _ in 0..MOMENTS {
        answer::result(&start("ADD", &container).wait());
        killer.strike(start("DEL", &container));
        answer::silent(start("DEL", &container).wait());
        state::assert_back(&before, &host);
    }
    killer.assert_effective();
}

/// host-local itself, which must neither leak an address nor leave one half written: DEL finds it all, and so does
/// the peer's.
#[test]
fn host_local_is_killed() {
    let host = Host::new();
    let container = host.container("c1");
    let config = with(config(), &json!({"cniVersion": "1.0.0"}));
    let (ours, peer) = (Plugin::new("host-local"), Plugin::peer("host-local"));
    let mut killer = Killer::of(Victim::Both);
    for n in 0..3 * MOMENTS {
        killer.strike(
            ours.command("ADD")
                .container(&container)
                .config(&config)
                .start(),
        );
        for (ip, content) in state::leases("net") {
            assert_eq!(content, "c1\r\neth0", "{ip} in run {n}");
        }
        let cleaner = if n % 2 == 0 { &ours } else { &peer };
        answer::silent(cleaner.del(&container, &config));
        assert!(state::leases("net").is_empty());
    }
    killer.assert_effective();
    // Nor does anything pile up beside the addresses.
    let files = host.snapshot();
    let files = files.lines("host files");
    let beside: Vec<&&str> = files.iter().filter(|line| line.contains("/net/")).collect();
    assert!(beside.len() <= 6, "{beside:#?}");
    answer::result(&ours.add(&container, &config));
}
