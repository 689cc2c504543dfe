//! Operations on hosts and containers alike.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Seek as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::inventory::Links;
use crate::patience;

/// A [`Host`](crate::Host) or a [`Container`](crate::Container), each with a network namespace.
///
/// Its state is read with iproute2, independent of the code under test.
pub trait Node {
    /// Runs `f` on the calling thread inside the node's network namespace.
    fn enter<T>(&self, f: impl FnOnce() -> T) -> T;

    /// The name used in messages.
    fn label(&self) -> &str;

    /// Runs a program inside. Returns its standard output, or an error with all of its output.
    ///
    /// # Errors
    ///
    /// When it cannot be started or exits with another status than 0.
    fn try_command(&self, argv: &[&str]) -> Result<String, String> {
        let shown = format!("{}: {}", self.label(), argv.join(" "));
        let output = self
            .enter(|| {
                Command::new(argv[0])
                    .args(&argv[1..])
                    .stdin(Stdio::null())
                    .output()
            })
            .map_err(|err| {
                format!("{shown}: cannot run: {err}; is the package that has it installed?")
            })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!(
            "{shown}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ))
    }

    /// Runs a program inside, which must succeed. Returns its standard output.
    #[track_caller]
    fn command(&self, argv: &[&str]) -> String {
        self.try_command(argv).unwrap_or_else(|err| panic!("{err}"))
    }

    /// Runs `ip` with `arguments`, separated by blanks, which must succeed. Returns its standard output.
    #[track_caller]
    fn ip(&self, arguments: &str) -> String {
        let argv: Vec<&str> = ["ip"].into_iter().chain(arguments.split(' ')).collect();
        self.command(&argv)
    }

    /// Runs several commands of `ip`, as for [`Node::ip`], in one process; all must succeed.
    #[track_caller]
    fn ip_batch(&self, commands: &[&str]) {
        let mut file = tempfile::tempfile().expect("a temporary file");
        let written = file.write_all((commands.join("\n") + "\n").as_bytes());
        written
            .and_then(|()| file.rewind())
            .expect("a batch of commands");
        let run = || {
            Command::new("ip")
                .args(["-batch", "-"])
                .stdin(file)
                .output()
        };
        let output = self.enter(run).expect("ip runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let label = self.label();
        assert!(output.status.success(), "{label}: {commands:?}: {stderr}");
    }

    /// Runs `ip -json <args>`, for example `&["addr", "show", "dev", "eth0"]`, with options such as `-d` or `-6` in
    /// front.
    #[track_caller]
    fn ip_json(&self, args: &[&str]) -> Value {
        let argv: Vec<&str> = ["ip", "-json"].iter().chain(args).copied().collect();
        let text = self.command(&argv);
        if text.trim().is_empty() {
            return Value::Array(Vec::new());
        }
        serde_json::from_str(&text)
            .unwrap_or_else(|err| panic!("{}: no JSON: {err}\n{text}", argv.join(" ")))
    }

    /// The names of all links including `lo`, sorted.
    #[track_caller]
    fn link_names(&self) -> Vec<String> {
        let links = self.enter(Links::read);
        links
            .unwrap_or_else(|err| panic!("list the links of {}: {err}", self.label()))
            .names()
    }

    /// One link as `ip -json -details link show` prints it; `None` if there is none with this name.
    #[track_caller]
    fn link(&self, name: &str) -> Option<Value> {
        let links = self.ip_json(&["-details", "link", "show"]);
        links
            .as_array()?
            .iter()
            .find(|l| l["ifname"] == name)
            .cloned()
    }

    /// One attribute of a link, which must exist, by its JSON pointer in the output of [`Node::link`]; null if missing.
    #[track_caller]
    fn link_attribute(&self, name: &str, pointer: &str) -> Value {
        let link = self.link(name);
        let link = link.unwrap_or_else(|| panic!("no link {name} on {}", self.label()));
        link.pointer(pointer).cloned().unwrap_or_default()
    }

    /// The addresses of a link in CIDR form and the kernel's order, without link-local IPv6 addresses, which the kernel
    /// adds by itself.
    #[track_caller]
    fn addresses(&self, link: &str) -> Vec<String> {
        let read = || {
            let links = Links::read()?;
            assert!(
                links.names().iter().any(|name| name == link),
                "no link {link}"
            );
            links.addresses()
        };
        let all = self
            .enter(read)
            .unwrap_or_else(|err| panic!("list the addresses of {}: {err}", self.label()));
        let own = all.into_iter().filter(|address| address.link == link);
        own.map(|address| address.cidr).collect()
    }

    /// The routes of the main table of one family (`-4` or `-6`), one line each, sorted, without the routes that the
    /// kernel added by itself.
    #[track_caller]
    fn routes(&self, family: &str) -> Vec<String> {
        let text = self.command(&["ip", family, "route", "show"]);
        let mut lines: Vec<String> = text
            .lines()
            .map(|l| l.trim().to_owned())
            .filter(|l| !l.contains("proto kernel"))
            .collect();
        lines.sort();
        lines
    }

    /// Pings `address` once with the system's `ping`, within one second ([`patience`] times that).
    ///
    /// # Errors
    ///
    /// The output of ping.
    fn try_ping(&self, address: &str) -> Result<(), String> {
        let seconds = patience().to_string();
        self.try_command(&["ping", "-n", "-c", "1", "-W", &seconds, address])
            .map(drop)
    }

    /// The same, but panics without an answer.
    #[track_caller]
    fn ping(&self, address: &str) {
        if let Err(err) = self.try_ping(address) {
            let state = self.command(&["ip", "addr"]) + &self.command(&["ip", "route"]);
            panic!("no answer: {err}\n{} has\n{state}", self.label());
        }
    }

    /// Whether `address` answers within `deadline`, see [`reach`].
    fn can_reach(&self, address: IpAddr, deadline: Duration) -> bool {
        self.enter(|| reach(address, deadline))
    }

    /// The value of a sysctl by its path below `/proc/sys`, for example `net/ipv4/ip_forward`, trimmed.
    #[track_caller]
    fn sysctl(&self, key: &str) -> String {
        let path = format!("/proc/sys/{key}");
        self.enter(|| fs::read_to_string(&path))
            .unwrap_or_else(|err| panic!("read {path}: {err}"))
            .trim()
            .to_owned()
    }

    /// The values of all readable sysctls of the network by their paths, without counters, and without that of VRFs,
    /// which appears in all namespaces as soon as any test has the module loaded.
    #[track_caller]
    fn sysctls(&self) -> BTreeMap<String, String> {
        fn walk(dir: &Path, found: &mut BTreeMap<String, String>) {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    walk(&path, found);
                } else if let Ok(value) = fs::read_to_string(&path)
                    && !path.ends_with("nf_conntrack_count")
                    && !path.ends_with("net/vrf/strict_mode")
                {
                    let key = path.strip_prefix("/proc/sys").unwrap_or(&path);
                    found.insert(key.display().to_string(), value);
                }
            }
        }
        let mut found = BTreeMap::new();
        self.enter(|| walk(Path::new("/proc/sys/net"), &mut found));
        found
    }

    /// Sets a sysctl, path as for [`Node::sysctl`].
    #[track_caller]
    fn set_sysctl(&self, key: &str, value: &str) {
        let path = format!("/proc/sys/{key}");
        self.enter(|| fs::write(&path, value))
            .unwrap_or_else(|err| panic!("write {value} to {path}: {err}"));
    }
}

/// Whether a host answers at `address`. Needs neither privileges nor another program.
///
/// A datagram to a closed UDP port is answered with ICMP "port unreachable" (RFC 1122, 4.1.3.1), which a
/// connected socket reports as "connection refused". Anything else within `deadline` is no answer. Runs in the
/// calling thread's network namespace.
pub fn reach(address: IpAddr, deadline: Duration) -> bool {
    let any: IpAddr = if address.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let end = Instant::now() + deadline;
    let Ok(socket) = UdpSocket::bind(SocketAddr::new(any, 0)) else {
        return false;
    };
    // The first port of traceroute, where nothing listens.
    if socket.connect(SocketAddr::new(address, 33434)).is_err() {
        return false;
    }
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero()
            || socket
                .set_read_timeout(Some(left.min(Duration::from_millis(100))))
                .is_err()
        {
            return false;
        }
        let answer = socket.send(b"?").and_then(|_| socket.recv(&mut [0; 8]));
        match answer {
            Err(err) if err.kind() == ErrorKind::ConnectionRefused => return true,
            Err(err) if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            // "No route to host" and the like may be temporary while a link comes up.
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
