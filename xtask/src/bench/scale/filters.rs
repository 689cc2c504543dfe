//! The section `filters at scale`: masquerading and port mappings on a host with the rules of thousands of containers.
//!
//! For each number of containers there is a host, where their rules, in the form of the plugins, are loaded at once.

use std::process::Command;

use anyhow::{Context, Result, bail};
use testkit::{Host, Plugin};

use super::{Row, gather, judge};
use crate::bench::cases::{CASES, Case};
use crate::bench::report::Report;
use crate::bench::run;
use crate::bench::side::Side;
use crate::bench::{Section, Setup};
use crate::{commands, project};

pub(in crate::bench) const SECTION: Section = Section {
    name: "filters at scale",
    needs: &[],
    measure,
};

const HEAD: [&str; 7] = [
    "ms among so many",
    "verb",
    "who",
    "none",
    "1,000",
    "5,000",
    "5,000 / none",
];

/// Numbers of existing attachments.
const SIZES: [u32; 3] = [0, 1_000, 5_000];

/// Rounds of a full and of a quick run, with the peer, which takes seconds per round, and without.
const ROUNDS: [(usize, usize); 2] = [(7, 3), (50, 15)];

/// The form of one plugin's rules.
struct Form {
    /// The case that is measured with these rules.
    case: &'static str,
    /// Whether the peer uses this form.
    peer: bool,
    /// The program that loads the rules, and the text before and after them.
    load: &'static [&'static str],
    around: (&'static str, &'static str),
    /// The rules of one attachment. Variables: `$address`, `$port`, `$id` (64 hexadecimal digits), `$hex` (21).
    rules: &'static str,
    /// The target: the ratio of the time with the most attachments to that with none.
    most: Option<f64>,
}

const NFT: &[&str] = &["nft", "-f"];
const IPTABLES: &[&str] = &["iptables-restore", "--noflush"];

const FORMS: &[Form] = &[
    Form {
        case: "bridge+ipMasq iptables",
        peer: true,
        load: IPTABLES,
        around: ("*nat\n", "COMMIT\n"),
        rules: r#":CNI-000$hex - [0:0]
-A CNI-000$hex -d 10.200.0.0/16 -m comment --comment "name: \"crowd\" id: \"$id\"" -j ACCEPT
-A CNI-000$hex ! -d 224.0.0.0/4 -m comment --comment "name: \"crowd\" id: \"$id\"" -j MASQUERADE
-A POSTROUTING -s $address/32 -m comment --comment "name: \"crowd\" id: \"$id\"" -j CNI-000$hex
"#,
        most: None,
    },
    Form {
        case: "bridge+ipMasq nftables",
        peer: false,
        load: NFT,
        around: ("", ""),
        rules: "add rule inet cni_plugins_masquerade masq_checks ip saddr $address ip daddr != 10.200.0.0/16 \
                masquerade comment \"0123456789abcdef-$hex, net: crowd, if: eth0, id: $hex\"\n",
        most: Some(2.0),
    },
    Form {
        case: "portmap iptables",
        peer: true,
        load: IPTABLES,
        around: ("*nat\n", "COMMIT\n"),
        rules: r#":CNI-DN-$hex - [0:0]
-A CNI-DN-$hex -s 10.200.0.0/16 -p tcp -m tcp --dport $port -j CNI-HOSTPORT-SETMARK
-A CNI-DN-$hex -s 127.0.0.1/32 -p tcp -m tcp --dport $port -j CNI-HOSTPORT-SETMARK
-A CNI-DN-$hex -p tcp -m tcp --dport $port -j DNAT --to-destination $address:80
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"crowd\" id: \"$id\"" -m multiport --dports $port -j CNI-DN-$hex
"#,
        most: None,
    },
    Form {
        case: "portmap nftables",
        peer: false,
        load: NFT,
        around: ("", ""),
        rules: r#"add rule ip cni_hostport hostports tcp dport $port dnat to $address:80 comment "$id"
add rule ip cni_hostport masquerading ip saddr 10.200.0.0/16 ip daddr $address ct status dnat masquerade comment "$id"
add rule ip cni_hostport masquerading ip saddr 127.0.0.1 ip daddr $address masquerade comment "$id"
"#,
        most: Some(2.0),
    },
    Form {
        case: "portmap by map",
        peer: false,
        load: NFT,
        around: ("", ""),
        rules: r#"add element ip cni_portmap by_port { tcp . $port comment "$id" : $address . 80 }
add element ip cni_portmap from_localhost { $address comment "$id" }
add element ip cni_portmap from_network_16 { 10.200.0.0 . $address comment "$id" }
"#,
        // Constant, apart from noise.
        most: Some(1.25),
    },
];

/// Measures all forms at all sizes.
fn measure(setup: &Setup<'_>) -> Result<Report> {
    let mut rows = Vec::new();
    for form in FORMS {
        let peer = setup.peer.filter(|_| form.peer);
        let rounds = setup.rounds(ROUNDS[usize::from(peer.is_none())]);
        let mut contenders = setup.contenders();
        contenders.retain(|side| side.tag == "ours" || (side.tag == "peer" && form.peer));
        let case = CASES
            .iter()
            .find(|case| case.name == form.case)
            .context(form.case)?;
        let mut sizes = Vec::new();
        for size in SIZES {
            eprintln!("measuring {} among {size} ({rounds} rounds)", case.name);
            let host = Host::try_new().context("cannot create a private host")?;
            fill(&host, case, form, size)?;
            sizes.push(run::case(
                &host,
                case,
                contenders.clone(),
                setup.tools,
                rounds,
            )?);
        }
        let most = |verb: &str| form.most.filter(|_| matches!(verb, "ADD" | "DEL"));
        rows.extend(gather(case.name, &sizes, &["ADD", "DEL"], most));
    }
    let mut report = Report::new(SECTION.name, &HEAD, rows.iter().map(Row::cells).collect());
    let [with, without] = ROUNDS.map(|rounds| setup.rounds(rounds));
    report.notes = format!("Medians of {without} rounds, beside the peer of {with}.");
    report.data = rows.iter().map(|row| row.to_json(&SIZES)).collect();
    report.targets = judge(&rows, "5,000");
    Ok(report)
}

/// Makes the plugin create its chains and tables, then adds the rules of `size` containers.
fn fill(host: &Host, case: &Case, form: &Form, size: u32) -> Result<()> {
    let side = Side::new(host, case, "first", 9)?;
    let (plugin, keys) = case.chain[0];
    let config = side.config(plugin, keys, "1.0.0")?;
    let plugin = Plugin::in_dir(project::bin(), plugin);
    for run in [
        plugin.add(&side.container, &config),
        plugin.del(&side.container, &config),
    ] {
        if !run.is_ok() {
            bail!("{}", run.report());
        }
    }
    let rules: String = (0..size).map(|number| rules(form, number)).collect();
    let (before, after) = form.around;
    let file = host.write("rules", format!("{before}{rules}{after}"));
    commands::read(Command::new(form.load[0]).args(&form.load[1..]).arg(&file)).map(drop)
}

/// The rules of one attachment.
fn rules(form: &Form, number: u32) -> String {
    let address = format!("10.200.{}.{}", number / 250, number % 250 + 1);
    form.rules
        .replace("$address", &address)
        // Higher than the ports of the cases.
        .replace("$port", &(10_000 + number).to_string())
        .replace("$id", &format!("{number:064x}"))
        .replace("$hex", &format!("{number:021x}"))
}
