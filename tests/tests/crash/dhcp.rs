//! The dhcp plugin and its daemon, killed before each change that they make.

use std::any::Any;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use blackbox::answer;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use testkit::dhcp::{self, LAN, Pool, Program, Server};
use testkit::trace::{Kill, Trace, Victim, trace};
use testkit::{Host, Service, bin_dir, patience};

use crate::cases::Case;
use crate::report::Report;
use crate::stage::Stage;
use crate::sweep::{self, Cleaner, judge};

const SOCKET: &str = "/run/cni/dhcp.sock";

fn plugins() -> Vec<Value> {
    vec![json!({"type": "bridge", "bridge": LAN, "ipam": {"type": "dhcp"}})]
}

/// A segment with a server.
fn server(host: &Host) -> Vec<Box<dyn Any>> {
    dhcp::lan(host);
    let node = dhcp::node(host, "server", &["10.60.0.1/24"]);
    let pool = Pool {
        lease: 3600,
        renew: 1800,
        rebind: 3000,
        ..Pool::short("10.60.0.50", "10.60.0.250")
    };
    let server = Server::start(host, Program::Dnsmasq, &node, "dnsmasq", &pool, "");
    vec![Box::new(server), Box::new(node)]
}

fn server_and_daemon(host: &Host) -> Vec<Box<dyn Any>> {
    let mut others = server(host);
    others.insert(0, Box::new(daemon()));
    others
}

/// Starts the daemon, and waits until it listens.
fn daemon() -> Service {
    let program = bin_dir().join("dhcp").display().to_string();
    let daemon = Service::start(&[&program, "daemon"]);
    assert!(listens(|| false), "the daemon does not listen");
    daemon
}

/// Waits until the daemon listens. Returns `false` if it `has_ended`, or does not in time.
fn listens(has_ended: impl Fn() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(20) * patience();
    while UnixStream::connect(SOCKET).is_err() {
        if has_ended() || Instant::now() > end {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
    true
}

fn plugin() -> Case {
    Case::new("bridge, dhcp", plugins()).with(server_and_daemon)
}

#[test]
fn add() {
    sweep::add(&plugin());
}

#[test]
fn del() {
    sweep::del(&plugin());
}

/// The daemon is killed at each point of an ADD. The next daemon and DEL restore the state before.
#[test]
fn daemon_during_add() {
    let case = Case::new("dhcp daemon", plugins()).with(server);
    let mut report = Report::new(case.name, "ADD");
    let prepare = || {
        let stage = Stage::fresh(&case);
        traced(&stage, None);
        detach(&stage);
        let before = stage.state();
        (stage, before)
    };
    let (mut stage, mut before) = prepare();
    let points = traced(&stage, None).changes;
    detach(&stage);
    for (_, at, what) in report.chosen(&points, 0, 2) {
        let victim = Victim::All;
        let traced = traced(&stage, Some(Kill { at, victim }));
        let deleted = detach(&stage);
        // Whether it comes to the last points depends on when it is told to end.
        let outcome = judge(&deleted, stage.remains(&before, |state| state));
        let failed = outcome.is_err();
        let what = format!("killed ({}) before {at:?}: {what}", traced.is_killed);
        report.add(Cleaner::Del, &what, outcome);
        if failed {
            drop(stage);
            (stage, before) = prepare();
        }
    }
    report.finish();
}

/// Runs ADD with a daemon that is killed as `kill` says, and ends the daemon.
fn traced(stage: &Stage, kill_at: Option<Kill>) -> Trace {
    let (sender, started) = mpsc::channel();
    let tracer = thread::spawn(move || {
        let mut daemon = Command::new(bin_dir().join("dhcp"));
        daemon.arg("daemon").env_clear();
        daemon.stdin(Stdio::null()).stderr(Stdio::null());
        let deadline = Duration::from_secs(60) * patience();
        let started = |child: &mut Child| {
            let _ = sender.send(child.id());
        };
        trace(&mut daemon, kill_at, deadline, started).expect("trace the daemon")
    });
    let pid = started.recv().expect("the daemon has started");
    if listens(|| tracer.is_finished()) {
        let run = stage.call("ADD", &Value::Null).run();
        assert!(run.is_ok() || kill_at.is_some(), "{}", run.report());
    }
    if !tracer.is_finished() {
        let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM);
    }
    tracer.join().expect("the tracer ends")
}

/// Runs DEL with another daemon, which ends afterwards.
fn detach(stage: &Stage) -> testkit::Run {
    let daemon = daemon();
    let run = answer::silent(stage.call("DEL", &Value::Null).run());
    drop(daemon);
    // It was killed.
    if Path::new(SOCKET).exists() {
        fs::remove_file(SOCKET).expect("remove the socket");
    }
    run
}
