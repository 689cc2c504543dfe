//! Sysctls: resolution of keys, changes and their undo.

use crate::others::Others;
use anyhow::{Context, anyhow, bail};
use cni_core::errno;
use cni_core::quote::quote;
use plugin_kit::{detailed, sysctl};
use std::fs;
use std::io;

/// Placeholder of the interface name in keys.
pub(crate) const IFNAME: &str = "IFNAME";

/// A configured sysctl.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// The key as written in the configuration.
    pub key: String,
    /// The value to write.
    pub value: String,
    /// Paths below `/proc/sys` that the key may mean, in order of preference.
    readings: Vec<String>,
}

/// Paths below `/proc/sys` with their values.
pub(crate) type Values = Vec<(String, String)>;

/// A sysctl to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The key as written in the configuration.
    pub(crate) key: String,
    /// Path below `/proc/sys`.
    pub(crate) path: String,
    /// The value before; `None` for write-only sysctls.
    pub(crate) was: Option<String>,
    /// The value to set.
    pub(crate) value: String,
}

impl Sysctl {
    /// Resolves `key`, in which the first `IFNAME` is replaced by `if_name`.
    ///
    /// `sysctl(8)` uses the first dot or slash as the separator, and the other character
    /// for a dot in a name. Upstream uses both as separators. The first reading is
    /// preferred; the second keeps existing configurations working.
    ///
    /// # Errors
    /// When the key is not below `net`: all other sysctls belong to the host.
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
            // `..` would leave the directory `net`.
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

    /// Whether both keys mean the same sysctl.
    pub fn is_same(&self, other: &Sysctl) -> bool {
        self.readings.first() == other.readings.first()
    }

    /// The path below `/proc/sys` of the key in the calling thread's namespace.
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

    /// Checks that the sysctl exists in the calling thread's namespace, whose only interface
    /// is `lo`: it stands for all interfaces, of which each has the same sysctls.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn probe(&self) -> anyhow::Result<()> {
        let exists = |reading: &String| {
            let mut parts: Vec<&str> = reading.split('/').collect();
            if let [_, _, "conf" | "neigh", interface, _] = parts.as_mut_slice()
                && !matches!(*interface, "all" | "default")
            {
                *interface = "lo";
            }
            let file = fs::metadata(format!("/proc/sys/{}", parts.join("/")));
            file.is_ok_and(|file| file.is_file())
        };
        match self.readings.iter().any(exists) {
            true => Ok(()),
            false => bail!("{}: no such sysctl", self.what()),
        }
    }

    fn what(&self) -> String {
        format!("failed to set sysctl {}", quote(&self.key))
    }

    /// The change to make in the calling thread's namespace; `None` if the sysctl has the
    /// value already, and not because of one of the `others`.
    ///
    /// # Errors
    /// When the sysctl does not exist.
    pub(crate) fn change(&self, others: &Others) -> anyhow::Result<Option<Change>> {
        let path = self.path()?;
        let was = sysctl::get(path).ok();
        let has_value = was.as_deref().is_some_and(|was| same(was, &self.value));
        if has_value && !others.have(path) {
            return Ok(None);
        }
        Ok(Some(Change {
            key: self.key.clone(),
            path: path.to_owned(),
            was,
            value: self.value.clone(),
        }))
    }

    /// Checks the value in the calling thread's namespace. Write-only sysctls are skipped.
    ///
    /// # Errors
    /// When the value differs or the sysctl does not exist.
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
    /// Sets the value in the calling thread's namespace, unless it was that already.
    ///
    /// # Errors
    /// When the kernel refuses the value.
    pub(crate) fn apply(&self) -> anyhow::Result<()> {
        if self
            .was
            .as_deref()
            .is_some_and(|was| same(was, &self.value))
        {
            return Ok(());
        }
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

/// Restores a sysctl in the calling thread's namespace, if it exists.
///
/// # Errors
/// When the kernel refuses the value.
pub(crate) fn restore(path: &str, was: &str) -> anyhow::Result<()> {
    match sysctl::ensure(path, was) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(anyhow!("{}", errno::of(&e))
            .context(format!("failed to restore sysctl {path} to {}", quote(was)))),
        _ => Ok(()),
    }
}

/// Sysctls that the kernel changes together with those of `changes`, with their values in
/// the calling thread's namespace. Some keys of `all` set every interface, and restoring
/// `all` does not restore the interfaces.
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

/// Whether two values are equal apart from white space.
pub(crate) fn same(a: &str, b: &str) -> bool {
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
    fn keys_outside_of_net_are_refused() {
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
    fn values_are_compared_without_white_space() {
        assert!(same("4096\t16384\t4194304", "4096 16384  4194304"));
        assert!(!same("4096\t16384", "4096 16384 4194304"));
        assert!(same("", ""));
        assert!(!same("1", "11"));
    }

    proptest! {
        #[test]
        fn accepted_keys_are_below_net(key in "(net)?[./a-zIFNAME]{0,30}", name in "[a-z.]{1,15}") {
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
