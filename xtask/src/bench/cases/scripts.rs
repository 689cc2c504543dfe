//! Scripts that prepare a case, the kernel operations of its floor, and configurations.

pub(super) const LEASES: &str = "mkdir -p $leases";

/// Creates the floor's bridge. The other sides have theirs after the first round.
pub(super) const BRIDGE: &str = "
    mkdir -p $leases
    [ $tag = floor ] || exit 0
    ip link add $bridge type bridge
    ip addr add 10.$n.0.1/16 dev $bridge
    ip -6 addr add fd00:$n::1/64 dev $bridge
    ip link set $bridge up";

/// Creates a master, or a device to be moved, unless the previous case has created it.
pub(super) const LINK: &str = "
    mkdir -p $leases
    [ ! -e /sys/class/net/$link ] || exit 0
    ip link add $link type veth peer name end-$tag
    ip link set $link up
    ip link set end-$tag up";

/// Creates a container as `bridge` or `ptp` leaves it: a veth pair, an address, a default route.
pub(super) const ATTACHED: &str = "
    [ ! -e /sys/class/net/$veth ] || ip link del $veth
    ip link add $veth type veth peer name eth0 netns $tag
    ip link set $veth up
    ip -n $tag link set eth0 up
    ip -n $tag addr add 10.$n.0.2/16 dev eth0
    ip -n $tag route add default via 10.$n.0.1";

/// Creates a directory with the leases of `$count` containers. The gateway is .0.1, and the floor uses .0.2.
pub(super) const TAKEN_LEASES: &str = r"
    mkdir -p $leases
    [ $count -gt 0 ] || exit 0
    i=3
    while [ $i -lt $((count + 3)) ]; do
        printf 'crowd-%d\r\neth0' $i > $leases/10.$n.$((i / 256)).$((i % 256))
        i=$((i + 1))
    done
    i=$((i - 1))
    printf 10.$n.$((i / 256)).$((i % 256)) > $leases/last_reserved_ip.0";

/// Creates the bridge of each side, with `$count` ports.
pub(super) const PORTS: &str = "
    mkdir -p $leases
    ip link add $bridge type bridge
    ip addr add 10.$n.0.1/16 dev $bridge
    ip link set $bridge up
    i=0
    while [ $i -lt $count ]; do
        echo link add $tag-p$i up master $bridge type veth peer name $tag-e$i
        i=$((i + 1))
    done | ip -batch -";

/// Creates the floor's bridge, and once `$count` links on the host, half of them with an address.
pub(super) const LINKS: &str = "
    mkdir -p $leases
    if [ ! -e /run/links ]; then
        touch /run/links
        i=0
        while [ $i -lt $((count / 2)) ]; do
            echo link add link$i up type veth peer name end$i
            echo addr add 10.$((200 + i / 250)).$((i % 250)).1/24 dev link$i
            i=$((i + 1))
        done | ip -batch -
    fi
    [ $tag = floor ] || exit 0
    ip link add $bridge type bridge
    ip addr add 10.$n.0.1/16 dev $bridge
    ip link set $bridge up";

pub(super) const LEASE_ADD: &str = "lease-add $leases 10.$n.0.2";
pub(super) const LEASE_CHECK: &str = "lease-check $leases 10.$n.0.2";
pub(super) const LEASE_DEL: &str = "lease-del $leases 10.$n.0.2";
pub(super) const LINK_DEL: &str = "enter $netns; delete eth0";

pub(super) const LEASE_FLOOR: &[(&str, &[&str])] = &[
    ("ADD", &[LEASE_ADD]),
    ("CHECK", &[LEASE_CHECK]),
    ("DEL", &[LEASE_DEL]),
];

pub(super) const BRIDGE_ADD: &str = "open; find $bridge; addresses; read /proc/sys/net/ipv4/ip_forward; \
    veth veth-floor $netns master; enter $netns; find eth0; write /proc/sys/net/ipv4/conf/eth0/arp_notify 1; \
    address 10.$n.0.2/16; up; route 0.0.0.0/0 10.$n.0.1; send";

pub(super) const BRIDGE_ADD_DUAL: &str = "open; find $bridge; addresses; read /proc/sys/net/ipv4/ip_forward; \
    read /proc/sys/net/ipv6/conf/all/forwarding; veth veth-floor $netns master; enter $netns; find eth0; \
    write /proc/sys/net/ipv4/conf/eth0/arp_notify 1; write /proc/sys/net/ipv6/conf/eth0/accept_dad 0; \
    write /proc/sys/net/ipv6/conf/eth0/keep_addr_on_down 1; read /proc/sys/net/ipv6/conf/eth0/disable_ipv6; \
    address 10.$n.0.2/16; address fd00:$n::2/64; up; route 0.0.0.0/0 10.$n.0.1; route ::/0 fd00:$n::1; send";

pub(super) const BRIDGE_FLOOR: &[(&str, &[&str])] = &[
    ("ADD", &[BRIDGE_ADD, LEASE_ADD]),
    ("CHECK", &[BRIDGE_CHECK, LEASE_CHECK]),
    ("DEL", &[LINK_DEL, LEASE_DEL]),
];

pub(super) const BRIDGE_CHECK: &str =
    "open; find $bridge; enter $netns; find eth0; peer; addresses; routes";

/// The last operations of every bare ADD: set the address of `eth0`, and set it up.
macro_rules! configure {
    () => {
        "; enter $netns; find eth0; write /proc/sys/net/ipv4/conf/eth0/arp_notify 1; address 10.$n.0.2/16; up; send"
    };
}

pub(super) const PTP_ADD: &str = concat!(
    "open; veth veth-floor $netns; find veth-floor; read /proc/sys/net/ipv4/ip_forward; address 10.$n.0.1/32; \
     route 10.$n.0.2/32 link; send",
    configure!(),
    "; route 10.$n.0.1/32 link; route 10.$n.0.0/16 10.$n.0.1; send"
);
pub(super) const MACVLAN_ADD: &str = concat!("open; find $link; link macvlan $netns", configure!());
pub(super) const IPVLAN_ADD: &str = concat!("open; find $link; link ipvlan $netns", configure!());
pub(super) const VLAN_ADD: &str = concat!("open; find $link; link vlan $netns", configure!());
pub(super) const DUMMY_ADD: &str = concat!("open; link dummy $netns", configure!());
pub(super) const TAP_ADD: &str = concat!("enter $netns; tap eth0", configure!());
pub(super) const DEVICE_ADD: &str = concat!("open; find $link; move $netns eth0", configure!());
pub(super) const DEVICE_DEL: &str =
    "enter $netns; find eth0; move home $link; leave; find $link; up; send";

pub(super) const HOST_LOCAL: &str = r#"{"ipam": $ipv4}"#;
pub(super) const BRIDGE_KEYS: &str =
    r#"{"bridge": "$bridge", "isGateway": true, "isDefaultGateway": true, "ipam": $ipv4}"#;
pub(super) const MASQUERADE_IPTABLES: &str = r#"{"bridge": "$bridge", "isGateway": true, "isDefaultGateway": true, "ipam": $ipv4,
    "ipMasq": true, "ipMasqBackend": "iptables"}"#;
pub(super) const MASQUERADE_NFTABLES: &str = r#"{"bridge": "$bridge", "isGateway": true, "isDefaultGateway": true, "ipam": $ipv4,
    "ipMasq": true, "ipMasqBackend": "$nftables"}"#;
pub(super) const PORTMAP_IPTABLES: &str = r#"{"prevResult": $previous, "capabilities": {"portMappings": true}, "backend": "iptables",
    "runtimeConfig": {"portMappings": [{"hostPort": 800$n, "containerPort": 80, "protocol": "tcp"}]}}"#;
pub(super) const PORTMAP_NFTABLES: &str = r#"{"prevResult": $previous, "capabilities": {"portMappings": true}, "backend": "$nftables",
    "runtimeConfig": {"portMappings": [{"hostPort": 800$n, "containerPort": 80, "protocol": "tcp"}]}}"#;
pub(super) const PORTMAP_MAP: &str = r#"{"prevResult": $previous, "capabilities": {"portMappings": true}, "backend": "$nftables",
    "runtimeConfig": {"portMappings": [{"hostPort": 800$n, "containerPort": 80, "protocol": "tcp"}]}, "rules": "map"}"#;
pub(super) const FIREWALL_IPTABLES: &str = r#"{"prevResult": $previous, "backend": "iptables"}"#;
pub(super) const FIREWALL_NFTABLES: &str = r#"{"prevResult": $previous, "backend": "$nftables"}"#;
pub(super) const BANDWIDTH: &str = r#"{"prevResult": $previous, "capabilities": {"bandwidth": true}, "runtimeConfig": {"bandwidth": {
    "ingressRate": 100000000, "ingressBurst": 10000000, "egressRate": 100000000, "egressBurst": 10000000}}}"#;
pub(super) const TUNING: &str =
    r#"{"prevResult": $previous, "sysctl": {"net.core.somaxconn": "500"}}"#;
