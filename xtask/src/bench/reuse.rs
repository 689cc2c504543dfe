//! The case `re-used address`: the time until a neighbour reaches a container with the address of a deleted one.
//!
//! The neighbour knows the hardware address of the deleted container. The time counts from the start of ADD to the
//! first answer. If the plugin does not announce the address, the neighbour keeps its entry for 15 to 45 s
//! (`base_reachable_time`) and then probes it for 8 s; the wait is bounded.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, Plugin, reach};

use super::measure::median;
use super::report::Report;
use super::targets::Target;
use super::{Section, Setup};

pub(super) const SECTION: Section = Section {
    name: "re-used address",
    needs: &[],
    measure,
};

const HEAD: [&str; 4] = [
    "re-used address",
    "who",
    "ADD ends after ms",
    "first answer after ms",
];

/// Plugins, and the keys of their configurations without `ipam`.
const NETWORKS: [(&str, &str); 3] = [
    ("bridge", r#"{"bridge": "br0"}"#),
    ("macvlan", r#"{"master": "up0", "mode": "bridge"}"#),
    ("ptp", "{}"),
];

/// Addresses of the neighbour and of the container. The gateway is for ptp, whose neighbour is the host.
const FAMILIES: [(&str, Addresses); 2] = [
    (
        "IPv4",
        Addresses {
            neighbour: "10.8.0.2/24",
            container: "10.8.0.3/24",
            gateway: "10.8.0.1",
        },
    ),
    (
        "IPv6",
        Addresses {
            neighbour: "fd08::2/64",
            container: "fd08::3/64",
            gateway: "fd08::1",
        },
    ),
];

#[derive(Clone, Copy)]
struct Addresses {
    neighbour: &'static str,
    container: &'static str,
    gateway: &'static str,
}

/// Rounds of a full and of a quick run; a peer has one, which takes long.
const ROUNDS: (usize, usize) = (15, 3);

/// The time limit for an answer.
const DEADLINE: Duration = Duration::from_secs(20);

/// The target: milliseconds from the end of ADD to the first answer.
const MOST: f64 = 100.0;

/// The results of one side.
struct Row {
    network: String,
    side: &'static str,
    /// Milliseconds from the start of ADD to its end, and to the first answer.
    add: f64,
    /// Infinite if there was no answer.
    answer: f64,
}

impl Row {
    fn cells(&self) -> Vec<String> {
        let answer = match self.answer.is_finite() {
            true => format!("{:.1}", self.answer),
            false => format!("none in {DEADLINE:?}"),
        };
        vec![
            self.network.clone(),
            self.side.to_owned(),
            format!("{:.1}", self.add),
            answer,
        ]
    }

    fn to_json(&self) -> Value {
        json!({"network": self.network, "side": self.side, "add_ms": self.add, "answer_ms": self.answer})
    }
}

/// Measures all networks with the binaries of each side's directory.
fn measure(setup: &Setup<'_>) -> Result<Report> {
    let mut rows = Vec::new();
    for (plugin, keys) in NETWORKS {
        for (family, addresses) in FAMILIES {
            for (side, dir) in setup.sides() {
                if !dir.join(plugin).is_file() {
                    continue;
                }
                let rounds = match side {
                    "ours" => setup.rounds(ROUNDS),
                    _ => 1,
                };
                let network = Network::new(Plugin::in_dir(dir, plugin), keys, addresses)?;
                let rounds: Vec<(f64, f64)> = (0..rounds)
                    .map(|_| network.round())
                    .collect::<Result<_>>()
                    .with_context(|| format!("{plugin} {family}, {side}"))?;
                let (add, answer): (Vec<f64>, Vec<f64>) = rounds.into_iter().unzip();
                rows.push(Row {
                    network: format!("{plugin} {family}"),
                    side,
                    add: median(&add),
                    answer: median(&answer),
                });
            }
        }
    }
    let mut report = Report::new(SECTION.name, &HEAD, rows.iter().map(Row::cells).collect());
    report.notes = format!(
        "Medians of {} rounds, of the peer one.",
        setup.rounds(ROUNDS)
    );
    report.data = rows.iter().map(Row::to_json).collect();
    report.targets = judge(&rows);
    Ok(report)
}

/// A host with a neighbour and an attachment that is added and deleted.
struct Network {
    plugin: Plugin,
    config: Value,
    address: IpAddr,
    /// `None` where the host is the neighbour.
    neighbour: Option<Container>,
    container: Container,
    host: Host,
}

impl Network {
    fn new(plugin: Plugin, keys: &str, addresses: Addresses) -> Result<Network> {
        let host = Host::try_new().context("cannot create a private host")?;
        for command in [
            "ip link add up0 type veth peer name end0",
            "ip link set up0 up",
            "ip link set end0 up",
        ] {
            let words: Vec<&str> = command.split(' ').collect();
            host.try_command(&words).map_err(|err| anyhow!(err))?;
        }
        let config = |address: &str| -> Result<Value> {
            let mut config: Value = serde_json::from_str(keys)?;
            config["cniVersion"] = "1.0.0".into();
            config["name"] = "reuse".into();
            let addresses = json!([{"address": address, "gateway": addresses.gateway}]);
            config["ipam"] = json!({"type": "static", "addresses": addresses});
            Ok(config)
        };
        let is_routed = plugin.program().ends_with("ptp");
        let neighbour = (!is_routed)
            .then(|| host.try_container("neighbour"))
            .transpose()?;
        if let Some(neighbour) = &neighbour {
            succeed(plugin.add(neighbour, &config(addresses.neighbour)?))?;
        }
        let address = addresses.container.split('/').next().unwrap_or_default();
        Ok(Network {
            plugin,
            config: config(addresses.container)?,
            address: address.parse()?,
            neighbour,
            container: host.try_container("c1")?,
            host,
        })
    }

    /// Whether the container answers the neighbour in time.
    fn answers_within(&self, deadline: Duration) -> bool {
        // Short attempts, each of which sends another packet.
        let attempts = || {
            let end = Instant::now() + deadline;
            while Instant::now() < end {
                if reach(self.address, Duration::from_millis(5)) {
                    return true;
                }
            }
            false
        };
        match &self.neighbour {
            Some(neighbour) => neighbour.enter(attempts),
            None => self.host.enter(attempts),
        }
    }

    /// Attaches a container that the neighbour contacts, deletes it, and attaches another one with the same address.
    /// Returns the milliseconds from the start of the second ADD to its end, and to the first answer.
    fn round(&self) -> Result<(f64, f64)> {
        succeed(self.plugin.add(&self.container, &self.config))?;
        if !self.answers_within(DEADLINE) {
            bail!("the first container does not answer");
        }
        succeed(self.plugin.del(&self.container, &self.config))?;
        let started = Instant::now();
        succeed(self.plugin.add(&self.container, &self.config))?;
        let add = started.elapsed();
        let answer = match self.answers_within(DEADLINE) {
            true => started.elapsed().as_secs_f64() * 1000.0,
            false => f64::INFINITY,
        };
        succeed(self.plugin.del(&self.container, &self.config))?;
        Ok((add.as_secs_f64() * 1000.0, answer))
    }
}

fn succeed(run: testkit::Run) -> Result<()> {
    if !run.is_ok() {
        bail!("{}", run.report());
    }
    Ok(())
}

/// Compares our results with the target.
fn judge(rows: &[Row]) -> Vec<Target> {
    let ours = rows.iter().filter(|row| row.side == "ours");
    let target = |row: &Row| {
        let what = format!("{}, {}", SECTION.name, row.network);
        Target::at_most(
            what,
            row.answer - row.add,
            MOST,
            " ms",
            "from the end of ADD to an answer",
        )
    };
    ours.map(target).collect()
}
