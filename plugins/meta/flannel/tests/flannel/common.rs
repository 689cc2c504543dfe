//! What the tests share: configurations, and what the daemon would have written.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use testkit::{Host, Plugin, merge};

/// The daemon's file, and where the state is.
pub(crate) const SUBNET_FILE: &str = "/run/flannel/subnet.env";
pub(crate) const STATE: &str = "/var/lib/cni/flannel";

pub(crate) const IPV4: &str = "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.17.1/24\n\
                               FLANNEL_MTU=1472\nFLANNEL_IPMASQ=true\n";
pub(crate) const DUAL: &str = "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.17.1/24\n\
                               FLANNEL_IPV6_NETWORK=fd00:1::/48\n\
                               FLANNEL_IPV6_SUBNET=fd00:1:0:17::1/64\n\
                               FLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";

/// The plugin under test.
pub(crate) fn flannel() -> Plugin {
    Plugin::new("flannel")
}

/// The network `net` with the keys of `extra` added.
pub(crate) fn config(extra: Value) -> Value {
    let base = json!({"cniVersion": "1.1.0", "name": "net", "type": "flannel"});
    merge(base, &extra)
}

/// A host on which the daemon has written `subnets`.
pub(crate) fn host(subnets: &str) -> Host {
    let host = Host::new();
    lease(subnets);
    host
}

/// What the daemon does.
#[track_caller]
pub(crate) fn lease(subnets: &str) {
    fs::create_dir_all(Path::new(SUBNET_FILE).parent().expect("a directory"))
        .expect("its directory");
    fs::write(SUBNET_FILE, subnets).expect("the daemon's file");
}

/// The names of the files of state, sorted.
pub(crate) fn states() -> Vec<String> {
    let files = fs::read_dir(STATE).into_iter().flatten().flatten();
    let mut names: Vec<String> = files
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Writes what upstream would have.
#[track_caller]
pub(crate) fn write_state(name: &str, text: &str) {
    fs::create_dir_all(STATE).expect("the directory of the state");
    fs::write(Path::new(STATE).join(name), text).expect("a file of state");
}

/// Reads a file of state.
#[track_caller]
pub(crate) fn read_state(name: &str) -> String {
    fs::read_to_string(Path::new(STATE).join(name)).expect("a file of state")
}
