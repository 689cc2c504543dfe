//! Plugin binaries and their calls.

use std::env;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Container;
use crate::run::{Invocation, Run};

/// The directory of the binaries of Debian's `containernetworking-plugins` (upstream v1.1.1).
pub const PEER_DIR: &str = "/usr/lib/cni";

/// The directory of the plugin binaries under test.
///
/// `CNI_TEST_BIN_DIR` if set (`cargo xtask test` sets it), else the profile directory of the running test.
///
/// # Panics
///
/// When the path of the test program is unknown.
pub fn bin_dir() -> PathBuf {
    if let Some(dir) = env::var_os("CNI_TEST_BIN_DIR") {
        return dir.into();
    }
    let exe = env::current_exe().expect("path of the running test");
    let dir = exe.parent().expect("a program is in a directory");
    // target/<profile>/deps/<test>-<hash>
    if dir.ends_with("deps") {
        dir.parent().expect("deps is in a profile directory").into()
    } else {
        dir.into()
    }
}

/// The directory of another implementation's binaries, for interop tests: `CNI_TEST_PEER_DIR` if set, else
/// [`PEER_DIR`].
///
/// # Panics
///
/// When it is missing: an interop test must not be skipped.
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

/// Returns a call, not yet started, of a program among the binaries under test that is not a plugin: `cnitool`. Its
/// environment contains `CNI_PATH` (the plugins' directory) and `PATH`.
///
/// # Panics
///
/// When it has not been built.
#[track_caller]
pub fn tool(name: &str) -> Invocation {
    let dir = bin_dir();
    let beside = dir.join(name);
    // A directory of release binaries has plugins only.
    let program = match beside.is_file() {
        true => beside,
        false => dir.join("tools").join(name),
    };
    assert!(
        program.is_file(),
        "{}: no such program; build it first: cargo build --workspace --bins",
        program.display()
    );
    Invocation::new(&program)
        .env("PATH", SEARCH_PATH)
        .env("CNI_PATH", dir)
}

/// `PATH` of the programs under test.
pub const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A plugin binary.
#[derive(Clone, Debug)]
pub struct Plugin {
    program: PathBuf,
    path: PathBuf,
}

impl Plugin {
    /// The plugin `name` among the binaries under test ([`bin_dir`]).
    ///
    /// # Panics
    ///
    /// When it has not been built.
    #[track_caller]
    pub fn new(name: &str) -> Plugin {
        Plugin::in_dir(bin_dir(), name)
    }

    /// The peer's plugin `name` ([`peer_dir`]); its delegates are also the peer's.
    ///
    /// # Panics
    ///
    /// When it is missing.
    #[track_caller]
    pub fn peer(name: &str) -> Plugin {
        Plugin::in_dir(peer_dir(), name)
    }

    /// The plugin `name` in `dir`, which also becomes its `CNI_PATH`.
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

    /// Returns a call of a verb (`""` for none), not yet started. Its environment contains `CNI_COMMAND`, `CNI_PATH`
    /// (the plugin's directory) and `PATH`; nothing else is inherited.
    pub fn command(&self, verb: &str) -> Invocation {
        Invocation::new(&self.program)
            .env("PATH", SEARCH_PATH)
            .env("CNI_COMMAND", verb)
            .env("CNI_PATH", &self.path)
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

    /// Runs CHECK of `eth0` in the container; `config` must contain a `prevResult`, see [`with_prev`](Run::with_prev).
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
