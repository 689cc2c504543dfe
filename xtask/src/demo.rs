//! `cargo xtask demo`: two containers join a dual-stack bridge network through the real binaries, talk to each
//! other and to the gateway, are checked, leave, and nothing is left.

mod picture;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{Container, Host, Node, Plugin, Run, Snapshot};

use crate::apt::{self, Need};
use crate::host::private_host;
use crate::options::Options;
use crate::{Outcome, build, commands, project};

/// The time within which everybody must answer after ADD.
const SAME_SECOND: Duration = Duration::from_secs(1);

const PING: Need = Need {
    what: "ping",
    package: "iputils-ping",
    why: "asks containers for an answer",
};

/// The network that is joined, as a runtime configures it.
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

/// A container that has joined.
struct Guest {
    container: Container,
    added: Run,
}

impl Guest {
    fn addresses(&self) -> Vec<String> {
        let ips = self.added.json()["ips"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        ips.iter()
            .filter_map(|ip| ip["address"].as_str()?.split('/').next().map(String::from))
            .collect()
    }
}

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let mut options = Options::new(arguments);
    let skip_build = options.flag("--no-build");
    options.end()?;
    apt::provide(&[apt::IPROUTE2])?;
    // Without ping we ask in another way, so that nobody has to install it.
    if !PING.is_met() && apt::can_install() {
        apt::provide(&[PING])?;
    }
    if skip_build {
        build::built()?;
    } else {
        build::build(None)?;
    }
    let host = private_host()?;
    story(&host)
}

/// What happens, in order.
fn story(host: &Host) -> Outcome {
    let conf = network();
    title("the network");
    println!("{conf:#}");
    let bridge = Plugin::in_dir(project::bin(), "bridge");
    let make = |name: &str| {
        host.try_container(name)
            .map_err(|err| format!("container {name}: {err}"))
    };
    let containers = [make("blue")?, make("green")?];
    let before = host.snapshot();

    title("ADD: both containers join");
    let mut guests = Vec::new();
    for container in containers {
        say_call("ADD", &container, bridge.program());
        let added = succeed(bridge.add(&container, &conf))?;
        println!(
            "{}\n({:.1} ms)",
            added.stdout_text().trim_end(),
            milliseconds(added.elapsed)
        );
        guests.push(Guest { container, added });
    }
    let joined = Instant::now();
    talk(&guests, joined)?;

    title("who is plugged where");
    picture::draw(
        host,
        &guests
            .iter()
            .map(|guest| &guest.container)
            .collect::<Vec<_>>(),
    );

    title("CHECK: all is as it was added");
    for guest in &guests {
        say_call("CHECK", &guest.container, bridge.program());
        let checked = succeed(bridge.check(&guest.container, &guest.added.with_prev()))?;
        println!("ok ({:.1} ms)", milliseconds(checked.elapsed));
    }
    println!("addresses held: {}", or_none(&held()));

    title("DEL: both leave");
    for guest in &guests {
        say_call("DEL", &guest.container, bridge.program());
        let deleted = succeed(bridge.del(&guest.container, &guest.added.with_prev()))?;
        println!("ok ({:.1} ms)", milliseconds(deleted.elapsed));
    }
    nothing_left(host, &before, &host.snapshot())
}

fn title(text: &str) {
    println!("\n=== {text}");
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The command as it would be typed.
fn say_call(verb: &str, container: &Container, program: &Path) {
    println!(
        "$ CNI_COMMAND={verb} CNI_CONTAINERID={} CNI_NETNS={} CNI_IFNAME=eth0 CNI_PATH=bin bin/{} < conf",
        container.id(),
        container.netns().display(),
        project::file_name(program)
    );
}

fn succeed(run: Run) -> Outcome<Run> {
    if run.is_ok() {
        Ok(run)
    } else {
        Err(format!("the plugin failed\n{}", run.report()))
    }
}

/// Everybody asks everybody, and the gateway, over both families.
fn talk(guests: &[Guest], joined: Instant) -> Outcome {
    title("do they reach each other?");
    let gateways: Vec<(String, String)> = gateways(guests)
        .into_iter()
        .map(|ip| ("gateway".into(), ip))
        .collect();
    let mut silent = Vec::new();
    for guest in guests {
        let others = guests
            .iter()
            .filter(|other| other.container.name() != guest.container.name());
        let others = others.flat_map(|other| {
            other
                .addresses()
                .into_iter()
                .map(|address| (other.container.name().to_owned(), address))
        });
        for (name, address) in others.chain(gateways.iter().cloned()) {
            let asked = Instant::now();
            let answer = ask(&guest.container, &address);
            let route = format!("{} -> {name} {address}", guest.container.name());
            match answer {
                Ok(()) => println!(
                    "{route:42} answers ({:.1} ms)",
                    milliseconds(asked.elapsed())
                ),
                Err(why) => {
                    println!("{route:42} SILENT: {why}");
                    silent.push(route);
                }
            }
        }
    }
    let all = joined.elapsed();
    println!(
        "all asked {:.0} ms after the last ADD returned",
        milliseconds(all)
    );
    if !silent.is_empty() {
        return Err(format!("no answer: {}", silent.join(", ")));
    }
    if all > SAME_SECOND {
        return Err("that is not within the same second".into());
    }
    Ok(())
}

fn gateways(guests: &[Guest]) -> Vec<String> {
    let result = guests
        .first()
        .map_or(Value::Null, |guest| guest.added.json());
    let ips = result["ips"].as_array().cloned().unwrap_or_default();
    ips.iter()
        .filter_map(|ip| ip["gateway"].as_str().map(String::from))
        .collect()
}

/// With `ping` where there is one, else by a datagram to a closed port.
fn ask(container: &Container, address: &str) -> Result<(), String> {
    if commands::which("ping").is_some() {
        return container.try_ping(address);
    }
    let ip: IpAddr = address.parse().map_err(|err| format!("{address}: {err}"))?;
    if container.can_reach(ip, SAME_SECOND) {
        Ok(())
    } else {
        Err("no answer within a second".into())
    }
}

/// The addresses that host-local has on its books.
fn held() -> Vec<String> {
    let dir = PathBuf::from("/var/lib/cni/networks/demo");
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    // IPv6 addresses have "_" in place of ":" on file systems that cannot have the latter; others are no addresses.
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut held: Vec<String> = names
        .filter(|name| name.parse::<IpAddr>().is_ok())
        .collect();
    held.sort();
    held
}

fn or_none(list: &[String]) -> String {
    if list.is_empty() {
        "none".into()
    } else {
        list.join(", ")
    }
}

/// What outlives the containers is the network's: the bridge with its gateway addresses, for the next container.
fn nothing_left(host: &Host, before: &Snapshot, after: &Snapshot) -> Outcome {
    title("what is left?");
    let of = |name: &str| -> Vec<String> {
        let heading = format!("{name} link");
        let old = before.lines(&heading);
        let new = after.lines(&heading);
        new.iter()
            .filter(|line| !old.contains(line))
            .map(|line| first_word(line))
            .collect()
    };
    for container in ["blue", "green"] {
        println!(
            "links in {container} besides lo: {}",
            or_none(&of(container))
        );
    }
    let ports: Vec<String> = of("host")
        .into_iter()
        .filter(|name| name != "cni0")
        .collect();
    println!("container links on the host: {}", or_none(&ports));
    println!("addresses held: {}", or_none(&held()));
    let bridge: Vec<String> = of("host")
        .into_iter()
        .filter(|name| name == "cni0")
        .collect();
    println!(
        "the network's own bridge, kept for the next container: {}",
        or_none(&bridge)
    );

    // With the bridge gone as well, everything must be as it was, but for host-local's notes of where to go on.
    host.try_command(&["ip", "link", "del", "cni0"])?;
    let diff = before.diff(&host.snapshot());
    let changed = diff
        .lines()
        .filter(|line| line.starts_with("  "))
        .map(|line| line.trim().to_owned());
    let (notes, rest): (Vec<_>, Vec<_>) =
        changed.partition(|line| line.starts_with("+ /var/lib/cni/networks/"));
    println!("host-local's notes of where to go on, kept as upstream keeps them:");
    notes
        .iter()
        .for_each(|note| println!("    {}", note.trim_start_matches("+ ")));
    println!(
        "without the bridge, everything else compared with before: {}",
        if rest.is_empty() {
            "the same".into()
        } else {
            rest.join("\n    ")
        }
    );
    if ports.is_empty() && held().is_empty() && rest.is_empty() {
        println!("\nnothing is left.");
        return Ok(());
    }
    Err("something is left behind".into())
}

fn first_word(line: &str) -> String {
    line.split(' ').next().unwrap_or_default().to_owned()
}
