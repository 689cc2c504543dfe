//! A network for the tests: a bridge of the host, a server behind it, and the daemon.

use serde_json::{Value, json};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
pub(crate) use testkit::dhcp::LAN;
use testkit::dhcp::{self, Pool, Program, Server};
use testkit::{Container, Host, Plugin, bin_dir, merge, patience};

/// The address of the server.
pub(crate) const SERVER: &str = "10.20.0.1";
/// The daemon's socket.
pub(crate) const SOCKET: &str = "/run/cni/dhcp.sock";
/// Flags of a daemon whose waits are short.
pub(crate) const QUICK: &[&str] = &[
    "-timeout",
    "500ms",
    "-resendmax",
    "1s",
    "-resendtimeout",
    "20s",
];

/// A private host with the segment [`LAN`], and a server container with an address on it.
pub(crate) struct Lan {
    pub(crate) server: Container,
    pub(crate) host: Host,
}

impl Lan {
    /// Returns a network without any DHCP server.
    pub(crate) fn new() -> Lan {
        let host = Host::new();
        dhcp::lan(&host);
        let server = dhcp::node(&host, "server", &[&format!("{SERVER}/24")]);
        Lan { server, host }
    }

    /// Returns a container with `eth0` on the segment; the host's end has its name.
    pub(crate) fn container(&self, name: &str) -> Container {
        dhcp::node(&self.host, name, &[])
    }

    /// Starts dnsmasq in the server's container, for 10.20.0.50 to .200.
    pub(crate) fn dnsmasq(&self, options: &str) -> Server {
        let pool = Pool {
            router: Some(SERVER.to_owned()),
            lease: 120,
            renew: 60,
            rebind: 100,
            ..Pool::short("10.20.0.50", "10.20.0.200")
        };
        Server::start(
            &self.host,
            Program::Dnsmasq,
            &self.server,
            "dnsmasq",
            &pool,
            options,
        )
    }

    /// The leases of dnsmasq, a line each.
    pub(crate) fn leases(&self) -> Vec<String> {
        let file = self.host.dir().join("dnsmasq/leases");
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().map(String::from).collect()
    }
}

/// The daemon, killed when this value is dropped.
pub(crate) struct Daemon {
    child: Child,
}

impl Daemon {
    /// Starts the daemon, and waits until it listens. Its log goes to the test's.
    #[track_caller]
    pub(crate) fn start(flags: &[&str]) -> Daemon {
        let daemon = Daemon::spawn(flags);
        let socket = flags
            .iter()
            .skip_while(|flag| **flag != "-socketpath")
            .nth(1);
        eventually("the daemon listens", || {
            UnixStream::connect(socket.unwrap_or(&SOCKET)).is_ok()
        });
        daemon
    }

    /// Starts the daemon without waiting for it.
    pub(crate) fn spawn(flags: &[&str]) -> Daemon {
        let child = Command::new(bin_dir().join("dhcp"))
            .arg("daemon")
            .args(flags)
            .env("CNI_LOG", "debug")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Daemon { child }
    }

    /// Its process ID.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it with SIGTERM; returns whether it exits with 0.
    pub(crate) fn terminate(mut self) -> bool {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().success()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // SIGKILL.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    eventually_within(Duration::from_secs(20), what, is_so);
}

/// Waits at most this long, on a busy machine longer, until something is so.
#[track_caller]
pub(crate) fn eventually_within(time: Duration, what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + time * patience();
    while !is_so() {
        assert!(
            Instant::now() < until,
            "does not happen within {time:?}: {what}"
        );
        sleep(Duration::from_millis(20));
    }
}

/// A configuration with these keys of `ipam`.
pub(crate) fn config(ipam: &Value) -> Value {
    let ipam = merge(json!({"type": "dhcp"}), ipam);
    json!({"cniVersion": "1.1.0", "name": "net", "type": "bridge", "ipam": ipam})
}

/// The plugin.
pub(crate) fn plugin() -> Plugin {
    Plugin::new("dhcp")
}

/// The leases of the daemon, as JSON.
#[track_caller]
pub(crate) fn status() -> Vec<Value> {
    let output = Command::new(bin_dir().join("dhcp"))
        .args(["status", "--json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The state of the only lease of the daemon.
#[track_caller]
pub(crate) fn state() -> String {
    status()
        .first()
        .map(|lease| lease["state"].as_str().unwrap().to_owned())
        .unwrap_or_default()
}

/// The names of the files in a directory, none if there is none.
pub(crate) fn files(path: &str) -> Vec<String> {
    let entries = std::fs::read_dir(Path::new(path))
        .into_iter()
        .flatten()
        .flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
