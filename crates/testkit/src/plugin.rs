//! Plugin binaries and how to call them.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::run::{Run, Running};
use crate::{Container, patience, run};

/// Where Debian's `containernetworking-plugins` (upstream v1.1.1) puts its binaries.
pub const PEER_DIR: &str = "/usr/lib/cni";

/// The directory of the plugin binaries under test.
///
/// `CNI_TEST_BIN_DIR` where set (`cargo xtask test` sets it), else the profile directory that the running
/// test was built into.
///
/// # Panics
///
/// When the test program's own path cannot be told.
pub fn bin_dir() -> PathBuf {
    if let Some(dir) = env::var_os("CNI_TEST_BIN_DIR") {
        return dir.into();
    }
    let exe = env::current_exe().expect("path of the running test");
    let dir = exe.parent().expect("a program lies in a directory");
    // target/<profile>/deps/<test>-<hash>
    if dir.ends_with("deps") {
        dir.parent()
            .expect("deps lies in a profile directory")
            .into()
    } else {
        dir.into()
    }
}

/// The directory of another implementation's binaries, for interop tests: `CNI_TEST_PEER_DIR` where set, else
/// [`PEER_DIR`].
///
/// # Panics
///
/// When it is missing: interop that was not tested is a failure, not a skip.
#[track_caller]
pub fn peer_dir() -> PathBuf {
    let dir =
        env::var_os("CNI_TEST_PEER_DIR").map_or_else(|| PathBuf::from(PEER_DIR), PathBuf::from);
    assert!(
        dir.is_dir(),
        "{}: no such directory; interop tests need Debian's package containernetworking-plugins \
         (apt-get install containernetworking-plugins) or CNI_TEST_PEER_DIR",
        dir.display()
    );
    dir
}

/// A plugin binary.
#[derive(Clone, Debug)]
pub struct Plugin {
    program: PathBuf,
    path: PathBuf,
}

impl Plugin {
    /// The plugin of this name among the binaries under test ([`bin_dir`]).
    ///
    /// # Panics
    ///
    /// When it has not been built.
    #[track_caller]
    pub fn new(name: &str) -> Plugin {
        Plugin::in_dir(bin_dir(), name)
    }

    /// The peer's plugin of this name ([`peer_dir`]); its delegates are the peer's too.
    ///
    /// # Panics
    ///
    /// When it is missing.
    #[track_caller]
    pub fn peer(name: &str) -> Plugin {
        Plugin::in_dir(peer_dir(), name)
    }

    /// The plugin of this name in `dir`, which becomes its `CNI_PATH` too.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[track_caller]
    pub fn in_dir(dir: impl Into<PathBuf>, name: &str) -> Plugin {
        let path = dir.into();
        let program = path.join(name);
        assert!(
            program.is_file(),
            "{}: no such plugin; build all of them first: cargo build --workspace --bins",
            program.display()
        );
        Plugin { program, path }
    }

    /// The binary's path.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// A call of any verb (`""` for none), to be completed and run. Environment so far: `CNI_COMMAND`,
    /// `CNI_PATH` (the plugin's directory) and `PATH`; nothing else is inherited.
    pub fn command(&self, verb: &str) -> Invocation {
        let mut env = BTreeMap::new();
        env.insert(
            "PATH".into(),
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
        );
        env.insert("CNI_COMMAND".into(), verb.into());
        env.insert("CNI_PATH".into(), self.path.clone().into());
        Invocation {
            program: self.program.clone(),
            env,
            stdin: Vec::new(),
            deadline: Duration::from_secs(30) * patience(),
        }
    }

    /// Runs ADD of `eth0` in the container.
    #[track_caller]
    pub fn add(&self, container: &Container, config: &Value) -> Run {
        self.command("ADD")
            .container(container)
            .config(config)
            .run()
    }

    /// Runs DEL of `eth0` in the container.
    #[track_caller]
    pub fn del(&self, container: &Container, config: &Value) -> Run {
        self.command("DEL")
            .container(container)
            .config(config)
            .run()
    }

    /// Runs CHECK of `eth0` in the container; `config` must hold a `prevResult`, see [`with_prev`](Run::with_prev).
    #[track_caller]
    pub fn check(&self, container: &Container, config: &Value) -> Run {
        self.command("CHECK")
            .container(container)
            .config(config)
            .run()
    }

    /// Runs GC; the attachments to keep are in `config`'s `cni.dev/valid-attachments`.
    #[track_caller]
    pub fn gc(&self, config: &Value) -> Run {
        self.command("GC").config(config).run()
    }

    /// Runs STATUS.
    #[track_caller]
    pub fn status(&self, config: &Value) -> Run {
        self.command("STATUS").config(config).run()
    }

    /// Runs VERSION.
    #[track_caller]
    pub fn version(&self) -> Run {
        self.command("VERSION")
            .stdin(r#"{"cniVersion":"1.1.0"}"#)
            .run()
    }
}

/// One call of a plugin, built step by step.
#[derive(Clone, Debug)]
pub struct Invocation {
    pub(crate) program: PathBuf,
    pub(crate) env: BTreeMap<OsString, OsString>,
    pub(crate) stdin: Vec<u8>,
    pub(crate) deadline: Duration,
}

impl Invocation {
    /// Sets `CNI_CONTAINERID`, `CNI_NETNS`, and `CNI_IFNAME` to `eth0` unless it is set already.
    pub fn container(mut self, container: &Container) -> Self {
        self.env
            .entry("CNI_IFNAME".into())
            .or_insert_with(|| "eth0".into());
        self.env("CNI_CONTAINERID", container.id())
            .env("CNI_NETNS", container.netns())
    }

    /// Sets `CNI_CONTAINERID`.
    pub fn id(self, id: &str) -> Self {
        self.env("CNI_CONTAINERID", id)
    }

    /// Sets `CNI_NETNS`.
    pub fn netns(self, path: impl AsRef<OsStr>) -> Self {
        self.env("CNI_NETNS", path)
    }

    /// Sets `CNI_IFNAME`.
    pub fn ifname(self, name: &str) -> Self {
        self.env("CNI_IFNAME", name)
    }

    /// Sets `CNI_ARGS`, for example `IgnoreUnknown=1;IP=10.0.0.9`.
    pub fn args(self, args: &str) -> Self {
        self.env("CNI_ARGS", args)
    }

    /// Sets `CNI_PATH`, the directories where delegates are looked for, colon-separated.
    pub fn path(self, path: impl AsRef<OsStr>) -> Self {
        self.env("CNI_PATH", path)
    }

    /// Sets any environment variable.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.insert(key.as_ref().into(), value.as_ref().into());
        self
    }

    /// Removes an environment variable.
    pub fn without_env(mut self, key: impl AsRef<OsStr>) -> Self {
        self.env.remove(key.as_ref());
        self
    }

    /// The configuration on standard input.
    pub fn config(mut self, config: &Value) -> Self {
        self.stdin = config.to_string().into_bytes();
        self
    }

    /// Any bytes on standard input, for what is not a configuration.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// How long the plugin may take until it is killed and the test fails; 30 seconds unless told, [`patience`] times that.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Starts the plugin without waiting for it.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[track_caller]
    pub fn start(self) -> Running {
        run::start(self)
    }

    /// Runs the plugin to its end.
    ///
    /// # Panics
    ///
    /// When it cannot be started or misses its deadline; a failing plugin is an ordinary [`Run`].
    #[track_caller]
    pub fn run(self) -> Run {
        self.start().wait()
    }
}
