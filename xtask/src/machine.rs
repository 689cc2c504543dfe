//! Programs that commands require: installed if possible, else named in the error.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use testkit::Host;

use crate::{commands, project};

/// A program that a command requires.
#[derive(Clone, Copy)]
pub(crate) struct Need {
    /// The name of the program, or an absolute path.
    pub(crate) what: &'static str,
    /// Its Debian package.
    pub(crate) package: &'static str,
    /// Its purpose, for the error message.
    pub(crate) why: &'static str,
}

pub(crate) const IPROUTE2: Need = Need {
    what: "ip",
    package: "iproute2",
    why: "shows links, addresses and routes",
};

pub(crate) const NFTABLES: Need = Need {
    what: "nft",
    package: "nftables",
    why: "shows and loads packet filters",
};

pub(crate) const IPTABLES: Need = Need {
    what: "iptables",
    package: "iptables",
    why: "shows and loads packet filters",
};

pub(crate) const DNSMASQ: Need = Need {
    what: "dnsmasq",
    package: "dnsmasq-base",
    why: "a DHCP server",
};

pub(crate) const BUSYBOX: Need = Need {
    what: "busybox",
    package: "busybox-static",
    why: "the program in containers and in the initramfs of another kernel",
};

pub(crate) const KMOD: Need = Need {
    what: "modprobe",
    package: "kmod",
    why: "loads the modules of another kernel",
};

pub(crate) const SETPRIV: Need = Need {
    what: "setpriv",
    package: "util-linux",
    why: "ends another kernel together with cargo xtask",
};

pub(crate) const GO: Need = Need {
    what: "go",
    package: "golang-go",
    why: "builds a program with upstream's library",
};

pub(crate) const UPSTREAM_LIBRARY: Need = Need {
    what: "/usr/share/gocode/src/github.com/containernetworking/cni/libcni/api.go",
    package: "golang-github-appc-cni-dev",
    why: "upstream's library, beside which ours is tested and measured",
};

pub(crate) const PODMAN: Need = Need {
    what: "podman",
    package: "podman",
    why: "runs containers and the container image",
};

pub(crate) const CRUN: Need = Need {
    what: "crun",
    package: "crun",
    why: "runs Podman's containers",
};

pub(crate) const CONTAINERD: Need = Need {
    what: "containerd",
    package: "containerd",
    why: "runs pods",
};

pub(crate) const RUNC: Need = Need {
    what: "runc",
    package: "runc",
    why: "runs containers of containerd and Docker",
};

impl Need {
    fn is_met(&self) -> bool {
        match self.what.starts_with('/') {
            true => Path::new(self.what).exists(),
            false => commands::which(self.what).is_some(),
        }
    }
}

/// Packages whose services would start at installation under systemd and change the machine.
const SERVICES: &[&str] = &[
    "containerd",
    "docker.io",
    "firewalld",
    "isc-dhcp-server",
    "kea-dhcp4-server",
    "kea-dhcp6-server",
];

/// Whether packages can be installed.
pub(crate) fn can_install() -> bool {
    // Root of a user namespace has no rights outside of it.
    let mapped = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let whole = mapped.split_whitespace().eq(["0", "0", "4294967295"]);
    testkit::is_root() && whole && commands::which("apt-get").is_some()
}

/// Installs those of `needs` that are missing.
///
/// # Errors
///
/// Names what is still missing and how to install it.
pub(crate) fn provide(needs: &[Need]) -> Result<()> {
    let missing = || needs.iter().filter(|need| !need.is_met());
    let mut packages: Vec<&str> = missing().map(|need| need.package).collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    let starts_service = Path::new("/run/systemd/system").exists()
        && packages.iter().any(|package| SERVICES.contains(package));
    if can_install() && !starts_service && install(&packages).is_ok() && missing().next().is_none()
    {
        return Ok(());
    }
    let list: Vec<String> = missing()
        .map(|need| {
            format!(
                "  {} (Debian package {}): {}",
                need.what, need.package, need.why
            )
        })
        .collect();
    bail!(
        "missing on this machine:\n{}\ninstall with: sudo apt-get install {}",
        list.join("\n"),
        packages.join(" ")
    )
}

/// Installs Debian packages and prints their names.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    println!("installing with apt-get: {}", packages.join(" "));
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(packages);
    // The first attempt may fail because package lists are missing or outdated.
    apt_get(&arguments).or_else(|_| refresh().and_then(|()| apt_get(&arguments)))
}

/// Updates the package lists.
pub(crate) fn refresh() -> Result<()> {
    apt_get(&["update"])
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-qq", "-o", "Dpkg::Use-Pty=0"])
        .args(arguments);
    commands::read(&mut command).map(drop)
}

/// A subcommand of cargo from crates.io.
pub(crate) struct CargoTool {
    /// The name of the subcommand; the package is called `cargo-NAME`.
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// Whether no other version will do.
    pub(crate) is_exact: bool,
    /// Its purpose, for the error message.
    pub(crate) why: &'static str,
}

impl CargoTool {
    /// The installed version.
    fn installed(&self) -> Option<String> {
        let mut version = commands::cargo(&project::root(), [self.name, "--version"]);
        let text = commands::read(&mut version).ok()?;
        // "cargo-nextest 0.9.143 (60fa45f63 2026-08-04)"
        text.split_whitespace().nth(1).map(String::from)
    }
}

/// Installs those of `tools` that are missing.
///
/// # Errors
///
/// When that fails, or another version is installed and will not do.
pub(crate) fn provide_cargo_tools(tools: &[CargoTool]) -> Result<()> {
    for tool in tools {
        let (package, version) = (format!("cargo-{}", tool.name), tool.version);
        match tool.installed() {
            Some(installed) if installed == version || !tool.is_exact => {}
            Some(installed) => bail!(
                "{package} {installed} is installed, but {version} is required, which {}: \
                 cargo install --locked --force {package}@{version}",
                tool.why
            ),
            None => {
                println!("installing with cargo: {package} {version}");
                let package = format!("{package}@{version}");
                let install = ["install", "--quiet", "--locked", &package];
                commands::run(&mut commands::cargo(&project::root(), install))?;
            }
        }
    }
    Ok(())
}

/// Turns this process into a private host, as root or as root of a new user namespace.
///
/// # Errors
///
/// The error of the kernel and what to do.
pub(crate) fn private_host() -> Result<Host> {
    if !testkit::is_root() {
        testkit::become_root().context(
            "this kernel does not allow user namespaces for unprivileged users; run it with sudo",
        )?;
        println!("\nnot root: continuing as root of a user namespace");
    }
    Host::try_new().context("cannot create a private host")
}
