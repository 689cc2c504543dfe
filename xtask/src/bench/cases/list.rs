//! The cases of the sections that `cargo xtask bench` names after their groups.

use super::scripts::{
    ATTACHED, BANDWIDTH, BRIDGE, BRIDGE_ADD, BRIDGE_ADD_DUAL, BRIDGE_CHECK, BRIDGE_FLOOR,
    BRIDGE_KEYS, DEVICE_ADD, DEVICE_DEL, DUMMY_ADD, FIREWALL_IPTABLES, FIREWALL_NFTABLES,
    HOST_LOCAL, IPVLAN_ADD, LEASE_ADD, LEASE_DEL, LEASE_FLOOR, LINK, LINK_DEL, MACVLAN_ADD,
    MASQUERADE_IPTABLES, MASQUERADE_NFTABLES, PORTMAP_IPTABLES, PORTMAP_MAP, PORTMAP_NFTABLES,
    PTP_ADD, TAKEN_LEASES, TAP_ADD, TUNING, VLAN_ADD,
};
use super::{CASE, CHAINED, Case, FILTERS, FOUNDATION, INTERFACES, KUBERNETES};

/// The peer looks for IPv6 where there is none.
const WITHOUT_CHECK: &[&str] = &["ADD", "DEL"];

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "loopback",
        group: FOUNDATION,
        chain: &[("loopback", "{}")],
        prepare: "",
        verbs: &["VERSION", "ADD", "CHECK", "DEL", "STATUS", "GC"],
        peer_verbs: &["VERSION", "ADD", "CHECK", "DEL"],
        floor: &[
            ("VERSION", &[]),
            ("ADD", &["enter $netns; find lo; up; send; addresses"]),
            ("CHECK", &["enter $netns; find lo"]),
            ("DEL", &["enter $netns; find lo; down; send"]),
        ],
        ..CASE
    },
    Case {
        name: "host-local",
        group: FOUNDATION,
        chain: &[("host-local", HOST_LOCAL)],
        floor: LEASE_FLOOR,
        ..CASE
    },
    Case {
        name: "host-local, 20,000 taken",
        group: FOUNDATION,
        chain: &[("host-local", HOST_LOCAL)],
        prepare: TAKEN_LEASES,
        count: 20_000,
        // No GC, which would release all of these leases.
        verbs: &["ADD", "CHECK", "DEL", "STATUS"],
        floor: LEASE_FLOOR,
        ..CASE
    },
    Case {
        name: "bridge+host-local IPv4",
        group: FOUNDATION,
        chain: &[("bridge", BRIDGE_KEYS)],
        prepare: BRIDGE,
        floor: BRIDGE_FLOOR,
        ..CASE
    },
    Case {
        name: "bridge+host-local dual-stack",
        group: FOUNDATION,
        chain: &[(
            "bridge",
            r#"{"bridge": "$bridge", "isGateway": true, "isDefaultGateway": true, "ipam": $dual}"#,
        )],
        prepare: BRIDGE,
        floor: &[
            (
                "ADD",
                &[BRIDGE_ADD_DUAL, "lease-add $leases 10.$n.0.2 fd00:$n::2"],
            ),
            (
                "CHECK",
                &[BRIDGE_CHECK, "lease-check $leases 10.$n.0.2 fd00:$n::2"],
            ),
            ("DEL", &[LINK_DEL, "lease-del $leases 10.$n.0.2 fd00:$n::2"]),
        ],
        ..CASE
    },
    Case {
        name: "static",
        group: INTERFACES,
        chain: &[(
            "static",
            r#"{"ipam": {"type": "static", "addresses": [{"address": "10.9.0.2/24", "gateway": "10.9.0.1"}],
                "routes": [{"dst": "0.0.0.0/0"}]}}"#,
        )],
        floor: &[("ADD", &[]), ("DEL", &[])],
        ..CASE
    },
    // Plugins that create or take one interface. IPv4 only, because all sides wait for duplicate address detection of
    // IPv6 addresses on a link that leaves the host.
    Case {
        name: "ptp",
        group: INTERFACES,
        chain: &[("ptp", r#"{"ipam": $ipv4}"#)],
        floor: &[
            ("ADD", &[PTP_ADD, LEASE_ADD]),
            ("DEL", &[LINK_DEL, LEASE_DEL]),
        ],
        ..CASE
    },
    Case {
        name: "macvlan",
        group: INTERFACES,
        chain: &[(
            "macvlan",
            r#"{"ipam": $ipv4, "master": "$link", "mode": "bridge"}"#,
        )],
        prepare: LINK,
        floor: &[
            ("ADD", &[MACVLAN_ADD, LEASE_ADD]),
            ("DEL", &[LINK_DEL, LEASE_DEL]),
        ],
        ..CASE
    },
    Case {
        name: "host-device",
        group: INTERFACES,
        chain: &[("host-device", r#"{"ipam": $ipv4, "device": "$link"}"#)],
        prepare: LINK,
        floor: &[
            ("ADD", &[DEVICE_ADD, LEASE_ADD]),
            ("DEL", &[DEVICE_DEL, LEASE_DEL]),
        ],
        ..CASE
    },
    Case {
        name: "tap",
        group: INTERFACES,
        chain: &[("tap", r#"{"ipam": $ipv4}"#)],
        floor: &[
            ("ADD", &[TAP_ADD, LEASE_ADD]),
            ("DEL", &[LINK_DEL, LEASE_DEL]),
        ],
        ..CASE
    },
    Case {
        name: "vlan",
        group: INTERFACES,
        needs: &["vlan"],
        chain: &[("vlan", r#"{"ipam": $ipv4, "master": "$link", "vlanId": 7}"#)],
        prepare: LINK,
        floor: &[
            ("ADD", &[VLAN_ADD, LEASE_ADD]),
            ("DEL", &[LINK_DEL, LEASE_DEL]),
        ],
        ..CASE
    },
    Case {
        name: "ipvlan",
        group: INTERFACES,
        needs: &["ipvlan"],
        chain: &[(
            "ipvlan",
            r#"{"ipam": $ipv4, "master": "$link", "mode": "l2"}"#,
        )],
        prepare: LINK,
        floor: &[
            ("ADD", &[IPVLAN_ADD, LEASE_ADD]),
            ("DEL", &[LINK_DEL, LEASE_DEL]),
        ],
        ..CASE
    },
    Case {
        name: "dummy",
        group: INTERFACES,
        needs: &["dummy"],
        chain: &[("dummy", r#"{"ipam": $ipv4}"#)],
        floor: &[
            ("ADD", &[DUMMY_ADD, LEASE_ADD]),
            ("DEL", &[LINK_DEL, LEASE_DEL]),
        ],
        ..CASE
    },
    // Plugins that change an interface of another plugin. bandwidth is measured in the Kubernetes chain only, because
    // the peer's does not undo the shaping of the interface.
    Case {
        name: "tuning",
        group: CHAINED,
        chain: &[(
            "tuning",
            r#"{"prevResult": $attached, "sysctl": {"net.core.somaxconn": "500"}, "mtu": 1400, "promisc": true}"#,
        )],
        prepare: ATTACHED,
        ..CASE
    },
    Case {
        name: "sbr",
        group: CHAINED,
        chain: &[("sbr", r#"{"prevResult": $attached}"#)],
        prepare: ATTACHED,
        // The peer does not delete its routes, which end with the interface, and has no CHECK.
        peer_verbs: &[],
        ..CASE
    },
    Case {
        name: "vrf",
        group: CHAINED,
        needs: &["vrf"],
        chain: &[("vrf", r#"{"prevResult": $attached, "vrfname": "blue"}"#)],
        prepare: ATTACHED,
        ..CASE
    },
    // Packet filters, with both backends. The peer's package has only iptables, with which nf_tables is compared.
    Case {
        name: "bridge+ipMasq iptables",
        group: FILTERS,
        chain: &[("bridge", MASQUERADE_IPTABLES)],
        prepare: BRIDGE,
        ..CASE
    },
    Case {
        name: "bridge+ipMasq nftables",
        group: FILTERS,
        chain: &[("bridge", MASQUERADE_NFTABLES)],
        prepare: BRIDGE,
        floor: &[
            (
                "ADD",
                &[
                    BRIDGE_ADD,
                    LEASE_ADD,
                    "masquerade-add /run/floor-masquerade 10.$n.0.2/16",
                ],
            ),
            (
                "DEL",
                &[LINK_DEL, LEASE_DEL, "masquerade-del /run/floor-masquerade"],
            ),
        ],
        ..CASE
    },
    Case {
        name: "portmap iptables",
        group: FILTERS,
        chain: &[("portmap", PORTMAP_IPTABLES)],
        peer_verbs: WITHOUT_CHECK,
        ..CASE
    },
    Case {
        name: "portmap nftables",
        group: FILTERS,
        chain: &[("portmap", PORTMAP_NFTABLES)],
        peer_verbs: WITHOUT_CHECK,
        floor: &[
            (
                "ADD",
                &["portmap-add /run/floor-portmap 10.$n.0.2/16 800$n"],
            ),
            ("DEL", &["portmap-del /run/floor-portmap"]),
        ],
        ..CASE
    },
    Case {
        name: "portmap by map",
        group: FILTERS,
        chain: &[("portmap", PORTMAP_MAP)],
        peer_verbs: WITHOUT_CHECK,
        ..CASE
    },
    Case {
        name: "firewall iptables",
        group: FILTERS,
        chain: &[("firewall", FIREWALL_IPTABLES)],
        ..CASE
    },
    Case {
        name: "firewall nftables",
        group: FILTERS,
        chain: &[("firewall", FIREWALL_NFTABLES)],
        ..CASE
    },
    Case {
        name: "Kubernetes chain iptables",
        group: KUBERNETES,
        chain: &[
            ("bridge", MASQUERADE_IPTABLES),
            ("portmap", PORTMAP_IPTABLES),
            ("bandwidth", BANDWIDTH),
            ("firewall", FIREWALL_IPTABLES),
            ("tuning", TUNING),
        ],
        prepare: BRIDGE,
        peer_verbs: WITHOUT_CHECK,
        ..CASE
    },
    Case {
        name: "Kubernetes chain nftables",
        group: KUBERNETES,
        chain: &[
            ("bridge", MASQUERADE_NFTABLES),
            ("portmap", PORTMAP_NFTABLES),
            ("bandwidth", BANDWIDTH),
            ("firewall", FIREWALL_NFTABLES),
            ("tuning", TUNING),
        ],
        prepare: BRIDGE,
        peer_verbs: WITHOUT_CHECK,
        ..CASE
    },
];
