//! Confinement of a process to what a call needs.
//!
//! [`crate::skel::main`] asks a plugin for the [`Needs`] of a call once the configuration
//! is read ([`crate::Plugin::needs`]), and gives up everything else before the verb runs:
//!
//! | the verb | capabilities | `no_new_privs` | Landlock |
//! |---|---|---|---|
//! | executes nothing | all others are dropped | set | limited to the files it names |
//! | executes programs ([`Needs::executing`]) | all others are made ineffective | no | no |
//!
//! Programs inherit both `no_new_privs` and Landlock, and a foreign IPAM plugin needs what
//! only its author knows. Capabilities stay *permitted* for their sake: a root process
//! that executes a program would get them all back, but a program that has more than its
//! parent loses the parent's death signal (`commit_creds`), by which it ends with the
//! plugin.
//!
//! Both are properties of a thread that its children inherit: [`Needs::confine`] must be
//! called before other threads exist.
//!
//! Nothing here is a reason to fail: what the kernel lacks or refuses is left out, and
//! logged (`CNI_LOG=debug`). `CNI_CONFINE=off` turns all of it off.

#[cfg(feature = "escape-attempts")]
mod attempts;
mod landlock;
mod sys;

#[cfg(feature = "escape-attempts")]
pub(crate) use attempts::run as attempt_escapes;

use crate::{Call, invoke};
use nix::sys::prctl::set_no_new_privs;
use std::path::PathBuf;

/// Environment variable that turns confinement off if its value is `off`.
const VARIABLE: &str = "CNI_CONFINE";

/// Environment variable of tests with a directory that the process may write in.
const TEST_DIRECTORY: &str = "CNI_TEST_WRITABLE";

/// A capability that a plugin may need (`capabilities(7)`); the values are the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Access files whatever their owner and mode, as where an administrator has given a
    /// configured directory to another user.
    DacOverride = 1,
    /// Open a file by its handle.
    DacReadSearch = 2,
    /// Signal processes of other users.
    Kill = 5,
    /// Bind ports below 1024.
    NetBindService = 10,
    /// Configure links, addresses, routes, packet filters, and sysctls of networks.
    NetAdmin = 12,
    /// Open packet sockets and raw sockets.
    NetRaw = 13,
    /// Open the namespaces of processes that have more capabilities.
    SysPtrace = 19,
    /// Enter network namespaces.
    SysAdmin = 21,
}

/// What may be done with a file, or the files of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    /// Write files that exist: sysctls and devices.
    Change,
    /// Write, create and remove.
    Write,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    path: PathBuf,
    access: Access,
}

/// What a verb needs of the system, besides its open descriptors and netlink.
#[must_use]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// A bit for each [`Capability`].
    capabilities: u32,
    rules: Vec<Rule>,
    executes: bool,
    opens_namespaces: bool,
}

impl Needs {
    /// Nothing.
    pub fn none() -> Needs {
        Needs::default()
    }

    /// Configuring networks in the host's and the container's namespace: `CAP_NET_ADMIN`,
    /// `CAP_SYS_ADMIN`, and the sysctls below `/proc/sys/net`.
    pub fn network() -> Needs {
        Needs::none()
            .capability(Capability::NetAdmin)
            .capability(Capability::SysAdmin)
            .rule("/proc/sys/net".into(), Access::Change)
    }

    /// Adds a capability.
    pub fn capability(mut self, capability: Capability) -> Needs {
        self.capabilities |= 1 << capability as u32;
        self
    }

    /// Adds reading a file, or the files below a directory.
    pub fn read(self, path: impl Into<PathBuf>) -> Needs {
        self.rule(path.into(), Access::Read)
    }

    /// Adds writing a device or another file that exists.
    pub fn change(self, path: impl Into<PathBuf>) -> Needs {
        self.rule(path.into(), Access::Change)
    }

    /// Adds reading, writing, creating and removing files below a directory. If it does
    /// not exist, this is allowed below the nearest one above it that does.
    pub fn write(self, directory: impl Into<PathBuf>) -> Needs {
        self.rule(directory.into(), Access::Write)
    }

    /// Adds executing programs. To find and execute them in directories of other users
    /// takes `CAP_DAC_OVERRIDE`, to kill one that has changed its user `CAP_KILL`.
    pub fn executing(mut self) -> Needs {
        self.executes = true;
        self.capability(Capability::DacOverride)
            .capability(Capability::Kill)
    }

    /// Adds opening network namespaces besides that of the call, which may be those of
    /// processes (`/proc/PID/ns/net`). Landlock knows no rule for that, so it is left out.
    pub fn opening_namespaces(mut self) -> Needs {
        self.opens_namespaces = true;
        self.capability(Capability::SysPtrace)
    }

    /// Adds the delegate `kind` of `call`: its own needs if it runs in this process, else
    /// executing it. `None` if it runs in this process and names no needs.
    #[must_use]
    pub fn delegating(self, call: &Call, kind: &str) -> Option<Needs> {
        match invoke::in_this_process(call, kind) {
            Some(plugin) => Some(self.and(plugin.needs(call)?)),
            None => Some(self.executing()),
        }
    }

    fn and(mut self, other: Needs) -> Needs {
        self.capabilities |= other.capabilities;
        self.executes |= other.executes;
        self.opens_namespaces |= other.opens_namespaces;
        for rule in other.rules {
            if !self.rules.contains(&rule) {
                self.rules.push(rule);
            }
        }
        self
    }

    fn rule(mut self, path: PathBuf, access: Access) -> Needs {
        self.rules.push(Rule { path, access });
        self
    }

    /// Confines the calling thread, and what it starts, to these needs, unless the
    /// environment has `CNI_CONFINE=off`.
    pub fn confine(self) {
        if is_off() {
            return;
        }
        let needs = self.of_test();
        if !needs.executes {
            log("no_new_privs", set_no_new_privs(), |()| String::new());
            if !needs.opens_namespaces {
                // Before capabilities are dropped, which may be needed to open the paths.
                let restricted = landlock::restrict(&needs.rules);
                log("Landlock", restricted, |version| {
                    format!(", version {version}")
                });
            }
        }
        let reduced = needs.reduce_capabilities();
        log("capabilities", reduced, |mask| {
            format!(": {mask:#x} is left")
        });
    }

    /// Adds the directory that a test names, in which the plugin counts its requests. In
    /// debug builds only.
    fn of_test(self) -> Needs {
        match std::env::var_os(TEST_DIRECTORY) {
            Some(directory) if cfg!(debug_assertions) => self.write(directory),
            _ => self,
        }
    }

    /// Returns the capabilities that are left, as a mask.
    fn reduce_capabilities(&self) -> nix::Result<u32> {
        let mut words = sys::capabilities()?;
        for (word, kept) in words.iter_mut().zip([self.capabilities, 0]) {
            word.effective &= kept;
            if !self.executes {
                word.permitted &= kept;
            }
        }
        sys::set_capabilities(&words)?;
        Ok(words[0].effective)
    }
}

/// Returns whether the environment turns confinement off.
pub(crate) fn is_off() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|value| value == "off")
}

fn log<T>(what: &str, outcome: nix::Result<T>, detail: impl Fn(T) -> String) {
    match outcome {
        Ok(done) => log::debug!("confined by {what}{}", detail(done)),
        Err(errno) => {
            let why = crate::errno::text(errno as i32);
            log::debug!("not confined by {what}: {why}");
        }
    }
}
