//! Loading kernel modules as modprobe(8) does, from where Debian has those of User Mode Linux.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

use crate::Outcome;

/// The name by which this program is modprobe.
pub(super) const NAME: &str = "modprobe";

/// Tells the kernel to ask the `modprobe` in this directory whenever it misses something.
pub(super) fn autoload(dir: &Path) -> Outcome {
    let path = dir.join(NAME).display().to_string();
    fs::write("/proc/sys/kernel/modprobe", path).map_err(|err| format!("kernel.modprobe: {err}"))
}

/// The kernel's call: `modprobe -q -- NAME`, where NAME is a module's or an alias.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let name = arguments.iter().find(|argument| !argument.starts_with('-'));
    match name.map_or(Ok(()), |name| load(name)) {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads it: the kernel looks again whether it has what it asked for.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Loads a module and those that it depends on.
///
/// # Errors
///
/// When one is missing, or the kernel does not take it.
pub(super) fn load(name: &str) -> Outcome {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let dir = PathBuf::from("/usr/lib/uml/modules").join(release.trim());
    let read = |file: &str| {
        let path = dir.join(file);
        fs::read_to_string(&path).map_err(|err| format!("{}: {err}", path.display()))
    };
    let (dependencies, aliases) = (read("modules.dep")?, read("modules.alias")?);
    let modules = Modules::new(&dependencies, &aliases);
    let files = modules.find(name);
    if files.is_empty() {
        return Err(format!("no module {name} in {}", dir.display()));
    }
    let command_line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    for file in files {
        insert(&dir.join(file), &parameters(file, &command_line))?;
    }
    Ok(())
}

/// The parameters of a module on the kernel's command line: `disable=1` of `ipv6.disable=1` for `ipv6.ko`.
fn parameters(file: &str, command_line: &str) -> String {
    let name = module_name(file).unwrap_or_default();
    let words = command_line.split_whitespace();
    let own = words.filter_map(|word| {
        let (module, parameter) = word.split_once('.')?;
        (normal(module) == name).then_some(parameter)
    });
    own.collect::<Vec<_>>().join(" ")
}

fn insert(path: &Path, parameters: &str) -> Outcome {
    let fail = |why: &dyn std::fmt::Display| format!("load {}: {why}", path.display());
    let file = File::open(path).map_err(|err| fail(&err))?;
    let parameters = CString::new(parameters).map_err(|err| fail(&err))?;
    match finit_module(&file, &parameters, ModuleInitFlags::empty()) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(err) => Err(fail(&err)),
    }
}

/// What depmod(8) found out of the modules.
struct Modules<'a> {
    /// The modules by name: file, and the files it needs, the last first.
    files: BTreeMap<String, Vec<&'a str>>,
    aliases: Vec<(String, &'a str)>,
}

/// Names are the same whether written with dashes or underscores.
fn normal(name: &str) -> String {
    name.replace('-', "_")
}

/// `ip_b` of `kernel/a/ip-b.ko.xz`.
fn module_name(file: &str) -> Option<String> {
    file.rsplit('/').next()?.split('.').next().map(normal)
}

impl<'a> Modules<'a> {
    /// Reads `modules.dep` and `modules.alias`.
    fn new(dependencies: &'a str, aliases: &'a str) -> Modules<'a> {
        let files = dependencies.lines().filter_map(|line| {
            let (file, needs) = line.split_once(':')?;
            let files = std::iter::once(file).chain(needs.split_whitespace());
            Some((module_name(file)?, files.collect()))
        });
        let aliases = aliases.lines().filter_map(|line| {
            let mut words = line.strip_prefix("alias ")?.split_whitespace();
            Some((normal(words.next()?), words.next()?))
        });
        Modules {
            files: files.collect(),
            aliases: aliases.collect(),
        }
    }

    /// The files to load for `name`, in the order to load them. Empty if there are none.
    fn find(&self, name: &str) -> Vec<&'a str> {
        let name = normal(name);
        // Patterns are for devices on buses, of which this machine has none.
        let aliased = self.aliases.iter().filter(|(alias, _)| *alias == name);
        let modules: Vec<String> = if self.files.contains_key(&name) {
            vec![name]
        } else {
            aliased.map(|(_, module)| normal(module)).collect()
        };
        let files = modules.iter().filter_map(|module| self.files.get(module));
        files
            .flat_map(|files| files.iter().rev().copied())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/net/8021q/8021q.ko: kernel/net/802/garp.ko kernel/net/llc/llc.ko\n\
                       kernel/net/llc/llc.ko:\nkernel/net/802/garp.ko: kernel/net/llc/llc.ko\n\
                       kernel/a/ip_b.ko.xz:\nkernel/a/c.ko:\n";
    const ALIAS: &str =
        "# comment\nalias rtnl-link-vlan 8021q\nalias nft-expr-x c\nalias nft_expr-x ip-b\n";

    #[test]
    fn modules_are_found_by_name_and_alias_with_what_they_need() {
        let modules = Modules::new(DEP, ALIAS);
        let vlan = [
            "kernel/net/llc/llc.ko",
            "kernel/net/802/garp.ko",
            "kernel/net/8021q/8021q.ko",
        ];
        assert_eq!(modules.find("8021q"), vlan);
        assert_eq!(modules.find("rtnl-link-vlan"), vlan);
        assert_eq!(modules.find("rtnl_link_vlan"), vlan);
        assert_eq!(
            modules.find("nft-expr-x"),
            ["kernel/a/c.ko", "kernel/a/ip_b.ko.xz"]
        );
        assert_eq!(modules.find("ip-b"), ["kernel/a/ip_b.ko.xz"]);
        assert_eq!(modules.find("netdev-eth7"), [""; 0]);
    }

    #[test]
    fn parameters_come_from_the_command_line() {
        let line = "root=/dev/root ipv6.disable=1 quiet ip-b.x=2 ip_b.y=3\n";
        for (file, expected) in [
            ("kernel/net/ipv6/ipv6.ko", "disable=1"),
            ("kernel/a/ip_b.ko.xz", "x=2 y=3"),
            ("kernel/a/root.ko", ""),
        ] {
            assert_eq!(parameters(file, line), expected, "{file}");
        }
    }
}
