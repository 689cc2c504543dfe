//! What a command needs of the machine: installed when we may, named when not.

use std::path::Path;
use std::process::Command;

use crate::{Outcome, commands};

/// Something that must be on the machine.
pub(crate) struct Need {
    /// A program's name, or an absolute path.
    pub(crate) what: &'static str,
    /// The Debian package that has it.
    pub(crate) package: &'static str,
    /// What it is for, for the message.
    pub(crate) why: &'static str,
}

/// `ip`, by which hosts and containers are looked at.
pub(crate) const IPROUTE2: Need = Need {
    what: "ip",
    package: "iproute2",
    why: "looks at links, addresses and routes",
};

/// `nft`, by which packet filters are looked at, and made where there are to be many.
pub(crate) const NFTABLES: Need = Need {
    what: "nft",
    package: "nftables",
    why: "looks at packet filters",
};

/// `iptables`, which plugins run that are told to.
pub(crate) const IPTABLES: Need = Need {
    what: "iptables",
    package: "iptables",
    why: "looks at packet filters",
};

impl Need {
    pub(crate) fn is_met(&self) -> bool {
        if self.what.starts_with('/') {
            Path::new(self.what).exists()
        } else {
            commands::which(self.what).is_some()
        }
    }
}

/// Packages whose service changes the machine as soon as it runs, which it does once installed under systemd.
const SERVICES: &[&str] = &["firewalld"];

/// Whether packages can be installed here.
pub(crate) fn can_install() -> bool {
    // Root of a user namespace owns nothing outside.
    let mapped = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let whole = mapped.split_whitespace().eq(["0", "0", "4294967295"]);
    testkit::is_root() && whole && commands::which("apt-get").is_some()
}

/// Sees to it that all of `needs` are met.
///
/// # Errors
///
/// Names what is missing, and how to get it.
pub(crate) fn provide(needs: &[Need]) -> Outcome {
    let missing: Vec<&Need> = needs.iter().filter(|need| !need.is_met()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    packages.dedup();
    let would_start = Path::new("/run/systemd/system").exists()
        && packages.iter().any(|package| SERVICES.contains(package));
    if can_install()
        && !would_start
        && install(&packages).is_ok()
        && missing.iter().all(|need| need.is_met())
    {
        return Ok(());
    }
    let list: Vec<String> = missing
        .iter()
        .filter(|need| !need.is_met())
        .map(|need| {
            format!(
                "  {} (Debian package {}): {}",
                need.what, need.package, need.why
            )
        })
        .collect();
    Err(format!(
        "missing on this machine:\n{}\ninstall with: sudo apt-get install {}",
        list.join("\n"),
        packages.join(" ")
    ))
}

/// Installs Debian packages, saying so.
pub(crate) fn install(packages: &[&str]) -> Outcome {
    println!("installing with apt-get: {}", packages.join(" "));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-qq", "-o", "Dpkg::Use-Pty=0"])
            .args(arguments);
        commands::read(&mut command).map(drop)
    };
    let arguments: Vec<&str> = ["install", "-y", "--no-install-recommends"]
        .into_iter()
        .chain(packages.iter().copied())
        .collect();
    // A fresh machine has no or old package lists: the first try may fail for that alone.
    apt(&arguments).or_else(|_| apt(&["update"]).and_then(|()| apt(&arguments)))
}
