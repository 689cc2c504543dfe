//! The packages for rpm, installed by the machine's dnf into a root of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::root::{REPOSITORY, REPOSITORY_URL, Root};
use super::{PING, Repositories, UPSTREAM_PACKAGE, call, nothing_left};
use crate::commands;

const PLUGINS: &str = "/usr/libexec/cni";

pub(super) fn prove(image: &Path, repositories: &Repositories, dir: &Path) -> Result<()> {
    println!("\n=== dnf");
    let root = Root::new(image, dir.join("dnf"))?;
    let dnf = Dnf::new(&root, dir)?;
    root.put_repository(&repositories.first)?;
    dnf.configure()?;
    replace(&dnf)?;
    upgrade(&dnf, repositories)?;
    remove(&dnf)?;
    refuse_damage(&dnf)
}

/// dnf of the machine for a root.
struct Dnf<'a> {
    root: &'a Root,
    /// The directory of packages that stand for a distribution's, and of repository files.
    work: PathBuf,
}

impl<'a> Dnf<'a> {
    fn new(root: &'a Root, dir: &Path) -> Result<Dnf<'a>> {
        let work = dir.join("dnf-work");
        let dnf = Dnf { root, work };
        // The root has dpkg's files, which rpm does not know of: one package says that there is a shell.
        dnf.stand_in("base", "Version: 1", "Provides: /bin/sh", "")?;
        // The peer's plugins as Red Hat packages them.
        let peer = root.path("/usr/lib/cni");
        dnf.stand_in(
            UPSTREAM_PACKAGE,
            "Version: 1.4.0\nEpoch: 1",
            "",
            &peer.display().to_string(),
        )?;
        dnf.stand_in(
            "kubelet",
            "Version: 1.34.0",
            "Requires: kubernetes-cni >= 1.2.0",
            "",
        )?;
        fs::remove_dir_all(&peer).with_context(|| peer.display().to_string())?;
        Ok(dnf)
    }

    /// Builds a package that stands for one of a distribution, with copies of the plugins in `plugins` if that is not
    /// empty.
    fn stand_in(&self, name: &str, version: &str, relation: &str, plugins: &str) -> Result<()> {
        fs::create_dir_all(&self.work).with_context(|| self.work.display().to_string())?;
        let install = match plugins {
            "" => String::new(),
            dir => {
                format!("mkdir -p %{{buildroot}}{PLUGINS}\ncp {dir}/* %{{buildroot}}{PLUGINS}/\n")
            }
        };
        let files = if plugins.is_empty() { "" } else { PLUGINS };
        let spec = format!(
            "%global debug_package %{{nil}}\n%global __os_install_post %{{nil}}\n%global _binary_payload w1.gzdio\n\
             Name: {name}\n{version}\nRelease: 1\nSummary: {name}\nLicense: Apache-2.0\nAutoReqProv: no\n{relation}\n\
             %description\n{name}\n%install\n{install}%files\n{files}\n"
        );
        let path = self.work.join(format!("{name}.spec"));
        fs::write(&path, spec).with_context(|| path.display().to_string())?;
        let mut command = Command::new("rpmbuild");
        command
            .args(["-bb", "--quiet", "--define"])
            .arg(format!("_topdir {}", self.work.display()))
            .args(["--define", "_rpmfilename %%{NAME}.rpm"])
            .arg(&path);
        commands::read(&mut command).map(drop)
    }

    /// The path of a package that stands for a distribution's.
    fn package(&self, name: &str) -> String {
        self.work
            .join(format!("RPMS/{name}.rpm"))
            .display()
            .to_string()
    }

    /// Writes the repository's file as users do. dnf runs outside of the root, so the address differs.
    fn configure(&self) -> Result<()> {
        let path = self.root.path(&format!("{REPOSITORY}/cni-plugins-rs.repo"));
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let address = format!("file://{}", self.root.path(REPOSITORY).display());
        let text = text.replace(REPOSITORY_URL, &address);
        fs::create_dir_all(self.work.join("repos"))?;
        fs::write(self.work.join("repos/cni-plugins-rs.repo"), text)?;
        Ok(())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("dnf");
        let work = self.work.display();
        command
            .args(["--assumeyes", "--quiet", "--releasever=1", "--installroot"])
            .arg(&self.root.dir)
            .arg(format!("--setopt=reposdir={work}/repos"))
            .args([
                "--setopt=metadata_expire=0",
                "--setopt=skip_if_unavailable=0",
                "--setopt=install_weak_deps=0",
            ])
            .args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<()> {
        println!("# dnf {}", arguments.join(" "));
        commands::read(&mut self.command(arguments)).map(drop)
    }

    fn refuse(&self, arguments: &[&str]) -> Result<String> {
        println!("# dnf {}    (must fail)", arguments.join(" "));
        match commands::read(&mut self.command(arguments)) {
            Ok(output) => bail!(
                "dnf {}: succeeded, but must fail\n{output}",
                arguments.join(" ")
            ),
            Err(err) => Ok(err.to_string()),
        }
    }

    /// The names of installed packages whose names match.
    fn installed(&self, pattern: &str, format: &str) -> Result<String> {
        let mut command = Command::new("rpm");
        command.arg("--root").arg(&self.root.dir);
        command.args(["--query", "--all", "--queryformat", format, pattern]);
        commands::read(&mut command)
    }
}

/// Swaps upstream's package, which has a container attached, for ours.
fn replace(dnf: &Dnf<'_>) -> Result<()> {
    let root = dnf.root;
    dnf.run(&[
        "install",
        &dnf.package("base"),
        &dnf.package(UPSTREAM_PACKAGE),
    ])?;
    root.run("ip netns add pod")?;
    root.run(&call("ADD", PLUGINS, "bridge"))?;
    root.run(PING)?;

    // Whoever only enables the repository keeps what is installed.
    dnf.run(&["upgrade"])?;
    let kept = dnf.installed(UPSTREAM_PACKAGE, "%{NAME}")?;
    ensure!(
        kept == UPSTREAM_PACKAGE,
        "an upgrade replaced {UPSTREAM_PACKAGE}"
    );
    dnf.refuse(&["install", "cni-plugins-rs"])?;
    dnf.run(&["swap", UPSTREAM_PACKAGE, "cni-plugins-rs"])?;
    let left = dnf.installed(UPSTREAM_PACKAGE, "%{NAME}")?;
    ensure!(left.is_empty(), "{left} is still installed");

    root.run(PING)?;
    root.run(&call("DEL", PLUGINS, "bridge"))?;
    root.run(&nothing_left())?;

    dnf.run(&["install", &dnf.package("kubelet")])?;
    root.run(&format!(
        "[ \"$(readlink /opt/cni/bin/bridge)\" = {PLUGINS}/bridge ]"
    ))?;
    dnf.run(&[
        "remove",
        "--setopt=clean_requirements_on_remove=0",
        "kubelet",
    ])?;
    // Links follow the plugins.
    dnf.run(&["remove", "cni-plugins-rs-opt"])?;
    root.run("[ ! -e /opt/cni ]")?;
    dnf.run(&["install", "cni-plugins-rs-opt"])?;
    root.run(&call("VERSION", "/opt/cni/bin", "bridge"))?;
    dnf.run(&[
        "install",
        "cni-plugins-rs-tools",
        "cni-plugins-rs-dhcp-daemon",
        "cnitool",
    ])?;
    root.run("cni-plugins version && cnitool --version")
        .map(drop)
}

fn upgrade(dnf: &Dnf<'_>, repositories: &Repositories) -> Result<()> {
    dnf.root.put_repository(&repositories.both)?;
    // The index that dnf has read may be less than a second old, which `metadata_expire=0` keeps.
    dnf.run(&["upgrade", "--refresh"])?;
    let versions = dnf.installed("cni-plugins-rs*", "%{VERSION}\n")?;
    ensure!(
        versions.lines().all(|version| version == "90.0.2"),
        "versions after the upgrade: {versions}"
    );
    dnf.root.run("[ -x /opt/cni/bin/bridge ]").map(drop)
}

fn remove(dnf: &Dnf<'_>) -> Result<()> {
    dnf.run(&["remove", "cni-plugins-rs*", "cnitool"])?;
    dnf.root
        .run(&format!(
            "[ ! -e {PLUGINS} ] && [ ! -e /opt/cni ] && [ ! -e /usr/share/licenses/cni-plugins-rs ]"
        ))
        .map(drop)
}

/// dnf refuses an index that somebody has changed.
fn refuse_damage(dnf: &Dnf<'_>) -> Result<()> {
    dnf.root
        .run(&format!("echo >> {REPOSITORY}/rpm/repodata/repomd.xml"))?;
    let output = dnf.refuse(&["install", "--refresh", "cni-plugins-rs"])?;
    ensure!(output.contains("GPG signature"), "{output}");
    Ok(())
}
