//! Plugins that are killed while they run: by the OOM killer, after a timeout of the runtime, or with the node.
//! DEL deletes whatever had been done by then, a new ADD succeeds, and GC deletes what got no DEL.
//!
//! The moments of the kills are spread evenly over the duration of an undisturbed run. The tests estimate this duration
//! as they go, because it changes with the load of the machine.

use std::thread;
use std::time::{Duration, Instant};

use blackbox::networks::{self, with};
use blackbox::{answer, state};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use testkit::{Container, Host, Node, Plugin, Running};

/// Number of moments to test.
const MOMENTS: u32 = 60;

/// The processes that are killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    /// The plugin and its delegate, as when a node or a service's control group goes down.
    Both,
    /// The plugin alone, as after a timeout of the runtime. Its delegate continues for a while.
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

/// Creates the bridge and the directories, which outlive attachments.
fn warm_up(host: &Host) {
    let container = host.container("warm-up");
    answer::result(&start("ADD", &container).wait());
    answer::silent(start("DEL", &container).wait());
}

/// Kills each plugin at another moment.
struct Killer {
    victim: Victim,
    /// The estimated duration of a run.
    estimate: Duration,
    kills: u32,
    in_time: u32,
}

impl Killer {
    fn of(victim: Victim) -> Killer {
        Killer {
            victim,
            estimate: Duration::from_millis(10),
            kills: 0,
            in_time: 0,
        }
    }

    /// Lets the plugin run for a part of the estimate and kills it. Returns when none of its processes is left.
    fn kill(&mut self, mut running: Running) {
        let until = Instant::now() + self.estimate * self.per_cent() / 100;
        // The last millisecond is a busy wait, because sleep is too coarse.
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
                "a process of the plugin is still running after 10 s"
            );
            thread::sleep(Duration::from_millis(1));
        }
        self.learn(in_time);
    }

    /// The part of the estimate after which to kill. Multiples of the golden ratio are evenly spread but not in order.
    fn per_cent(&self) -> u32 {
        self.kills * 618 % 1000 / 10
    }

    fn learn(&mut self, in_time: bool) {
        if in_time && self.per_cent() > 75 {
            self.estimate = self.estimate * 5 / 4;
        } else if !in_time {
            self.estimate = self.estimate * 4 / 5;
        }
        self.kills += 1;
        self.in_time += u32::from(in_time);
    }

    /// Demands that enough plugins were killed before they had finished.
    #[track_caller]
    fn assert_effective(&self) {
        let (in_time, kills) = (self.in_time, self.kills);
        assert!(
            in_time > kills / 3,
            "only {in_time} of {kills} plugins were killed before they had finished"
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
            "no answer from {gateway}\n{result}"
        );
    }
    answer::silent(bridge.del(container, &config()));
    assert!(state::veths(host).is_empty());
    assert!(state::leases("net").is_empty());
}

/// Kills ADD on a host where the bridge and the directories exist. DEL restores the previous state.
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
        killer.kill(start("ADD", &container));
        let has_remnants = container.link("eth0").is_some() || !state::leases("net").is_empty();
        remnants += u32::from(has_remnants);
        answer::silent(start("DEL", &container).wait());
        state::assert_back(&fresh, &host);
        assert!(state::veths(&host).is_empty());
        if n % 4 == 0 {
            assert_works(&host, &container);
        }
    }
    state::assert_back(&before, &host);
    killer.assert_effective();
    // Otherwise the test shows nothing.
    assert!(
        remnants > MOMENTS / 10,
        "only {remnants} of {MOMENTS} left anything behind"
    );
}

#[test]
fn del_cleans_up_after_a_kill_of_add_and_its_delegate() {
    add_is_killed(Victim::Both);
}

#[test]
fn del_cleans_up_after_a_kill_of_add_alone() {
    add_is_killed(Victim::Plugin);
}

/// The first ADD on a host also creates the bridge and the directories; after a kill a new ADD completes them.
#[test]
fn a_new_add_completes_a_killed_first_add() {
    let mut killer = Killer::of(Victim::Both);
    for _ in 0..MOMENTS / 2 {
        let host = Host::new();
        let container = host.container("c1");
        killer.kill(start("ADD", &container));
        answer::silent(start("DEL", &container).wait());
        assert!(state::veths(&host).is_empty());
        assert!(state::leases("net").is_empty());
        assert!(container.link("eth0").is_none());
        assert_works(&host, &container);
        assert_eq!(host.addresses("cni0"), ["10.60.0.1/24", "fd00:60::1/64"]);
    }
    killer.assert_effective();
}

/// The container is deleted without DEL after the kill; GC restores the previous state.
#[test]
fn gc_cleans_up_after_a_kill_of_add() {
    let host = Host::new();
    warm_up(&host);
    let before = state::of(&host);
    let mut none_valid = config();
    none_valid["cni.dev/valid-attachments"] = json!([]);
    let mut killer = Killer::of(Victim::Both);
    for _ in 0..MOMENTS / 2 {
        let container = host.container("c1");
        killer.kill(start("ADD", &container));
        drop(container);
        answer::silent(Plugin::new("bridge").gc(&none_valid));
        state::assert_back(&before, &host);
        assert!(state::leases("net").is_empty());
    }
    killer.assert_effective();
    assert_works(&host, &host.container("c1"));
}

/// A kill of one ADD does not affect other attachments.
#[test]
fn other_attachments_survive_a_kill() {
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
        killer.kill(start("ADD", &container));
        answer::silent(Plugin::new("bridge").check(&neighbour, &added.with_prev()));
        neighbour.ping("10.60.0.1");
        drop(container);
        answer::silent(Plugin::new("bridge").gc(&keep));
        state::assert_back(&before, &host);
    }
    killer.assert_effective();
}

/// A second DEL completes a killed one.
#[test]
fn a_second_del_completes_a_killed_one() {
    let host = Host::new();
    warm_up(&host);
    let container = host.container("c1");
    let before = state::of(&host);
    let mut killer = Killer::of(Victim::Both);
    for _ in 0..MOMENTS {
        answer::result(&start("ADD", &container).wait());
        killer.kill(start("DEL", &container));
        answer::silent(start("DEL", &container).wait());
        state::assert_back(&before, &host);
    }
    killer.assert_effective();
}

/// A killed host-local leaves no partial files, and DEL of either implementation releases the addresses.
#[test]
fn leases_of_a_killed_host_local_are_whole_and_released() {
    let host = Host::new();
    let container = host.container("c1");
    let config = with(config(), &json!({"cniVersion": "1.0.0"}));
    let (ours, peer) = (Plugin::new("host-local"), Plugin::peer("host-local"));
    let mut killer = Killer::of(Victim::Both);
    for n in 0..3 * MOMENTS {
        killer.kill(
            ours.command("ADD")
                .container(&container)
                .config(&config)
                .start(),
        );
        for (ip, content) in state::leases("net") {
            assert_eq!(content, "c1\r\neth0", "{ip} in run {n}");
        }
        let remover = if n % 2 == 0 { &ours } else { &peer };
        answer::silent(remover.del(&container, &config));
        assert!(state::leases("net").is_empty());
    }
    killer.assert_effective();
    // Temporary files do not accumulate.
    let files = host.snapshot();
    let files = files.lines("host files");
    let others: Vec<&&str> = files.iter().filter(|line| line.contains("/net/")).collect();
    assert!(others.len() <= 6, "{others:#?}");
    answer::result(&ours.add(&container, &config));
}
