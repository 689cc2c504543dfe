//! The objects of a network namespace as lines of text, from the kernel's own lists.
//!
//! It omits what changes by itself (counters, timers, carrier, interface indexes) and what the kernel adds some time
//! after a link is up (link-local IPv6 addresses and their routes, routes of IPv6 addresses in the local table).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::sys::socket::SockProtocol;

use crate::netlink::{attributes, change, dump, u16_at, u32_at};

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_GETADDR: u16 = 22;
const RTM_GETROUTE: u16 = 26;
const RTM_GETNEIGH: u16 = 30;
const RTM_GETRULE: u16 = 34;
const RTM_GETQDISC: u16 = 38;
/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE`.
const GET_TABLE: u16 = 10 << 8 | 1;

const AF_INET: u8 = 2;
const AF_BRIDGE: u8 = 7;
const AF_INET6: u8 = 10;

/// The length of `ifinfomsg`.
const LINK_HEADER: usize = 16;

/// The flags of a link that are compared; `RUNNING`, `LOWER_UP` and `DORMANT` follow the carrier.
const LINK_FLAGS: [(u32, &str); 7] = [
    (0x1, "UP"),
    (0x2, "BROADCAST"),
    (0x8, "LOOPBACK"),
    (0x80, "NOARP"),
    (0x100, "PROMISC"),
    (0x200, "ALLMULTI"),
    (0x1000, "MULTICAST"),
];

/// Returns the name of a kernel constant, or the number if it has none.
fn named(names: &[(u8, &str)], number: u8) -> String {
    let name = names.iter().find(|(known, _)| *known == number);
    name.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}

const SCOPES: &[(u8, &str)] = &[(0, "global"), (200, "site"), (253, "link"), (254, "host")];
const PROTOCOLS: &[(u8, &str)] = &[(2, "kernel"), (3, "boot"), (4, "static"), (9, "ra")];
const TYPES: &[(u8, &str)] = &[
    (1, "unicast"),
    (2, "local"),
    (3, "broadcast"),
    (4, "anycast"),
    (5, "multicast"),
    (6, "blackhole"),
    (7, "unreachable"),
];

fn route_dump(kind: u16, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    dump(SockProtocol::NetlinkRoute, kind, body)
}

/// The links of the calling thread's network namespace.
pub(crate) struct Links {
    messages: Vec<Vec<u8>>,
    names: BTreeMap<u32, String>,
}

impl Links {
    pub(crate) fn read() -> io::Result<Links> {
        let messages = route_dump(RTM_GETLINK, &[0; LINK_HEADER])?;
        let name = |message: &Vec<u8>| {
            let name = find(&message[LINK_HEADER..], 3).map(text);
            (u32_at(message, 4), name.unwrap_or_default())
        };
        let names = messages.iter().map(name).collect();
        Ok(Links { messages, names })
    }

    /// The names, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.names.values().cloned().collect();
        names.sort();
        names
    }

    fn name(&self, index: u32) -> String {
        self.names
            .get(&index)
            .cloned()
            .unwrap_or_else(|| format!("#{index}"))
    }

    /// One line per link: kind, MTU, hardware address, master, flags, and attributes of the kind.
    pub(crate) fn lines(&self) -> BTreeSet<String> {
        self.messages
            .iter()
            .map(|message| self.line(message))
            .collect()
    }

    fn line(&self, message: &[u8]) -> String {
        let all = attributes(&message[LINK_HEADER..]);
        let get = |kind: u16| {
            all.iter()
                .find(|(k, _)| *k == kind)
                .map(|(_, content)| *content)
        };
        let info = get(18).map(attributes).unwrap_or_default();
        let in_info = |kind: u16| {
            info.iter()
                .find(|(k, _)| *k == kind)
                .map(|(_, content)| *content)
        };
        let kind = in_info(1).map(text);
        let mut parts = vec![self.name(u32_at(message, 4))];
        parts.extend(kind.iter().map(|kind| format!("kind={kind}")));
        let number = |name: &str, kind: u16| get(kind).map(|n| format!("{name}={}", u32_at(n, 0)));
        parts.extend(number("mtu", 4));
        parts.extend(get(1).map(|address| format!("address={}", hex(address, ":"))));
        parts.extend(get(10).map(|master| format!("master={}", self.name(u32_at(master, 0)))));
        parts.extend(number("promiscuity", 30));
        parts.extend(get(20).map(|alias| format!("ifalias={}", text(alias))));
        parts.extend(number("txqlen", 13));
        let flags = LINK_FLAGS
            .iter()
            .filter(|(bit, _)| u32_at(message, 8) & bit != 0);
        let flags: Vec<&str> = flags.map(|(_, name)| *name).collect();
        parts.push(format!("flags=[{}]", flags.join(",")));
        let data = in_info(2).map(attributes).unwrap_or_default();
        match kind.as_deref() {
            Some("bridge") => {
                let names = [(7, "vlan_filtering"), (39, "vlan_default_pvid")];
                parts.extend(chosen(&data, &names));
            }
            _ => parts.extend(
                data.iter()
                    .map(|(kind, content)| format!("data.{kind}={}", hex(content, ""))),
            ),
        }
        let port = in_info(5).map(attributes).unwrap_or_default();
        let names = [
            (4, "port.hairpin"),
            (33, "port.isolated"),
            (8, "port.learning"),
            (9, "port.flood"),
        ];
        parts.extend(chosen(&port, &names));
        parts.join(" ")
    }

    /// The VLANs of bridges and their ports, if the kernel supports VLAN filtering.
    pub(crate) fn vlans(&self) -> io::Result<BTreeSet<String>> {
        // IFLA_EXT_MASK with RTEXT_FILTER_BRVLAN.
        let mut body = [0; LINK_HEADER + 8];
        body[0] = AF_BRIDGE;
        body[LINK_HEADER..].copy_from_slice(&[8, 0, 29, 0, 2, 0, 0, 0]);
        let mut lines = BTreeSet::new();
        for message in route_dump(RTM_GETLINK, &body)? {
            let vlans = find(&message[LINK_HEADER..], 26)
                .map(attributes)
                .unwrap_or_default();
            for (_, vlan) in vlans.iter().filter(|(kind, _)| *kind == 2) {
                let (flags, id) = (u16_at(vlan, 0), u16_at(vlan, 2));
                lines.insert(format!(
                    "{} vlan={id} flags={flags:#x}",
                    self.name(u32_at(&message, 4))
                ));
            }
        }
        Ok(lines)
    }

    /// The addresses.
    pub(crate) fn addresses(&self) -> io::Result<Vec<Address>> {
        let messages = route_dump(RTM_GETADDR, &[0; 8])?;
        Ok(messages
            .iter()
            .filter_map(|message| self.address(message))
            .collect())
    }

    fn address(&self, message: &[u8]) -> Option<Address> {
        let all = &message[8..];
        let get = |kind: u16| find(all, kind);
        // IFA_LOCAL differs from IFA_ADDRESS if the address has a peer. IPv6 has it only then.
        let local = ip(get(2).or(get(1))?)?;
        if is_link_local(local) {
            return None;
        }
        let link = self.name(u32_at(message, 4));
        let mut line = format!(
            "{link} local={local} prefixlen={} scope={}",
            message[1],
            named(SCOPES, message[3])
        );
        // Without IFA_F_TENTATIVE and IFA_F_OPTIMISTIC.
        let flags = get(8).map_or(u32::from(message[2]), |flags| u32_at(flags, 0)) & !0x44;
        line += &format!(" flags={flags:#x}");
        for (kind, name) in [(1, "address"), (4, "broadcast")] {
            line += &get(kind)
                .and_then(ip)
                .map_or(String::new(), |ip| format!(" {name}={ip}"));
        }
        line += &get(3).map_or(String::new(), |label| format!(" label={}", text(label)));
        for (kind, name) in [(9, "metric"), (11, "proto")] {
            line += &get(kind).map_or(String::new(), |value| format!(" {name}={}", hex(value, "")));
        }
        let cidr = format!("{local}/{}", message[1]);
        Some(Address { link, cidr, line })
    }

    /// The routes of all tables, of IPv4 and IPv6.
    pub(crate) fn routes(&self) -> io::Result<[BTreeSet<String>; 2]> {
        let mut lines = [BTreeSet::new(), BTreeSet::new()];
        for message in route_dump(RTM_GETROUTE, &[0; 12])? {
            if let (Some(index), Some(line)) = (family(message[0]), self.route(&message)) {
                lines[index].insert(line);
            }
        }
        Ok(lines)
    }

    fn route(&self, message: &[u8]) -> Option<String> {
        /// `RTM_F_CLONED`: a cached route.
        const CLONED: u32 = 0x200;
        let flags = u32_at(message, 8);
        let protocol = named(PROTOCOLS, message[5]);
        let destination = find(&message[12..], 1).and_then(ip);
        // In the local table or that of a VRF. The kernel adds these some time after the link is up.
        let follows_address = message[0] == AF_INET6
            && protocol == "kernel"
            && matches!(
                named(TYPES, message[7]).as_ref(),
                "local" | "anycast" | "multicast"
            );
        if flags & CLONED != 0 || follows_address || destination.is_some_and(is_link_local) {
            return None;
        }
        let destination = destination.map_or("default".into(), |ip| prefix(ip, message[1]));
        let mut line = format!("dst={destination}");
        for (kind, content) in attributes(&message[12..]) {
            let part = match kind {
                // The destination is part of the line already; RTA_CACHEINFO and RTA_EXPIRES are timers.
                1 | 12 | 23 => continue,
                2 => format!(
                    "src={}",
                    ip(content).map_or("?".into(), |ip| prefix(ip, message[2]))
                ),
                3 => format!("iif={}", self.name(u32_at(content, 0))),
                4 => format!("dev={}", self.name(u32_at(content, 0))),
                5 => format!("gateway={}", shown_ip(content)),
                6 => format!("metric={}", u32_at(content, 0)),
                7 => format!("prefsrc={}", shown_ip(content)),
                9 => format!("nexthops=[{}]", self.next_hops(content).join(",")),
                15 => format!("table={}", u32_at(content, 0)),
                20 => format!("pref={}", hex(content, "")),
                other => format!("attribute {other}={}", hex(content, "")),
            };
            line += &format!(" {part}");
        }
        let (kind, scope) = (named(TYPES, message[7]), named(SCOPES, message[6]));
        // RTNH_F_ONLINK; the other flags follow the carrier.
        let flags = if flags & 4 == 0 { "" } else { " onlink" };
        Some(format!(
            "{line} type={kind} protocol={protocol} scope={scope} tos={}{flags}",
            message[3]
        ))
    }

    /// The next hops of a multipath route (`rtnexthop`).
    fn next_hops(&self, mut bytes: &[u8]) -> Vec<String> {
        let mut hops = Vec::new();
        while bytes.len() >= 8 {
            let length = usize::from(u16_at(bytes, 0)).max(8);
            let gateway = bytes
                .get(8..length)
                .and_then(|all| find(all, 5))
                .map(shown_ip);
            let via = gateway.map_or(String::new(), |ip| format!(" via {ip}"));
            hops.push(format!(
                "{}{via} weight {}",
                self.name(u32_at(bytes, 4)),
                bytes[3]
            ));
            bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        hops
    }

    /// The permanent neighbours.
    pub(crate) fn neighbours(&self) -> io::Result<BTreeSet<String>> {
        const NUD_PERMANENT: u16 = 0x80;
        let messages = route_dump(RTM_GETNEIGH, &[0; 12])?;
        let permanent = messages
            .iter()
            .filter(|message| u16_at(message, 8) & NUD_PERMANENT != 0);
        let line = |message: &Vec<u8>| {
            let address = find(&message[12..], 1).map_or("?".into(), shown_ip);
            let hardware = find(&message[12..], 2).map_or("none".into(), |bytes| hex(bytes, ":"));
            let (dev, flags) = (self.name(u32_at(message, 4)), message[10]);
            format!("dst={address} dev={dev} lladdr={hardware} flags={flags:#x}")
        };
        Ok(permanent.map(line).collect())
    }
}

/// An address of a link.
pub(crate) struct Address {
    pub(crate) link: String,
    pub(crate) cidr: String,
    pub(crate) line: String,
}

/// The policy rules of IPv4 and IPv6.
pub(crate) fn rules() -> io::Result<[BTreeSet<String>; 2]> {
    let mut lines = [BTreeSet::new(), BTreeSet::new()];
    for message in route_dump(RTM_GETRULE, &[0; 12])? {
        let Some(index) = family(message[0]) else {
            continue;
        };
        let mut parts = Vec::new();
        for (kind, content) in attributes(&message[12..]) {
            parts.push(match kind {
                1 => format!(
                    "dst={}",
                    ip(content).map_or("?".into(), |ip| prefix(ip, message[1]))
                ),
                2 => format!(
                    "src={}",
                    ip(content).map_or("?".into(), |ip| prefix(ip, message[2]))
                ),
                3 => format!("iif={}", text(content)),
                6 => format!("priority={}", u32_at(content, 0)),
                10 => format!("fwmark={:#x}", u32_at(content, 0)),
                15 => format!("table={}", u32_at(content, 0)),
                16 => format!("fwmask={:#x}", u32_at(content, 0)),
                17 => format!("oif={}", text(content)),
                19 => "l3mdev".into(),
                other => format!("attribute {other}={}", hex(content, "")),
            });
        }
        parts.sort();
        // Rules without FRA_PRIORITY come first.
        lines[index].insert(format!(
            "{} action={} tos={}",
            parts.join(" "),
            message[7],
            message[3]
        ));
    }
    Ok(lines)
}

/// Whether there is a qdisc that a program added. The kernel's default qdiscs have no handle.
pub(crate) fn has_qdiscs() -> io::Result<bool> {
    let messages = route_dump(RTM_GETQDISC, &[0; 20])?;
    Ok(messages.iter().any(|message| u32_at(message, 8) >> 16 != 0))
}

/// Whether nf_tables has a table. A kernel without nf_tables has none.
pub(crate) fn has_nft_tables() -> bool {
    let tables = dump(SockProtocol::NetlinkNetFilter, GET_TABLE, &[0; 4]);
    tables.is_ok_and(|tables| !tables.is_empty())
}

/// Brings `lo` up. The kernel gives it the same index in every namespace (`LOOPBACK_IFINDEX`).
pub(crate) fn set_loopback_up() -> io::Result<()> {
    let mut body = [0; LINK_HEADER];
    for (at, number) in [(4, 1u32), (8, 1), (12, 1)] {
        body[at..at + 4].copy_from_slice(&number.to_ne_bytes());
    }
    change(RTM_NEWLINK, &body)
}

fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes)
        .into_iter()
        .find(|(k, _)| *k == kind)
        .map(|(_, content)| content)
}

/// The attributes that are in `names`, in the order of the names.
fn chosen(all: &[(u16, &[u8])], names: &[(u16, &str)]) -> Vec<String> {
    let part = |(kind, name): &(u16, &str)| {
        let (_, content) = all.iter().find(|(k, _)| k == kind)?;
        let number = if content.len() == 1 {
            u16::from(content[0])
        } else {
            u16_at(content, 0)
        };
        Some(format!("{name}={number}"))
    };
    names.iter().filter_map(part).collect()
}

fn family(family: u8) -> Option<usize> {
    match family {
        AF_INET => Some(0),
        AF_INET6 => Some(1),
        _ => None,
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

fn shown_ip(bytes: &[u8]) -> String {
    ip(bytes).map_or_else(|| hex(bytes, ""), |ip| ip.to_string())
}

fn prefix(ip: IpAddr, length: u8) -> String {
    let full = if ip.is_ipv4() { 32 } else { 128 };
    if length == full {
        ip.to_string()
    } else {
        format!("{ip}/{length}")
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .trim_end_matches('\0')
        .to_owned()
}

fn hex(bytes: &[u8], separator: &str) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.join(separator)
}
