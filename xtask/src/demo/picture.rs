//! Who is plugged where, drawn with the kernel's own words.

use serde_json::Value;
use testkit::{Container, Host, Node};

/// Draws the host's bridges, their ports, and the container's link at the other end of each port.
pub(crate) fn draw(host: &Host, containers: &[&Container]) {
    for line in lines(host, containers) {
        println!("{line}");
    }
}

fn lines(host: &Host, containers: &[&Container]) -> Vec<String> {
    let mut lines = vec!["host".to_owned()];
    let links = array(host.ip_json(&["-details", "link", "show"]));
    let of_kind = |kind: &'static str| {
        links
            .iter()
            .filter(move |l| l["linkinfo"]["info_kind"] == kind)
    };
    for bridge in of_kind("bridge") {
        let name = text(bridge, "ifname");
        lines.push(format!(
            "└─ {name} (bridge)  {}",
            host.addresses(name).join("  ")
        ));
        let ports: Vec<&Value> = links
            .iter()
            .filter(|link| link["master"] == bridge["ifname"])
            .collect();
        for (number, port) in ports.iter().enumerate() {
            let last = number + 1 == ports.len();
            lines.push(format!(
                "   {}─ {} ──── {}",
                if last { '└' } else { '├' },
                text(port, "ifname"),
                far_end(port, containers)
            ));
            let stem = if last { ' ' } else { '│' };
            let routes = default_routes(port, containers);
            lines.extend(
                routes
                    .into_iter()
                    .map(|route| format!("   {stem}      {route}")),
            );
        }
    }
    lines
}

fn array(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("?")
}

/// The container's link whose peer is `port`: each end knows the other's interface index, which may repeat
/// in several containers, so both directions must fit.
fn peer(port: &Value, containers: &[&Container]) -> Option<(usize, Value)> {
    containers
        .iter()
        .enumerate()
        .find_map(|(number, container)| {
            let links = array(container.ip_json(&["link", "show"]));
            let fits = |link: &&Value| {
                link["link_index"] == port["ifindex"] && link["ifindex"] == port["link_index"]
            };
            links.iter().find(fits).map(|link| (number, link.clone()))
        })
}

fn far_end(port: &Value, containers: &[&Container]) -> String {
    let Some((number, link)) = peer(port, containers) else {
        return "(somewhere else)".into();
    };
    let container = containers[number];
    let name = text(&link, "ifname");
    format!(
        "{name} in container {}  {}",
        container.name(),
        container.addresses(name).join("  ")
    )
}

fn default_routes(port: &Value, containers: &[&Container]) -> Vec<String> {
    let Some((number, _)) = peer(port, containers) else {
        return Vec::new();
    };
    ["-4", "-6"]
        .iter()
        .flat_map(|family| containers[number].routes(family))
        .collect()
}
