//! The section `dhcp`: what the daemon needs while it holds many leases, and ADD and DEL with the same server.
//!
//! Each side has a host of its own with dnsmasq, a daemon, and a container per lease on one bridge. The first calls are
//! made one after the other and timed; the rest are only made to get the leases. Then the daemon is left alone.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use testkit::dhcp::{self, Pool, Program, Server};
use testkit::{Container, Host, Plugin, Service, run_all};

use super::measure::median;
use super::report::Report;
use super::targets::Target;
use super::{Section, Setup};

pub(super) const SECTION: Section = Section {
    name: "dhcp",
    measure,
};

const HEAD: [&str; 8] = [
    "dhcp",
    "who",
    "memory MB",
    "threads",
    "descriptors",
    "CPU at rest, ms/s",
    "ADD ms",
    "DEL ms",
];

/// Leases of a full and of a quick run. A bridge has at most 1024 ports.
const LEASES: (usize, usize) = (1000, 100);

/// Calls that are timed.
const TIMED: usize = 50;

/// Other calls at a time.
const AT_ONCE: usize = 8;

/// How long the daemon is left alone before and while it is measured.
const REST: Duration = Duration::from_secs(10);

/// The targets with all leases: memory in MB, descriptors, CPU in milliseconds per second.
const MOST_MEMORY: f64 = 30.0;
const MOST_DESCRIPTORS: f64 = 100.0;
const MOST_CPU: f64 = 1.0;

/// The results of one side.
struct Row {
    side: &'static str,
    leases: usize,
    memory: f64,
    threads: usize,
    descriptors: usize,
    cpu: f64,
    add: f64,
    del: f64,
}

impl Row {
    fn cells(&self) -> Vec<String> {
        vec![
            format!("{} leases", self.leases),
            self.side.to_owned(),
            format!("{:.1}", self.memory),
            self.threads.to_string(),
            self.descriptors.to_string(),
            format!("{:.1}", self.cpu),
            format!("{:.2}", self.add),
            format!("{:.2}", self.del),
        ]
    }

    fn to_json(&self) -> Value {
        json!({
            "side": self.side, "leases": self.leases, "memory_mb": self.memory, "threads": self.threads,
            "descriptors": self.descriptors, "cpu_ms_per_s": self.cpu, "add_ms": self.add, "del_ms": self.del,
        })
    }
}

fn measure(setup: &Setup<'_>) -> Result<Report> {
    let mut rows = Vec::new();
    for (side, dir) in setup.sides() {
        if dir.join("dhcp").is_file() {
            rows.push(one_side(side, &dir, setup.rounds(LEASES)).context(side)?);
        }
    }
    let mut report = Report::new(SECTION.name, &HEAD, rows.iter().map(Row::cells).collect());
    report.notes = format!(
        "ADD and DEL: medians of {TIMED} calls, of the plugin alone, with dnsmasq on the same bridge. The rest: the \
         daemon while it holds the leases and none of them is due."
    );
    report.data = rows.iter().map(Row::to_json).collect();
    report.targets = judge(&rows);
    Ok(report)
}

fn one_side(side: &'static str, dir: &Path, leases: usize) -> Result<Row> {
    let host = Host::try_new().context("cannot create a private host")?;
    dhcp::lan(&host);
    let node = dhcp::node(&host, "server", &["10.9.0.1/16"]);
    let mut pool = Pool::short("10.9.1.0", "10.9.8.255");
    (pool.lease, pool.renew, pool.rebind) = (7200, 3600, 6300);
    let options = "--dhcp-lease-max=4000 --quiet-dhcp";
    let _server = Server::start(&host, Program::Dnsmasq, &node, "server", &pool, options);
    let plugin = Plugin::in_dir(dir, "dhcp");
    let daemon = daemon(&plugin)?;
    let names = (0..leases).map(|number| format!("c{number}"));
    let containers: Vec<Container> = names.map(|name| dhcp::node(&host, &name, &[])).collect();

    let (timed, others) = containers.split_at(TIMED.min(leases));
    let add = timed
        .iter()
        .map(|container| call(&plugin, "ADD", container));
    let add = add.collect::<Result<Vec<f64>>>()?;
    for some in others.chunks(AT_ONCE) {
        let calls = some
            .iter()
            .map(|container| invocation(&plugin, "ADD", container));
        for run in run_all(calls) {
            if !run.is_ok() {
                bail!("{}", run.report());
            }
        }
    }
    thread::sleep(REST);
    let process = Path::new("/proc").join(daemon.pid().to_string());
    let row = Row {
        side,
        leases,
        cpu: cpu_at_rest(&process)?,
        memory: status(&process, "VmRSS:")? as f64 / 1024.0,
        threads: status(&process, "Threads:")?,
        descriptors: fs::read_dir(process.join("fd"))?.count(),
        add: median(&add),
        del: 0.0,
    };
    let del = timed
        .iter()
        .map(|container| call(&plugin, "DEL", container));
    let del = median(&del.collect::<Result<Vec<f64>>>()?);
    Ok(Row { del, ..row })
}

/// Starts the daemon and waits until it listens.
fn daemon(plugin: &Plugin) -> Result<Service> {
    const SOCKET: &str = "/run/cni/dhcp.sock";
    let program = plugin.program().display().to_string();
    let daemon = Service::start(&[&program, "daemon"]);
    let end = Instant::now() + REST;
    while !Path::new(SOCKET).exists() {
        if Instant::now() > end {
            bail!("{program} daemon: no socket {SOCKET} within {REST:?}");
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(daemon)
}

fn invocation(plugin: &Plugin, verb: &str, container: &Container) -> testkit::Invocation {
    // Upstream's release of Debian knows no later version.
    let config =
        json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "ipam": {"type": "dhcp"}});
    plugin.command(verb).container(container).config(&config)
}

/// Makes a call and returns its milliseconds.
fn call(plugin: &Plugin, verb: &str, container: &Container) -> Result<f64> {
    let run = invocation(plugin, verb, container).run();
    if !run.is_ok() {
        bail!("{}", run.report());
    }
    Ok(run.elapsed.as_secs_f64() * 1000.0)
}

/// Milliseconds of processor time in a second at rest.
fn cpu_at_rest(process: &Path) -> Result<f64> {
    let before = cpu(process)?;
    thread::sleep(REST);
    Ok((cpu(process)? - before) / REST.as_secs_f64())
}

/// The processor time of all threads so far, in milliseconds. `schedstat` has nanoseconds, `stat` only ticks.
fn cpu(process: &Path) -> Result<f64> {
    let mut total = 0.0;
    for task in fs::read_dir(process.join("task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        let nanoseconds: f64 = text.split(' ').next().unwrap_or_default().parse()?;
        total += nanoseconds / 1e6;
    }
    Ok(total)
}

/// A number of `/proc/PID/status`.
fn status(process: &Path, key: &str) -> Result<usize> {
    let text = fs::read_to_string(process.join("status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number
        .with_context(|| format!("no {key} in {}/status", process.display()))?
        .parse()
        .context("a number")
}

/// Compares our results with the targets.
fn judge(rows: &[Row]) -> Vec<Target> {
    let Some(ours) = rows.iter().find(|row| row.side == "ours") else {
        return Vec::new();
    };
    let what = |what: &str| format!("dhcp, {} leases, {what}", ours.leases);
    let mut targets = vec![
        Target::at_most(
            what("memory"),
            ours.memory,
            MOST_MEMORY,
            " MB",
            "of the daemon",
        ),
        Target::at_most(
            what("descriptors"),
            ours.descriptors as f64,
            MOST_DESCRIPTORS,
            "",
            "of the daemon",
        ),
        Target::at_most(
            what("CPU at rest"),
            ours.cpu,
            MOST_CPU,
            " ms/s",
            "of the daemon",
        ),
    ];
    if let Some(peer) = rows.iter().find(|row| row.side == "peer") {
        targets.push(Target::at_most(
            what("ADD"),
            ours.add,
            peer.add,
            " ms",
            "the peer's time",
        ));
    }
    targets
}
