//! A host whose plugins are replaced.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use blackbox::state;
use libcni::{Cni, ValidAttachment};
use serde_json::Value;
use testkit::{Container, Host, Node, Snapshot, bin_dir, outside, patience, peer_dir, tool, wire};

use crate::networks;
use crate::pod::Pod;
use crate::traffic;

/// An implementation of the plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Peer,
    Ours,
}

/// The way in which files are exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// `cni-plugins install` and `cni-plugins rollback`: each name is a complete plugin at any moment.
    Installer,
    /// The separate plugins: written beside, and renamed.
    Copy,
}

/// A host with upstream's plugins, networks and a network outside of it.
pub(crate) struct Site {
    pub(crate) host: Host,
    pub(crate) cni: Cni,
    /// For CHECK, with an `ip6tables` that has no table `nat`: upstream's portmap looks for the rules of IPv4 in it.
    pub(crate) checker: Cni,
    side: Side,
    bin: PathBuf,
    /// Beyond the host's uplink.
    outside: Container,
    /// Beyond the master of the interfaces that have one.
    _lan: Container,
    next_port: Cell<u16>,
}

impl Site {
    pub(crate) fn new() -> Site {
        let host = Host::new();
        let outside = outside(&host);
        let lan = wire(&host, "lan0", "lan", &["10.62.0.254/24", "fd00:62::fe/64"]);
        let bin = host.dir().join("bin");
        fs::create_dir(&bin).unwrap();
        let commands = iptables_without_nat_of_ipv6(&host);
        let site = Site {
            cni: Cni::new([&bin]),
            checker: Cni::new([&bin]).env("PATH", commands),
            host,
            side: Side::Peer,
            bin,
            outside,
            _lan: lan,
            next_port: Cell::new(8080),
        };
        site.copy(&peer_dir());
        site
    }

    /// The state after each side has had an attachment to each network: bridges and shared chains stay.
    pub(crate) fn settled(&mut self) -> Snapshot {
        for side in [Side::Ours, Side::Peer] {
            self.install(side, Method::Copy);
            let pod = self.attach("settled");
            traffic::one_round(self);
            state::wait_for_addresses(&self.host);
            self.detach(pod);
        }
        self.state()
    }

    /// The host without the directory of tuning, which upstream leaves behind, empty.
    fn state(&self) -> Snapshot {
        state::of(&self.host).filtered(|line| line != "/run/cni/tuning/")
    }

    pub(crate) fn assert_back(&self, before: &Snapshot) {
        before.assert_same(&self.state());
    }

    /// Replaces the plugins.
    pub(crate) fn install(&mut self, side: Side, method: Method) {
        self.side = side;
        match (method, side) {
            (Method::Copy, Side::Ours) => self.copy(&bin_dir()),
            (Method::Copy, Side::Peer) => self.copy(&peer_dir()),
            (Method::Installer, Side::Ours) => self.installer("install", &["--replace-foreign"]),
            (Method::Installer, Side::Peer) => self.installer("rollback", &[]),
        }
        // Debian has built the peer's without a version.
        let version = tool_version(&self.bin.join("bridge"));
        assert_eq!(
            version.contains("version unknown"),
            side == Side::Peer,
            "{version}"
        );
    }

    fn installer(&self, command: &str, options: &[&str]) {
        let bin = self.bin.display().to_string();
        let mut words = vec![command, "--dest", &bin];
        words.extend(options);
        tool("cni-plugins").arguments(&words).run().expect_ok();
    }

    /// Replaces those plugins that upstream has.
    fn copy(&self, from: &Path) {
        for file in fs::read_dir(peer_dir()).unwrap().flatten() {
            let (source, new) = (from.join(file.file_name()), self.bin.join(".new"));
            fs::copy(&source, &new).unwrap_or_else(|err| panic!("{}: {err}", source.display()));
            fs::rename(&new, self.bin.join(file.file_name())).unwrap();
        }
    }

    /// Runs ADD of all networks for a new pod.
    pub(crate) fn attach(&self, name: &str) -> Pod {
        let port = self.next_port.replace(self.next_port.get() + 1);
        let mut pod = Pod::new(&self.host, name, port);
        for (network, attachment) in &pod.attachments {
            let added = self.cni.add(&network.list("1.0.0"), attachment);
            let result =
                added.unwrap_or_else(|err| panic!("ADD of {name} to {}: {err}", network.name));
            let text = result.unwrap().to_json().unwrap();
            let result: Value = serde_json::from_str(&text).unwrap();
            let ips = result["ips"].as_array().into_iter().flatten();
            let addresses = ips.filter_map(|ip| ip["address"].as_str());
            let addresses = addresses
                .filter(|address| !address.starts_with("127.") && !address.starts_with("::1/"));
            pod.addresses.extend(addresses.map(String::from));
        }
        pod
    }

    /// Runs CHECK of all attachments. Upstream's macvlan fails if the routes are where its sbr has moved them.
    pub(crate) fn check(&self, pod: &Pod) {
        for (network, attachment) in &pod.attachments {
            if network.has("sbr") && self.side == Side::Peer {
                continue;
            }
            let checked = self.checker.check(&network.list("1.0.0"), attachment);
            checked
                .unwrap_or_else(|err| panic!("CHECK of {} in {}: {err}", pod.name, network.name));
        }
    }

    /// Runs DEL of all attachments; the containers end.
    pub(crate) fn detach(&self, pod: Pod) {
        for (network, attachment) in pod.attachments.iter().rev() {
            let deleted = self.cni.del(&network.list("1.0.0"), attachment);
            deleted.unwrap_or_else(|err| panic!("DEL of {} in {}: {err}", pod.name, network.name));
        }
        for container in [&pod.first, &pod.second] {
            assert_eq!(container.link_names(), ["lo"], "{}", container.name());
        }
    }

    /// Runs GC of all networks: as configured, which deletes what the cache knows, and with the version of the
    /// specification that has GC, as after an upgrade.
    pub(crate) fn collect(&self, living: &[&Pod]) {
        let valid: Vec<ValidAttachment> = living
            .iter()
            .flat_map(|pod| &pod.attachments)
            .map(|(_, attachment)| ValidAttachment {
                container_id: attachment.container_id.clone(),
                if_name: attachment.if_name.clone(),
            })
            .collect();
        let more = [networks::second(), networks::busy()];
        for network in networks::first().into_iter().chain(more) {
            for version in ["1.0.0", "1.1.0"] {
                let collected = self.cni.gc(&network.list(version), Some(&valid));
                collected.unwrap_or_else(|err| panic!("GC of {}: {err}", network.name));
            }
        }
        living.iter().for_each(|pod| self.works(pod));
    }

    /// Demands that everything that a pod was given works.
    pub(crate) fn works(&self, pod: &Pod) {
        for (network, attachment) in &pod.attachments {
            let container = match attachment.container_id == pod.second.id() {
                true => &pod.second,
                false => &pod.first,
            };
            if let Some(target) = network.target {
                ping(container, network.if_name, target);
            }
        }
        assert_eq!(pod.first.sysctl("net/core/somaxconn"), "500");
        let (_, name) = self.connect(pod);
        assert_eq!(name, pod.name);
    }

    /// Connects from outside to the pod's published port.
    pub(crate) fn connect(&self, pod: &Pod) -> (TcpStream, String) {
        traffic::connect(&self.outside, "192.0.2.1", pod.port)
    }

    /// Demands that one pod reaches another one of another time.
    pub(crate) fn reaches(&self, from: &Pod, to: &Pod) {
        let (_, name) = traffic::connect(&from.first, to.address(), 80);
        assert_eq!(name, to.name);
    }

    /// Demands that no address was given twice.
    pub(crate) fn are_distinct(&self, pods: &[&Pod]) {
        let all: Vec<&String> = pods.iter().flat_map(|pod| &pod.addresses).collect();
        let distinct: BTreeSet<&String> = all.iter().copied().collect();
        assert!(!all.is_empty() && all.len() == distinct.len(), "{all:?}");
    }
}

/// A directory of iptables commands whose `ip6tables` refuses to read the table `nat`.
fn iptables_without_nat_of_ipv6(host: &Host) -> PathBuf {
    let dir = host.dir().join("iptables");
    fs::create_dir(&dir).unwrap();
    for name in [
        "iptables",
        "iptables-save",
        "iptables-restore",
        "ip6tables-save",
        "ip6tables-restore",
    ] {
        symlink(Path::new("/usr/sbin").join(name), dir.join(name)).unwrap();
    }
    let script =
        "#!/bin/sh\ncase \"$*\" in *nat*) exit 1;; esac\nexec /usr/sbin/ip6tables \"$@\"\n";
    fs::write(dir.join("ip6tables"), script).unwrap();
    fs::set_permissions(dir.join("ip6tables"), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// Demands an answer to an address of the interface, since source-based routing goes by it.
fn ping(container: &Container, if_name: &str, target: &str) {
    let addresses = container.addresses(if_name);
    let is_of_family = |address: &&String| address.contains(':') == target.contains(':');
    let source = addresses.iter().find(is_of_family).unwrap();
    let source = source.split('/').next().unwrap();
    let seconds = patience().to_string();
    container.command(&[
        "ping", "-n", "-c", "1", "-W", &seconds, "-I", source, target,
    ]);
}

/// The text that a plugin prints when it is run by hand.
fn tool_version(plugin: &Path) -> String {
    let output = std::process::Command::new(plugin)
        .env_clear()
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}
