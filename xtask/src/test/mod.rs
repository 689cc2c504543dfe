//! `cargo xtask test`: all tests, as root, each on a kernel with the required features.
//!
//! The tests run on the machine's kernel first. A test that requires a feature which this kernel lacks appends itself
//! to a list (`testkit::needs`) and ends. The listed tests run in User Mode Linux ([`deferred`]). The summary
//! ([`results`]) counts each test once. A test that ran on no kernel counts as failed: no kernel has the required
//! features, User Mode Linux is not available, or the test has the attribute `#[ignore]`.
//!
//! With `--kernel debian` the tests run on Debian's kernel only ([`kernel`]).

pub(crate) mod deferred;
mod kernel;
mod results;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use testkit::{DEFER, Deferred, FEATURES_FILE};

use crate::commands::{self, Output};
use crate::dist::sysext;
use crate::machine::{self, Need};
use crate::project;
use results::Results;

/// The programs that the tests require besides the Rust toolchain.
pub(crate) const NEEDS: &[Need] = &[
    machine::IPROUTE2,
    Need {
        what: "ping",
        package: "iputils-ping",
        why: "tests that containers reach each other",
    },
    machine::NFTABLES,
    machine::IPTABLES,
    Need {
        what: "conntrack",
        package: "conntrack",
        why: "shows connections",
    },
    Need {
        what: "dbus-daemon",
        package: "dbus-daemon",
        why: "the bus of firewalld",
    },
    Need {
        what: "firewalld",
        package: "firewalld",
        why: "the firewall plugin adds addresses to its zones",
    },
    machine::DNSMASQ,
    sysext::SQUASHFS,
    Need {
        what: "dhcpd",
        package: "isc-dhcp-server",
        why: "a DHCP server",
    },
    Need {
        what: "kea-dhcp4",
        package: "kea-dhcp4-server",
        why: "a DHCP server",
    },
    Need {
        what: "kea-dhcp6",
        package: "kea-dhcp6-server",
        why: "a DHCP server of IPv6",
    },
    Need {
        // One of upstream's plugins; the package has all of them.
        what: "/usr/lib/cni/bridge",
        package: "containernetworking-plugins",
        why: "upstream's plugins, for the interoperability tests",
    },
    machine::GO,
    machine::UPSTREAM_LIBRARY,
    machine::PODMAN,
    machine::BUSYBOX,
    machine::CRUN,
    machine::CONTAINERD,
    machine::RUNC,
    Need {
        what: "newuidmap",
        package: "uidmap",
        why: "user namespaces of Podman without root privileges",
    },
    Need {
        what: "slirp4netns",
        package: "slirp4netns",
        why: "the network of Podman without root privileges",
    },
    Need {
        what: "/usr/bin/docker",
        package: "docker.io",
        why: "finds containers by label",
    },
    Need {
        what: "/usr/lib/python3/dist-packages/yaml/__init__.py",
        package: "python3-yaml",
        why: "reads the Kubernetes manifests",
    },
    Need {
        what: "strace",
        package: "strace",
        why: "makes system calls of the installer fail",
    },
    Need {
        what: "setfattr",
        package: "attr",
        why: "sets SELinux labels on a kernel without SELinux",
    },
];

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    run_with(arguments, &[])
}

/// The same with variables in the environment of the tests on the machine's kernel.
pub(crate) fn run_with(arguments: &[String], variables: &[(&str, &Path)]) -> Result<()> {
    let mut arguments = arguments.to_vec();
    let is_on_debians_kernel = kernel::take_option(&mut arguments)?;
    machine::provide(NEEDS)?;
    if !testkit::is_root() {
        bail!("the tests make network namespaces: run as root, sudo cargo xtask test");
    }
    // CARGO_BIN_EXE_x exists only within a package. Tests that span packages use a directory, and its "examples".
    commands::run(&mut commands::cargo(
        &project::root(),
        ["build", "--workspace", "--bins", "--examples"],
    ))?;
    if is_on_debians_kernel {
        return kernel::run(&arguments);
    }
    let list = List::new()?;
    let mut host = on_the_host(&arguments, variables, &list)?;
    let deferred = list.read()?;
    host.defer(&deferred);
    let mut all = vec![host];
    if !deferred.is_empty() {
        match deferred::in_user_mode_linux(&deferred) {
            Ok(results) => all.push(results),
            Err(err) => all[0].errors.push(format!("no User Mode Linux: {err:#}")),
        }
    }
    results::report(&all)
}

/// Runs the suite on the machine's kernel.
fn on_the_host(arguments: &[String], variables: &[(&str, &Path)], list: &List) -> Result<Results> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut results = Results::new(&format!("Linux {}", release.trim()));
    results.selected = !arguments.is_empty();
    let root = project::root();
    if commands::read(&mut commands::cargo(&root, ["nextest", "--version"])).is_ok() {
        // Results as JSON on standard output, progress for the user on standard error.
        let mut suite = list.cargo(&["nextest", "run", "--no-fail-fast"]);
        suite
            .envs(variables.iter().copied())
            .env("NEXTEST_EXPERIMENTAL_LIBTEST_JSON", "1")
            .args(["--message-format", "libtest-json-plus", "--config-file"])
            .arg(root.join("xtask/nextest.toml"))
            .args(arguments);
        results.follow(&mut suite, Output::Stdout, Results::read_json)?;
    } else {
        println!("cargo-nextest is not installed: using cargo test");
        let mut suite = list.cargo(&["test", "--no-fail-fast", "--lib", "--bins", "--tests"]);
        suite.envs(variables.iter().copied());
        results.follow(suite.args(arguments), Output::Both, Results::read_text)?;
    }
    // Arguments select tests of the suite. The examples in the documentation only run without arguments.
    if arguments.is_empty() {
        let mut examples = list.cargo(&["test", "--no-fail-fast", "--doc"]);
        results.follow(&mut examples, Output::Both, Results::read_text)?;
    }
    Ok(results)
}

/// The file to which tests append themselves that require another kernel.
struct List(PathBuf);

impl List {
    fn new() -> Result<List> {
        let name = format!("deferred-tests-{}", std::process::id());
        let list = List(project::target().join(name));
        // A process with the same ID may have left one.
        for file in [&list.0, &list.features()] {
            fs::write(file, "").with_context(|| file.display().to_string())?;
        }
        Ok(list)
    }

    /// The file in which tests share the results of kernel probes.
    fn features(&self) -> PathBuf {
        self.0.with_extension("features")
    }

    /// The tests in it, sorted by name, without duplicates.
    fn read(&self) -> Result<Vec<Deferred>> {
        let text = fs::read_to_string(&self.0).with_context(|| self.0.display().to_string())?;
        let mut tests = Deferred::read_all(&text).map_err(|err| anyhow!(err))?;
        tests.sort_by_key(Deferred::name);
        tests.dedup_by_key(|test| test.name());
        Ok(tests)
    }

    /// A cargo command with the environment of the tests.
    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = commands::cargo(&project::root(), arguments);
        command.env("CNI_TEST_BIN_DIR", project::target().join("debug"));
        command.env(DEFER, &self.0);
        command.env(FEATURES_FILE, self.features());
        command
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // If it stays, cargo clean removes it.
        let _ = fs::remove_file(&self.0);
        let _ = fs::remove_file(self.features());
    }
}
