//! The packages: which there are, what is in them, and how they are related to others.

use std::fs;

use anyhow::{Context, Result};

use super::version::{EPOCH, Relation, UPSTREAM, of_package};
use super::{Format, manual};
use crate::build::{self, Binary, Build};
use crate::project::{self, Package as Plugin};
use crate::{commands, dist};

/// The name of the metapackage, and the beginning of the names of the packages that it stands for.
pub(crate) const PROJECT: &str = "cni-plugins-rs";

/// What plugins may execute or talk to, depending on their configuration and on what the host uses.
const SUGGESTS: &[(&str, &[&str])] = &[
    ("bridge", &["iptables"]),
    ("firewall", &["iptables", "firewalld"]),
    ("portmap", &["iptables", "nftables"]),
    ("ptp", &["iptables"]),
];

/// A package in either format.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) summary: String,
    pub(crate) description: String,
    /// Whether it has binaries of one platform.
    pub(crate) has_binaries: bool,
    pub(crate) files: Vec<File>,
    pub(crate) depends: Vec<Relation>,
    pub(crate) suggests: Vec<Relation>,
    pub(crate) provides: Vec<Relation>,
    /// Packages of others that have the same files. dpkg replaces them; rpm leaves the choice to the administrator.
    pub(crate) supersedes: Vec<Relation>,
    pub(crate) scripts: Scripts,
}

/// A file of a package.
pub(crate) struct File {
    /// The absolute path on the host. A man page is still to be compressed.
    pub(crate) path: String,
    pub(crate) mode: u32,
    pub(crate) content: Vec<u8>,
}

/// What a package manager executes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Scripts {
    /// Files of a package's control directory, by name.
    pub(crate) deb: &'static [(&'static str, &'static str)],
    /// Sections of the spec file.
    pub(crate) rpm: &'static str,
}

impl Package {
    fn new(name: impl Into<String>, summary: &str, description: String) -> Package {
        Package {
            name: name.into(),
            summary: summary.to_owned(),
            description,
            has_binaries: false,
            files: Vec::new(),
            depends: Vec::new(),
            suggests: Vec::new(),
            provides: Vec::new(),
            supersedes: Vec::new(),
            scripts: Scripts::default(),
        }
    }
}

impl File {
    pub(crate) fn data(path: impl Into<String>, content: impl Into<Vec<u8>>) -> File {
        File {
            path: path.into(),
            mode: 0o644,
            content: content.into(),
        }
    }

    fn program(path: impl Into<String>, content: impl Into<Vec<u8>>) -> File {
        File {
            mode: 0o755,
            ..File::data(path, content)
        }
    }
}

/// The name of a package that belongs to the plugins.
fn name(part: &str) -> String {
    format!("{PROJECT}-{part}")
}

/// All packages of one format, for the binaries of a build of this version.
///
/// # Errors
///
/// When a file cannot be read.
pub(crate) fn packages(format: Format, build: &Build, version: &str) -> Result<Vec<Package>> {
    let plugins = project::plugins()?;
    let mut packages = Vec::new();
    for plugin in &plugins {
        for name in &plugin.binaries {
            let mut binaries = build.binaries.iter();
            let binary = binaries.find(|binary| binary.name == *name);
            let binary = binary.with_context(|| format!("no binary of the plugin {name}"))?;
            packages.push(of_plugin(format, plugin, binary, version)?);
        }
    }
    let meta = metapackage(&packages, version);
    let opt = links_in_opt(format, version);
    packages.push(tools(format, &build.all_in_one, version)?);
    packages.push(cnitool(format, &build.cnitool, version)?);
    packages.push(conformance(format, &build.conformance, version)?);
    let notices = dist::third_party()?;
    for package in &mut packages {
        let path = format.notices(&package.name);
        package.files.push(File::data(path, notices.clone()));
    }
    if plugins.iter().any(|plugin| plugin.dir_name() == "dhcp") {
        packages.push(dhcp_daemon(format, version)?);
    }
    packages.extend([opt, meta]);
    Ok(packages)
}

fn of_plugin(format: Format, plugin: &Plugin, binary: &Binary, version: &str) -> Result<Package> {
    let name = plugin.dir_name();
    let page = project::root().join(format!("Documentation/plugins/{name}.md"));
    let page = fs::read_to_string(&page).with_context(|| page.display().to_string())?;
    let manual = manual::of_page(&format!("cni-{name}"), &plugin.description, &page, version);
    let suggested = SUGGESTS.iter().find(|(plugin, _)| *plugin == name);
    let suggests = suggested.iter().flat_map(|(_, programs)| programs.iter());
    Ok(Package {
        has_binaries: true,
        files: vec![
            program(binary, format.plugin_dir())?,
            File::data(format!("/usr/share/man/man8/cni-{name}.8"), manual),
        ],
        suggests: suggests.map(|program| Relation::any(program)).collect(),
        supersedes: vec![instead_of("containernetworking-plugins")],
        ..Package::new(
            self::name(&name),
            &plugin.description,
            manual::introduction(&page),
        )
    })
}

/// The executable that contains all plugins, under its own name.
fn tools(format: Format, binary: &Binary, version: &str) -> Result<Package> {
    let summary = "CNI plugins in one program, and its installer";
    let page = include_str!("../../packaging/tools/cni-plugins.md");
    let manual = manual::of_page(&binary.name, summary, page, version);
    let [bash, zsh, fish] = completion_files(format, &binary.name);
    Ok(Package {
        has_binaries: true,
        files: vec![
            program(binary, "/usr/bin")?,
            File::data("/usr/share/man/man8/cni-plugins.8", manual),
            File::data(bash, include_str!("../../packaging/tools/cni-plugins.bash")),
            File::data(zsh, include_str!("../../packaging/tools/cni-plugins.zsh")),
            File::data(fish, include_str!("../../packaging/tools/cni-plugins.fish")),
        ],
        ..Package::new(name("tools"), summary, manual::introduction(page))
    })
}

/// The command line for networks. Its name is upstream's, and no distribution has a package of it.
fn cnitool(format: Format, binary: &Binary, version: &str) -> Result<Package> {
    let summary = "Command line for CNI networks and attachments";
    let page = project::root().join("Documentation/cnitool.md");
    let page = fs::read_to_string(&page).with_context(|| page.display().to_string())?;
    let manual = manual::of_page(&binary.name, summary, &page, version);
    let mut files = vec![
        program(binary, "/usr/bin")?,
        File::data("/usr/share/man/man8/cnitool.8", manual),
        // Not enabled: what is collected is the operator's decision.
        unit(format, "cni-gc.service")?,
        unit(format, "cni-gc.timer")?,
        unit(format, "cni-repair.service")?,
    ];
    let by = |shell| (vec!["completion", shell], Vec::new());
    files.extend(completions(format, build::CNITOOL, by)?);
    Ok(Package {
        has_binaries: true,
        files,
        ..Package::new(build::CNITOOL, summary, manual::introduction(&page))
    })
}

/// The program that checks plugins.
fn conformance(format: Format, binary: &Binary, version: &str) -> Result<Package> {
    let summary = "Checks CNI plugins against the specification";
    let page = project::root().join("Documentation/conformance.md");
    let page = fs::read_to_string(&page).with_context(|| page.display().to_string())?;
    // The tables of results and rules are for the screen.
    let page = page.split("\n## Results").next().unwrap_or_default();
    let manual = manual::of_page(&binary.name, summary, page, version);
    let mut files = vec![
        program(binary, "/usr/bin")?,
        File::data("/usr/share/man/man8/cni-conformance.8", manual),
    ];
    let by = |shell| (Vec::new(), vec![("CNI_CONFORMANCE_COMPLETE", shell)]);
    files.extend(completions(format, build::CONFORMANCE, by)?);
    Ok(Package {
        has_binaries: true,
        files,
        depends: vec![Relation::any(match format {
            Format::Deb => "iproute2",
            Format::Rpm => "iproute",
        })],
        suggests: vec![Relation::any("nftables")],
        ..Package::new(build::CONFORMANCE, summary, manual::introduction(page))
    })
}

/// Arguments and variables by which a program prints the completions for a shell.
type Request = (Vec<&'static str>, Vec<(&'static str, &'static str)>);

/// The completions of a program for each shell, printed by a build of it for this machine: the script is the same for
/// every platform.
fn completions(
    format: Format,
    program: &str,
    by: impl Fn(&'static str) -> Request,
) -> Result<Vec<File>> {
    let shells = ["bash", "zsh", "fish"];
    let paths = completion_files(format, program);
    let file = |(shell, path)| {
        let (arguments, variables) = by(shell);
        let mut run = commands::cargo(&project::root(), ["run", "--quiet", "--package"]);
        run.args([program, "--"]).args(arguments).envs(variables);
        Ok(File::data(path, commands::read(&mut run)? + "\n"))
    };
    shells.into_iter().zip(paths).map(file).collect()
}

/// Where bash, zsh and fish look for the completions of a program.
fn completion_files(format: Format, program: &str) -> [String; 3] {
    let zsh = match format {
        Format::Deb => "/usr/share/zsh/vendor-completions",
        Format::Rpm => "/usr/share/zsh/site-functions",
    };
    [
        format!("/usr/share/bash-completion/completions/{program}"),
        format!("{zsh}/_{program}"),
        format!("/usr/share/fish/vendor_completions.d/{program}.fish"),
    ]
}

/// A binary as a file of a package.
fn program(binary: &Binary, dir: &str) -> Result<File> {
    let content = fs::read(&binary.path).with_context(|| binary.path.display().to_string())?;
    Ok(File::program(format!("{dir}/{}", binary.name), content))
}

/// Distributions' versions of a package.
fn instead_of(package: &str) -> Relation {
    Relation::below(package, &format!("{EPOCH}:0"))
}

/// The version of a distribution's package that ours stands for.
fn in_place_of(package: &str) -> Relation {
    Relation::exactly(package, &format!("{EPOCH}:{UPSTREAM}"))
}

/// A unit of systemd, with the directory of the plugins filled in.
fn unit(format: Format, name: &str) -> Result<File> {
    let path = project::root().join("xtask/packaging/units").join(name);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let text = text.replace("@BINDIR@", format.plugin_dir());
    Ok(File::data(format!("/usr/lib/systemd/system/{name}"), text))
}

/// The units that run the daemon of the dhcp plugin.
fn dhcp_daemon(format: Format, version: &str) -> Result<Package> {
    let description = "This package runs the daemon of the CNI plugin dhcp, which keeps the leases of containers. \
        systemd starts it at the first request. Networks whose addresses do not come from a DHCP server need \
        neither the daemon nor the plugin.";
    let units = ["cni-dhcp.service", "cni-dhcp.socket"].map(|name| unit(format, name));
    Ok(Package {
        files: units.into_iter().collect::<Result<_>>()?,
        depends: vec![Relation::exactly(&name("dhcp"), &of_package(version))],
        supersedes: vec![instead_of("containernetworking-plugins")],
        scripts: Scripts {
            deb: &[
                (
                    "postinst",
                    include_str!("../../packaging/dhcp-daemon/postinst"),
                ),
                ("prerm", include_str!("../../packaging/dhcp-daemon/prerm")),
                ("postrm", include_str!("../../packaging/dhcp-daemon/postrm")),
            ],
            rpm: include_str!("../../packaging/dhcp-daemon/scriptlets.spec"),
        },
        ..Package::new(
            name("dhcp-daemon"),
            "CNI plugins for container networks, DHCP daemon",
            description.into(),
        )
    })
}

fn metapackage(plugins: &[Package], version: &str) -> Package {
    let version = of_package(version);
    let description = "This package depends on the packages of all plugins. It takes the place of the \
        distribution's package of upstream's plugins: state on disk and in the kernel is compatible in \
        both directions, so that running containers are not affected.";
    let depends = plugins
        .iter()
        .map(|plugin| Relation::exactly(&plugin.name, &version));
    Package {
        depends: depends.collect(),
        provides: vec![
            in_place_of("containernetworking-plugins"),
            // Debian's name for what a container engine needs, whichever implementation.
            Relation::exactly("container-network-stack", "1"),
        ],
        supersedes: vec![instead_of("containernetworking-plugins")],
        ..Package::new(
            PROJECT,
            "CNI plugins for container networks (metapackage)",
            description.into(),
        )
    }
}

/// The package that stands for `kubernetes-cni`, which has the plugins in `/opt/cni/bin`.
fn links_in_opt(format: Format, version: &str) -> Package {
    let script = include_str!("../../packaging/opt/opt-links.in");
    let script = script.replace("@PLUGINS@", format.plugin_dir());
    let description = "This package keeps links to the packaged plugins in /opt/cni/bin, where kubelet's container \
        runtimes look for them by default. Files and links of others in that directory are never replaced or removed.";
    Package {
        files: vec![File::program(
            "/usr/libexec/cni-plugins-rs/opt-links",
            script,
        )],
        depends: vec![Relation::exactly(PROJECT, &of_package(version))],
        provides: vec![in_place_of("kubernetes-cni")],
        supersedes: vec![instead_of("kubernetes-cni")],
        scripts: Scripts {
            deb: &[
                ("postinst", include_str!("../../packaging/opt/postinst")),
                ("prerm", include_str!("../../packaging/opt/prerm")),
                ("triggers", "interest-noawait /usr/lib/cni\n"),
            ],
            rpm: include_str!("../../packaging/opt/scriptlets.spec"),
        },
        ..Package::new(
            name("opt"),
            "CNI plugins for container networks, links in /opt/cni/bin",
            description.into(),
        )
    }
}
