//! `cargo xtask emulate`: tries the binaries for other platforms, in the user-mode emulators of QEMU.
//!
//! The emulators translate system calls to those of this machine's kernel. rtnetlink works, netfilter's netlink does
//! not (`EPROTONOSUPPORT`), so packet filters are tested on this machine's platform only. Between byte orders, QEMU
//! translates the headers of rtnetlink requests, but not their attributes, so no link can be created on s390x.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use testkit::{Container, Node, Plugin, Run};

use crate::build::{self, Build, Selection};
use crate::machine::{self, Need};
use crate::{bench, commands, project};

/// What is tried, in this order.
const CASES: &[(&str, Case)] = &[
    ("VERSION", versions),
    ("bad input", bad_input),
    ("host-local", lease),
    ("loopback", loopback),
    ("ptp", point_to_point),
];

type Case = fn(&Emulated<'_>) -> Result<()>;

/// The emulated binaries, and a container for them.
struct Emulated<'a> {
    build: &'a Build,
    /// A directory of scripts which run the binaries.
    dir: PathBuf,
    container: Container,
}

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let selection = Selection::parse(arguments)?;
    let mut rows = Vec::new();
    let mut faults = Vec::new();
    for platform in selection.platforms()? {
        let build = build::for_platform(platform, selection.no_build)?;
        let emulator = emulator(&build)?;
        let mut row = vec![platform.name.to_owned(), emulator.clone()];
        for ((name, _), outcome) in CASES.iter().zip(try_all(&build, &emulator)?) {
            row.push(match &outcome {
                Some(Ok(())) => "ok".into(),
                Some(Err(_)) => "FAILED".into(),
                None => "not by QEMU".into(),
            });
            if let Some(Err(err)) = outcome {
                faults.push(format!("{}: {name}: {err:#}", platform.name));
            }
        }
        rows.push(row);
    }
    let head: Vec<&str> = ["platform", "run by"]
        .into_iter()
        .chain(CASES.iter().map(|(name, _)| *name))
        .collect();
    println!("\n{}", bench::table(&head, rows));
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}

/// The command that runs binaries for a platform, installed if necessary. Empty for this machine's.
fn emulator(build: &Build) -> Result<String> {
    if build.platform.is_host() {
        return Ok(String::new());
    }
    let program = format!("qemu-{}-static", build.platform.qemu);
    machine::provide(&[Need {
        what: "qemu-aarch64-static",
        package: "qemu-user-static",
        why: "runs binaries for other platforms",
    }])?;
    let path = commands::which(&program)
        .with_context(|| format!("{program}: not in Debian's qemu-user-static of this machine"))?;
    let processor = build.platform.qemu_processor;
    let option = processor.map(|name| format!(" -cpu {name}"));
    Ok(path.display().to_string() + &option.unwrap_or_default())
}

/// Runs all cases on a host of their own. `None` is the outcome of those that the emulator cannot run.
fn try_all(build: &Build, emulator: &str) -> Result<Vec<Option<Result<()>>>> {
    let dir = scripts(build, emulator)?;
    machine::provide(&[machine::IPROUTE2])?;
    let host = machine::private_host()?;
    let mut outcomes = Vec::new();
    for (name, case) in CASES {
        let emulated = Emulated {
            build,
            dir: dir.clone(),
            container: host.try_container(&name.replace(' ', "-"))?,
        };
        let needs_attributes = *name == "ptp";
        let is_possible = !(needs_attributes && build.platform.is_big_endian);
        outcomes.push(is_possible.then(|| case(&emulated)));
    }
    Ok(outcomes)
}

/// Writes a script for each plugin and tool that runs it in the emulator, so that plugins find emulated delegates.
fn scripts(build: &Build, emulator: &str) -> Result<PathBuf> {
    let dir = project::target().join("emulate").join(build.platform.name);
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    for binary in build.binaries.iter().chain(build.tools()) {
        let path = dir.join(&binary.name);
        let script = format!(
            "#!/bin/sh\nexec {emulator} '{}' \"$@\"\n",
            binary.path.display()
        );
        fs::write(&path, script)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
            .with_context(|| path.display().to_string())?;
    }
    Ok(dir)
}

impl Emulated<'_> {
    fn plugin(&self, name: &str) -> Plugin {
        Plugin::in_dir(&self.dir, name)
    }

    fn add(&self, name: &str, config: &Value) -> Result<Value> {
        succeeded(self.plugin(name).add(&self.container, config)).map(|run| run.json())
    }

    fn del(&self, name: &str, config: &Value) -> Result<()> {
        succeeded(self.plugin(name).del(&self.container, config)).map(drop)
    }
}

fn succeeded(run: Run) -> Result<Run> {
    ensure!(run.is_ok(), "{}", run.report());
    Ok(run)
}

/// Every binary answers VERSION, and prints its name and version when run by hand.
fn versions(emulated: &Emulated<'_>) -> Result<()> {
    for binary in &emulated.build.binaries {
        let plugin = emulated.plugin(&binary.name);
        let reply = succeeded(plugin.version())?;
        let supported = &reply.json()["supportedVersions"];
        let newest = supported.as_array().and_then(|versions| versions.last());
        ensure!(newest == Some(&json!("1.1.0")), "{}", reply.report());
        let about = succeeded(plugin.command("").without_env("CNI_COMMAND").run())?;
        let expected = format!("CNI {} plugin {}\n", binary.name, project::version());
        ensure!(
            about.stderr_text().starts_with(&expected),
            "not {expected:?}: {}",
            about.report()
        );
    }
    for tool in emulated.build.tools() {
        let mut command = Command::new(emulated.dir.join(&tool.name));
        let version = commands::read(command.arg("--version"))?;
        let expected = format!("{} {}", tool.name, project::version());
        ensure!(version == expected, "not {expected:?}: {version:?}");
    }
    Ok(())
}

/// A configuration that is no JSON is refused with the code for that.
fn bad_input(emulated: &Emulated<'_>) -> Result<()> {
    for name in ["host-local", "bridge"] {
        let call = emulated.plugin(name).command("ADD");
        let run = call.container(&emulated.container).stdin("{").run();
        ensure!(run.status.code() == Some(1), "{}", run.report());
        ensure!(run.json()["code"] == json!(6), "{}", run.report());
    }
    Ok(())
}

fn network(plugin: &str, subnet: &str) -> Value {
    json!({
        "cniVersion": "1.1.0", "name": "emulated", "type": plugin,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": subnet}]]}
    })
}

/// host-local reserves an address, and releases it.
fn lease(emulated: &Emulated<'_>) -> Result<()> {
    let config = network("host-local", "10.9.0.0/24");
    let reserved = Path::new("/var/lib/cni/networks/emulated/10.9.0.2");
    let result = emulated.add("host-local", &config)?;
    ensure!(
        result["ips"][0]["address"] == json!("10.9.0.2/24"),
        "{result}"
    );
    ensure!(reserved.exists(), "{} is missing", reserved.display());
    emulated.del("host-local", &config)?;
    ensure!(!reserved.exists(), "{} is still there", reserved.display());
    Ok(())
}

/// loopback brings up the link and reports its addresses.
fn loopback(emulated: &Emulated<'_>) -> Result<()> {
    let config = json!({"cniVersion": "1.1.0", "name": "lo", "type": "loopback"});
    let call = emulated.plugin("loopback").command("ADD");
    let call = call.container(&emulated.container).ifname("lo");
    let result = succeeded(call.config(&config).run())?.json();
    ensure!(
        result["ips"][0]["address"] == json!("127.0.0.1/8"),
        "{result}"
    );
    Ok(())
}

/// ptp connects a container, which reaches its gateway, and leaves nothing.
fn point_to_point(emulated: &Emulated<'_>) -> Result<()> {
    let config = network("ptp", "10.9.1.0/24");
    let container = &emulated.container;
    emulated.add("ptp", &config)?;
    let addresses = container.addresses("eth0");
    ensure!(
        addresses.contains(&"10.9.1.2/24".to_owned()),
        "{addresses:?}"
    );
    let gateway = [10, 9, 1, 1].into();
    ensure!(
        container.can_reach(gateway, Duration::from_secs(30)),
        "{gateway} does not answer"
    );
    emulated.del("ptp", &config)?;
    let links = container.link_names();
    ensure!(links == ["lo"], "left in the container: {links:?}");
    Ok(())
}
