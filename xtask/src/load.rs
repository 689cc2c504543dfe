//! `cargo xtask load`: the load test for as long and with as many workers as wanted, with release binaries.
//!
//! The test itself is `tests/tests/churn`; the suite runs it for a minute.

use anyhow::{Result, bail};
use lexopt::{Arg, ValueExt};

use crate::{build, commands, machine, project};

/// Default duration.
const MINUTES: u64 = 10;

/// Default number of workers.
const WORKERS: u64 = 32;

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (mut minutes, mut workers, mut seed, mut no_build) = (MINUTES, WORKERS, None, false);
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("minutes") => minutes = parser.value()?.parse()?,
            Arg::Long("workers") => workers = parser.value()?.parse()?,
            Arg::Long("seed") => seed = Some(parser.value()?.parse::<u64>()?),
            Arg::Long("no-build") => no_build = true,
            other => return Err(other.unexpected().into()),
        }
    }
    if minutes == 0 || workers == 0 {
        bail!("--minutes {minutes} --workers {workers}: both must be at least 1");
    }
    machine::provide(&[
        machine::IPROUTE2,
        machine::NFTABLES,
        machine::IPTABLES,
        machine::DNSMASQ,
    ])?;
    if !testkit::is_root() {
        bail!("the load test makes network namespaces: run as root, sudo cargo xtask load");
    }
    build::provide(no_build)?;
    let test = [
        "test",
        "--package",
        "blackbox",
        "--test",
        "churn",
        "--",
        "--nocapture",
    ];
    let mut test = commands::cargo(&project::root(), test);
    test.env("CNI_TEST_BIN_DIR", project::bin())
        .env("CNI_LOAD_SECONDS", (minutes * 60).to_string())
        .env("CNI_LOAD_WORKERS", workers.to_string());
    if let Some(seed) = seed {
        test.env("CNI_LOAD_SEED", seed.to_string());
    }
    commands::run(&mut test)
}
