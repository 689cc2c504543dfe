//! `cnitool validate`: what is wrong with network configurations, where, and what to write instead.

mod addresses;
mod chain;
mod document;
mod finding;
mod host;
mod kernel;
mod network;
mod parse;
mod schema;
mod source;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::ValueHint;
use serde_json::json;

use finding::Finding;
pub(crate) use finding::Severity;
pub(crate) use host::plugin_dirs;
use network::{File, Network};
use schema::Schemas;

use crate::environment;

/// Exit code if a file could not be read, or the command line is wrong: nothing was checked.
pub(crate) const UNUSABLE: u8 = 2;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files, and directories as runtimes read them; NETCONFPATH, or /etc/cni/net.d, if there are none
    #[arg(value_name = "FILE|DIR", value_hint = ValueHint::AnyPath)]
    paths: Vec<PathBuf>,
    /// Print the findings as one JSON document
    #[arg(long)]
    json: bool,
    /// Fail if there are warnings
    #[arg(long)]
    strict: bool,
    /// Check the files only, not the plugins, the kernel and the routes of this host
    #[arg(long)]
    no_host: bool,
    /// Directories of the plugins, with ":" between them; CNI_PATH, or the usual ones, if it is not given
    #[arg(long, value_name = "DIRS", conflicts_with = "no_host")]
    cni_path: Option<OsString>,
}

/// Checks the files, and prints what is wrong.
pub(crate) fn run(arguments: &Args) -> Result<ExitCode> {
    let schemas = Schemas::load().context("the schemas of this program")?;
    let installed = [environment::config_dir()];
    let paths = if arguments.paths.is_empty() {
        &installed[..]
    } else {
        &arguments.paths
    };
    let files = match network::read(paths, &schemas) {
        Ok(files) => files,
        Err(error) => {
            writeln!(io::stderr(), "Error: {error:#}")?;
            return Ok(UNUSABLE.into());
        }
    };
    let mut findings = check(&files, arguments);
    findings.sort_by_key(|(file, finding)| (*file, finding.span.start, finding.severity));
    findings.dedup();
    let count = |severity| {
        findings
            .iter()
            .filter(|(_, finding)| finding.severity == severity)
            .count()
    };
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let text = match arguments.json {
        true => json_text(&files, &findings, errors, warnings)?,
        false => text(&files, &findings, errors, warnings),
    };
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to standard output")?;
    let failed = errors > 0 || arguments.strict && warnings > 0;
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Returns how many errors and warnings the files of a directory have.
///
/// # Errors
/// When they cannot be read.
pub(crate) fn count(dir: &Path, cni_path: Option<&OsStr>) -> Result<(usize, usize)> {
    let schemas = Schemas::load().context("the schemas of this program")?;
    let arguments = Args {
        paths: vec![dir.to_path_buf()],
        json: false,
        strict: false,
        no_host: false,
        cni_path: cni_path.map(OsStr::to_owned),
    };
    let mut findings = check(&network::read(&arguments.paths, &schemas)?, &arguments);
    findings.dedup();
    let count = |severity| {
        findings
            .iter()
            .filter(|(_, finding)| finding.severity == severity)
            .count()
    };
    Ok((count(Severity::Error), count(Severity::Warning)))
}

/// Returns the errors in `file`, one of the additional plugins of the network list `list`, as they are printed. The host
/// is not looked at.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn errors_in(list: &Path, file: &Path) -> Result<String> {
    let schemas = Schemas::load().context("the schemas of this program")?;
    let arguments = Args {
        paths: vec![list.to_path_buf()],
        json: false,
        strict: false,
        no_host: true,
        cni_path: None,
    };
    let files = network::read(&arguments.paths, &schemas)?;
    let findings = check(&files, &arguments);
    let errors = findings.iter().filter(|(number, finding)| {
        finding.severity == Severity::Error && files[*number].path == file
    });
    Ok(errors
        .map(|(number, finding)| finding.text(&files[*number].source))
        .collect())
}

/// The findings of all files, each with the number of its file.
fn check(files: &[File], arguments: &Args) -> Vec<(usize, Finding)> {
    let mut findings: Vec<(usize, Finding)> = Vec::new();
    for (number, file) in files.iter().enumerate() {
        findings.extend(
            file.findings
                .iter()
                .map(|finding| (number, finding.clone())),
        );
    }
    let networks = network::networks(files);
    let names: Vec<&str> = files.iter().map(|file| file.source.name.as_str()).collect();
    let mut subnets = Vec::new();
    for network in &networks {
        findings.extend(chain::check(network));
        let (of_network, wrong) = addresses::collect(network);
        subnets.extend(of_network);
        findings.extend(wrong);
    }
    findings.extend(same_names(&networks, &names));
    findings.extend(addresses::between_networks(&subnets, &names));
    if arguments.no_host {
        networks
            .iter()
            .flat_map(|network| &network.plugins)
            .for_each(|element| findings.extend(chain::misspelled(element)));
        return findings;
    }
    let mut host = host::Host::new(plugin_dirs(arguments.cni_path.as_deref()));
    networks
        .iter()
        .for_each(|network| host.check(network, &mut findings));
    findings.extend(host.routes(&subnets));
    findings
}

/// Networks with the name of an earlier one, which runtimes prefer.
fn same_names(networks: &[Network<'_>], names: &[&str]) -> Vec<(usize, Finding)> {
    let mut findings = Vec::new();
    for (number, network) in networks.iter().enumerate() {
        let same = |other: &&Network<'_>| other.name == network.name && !network.name.is_empty();
        let (Some(first), Some(node)) = (
            networks[..number].iter().find(same),
            network.root.get("name"),
        ) else {
            continue;
        };
        let what = format!(
            "the network \"{}\" is also in {}",
            network.name, names[first.file]
        );
        let (span, pointer, help) = (
            node.span.clone(),
            "/name".to_owned(),
            "write another name".to_owned(),
        );
        let severity = Severity::Error;
        findings.push((
            network.file,
            Finding {
                severity,
                rule: "duplicate-name",
                span,
                pointer,
                what,
                help,
            },
        ));
    }
    findings
}

fn text(files: &[File], findings: &[(usize, Finding)], errors: usize, warnings: usize) -> String {
    let mut text: String = findings
        .iter()
        .map(|(file, finding)| finding.text(&files[*file].source))
        .collect();
    let number = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let found = format!(
        "{}, {}",
        number(errors, "error"),
        number(warnings, "warning")
    );
    text.push_str(&format!("{}: {found}\n", number(files.len(), "file")));
    text
}

fn json_text(
    files: &[File],
    findings: &[(usize, Finding)],
    errors: usize,
    warnings: usize,
) -> Result<String> {
    let all: Vec<_> = findings
        .iter()
        .map(|(file, finding)| finding.json(&files[*file].source))
        .collect();
    let names: Vec<&str> = files.iter().map(|file| file.source.name.as_str()).collect();
    let document = json!({"files": names, "errors": errors, "warnings": warnings, "findings": all});
    Ok(cni_core::json::to_string_pretty(&document) + "\n")
}
