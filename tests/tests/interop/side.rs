//! The two implementations.

use std::path::PathBuf;
use std::sync::OnceLock;

use serde_json::Value;
use testkit::{Container, Invocation, Plugin, Run, bin_dir, peer_dir};

/// An implementation of all plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The binaries under test.
    Ours,
    /// Upstream's.
    Peer,
}

pub(crate) const BOTH: [Side; 2] = [Side::Ours, Side::Peer];

impl Side {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Side::Ours => "ours",
            Side::Peer => "the peer",
        }
    }

    /// The directory of its plugins.
    pub(crate) fn dir(self) -> PathBuf {
        match self {
            Side::Ours => bin_dir(),
            Side::Peer => peer_dir(),
        }
    }

    #[track_caller]
    pub(crate) fn plugin(self, name: &str) -> Plugin {
        Plugin::in_dir(self.dir(), name)
    }

    /// A call for `eth0` of the container; delegates are of the same side.
    #[track_caller]
    pub(crate) fn call(
        self,
        plugin: &str,
        verb: &str,
        container: &Container,
        config: &Value,
    ) -> Invocation {
        let call = self.plugin(plugin).command(verb);
        call.container(container).config(config)
    }

    #[track_caller]
    pub(crate) fn run(
        self,
        plugin: &str,
        verb: &str,
        container: &Container,
        config: &Value,
    ) -> Run {
        self.call(plugin, verb, container, config).run()
    }
}

/// Whether the peer supports version 1.1.0 of the specification, as upstream's releases from 1.6 on.
pub(crate) fn peer_is_new() -> bool {
    static NEW: OnceLock<bool> = OnceLock::new();
    *NEW.get_or_init(|| {
        let reply = Side::Peer.plugin("bridge").version().expect_ok().json();
        let versions = reply["supportedVersions"].as_array();
        versions.is_some_and(|versions| versions.iter().any(|version| version == "1.1.0"))
    })
}
