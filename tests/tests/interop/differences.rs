//! The expected differences. `Documentation/compatibility.md` has a row for each.

use crate::difference::{Difference, Peers, ends, fails, only_ours, only_peer, texts};

/// Defines differences, and the list of all.
macro_rules! differences {
    ($($name:ident($plugins:literal, $peers:ident, $what:literal, $why:literal): [$($seen:expr),* $(,)?];)*) => {
        $(pub(crate) static $name: Difference = Difference {
            name: stringify!($name),
            plugins: $plugins,
            peers: Peers::$peers,
            what: $what,
            why: $why,
            seen: &[$($seen),*],
        };)*

        /// All of them, in the order of the page.
        pub(crate) static ALL: &[&Difference] = &[$(&$name),*];
    };
}

differences! {
    EMPTY_DNS(
        "all", Old,
        "Results of version 1.0.0 have no `dns` if nothing is known about DNS; upstream's have `\"dns\": {}`.",
        "As of upstream's newer releases. Both forms mean the same."
    ): [only_peer("after ADD", "result", " dns = {}")];

    TX_QUEUE(
        "bridge, ptp, macvlan, ipvlan, vlan", Old,
        "The container's interface has the kernel's default transmit queue, 1000 packets; upstream's has 0.",
        "A queueing discipline that takes its limit from the link would drop every packet. As of upstream's newer releases."
    ): [only_ours("after ADD", "c1 link", "eth0 txqlen = 1000")];

    TX_QUEUE_HOST(
        "bridge, ptp", All,
        "The end of a veth pair on the host has the same transmit queue, 1000 packets; upstream's has 0.",
        "As in the container."
    ): [only_ours("after ADD", "host link", "<peer of c1:eth0> txqlen = 1000")];

    MTU_IN_RESULT(
        "bridge, ptp, macvlan, ipvlan, vlan, host-device, tuning", New,
        "Results of version 1.1.0 have the MTU of the interfaces; tuning reports the one that it has set.",
        "The specification has this member since version 1.1.0; upstream never sets it."
    ): [only_ours("after ADD", "result", " mtu = 1")];

    NDISC_NOTIFY(
        "bridge", All,
        "`ndisc_notify` of the container's interface is 1; upstream leaves 0.",
        "A new IPv6 address is announced to the neighbours, as upstream announces IPv4 addresses (`arp_notify`)."
    ): [texts("c1 sysctl", "eth0/ndisc_notify", " = 0", " = 1")];

    NDISC_NOTIFY_OLD(
        "macvlan, ipvlan", Old,
        "`ndisc_notify` of the interface is 1; upstream's release 1.1.1 leaves 0.",
        "As of upstream's newer releases."
    ): [texts("c1 sysctl", "eth0/ndisc_notify", " = 0", " = 1")];

    KEEP_ADDRESSES(
        "bridge, ptp, macvlan, ipvlan, vlan, host-device", Old,
        "`keep_addr_on_down` of the container's interface is 1 if it has an IPv6 address.",
        "As of upstream's newer releases: the address survives when the link is set down and up."
    ): [texts("c1 sysctl", "eth0/keep_addr_on_down", " = 0", " = 1")];

    NO_DAD(
        "bridge, ptp", All,
        "IPv6 addresses have the flag `nodad`: the container's (of bridge unless `enabledad` is set) and the gateway's on the host's link. `accept_dad` of the bridge is 0.",
        "Duplicate address detection takes one to two seconds, in which the address answers nobody. Nobody else can have the addresses that ADD assigns on these links."
    ): [
        texts("c1 address", "eth0 local=fd00:", "flags=0x80", "flags=0x82"),
        texts("host address", "local=fd00:", "flags=0x80", "flags=0x82"),
        texts("host sysctl", "cni0/accept_dad", " = 1", " = 0"),
    ];

    DEFAULT_VLAN(
        "bridge", Old,
        "With `vlan`, the port is only in this VLAN, unless `preserveDefaultVlan` is set. Upstream's release 1.1.1 leaves it in VLAN 1, too.",
        "As of upstream's newer releases: the container would get the broadcasts of VLAN 1."
    ): [only_peer("", "host bridge vlan", " vlan=1 flags=0x4")];

    VLAN_GATEWAY(
        "bridge", All,
        "With `vlan` and a gateway, the host's interface in the VLAN does not accept router advertisements, and has a transmit queue of 1000 packets.",
        "It is the router of the VLAN. Upstream sets `accept_ra` on its peer."
    ): [
        texts("host sysctl", "cni0.100/accept_ra", " = 1", " = 0"),
        only_ours("", "host link", "cni0.100 txqlen = 1000"),
        only_ours("", "host link", "<peer of cni0.100> txqlen = 1000"),
    ];

    BRIDGE_MAC(
        "bridge", All,
        "With `vlan` and a gateway, the bridge has a hardware address of its own; upstream's has the lowest of its ports.",
        "The lowest address changes as containers come and go, and CHECK compares it."
    ): [
        only_peer("", "host link", " address = \"<mac of "),
        only_ours("", "host link", " address = \"<mac of "),
        only_peer("", "result", " mac = \"<mac of "),
        only_ours("", "result", " mac = \"<mac of "),
    ];

    FILE_MODES(
        "host-local", Old,
        "Files of reservations have mode 0600; upstream's have 0644.",
        "As of upstream's newer releases: other users need not know which container has which address."
    ): [
        texts("host files", "/var/lib/cni/networks/", " mode 644 ", " mode 600 "),
        texts("host files", "/run/leases/", " mode 644 ", " mode 600 "),
    ];

    RECORDS(
        "bridge, ptp, portmap, firewall, host-device, sbr", All,
        "Records of attachments in `/run/cni` ([files](files.md)). If upstream executes DEL, the records stay until the next GC or DEL of these plugins, or until the host restarts.",
        "DEL and GC find what an attachment has changed even without a namespace, a link or `prevResult`. No record is needed to delete what upstream has added."
    ): [
        only_ours("", "host files", "/run/cni/filters/"),
        only_ours("", "host files", "/run/cni/firewall/"),
        only_ours("", "host files", "/run/cni/portmap/"),
        only_ours("", "host files", "/run/cni/host-device/"),
        only_ours("", "host files", "/run/cni/sbr/"),
    ];

    NOTES(
        "host-local", All,
        "GC leaves a note of each reservation of upstream's that it releases, in `/run/cni/released`, until the third GC after that.",
        "GC of the other plugins finds by it what upstream has added ([GC and STATUS](gc-and-status.md))."
    ): [only_ours("after GC", "host files", "/run/cni/released/")];

    PAIR_ALIAS(
        "bridge, ptp", All,
        "The end of a veth pair on the host has an alias with network, container and interface.",
        "DEL and GC find the pair without the namespace, and `ip link` shows whose it is."
    ): [only_ours("after ADD", "host link", "<peer of c1:eth0> ifalias = ")];

    LAYER2_CHECK(
        "bridge", All,
        "CHECK succeeds without `ipam`; upstream's fails with `no plugin name provided`.",
        "There is no IPAM plugin to ask."
    ): [fails("CHECK by the peer", "no plugin name provided")];

    ALIAS_LEFT(
        "host-device", Old,
        "DEL clears the alias of the device; upstream's release 1.1.1 leaves it.",
        "As of upstream's newer releases. The alias was the device's name while it was in the container."
    ): [only_peer("after DEL by ours", "host link", "m0 ifalias = ")];

    LOOPBACK_FORM(
        "loopback", All,
        "Results of versions before 1.0.0 have the form of that version. Upstream prints the form of 1.0.0 with the old version number.",
        "A runtime that reads the version finds the members that the specification of that version requires."
    ): [
        only_ours("after ADD", "result", " version = "),
        only_ours("after ADD", "result", " dns = {}"),
    ];

    PORTMAP_CHECK(
        "portmap", Old,
        "CHECK looks for the rules of IPv6 only if there is an IPv6 address. That of upstream's release 1.1.1 always looks for them, and for those of the wrong family.",
        "Newer releases of upstream look for those that ADD has made."
    ): [
        fails("CHECK by the peer", "could not check ipv6 dnat: "),
    ];

    NFTABLES_DEL(
        "bridge, ptp", New,
        "DEL succeeds with `ipMasqBackend` `nftables`. Upstream's DEL removes everything, but fails if `iptables` is installed in version 1.8.9, with `Chain 'CNI-…' does not exist`.",
        "DEL looks in both backends, and there is nothing to delete in iptables."
    ): [fails("DEL by the peer", "(nf_tables): Chain 'CNI-")];

    IP6TABLES_TABLE(
        "portmap", Old,
        "Without IPv6 addresses, DEL leaves ip6tables alone. Upstream's release 1.1.1 creates the empty table `nat` of IPv6.",
        "A table costs each packet a hook, and needs the commands of IPv6."
    ): [only_peer("", "ip6tables-save nat", "policy ACCEPT")];

    PORTMAP_NETWORK(
        "portmap", New,
        "With nftables, connections from the container's own network to its mapped ports are masqueraded, as with iptables; upstream's rule matches the container's own address only.",
        "Otherwise another container of the network gets replies from an address to which it has not sent anything."
    ): [
        texts("cni_hostport chain chain masquerading", "", "saddr 10.1.0.5 ip daddr 10.1.0.5", "saddr 10.1.0.0/24 ip daddr 10.1.0.5 ct status dnat"),
        texts("cni_hostport chain chain masquerading", "", "saddr fd00:1::5 ip6 daddr fd00:1::5", "saddr fd00:1::/64 ip6 daddr fd00:1::5 ct status dnat"),
    ];

    PORTMAP_GC(
        "portmap", New,
        "Without a reservation of `host-local`, GC does not delete rules of nftables that upstream's ADD has made.",
        "Their comment names the container, but not the network: they may belong to a valid attachment to another network."
    ): [
        only_ours("after GC", "cni_hostport chain chain hostports", "comment \"c1\""),
        only_ours("after GC", "cni_hostport chain chain masquerading", "comment \"c1\""),
    ];

    FIREWALL_GC(
        "firewall", All,
        "Without a reservation of `host-local`, GC does not delete rules and firewalld sources that upstream's ADD has made.",
        "They contain an address, but neither network nor container: an address may belong to a living container."
    ): [
        only_ours("after GC", "CNI-FORWARD", "10.1.0."),
        only_ours("after GC", "CNI-FORWARD", "fd00:1::"),
        only_ours("after GC", "nft inet firewalld", "10.1.0.5"),
        only_ours("after GC", "nft inet firewalld", "fd00:1::5"),
    ];

    FIREWALL_COMMENTS(
        "firewall", Old,
        "Comments of the common rules of `ingressPolicy` name both policies.",
        "As of upstream's newer releases, which have the policy `isolated`. On a host with rules of release 1.1.1 the common rules are there twice, with the same effect."
    ): [
        texts("CNI-ISOLATION", "ingressPolicy", "same-bridge)", "same-bridge|isolated)"),
        texts("FORWARD", "ingressPolicy", "same-bridge)", "same-bridge|isolated)"),
    ];

    SHAPING_LEFT(
        "bandwidth", All,
        "DEL removes the queueing disciplines from the host's link; upstream's leaves them.",
        "They redirect packets to an ifb that no longer exists: if the link lives on, the container's packets are lost."
    ): [
        texts("host link", "veth1", "qdisc = \"tbf\"", "qdisc = \"noqueue\""),
        only_peer("after DEL by ours", "host traffic control", "veth1 "),
    ];

    SHAPING_ACTION(
        "bandwidth", All,
        "The filter that redirects the container's packets has one action; upstream's has a second one, which no packet reaches.",
        "The first action steals the packet."
    ): [
        only_peer("", "host traffic control", "action order 2: mirred"),
        only_peer("", "host traffic control", "index 2 ref 1 bind 1"),
    ];

    SHAPING_ALIAS(
        "bandwidth", All,
        "The ifb has an alias with network, container and interface.",
        "GC finds the ifb, and `ip link` shows whose it is."
    ): [only_ours("after ADD", "host link", "bwp623e1c388032 ifalias = ")];

    SHAPING_GC(
        "bandwidth", All,
        "Without a reservation of `host-local`, GC does not delete the ifb of an attachment that upstream has added. DEL does.",
        "Its name is a hash of network and container: without an alias it cannot be told from the ifb of another network."
    ): [
        only_ours("after GC", "host link", "bwp623e1c388032"),
        only_ours("after GC", "host sysctl", "/bwp623e1c388032/"),
        only_ours("after GC", "host traffic control", "bwp623e1c388032"),
    ];

    SHAPING_NOTHING(
        "bandwidth", Old,
        "CHECK succeeds if no rate is configured; that of upstream's release 1.1.1 crashes.",
        "As of upstream's newer releases: nothing is shaped."
    ): [fails("CHECK by the peer", "exit status: 2")];

    TUNING_DIRECTORY(
        "tuning", All,
        "The directory of the original values has mode 0700, and DEL removes it when it is empty; upstream's has mode 0600 and stays.",
        "A directory without the right to search it is of no use to a process without `CAP_DAC_OVERRIDE`."
    ): [
        only_peer("after DEL by ours", "host files", "/run/cni/"),
        texts("host files", "/run/cni/tuning/ ", "600", "700"),
    ];

    TUNING_RECORD(
        "tuning", All,
        "The file of the original values has further members: the network, the values that ADD has set, and sysctls.",
        "DEL restores sysctls, too, and only values that nobody has changed since. Upstream ignores unknown members."
    ): [ends("host files", "/run/cni/tuning/c1_eth0.json", r#"\n}""#, r#",\n \"network\""#)];

    TUNING_GC(
        "tuning", All,
        "GC does not delete the file of the original values of an attachment that upstream has added. DEL does.",
        "It does not name the network: the attachment may be a valid one of another network."
    ): [only_ours("after GC", "host files", "/run/cni/tuning/c1_eth0.json")];

    TUNING_CHECK(
        "tuning", Old,
        "CHECK puts the interface's name in place of `IFNAME` in sysctls; that of upstream's release 1.1.1 does not, and fails.",
        "As of upstream's newer releases."
    ): [fails("CHECK by the peer", "/proc/sys/net/ipv4/conf/IFNAME/arp_filter")];

    SBR_FAMILIES(
        "sbr", All,
        "Routes of IPv6 are not copied to the tables of IPv4 addresses.",
        "No packet looks them up there."
    ): [only_peer("", "c1 route -6", "dst=fd00:1::/64 table=100 ")];

    SBR_MAIN(
        "sbr", All,
        "DEL moves the routes of an attachment that upstream has added back to the main table; upstream's leaves them in its tables.",
        "Another ADD finds the gateway again."
    ): [
        only_peer("after DEL by ours", "c1 route", " table=10"),
        only_ours("after DEL by ours", "c1 route", " table=254 "),
    ];

    VRF_OWNER(
        "vrf", All,
        "A VRF has an alias. DEL does not delete a VRF that upstream has created; upstream deletes any VRF that becomes empty.",
        "The alias tells it from a VRF that an operator has created, which may be empty."
    ): [
        only_ours("after ADD", "c1 link", "blue ifalias = "),
        only_ours("after DEL by ours", "c1 link", "blue "),
        only_ours("after DEL by ours", "c1 sysctl", "/blue/"),
    ];

    VRF_QUEUE(
        "vrf", Old,
        "A VRF has the kernel's default transmit queue, 1000 packets; upstream's has 0.",
        "As of upstream's newer releases."
    ): [only_ours("after ADD", "c1 link", "blue txqlen = 1000")];

    VRF_ROUTES(
        "vrf", Old,
        "ADD keeps default routes, in the table of the VRF; upstream's release 1.1.1 loses them.",
        "As of upstream's newer releases. The container needs them."
    ): [only_ours("after ADD", "c1 route", "dst=default table=1")];

    VRF_ADDRESSES(
        "vrf", All,
        "After DEL, the interface still has its IPv6 addresses and the routes that ADD has moved; upstream loses them.",
        "The kernel deletes both when an interface leaves a VRF. The plugins before are to find what they have added."
    ): [
        only_ours("after DEL by ours", "c1 address", "local=fd00:1::5"),
        only_ours("after DEL by ours", "c1 route -6", "dst=fd00:1::/64 table=254"),
        only_ours("after DEL by ours", "c1 route", "dst=default table=254"),
    ];

    DETAILS(
        "all", All,
        "Errors have `details`, with the values that were refused and the way out.",
        "`msg` is upstream's, since programs compare it. Runtimes show both."
    ): [only_ours("errors", "", "details = ")];

    JSON_ERRORS(
        "all", All,
        "The end of `error unmarshall network config: …` for input that is not JSON.",
        "It is the text of the JSON parser."
    ): [texts("with no JSON", "msg = ", " false (expecting 'a')", "")];

    FULL_STOPS(
        "bridge, vlan", Old,
        "`cannot set hairpin mode and promiscuous mode at the same time` and `\"master\" field is required. …` end without a full stop.",
        "As of upstream's newer releases."
    ): [
        texts("bridge: ", "at the same time", "time.\"", "time\""),
        texts("vlan: ", "VLAN for", "for.\"", "for\""),
    ];

    LINK_NAMED(
        "macvlan, host-device", All,
        "Where upstream says only `Link not found`, the message names the link before these words.",
        "The name may be one that the plugin has chosen."
    ): [
        texts("macvlan: ", "Link not found", "\"Link", r#""failed to lookup master \"no-such-link\": Link"#),
        texts("host-device: ", "Link not found", "device: Link", r#"device: failed to find \"no-such-link\": Link"#),
    ];

    KEY_NAMED(
        "host-local", All,
        "Messages about a value that is no address or subnet begin with the key, for example `ipam.subnet: invalid CIDR address: …`.",
        "Several keys may have such a value."
    ): [texts("\"frob\"", "CIDR", "\"invalid", "\"ipam.subnet: invalid")];

    SYSCTL_NAMED(
        "tuning", All,
        "`failed to set sysctl \"net.no.such.key\": …` instead of `open /proc/sys/net/no/such/key: …`.",
        "It is the spelling of the configuration."
    ): [texts("no.such.key", "no such file", "open /proc/sys/net/no/such/key", r#"failed to set sysctl \"net.no.such.key\""#)];

    SYSCTL_SLASHES(
        "tuning", Old,
        "`invalid net sysctl key: …` has the key with slashes.",
        "As of upstream's newer releases."
    ): [texts("kernel.hostname", "invalid net", "kernel.hostname", "kernel/hostname")];

    TAP_ADDRESS(
        "tap", New,
        "`address frob: invalid MAC address` for an invalid `mac`, as of the other plugins; upstream's tap prints the message of the command `ip`.",
        "The command is not executed."
    ): [ends("tap: ", "msg = ", "failed to run command Invalid address", "address frob: invalid")];
}
