//! The expected differences. `Documentation/compatibility.md` has a row for each.

/// A difference between the implementations in what they print, or leave in the kernel and in files.
pub(crate) struct Difference {
    pub(crate) name: &'static str,
    /// The plugins, for the page.
    pub(crate) plugins: &'static str,
    pub(crate) peers: Peers,
    /// What differs, for the page.
    pub(crate) what: &'static str,
    /// The reason, for the page.
    pub(crate) why: &'static str,
    seen: &'static [Seen],
}

/// Releases of upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peers {
    /// All that were compared.
    All,
    /// 1.1.1.
    Old,
    /// 1.9.1.
    New,
}

impl Peers {
    pub(crate) fn include(self, is_new: bool) -> bool {
        match self {
            Peers::All => true,
            Peers::Old => !is_new,
            Peers::New => is_new,
        }
    }

    /// As the page names them.
    pub(crate) fn shown(self) -> &'static str {
        match self {
            Peers::All => "both",
            Peers::Old => "1.1.1",
            Peers::New => "1.9.1",
        }
    }
}

/// How a difference shows itself in states: in the stages, headings and lines that contain these texts.
struct Seen {
    stage: &'static str,
    heading: &'static str,
    line: &'static str,
    form: Form,
}

enum Form {
    /// Texts in the peer's lines and in ours. What else is in these lines is compared.
    Texts(&'static str, &'static str),
    /// Texts from which on the peer's lines and ours differ.
    Ends(&'static str, &'static str),
    /// Lines that only the peer's state has.
    OnlyPeer,
    /// Lines that only our state has.
    OnlyOurs,
    /// A call that fails.
    Fails,
}

const fn texts(
    heading: &'static str,
    line: &'static str,
    peer: &'static str,
    ours: &'static str,
) -> Seen {
    Seen {
        stage: "",
        heading,
        line,
        form: Form::Texts(peer, ours),
    }
}

const fn ends(
    heading: &'static str,
    line: &'static str,
    peer: &'static str,
    ours: &'static str,
) -> Seen {
    Seen {
        stage: "",
        heading,
        line,
        form: Form::Ends(peer, ours),
    }
}

const fn only_peer(stage: &'static str, heading: &'static str, line: &'static str) -> Seen {
    Seen {
        stage,
        heading,
        line,
        form: Form::OnlyPeer,
    }
}

const fn only_ours(stage: &'static str, heading: &'static str, line: &'static str) -> Seen {
    Seen {
        stage,
        heading,
        line,
        form: Form::OnlyOurs,
    }
}

const fn fails(heading: &'static str, line: &'static str) -> Seen {
    Seen {
        stage: "calls",
        heading,
        line,
        form: Form::Fails,
    }
}

impl Difference {
    /// Removes the lines by which the difference shows itself from those that only the peer's state has, and from those
    /// that only the other one has, below a heading. Returns whether there were any.
    pub(crate) fn explain(
        &self,
        stage: &str,
        heading: &str,
        peer: &mut Vec<String>,
        ours: &mut Vec<String>,
    ) -> bool {
        let mut found = false;
        for seen in self.seen {
            if stage.contains(seen.stage) && heading.contains(seen.heading) {
                found |= seen.explain(peer, ours);
            }
        }
        found
    }
}

impl Seen {
    fn explain(&self, peer: &mut Vec<String>, ours: &mut Vec<String>) -> bool {
        let before = (peer.len(), ours.len());
        let is_meant = |line: &String| line.contains(self.line);
        match self.form {
            Form::OnlyPeer => peer.retain(|line| !is_meant(line)),
            Form::OnlyOurs => ours.retain(|line| !is_meant(line)),
            Form::Texts(old, new) => remove_pairs(peer, ours, |line, other| {
                is_meant(line) && line.contains(old) && line.replace(old, new) == *other
            }),
            Form::Ends(old, new) => remove_pairs(peer, ours, |line, other| {
                let ends = (line.find(old), other.find(new));
                let (Some(end), Some(other_end)) = ends else {
                    return false;
                };
                is_meant(line) && line[..end] == other[..other_end]
            }),
            Form::Fails => remove_pairs(peer, ours, |line, other| line == "ok" && is_meant(other)),
        }
        before != (peer.len(), ours.len())
    }
}

/// Removes lines from both lists, each together with one of the other list.
fn remove_pairs(
    peer: &mut Vec<String>,
    ours: &mut Vec<String>,
    is_pair: impl Fn(&String, &String) -> bool,
) {
    peer.retain(|line| {
        let other = ours.iter().position(|other| is_pair(line, other));
        other.map(|other| ours.remove(other)).is_none()
    });
}

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
        "bridge, ptp, macvlan, ipvlan, vlan, host-device", New,
        "Results of version 1.1.0 have the MTU of the interfaces.",
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
        only_ours("", "host files", "/run/cni/ mode 700"),
    ];

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
    ): [only_ours("after ADD", "result", " version = ")];

    PORTMAP_CHECK(
        "portmap", Old,
        "CHECK looks for the rules of IPv6 only if there is an IPv6 address. That of upstream's release 1.1.1 always looks for them, and for those of the wrong family.",
        "Newer releases of upstream look for those that ADD has made."
    ): [
        fails("CHECK by the peer", "could not check ipv6 dnat: "),
    ];

    IP6TABLES_TABLE(
        "bridge, portmap", All,
        "Without IPv6 addresses, DEL leaves ip6tables alone. Upstream's creates the empty table `nat` of IPv6.",
        "A table costs each packet a hook, and needs the commands of IPv6."
    ): [only_peer("", "ip6tables-save nat", "policy ACCEPT")];

    FIREWALL_GC(
        "firewall", All,
        "GC does not delete rules and firewalld sources that upstream's ADD has made.",
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
        "GC does not delete the ifb of an attachment that upstream has added. DEL does.",
        "Its name is a hash of network and container: without an alias it cannot be told from the ifb of another network."
    ): [
        only_ours("after GC", "host link", "bwp623e1c388032"),
        only_ours("after GC", "host sysctl", "/bwp623e1c388032/"),
        only_ours("after GC", "host traffic control", "bwp623e1c388032"),
    ];

    SHAPING_NOTHING(
        "bandwidth", All,
        "CHECK succeeds if no rate is configured; upstream's crashes.",
        "Nothing is shaped, as ADD says, too."
    ): [fails("CHECK by the peer", "exit status: 2")];

    TUNING_DIRECTORY(
        "tuning", All,
        "The directory of the original values has mode 0700, and DEL removes it when it is empty; upstream's has mode 0600 and stays.",
        "A directory without the right to search it is of no use to a process without `CAP_DAC_OVERRIDE`."
    ): [
        only_peer("after DEL by ours", "host files", "/run/cni/"),
        texts("host files", "/run/cni/ ", "600", "700"),
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
}
