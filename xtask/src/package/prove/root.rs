//! Roots of small Debian systems, each on a private host.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use testkit::Host;

use crate::{commands, project};

/// The release of Debian; its package of upstream's plugins is what the proof starts from.
const SUITE: &str = "bookworm";

/// The packages in the root: upstream's plugins, and what shows the network.
const INCLUDE: &str = "--include=containernetworking-plugins,iproute2,iputils-ping";

/// Where the repository is, inside and for the configuration of package managers.
pub(super) const REPOSITORY: &str = "/repository";
pub(super) const REPOSITORY_URL: &str = "file:///repository";

/// Returns a tarball of the root, which is kept for later proofs.
pub(super) fn image() -> Result<PathBuf> {
    let image = project::target().join(format!("debian-{SUITE}.tar"));
    if image.exists() {
        println!("using {}", project::shown(&image));
        return Ok(image);
    }
    println!("making a Debian root with {}", super::UPSTREAM_PACKAGE);
    let new = image.with_extension("new");
    let mut command = Command::new("mmdebstrap");
    command
        .args(["--variant=apt", "--format=tar", INCLUDE, SUITE])
        .arg(&new);
    commands::read(&mut command)?;
    fs::rename(&new, &image).with_context(|| image.display().to_string())?;
    Ok(image)
}

/// A root on a private host.
pub(super) struct Root {
    pub(super) dir: PathBuf,
    _host: Host,
}

impl Root {
    /// Unpacks the image and enters a private host.
    pub(super) fn new(image: &Path, dir: PathBuf) -> Result<Root> {
        fs::create_dir(&dir).with_context(|| dir.display().to_string())?;
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--numeric-owner", "--file"])
            .arg(image)
            .arg("--directory")
            .arg(&dir);
        commands::read(&mut tar)?;
        let host = crate::machine::private_host()?;
        // These go with the host's mount namespace. There is no mount of anything that the machine uses.
        for (kind, place) in [("proc", "proc"), ("sysfs", "sys"), ("tmpfs", "run")] {
            let mut mount = Command::new("mount");
            mount.args(["-t", kind, kind]).arg(dir.join(place));
            commands::read(&mut mount)?;
        }
        let root = Root { dir, _host: host };
        root.write("/net.json", super::NETWORK)?;
        Ok(root)
    }

    /// Replaces the repository in the root.
    pub(super) fn put_repository(&self, repository: &Path) -> Result<()> {
        let place = self.path(REPOSITORY);
        if place.exists() {
            fs::remove_dir_all(&place).with_context(|| place.display().to_string())?;
        }
        commands::run(Command::new("cp").arg("-a").arg(repository).arg(&place))
    }

    /// A path of the machine for a path inside.
    pub(super) fn path(&self, inside: &str) -> PathBuf {
        self.dir.join(inside.trim_start_matches('/'))
    }

    pub(super) fn write(&self, inside: &str, content: impl AsRef<[u8]>) -> Result<()> {
        super::super::put(&self.path(inside), content, 0o644)
    }

    /// Runs a shell command inside, which must succeed. Returns its output.
    pub(super) fn run(&self, script: &str) -> Result<String> {
        println!("# {script}");
        let (ok, output) = self.attempt(script)?;
        if !ok {
            bail!("{script}: failed\n{output}");
        }
        Ok(output)
    }

    /// Runs a shell command inside, which must fail. Returns its output.
    pub(super) fn refuse(&self, script: &str) -> Result<String> {
        println!("# {script}    (must fail)");
        let (ok, output) = self.attempt(script)?;
        if ok {
            bail!("{script}: succeeded, but must fail\n{output}");
        }
        Ok(output)
    }

    fn attempt(&self, script: &str) -> Result<(bool, String)> {
        let mut command = Command::new("chroot");
        command
            .arg(&self.dir)
            .args(["/bin/sh", "-ec", &format!("exec 2>&1\n{script}")])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        let output = command.output().context("cannot run chroot")?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok((output.status.success(), text))
    }
}
