//! The benchmark cases.
//!
//! Configurations and scripts contain variables, see [`Side::variables`](super::side::Side::variables).

const FOUNDATION: &str = "foundation";
const INTERFACES: &str = "interfaces";
const CHAINED: &str = "chained plugins";
const FILTERS: &str = "packet filters";
const KUBERNETES: &str = "Kubernetes chain";

/// The section of all cases that were measured in User Mode Linux.
pub(crate) const UML: &str = "User Mode Linux";

/// The sections of the cases.
pub(crate) const GROUPS: [&str; 6] = [FOUNDATION, INTERFACES, UML, FILTERS, CHAINED, KUBERNETES];

/// A plugin or a chain of plugins in one configuration. Its verbs are called in order, in many rounds.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// The name in targets and on the command line.
    pub(crate) name: &'static str,
    /// The section of its results, one of [`GROUPS`].
    pub(crate) group: &'static str,
    /// Kernel features that it requires, see [`testkit::needs`].
    pub(crate) needs: &'static [&'static str],
    /// Plugins and the keys of their configurations without `cniVersion`, `name` and `type`. DEL calls them in reverse
    /// order.
    pub(crate) chain: &'static [(&'static str, &'static str)],
    /// A shell script that runs on the host first, once per side, with the variables as environment.
    pub(crate) prepare: &'static str,
    pub(crate) verbs: &'static [&'static str],
    /// The verbs that the peer also has.
    pub(crate) peer_verbs: &'static [&'static str],
    /// The kernel operations of each verb, as command lines of the `floor` program.
    pub(crate) floor: &'static [(&'static str, &'static [&'static str])],
}

impl Case {
    /// Whether its plugins change packet filters.
    pub(crate) fn has_filters(&self) -> bool {
        matches!(self.group, FILTERS | KUBERNETES)
    }

    pub(crate) fn floor_of(&self, verb: &str) -> Option<&'static [&'static str]> {
        let mut floor = self.floor.iter();
        floor
            .find(|(name, _)| *name == verb)
            .map(|(_, commands)| *commands)
    }
}

/// The defaults of most cases.
const CASE: Case = Case {
    name: "",
    group: "",
    needs: &[],
    chain: &[],
    prepare: LEASES,
    verbs: &["ADD", "CHECK", "DEL", "STATUS", "GC"],
    // The peer may be too old for STATUS and GC, the verbs of version 1.1.0.
    peer_verbs: &["ADD", "CHECK", "DEL"],
    floor: &[],
};

const LEASES: &str = "mkdir -p $leases";

/// Creates the floor's bridge. The other sides have theirs after the first round.
const BRIDGE: &str = "
    mkdir -p $leases
    [ $tag = floor ] || exit 0
    ip link add $bridge type bridge
    ip addr add 10.$n.0.1/16 dev $bridge
    ip -6 addr add fd00:$n::1/64 dev $bridge
    ip link set $bridge up";

/// Creates a master, or a device to be moved, unless the previous case has created it.
const LINK: &str = "
    mkdir -p $leases
    [ ! -e /sys/class/net/$link ] || exit 0
    ip link add $link type veth peer name end-$tag
    ip link set $link up
    ip link set end-$tag up";

/// Creates a container as `bridge` or `ptp` leaves it: a veth pair, an address, a default route.
const ATTACHED: &str = "
    [ ! -e /sys/class/net/$veth ] || ip link del $veth
    ip link add $veth type veth peer name eth0 netns $tag
    ip link set $veth up
    ip -n $tag link set eth0 up
    ip -n $tag addr add 10.$n.0.2/16 dev eth0
    ip -n $tag route add default via 10.$n.0.1";

/// Creates a directory with the leases of so many containers. The gateway is .0.1, and the floor uses .0.2.
macro_rules! leases {
    ($count:literal) => {
        concat!(
            "
    mkdir -p $leases
    i=3
    while [ $i -lt $((",
            $count,
            " + 3)) ]; do
        printf 'crowd-%d\\r\\neth0' $i > $leases/10.$n.$((i / 256)).$((i % 256))
        i=$((i + 1))
    done
    i=$((i - 1))
    printf 10.$n.$((i / 256)).$((i % 256)) > $leases/last_reserved_ip.0"
        )
    };
}

const LEASE_ADD: &str = "lease-add $leases 10.$n.0.2";
const LEASE_CHECK: &str = "lease-check $leases 10.$n.0.2";
const LEASE_DEL: &str = "lease-del $leases 10.$n.0.2";
const LINK_DEL: &str = "enter $netns; delete eth0";

const LEASE_FLOOR: &[(&str, &[&str])] = &[
    ("ADD", &[LEASE_ADD]),
    ("CHECK", &[LEASE_CHECK]),
    ("DEL", &[LEASE_DEL]),
];

const BRIDGE_ADD: &str = "open; find $bridge; addresses; read /proc/sys/net/ipv4/ip_forward; \
    veth veth-floor $netns master; enter $netns; find eth0; write /proc/sys/net/ipv4/conf/eth0/arp_notify 1; \
    address 10.$n.0.2/16; up; route 0.0.0.0/0 10.$n.0.1; send";

const BRIDGE_ADD_DUAL: &str = "open; find $bridge; addresses; read /proc/sys/net/ipv4/ip_forward; \
    read /proc/sys/net/ipv6/conf/all/forwarding; veth veth-floor $netns master; enter $netns; find eth0; \
    write /proc/sys/net/ipv4/conf/eth0/arp_notify 1; write /proc/sys/net/ipv6/conf/eth0/accept_dad 0; \
    write /proc/sys/net/ipv6/conf/eth0/keep_addr_on_down 1; read /proc/sys/net/ipv6/conf/eth0/disable_ipv6; \
    address 10.$n.0.2/16; address fd00:$n::2/64; up; route 0.0.0.0/0 10.$n.0.1; route ::/0 fd00:$n::1; send";

const BRIDGE_CHECK: &str = "open; find $bridge; enter $netns; find eth0; peer; addresses; routes";

/// The last operations of every bare ADD: set the address of `eth0`, and set it up.
macro_rules! configure {
    () => {
        "; enter $netns; find eth0; write /proc/sys/net/ipv4/conf/eth0/arp_notify 1; address 10.$n.0.2/16; up; send"
    };
}

const PTP_ADD: &str = concat!(
    "open; veth veth-floor $netns; find veth-floor; read /proc/sys/net/ipv4/ip_forward; address 10.$n.0.1/32; \
     route 10.$n.0.2/32 link; send",
    configure!(),
    "; route 10.$n.0.1/32 link; route 10.$n.0.0/16 10.$n.0.1; send"
);
const MACVLAN_ADD: &str = concat!("open; find $link; link macvlan $netns", configure!());
const IPVLAN_ADD: &str = concat!("open; find $link; link ipvlan $netns", configure!());
const VLAN_ADD: &str = concat!("open; find $link; link vlan $netns", configure!());
const DUMMY_ADD: &str = concat!("open; link dummy $netns", configure!());
const TAP_ADD: &str = concat!("enter $netns; tap eth0", configure!());
const DEVICE_ADD: &str = concat!("open; find $link; move $netns eth0", configure!());
const DEVICE_DEL: &str = "enter $netns; find eth0; move home $link; leave; find $link; up; send";

const HOST_LOCAL: &str = r#"{"ipam": $ipv4}"#;
const BRIDGE_KEYS: &str =
    r#"{"bridge": "$bridge", "isGateway": true, "isDefaultGateway": true, "ipam": $ipv4}"#;
const MASQUERADE_IPTABLES: &str = r#"{"bridge": "$bridge", "isGateway": true, "isDefaultGateway": true, "ipam": $ipv4,
    "ipMasq": true, "ipMasqBackend": "iptables"}"#;
const MASQUERADE_NFTABLES: &str = r#"{"bridge": "$bridge", "isGateway": true, "isDefaultGateway": true, "ipam": $ipv4,
    "ipMasq": true, "ipMasqBackend": "$nftables"}"#;
const PORTMAP_IPTABLES: &str = r#"{"prevResult": $previous, "capabilities": {"portMappings": true}, "backend": "iptables",
    "runtimeConfig": {"portMappings": [{"hostPort": 800$n, "containerPort": 80, "protocol": "tcp"}]}}"#;
const PORTMAP_NFTABLES: &str = r#"{"prevResult": $previous, "capabilities": {"portMappings": true}, "backend": "$nftables",
    "runtimeConfig": {"portMappings": [{"hostPort": 800$n, "containerPort": 80, "protocol": "tcp"}]}}"#;
const PORTMAP_MAP: &str = r#"{"prevResult": $previous, "capabilities": {"portMappings": true}, "backend": "$nftables",
    "runtimeConfig": {"portMappings": [{"hostPort": 800$n, "containerPort": 80, "protocol": "tcp"}]}, "rules": "map"}"#;
const FIREWALL_IPTABLES: &str = r#"{"prevResult": $previous, "backend": "iptables"}"#;
const FIREWALL_NFTABLES: &str = r#"{"prevResult": $previous, "backend": "$nftables"}"#;
const BANDWIDTH: &str = r#"{"prevResult": $previous, "capabilities": {"bandwidth": true}, "runtimeConfig": {"bandwidth": {
    "ingressRate": 100000000, "ingressBurst": 10000000, "egressRate": 100000000, "egressBurst": 10000000}}}"#;
const TUNING: &str = r#"{"prevResult": $previous, "sysctl": {"net.core.somaxconn": "500"}}"#;

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
        prepare: leases!(20000),
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
        floor: &[
            ("ADD", &[BRIDGE_ADD, LEASE_ADD]),
            ("CHECK", &[BRIDGE_CHECK, LEASE_CHECK]),
            ("DEL", &[LINK_DEL, LEASE_DEL]),
        ],
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

/// Cases of `host-local` with so many addresses taken, for the ablation of its index.
pub(crate) const TAKEN: &[Case] = &[
    Case {
        name: "host-local, none taken",
        chain: &[("host-local", HOST_LOCAL)],
        ..CASE
    },
    Case {
        name: "host-local, 110 taken",
        chain: &[("host-local", HOST_LOCAL)],
        prepare: leases!(110),
        ..CASE
    },
    Case {
        name: "host-local, 250 taken",
        chain: &[("host-local", HOST_LOCAL)],
        prepare: leases!(250),
        ..CASE
    },
    Case {
        name: "host-local, 20,000 taken",
        chain: &[("host-local", HOST_LOCAL)],
        prepare: leases!(20000),
        ..CASE
    },
];
