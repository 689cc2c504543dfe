//! Words for the parts of a report, which the table and the tree share.

use super::filters::PORTMAP;
use super::model::{Attachment, Direction, HostLink, Port, Shaping};

/// The longest container ID that is shown in full. Longer ones are shortened as `crictl` does.
const LONGEST_ID: usize = 40;
const SHORT_ID: usize = 13;

/// Returns a container ID, shortened if it is long.
pub(super) fn container_id(id: &str) -> &str {
    match id.get(..SHORT_ID) {
        Some(start) if id.len() > LONGEST_ID => start,
        _ => id,
    }
}

/// Returns the addresses that the interface has, or those that ADD returned if it is gone.
pub(super) fn addresses(attachment: &Attachment) -> String {
    let current = attachment.interface.as_ref();
    current
        .map_or(&attachment.ips, |interface| &interface.addresses)
        .join(" ")
}

/// Returns a link with its masters: `veth1a2b3c4d (cni0)`.
pub(super) fn host_link(link: &HostLink) -> String {
    match link.masters.is_empty() {
        true => link.name.clone(),
        false => format!("{} ({})", link.name, link.masters.join(" ")),
    }
}

/// Returns the port mappings: `8080->80/tcp`, marked if the host has no rules for them.
pub(super) fn ports(attachment: &Attachment) -> String {
    let mut ports: Vec<String> = attachment.ports.iter().map(port).collect();
    let has_rules = attachment.rules.iter().any(|rule| rule.purpose == PORTMAP);
    if !ports.is_empty() && !has_rules {
        ports.push("(no rules)".into());
    }
    ports.join(" ")
}

fn port(port: &Port) -> String {
    let host = match port.host_ip.as_str() {
        "" => String::new(),
        ip if ip.contains(':') => format!("[{ip}]:"),
        ip => format!("{ip}:"),
    };
    format!(
        "{host}{}->{}/{}",
        port.host_port, port.container_port, port.protocol
    )
}

/// Returns the purposes of the rules with their numbers: `masquerade 1 portmap 3`.
pub(super) fn rules(attachment: &Attachment) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for rule in &attachment.rules {
        match counts
            .iter_mut()
            .find(|(purpose, _)| *purpose == rule.purpose)
        {
            Some((_, count)) => *count += 1,
            None => counts.push((rule.purpose, 1)),
        }
    }
    let counts = counts
        .iter()
        .map(|(purpose, count)| format!("{purpose} {count}"));
    counts.collect::<Vec<_>>().join(" ")
}

/// Returns the limits: `in 10 Mbit/s out 1 Mbit/s`, as the container sees them.
pub(super) fn shaping(limits: &[Shaping]) -> String {
    let limit = |limit: &Shaping| {
        let direction = match limit.direction {
            Direction::ToContainer => "in",
            Direction::FromContainer => "out",
        };
        format!("{direction} {}", rate(limit.rate))
    };
    limits.iter().map(limit).collect::<Vec<_>>().join(" ")
}

/// Returns bits per second with the unit in which they have the fewest digits, as `tc` does.
fn rate(bits: u64) -> String {
    const UNITS: [&str; 4] = ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"];
    let mut number = bits;
    let mut unit = 0;
    while number >= 1000 && number.is_multiple_of(1000) && unit + 1 < UNITS.len() {
        number /= 1000;
        unit += 1;
    }
    format!("{number} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_units() {
        assert_eq!(rate(8), "8 bit/s");
        assert_eq!(rate(1_000_000), "1 Mbit/s");
        assert_eq!(rate(1_500_000), "1500 kbit/s");
        assert_eq!(rate(2_000_000_000_000), "2000 Gbit/s");
    }

    #[test]
    fn long_container_ids_are_shortened() {
        assert_eq!(container_id(&"a".repeat(64)), "a".repeat(13));
        let own = "cnitool-77383ca0a0715733ca6f";
        assert_eq!(container_id(own), own);
    }

    #[test]
    fn ports_have_host_addresses() {
        let shown = |host_ip: &str| {
            port(&Port {
                host_port: 8080,
                container_port: 80,
                protocol: "tcp".into(),
                host_ip: host_ip.into(),
            })
        };
        assert_eq!(shown(""), "8080->80/tcp");
        assert_eq!(shown("192.0.2.1"), "192.0.2.1:8080->80/tcp");
        assert_eq!(shown("::1"), "[::1]:8080->80/tcp");
    }
}
