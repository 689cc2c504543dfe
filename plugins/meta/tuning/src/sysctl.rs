//! Sysctls: which file is meant, and changing it so that the change can be undone.

use anyhow::{Context, anyhow, bail};
use cni_core::errno;
use cni_core::quote::quote;
use plugin_kit::{detailed, sysctl};
use std::fs;
use std::io;

/// In a key, the name of the container's interface.
const IFNAME: &str = "IFNAME";

/// A sysctl that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// The key as it is written.
    pub key: String,
    /// The value to write.
    pub value: String,
    /// Paths below `/proc/sys` that the key may mean, the likeliest first.
    readings: Vec<String>,
}

/// Paths below `/proc/sys` with the values there.
pub(crate) type Values = Vec<(String, String)>;

/// A sysctl of the kernel, and what is to become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The key as it is written in the configuration.
    pub(crate) key: String,
    /// Path below `/proc/sys`.
    pub(crate) path: String,
    /// The value before; `None` for those that can only be written.
    pub(crate) was: Option<String>,
    /// The value after.
    pub(crate) value: String,
}

impl Sysctl {
    /// Reads `key`, in which the first `IFNAME` stands for `if_name`.
    ///
    /// `sysctl(8)` takes the first separator, dot or slash, for the separator, and the
    /// other for a dot in a name. Upstream takes both for separators. What the former
    /// finds is what is meant, and what only the latter finds must go on working.
    ///
    /// # Errors
    /// When the key is none of the network: everything below `net` is the container's
    /// own, everything else the host's.
    pub fn new(key: String, value: String, if_name: &str) -> anyhow::Result<Sysctl> {
        let expand = |path: String| path.replacen(IFNAME, if_name, 1);
        let both = expand(key.replace('.', "/"));
        let swap = |c: char| match c {
            '.' => '/',
            '/' => '.',
            c => c,
        };
        let first = match key.find(['.', '/']).map(|at| &key[at..=at]) {
            Some(".") => expand(key.chars().map(swap).collect()),
            _ => expand(key.clone()),
        };
        let mut readings: Vec<String> = Vec::new();
        for reading in [&first, &both] {
            let parts: Vec<&str> = reading.split('/').filter(|p| !p.is_empty()).collect();
            // A way up leads out of what is the container's.
            let climbs = parts.iter().any(|part| matches!(*part, "." | ".."));
            if parts.len() < 2 || parts[0] != "net" || climbs || reading.contains('\0') {
                return Err(detailed(
                    format!("invalid net sysctl key: {}", quote(&both)),
                    "only sysctls below net belong to the container",
                ));
            }
            let path = parts.join("/");
            if !readings.contains(&path) {
                readings.push(path);
            }
        }
        Ok(Sysctl {
            key,
            value,
            readings,
        })
    }

    /// Whether both name one sysctl.
    pub fn is_same(&self, other: &Sysctl) -> bool {
        self.readings.first() == other.readings.first()
    }

    /// The path below `/proc/sys` that the key means, in the calling thread's namespace.
    fn path(&self) -> anyhow::Result<&str> {
        let mut why = None;
        for reading in &self.readings {
            match fs::metadata(format!("/proc/sys/{reading}")) {
                Ok(file) if file.is_file() => return Ok(reading),
                Ok(_) => why = Some("is a directory".to_owned()),
                Err(e) => why = why.or(Some(errno::of(&e))),
            }
        }
        Err(anyhow!("{}", why.unwrap_or_default())).with_context(|| self.what())
    }

    fn what(&self) -> String {
        format!("failed to set sysctl {}", quote(&self.key))
    }

    /// What has to be done in the calling thread's namespace; `None` when the value is
    /// there already.
    ///
    /// # Errors
    /// When there is no such sysctl.
    pub(crate) fn change(&self) -> anyhow::Result<Option<Change>> {
        let path = self.path()?;
        let was = sysctl::get(path).ok();
        if was.as_deref().is_some_and(|was| same(was, &self.value)) {
            return Ok(None);
        }
        Ok(Some(Change {
            key: self.key.clone(),
            path: path.to_owned(),
            was,
            value: self.value.clone(),
        }))
    }

    /// Compares with the calling thread's namespace. What can only be written cannot be
    /// compared.
    ///
    /// # Errors
    /// When the value is another one, or there is no such sysctl.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let path = self.path()?;
        match sysctl::get(path) {
            Ok(present) if same(&present, &self.value) => Ok(()),
            Ok(present) => bail!(
                "Error: Tuning configured value of /proc/sys/{path} is {}, current value is {present}",
                self.value
            ),
            Err(e) if matches!(e.kind(), io::ErrorKind::PermissionDenied) => Ok(()),
            Err(e) => bail!("cannot read /proc/sys/{path}: {}", errno::of(&e)),
        }
    }
}

impl Change {
    /// Makes the change, in the calling thread's namespace.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn apply(&self) -> anyhow::Result<()> {
        sysctl::ensure(&self.path, &self.value)
            .map_err(|e| anyhow!("{}", errno::of(&e)))
            .with_context(|| {
                format!(
                    "failed to set sysctl {} to {}",
                    quote(&self.key),
                    quote(&self.value)
                )
            })
    }
}

/// Gives a sysctl of the calling thread's namespace its value back. One that is gone,
/// with its interface, needs none.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn restore(path: &str, was: &str) -> anyhow::Result<()> {
    match sysctl::ensure(path, was) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(anyhow!("{}", errno::of(&e))
            .context(format!("failed to restore sysctl {path} to {}", quote(was)))),
        _ => Ok(()),
    }
}

/// Sysctls that the kernel changes along with those of `changes`, with their values,
/// in the calling thread's namespace. What `all` says of these counts for every
/// interface at once; and what each of them had is lost when `all` gets its value back.
pub(crate) fn dependants(changes: &[Change]) -> Values {
    let mut found = Vec::new();
    for change in changes {
        let (family, leaf) = match change.path.as_str() {
            "net/ipv4/ip_forward" | "net/ipv4/conf/all/forwarding" => ("ipv4", "forwarding"),
            path => match path.strip_prefix("net/ipv6/conf/all/") {
                Some(
                    leaf @ ("forwarding"
                    | "disable_ipv6"
                    | "ignore_routes_with_linkdown"
                    | "addr_gen_mode"),
                ) => ("ipv6", leaf),
                _ => continue,
            },
        };
        let conf = format!("net/{family}/conf");
        let interfaces = fs::read_dir(format!("/proc/sys/{conf}"));
        let interfaces = interfaces.into_iter().flatten().flatten();
        let mut paths: Vec<String> = interfaces
            .filter_map(|entry| entry.file_name().into_string().ok())
            .map(|name| format!("{conf}/{name}/{leaf}"))
            .collect();
        if family == "ipv4" {
            // A router takes no redirects; and the switch has two names.
            let more = ["net/ipv4/conf/all/accept_redirects", "net/ipv4/ip_forward"];
            paths.extend(more.map(String::from));
        }
        for path in paths {
            let asked_for = changes.iter().any(|change| change.path == path);
            if !asked_for && let Ok(value) = sysctl::get(&path) {
                found.push((path, value));
            }
        }
    }
    found
}

/// Values of several numbers are separated by any white space.
fn same(a: &str, b: &str) -> bool {
    a == b || a.split_whitespace().eq(b.split_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn readings(key: &str) -> Result<Vec<String>, String> {
        let sysctl = Sysctl::new(key.into(), "1".into(), "eth0.5");
        sysctl.map(|s| s.readings).map_err(|e| e.to_string())
    }

    #[test]
    fn dots_and_slashes() {
        for (key, expected) in [
            ("net.core.somaxconn", &["net/core/somaxconn"][..]),
            ("net/core/somaxconn", &["net/core/somaxconn"]),
            ("net//core/somaxconn/", &["net/core/somaxconn"]),
            (
                "net.ipv4.conf.IFNAME.arp_filter",
                &["net/ipv4/conf/eth0.5/arp_filter"],
            ),
            (
                "net/ipv4/conf/IFNAME/arp_filter",
                &["net/ipv4/conf/eth0.5/arp_filter"],
            ),
            (
                "net/ipv4/conf/eth1.7/arp_filter",
                &[
                    "net/ipv4/conf/eth1.7/arp_filter",
                    "net/ipv4/conf/eth1/7/arp_filter",
                ],
            ),
            (
                "net.ipv4.conf.eth1/7.arp_filter",
                &[
                    "net/ipv4/conf/eth1.7/arp_filter",
                    "net/ipv4/conf/eth1/7/arp_filter",
                ],
            ),
            (
                "net/ipv4.conf/all.forwarding",
                &[
                    "net/ipv4.conf/all.forwarding",
                    "net/ipv4/conf/all/forwarding",
                ],
            ),
        ] {
            let expected = expected.iter().map(|p| (*p).to_owned()).collect();
            assert_eq!(readings(key), Ok(expected), "{key}");
        }
    }

    #[test]
    fn nothing_of_the_hosts() {
        for key in [
            "",
            "net",
            "net.",
            "kernel.hostname",
            "/proc/sys/net/ipv4/ip_forward",
            "net/../kernel/hostname",
            "net/ipv4/../../kernel/hostname",
            "net.//.kernel.hostname",
            "net/./ipv4",
            "../net/ipv4/ip_forward",
            "network.x",
            "IFNAME.x",
            "fs/net/x",
            "net.ipv4.\0",
        ] {
            let error = readings(key).unwrap_err();
            assert!(error.starts_with("invalid net sysctl key: \""), "{error}");
        }
    }

    #[test]
    fn white_space_is_as_good_as_any() {
        assert!(same("4096\t16384\t4194304", "4096 16384  4194304"));
        assert!(!same("4096\t16384", "4096 16384 4194304"));
        assert!(same("", ""));
        assert!(!same("1", "11"));
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_below_net(key in "(net)?[./a-zIFNAME]{0,30}", name in "[a-z.]{1,15}") {
            prop_assume!(name != "." && name != "..");
            if let Ok(sysctl) = Sysctl::new(key, "1".into(), &name) {
                for path in sysctl.readings {
                    prop_assert!(path.starts_with("net/"));
                    prop_assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..")), "{}", path);
                }
            }
        }
    }
}
