//! Both variants of iptables: the rules of the reference implementation, made
//! by its own commands and by us, are the same to `iptables-save`.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{feed, run};
use netfilter::iptables::{Change, Family, Iptables, Rule, Table};
use testkit::Host;

const VARIANTS: [&str; 2] = ["legacy", "nft"];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// One of the variants, by its own name.
struct Variant {
    name: &'static str,
    family: Family,
    iptables: Iptables,
}

impl Variant {
    fn command(&self) -> String {
        format!("/usr/sbin/{}-{}", self.family.command(), self.name)
    }

    /// Runs a line of arguments as the reference implementation does.
    #[track_caller]
    fn exec(&self, words: &[&str]) {
        let output = Command::new(self.command()).args(words).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {stderr}");
    }

    fn saved(&self, table: Table) -> String {
        let text = run(&format!("{}-save -t {}", self.command(), table.as_str()));
        let rules = text.lines().filter(|line| !line.starts_with('#'));
        // The counters of built-in chains.
        let bare = rules.map(|line| line.split(" [").next().unwrap_or(line));
        bare.collect::<Vec<_>>().join("\n")
    }

    fn clear(&self, table: Table) {
        self.exec(&["-t", table.as_str(), "-F"]);
        self.exec(&["-t", table.as_str(), "-X"]);
    }

    /// What a change makes is what the commands make; made again it changes
    /// nothing.
    #[track_caller]
    fn same(&self, change: &Change, table: Table, commands: &[&[&str]]) {
        for words in commands {
            let mut line = vec!["-t", table.as_str()];
            line.extend_from_slice(words);
            self.exec(&line);
        }
        let theirs = self.saved(table);
        // On top of the rules of the others nothing is to be done.
        self.iptables.apply(change).unwrap();
        assert_eq!(self.saved(table), theirs, "{} again", self.name);
        self.clear(table);
        self.iptables.apply(change).unwrap();
        assert_eq!(self.saved(table), theirs, "{}", self.name);
        self.iptables.apply(change).unwrap();
        assert_eq!(self.saved(table), theirs, "{} twice", self.name);
    }
}

/// Runs a test on a host of its own for each variant and family.
fn each(families: &[Family], test: impl Fn(&Variant)) {
    for name in VARIANTS {
        for family in families {
            let _host = Host::new();
            let command = format!("/usr/sbin/{}-{name}", family.command());
            test(&Variant {
                name,
                family: *family,
                iptables: Iptables::with_command(*family, Path::new(&command)).unwrap(),
            });
        }
    }
}

const BOTH: &[Family] = &[Family::V4, Family::V6];

/// Address, its prefix, its network, the multicast network.
fn addresses(family: Family) -> (&'static str, u8, &'static str) {
    match family {
        Family::V4 => ("10.0.0.2", 24, "224.0.0.0/4"),
        Family::V6 => ("fd00::2", 64, "ff00::/8"),
    }
}

const COMMENT: &str = "name: \"unit-test\" id: \"one\"";
const CHAIN: &str = "CNI-2bbe0c48b91a7d1b8a6753a8";

fn masquerade(family: Family) -> Change {
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

#[test]
fn masquerade_is_upstreams() {
    each(BOTH, |variant| {
        let (address, len, multicast) = addresses(variant.family);
        let network = format!("{address}/{len}");
        let tail = ["-m", "comment", "--comment", COMMENT];
        let change = masquerade(variant.family);
        variant.same(
            &change,
            Table::Nat,
            &[
                &["-N", CHAIN],
                &[&["-A", CHAIN, "-d", &network, "-j", "ACCEPT"], &tail[..]].concat(),
                &[
                    &["-A", CHAIN, "!", "-d", multicast, "-j", "MASQUERADE"],
                    &tail[..],
                ]
                .concat(),
                &[
                    &["-A", "POSTROUTING", "-s", address, "-j", CHAIN],
                    &tail[..],
                ]
                .concat(),
            ],
        );
        assert!(Iptables::is_table_in_use(variant.family, Table::Nat));
        assert!(!Iptables::is_table_in_use(variant.family, Table::Filter));
        let saved = variant.iptables.read(Table::Nat).unwrap();
        let entry = saved.rules().find(|rule| rule.jumps_to(CHAIN)).unwrap();
        assert_eq!(entry.chain, "POSTROUTING");
        assert_eq!(entry.parse().comment_text(), Some(COMMENT));
        let gone = Change::new(Table::Nat).delete_chain(CHAIN);
        variant.iptables.apply(&gone).unwrap();
        variant.iptables.apply(&gone).unwrap();
        let left = variant.iptables.read(Table::Nat).unwrap();
        assert_eq!((left.rules().count(), left.has_chain(CHAIN)), (0, false));
    });
}

/// The shared chains of portmap, and those of one container.
fn portmap(family: Family) -> Change {
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

#[test]
fn portmap_is_upstreams() {
    each(BOTH, |variant| {
        let (address, len, _) = addresses(variant.family);
        let network = format!("{address}/{len}");
        let dn = "CNI-DN-022110f36292712c8bb50";
        let (setmark, dnat) = ("CNI-HOSTPORT-SETMARK", "CNI-HOSTPORT-DNAT");
        let to = match variant.family {
            Family::V4 => format!("{address}:80"),
            Family::V6 => format!("[{address}]:80"),
        };
        let local = ["-m", "addrtype", "--dst-type", "LOCAL", "-j", dnat];
        let port = ["-p", "tcp", "--dport", "8080"];
        let comment = ["-m", "comment", "--comment"];
        let mut commands: Vec<Vec<&str>> = vec![
            vec!["-N", setmark],
            [
                &["-A", setmark],
                &comment[..],
                &["CNI portfwd masquerade mark", "-j", "MARK"],
                &["--set-xmark", "0x2000/0x2000"],
            ]
            .concat(),
            vec!["-N", "CNI-HOSTPORT-MASQ"],
            vec![
                "-A",
                "CNI-HOSTPORT-MASQ",
                "-m",
                "mark",
                "--mark",
                "0x2000/0x2000",
                "-j",
                "MASQUERADE",
            ],
            [
                &["-I", "POSTROUTING", "1"],
                &comment[..],
                &[
                    "CNI portfwd requiring masquerade",
                    "-j",
                    "CNI-HOSTPORT-MASQ",
                ],
            ]
            .concat(),
            vec!["-N", dnat],
            [&["-A", "PREROUTING"], &local[..]].concat(),
            [&["-A", "OUTPUT"], &local[..]].concat(),
            vec!["-N", dn],
            [&["-A", dn], &port[..], &["-s", &network, "-j", setmark]].concat(),
        ];
        if variant.family == Family::V4 {
            commands.push([&["-A", dn], &port[..], &["-s", "127.0.0.1", "-j", setmark]].concat());
        }
        commands.push(
            [
                &["-A", dn],
                &port[..],
                &["-j", "DNAT", "--to-destination", &to],
            ]
            .concat(),
        );
        commands.push(
            [
                &["-A", dnat],
                &comment[..],
                &[
                    "dnat name: \"test\" id: \"icee6giejonei6so\"",
                    "-m",
                    "multiport",
                ],
                &["-p", "tcp", "--destination-ports", "8080,8443", "-j", dn],
            ]
            .concat(),
        );
        let commands: Vec<&[&str]> = commands.iter().map(Vec::as_slice).collect();
        variant.same(&portmap(variant.family), Table::Nat, &commands);
        let shared = Change::new(Table::Nat)
            .delete_jumps(dnat, dn)
            .delete_chain(dn);
        variant.iptables.apply(&shared).unwrap();
        let saved = variant.iptables.read(Table::Nat).unwrap();
        assert!(!saved.has_chain(dn) && saved.has_chain(dnat));
        assert_eq!(saved.rules_of(dnat).count(), 0);
        assert_eq!(saved.rules_of("OUTPUT").count(), 1);
    });
}

#[test]
fn firewall_is_upstreams() {
    each(BOTH, |variant| {
        let (address, _, _) = addresses(variant.family);
        let host = if variant.family == Family::V4 {
            32
        } else {
            128
        };
        let one = "CNI-ISOLATION-STAGE-1";
        let two = "CNI-ISOLATION-STAGE-2";
        let c1 = "CNI firewall plugin rules (ingressPolicy: isolated)";
        let c2 = "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)";
        let rules = "CNI firewall plugin rules";
        let admin = "CNI firewall plugin admin overrides";
        let bridge = || Rule::new().in_interface("cni0");
        let change = Change::new(Table::Filter)
            .chain("CNI-FORWARD")
            .chain("CNI-ADMIN")
            .insert("FORWARD", Rule::new().comment(rules).jump("CNI-FORWARD"))
            .insert("CNI-FORWARD", Rule::new().comment(admin).jump("CNI-ADMIN"))
            .append(
                "CNI-FORWARD",
                Rule::new()
                    .destination(ip(address), host)
                    .related_or_established()
                    .jump("ACCEPT"),
            )
            .append(
                "CNI-FORWARD",
                Rule::new().source(ip(address), host).jump("ACCEPT"),
            )
            .chain(one)
            .chain(two)
            .insert("FORWARD", Rule::new().comment(c2).jump(one))
            .insert(
                one,
                bridge().not_out_interface("cni0").comment(c1).jump(two),
            )
            .insert(one, bridge().out_interface("cni0").comment(c1).jump("DROP"))
            .append(one, Rule::new().comment(c2).jump("RETURN"))
            .insert(
                two,
                Rule::new().out_interface("cni0").comment(c2).jump("DROP"),
            )
            .append(two, Rule::new().comment(c2).jump("RETURN"));
        let comment = |text| ["-m", "comment", "--comment", text];
        let (c1, c2) = (comment(c1), comment(c2));
        variant.same(
            &change,
            Table::Filter,
            &[
                &["-N", "CNI-FORWARD"],
                &["-N", "CNI-ADMIN"],
                &[
                    &["-I", "FORWARD", "1"],
                    &comment(rules)[..],
                    &["-j", "CNI-FORWARD"],
                ]
                .concat(),
                &[
                    &["-I", "CNI-FORWARD", "1"],
                    &comment(admin)[..],
                    &["-j", "CNI-ADMIN"],
                ]
                .concat(),
                &[
                    "-A",
                    "CNI-FORWARD",
                    "-d",
                    address,
                    "-m",
                    "conntrack",
                    "--ctstate",
                    "RELATED,ESTABLISHED",
                    "-j",
                    "ACCEPT",
                ],
                &["-A", "CNI-FORWARD", "-s", address, "-j", "ACCEPT"],
                &["-N", one],
                &["-N", two],
                &[&["-I", "FORWARD", "1", "-j", one], &c2[..]].concat(),
                &[
                    &["-I", one, "1", "-i", "cni0", "!", "-o", "cni0", "-j", two],
                    &c1[..],
                ]
                .concat(),
                &[
                    &["-I", one, "1", "-i", "cni0", "-o", "cni0", "-j", "DROP"],
                    &c1[..],
                ]
                .concat(),
                &[&["-A", one, "-j", "RETURN"], &c2[..]].concat(),
                &[&["-I", two, "1", "-o", "cni0", "-j", "DROP"], &c2[..]].concat(),
                &[&["-A", two, "-j", "RETURN"], &c2[..]].concat(),
            ],
        );
    });
}

#[test]
fn words_of_a_user_are_taken_and_asked_for() {
    each(&[Family::V4], |variant| {
        let rule = |address: &str| {
            Rule::new()
                .comment("x")
                .free(&[
                    "!",
                    "--dst",
                    address,
                    "-m",
                    "mac",
                    "--mac-source",
                    "02:00:00:00:00:01",
                ])
                .jump("ACCEPT")
        };
        let change = Change::new(Table::Filter)
            .own_chain("own")
            .append("own", rule("10.0.0.0/255.0.0.0"));
        variant.iptables.apply(&change).unwrap();
        variant.iptables.apply(&change).unwrap();
        let saved = variant.iptables.read(Table::Filter).unwrap();
        assert_eq!(saved.rules_of("own").count(), 1);
        let holds = |chain, rule: &Rule| variant.iptables.holds(Table::Filter, chain, rule);
        assert!(holds("own", &rule("10.0.0.0/8")).unwrap());
        assert!(!holds("own", &rule("11.0.0.0/8")).unwrap());
        assert!(!holds("other", &rule("10.0.0.0/8")).unwrap());
    });
}

/// A failing line leaves nothing behind, and is named.
#[test]
fn a_refused_change_changes_nothing() {
    each(BOTH, |variant| {
        let change = Change::new(Table::Nat)
            .own_chain("own")
            .append("own", Rule::new().jump("ACCEPT"))
            .append("own", Rule::new().jump("NO-SUCH-CHAIN"));
        let error = variant.iptables.apply(&change).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("running [/usr/sbin/ip"), "{text}");
        assert!(
            text.contains("-restore --noflush --wait=30]: exit status"),
            "{text}"
        );
        assert!(
            text.contains("NO-SUCH-CHAIN") || text.contains("line"),
            "{text}"
        );
        assert!(!variant.iptables.read(Table::Nat).unwrap().has_chain("own"));
    });
}

#[test]
fn a_held_lock_has_a_deadline() {
    let _host = Host::new();
    // Held as iptables itself would.
    let file = std::fs::File::create("/run/xtables.lock").unwrap();
    file.lock().unwrap();
    let command = Path::new("/usr/sbin/iptables-legacy");
    let iptables = Iptables::with_command(Family::V4, command)
        .unwrap()
        .with_lock_wait(Duration::from_secs(1));
    let begin = Instant::now();
    let error = iptables.apply(&masquerade(Family::V4)).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!(
        error.to_string(),
        "/usr/sbin/iptables-legacy-restore: the xtables lock is held by another process, \
         gave up after 1 s"
    );
    assert!(begin.elapsed() < Duration::from_secs(10));
    drop(file);
    iptables.apply(&masquerade(Family::V4)).unwrap();
}

#[test]
fn a_missing_command_is_named() {
    let missing = Path::new("/nonexistent/iptables");
    let error = Iptables::with_command(Family::V4, missing).unwrap_err();
    assert!(error.is_missing_command());
    assert!(Iptables::find(Family::V6).is_ok());
    assert_eq!(
        error.to_string(),
        "exec: \"/nonexistent/iptables\": executable file not found in $PATH; \
         install iptables or use nftables"
    );
}

/// Several at once, with another that rewrites its own rules all the time:
/// everything is there in the end, and nothing twice; then nothing.
#[test]
fn many_change_the_same_table() {
    each(&[Family::V4], |variant| {
        let command = variant.command();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let rules = "*nat\n:OTHER - [0:0]\n-A OTHER -j ACCEPT\nCOMMIT\n";
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    feed(&format!("{command}-restore --noflush --wait=30"), rules);
                }
            });
            let change = |number: u32, add: bool| {
                let own = format!("CNI-DN-{number:021}");
                let shared = Change::new(Table::Nat).chain("CNI-HOSTPORT-DNAT").append(
                    "PREROUTING",
                    Rule::new().local_destination().jump("CNI-HOSTPORT-DNAT"),
                );
                let entry = Rule::new().comment(&own).jump(&own);
                if add {
                    shared
                        .own_chain(&own)
                        .append(&own, Rule::new().jump("ACCEPT"))
                        .append("CNI-HOSTPORT-DNAT", entry)
                } else {
                    Change::new(Table::Nat)
                        .delete("CNI-HOSTPORT-DNAT", entry)
                        .delete_chain(&own)
                }
            };
            let all = |add: bool| {
                std::thread::scope(|inner| {
                    for number in 0..12 {
                        let change = change(number, add);
                        inner.spawn(move || variant.iptables.apply(&change).unwrap());
                    }
                });
            };
            all(true);
            let saved = variant.iptables.read(Table::Nat).unwrap();
            assert_eq!(saved.rules_of("CNI-HOSTPORT-DNAT").count(), 12);
            assert_eq!(saved.rules_of("PREROUTING").count(), 1, "{}", variant.name);
            all(false);
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        let saved = variant.iptables.read(Table::Nat).unwrap();
        assert_eq!(saved.rules_of("CNI-HOSTPORT-DNAT").count(), 0);
        assert_eq!(saved.rules_of("OTHER").count(), 1);
        let names: Vec<&str> = saved.chains().filter(|c| c.starts_with("CNI-DN")).collect();
        assert_eq!(names, [""; 0]);
    });
}

/// Commands that note that they were run, and do as the real ones.
struct Counted {
    log: std::path::PathBuf,
    iptables: Iptables,
}

impl Counted {
    fn new(host: &Host, variant: &Variant) -> Counted {
        use std::os::unix::fs::PermissionsExt;
        let dir = host.dir();
        let log = dir.join("log");
        for suffix in ["", "-save", "-restore"] {
            let file = dir.join(format!("iptables{suffix}"));
            let script = format!(
                "#!/bin/sh\necho iptables{suffix} >> {}\nexec {}{suffix} \"$@\"\n",
                log.display(),
                variant.command()
            );
            std::fs::write(&file, script).unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        }
        let iptables = Iptables::with_command(variant.family, &dir.join("iptables")).unwrap();
        Counted { log, iptables }
    }

    /// The commands that a change runs.
    fn runs(&self, change: &Change) -> Vec<String> {
        self.iptables.apply(change).unwrap();
        let log = std::fs::read_to_string(&self.log).unwrap();
        std::fs::remove_file(&self.log).unwrap();
        log.lines().map(str::to_owned).collect()
    }
}

#[test]
fn one_process_does_in_the_usual_case() {
    const ONE: [&str; 1] = ["iptables-restore"];
    const READ: [&str; 3] = ["iptables-restore", "iptables-save", "iptables-restore"];
    for name in VARIANTS {
        let host = Host::new();
        let command = Path::new("/usr/sbin/iptables-legacy");
        let variant = Variant {
            name,
            family: Family::V4,
            iptables: Iptables::with_command(Family::V4, command).unwrap(),
        };
        let counted = Counted::new(&host, &variant);
        let entry = Rule::new()
            .source(ip("10.0.0.2"), 32)
            .comment(COMMENT)
            .jump(CHAIN);
        let gone = Change::new(Table::Nat)
            .delete("POSTROUTING", entry)
            .delete_chain(CHAIN);
        assert_eq!(counted.runs(&masquerade(Family::V4)), ONE, "{name}");
        assert_eq!(counted.runs(&masquerade(Family::V4)), READ, "{name} again");
        assert_eq!(counted.runs(&gone), ONE, "{name}");
        assert_eq!(counted.runs(&gone), READ[..2], "{name}, nothing there");
        // The first of a host finds the shared chains missing.
        assert_eq!(counted.runs(&portmap(Family::V4)), READ, "{name}");
        let dn = "CNI-DN-022110f36292712c8bb50";
        let change = Change::new(Table::Nat)
            .delete_jumps("CNI-HOSTPORT-DNAT", dn)
            .delete_chain(dn);
        assert_eq!(counted.runs(&change), READ[1..], "{name}");
        assert_eq!(counted.runs(&portmap(Family::V4)), ONE, "{name}");
    }
}
