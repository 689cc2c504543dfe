//! What the tests share: a host with network configurations.

// Each test program uses some of it.
#![allow(dead_code)]

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use testkit::{Container, Host, Invocation, Run, tool};

/// A host with a directory of network configurations, and cnitool.
pub(crate) struct Setup {
    pub(crate) host: Host,
    pub(crate) config_dir: PathBuf,
}

impl Setup {
    pub(crate) fn new() -> Setup {
        let host = Host::new();
        let config_dir = host.dir().join("net.d");
        fs::create_dir(&config_dir).expect("create the directory of configurations");
        Setup { host, config_dir }
    }

    /// A host with one list.
    pub(crate) fn with_list(list: &Value) -> Setup {
        let setup = Setup::new();
        setup.write("10-net.conflist", list);
        setup
    }

    /// Writes a configuration.
    pub(crate) fn write(&self, name: &str, content: &Value) {
        fs::write(self.config_dir.join(name), content.to_string()).expect("write a configuration");
    }

    /// A call of cnitool, not yet started.
    pub(crate) fn call(&self, arguments: &[&str]) -> Invocation {
        tool("cnitool")
            .env("NETCONFPATH", &self.config_dir)
            .arguments(arguments)
    }

    /// Runs cnitool.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.call(arguments).run()
    }

    /// Runs a command of upstream's for a container and the network `net`.
    #[track_caller]
    pub(crate) fn verb(&self, verb: &str, container: &Container) -> Run {
        self.run(&[verb, "net", path(container)])
    }
}

/// The path of a container's namespace.
pub(crate) fn path(container: &Container) -> &str {
    container.netns().to_str().expect("a path in UTF-8")
}
