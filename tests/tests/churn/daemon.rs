//! The daemon of dhcp, which is killed now and then, and a server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::dhcp::{self, Pool, Program, Server};
use testkit::{Host, Plugin, Service};

use crate::results::Results;

/// Time between two kills.
const LIFE: Duration = Duration::from_secs(3);

/// Prepares the segment `lan0` with a server at 10.86.0.1, which runs as long as the returned value.
pub(crate) fn server(host: &Host) -> Server {
    dhcp::lan(host);
    let node = dhcp::node(host, "dhcpserver", &["10.86.0.1/24"]);
    let pool = Pool {
        router: Some("10.86.0.1".into()),
        ..Pool::short("10.86.0.10", "10.86.0.250")
    };
    let server = Server::start(host, Program::Dnsmasq, &node, "server", &pool, "");
    // The namespace is part of the host until its end.
    std::mem::forget(node);
    server
}

/// Starts the daemon, and waits until it answers.
pub(crate) fn start() -> Service {
    let program = Plugin::new("dhcp").program().display().to_string();
    let daemon = Service::start(&[&program, "daemon"]);
    let config =
        json!({"cniVersion": "1.1.0", "name": "dhcp", "type": "any", "ipam": {"type": "dhcp"}});
    let deadline = Instant::now() + Duration::from_secs(60);
    while !Plugin::new("dhcp").status(&config).is_ok() {
        assert!(Instant::now() < deadline, "the daemon does not answer");
        thread::sleep(Duration::from_millis(20));
    }
    daemon
}

/// Kills the daemon and starts another one again and again. Returns the last one.
pub(crate) fn kill_now_and_then(
    mut daemon: Service,
    results: &Results,
    is_over: &AtomicBool,
) -> Service {
    while !is_over.load(Ordering::Relaxed) {
        let end = Instant::now() + LIFE;
        while Instant::now() < end && !is_over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(50));
        }
        drop(daemon);
        thread::sleep(Duration::from_millis(100));
        daemon = start();
        results.count("kill of the DHCP daemon");
    }
    daemon
}
