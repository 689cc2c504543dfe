//! The runtime's end of standard output sees the end when the plugin exits, and the process that it leaves is reaped.

use std::env;
use std::io::Read;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use blackbox::answer;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use testkit::{Container, Host, Plugin};

use crate::processes::{assert_nothing_left, del_behind, masquerading, processes_here};

/// Rounds of which one must show what takes luck to see on a busy machine.
const ROUNDS: u32 = 20;

/// Attaches the container, runs DEL behind `wrapper`, and reads its standard output to the end. Returns whether a
/// process of the plugin existed then.
#[track_caller]
fn outlives_its_output(wrapper: &[&str], container: &Container) -> bool {
    let config = masquerading();
    answer::result(&Plugin::new("bridge").add(container, &config));
    // In a container, too.
    let mut running = del_behind(wrapper, container, &config)
        .env("CNI_DEFER", "always")
        .spawn()
        .expect("start DEL");
    let mut text = String::new();
    let mut stdout = running.stdout.take().expect("a pipe");
    stdout.read_to_string(&mut text).expect("read the output");
    let status = running.wait().expect("wait for DEL");
    let is_left = !processes_here("bridge").is_empty();
    assert!(status.success(), "{status}: {text}");
    is_left
}

/// The child closes its sockets up to a fifth of a second after the plugin has exited. It has no descriptor of the runtime's.
#[track_caller]
fn the_end_comes_before_the_child_ends(wrapper: &[&str]) {
    let host = Host::new();
    let container = host.container("c1");
    let seen = (0..ROUNDS).any(|_| outlives_its_output(wrapper, &container));
    assert!(
        seen,
        "no process outlived its output, so this test shows nothing"
    );
    assert_nothing_left("bridge", &host, &[container]);
}

#[test]
fn output_ends_when_the_plugin_exits() {
    the_end_comes_before_the_child_ends(&[]);
}

/// The signal is for the plugin, should its runtime die. The child does not inherit it.
#[test]
fn output_ends_under_pdeathsig() {
    the_end_comes_before_the_child_ends(&["setpriv", "--pdeathsig", "KILL"]);
}

const SUBREAPER: &str = "descriptors::a_subreaper_gets_the_child";

/// Runs itself in a process of its own, which becomes a subreaper: the attribute is the process's.
#[test]
fn a_subreaper_gets_the_child() {
    if env::var_os("CNI_TEST_SUBREAPER").is_some() {
        return be_a_subreaper();
    }
    let output = Command::new(env::current_exe().expect("the path of this program"))
        .args(["--exact", SUBREAPER, "--nocapture"])
        .env("CNI_TEST_SUBREAPER", "1")
        .output()
        .expect("start this program");
    let [stdout, stderr] = [output.stdout, output.stderr].map(String::from_utf8);
    let text = format!("{stdout:?}{stderr:?}");
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

fn be_a_subreaper() {
    set_child_subreaper(true).expect("become a subreaper");
    let host = Host::new();
    let container = host.container("c1");
    let seen = (0..ROUNDS).any(|_| {
        let is_left = outlives_its_output(&[], &container);
        is_left && reaps_one()
    });
    assert!(seen, "no process was left to reap");
    assert_nothing_left("bridge", &host, &[container]);
}

/// Waits for a child that this process has not started. Returns whether it exited with 0.
fn reaps_one() -> bool {
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => return code == 0,
            Ok(_) => thread::sleep(Duration::from_millis(5)),
            Err(_) => return false,
        }
    }
    false
}
