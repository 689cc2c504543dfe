//! `cargo xtask test`: all tests, as root, each on a kernel that has what it needs.
//!
//! One [`Pass`] is the suite on one kernel. The first is on the machine's own. A test that needs a feature which
//! this kernel lacks says so to `testkit::needs`, and ends; its name, program and wants go to a file of
//! [`Deferred`] tests. Exactly those run in a second pass in User Mode Linux ([`another_kernel`]), whatever
//! arguments chose them. The closing table ([`table`]) merges the passes and says where each test ran. A test that
//! ran nowhere, be it that no kernel has what it needs, that User Mode Linux cannot be had, or that somebody put
//! `#[ignore]` on it, has failed.

mod another_kernel;
pub(crate) mod inside;
mod table;
mod tally;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{DEFER, Deferred};

use crate::apt::{self, Need};
use crate::{Outcome, commands, project};
use tally::{Pass, Runner};

/// What the tests need besides the Rust toolchain.
const NEEDS: &[Need] = &[
    apt::IPROUTE2,
    Need {
        what: "ping",
        package: "iputils-ping",
        why: "containers reach each other",
    },
    apt::NFTABLES,
    apt::IPTABLES,
    Need {
        what: "conntrack",
        package: "conntrack",
        why: "looks at connections",
    },
    Need {
        what: "dbus-daemon",
        package: "dbus-daemon",
        why: "the bus that firewalld is spoken to over",
    },
    Need {
        what: "firewalld",
        package: "firewalld",
        why: "is asked to trust addresses",
    },
    Need {
        // One of the peer's plugins, which stands for all.
        what: "/usr/lib/cni/bridge",
        package: "containernetworking-plugins",
        why: "the peer that we exchange state with",
    },
];

pub(crate) fn run(arguments: &[String]) -> Outcome {
    apt::provide(NEEDS)?;
    if !testkit::is_root() {
        return Err("the tests make network namespaces: run as root, sudo cargo xtask test".into());
    }
    // CARGO_BIN_EXE_x exists only inside a package: what crosses packages finds the binaries by directory.
    let root = project::root();
    commands::run(&mut commands::cargo(
        &root,
        ["build", "--workspace", "--bins"],
    ))?;
    let (here, deferred) = on_this_kernel(arguments)?;
    let mut passes = vec![here];
    if !deferred.is_empty() {
        match another_kernel::run(&deferred) {
            Ok(pass) => passes.push(pass),
            Err(why) => passes[0].broken.push(format!("no User Mode Linux: {why}")),
        }
    }
    table::close(&passes)
}

/// The suite on the machine's own kernel, and the tests for which that is not good enough.
fn on_this_kernel(arguments: &[String]) -> Outcome<(Pass, Vec<Deferred>)> {
    let mut pass = Pass::new(format!("Linux {}", kernel_release()));
    pass.chosen = !arguments.is_empty();
    let deferred = List::new()?;
    let mut version = commands::cargo(&project::root(), ["nextest", "--version"]);
    if commands::read(&mut version).is_ok() {
        let first = ["nextest", "run", "--no-fail-fast", "--config-file"];
        let mut suite = tests(&first, &deferred.0);
        suite.arg(project::root().join("xtask/nextest.toml"));
        pass.follow(suite.args(arguments), Runner::Nextest)?;
    } else {
        println!("cargo-nextest is not installed: plain cargo test does it too");
        let first = ["test", "--no-fail-fast", "--lib", "--bins", "--tests"];
        let mut suite = tests(&first, &deferred.0);
        pass.follow(suite.args(arguments), Runner::Cargo)?;
    }
    // Arguments select tests of the suite; the examples in the documentation are not among them.
    if arguments.is_empty() {
        let mut examples = tests(&["test", "--no-fail-fast", "--doc"], &deferred.0);
        pass.follow(&mut examples, Runner::Cargo)?;
    }
    let tests = deferred.read()?;
    pass.defer(&tests);
    Ok((pass, tests))
}

/// The file that tests which need another kernel write themselves to.
struct List(PathBuf);

impl List {
    fn new() -> Outcome<List> {
        let name = format!("deferred-tests-{}", std::process::id());
        let list = List(project::target().join(name));
        // Empty also where a process of the same number left one.
        fs::write(&list.0, "").map_err(|err| format!("{}: {err}", list.0.display()))?;
        Ok(list)
    }

    /// What is in it, in order of the names, each once.
    fn read(&self) -> Outcome<Vec<Deferred>> {
        let text = fs::read_to_string(&self.0);
        let text = text.map_err(|err| format!("{}: {err}", self.0.display()))?;
        let mut tests = Deferred::read_all(&text)?;
        tests.sort_by_key(Deferred::name);
        tests.dedup_by_key(|test| test.name());
        Ok(tests)
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // Should it stay, cargo clean takes it.
        let _ = fs::remove_file(&self.0);
    }
}

/// A cargo command with the environment that tests find the binaries by, and the list to note themselves in.
fn tests(arguments: &[&str], deferred: &Path) -> Command {
    let mut command = commands::cargo(&project::root(), arguments);
    command.env("CNI_TEST_BIN_DIR", project::target().join("debug"));
    command.env(DEFER, deferred);
    if std::io::IsTerminal::is_terminal(&std::io::stdout())
        && std::env::var_os("CARGO_TERM_COLOR").is_none()
    {
        // Our pipe in between would switch colours off.
        command.env("CARGO_TERM_COLOR", "always");
    }
    command
}

fn kernel_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .unwrap_or_else(|_| "?".into())
        .trim()
        .to_owned()
}
