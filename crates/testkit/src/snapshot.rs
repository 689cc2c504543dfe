//! The complete state of a host, for comparisons.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Host;
use crate::inventory::{self, Links};
use crate::node::Node;

/// The heading of the files of the host.
const FILES: &str = "host files";

/// All state that plugins can change, as readable lines under headings.
///
/// For the host and each container: links (kind, flags, MTU, MAC, master, port flags, alias), VLANs of bridges,
/// addresses, routes of all tables, rules, permanent neighbours, qdiscs and filters, nf_tables and legacy iptables
/// rules.
/// For the host: files below `/var/lib/cni` and `/run`. It omits what changes by itself (counters, timers, carrier,
/// interface indexes, automatic link-local addresses), and sysctls, for which there is [`Node::sysctl`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    sections: BTreeMap<String, BTreeSet<String>>,
}

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
        snapshot.put(FILES, files);
        snapshot
    }

    /// The lines under one heading, for example `"c1 link"`; empty if there are none.
    pub fn lines(&self, heading: &str) -> Vec<&str> {
        self.sections
            .get(heading)
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect()
    }

    /// The same without the lines that contain `part`, for what is left by design.
    #[must_use]
    pub fn without(&self, part: &str) -> Snapshot {
        self.filtered(|line| !line.contains(part))
    }

    /// The same with only the lines that `keep` selects.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Snapshot {
        let kept = |lines: &BTreeSet<String>| -> BTreeSet<String> {
            lines.iter().filter(|line| keep(line)).cloned().collect()
        };
        let sections = self.sections.iter();
        let sections = sections.map(|(heading, lines)| (heading.clone(), kept(lines)));
        let sections = sections.filter(|(_, lines)| !lines.is_empty()).collect();
        Snapshot { sections }
    }

    /// Only the files.
    #[must_use]
    pub fn only_files(&self) -> Snapshot {
        let mut sections = self.sections.clone();
        sections.retain(|heading, _| heading == FILES);
        Snapshot { sections }
    }

    /// The same without the network of one node, a container or the host.
    #[must_use]
    pub fn without_node(&self, name: &str) -> Snapshot {
        let is_of_node = |heading: &str| heading.split(' ').next() == Some(name);
        let mut sections = self.sections.clone();
        sections.retain(|heading, _| heading == FILES || !is_of_node(heading));
        Snapshot { sections }
    }

    /// The lines that `later` lacks (`-`) and has in addition (`+`); empty if nothing changed.
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
    /// Otherwise, with the difference.
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
        let sections = node
            .enter(sections)
            .unwrap_or_else(|err| panic!("list the network of {name}: {err}"));
        for (heading, lines) in sections {
            self.put(&format!("{name} {heading}"), lines);
        }
        if node.enter(inventory::has_qdiscs).is_ok_and(|has| has) {
            self.put(&format!("{name} traffic control"), traffic_control(node));
        }
        // A program that is not installed has not added rules.
        if node.enter(inventory::has_nft_tables) {
            let filters = node.try_command(&["nft", "--stateless", "list", "ruleset"]);
            self.put(
                &format!("{name} nftables"),
                numbered(&filters.unwrap_or_default()),
            );
        }
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
            // iptables-save creates missing tables, so it only runs if there are some.
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

/// The kernel objects in the network namespace of the calling thread, by heading.
fn sections() -> std::io::Result<Vec<(&'static str, BTreeSet<String>)>> {
    let links = Links::read()?;
    let addresses = links.addresses()?.into_iter().map(|address| address.line);
    let [routes4, routes6] = links.routes()?;
    let [rules4, rules6] = inventory::rules()?;
    Ok(vec![
        ("link", links.lines()),
        ("bridge vlan", links.vlans()?),
        ("address", addresses.collect()),
        ("neighbour", links.neighbours()?),
        ("route -4", routes4),
        ("route -6", routes6),
        ("rule -4", rules4),
        ("rule -6", rules6),
    ])
}

/// Numbered rules, because their order matters, without comments, which contain the time, and without the counters of
/// iptables chains.
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

/// Qdiscs that a program added (default qdiscs have no handle) and their filters.
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
    // Files of the test, and the lock file that every iptables call leaves.
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
                // It stays once it was created.
                if path != Path::new("/run/cni") {
                    lines.insert(format!("{shown}/"));
                }
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
