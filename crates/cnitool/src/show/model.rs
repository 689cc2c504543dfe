//! What `cnitool show` reports. The JSON form has the same keys.

use serde::Serialize;

/// All that is known of a host's attachments.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// The attachments in the cache, sorted by network, container and interface.
    pub(super) attachments: Vec<Attachment>,
    /// Links of attachments that the cache does not have.
    pub(super) orphans: Vec<HostLink>,
    /// What could not be read, and why.
    pub(super) problems: Vec<String>,
}

/// An attachment of a container to a network.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attachment {
    pub(super) network: String,
    #[serde(rename = "containerID")]
    pub(super) container_id: String,
    pub(super) if_name: String,
    pub(super) netns: String,
    pub(super) state: State,
    /// The addresses that ADD returned.
    pub(super) ips: Vec<String>,
    /// The interface in the container as the kernel has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) interface: Option<Interface>,
    /// The link on the host that leads to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) host_link: Option<HostLink>,
    /// The host ports that the runtime asked for.
    pub(super) ports: Vec<Port>,
    /// The packet filter rules of the attachment.
    pub(super) rules: Vec<Rule>,
    /// The limits of its traffic.
    pub(super) shaping: Vec<Shaping>,
}

/// Whether an attachment is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// The interface is in the container.
    Attached,
    /// The container's namespace has no such interface.
    NoInterface,
    /// The container's namespace does not exist any more, and DEL has not been called.
    NamespaceGone,
    /// The namespace cannot be entered, or the cache does not name it.
    Unknown,
}

impl State {
    /// Returns the state in words.
    pub(crate) fn text(self) -> &'static str {
        match self {
            State::Attached => "attached",
            State::NoInterface => "interface missing",
            State::NamespaceGone => "namespace gone",
            State::Unknown => "unknown",
        }
    }
}

/// An interface in a container.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Interface {
    pub(super) index: u32,
    pub(super) kind: String,
    pub(super) mac: String,
    pub(super) mtu: u32,
    pub(super) up: bool,
    /// With prefix lengths, without link-local ones.
    pub(super) addresses: Vec<String>,
}

/// A link on the host.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HostLink {
    pub(super) name: String,
    pub(super) index: u32,
    pub(super) kind: String,
    pub(super) up: bool,
    /// Names of its bridge or VRF, of that one's, and so on.
    pub(super) masters: Vec<String>,
    /// `IFLA_IFALIAS`, which names the attachment.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) alias: String,
}

/// A host port that leads to a container.
#[derive(Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Port {
    pub(super) host_port: u16,
    pub(super) container_port: u16,
    pub(super) protocol: String,
    #[serde(rename = "hostIP", skip_serializing_if = "String::is_empty")]
    pub(super) host_ip: String,
}

/// A rule of a packet filter, or an element of a set that rules look up.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule {
    /// What it is for: masquerade, portmap, firewall, macspoofchk or guard.
    pub(super) purpose: &'static str,
    /// The command that shows it: iptables, ip6tables or nft.
    pub(super) tool: &'static str,
    /// With the family in nft: `inet cni_firewall`.
    pub(super) table: String,
    /// The chain or set.
    pub(super) chain: String,
    /// In iptables its text; in nft its comment.
    pub(super) text: String,
    /// By which nft deletes the rule; none for elements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) handle: Option<u64>,
}

/// The limit of an attachment's traffic in one direction.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shaping {
    pub(super) direction: Direction,
    /// The link whose qdisc limits it.
    pub(super) link: String,
    pub(super) qdisc: String,
    /// Bits per second.
    pub(super) rate: u64,
}

/// A direction of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Direction {
    ToContainer,
    FromContainer,
}
