//! The objects of a host and its container as lines under headings, without what differs from run to run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use blackbox::state::wait_for_addresses;
use serde_json::Value;
use testkit::{Container, Node, Snapshot, patience};

use crate::site::{ID, Site};

/// Marks headings below which the order of the lines matters.
const CHAIN: &str = " chain ";

/// Lines by heading; sorted, except in chains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State(pub(crate) BTreeMap<String, Vec<String>>);

impl State {
    pub(crate) fn put(&mut self, heading: &str, lines: impl IntoIterator<Item = String>) {
        self.0.entry(heading.to_owned()).or_default().extend(lines);
    }

    /// Without empty headings, and with the lines of headings other than chains sorted.
    pub(crate) fn tidied(mut self) -> State {
        self.0.retain(|_, lines| !lines.is_empty());
        for (heading, lines) in &mut self.0 {
            if !heading.contains(CHAIN) {
                lines.sort();
            }
        }
        self
    }

    /// The differences from `other`, by heading.
    pub(crate) fn compare(&self, other: &State) -> Vec<Section> {
        let none = Vec::new();
        let headings: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let mut sections = Vec::new();
        for heading in headings {
            let [old, new] = [self, other].map(|state| state.0.get(heading).unwrap_or(&none));
            let (gone, come) = (without(old, new), without(new, old));
            let rests = (without(old, &gone), without(new, &come));
            sections.push(Section {
                heading: heading.clone(),
                is_reordered: rests.0 != rests.1,
                gone,
                come,
            });
        }
        sections
    }
}

/// The difference between two states below one heading.
pub(crate) struct Section {
    pub(crate) heading: String,
    /// Lines that only the first state has.
    pub(crate) gone: Vec<String>,
    /// Lines that only the second state has.
    pub(crate) come: Vec<String>,
    /// Whether the lines that both have are in another order.
    pub(crate) is_reordered: bool,
}

impl Section {
    /// A text for messages, empty if there is no difference.
    pub(crate) fn text(&self) -> String {
        let lines = |mark: &str, lines: &[String]| -> String {
            lines
                .iter()
                .map(|line| format!("    {mark} {line}\n"))
                .collect()
        };
        let mut text = lines("-", &self.gone) + &lines("+", &self.come);
        if self.is_reordered {
            text += "    the others are in another order\n";
        }
        if !text.is_empty() {
            text = format!("  {}:\n{text}", self.heading);
        }
        text
    }
}

/// The lines without those of `others`, each as often as it is there.
fn without(lines: &[String], others: &[String]) -> Vec<String> {
    let mut rest = lines.to_vec();
    for other in others {
        if let Some(place) = rest.iter().position(|line| line == other) {
            rest.remove(place);
        }
    }
    rest
}

/// The lines `PATH = VALUE` of a JSON document.
pub(crate) fn flat(prefix: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                flat(&format!("{prefix} {key}"), member, lines);
            }
            if members.is_empty() {
                lines.push(format!("{prefix} = {{}}"));
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (number, item) in items.iter().enumerate() {
                flat(&format!("{prefix} {number}"), item, lines);
            }
        }
        other => lines.push(format!("{prefix} = {other}")),
    }
}

/// Observes a site from its creation on.
pub(crate) struct Observer {
    /// Sysctls before the first plugin ran, of the host and of the container.
    sysctls: [BTreeMap<String, String>; 2],
    /// Generated names and hardware addresses, with their replacements.
    names: Vec<(String, String)>,
    /// The host's links that end with the container.
    pairs: BTreeSet<String>,
    /// The names of the host's links before, and how many have asked for promiscuous mode.
    links: Vec<(Value, Value)>,
}

/// The members of a link in the output of iproute2 that depend on the time, on indexes or on the carrier.
const VOLATILE: &[&str] = &[
    "ifindex",
    "link_index",
    "link_netnsid",
    "link",
    "operstate",
    "flags",
    "bridge_id",
    "root_id",
    "root_port",
    "root_path_cost",
    "topology_change",
    "topology_change_detected",
    "hello_timer",
    "tcn_timer",
    "topology_change_timer",
    "gc_timer",
    "state",
    "no",
    "id",
    "designated_bridge",
    "designated_root",
    "designated_port",
    "designated_cost",
    "message_age_timer",
    "forward_delay_timer",
    "hold_timer",
    "ifname",
];

impl Observer {
    pub(crate) fn new(site: &Site) -> Observer {
        let mut observer = Observer {
            sysctls: [site.host.sysctls(), site.container().sysctls()],
            names: Vec::new(),
            pairs: BTreeSet::new(),
            links: promiscuity(site),
        };
        observer.learn(site);
        observer
    }

    /// The state of the host and, while there is one, of the container.
    pub(crate) fn state(&mut self, site: &Site, container: Option<&Container>) -> State {
        wait_for_addresses(&site.host);
        if let Some(container) = container {
            wait_for_addresses(container);
            self.learn(site);
        }
        let mut state = State::default();
        let snapshot = site.host.snapshot();
        add_node(&mut state, &snapshot, &site.host, &self.sysctls[0]);
        if let Some(container) = container {
            add_node(&mut state, &snapshot, container, &self.sysctls[1]);
        }
        add_filters(&mut state, &site.host);
        for dir in ["/var/lib/cni", "/run"] {
            add_files(&mut state, Path::new(dir));
        }
        self.generic(&state)
    }

    /// The state with generated names replaced.
    pub(crate) fn generic(&self, state: &State) -> State {
        let replace = |text: &String| {
            let names = self.names.iter();
            names.fold(text.clone(), |text, (from, to)| text.replace(from, to))
        };
        let sections = state.0.iter();
        let sections = sections
            .map(|(heading, lines)| (replace(heading), lines.iter().map(replace).collect()));
        State(sections.collect()).tidied()
    }

    /// Waits until the kernel has deleted the links that end with the container.
    #[track_caller]
    pub(crate) fn wait_for_end(&self, site: &Site) {
        let end = Instant::now() + Duration::from_secs(20) * patience();
        let is_left = || {
            let now = promiscuity(site);
            let is_pair = |(name, _): &(Value, Value)| self.pairs.contains(text(name));
            // A macvlan may have changed its master's.
            let is_changed = |(name, value): &(Value, Value)| {
                let before = self.links.iter().find(|(known, _)| known == name);
                before.is_some_and(|(_, before)| before.as_u64() < value.as_u64())
            };
            now.iter().any(|link| is_pair(link) || is_changed(link))
        };
        while is_left() {
            assert!(Instant::now() < end, "links of the container are left");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Adds the generated names that are in use.
    fn learn(&mut self, site: &Site) {
        let host = links(&site.host);
        let inside = links(site.container());
        let is_veth = |link: &Value| link["linkinfo"]["info_kind"] == "veth";
        let is_pair = |a: &Value, b: &Value| {
            let is_other_end = |a: &Value, b: &Value| a["link_index"] == b["ifindex"];
            is_veth(a) && is_veth(b) && is_other_end(a, b) && is_other_end(b, a)
        };
        let mut owners: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for link in &host {
            let name = text(&link["ifname"]);
            let peer = inside.iter().find(|other| is_pair(link, other));
            if peer.is_some() {
                self.pairs.insert(name.to_owned());
            }
            let digits = name.strip_prefix("veth").unwrap_or_default();
            let is_generated = digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_hexdigit());
            let peer = match peer {
                Some(peer) => format!("{ID}:{}", text(&peer["ifname"])),
                None => text(&link["link"]).to_owned(),
            };
            let shown = if is_generated {
                format!("<peer of {peer}>")
            } else {
                name.to_owned()
            };
            if is_generated && !self.names.iter().any(|(known, _)| known == name) {
                self.names.push((name.to_owned(), shown.clone()));
            }
            owners
                .entry(text(&link["address"]))
                .or_default()
                .push(shown);
        }
        for link in &inside {
            let name = format!("{ID}:{}", text(&link["ifname"]));
            owners.entry(text(&link["address"])).or_default().push(name);
        }
        // Those of the test, and of loopback.
        owners.retain(|mac, _| !mac.starts_with("02:00:00:00:00:") && *mac != "00:00:00:00:00:00");
        for (mac, mut owners) in owners {
            owners.sort();
            if !self.names.iter().any(|(known, _)| known == mac) {
                let shown = format!("<mac of {}>", owners.join(" and "));
                self.names.push((mac.to_owned(), shown));
            }
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The names of the host's links, and how many have asked for promiscuous mode.
fn promiscuity(site: &Site) -> Vec<(Value, Value)> {
    let links = links(&site.host);
    let member = |link: &Value| (link["ifname"].clone(), link["promiscuity"].clone());
    links.iter().map(member).collect()
}

fn links(node: &impl Node) -> Vec<Value> {
    let links = node.ip_json(&["-details", "link", "show"]);
    links.as_array().cloned().unwrap_or_default()
}

fn add_node(
    state: &mut State,
    snapshot: &Snapshot,
    node: &impl Node,
    before: &BTreeMap<String, String>,
) {
    let label = node.label();
    let mut lines = Vec::new();
    for mut link in links(node) {
        let name = text(&link["ifname"]).to_owned();
        for flag in link["flags"].as_array().into_iter().flatten() {
            // These follow the carrier.
            if !["LOWER_UP", "NO-CARRIER", "M-DOWN", "DORMANT"].contains(&text(flag)) {
                lines.push(format!("{name} flag {}", text(flag)));
            }
        }
        strip(&mut link);
        flat(&name, &link, &mut lines);
    }
    state.put(&format!("{label} link"), lines);
    for heading in [
        "bridge vlan",
        "address",
        "neighbour",
        "route -4",
        "route -6",
        "rule -4",
        "rule -6",
        "traffic control",
    ] {
        let heading = format!("{label} {heading}");
        let lines = snapshot.lines(&heading);
        state.put(&heading, lines.into_iter().map(str::to_owned));
    }
    let now = node.sysctls();
    let changed = now.iter().filter(|(key, value)| match before.get(*key) {
        Some(old) => old != *value,
        // Others appear in all namespaces as soon as a module is loaded.
        None => ["/conf/", "/neigh/"].iter().any(|dir| key.contains(dir)),
    });
    let lines = changed.map(|(key, value)| format!("{key} = {}", value.trim()));
    state.put(&format!("{label} sysctl"), lines);
}

/// Removes the members that are volatile, at all levels.
fn strip(value: &mut Value) {
    if let Some(members) = value.as_object_mut() {
        members.retain(|key, _| !VOLATILE.contains(&key.as_str()));
        members.values_mut().for_each(strip);
    }
}

/// Adds the rules of nftables and of iptables, a heading for each chain.
fn add_filters(state: &mut State, host: &impl Node) {
    let tables = host
        .try_command(&["nft", "list", "tables"])
        .unwrap_or_default();
    let mut families = BTreeSet::new();
    for table in tables.lines() {
        let words: Vec<&str> = table.split_whitespace().collect();
        match words[..] {
            // The tables of iptables, whose matches nft does not show in full.
            [
                _,
                family @ ("ip" | "ip6"),
                "filter" | "nat" | "mangle" | "raw" | "security",
            ] => {
                families.insert(family);
            }
            [_, family, name] => add_nft_table(state, host, family, name),
            _ => {}
        }
    }
    for family in families {
        let save = if family == "ip" {
            "iptables-save"
        } else {
            "ip6tables-save"
        };
        let mut table = "";
        let rules = host.command(&[save]);
        for line in rules.lines() {
            let heading = |chain: &str| format!("host {save} {table}{CHAIN}{chain}");
            if let Some(name) = line.strip_prefix('*') {
                table = name;
            } else if let Some(chain) = line.strip_prefix(':') {
                let (name, rest) = chain.split_once(' ').unwrap_or((chain, ""));
                let policy = rest.split(' ').next().unwrap_or_default();
                state.put(&heading(name), [format!("policy {policy}")]);
            } else if let Some(rule) = line.strip_prefix("-A ") {
                let (name, rule) = rule.split_once(' ').unwrap_or((rule, ""));
                state.put(&heading(name), [rule.to_owned()]);
            }
        }
    }
}

fn add_nft_table(state: &mut State, host: &impl Node, family: &str, name: &str) {
    let list = ["nft", "--stateless", "list", "table", family, name];
    let listed = host.command(&list);
    let mut object = String::new();
    for line in listed
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        if line.ends_with('{') {
            line.trim_end_matches(" {").clone_into(&mut object);
        }
        state.put(
            &format!("host nft {family} {name}{CHAIN}{object}"),
            [line.to_owned()],
        );
    }
}

/// Adds the files below `dir`, with their modes and contents.
fn add_files(state: &mut State, dir: &Path) {
    /// Files of the test, and a lock file of iptables.
    const OTHERS: &[&str] = &[
        "/run/netns",
        "/run/testkit",
        "/run/lock",
        "/run/xtables.lock",
        "/run/dbus",
        "/run/firewalld",
    ];
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        let Ok(metadata) = path.symlink_metadata() else {
            continue;
        };
        if OTHERS.iter().any(|other| path == Path::new(other)) {
            continue;
        }
        let mode = metadata.permissions().mode() & 0o7777;
        let shown = path.display();
        // Records of the daemon, with times and inodes.
        let is_private = path.starts_with("/run/cni/dhcp");
        let line = if metadata.is_dir() {
            add_files(state, &path);
            // Ours stays when it is empty.
            if path == Path::new("/run/cni") {
                continue;
            }
            format!("{shown}/ mode {mode:o}")
        } else if metadata.is_file() && !is_private {
            let content = fs::read(&path).unwrap_or_default();
            format!(
                "{shown} mode {mode:o} {:?}",
                String::from_utf8_lossy(&content)
            )
        } else {
            format!("{shown} mode {mode:o}")
        };
        state.put("host files", [line]);
    }
}
