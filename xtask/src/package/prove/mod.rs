//! `cargo xtask prove-packages`: installs the packages from a signed repository into roots of their own, beside
//! upstream's and with a container running, upgrades and removes them.
//!
//! The roots are directories with a small Debian system. One is Debian's own with apt, the other is given to dnf and
//! rpm. Nothing on the machine is installed or changed, except programs that the proof requires.

mod apt;
mod dnf;
mod root;
mod watch;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::machine::{self, Need};
use crate::{build, commands, no_build, project};

const NEEDS: &[Need] = &[
    Need {
        what: "gpg",
        package: "gnupg",
        why: "makes a throw-away key",
    },
    Need {
        what: "mmdebstrap",
        package: "mmdebstrap",
        why: "makes a small Debian system in a directory",
    },
    Need {
        what: "/usr/share/keyrings/debian-archive-keyring.gpg",
        package: "debian-archive-keyring",
        why: "verifies the packages of Debian",
    },
    Need {
        what: "dnf",
        package: "dnf",
        why: "installs .rpm packages",
    },
    Need {
        what: "lintian",
        package: "lintian",
        why: "checks .deb packages",
    },
    Need {
        what: "rpmlint",
        package: "rpmlint",
        why: "checks .rpm packages",
    },
];

/// The builds that the proof pretends to have, the second one newer.
const VERSIONS: [&str; 2] = ["v90.0.1", "v90.0.2"];

/// The network of the container that runs meanwhile.
const NETWORK: &str = r#"{
    "cniVersion": "1.0.0",
    "name": "mynet",
    "type": "bridge",
    "bridge": "cni0",
    "isGateway": true,
    "ipMasq": true,
    "ipam": {
        "type": "host-local",
        "subnet": "10.22.0.0/16",
        "routes": [{ "dst": "0.0.0.0/0" }]
    }
}
"#;

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let no_build = no_build(arguments)?;
    machine::provide(NEEDS)?;
    build::provide(no_build)?;
    let dir = tempfile::Builder::new()
        .prefix("prove-packages-")
        .tempdir_in(project::target())
        .context("a directory for the proof")?;
    let repositories = Repositories::publish(dir.path())?;
    lint(&repositories)?;
    let image = root::image()?;
    apt::prove(&image, &repositories, dir.path())?;
    dnf::prove(&image, &repositories, dir.path())?;
    println!("\nall proofs succeeded");
    Ok(())
}

/// A repository after each of two publications.
struct Repositories {
    /// The packages of the first publication.
    packages: PathBuf,
    first: PathBuf,
    both: PathBuf,
}

impl Repositories {
    /// Publishes two versions with a throw-away key, through this program's own command line.
    fn publish(dir: &Path) -> Result<Repositories> {
        let key = Key::new(&dir.join("gnupg"))?;
        let [first, both] = ["first", "both"].map(|name| dir.join(name));
        let mut packages = Vec::new();
        for version in VERSIONS {
            println!("publishing {version}");
            let out = dir.join(version);
            let mut command = Command::new(std::env::current_exe()?);
            command
                .env("GNUPGHOME", &key.0)
                .env("CNI_BUILD_VERSION", version)
                .args(["packages", "--no-build", "--key", Key::NAME])
                .args(["--url", root::REPOSITORY_URL, "--out"])
                .arg(&out)
                .arg("--repository")
                .arg(&both);
            commands::read(&mut command)?;
            packages.push(out);
            if !first.exists() {
                commands::run(Command::new("cp").arg("-a").arg(&both).arg(&first))?;
            }
        }
        Ok(Repositories {
            packages: packages.swap_remove(0),
            first,
            both,
        })
    }
}

/// A directory of keys with one key without a passphrase.
struct Key(PathBuf);

impl Key {
    const NAME: &str = "throw-away@cni-plugins-rs.invalid";

    fn new(home: &Path) -> Result<Key> {
        fs::create_dir(home)
            .and_then(|()| fs::set_permissions(home, fs::Permissions::from_mode(0o700)))
            .with_context(|| home.display().to_string())?;
        let key = Key(home.to_path_buf());
        let mut command = Command::new("gpg");
        command
            .env("GNUPGHOME", home)
            .args(["--batch", "--quiet", "--passphrase", ""])
            .args([
                "--quick-generate-key",
                Key::NAME,
                "rsa3072",
                "sign",
                "never",
            ]);
        commands::read(&mut command)?;
        Ok(key)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // gpg leaves an agent in the background, which would hold the directory.
        let mut command = Command::new("gpgconf");
        let _ = commands::read(command.env("GNUPGHOME", &self.0).args(["--kill", "all"]));
    }
}

/// Checks the packages with the tools of both distributions. Each remark is an error.
fn lint(repositories: &Repositories) -> Result<()> {
    println!("checking with lintian and rpmlint");
    let files = |suffix: &str| -> Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(&repositories.packages)? {
            paths.push(entry?.path());
        }
        paths.retain(|path| path.extension().is_some_and(|found| found == suffix));
        Ok(paths)
    };
    let mut lintian = Command::new("lintian");
    lintian
        .args(["--allow-root", "--fail-on", "error,warning"])
        .args(files("deb")?);
    without_remarks(&mut lintian)?;
    let mut rpmlint = Command::new("rpmlint");
    rpmlint
        .args(["--strict", "--config"])
        .arg(project::root().join("xtask/packaging/rpmlint.toml"))
        .args(files("rpm")?);
    without_remarks(&mut rpmlint)
}

/// Runs a program that prints remarks and fails because of them.
fn without_remarks(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(())
}

/// The name of upstream's package in distributions of both formats.
const UPSTREAM_PACKAGE: &str = "containernetworking-plugins";

/// A shell command that calls a plugin on the container `pod`.
fn call(verb: &str, dir: &str, plugin: &str) -> String {
    format!(
        "CNI_COMMAND={verb} CNI_CONTAINERID=pod CNI_NETNS=/run/netns/pod CNI_IFNAME=eth0 CNI_PATH={dir} \
         {dir}/{plugin} < /net.json"
    )
}

/// A shell command that succeeds if the container `pod` reaches its gateway.
const PING: &str = "nsenter --net=/run/netns/pod ping -q -c 1 -w 10 10.22.0.1";

/// A shell command that succeeds if nothing of the container is left on the host.
fn nothing_left() -> String {
    "! ip -brief link show type veth | grep . && \
     ! find /var/lib/cni/networks -name '10.*' | grep . && \
     ! iptables-save | grep CNI-"
        .into()
}
