//! The report as a tree: the host, bridges, their ports, containers.

use std::collections::BTreeMap;

use super::model::{Attachment, Report, State};
use super::style::Style;
use super::text;

/// A line of the tree with those below it, sorted by their keys.
#[derive(Default)]
struct Node {
    line: String,
    children: BTreeMap<String, Node>,
}

impl Node {
    fn child(&mut self, key: &str, line: impl Into<String>) -> &mut Node {
        let child = self.children.entry(key.to_owned()).or_default();
        child.line = line.into();
        child
    }

    fn render(&self, indent: &str, out: &mut String) {
        let last = self.children.len().saturating_sub(1);
        for (number, child) in self.children.values().enumerate() {
            let (branch, below) = match number == last {
                true => ("└── ", "    "),
                false => ("├── ", "│   "),
            };
            *out += &format!("{indent}{branch}{}\n", child.line);
            child.render(&format!("{indent}{below}"), out);
        }
    }
}

/// Returns the report in lines.
pub(super) fn render(report: &Report, style: Style) -> String {
    let mut root = Node::default();
    for attachment in &report.attachments {
        let mut node = &mut root;
        if let Some(link) = &attachment.host_link {
            for master in link.masters.iter().rev() {
                node = node.child(master, master);
            }
            let state = if link.up { "" } else { " down" };
            let line = format!("{} {}{}", link.name, link.kind, style.bad(state));
            node = node.child(&link.name, line);
        }
        let key = format!("container {}", attachment.container_id);
        let name = text::container_id(&attachment.container_id);
        let container = node.child(&key, format!("container {name}"));
        interface(container, attachment, style);
    }
    for link in &report.orphans {
        let mut node = &mut root;
        for master in link.masters.iter().rev() {
            node = node.child(master, master);
        }
        let line = format!(
            "{} {} not in the cache: {}",
            link.name, link.kind, link.alias
        );
        node.child(&link.name, style.bad(&line));
    }
    let mut out = style.heading("host") + "\n";
    root.render("", &mut out);
    out
}

/// Adds the interface of an attachment below its container.
fn interface(container: &mut Node, attachment: &Attachment, style: Style) {
    let mut line = format!(
        "{} of {} {}",
        attachment.if_name,
        attachment.network,
        text::addresses(attachment)
    );
    if attachment.state != State::Attached {
        line += &format!(" {}", style.bad(attachment.state.text()));
    }
    let key = format!("{} {}", attachment.network, attachment.if_name);
    let node = container.child(&key, line.trim_end());
    let details = [
        ("1", "ports", text::ports(attachment)),
        ("2", "rules", text::rules(attachment)),
        ("3", "shaping", text::shaping(&attachment.shaping)),
    ];
    for (key, name, text) in details.iter().filter(|(_, _, text)| !text.is_empty()) {
        node.child(key, format!("{name} {text}"));
    }
}
