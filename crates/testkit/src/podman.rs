//! Podman with the CNI backend.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::plugin::SEARCH_PATH;
use crate::runtime::{IMAGE, Runtime, use_plugins};
use crate::{Container, Host, Invocation, bin_dir};

/// A Podman on a host of its own, with everything else that it needs below the host's directory.
///
/// Its processes and containers are in the namespaces of [`Podman::runtime`] and end with this value.
pub struct Podman {
    /// The namespaces.
    pub runtime: Runtime,
    /// The host.
    pub host: Host,
}

impl Podman {
    /// Returns a Podman without images, containers and networks. Its plugins are those in `bin` of the host's directory,
    /// which does not exist yet, and its networks in `net.d`.
    #[expect(clippy::new_without_default, reason = "it makes a host")]
    #[track_caller]
    pub fn new() -> Podman {
        let host = Host::new();
        let runtime = Runtime::podman(&host);
        let podman = Podman { runtime, host };
        let config = podman.path(".config/containers");
        fs::create_dir_all(&config).expect("make a directory");
        let policy = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;
        fs::write(config.join("policy.json"), policy).expect("write a file");
        // Without control groups: crun would load a program for devices, for which it may have to raise a limit.
        let settings = format!(
            "[containers]\ncgroups = \"disabled\"\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1000:1000\"]\n\
             [engine]\nruntime = \"crun\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\nlock_type = \"file\"\n\
             [network]\nnetwork_backend = \"cni\"\ncni_plugin_dirs = [\"{}\"]\nnetwork_config_dir = \"{}\"\n",
            podman.path("bin").display(),
            podman.path("net.d").display(),
        );
        podman.host.write("containers.conf", settings);
        podman
    }

    /// The same with the plugins under test and the image [`IMAGE`].
    #[track_caller]
    pub fn ready() -> Podman {
        let podman = Podman::new();
        fs::create_dir(podman.path("net.d")).expect("make a directory");
        use_plugins(&podman.host, &bin_dir());
        let layer = podman.runtime.layer().display().to_string();
        let command = r#"CMD ["/bin/busybox", "sleep", "86400"]"#;
        podman.run(&["import", "--quiet", "--change", command, &layer, IMAGE]);
        podman
    }

    /// The path of a file in the host's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.host.dir().join(name)
    }

    /// A call of `podman` with these arguments, not yet started. Its settings are those with which it works in a
    /// container.
    pub fn call(&self, arguments: &[&str]) -> Invocation {
        let storage = ["storage", "runroot", "podman"].map(|name| self.path(name));
        let [storage, runroot, tmpdir] = storage.map(|path| path.display().to_string());
        Invocation::new(Path::new("/usr/bin/podman"))
            .env("PATH", SEARCH_PATH)
            .env("HOME", self.host.dir())
            .env("CONTAINERS_CONF", self.path("containers.conf"))
            // Plugins leave waiting to orphans, which the runtime's first process reaps, as on a host.
            .env("CNI_DEFER", "always")
            .arguments(&["--storage-driver", "vfs", "--root", &storage])
            .arguments(&["--runroot", &runroot, "--tmpdir", &tmpdir])
            .arguments(arguments)
            // Podman executes a dozen programs, each of which waits for its turn on a busy machine.
            .deadline(Duration::from_secs(120))
            .inside(&self.runtime)
    }

    /// Runs `podman` with these arguments and returns its output.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> String {
        let run = self.call(arguments).run().expect_ok();
        run.stdout_text().trim().to_owned()
    }

    /// What `podman inspect` says about a container.
    ///
    /// # Panics
    ///
    /// When there is none of this name.
    #[track_caller]
    pub fn inspect(&self, name: &str) -> Value {
        self.call(&["container", "inspect", name])
            .run()
            .expect_ok()
            .json()[0]
            .take()
    }

    /// The network namespace of a container that runs.
    ///
    /// # Panics
    ///
    /// When it does not run.
    #[track_caller]
    pub fn container(&self, name: &str) -> Container {
        let about = self.inspect(name);
        let path = about["NetworkSettings"]["SandboxKey"].as_str();
        self.host.container_at(path.unwrap_or_default())
    }
}
