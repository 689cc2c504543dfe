//! Upstream's plugins, as the distribution packages them, fail exactly the rules that the page explains.

use std::collections::BTreeSet;

use testkit::peer_dir;

use crate::check;

const PAGE: &str = include_str!("../../../../Documentation/conformance.md");

/// The version in [`testkit::PEER_DIR`].
const VERSION: &str = "1.1.1";

/// The rules that the page says a plugin fails, and those that it fails sometimes, which the explanation then begins
/// with: lines `| RULE, RULE | PLUGIN, PLUGIN | WHY |` below the version's heading.
fn explained(version: &str, plugin: &str) -> [BTreeSet<String>; 2] {
    let heading = format!("Upstream {version}\n");
    let mut sections = PAGE.split("\n## ").flat_map(|part| part.split("\n### "));
    let section = sections.find(|part| part.starts_with(&heading));
    let lines = section.unwrap_or_default().lines();
    let rows = lines.filter_map(|line| line.strip_prefix("| ").filter(|row| row.starts_with('`')));
    let mut rules = [BTreeSet::new(), BTreeSet::new()];
    for row in rows {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [names, plugins, why] = cells[..] else {
            panic!("not three cells: {row}");
        };
        assert!(why.len() > 10, "no explanation: {row}");
        if plugins == "all" || plugins.split(", ").any(|name| name == plugin) {
            let names = names
                .split(", ")
                .map(|name| name.trim_matches('`').to_owned());
            rules[usize::from(why.starts_with("sometimes"))].extend(names);
        }
    }
    rules
}

#[track_caller]
fn fails_what_is_explained(plugin: &str) {
    let findings = check(&peer_dir(), plugin, &[]);
    let [mut expected, sometimes] = explained(VERSION, plugin);
    expected.extend(sometimes.intersection(&findings.failed()).cloned());
    findings.assert_failed(&expected);
}

for_plugins! { fails_what_is_explained,
    bandwidth: "bandwidth";
    bridge: "bridge";
    dhcp: "dhcp";
    firewall: "firewall";
    host_device: "host-device";
    host_local: "host-local";
    loopback: "loopback";
    macvlan: "macvlan";
    portmap: "portmap";
    ptp: "ptp";
    sbr: "sbr";
    r#static: "static";
    tuning: "tuning";
}
