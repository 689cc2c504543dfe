//! The packages for dpkg, installed by apt.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use super::root::{REPOSITORY, Root};
use super::watch::Watch;
use super::{PING, Repositories, UPSTREAM_PACKAGE, call, nothing_left};
use crate::commands;

const PLUGINS: &str = "/usr/lib/cni";

pub(super) fn prove(image: &Path, repositories: &Repositories, dir: &Path) -> Result<()> {
    println!("\n=== apt");
    let root = Root::new(image, dir.join("apt"))?;
    configure(&root, repositories)?;
    replace(&root, dir)?;
    first_network(&root)?;
    links_follow_plugins(&root)?;
    completions(&root)?;
    cnitool(&root)?;
    dhcp_daemon(&root)?;
    upgrade(&root, repositories)?;
    remove(&root)?;
    replace_kubernetes(&root)?;
    refuse_damage(&root)
}

/// Follows the installation guide: the key, the source, the lists.
fn configure(root: &Root, repositories: &Repositories) -> Result<()> {
    root.put_repository(&repositories.first)?;
    // There is no network inside, so Debian's own archive cannot be reached.
    root.write("/etc/apt/sources.list", "")?;
    root.run(&format!(
        "cp {REPOSITORY}/cni-plugins-rs.asc /usr/share/keyrings/\n\
         cp {REPOSITORY}/cni-plugins-rs.sources /etc/apt/sources.list.d/"
    ))?;
    root.run("apt-get update").map(drop)
}

/// Installs a package that depends on `kubernetes-cni`, while upstream's plugins have a container attached.
fn replace(root: &Root, dir: &Path) -> Result<()> {
    stand_ins(root, dir)?;
    foreign_files(root)?;
    root.run("ip netns add pod")?;
    root.run(&call("ADD", PLUGINS, "bridge"))?;
    root.run(PING)?;

    let watch = Watch::start(root.path(PLUGINS).join("bridge"));
    root.run("apt-get install -y /kubelet.deb")?;
    let absent = watch.stop();
    println!("the bridge plugin was absent for {} ms", absent.as_millis());

    let state = root.run(&format!(
        "dpkg-query -W -f '${{Status}}' {UPSTREAM_PACKAGE} || :"
    ))?;
    ensure!(
        !state.contains("ok installed"),
        "{UPSTREAM_PACKAGE}: {state}"
    );
    root.run("dpkg --verify && apt-get check")?;
    ensure!(
        root.run(&format!("dpkg -S {PLUGINS}/bridge"))?
            .starts_with("cni-plugins-rs-bridge:"),
        "the bridge plugin is of another package"
    );
    check_foreign_files(root)?;
    root.run(PING)?;
    // Through the link, as a kubelet's runtime calls it.
    root.run(&call("DEL", "/opt/cni/bin", "bridge"))?;
    root.run(&nothing_left()).map(drop)
}

/// Makes packages that stand for those of Kubernetes: one that depends on `kubernetes-cni`, and that one.
fn stand_ins(root: &Root, dir: &Path) -> Result<()> {
    let package = |name: &str, fields: &str| -> Result<()> {
        let stage = dir.join(name);
        let control = format!(
            "Package: {name}\n{fields}\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\n\
             Description: stands for the package of Kubernetes\n"
        );
        super::super::put(&stage.join("DEBIAN/control"), control, 0o644)?;
        let mut command = Command::new("dpkg-deb");
        command.args(["--root-owner-group", "--build"]).arg(&stage);
        commands::read(command.arg(root.path(&format!("/{name}.deb")))).map(drop)
    };
    let plugin = dir.join("kubernetes-cni/opt/cni/bin/bridge");
    super::super::put(&plugin, "of Kubernetes\n", 0o755)?;
    package("kubernetes-cni", "Version: 1.7.1-1.1")?;
    package(
        "kubelet",
        "Version: 1.34.0-1.1\nDepends: kubernetes-cni (>= 1.2.0)",
    )
}

/// Puts a file and a link of others where the package of links would have its own.
fn foreign_files(root: &Root) -> Result<()> {
    root.run(
        "mkdir -p /opt/cni/bin\n\
         echo foreign > /opt/cni/bin/portmap\n\
         ln -s /usr/local/bin/tap /opt/cni/bin/tap\n\
         echo foreign > /opt/cni/bin/calico",
    )
    .map(drop)
}

fn check_foreign_files(root: &Root) -> Result<()> {
    root.run(
        "[ \"$(cat /opt/cni/bin/portmap /opt/cni/bin/calico | sort -u)\" = foreign ]\n\
         [ \"$(readlink /opt/cni/bin/tap)\" = /usr/local/bin/tap ]",
    )
    .map(drop)
}

/// The first network of the README, with the packaged plugins.
fn first_network(root: &Root) -> Result<()> {
    root.run(&call("ADD", PLUGINS, "bridge"))?;
    root.run(PING)?;
    root.run(&call("DEL", PLUGINS, "bridge"))?;
    root.run(&nothing_left()).map(drop)
}

/// Links come and go with the plugins that they lead to.
fn links_follow_plugins(root: &Root) -> Result<()> {
    root.run("[ -x /opt/cni/bin/vlan ]")?;
    root.run("dpkg --force-depends --remove cni-plugins-rs-vlan")?;
    root.run("[ ! -L /opt/cni/bin/vlan ]")?;
    root.run("apt-get --fix-broken install -y")?;
    root.run("[ -x /opt/cni/bin/vlan ]").map(drop)
}

/// bash completes the commands that the tool's help has, and no options that it does not have.
fn completions(root: &Root) -> Result<()> {
    root.run("apt-get install -y cni-plugins-rs-tools")?;
    let help = root.run("cni-plugins help")?;
    let mut commands: Vec<&str> = help
        .lines()
        .filter_map(|line| line.strip_prefix("    cni-plugins ")?.split(' ').next())
        .filter(|command| *command != "PLUGIN")
        .collect();
    commands.sort_unstable();
    let complete = |words: &str, index: u8| {
        root.run(&format!(
            "bash -c '. /usr/share/bash-completion/completions/cni-plugins; COMP_WORDS=({words}); \
             COMP_CWORD={index}; _cni_plugins; printf \"%s\\n\" \"${{COMPREPLY[@]}}\"' | sort"
        ))
    };
    let completed = complete("cni-plugins \"\"", 1)?;
    ensure!(
        completed.lines().eq(commands.iter().copied()),
        "completed commands:\n{completed}\nhelp:\n{help}"
    );
    for command in ["install", "rollback", "uninstall"] {
        let options = complete(&format!("cni-plugins {command} --"), 2)?;
        ensure!(
            options.lines().all(|option| help.contains(option)),
            "completed options:\n{options}\nhelp:\n{help}"
        );
    }
    let skipped = complete("cni-plugins install --skip brid", 3)?;
    ensure!(skipped == "bridge", "completed plugins: {skipped}");
    Ok(())
}

/// cnitool is in the search path, and bash completes its commands.
fn cnitool(root: &Root) -> Result<()> {
    root.run("apt-get install -y cnitool")?;
    let help = root.run("cnitool help")?;
    let completed = root.run(
        "bash -c '. /usr/share/bash-completion/completions/cnitool; COMP_WORDS=(cnitool \"\"); COMP_CWORD=1; \
         _clap_complete_cnitool cnitool \"\" cnitool; printf \"%s\\n\" \"${COMPREPLY[@]}\"'",
    )?;
    let commands: Vec<&str> = completed
        .lines()
        .filter(|word| !word.starts_with('-'))
        .collect();
    ensure!(
        commands.contains(&"completion") && commands.iter().all(|name| help.contains(name)),
        "completed commands:\n{completed}\nhelp:\n{help}"
    );
    Ok(())
}

/// The socket of the daemon is enabled where systemd will find it.
fn dhcp_daemon(root: &Root) -> Result<()> {
    root.run("apt-get install -y cni-plugins-rs-dhcp-daemon")?;
    root.run(&format!(
        "grep -x 'ExecStart={PLUGINS}/dhcp daemon' /usr/lib/systemd/system/cni-dhcp.service\n\
         [ -L /etc/systemd/system/sockets.target.wants/cni-dhcp.socket ]"
    ))
    .map(drop)
}

fn upgrade(root: &Root, repositories: &Repositories) -> Result<()> {
    root.put_repository(&repositories.both)?;
    let watch = Watch::start(root.path("/opt/cni/bin/bridge"));
    root.run("apt-get update && apt-get upgrade -y")?;
    let absent = watch.stop();
    ensure!(
        absent.is_zero(),
        "an upgrade left no bridge plugin for {absent:?}"
    );
    let versions = root.run("dpkg-query -W -f '${Version}\\n' 'cni-plugins-rs*' | sort -u")?;
    ensure!(
        versions == "90.0.2-1",
        "versions after the upgrade: {versions}"
    );
    check_foreign_files(root)
}

fn remove(root: &Root) -> Result<()> {
    root.run("apt-get purge -y kubelet cnitool 'cni-plugins-rs*'")?;
    root.run(&format!("[ ! -e {PLUGINS} ]"))?;
    check_foreign_files(root)?;
    let left = root.run("find /opt/cni/bin /usr/libexec/cni* -mindepth 1 2>/dev/null | sort")?;
    ensure!(
        left == "/opt/cni/bin/calico\n/opt/cni/bin/portmap\n/opt/cni/bin/tap",
        "left after removal:\n{left}"
    );
    let units = "find /etc/systemd /usr/lib/systemd -name 'cni-dhcp*'";
    let left = root.run(units)?;
    ensure!(left.is_empty(), "left after removal:\n{left}");
    Ok(())
}

/// Replaces the plugins on a node of Kubernetes.
fn replace_kubernetes(root: &Root) -> Result<()> {
    root.run("dpkg --install /kubernetes-cni.deb /kubelet.deb")?;
    root.run("apt-get install -y cni-plugins-rs-opt")?;
    root.run("dpkg --verify && apt-get check && dpkg --status kubelet | grep 'ok installed'")?;
    root.run(&format!(
        "[ \"$(readlink /opt/cni/bin/bridge)\" = {PLUGINS}/bridge ]"
    ))
    .map(drop)
}

/// apt refuses an index that somebody has changed.
fn refuse_damage(root: &Root) -> Result<()> {
    root.run(&format!(
        "sed -i 's/^Label: .*/Label: changed/' {REPOSITORY}/apt/dists/stable/InRelease"
    ))?;
    let output = root.refuse("apt-get update --error-on=any")?;
    ensure!(output.contains("BADSIG"), "{output}");
    Ok(())
}
