//! Both variants of iptables, and the changes that plugins make with them.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use netfilter::iptables::{Change, Family, Iptables, Rule, Table};
use testkit::Host;
use testkit::namespace::run;

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) const VARIANTS: [&str; 2] = ["legacy", "nft"];

/// A variant under its own name, such as `iptables-legacy`.
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    pub(crate) family: Family,
    pub(crate) iptables: Iptables,
}

impl Variant {
    pub(crate) fn command(&self) -> String {
        format!("/usr/sbin/{}-{}", self.family.command(), self.name)
    }

    /// Runs a line of arguments as the reference implementation does.
    #[track_caller]
    pub(crate) fn exec(&self, words: &[&str]) {
        let output = Command::new(self.command()).args(words).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {stderr}");
    }

    pub(crate) fn saved(&self, table: Table) -> String {
        let text = run(&format!("{}-save -t {}", self.command(), table.as_str()));
        let rules = text.lines().filter(|line| !line.starts_with('#'));
        // Without the counters of built-in chains.
        let bare = rules.map(|line| line.split(" [").next().unwrap_or(line));
        bare.collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn clear(&self, table: Table) {
        self.exec(&["-t", table.as_str(), "-F"]);
        self.exec(&["-t", table.as_str(), "-X"]);
    }

    /// Demands that a change has the same effect as the commands, and that
    /// repeating it has none.
    #[track_caller]
    pub(crate) fn same(&self, change: &Change, table: Table, commands: &[&[&str]]) {
        for words in commands {
            let mut line = vec!["-t", table.as_str()];
            line.extend_from_slice(words);
            self.exec(&line);
        }
        let theirs = self.saved(table);
        // After the commands, the change has nothing to add.
        self.iptables.apply(change).unwrap();
        assert_eq!(self.saved(table), theirs, "{} again", self.name);
        self.clear(table);
        self.iptables.apply(change).unwrap();
        assert_eq!(self.saved(table), theirs, "{}", self.name);
        self.iptables.apply(change).unwrap();
        assert_eq!(self.saved(table), theirs, "{} twice", self.name);
    }
}

/// Wrappers of the commands that record each call.
pub(crate) struct Counted {
    pub(crate) iptables: Iptables,
    log: PathBuf,
}

impl Counted {
    /// The wrappers are named after `name` in `dir`.
    pub(crate) fn new(dir: &Path, variant: &Variant, name: &str) -> Counted {
        let log = dir.join("log");
        for suffix in ["", "-save", "-restore"] {
            let file = dir.join(format!("{name}{suffix}"));
            let script = format!(
                "#!/bin/sh\necho iptables{suffix} >> {}\nexec {}{suffix} \"$@\"\n",
                log.display(),
                variant.command()
            );
            fs::write(&file, script).unwrap();
            fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        }
        let iptables = Iptables::with_command(variant.family, &dir.join(name)).unwrap();
        Counted { iptables, log }
    }

    /// The commands that a change runs.
    pub(crate) fn runs(&self, change: &Change) -> Vec<String> {
        self.iptables.apply(change).unwrap();
        self.so_far()
    }

    /// The commands since the last call.
    pub(crate) fn so_far(&self) -> Vec<String> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let _ = fs::remove_file(&self.log);
        log.lines().map(str::to_owned).collect()
    }
}

/// Runs a test for each variant and family, each on a host of its own.
pub(crate) fn each(families: &[Family], test: impl Fn(&Variant)) {
    for name in VARIANTS {
        for family in families {
            let _host = Host::new();
            test(&variant(name, *family));
        }
    }
}

/// Returns a variant, whose commands must be installed.
pub(crate) fn variant(name: &'static str, family: Family) -> Variant {
    let command = format!("/usr/sbin/{}-{name}", family.command());
    Variant {
        name,
        family,
        iptables: Iptables::with_command(family, Path::new(&command)).unwrap(),
    }
}

pub(crate) const BOTH: &[Family] = &[Family::V4, Family::V6];

/// An address, its prefix length, and the multicast network.
pub(crate) fn addresses(family: Family) -> (&'static str, u8, &'static str) {
    match family {
        Family::V4 => ("10.0.0.2", 24, "224.0.0.0/4"),
        Family::V6 => ("fd00::2", 64, "ff00::/8"),
    }
}

pub(crate) const COMMENT: &str = "name: \"unit-test\" id: \"one\"";
pub(crate) const CHAIN: &str = "CNI-2bbe0c48b91a7d1b8a6753a8";

pub(crate) fn masquerade(family: Family) -> Change {
    let (address, len, multicast) = addresses(family);
    let (network, bits) = multicast.split_once('/').unwrap();
    let host = if family == Family::V4 { 32 } else { 128 };
    let rule = || Rule::new().comment(COMMENT);
    Change::new(Table::Nat)
        .own_chain(CHAIN)
        .append(CHAIN, rule().destination(ip(address), len).jump("ACCEPT"))
        .append(
            CHAIN,
            rule()
                .not_destination(ip(network), bits.parse().unwrap())
                .jump("MASQUERADE"),
        )
        .append("POSTROUTING", rule().source(ip(address), host).jump(CHAIN))
}

/// The rules by which the plugin firewall accepts the packets of an address.
pub(crate) fn accept(family: Family, address: &str) -> Change {
    let host = if family == Family::V4 { 32 } else { 128 };
    let rule = || Rule::new();
    Change::new(Table::Filter)
        .chain("CNI-FORWARD")
        .chain("CNI-ADMIN")
        .insert(
            "FORWARD",
            rule()
                .comment("CNI firewall plugin rules")
                .jump("CNI-FORWARD"),
        )
        .insert(
            "CNI-FORWARD",
            rule()
                .comment("CNI firewall plugin admin overrides")
                .jump("CNI-ADMIN"),
        )
        .append(
            "CNI-FORWARD",
            rule()
                .destination(ip(address), host)
                .related_or_established()
                .jump("ACCEPT"),
        )
        .append(
            "CNI-FORWARD",
            rule().source(ip(address), host).jump("ACCEPT"),
        )
}

/// The shared chains of portmap, and those of one container.
pub(crate) fn portmap(family: Family) -> Change {
    let (address, len, _) = addresses(family);
    let mark = 0x2000;
    let dn = "CNI-DN-022110f36292712c8bb50";
    let setmark = "CNI-HOSTPORT-SETMARK";
    let local = || Rule::new().local_destination().jump("CNI-HOSTPORT-DNAT");
    let mut change = Change::new(Table::Nat)
        .chain(setmark)
        .append(
            setmark,
            Rule::new()
                .comment("CNI portfwd masquerade mark")
                .set_mark(mark, mark),
        )
        .chain("CNI-HOSTPORT-MASQ")
        .append(
            "CNI-HOSTPORT-MASQ",
            Rule::new().mark(mark, mark).jump("MASQUERADE"),
        )
        .insert(
            "POSTROUTING",
            Rule::new()
                .comment("CNI portfwd requiring masquerade")
                .jump("CNI-HOSTPORT-MASQ"),
        )
        .chain("CNI-HOSTPORT-DNAT")
        .append("PREROUTING", local())
        .append("OUTPUT", local())
        .own_chain(dn)
        .append(
            dn,
            Rule::new()
                .dport("tcp", 8080)
                .source(ip(address), len)
                .jump(setmark),
        );
    if family == Family::V4 {
        change = change.append(
            dn,
            Rule::new()
                .dport("tcp", 8080)
                .source(ip("127.0.0.1"), 32)
                .jump(setmark),
        );
    }
    change
        .append(
            dn,
            Rule::new()
                .dport("tcp", 8080)
                .dnat((ip(address), 80).into()),
        )
        .append(
            "CNI-HOSTPORT-DNAT",
            Rule::new()
                .comment("dnat name: \"test\" id: \"icee6giejonei6so\"")
                .dports("tcp", &[8080, 8443])
                .jump(dn),
        )
}
