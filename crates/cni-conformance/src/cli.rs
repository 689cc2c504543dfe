//! The command line.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use cni_core::skel::build_version;

use crate::report::{self, Summary};
use crate::rule::{Rule, Severity};
use crate::runner::{self, Report, Settings};
use crate::subject::{Subject, builtin};
use crate::version::{self, VERSIONS};
use crate::{UNUSABLE, rules};

/// Checks CNI plugins of any origin against the CNI specification and against what container runtimes rely on
///
/// Needs root, iproute2 and, for some rules, nft, tc and ping. Each rule runs on a private host made of namespaces; the
/// network and the files of the machine are not touched.
///
/// Exit status: 0 if no rule of the severities "must" and "runtime" failed, 1 if one did, 2 if rules could not be checked.
#[derive(Debug, Parser)]
#[command(name = "cni-conformance", version = build_version())]
pub(crate) struct Options {
    /// Directory of the plugins, which also becomes their CNI_PATH
    #[arg(long, value_name = "DIR", required_unless_present = "list")]
    cni_path: Option<PathBuf>,
    /// Check this plugin; without it, all that the directory has and that are known or described. Can be repeated
    #[arg(long, value_name = "NAME")]
    plugin: Vec<String>,
    /// Use only this version of the specification
    #[arg(long, value_name = "VERSION")]
    spec: Option<String>,
    /// JSON file that describes plugins which are not the reference plugins
    #[arg(long, value_name = "FILE")]
    subject: Option<PathBuf>,
    /// Check this rule, or this group of rules. Can be repeated
    #[arg(long, value_name = "ID|GROUP")]
    rule: Vec<String>,
    /// Check only rules that attach something, and depend on the kernel for that
    #[arg(long)]
    attaching: bool,
    /// Write the results as JSON; - is standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write the results as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Exit with 1 also if a rule of the severity "should" failed
    #[arg(long)]
    strict: bool,
    /// Stop at the first failure that counts for the exit status
    #[arg(long)]
    fail_fast: bool,
    /// List the rules, and check nothing
    #[arg(long)]
    list: bool,
    /// Rules to check at the same time; the default is four for each processor, since rules mostly wait
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Seconds for one rule
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
    /// Show whole calls and outputs, and why rules do not apply
    #[arg(long, short)]
    verbose: bool,
}

/// Lists the rules, or checks them.
///
/// # Errors
///
/// When they cannot be checked: the message says why, and what to do.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut rules = selected(&options.rule)?;
    rules.retain(|rule| rule.attaches || !options.attaching);
    if options.list {
        return list(options, &rules);
    }
    let dir = options.cni_path.as_deref().unwrap_or(Path::new(""));
    let dir = fs::canonicalize(dir)
        .with_context(|| format!("--cni-path {}: cannot open the directory", dir.display()))?;
    for hidden in ["/run", "/var/lib/cni"] {
        ensure!(
            !dir.starts_with(hidden),
            "--cni-path {}: rules run on hosts with an empty {hidden}; copy the plugins to another directory",
            dir.display()
        );
    }
    let subjects = subjects(options, &dir)?;
    can_check()?;
    let settings = Settings {
        dir: &dir,
        jobs: options.jobs.unwrap_or_else(default_jobs),
        stop_at: options.fail_fast.then_some(match options.strict {
            true => Severity::Should,
            false => Severity::Runtime,
        }),
        seconds: options.timeout * u64::from(testkit::patience()),
    };
    let reports = runner::check_all(subjects, &rules, &settings);
    write_files(options, &dir, &reports)?;
    let is_on_stdout = |file: &Option<PathBuf>| file.as_deref() == Some(Path::new("-"));
    if ![&options.json, &options.junit, &options.markdown]
        .into_iter()
        .any(is_on_stdout)
    {
        print(&report::text::results(&reports, options.verbose))?;
    }
    let summary = Summary::of(&reports);
    Ok(match summary {
        Summary { not_run: 1.., .. } => ExitCode::from(UNUSABLE),
        _ if summary.is_failure(options.strict) => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(1, |count| count.get() * 4)
}

/// The rules of these IDs and groups; all without any.
fn selected(names: &[String]) -> Result<Vec<&'static Rule>> {
    let is_wanted = |rule: &&Rule| {
        names.is_empty()
            || names
                .iter()
                .any(|name| name == rule.id || name == rule.group())
    };
    for name in names {
        ensure!(
            rules::all().any(|rule| name == rule.id || name == rule.group()),
            "--rule {name}: there is no such rule or group of rules; --list shows them"
        );
    }
    Ok(rules::all().filter(is_wanted).collect())
}

/// The plugins to check, with the versions that they support.
fn subjects(options: &Options, dir: &Path) -> Result<Vec<Subject>> {
    if let Some(version) = &options.spec {
        ensure!(
            VERSIONS.contains(&version.as_str()),
            "--spec {version}: no such version of the specification; there are {}",
            VERSIONS.join(", ")
        );
    }
    let described = match &options.subject {
        Some(file) => Subject::read(file)?,
        None => Vec::new(),
    };
    let known = |name: &str| {
        let own = described.iter().find(|subject| subject.plugin == name);
        own.cloned().or_else(|| builtin(name))
    };
    let names: BTreeSet<String> = match options.plugin.is_empty() {
        true => executables(dir)?
            .into_iter()
            .filter(|name| known(name).is_some())
            .collect(),
        false => options.plugin.iter().cloned().collect(),
    };
    ensure!(
        !names.is_empty(),
        "{} has no plugin that is known; describe yours in a file for --subject",
        dir.display()
    );
    let subject = |name: &String| {
        let program = dir.join(name);
        ensure!(program.is_file(), "{}: no such plugin", program.display());
        let Some(mut subject) = known(name) else {
            bail!("{name} is not a reference plugin: describe it in a file for --subject");
        };
        if subject.versions.is_empty() {
            subject.versions = version::supported(&program);
        }
        if let Some(only) = &options.spec {
            subject.versions.retain(|version| version == only);
        }
        Ok(subject)
    };
    names.iter().map(subject).collect()
}

/// The names of the files in a directory.
fn executables(dir: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let files = entries.flatten().filter(|entry| entry.path().is_file());
    Ok(files
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect())
}

/// Checks what every rule requires.
fn can_check() -> Result<()> {
    ensure!(
        testkit::is_root(),
        "this needs root, to create network and mount namespaces: run it with sudo, or in a user namespace: \
         unshare --user --map-root-user cni-conformance …"
    );
    let mut ip = Command::new("ip");
    ip.arg("-V").stdin(Stdio::null()).stdout(Stdio::null());
    ip.status()
        .context("cannot run ip, by which hosts are set up: install iproute2")?;
    Ok(())
}

fn list(options: &Options, rules: &[&'static Rule]) -> Result<ExitCode> {
    if let Some(file) = &options.json {
        write(file, &report::json::rules(rules))?;
    }
    if let Some(file) = &options.markdown {
        write(file, &report::markdown::rules(rules))?;
    }
    ensure!(
        options.junit.is_none(),
        "--junit has results, and --list makes none"
    );
    if options.json.is_none() && options.markdown.is_none() {
        print(&report::text::rules(rules))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write_files(options: &Options, dir: &Path, reports: &[Report]) -> Result<()> {
    if let Some(file) = &options.json {
        write(file, &report::json::results(dir, reports))?;
    }
    if let Some(file) = &options.junit {
        write(file, &report::junit::results(reports))?;
    }
    if let Some(file) = &options.markdown {
        write(file, &report::markdown::results(reports))?;
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<()> {
    if file == Path::new("-") {
        return print(text);
    }
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        // The reader has seen enough.
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("cannot write to standard output"),
    }
}
