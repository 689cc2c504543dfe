//! The section `netavark`: the network of a container as Podman configures it, by the plugins of each side and by
//! netavark, whose one program does the same without IPAM (Podman allocates the address itself).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use testkit::{Container, Host};

use super::measure::{Call, Counts, median};
use super::report::Report;
use super::run::{Contender, LINGER, wait_for_grace_periods};
use super::targets::Target;
use super::{Section, Setup};

pub(super) const SECTION: Section = Section {
    name: "netavark",
    needs: &[],
    measure,
};

/// Rounds of a full and of a quick run.
const ROUNDS: (usize, usize) = (50, 10);

const HEAD: [&str; 7] = [
    "verb",
    "who",
    "ms",
    "netavark / this",
    "processes",
    "system calls",
    "KiB",
];

const RIVAL: &str = "netavark";

/// Verbs of plugins, and netavark's names for them.
const VERBS: [(&str, &str); 2] = [("ADD", "setup"), ("DEL", "teardown")];

/// Who makes the network.
enum Maker {
    Plugins {
        contender: Contender,
        backend: &'static str,
        /// The result of ADD.
        result: Value,
    },
    Netavark(PathBuf),
}

/// One side with a container, a network and a bridge of its own.
struct Side {
    name: String,
    maker: Maker,
    /// Part of its names and addresses.
    number: usize,
    container: Container,
    scratch: PathBuf,
}

/// What was measured of one side's verb.
#[derive(Default)]
struct Sample {
    /// Milliseconds.
    times: Vec<f64>,
    counts: Counts,
    /// KiB.
    memory: u64,
}

fn measure(setup: &Setup<'_>) -> Result<Report> {
    let rounds = setup.rounds(ROUNDS);
    let host = Host::try_new().context("cannot create a private host")?;
    let mut sides = sides(&host, setup)?;
    let empty = || VERBS.map(|_| Sample::default());
    let mut samples: Vec<[Sample; 2]> = sides.iter().map(|_| empty()).collect();
    let memory = |call: &Call| call.peak_memory(&setup.tools.floor);
    // The first two rounds create bridges, tables and chains.
    for round in 0..rounds + 2 {
        for (index, (verb, _)) in VERBS.iter().enumerate() {
            for (side, samples) in sides.iter_mut().zip(&mut samples) {
                let sample = &mut samples[index];
                match round {
                    0 => sample.memory = side.run(verb, memory)?.into_iter().max().unwrap_or(0),
                    1 => sample.counts = side.run(verb, Call::counts)?.into_iter().sum(),
                    _ => sample.times.push(side.run(verb, Call::time)?.iter().sum()),
                }
                std::thread::sleep(LINGER);
                wait_for_grace_periods(&host)?;
            }
        }
    }
    Ok(report(&sides, &samples, rounds))
}

/// Our plugins with both backends, the peer's, and netavark.
fn sides(host: &Host, setup: &Setup<'_>) -> Result<Vec<Side>> {
    let mut makers = Vec::new();
    for contender in setup.contenders() {
        let backends: &[&str] = match contender.tag {
            "ours" => &["nftables", "iptables"],
            _ => &["iptables"],
        };
        for backend in backends {
            let name = match contender.tag {
                "ours" => format!("ours {backend}"),
                tag => tag.to_owned(),
            };
            let maker = Maker::Plugins {
                contender: contender.clone(),
                backend,
                result: Value::Null,
            };
            makers.push((name, maker));
        }
    }
    if let Some(dir) = setup.rival {
        makers.push((RIVAL.to_owned(), Maker::Netavark(dir.join(RIVAL))));
    }
    let side = |(number, (name, maker)): (usize, (String, Maker))| {
        let scratch = host.dir().join(format!("maker{number}"));
        fs::create_dir_all(&scratch).context("a directory")?;
        let container = host.try_container(&format!("maker{number}"));
        Ok(Side {
            name,
            maker,
            number,
            container: container.context("cannot create a container")?,
            scratch,
        })
    };
    (1..).zip(makers).map(side).collect()
}

impl Side {
    /// Passes each call of a verb to `measure`.
    fn run<T>(&mut self, verb: &str, measure: impl Fn(&Call) -> Result<T>) -> Result<Vec<T>> {
        let (number, scratch) = (self.number, self.scratch.join("call"));
        let attachment = (self.container.id(), self.container.netns());
        let measured = match &mut self.maker {
            Maker::Plugins {
                contender,
                backend,
                result,
            } => contender.chain(
                verb,
                plugins(number, backend),
                attachment,
                result,
                &scratch,
                measure,
            ),
            Maker::Netavark(program) => {
                let call = netavark(program, verb, number, attachment, &self.scratch)?;
                measure(&call).map(|measured| vec![measured])
            }
        };
        measured.with_context(|| format!("{verb} of {}", self.name))
    }
}

/// The plugins of a network that Podman creates, with their configurations.
fn plugins(number: usize, backend: &str) -> Vec<(&'static str, Value)> {
    let name = format!("rival{number}");
    let subnet = format!("10.{}.0.0/24", 60 + number);
    let mapping = |host: usize, container: usize| json!({"hostPort": host, "containerPort": container, "protocol": "tcp", "hostIP": ""});
    let keys = [
        (
            "bridge",
            json!({
                "bridge": name, "isGateway": true, "ipMasq": true, "hairpinMode": true, "ipMasqBackend": backend,
                "ipam": {"type": "host-local", "routes": [{"dst": "0.0.0.0/0"}], "ranges": [[{"subnet": subnet}]]},
            }),
        ),
        (
            "portmap",
            json!({
                "capabilities": {"portMappings": true}, "backend": backend,
                "runtimeConfig": {"portMappings": [mapping(9000 + number, 80), mapping(9100 + number, 81)]},
            }),
        ),
        ("firewall", json!({"backend": backend})),
        ("tuning", json!({})),
    ];
    let config = |(plugin, mut config): (&'static str, Value)| {
        config["cniVersion"] = "0.4.0".into();
        config["name"] = name.clone().into();
        config["type"] = plugin.into();
        (plugin, config)
    };
    keys.into_iter().map(config).collect()
}

/// A call of netavark for the same network.
fn netavark(
    program: &Path,
    verb: &str,
    number: usize,
    (id, netns): (&str, &Path),
    scratch: &Path,
) -> Result<Call> {
    let Some((_, command)) = VERBS.iter().find(|(name, _)| *name == verb) else {
        bail!("netavark has no {verb}");
    };
    let name = format!("rival{number}");
    let prefix = format!("10.{}.0", 60 + number);
    let mapping = |host: usize, container: usize| {
        json!({
            "container_ip": "", "container_port": container, "host_ip": "", "host_port": host, "protocol": "tcp",
            "range": 1,
        })
    };
    let network = json!({
        "name": name, "id": format!("{number:064x}"), "driver": "bridge", "network_interface": name,
        "created": "2026-01-01T00:00:00Z", "ipv6_enabled": false, "internal": false, "dns_enabled": false,
        "subnets": [{"subnet": format!("{prefix}.0/24"), "gateway": format!("{prefix}.1")}],
        "ipam_options": {"driver": "host-local"},
    });
    let options = json!({
        "container_id": id, "container_name": id,
        "port_mappings": [mapping(9000 + number, 80), mapping(9100 + number, 81)],
        "networks": {&name: {"static_ips": [format!("{prefix}.2")], "interface_name": "eth0"}},
        "network_info": {&name: network},
    });
    let state = scratch.join("state");
    fs::create_dir_all(&state).context("a directory")?;
    let words = [
        "--config",
        &state.display().to_string(),
        command,
        &netns.display().to_string(),
    ];
    let words = words.map(str::to_owned).to_vec();
    let mut call = Call::plain(program, words, scratch);
    call.stdin = scratch.join("stdin");
    fs::write(&call.stdin, options.to_string()).context("the options of netavark")?;
    Ok(call)
}

fn report(sides: &[Side], samples: &[[Sample; 2]], rounds: usize) -> Report {
    let mut rows = Vec::new();
    let mut data = Vec::new();
    let mut targets = Vec::new();
    for (index, (add, setup)) in VERBS.iter().enumerate() {
        let of_side = || {
            sides
                .iter()
                .zip(samples)
                .map(|(side, samples)| (side, &samples[index]))
        };
        let rival = of_side().find(|(side, _)| side.name == RIVAL);
        let rival = rival.map(|(_, sample)| median(&sample.times));
        for (side, sample) in of_side() {
            let ms = median(&sample.times);
            let ratio = rival.filter(|_| side.name != RIVAL).map(|rival| rival / ms);
            rows.push(vec![
                format!("{add}, {setup}"),
                side.name.clone(),
                format!("{ms:.2}"),
                ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.1}x")),
                sample.counts.processes.to_string(),
                sample.counts.system_calls.to_string(),
                sample.memory.to_string(),
            ]);
            data.push(json!({
                "verb": add, "side": side.name, "median_ms": ms, "processes": sample.counts.processes,
                "system_calls": sample.counts.system_calls, "peak_memory_kib": sample.memory,
            }));
            if let Some(ratio) = ratio.filter(|_| side.name.starts_with("ours")) {
                targets.push(Target {
                    what: format!("{setup} beside netavark, {}", side.name),
                    wanted: "faster than netavark".into(),
                    is: format!("{ratio:.1}x"),
                    met: ratio > 1.0,
                });
            }
        }
    }
    let mut report = Report::new(SECTION.name, &HEAD, rows);
    report.notes = format!(
        "Medians of {rounds} rounds: a bridge with masquerade, two ports, and the rules of the firewall; of plugins the \
         whole chain with IPAM."
    );
    report.data = data.into();
    report.targets = targets;
    report
}
