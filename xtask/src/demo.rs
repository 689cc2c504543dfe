//! `cargo xtask demo`: attaches two containers to a dual-stack bridge network with the real binaries, shows that they
//! reach each other and the gateway, checks and detaches them, and shows that nothing is left.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, Plugin, Run, Snapshot, leases};

use crate::machine::{self, private_host};
use crate::{build, commands, no_build, project};

/// The time limit for all answers after the last ADD.
const DEADLINE: Duration = Duration::from_secs(1);

/// The configuration of the network.
fn network() -> Value {
    json!({
        "cniVersion": "1.1.0",
        "name": "demo",
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": true,
        "isDefaultGateway": true,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": "10.22.0.0/16"}], [{"subnet": "fd00:22::/64"}]]
        }
    })
}

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let no_build = no_build(arguments)?;
    machine::provide(&[machine::IPROUTE2])?;
    let plugins = match no_build {
        true => build::provide(true).map(|_| project::bin())?,
        false => development_build()?,
    };
    let host = private_host()?;
    let conf = network();
    title("the network");
    println!("{conf:#}");
    let bridge = Plugin::in_dir(&plugins, "bridge");
    let containers = [host.try_container("blue")?, host.try_container("green")?];
    let before = host.snapshot();

    title("ADD");
    let mut results = Vec::new();
    for container in &containers {
        let added = call("ADD", &bridge, container, || bridge.add(container, &conf))?;
        println!("{}", added.stdout_text().trim_end());
        results.push(added);
    }
    let attached = Instant::now();
    title("every container reaches the other and the gateway");
    reach_all(&containers, &results, attached)?;
    title("attachments");
    show_attachments(&containers, &results);

    title("CHECK");
    for (container, added) in containers.iter().zip(&results) {
        call("CHECK", &bridge, container, || {
            bridge.check(container, &added.with_prev())
        })?;
    }
    println!("leases: {}", list(&leases("demo")));

    title("DEL");
    for (container, added) in containers.iter().zip(&results) {
        call("DEL", &bridge, container, || {
            bridge.del(container, &added.with_prev())
        })?;
    }
    title("what is left");
    nothing_left(&host, &before)
}

/// Builds the executable with all plugins without optimization, which is quick, and installs it below `target/`.
fn development_build() -> Result<PathBuf> {
    let build = ["build", "--package", build::ALL_IN_ONE];
    commands::run(&mut commands::cargo(&project::root(), build))?;
    let dir = project::target().join("demo");
    let mut install = Command::new(project::target().join("debug").join(build::ALL_IN_ONE));
    install.args(["install", "--update", "--dest"]).arg(&dir);
    commands::read(&mut install)?;
    println!("plugins: {} (development build)", project::shown(&dir));
    Ok(dir)
}

fn title(text: &str) {
    println!("\n=== {text}");
}

/// Prints a call as a user would type it, and runs it.
fn call(
    verb: &str,
    bridge: &Plugin,
    container: &Container,
    run: impl FnOnce() -> Run,
) -> Result<Run> {
    let program = project::shown(bridge.program());
    let path = program.trim_end_matches("/bridge");
    println!(
        "$ CNI_COMMAND={verb} CNI_CONTAINERID={} CNI_NETNS={} CNI_IFNAME=eth0 CNI_PATH={path} {program} < conf",
        container.id(),
        container.netns().display()
    );
    let run = run();
    if !run.is_ok() {
        bail!("the plugin failed\n{}", run.report());
    }
    println!("ok ({:.1} ms)", milliseconds(run.elapsed));
    Ok(run)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The values of `key` in a result's `ips`, without prefix lengths.
fn ips(result: &Run, key: &str) -> Vec<String> {
    let result = result.json();
    let ips = result["ips"].as_array().into_iter().flatten();
    ips.filter_map(|ip| ip[key].as_str()?.split('/').next().map(String::from))
        .collect()
}

/// Sends from every container to every other one and to the gateway, with both families. Does not need ping.
fn reach_all(containers: &[Container], results: &[Run], attached: Instant) -> Result<()> {
    let mut silent = Vec::new();
    for container in containers {
        let others = containers
            .iter()
            .zip(results)
            .filter(|(other, _)| other.name() != container.name());
        let mut targets: Vec<(&str, String)> = others
            .flat_map(|(other, result)| {
                ips(result, "address")
                    .into_iter()
                    .map(|ip| (other.name(), ip))
            })
            .collect();
        targets.extend(
            ips(&results[0], "gateway")
                .into_iter()
                .map(|ip| ("gateway", ip)),
        );
        for (name, address) in targets {
            let asked = Instant::now();
            let ip: IpAddr = address.parse().with_context(|| address.clone())?;
            let route = format!("{} -> {name} {address}", container.name());
            if container.can_reach(ip, DEADLINE) {
                println!(
                    "{route:42} answers ({:.1} ms)",
                    milliseconds(asked.elapsed())
                );
            } else {
                println!("{route:42} NO ANSWER");
                silent.push(route);
            }
        }
    }
    let all = attached.elapsed();
    println!(
        "all addresses probed {:.0} ms after the last ADD returned",
        milliseconds(all)
    );
    if !silent.is_empty() {
        bail!("no answer: {}", silent.join(", "));
    }
    if all > DEADLINE {
        bail!("that is longer than {DEADLINE:?}");
    }
    Ok(())
}

/// Prints the bridge, the veth pairs and the addresses of the results.
fn show_attachments(containers: &[Container], results: &[Run]) {
    for (container, result) in containers.iter().zip(results) {
        let interfaces = &result.json()["interfaces"];
        let name = |index: usize| interfaces[index]["name"].as_str().unwrap_or("?").to_owned();
        println!(
            "{} ── {} ── {} in {}  {}",
            name(0),
            name(1),
            name(2),
            container.name(),
            list(&ips(result, "address"))
        );
    }
}

fn list(items: &[String]) -> String {
    match items.is_empty() {
        true => "none".into(),
        false => items.join(", "),
    }
}

/// Demands that the host is as before, except for the bridge, which stays for other containers and is deleted here, and
/// the last reserved address of host-local.
fn nothing_left(host: &Host, before: &Snapshot) -> Result<()> {
    let remaining = |snapshot: &Snapshot| -> Vec<String> {
        let diff = before.diff(snapshot);
        let lines = diff.lines().filter(|line| line.starts_with("  "));
        lines.map(|line| line.trim().to_owned()).collect()
    };
    println!("leases: {}", list(&leases("demo")));
    println!(
        "the network's bridge, kept for the next container: {}",
        host.link("cni0").is_some()
    );
    host.try_command(&["ip", "link", "del", "cni0"])
        .map_err(|err| anyhow!(err))?;
    let (notes, rest): (Vec<_>, Vec<_>) = remaining(&host.snapshot())
        .into_iter()
        .partition(|line| line.starts_with("+ /var/lib/cni/networks/"));
    println!("host-local's directory, kept as upstream keeps it:");
    notes
        .iter()
        .for_each(|note| println!("    {}", note.trim_start_matches("+ ")));
    println!(
        "other differences from before, with the bridge deleted: {}",
        list(&rest)
    );
    if !leases("demo").is_empty() || !rest.is_empty() {
        bail!("something is left behind");
    }
    println!("\nnothing is left.");
    Ok(())
}
