//! The complete state of a host, to compare before with after.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::Host;
use crate::node::Node;

/// Everything that plugins leave traces in, as readable lines under a heading each.
///
/// Of the host and of each container: links (kind, flags, MTU, MAC, master, port flags, alias), VLANs of bridges,
/// addresses, routes of all tables, rules, permanent neighbours, qdiscs and filters, nf_tables and legacy iptables
/// rules.
/// Of the host: files below `/var/lib/cni` and `/run`. Left out is what changes by itself (counters, timers,
/// carrier, interface indexes, automatic link-local addresses) and sysctls, which are asked for with [`Node::sysctl`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    sections: BTreeMap<String, BTreeSet<String>>,
}

/// Keys that differ from one look to the next, or between two otherwise equal objects.
const VOLATILE: &[&str] = &[
    "ifindex",
    "expires",
    "cache",
    "valid_life_time",
    "preferred_life_time",
    "tentative",
    "operstate",
    "linkmode",
    "link_index",
    "stats64",
    "group",
    "hello_timer",
    "tcn_timer",
    "topology_change_timer",
    "gc_timer",
    "topology_change",
    "hold_timer",
    "message_age_timer",
    "forward_delay_timer",
    "state",
    "refcnt",
];

impl Snapshot {
    #[track_caller]
    pub(crate) fn take(host: &Host) -> Snapshot {
        let mut snapshot = Snapshot {
            sections: BTreeMap::new(),
        };
        snapshot.add_node(host);
        for container in host.containers() {
            snapshot.add_node(&container);
        }
        let mut files = BTreeSet::new();
        list_files(Path::new("/var/lib/cni"), &mut files);
        list_files(Path::new("/run"), &mut files);
        snapshot.put("host files", files);
        snapshot
    }

    /// The lines of one heading, for example `"c1 link"`; empty if there are none.
    pub fn lines(&self, heading: &str) -> Vec<&str> {
        self.sections
            .get(heading)
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect()
    }

    /// The same without the lines that contain `part`, for what is meant to stay.
    #[must_use]
    pub fn without(&self, part: &str) -> Snapshot {
        let sections = self
            .sections
            .iter()
            .map(|(heading, lines)| {
                (
                    heading.clone(),
                    lines
                        .iter()
                        .filter(|l| !l.contains(part))
                        .cloned()
                        .collect::<BTreeSet<_>>(),
                )
            })
            .filter(|(_, lines)| !lines.is_empty())
            .collect();
        Snapshot { sections }
    }

    /// What `later` lacks (`-`) and has in addition (`+`); empty if nothing changed.
    pub fn diff(&self, later: &Snapshot) -> String {
        let mut text = String::new();
        let none = BTreeSet::new();
        let headings: BTreeSet<&String> =
            self.sections.keys().chain(later.sections.keys()).collect();
        for heading in headings {
            let old = self.sections.get(heading).unwrap_or(&none);
            let new = later.sections.get(heading).unwrap_or(&none);
            if old != new {
                let _ = writeln!(text, "{heading}:");
                for line in old.difference(new) {
                    let _ = writeln!(text, "  - {line}");
                }
                for line in new.difference(old) {
                    let _ = writeln!(text, "  + {line}");
                }
            }
        }
        text
    }

    /// Demands that nothing changed.
    ///
    /// # Panics
    ///
    /// Otherwise, showing the difference.
    #[track_caller]
    pub fn assert_same(&self, later: &Snapshot) {
        let diff = self.diff(later);
        assert!(
            diff.is_empty(),
            "the state has changed (- before, + after)\n{diff}"
        );
    }

    fn put(&mut self, heading: &str, lines: BTreeSet<String>) {
        if !lines.is_empty() {
            let section = self.sections.entry(heading.to_owned());
            section.or_default().extend(lines);
        }
    }

    #[track_caller]
    fn add_node(&mut self, node: &impl Node) {
        let name = node.label();
        // Few processes: starting one takes long in User Mode Linux.
        for (family, queries) in [
            (
                "-4",
                ["addr", NEIGHBOURS, ROUTES, "rule", "link"].as_slice(),
            ),
            ("-6", ["addr", NEIGHBOURS, ROUTES, "rule"].as_slice()),
        ] {
            for (query, answer) in queries.iter().zip(ip_batch(node, family, queries)) {
                let (heading, lines) = match *query {
                    "link" => {
                        self.put(&format!("{name} bridge vlan"), bridge_vlans(node, &answer));
                        (format!("{name} link"), links(&answer))
                    }
                    "addr" => (format!("{name} address"), addresses(&answer)),
                    NEIGHBOURS => (format!("{name} neighbour"), objects(&answer)),
                    ROUTES => (format!("{name} route {family}"), objects(&answer)),
                    _ => (format!("{name} rule {family}"), objects(&answer)),
                };
                self.put(&heading, lines);
            }
        }
        self.put(&format!("{name} traffic control"), traffic_control(node));
        self.put(&format!("{name} nftables"), nft_ruleset(node));
        for (tables, save) in [
            (
                "/proc/thread-self/net/ip_tables_names",
                "iptables-legacy-save",
            ),
            (
                "/proc/thread-self/net/ip6_tables_names",
                "ip6tables-legacy-save",
            ),
        ] {
            // Asking iptables would load its tables; so ask only where there are some.
            if node
                .enter(|| fs::read_to_string(tables))
                .is_ok_and(|t| !t.trim().is_empty())
            {
                let rules = node.try_command(&[save]).unwrap_or_default();
                self.put(&format!("{name} {save}"), numbered(&rules));
            }
        }
    }
}

/// The rules of nf_tables. Where the kernel lacks it, as User Mode Linux does, `nft` is run once a process; where `nft` is
/// not installed, nothing has made rules.
fn nft_ruleset(node: &impl Node) -> BTreeSet<String> {
    static IS_MISSING: AtomicBool = AtomicBool::new(false);
    if IS_MISSING.load(Ordering::Relaxed) {
        return BTreeSet::new();
    }
    match node.try_command(&["nft", "--stateless", "list", "ruleset"]) {
        Ok(rules) => numbered(&rules),
        Err(_) => {
            IS_MISSING.store(true, Ordering::Relaxed);
            BTreeSet::new()
        }
    }
}

const NEIGHBOURS: &str = "neigh show nud permanent";
const ROUTES: &str = "route show table all";

/// The answers to several queries of `ip -json -details` for one address family.
#[track_caller]
fn ip_batch(node: &impl Node, family: &str, queries: &[&str]) -> Vec<Value> {
    let run = || -> io::Result<Output> {
        let mut child = Command::new("ip")
            .args(["-json", "-details", family, "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all((queries.join("\n") + "\n").as_bytes())?;
        }
        child.wait_with_output()
    };
    let output = node.enter(run).expect("ip runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}: ip {family}: {stderr}",
        node.label()
    );
    let answers: Vec<Value> = serde_json::Deserializer::from_slice(&output.stdout)
        .into_iter()
        .collect::<Result<_, _>>()
        .expect("ip -json writes JSON");
    assert_eq!(
        answers.len(),
        queries.len(),
        "an answer a query: {answers:?}"
    );
    answers
}

fn objects(list: &Value) -> BTreeSet<String> {
    let objects = list.as_array().into_iter().flatten();
    objects
        .filter(|object| !is_automatic(object))
        .map(flatten)
        .collect()
}

/// Link-local IPv6 addresses and the routes to them, which the kernel adds some time after a link is up, and the local
/// routes of IPv6 addresses, which it adds some time after these: duplicate address detection, done or not, is deferred
/// work (`addrconf_dad_work`).
fn is_automatic(object: &Value) -> bool {
    let address = object["local"]
        .as_str()
        .or(object["dst"].as_str())
        .unwrap_or_default();
    address.starts_with("fe80:")
        || address.contains(':') && object["type"] == "local" && object["protocol"] == "kernel"
        || address == "ff00::/8" && object["protocol"] == "kernel"
}

/// Rules in their order, which matters; without comments, which hold the time, and
/// without what the chains of iptables have counted.
fn numbered(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| match line.starts_with(':') {
            true => line.split(" [").next().unwrap_or(line),
            false => line,
        })
        .enumerate()
        .map(|(number, line)| format!("{number:04} {}", line.trim_end()))
        .collect()
}

/// `key=value` of everything below an object, in key order.
fn flatten(value: &Value) -> String {
    fn walk(prefix: &str, value: &Value, out: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    if !VOLATILE.contains(&key.as_str()) {
                        let path = if prefix.is_empty() {
                            key.clone()
                        } else {
                            format!("{prefix}.{key}")
                        };
                        walk(&path, value, out);
                    }
                }
            }
            // A live or dead carrier shows in flags too.
            Value::Array(items) => {
                let volatile = ["LOWER_UP", "NO-CARRIER", "M-DOWN", "linkdown", "dead"];
                let items: Vec<String> = items
                    .iter()
                    .filter(|i| !i.as_str().is_some_and(|i| volatile.contains(&i)))
                    .map(|item| item.as_str().map_or_else(|| flatten(item), String::from))
                    .collect();
                out.push(format!("{prefix}=[{}]", items.join(",")));
            }
            Value::String(text) => out.push(format!("{prefix}={text}")),
            other => out.push(format!("{prefix}={other}")),
        }
    }
    let mut parts = Vec::new();
    walk("", value, &mut parts);
    parts.sort();
    parts.join(" ")
}

fn links(links: &Value) -> BTreeSet<String> {
    let wanted = |link: &Value| -> String {
        let mut parts = vec![link["ifname"].as_str().unwrap_or("?").to_owned()];
        let info = &link["linkinfo"];
        parts.extend(
            info["info_kind"]
                .as_str()
                .map(|kind| format!("kind={kind}")),
        );
        for key in [
            "mtu",
            "address",
            "master",
            "promiscuity",
            "ifalias",
            "txqlen",
        ] {
            if !link[key].is_null() {
                parts.push(format!("{key}={}", link[key].to_string().trim_matches('"')));
            }
        }
        let state = flatten(&serde_json::json!({"flags": link["flags"]}));
        parts.push(state);
        let bridge = ["vlan_filtering", "vlan_default_pvid"]
            .iter()
            .filter(|k| !info["info_data"][**k].is_null());
        parts.extend(bridge.map(|key| format!("{key}={}", info["info_data"][*key])));
        let other_kind = info["info_kind"]
            .as_str()
            .is_some_and(|kind| kind != "bridge")
            && info["info_data"].is_object();
        parts.extend(other_kind.then(|| flatten(&info["info_data"])));
        let port = ["hairpin", "isolated", "learning", "flood"]
            .iter()
            .filter(|k| !info["info_slave_data"][**k].is_null());
        parts.extend(port.map(|key| format!("port.{key}={}", info["info_slave_data"][*key])));
        parts.join(" ")
    };
    links.as_array().into_iter().flatten().map(wanted).collect()
}

/// Who is in which VLAN, where the kernel has them on bridges.
fn bridge_vlans(node: &impl Node, links: &Value) -> BTreeSet<String> {
    let has_vlans = |link: &Value| !link["linkinfo"]["info_data"]["vlan_default_pvid"].is_null();
    let mut bridges = links.as_array().into_iter().flatten();
    if !bridges.any(has_vlans) {
        return BTreeSet::new();
    }
    let text = node.command(&["bridge", "-json", "vlan", "show"]);
    let ports: Value = serde_json::from_str(&text).unwrap_or_default();
    ports
        .as_array()
        .into_iter()
        .flatten()
        .map(flatten)
        .collect()
}

fn addresses(links: &Value) -> BTreeSet<String> {
    let of_link = |link: &Value| -> Vec<String> {
        let name = link["ifname"].as_str().unwrap_or("?").to_owned();
        link["addr_info"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|info| !is_automatic(info))
            .map(|info| format!("{name} {}", flatten(info)))
            .collect()
    };
    links
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(of_link)
        .collect()
}

/// Qdiscs that somebody made (those of the kernel have no handle) and their filters.
fn traffic_control(node: &impl Node) -> BTreeSet<String> {
    let text = node
        .try_command(&["tc", "qdisc", "show"])
        .unwrap_or_default();
    let made: Vec<&str> = text
        .lines()
        .filter(|line| line.split(' ').nth(2) != Some("0:"))
        .collect();
    let mut lines: BTreeSet<String> = made.iter().map(|line| line.trim().to_owned()).collect();
    let devices: BTreeSet<&str> = made
        .iter()
        .filter_map(|line| line.split(' ').skip_while(|word| *word != "dev").nth(1))
        .collect();
    for device in devices {
        for parent in ["root", "ingress"] {
            let filters = node
                .try_command(&["tc", "filter", "show", "dev", device, parent])
                .unwrap_or_default();
            lines.extend(
                filters
                    .lines()
                    .map(|line| format!("{device} {parent} {}", line.trim())),
            );
        }
    }
    lines
}

fn list_files(dir: &Path, lines: &mut BTreeSet<String>) {
    // The test's own and what every iptables call leaves.
    const OURS: &[&str] = &[
        "/run/netns",
        "/run/testkit",
        "/run/lock",
        "/run/xtables.lock",
    ];
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if OURS.iter().any(|ours| path == Path::new(ours)) {
            continue;
        }
        let shown = path.display();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => {
                lines.insert(format!("{shown}/"));
                list_files(&path, lines);
            }
            Ok(kind) if kind.is_file() => {
                let content = fs::read(&path).unwrap_or_default();
                lines.insert(format!("{shown}: {:?}", String::from_utf8_lossy(&content)));
            }
            _ => drop(lines.insert(format!("{shown} (special)"))),
        }
    }
}
