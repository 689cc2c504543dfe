//! The case `filters at scale`: masquerading and port mappings on a host with the rules of thousands of containers.
//!
//! For each number of containers there is a host, where their rules, in the form of the plugins, are loaded at once.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use testkit::{Host, Plugin};

use super::cases::{CASES, Case};
use super::figures::{Figures, Sample};
use super::report::Report;
use super::run;
use super::side::Side;
use super::targets::Target;
use super::{Section, Setup};
use crate::{commands, project};

pub(super) const SECTION: Section = Section {
    name: "filters at scale",
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

/// What was measured of one side's verb.
struct Row {
    case: &'static str,
    verb: &'static str,
    side: &'static str,
    /// Milliseconds, by size.
    times: [f64; SIZES.len()],
    most: Option<f64>,
}

impl Row {
    /// The ratio of the time with the most attachments to that with none.
    fn growth(&self) -> f64 {
        self.times[SIZES.len() - 1] / self.times[0]
    }

    fn cells(&self) -> Vec<String> {
        let words = [self.case, self.verb, self.side].map(str::to_owned);
        let times = self.times.map(|time| format!("{time:.2}"));
        let growth = format!("{:.2}x", self.growth());
        words.into_iter().chain(times).chain([growth]).collect()
    }

    fn to_json(&self) -> Value {
        json!({
            "case": self.case, "verb": self.verb, "side": self.side, "sizes": SIZES, "median_ms": self.times
        })
    }
}

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
        rows.extend(gather(&sizes, form.most));
    }
    let mut report = Report::new(SECTION.name, &HEAD, rows.iter().map(Row::cells).collect());
    let [with, without] = ROUNDS.map(|rounds| setup.rounds(rounds));
    report.notes = format!("Medians of {without} rounds, beside the peer of {with}.");
    report.data = rows.iter().map(Row::to_json).collect();
    report.targets = judge(&rows);
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

/// Converts the figures of all sizes into one row per side and verb.
fn gather(sizes: &[Vec<Figures>], most: Option<f64>) -> Vec<Row> {
    type Pick = fn(&Figures) -> Option<f64>;
    let picks: [(&str, Pick); 3] = [
        ("ours", |figures| Some(figures.ours.median())),
        ("peer", |figures| figures.peer.as_ref().map(Sample::median)),
        ("bare", |figures| figures.floor),
    ];
    let mut rows = Vec::new();
    for verb in ["ADD", "DEL"] {
        let of_verb = |figures: &Vec<Figures>| figures.iter().position(|row| row.verb == verb);
        let of_verb: Vec<&Figures> = sizes
            .iter()
            .filter_map(|figures| of_verb(figures).map(|index| &figures[index]))
            .collect();
        for (side, pick) in picks {
            let times: Vec<f64> = of_verb.iter().filter_map(|figures| pick(figures)).collect();
            if let Ok(times) = times.try_into() {
                rows.push(Row {
                    case: of_verb[0].case,
                    verb,
                    side,
                    times,
                    most: most.filter(|_| side == "ours"),
                });
            }
        }
    }
    rows
}

/// Compares our results with the targets.
fn judge(rows: &[Row]) -> Vec<Target> {
    let target = |row: &Row| {
        let what = format!("{} {} among 5,000", row.case, row.verb);
        let mut target = Target::at_most(what, row.growth(), row.most?, "x", "that among none");
        let same =
            |other: &&Row| (other.side, other.case, other.verb) == ("bare", row.case, row.verb);
        if let Some(bare) = rows.iter().find(same) {
            target.is += &format!(" (the bare operation {:.2}x)", bare.growth());
        }
        Some(target)
    };
    rows.iter().filter_map(target).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rows_with_a_limit_are_judged() {
        let row = |side, last, most| Row {
            case: "portmap nftables",
            verb: "ADD",
            side,
            times: [1.0, 1.5, last],
            most,
        };
        let rows = [row("ours", 2.5, Some(2.0)), row("bare", 9.0, None)];
        let targets = judge(&rows);
        assert_eq!(targets.len(), 1);
        assert!(!targets[0].met && targets[0].is == "2.50x (the bare operation 9.00x)");
        assert_eq!(rows[1].cells()[6], "9.00x");
        assert!(judge(&[row("ours", 2.0, Some(2.0))])[0].met);
    }
}
