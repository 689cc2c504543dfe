//! The section `dhcp`: what the daemon needs while it holds many leases, and ADD and DEL with the same server.
//!
//! ADD and DEL are timed first, with a daemon and containers of each side on one bridge, in turns. Then each side in
//! turn has a host of its own with dnsmasq, a daemon, and a container per lease. When all leases are there, the daemon
//! is left alone, and measured.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use testkit::dhcp::{self, Pool, Program, Server};
use testkit::{Container, Host, Node, Plugin, Service, run_all};

use super::measure::median;
use super::report::Report;
use super::targets::Target;
use super::{Section, Setup};
use crate::machine;

pub(super) const SECTION: Section = Section {
    name: "dhcp",
    needs: &[machine::DNSMASQ],
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

/// Containers of each side whose ADD and DEL are timed.
const TIMED: usize = 50;

/// Calls at a time where they are not timed.
const AT_ONCE: usize = 8;

/// How long a side may take to get its leases. What it holds then is measured.
const LONGEST: Duration = Duration::from_secs(300);

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
    let sides = setup.sides().into_iter();
    let sides: Vec<_> = sides
        .filter(|(_, dir)| dir.join("dhcp").is_file())
        .map(|(name, dir)| (name, Plugin::in_dir(dir, "dhcp")))
        .collect();
    let mut rows = Vec::new();
    for ((side, plugin), (add, del)) in sides.iter().zip(time_calls(&sides)?) {
        let row = hold(side, plugin, setup.rounds(LEASES)).context(*side)?;
        rows.push(Row { add, del, ..row });
    }
    let mut report = Report::new(SECTION.name, &HEAD, rows.iter().map(Row::cells).collect());
    report.notes = format!(
        "ADD and DEL: medians of {TIMED} calls in turns, of the plugin alone, with dnsmasq on the same bridge. The \
         rest: the daemon while it holds the leases and none of them is due. Leases are those it got within {} \
         minutes, {AT_ONCE} at a time.",
        LONGEST.as_secs() / 60
    );
    report.data = rows.iter().map(Row::to_json).collect();
    report.targets = judge(&rows);
    Ok(report)
}

/// A bridge with a server behind it, for as many leases as it has ports.
fn lan(host: &Host) -> Server {
    dhcp::lan(host);
    let node = dhcp::node(host, "server", &["10.9.0.1/16"]);
    let mut pool = Pool::short("10.9.1.0", "10.9.8.255");
    (pool.lease, pool.renew, pool.rebind) = (7200, 3600, 6300);
    let options = "--dhcp-lease-max=4000 --quiet-dhcp";
    Server::start(host, Program::Dnsmasq, &node, "server", &pool, options)
}

/// Creates containers named after `prefix`.
///
/// A broadcast of one must not be copied to all others: a thousand copies fill the kernel's queue of received packets
/// (net.core.netdev_max_backlog), and what does not fit is lost. So they have no IPv6, and reach only the server.
fn containers(host: &Host, prefix: &str, count: usize) -> Vec<Container> {
    let create = |number| {
        let name = format!("{prefix}{number}");
        let container = host.container(&name);
        container.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        dhcp::connect(host, &container, &[]);
        host.ip(&format!("link set {name} type bridge_slave isolated on"));
        container
    };
    (0..count).map(create).collect()
}

/// Returns the medians of ADD and DEL of each side, in milliseconds.
fn time_calls(sides: &[(&'static str, Plugin)]) -> Result<Vec<(f64, f64)>> {
    let host = Host::try_new().context("cannot create a private host")?;
    let _server = lan(&host);
    let mut contenders = Vec::new();
    for (side, plugin) in sides {
        let daemon = Daemon::start(plugin, side)?;
        contenders.push((daemon, containers(&host, side, TIMED)));
    }
    let mut times = vec![(Vec::new(), Vec::new()); sides.len()];
    for verb in ["ADD", "DEL"] {
        for at in 0..TIMED {
            for ((daemon, containers), times) in contenders.iter().zip(&mut times) {
                let elapsed = daemon.call(verb, &containers[at])?;
                let list = if verb == "ADD" {
                    &mut times.0
                } else {
                    &mut times.1
                };
                list.push(elapsed);
            }
        }
    }
    let medians = times.iter().map(|(add, del)| (median(add), median(del)));
    Ok(medians.collect())
}

/// Measures the daemon of a side with this many leases, or as many as it gets in time.
fn hold(side: &'static str, plugin: &Plugin, leases: usize) -> Result<Row> {
    let host = Host::try_new().context("cannot create a private host")?;
    let _server = lan(&host);
    let daemon = Daemon::start(plugin, side)?;
    eprintln!("    {side}: {leases} containers");
    let containers = containers(&host, "c", leases);
    eprintln!("    {side}: {leases} leases");
    let begin = Instant::now();
    let mut held = 0;
    for some in containers.chunks(AT_ONCE) {
        let runs = run_all(
            some.iter()
                .map(|container| daemon.invocation("ADD", container)),
        );
        if let Some(failed) = runs.iter().find(|run| !run.is_ok()) {
            bail!("after {held} leases: {}", failed.report());
        }
        held += some.len();
        if begin.elapsed() > LONGEST {
            break;
        }
    }
    eprintln!(
        "    {side}: {held} leases in {:.1?}; at rest",
        begin.elapsed()
    );
    thread::sleep(REST);
    let process = Path::new("/proc").join(daemon.service.pid().to_string());
    Ok(Row {
        side,
        leases: held,
        cpu: cpu_at_rest(&process)?,
        memory: status(&process, "VmRSS:")? as f64 / 1024.0,
        threads: status(&process, "Threads:")?,
        descriptors: fs::read_dir(process.join("fd"))?.count(),
        add: 0.0,
        del: 0.0,
    })
}

/// A running daemon.
struct Daemon<'a> {
    plugin: &'a Plugin,
    socket: String,
    service: Service,
}

impl Daemon<'_> {
    /// Starts a daemon with a socket named after `side`, and waits until it listens.
    fn start<'a>(plugin: &'a Plugin, side: &str) -> Result<Daemon<'a>> {
        let program = plugin.program().display().to_string();
        let socket = format!("/run/cni/{side}.sock");
        let service = Service::start(&[&program, "daemon", "-socketpath", &socket]);
        let end = Instant::now() + REST;
        while !Path::new(&socket).exists() {
            if Instant::now() > end {
                bail!("{program} daemon: no socket {socket} within {REST:?}");
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(Daemon {
            plugin,
            socket,
            service,
        })
    }

    fn invocation(&self, verb: &str, container: &Container) -> testkit::Invocation {
        // Upstream's release of Debian knows no later version.
        let ipam = json!({"type": "dhcp", "daemonSocketPath": self.socket});
        let config = json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "ipam": ipam});
        let call = self.plugin.command(verb).container(container);
        call.config(&config).deadline(LONGEST)
    }

    /// Makes a call and returns its milliseconds.
    fn call(&self, verb: &str, container: &Container) -> Result<f64> {
        let run = self.invocation(verb, container).run();
        if !run.is_ok() {
            bail!("{}", run.report());
        }
        Ok(run.elapsed.as_secs_f64() * 1000.0)
    }
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
            ours.add / peer.add,
            1.0,
            "x",
            "the peer's time",
        ));
    }
    targets
}
