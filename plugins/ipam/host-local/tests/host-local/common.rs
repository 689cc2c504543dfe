//! Helpers of the black-box tests: a network with a state directory of its own.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testkit::{Invocation, Plugin, Run};

/// A network named `net` with a state directory of its own.
pub(crate) struct Net {
    _parent: tempfile::TempDir,
    /// `dataDir`.
    pub(crate) data_dir: PathBuf,
    /// The configuration.
    pub(crate) conf: Value,
}

/// Returns the plugin under test.
pub(crate) fn ours() -> Plugin {
    Plugin::new("host-local")
}

/// Returns upstream's plugin, from Debian's package.
pub(crate) fn peer() -> Plugin {
    Plugin::peer("host-local")
}

/// Returns a call for `eth0` of container `id`. The plugin does not open the namespace.
pub(crate) fn call(plugin: &Plugin, verb: &str, id: &str, conf: &Value) -> Invocation {
    plugin
        .command(verb)
        .id(id)
        .netns("/run/netns/nowhere")
        .ifname("eth0")
        .config(conf)
}

impl Net {
    /// Returns a network with this `ipam` and the newest version.
    pub(crate) fn new(ipam: Value) -> Net {
        Net::of_version("1.1.0", ipam)
    }

    /// Returns a network with this `ipam` and version.
    pub(crate) fn of_version(version: &str, mut ipam: Value) -> Net {
        let parent = tempfile::tempdir().expect("temporary directory");
        let data_dir = parent.path().join("networks");
        ipam["type"] = "host-local".into();
        ipam["dataDir"] = data_dir.to_str().into();
        let conf = json!({"cniVersion": version, "name": "net", "type": "any", "ipam": ipam});
        Net {
            _parent: parent,
            data_dir,
            conf,
        }
    }

    /// Returns the network's directory.
    pub(crate) fn dir(&self) -> PathBuf {
        self.data_dir.join("net")
    }

    /// Runs the plugin for `eth0` of container `id`.
    pub(crate) fn run(&self, verb: &str, id: &str) -> Run {
        call(&ours(), verb, id, &self.conf).run()
    }

    /// Runs ADD for container `id` and returns its addresses without prefix lengths.
    #[track_caller]
    pub(crate) fn add(&self, id: &str) -> Vec<String> {
        addresses(&self.run("ADD", id).expect_ok().json())
    }

    /// Runs ADD for container `id`, which must fail, and returns the text of its error.
    #[track_caller]
    pub(crate) fn add_error(&self, id: &str) -> String {
        self.run("ADD", id).expect_error(999).text()
    }

    /// Runs DEL for container `id`.
    #[track_caller]
    pub(crate) fn del(&self, id: &str) {
        self.run("DEL", id).expect_ok();
    }

    /// Writes a file into the network's directory, as another program would.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::create_dir_all(self.dir()).expect("network's directory");
        fs::write(self.dir().join(name), content).expect("foreign file");
    }

    /// Returns the names of all files in the network's directory.
    pub(crate) fn files(&self) -> BTreeSet<String> {
        files(&self.dir())
    }

    /// Returns the reserved addresses.
    pub(crate) fn reserved(&self) -> BTreeSet<IpAddr> {
        self.files()
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect()
    }
}

/// Returns the names of all files in a directory; none if it does not exist.
pub(crate) fn files(dir: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return BTreeSet::new();
    };
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Returns the addresses of a result, without prefix lengths.
pub(crate) fn addresses(result: &Value) -> Vec<String> {
    let ips = result["ips"].as_array().cloned().unwrap_or_default();
    let address = |ip: &Value| {
        ip["address"]
            .as_str()
            .unwrap()
            .split('/')
            .next()
            .unwrap()
            .to_owned()
    };
    ips.iter().map(address).collect()
}
