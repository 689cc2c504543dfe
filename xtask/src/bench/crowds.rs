//! The section `crowds`: many containers attached and detached at once, by `bridge` with masquerade and `portmap`.
//!
//! As many workers as the row says call the chain's ADD for one container after the other; when all are attached, as
//! many call DEL. In the rows "both", each worker calls ADD and at once DEL, so that calls meet what the kernel still has
//! to finish of earlier ones. Before the next row's turn the kernel finishes everything.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};
use testkit::{Container, Host};

use super::measure::{Call, percentile};
use super::report::Report;
use super::run::{Contender, LINGER, wait_for_grace_periods};
use super::targets::Target;
use super::{Section, Setup};

pub(super) const SECTION: Section = Section {
    name: "crowds",
    needs: &[],
    measure,
};

/// Calls at a time, and containers of each worker.
const SIZES: [(usize, usize); 3] = [(1, 8), (8, 4), (32, 2)];

/// Rounds of a full and of a quick run, of ours and of the peer, which takes ten times longer.
const ROUNDS: [(usize, usize); 2] = [(10, 2), (4, 1)];

const HEAD: [&str; 8] = [
    "at a time",
    "verb",
    "who",
    "p50 ms",
    "p99 ms",
    "per second",
    "faster",
    "calls",
];

/// The verbs that each worker calls for a container, under the name of their row.
const PHASES: [(&str, &[&str]); 3] = [
    ("ADD", &["ADD"]),
    ("DEL", &["DEL"]),
    ("both", &["ADD", "DEL"]),
];

/// The goal for 32 at a time: the ratio of our calls per second to the peer's.
const FASTER: f64 = 5.0;

/// The network of one side.
struct Network<'a> {
    side: &'a Contender,
    backend: &'static str,
    /// Part of its names and addresses.
    number: usize,
    /// A directory for files.
    scratch: PathBuf,
}

/// The network of one side, with its containers.
struct Crowd<'a> {
    network: Network<'a>,
    containers: Vec<Container>,
}

/// What was measured of one side, verb and size.
struct Row {
    at_a_time: usize,
    verb: &'static str,
    side: String,
    /// Milliseconds of the whole chain.
    times: Vec<f64>,
    /// Seconds in which these calls were made.
    seconds: f64,
}

impl Row {
    fn throughput(&self) -> f64 {
        self.times.len() as f64 / self.seconds
    }

    /// The ratio of our calls per second to the peer's.
    fn faster(&self, rows: &[Row]) -> Option<f64> {
        let same = |row: &&Row| {
            row.side == "peer" && (row.at_a_time, row.verb) == (self.at_a_time, self.verb)
        };
        let peer = rows.iter().find(same).filter(|_| self.side != "peer")?;
        Some(self.throughput() / peer.throughput())
    }

    fn cells(&self, rows: &[Row]) -> Vec<String> {
        let faster = self.faster(rows);
        vec![
            self.at_a_time.to_string(),
            self.verb.to_owned(),
            self.side.clone(),
            format!("{:.2}", percentile(&self.times, 50.0)),
            format!("{:.2}", percentile(&self.times, 99.0)),
            format!("{:.0}", self.throughput()),
            faster.map_or_else(|| "-".into(), |ratio| format!("{ratio:.1}x")),
            self.times.len().to_string(),
        ]
    }

    fn to_json(&self) -> Value {
        json!({
            "at_a_time": self.at_a_time, "verb": self.verb, "side": self.side, "calls": self.times.len(),
            "p50_ms": percentile(&self.times, 50.0), "p99_ms": percentile(&self.times, 99.0),
            "per_second": self.throughput()
        })
    }
}

fn measure(setup: &Setup<'_>) -> Result<Report> {
    let mut contenders = setup.contenders();
    contenders.retain(|side| side.has("bridge") && side.has("portmap"));
    let mut rows = Vec::new();
    for (at_a_time, each) in SIZES {
        eprintln!("    {at_a_time} at a time");
        let host = Host::try_new().context("cannot create a private host")?;
        let mut crowds = Vec::new();
        for side in &contenders {
            let backends: &[&str] = match side.tag {
                "peer" => &["iptables"],
                _ => &["nftables", "iptables"],
            };
            for backend in backends {
                let number = crowds.len() + 1;
                let network = Network {
                    side,
                    backend,
                    number,
                    scratch: host.dir().join(format!("crowd-{number}")),
                };
                crowds.push(Crowd::new(&host, network, at_a_time * each)?);
            }
        }
        rows.extend(rounds(&host, &crowds, at_a_time, setup)?);
    }
    let mut report = Report::new(
        SECTION.name,
        &HEAD,
        rows.iter().map(|row| row.cells(&rows)).collect(),
    );
    report.notes = "Each call is the whole chain.".into();
    report.data = rows.iter().map(Row::to_json).collect();
    let is_judged = |row: &&Row| row.at_a_time == 32 && row.side.starts_with("ours");
    let most = rows.iter().filter(is_judged);
    report.targets = most.filter_map(|row| judge(row, &rows)).collect();
    Ok(report)
}

fn judge(row: &Row, rows: &[Row]) -> Option<Target> {
    let ratio = row.faster(rows)?;
    Some(Target {
        what: format!("{} {} at a time, {}", row.at_a_time, row.verb, row.side),
        wanted: format!("at least {FASTER}x the peer's calls per second"),
        is: format!("{ratio:.1}x"),
        met: ratio >= FASTER,
    })
}

/// Measures all sides in turn, for as many rounds as each has.
fn rounds(
    host: &Host,
    crowds: &[Crowd<'_>],
    at_a_time: usize,
    setup: &Setup<'_>,
) -> Result<Vec<Row>> {
    let row = |(crowd, verb): (&Crowd<'_>, &'static str)| Row {
        at_a_time,
        verb,
        side: crowd.network.name(),
        times: Vec::new(),
        seconds: 0.0,
    };
    let all = crowds
        .iter()
        .flat_map(|crowd| PHASES.map(|(name, _)| (crowd, name)));
    let mut rows: Vec<Row> = all.map(row).collect();
    // The first round creates bridges, tables and directories, and is not counted.
    for round in 0..=setup.rounds(ROUNDS[0]) {
        for (crowd, rows) in crowds.iter().zip(rows.chunks_mut(PHASES.len())) {
            if crowd.network.side.tag == "peer" && round > setup.rounds(ROUNDS[1]) {
                continue;
            }
            let mut results = vec![Value::Null; crowd.containers.len()];
            for (row, (_, verbs)) in rows.iter_mut().zip(PHASES) {
                let (times, seconds) = crowd.phase(verbs, at_a_time, &mut results)?;
                if round > 0 {
                    row.times.extend(times);
                    row.seconds += seconds;
                }
                thread::sleep(LINGER);
                wait_for_grace_periods(host)?;
            }
        }
    }
    Ok(rows)
}

impl<'a> Crowd<'a> {
    fn new(host: &Host, network: Network<'a>, size: usize) -> Result<Crowd<'a>> {
        fs::create_dir_all(&network.scratch)?;
        let name = |index| format!("crowd-{}-{index}", network.number);
        let containers = (0..size).map(|index| host.try_container(&name(index)));
        let containers = containers.collect::<Result<_, _>>();
        Ok(Crowd {
            network,
            containers: containers.context("cannot create containers")?,
        })
    }

    /// Calls the verbs for all containers, `at_a_time` at once. `results` has the results of their ADD. Returns the
    /// milliseconds of each, and the seconds of all.
    fn phase(
        &self,
        verbs: &[&str],
        at_a_time: usize,
        results: &mut [Value],
    ) -> Result<(Vec<f64>, f64)> {
        let jobs = self.containers.iter().zip(results).enumerate();
        let jobs = jobs.map(|(index, (container, result))| Job {
            index,
            id: container.id(),
            netns: container.netns(),
            result,
        });
        // Each worker takes the next one from the end.
        let jobs = Mutex::new(jobs.rev().collect::<Vec<_>>());
        let network = &self.network;
        let work = || -> Result<Vec<f64>> {
            let mut times = Vec::new();
            loop {
                let next = jobs.lock().map_err(|_| anyhow!("a worker panicked"))?.pop();
                let Some(mut job) = next else {
                    return Ok(times);
                };
                for verb in verbs {
                    times.push(network.run(verb, &mut job)?);
                }
            }
        };
        let started = Instant::now();
        let times: Result<Vec<Vec<f64>>> = thread::scope(|scope| {
            let workers: Vec<_> = (0..at_a_time).map(|_| scope.spawn(work)).collect();
            let joined = workers.into_iter().map(thread::ScopedJoinHandle::join);
            joined
                .map(|times| times.unwrap_or_else(|_| Err(anyhow!("a worker panicked"))))
                .collect()
        });
        let seconds = started.elapsed().as_secs_f64();
        Ok((times?.concat(), seconds))
    }
}

/// A container that is attached or detached.
struct Job<'a> {
    index: usize,
    id: &'a str,
    netns: &'a Path,
    /// The result of the chain's ADD.
    result: &'a mut Value,
}

impl Network<'_> {
    fn name(&self) -> String {
        match self.side.tag {
            "peer" => "peer".into(),
            tag => format!("{tag} {}", self.backend),
        }
    }

    /// Calls the chain's verb for one container. Returns its milliseconds.
    fn run(&self, verb: &str, job: &mut Job<'_>) -> Result<f64> {
        let scratch = self.scratch.join(job.index.to_string());
        let chain = self.chain(job.index).into();
        let container = (job.id, job.netns);
        let times = self
            .side
            .chain(verb, chain, container, job.result, &scratch, Call::time)?;
        Ok(times.iter().sum())
    }

    /// The configurations of the container `index`.
    fn chain(&self, index: usize) -> [(&'static str, Value); 2] {
        let (number, backend) = (self.number, self.backend);
        let name = format!("crowd{number}");
        let subnet = format!("10.{}.0.0/16", 100 + number);
        let port = 10_000 + 1_000 * number + index;
        let bridge = json!({
            "cniVersion": "1.0.0", "name": name, "type": "bridge", "bridge": name,
            "isGateway": true, "isDefaultGateway": true, "ipMasq": true, "ipMasqBackend": backend,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": subnet}]]},
        });
        let portmap = json!({
            "cniVersion": "1.0.0", "name": name, "type": "portmap", "backend": backend,
            "capabilities": {"portMappings": true},
            "runtimeConfig": {"portMappings": [{"hostPort": port, "containerPort": 80, "protocol": "tcp"}]},
        });
        [("bridge", bridge), ("portmap", portmap)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throughput_is_compared_with_the_peer() {
        let row = |side: &str, seconds| Row {
            at_a_time: 32,
            verb: "ADD",
            side: side.into(),
            times: vec![1.0; 10],
            seconds,
        };
        let rows = [row("ours nftables", 1.0), row("peer", 5.0)];
        assert_eq!(rows[0].cells(&rows)[5..], ["10", "5.0x", "10"]);
        assert_eq!(rows[1].cells(&rows)[6], "-");
        assert!(judge(&rows[0], &rows).is_some_and(|target| target.met));
        assert!(judge(&rows[1], &rows).is_none());
    }
}
