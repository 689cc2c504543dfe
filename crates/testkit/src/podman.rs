//! Podman with the CNI backend.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::Host;

/// A Podman on a host of its own, with everything else that it needs below the host's directory.
pub struct Podman {
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
        // crun demands a file system that it knows there, even if it uses no control groups.
        host.mount_tmpfs("/sys/fs/cgroup", "mode=755");
        let podman = Podman { host };
        let config = podman.path(".config/containers");
        fs::create_dir_all(&config).expect("make a directory");
        let policy = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;
        fs::write(config.join("policy.json"), policy).expect("write a file");
        podman
    }

    /// The path of a file in the host's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.host.dir().join(name)
    }

    /// Runs `podman` with these arguments and returns its output. Its settings are those with which it works in a
    /// container.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> String {
        let settings = format!(
            "[containers]\ncgroups = \"disabled\"\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1000:1000\"]\n\
             [engine]\nruntime = \"crun\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\nlock_type = \"file\"\n\
             [network]\nnetwork_backend = \"cni\"\ncni_plugin_dirs = [\"{}\"]\nnetwork_config_dir = \"{}\"\n",
            self.path("bin").display(),
            self.path("net.d").display(),
        );
        let file = self.host.write("containers.conf", settings);
        let mut podman = Command::new("podman");
        podman
            .env("HOME", self.host.dir())
            .env("CONTAINERS_CONF", file)
            .args(["--storage-driver", "vfs", "--root"])
            .arg(self.path("storage"))
            .arg("--runroot")
            .arg(self.path("runroot"))
            .arg("--tmpdir")
            .arg(self.path("podman"))
            .args(arguments);
        let output = podman.output().expect("podman starts");
        assert!(
            output.status.success(),
            "podman {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).expect("text");
        text.trim().to_owned()
    }
}
