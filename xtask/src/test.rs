//! `cargo xtask test`: all tests, on the real kernel, as root.
//!
//! One [`Pass`] is the whole suite on one kernel. There is one today, the machine's own; a kernel that has the
//! device types this one lacks adds a second, and the closing table merges them.

mod tally;

use std::process::Command;

use crate::apt::{self, Need};
use crate::{Outcome, commands, project};
pub(crate) use tally::{Pass, Verdict};

/// What the tests need besides the Rust toolchain.
const NEEDS: &[Need] = &[
    apt::IPROUTE2,
    Need {
        what: "ping",
        package: "iputils-ping",
        why: "containers reach each other",
    },
    Need {
        what: "nft",
        package: "nftables",
        why: "looks at packet filters",
    },
    Need {
        what: "iptables",
        package: "iptables",
        why: "looks at packet filters",
    },
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
    let passes = [on_this_kernel(arguments)?];
    close(&passes)
}

/// The suite on the machine's own kernel.
fn on_this_kernel(arguments: &[String]) -> Outcome<Pass> {
    let mut pass = Pass::new(format!("Linux {}", kernel_release()));
    let nextest = commands::read(&mut commands::cargo(
        &project::root(),
        ["nextest", "--version"],
    ))
    .is_ok();
    let mut suite = if nextest {
        let mut command = tests(&["nextest", "run", "--no-fail-fast", "--config-file"]);
        command.arg(project::root().join("xtask/nextest.toml"));
        command
    } else {
        println!("cargo-nextest is not installed: plain cargo test does it too");
        tests(&["test", "--no-fail-fast", "--lib", "--bins", "--tests"])
    };
    pass.follow(suite.args(arguments))?;
    // Arguments select tests of the suite; the examples in the documentation are not among them.
    if arguments.is_empty() {
        pass.follow(&mut tests(&["test", "--no-fail-fast", "--doc"]))?;
    }
    Ok(pass)
}

/// A cargo command with the environment that tests find the binaries by.
fn tests(arguments: &[&str]) -> Command {
    let mut command = commands::cargo(&project::root(), arguments);
    command.env("CNI_TEST_BIN_DIR", project::target().join("debug"));
    if std::io::IsTerminal::is_terminal(&std::io::stdout())
        && std::env::var_os("CARGO_TERM_COLOR").is_none()
    {
        // Our pipe in between would switch colours off.
        command.env("CARGO_TERM_COLOR", "always");
    }
    command
}

fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .unwrap_or_else(|_| "?".into())
        .trim()
        .to_owned()
}

/// The closing table and total.
fn close(passes: &[Pass]) -> Outcome {
    println!();
    for pass in passes {
        println!(
            "on {}: {} passed, {} failed, {} not run",
            pass.kernel,
            pass.count(Verdict::Passed),
            pass.count(Verdict::Failed),
            pass.count(Verdict::NotRun)
        );
        for test in pass.names(Verdict::NotRun) {
            println!("    not run {test}");
        }
        for command in &pass.broken {
            println!("    {command}");
        }
    }
    let (passed, failed) = tally::total(passes);
    for test in &failed {
        println!("    FAILED {test}");
    }
    let broken: usize = passes.iter().map(|pass| pass.broken.len()).sum();
    println!("{passed} passed, {} failed", failed.len() + broken);
    if failed.is_empty() && broken == 0 && passed > 0 {
        return Ok(());
    }
    Err(if passed == 0 {
        "no test ran"
    } else {
        "tests failed"
    }
    .into())
}
