//! One attempt with a mutant: builds what contains it and runs the tests until one fails.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use testkit::{DEFER, FEATURES_FILE};

use super::area::Tests;
use super::copy::Copy;
use super::list::Mutant;
use super::record::{Kill, Killer, Outcome};
use crate::commands::{self, Output};
use crate::project::{self, Package};

/// The packages whose code is mutated.
pub(super) const PACKAGES: [&str; 4] = ["cni-core", "cni-bridge", "cni-host-local", "cni-portmap"];

/// An example among the targets makes cargo use the features of the development dependencies, with which requests of the
/// plugins can be made to fail.
const WITH_TEST_FEATURES: [&str; 4] = ["--package", "cni-core", "--example", "low-ports"];

/// The program with the conformance suite.
const CONFORMANCE: &str = "cni-conformance";

/// nextest's descriptions of the test programs and of the workspace.
const PROGRAMS: &str = "programs.json";
const METADATA: &str = "metadata.json";

/// nextest's exit status for "a build failed".
const BUILD_FAILED: i32 = 101;

/// Builds all plugins and test programs without mutants and keeps them.
pub(super) fn prepare(copy: &Copy) -> Result<()> {
    let plugins: Vec<Package> = project::packages()?
        .into_iter()
        .filter(Package::is_plugin)
        .collect();
    let mut build = commands::cargo(&project::root(), ["build", "--quiet", "--bins"]);
    for plugin in &plugins {
        build.args(["--package", &plugin.name]);
    }
    commands::run(build.args(WITH_TEST_FEATURES))?;
    for program in plugins.iter().flat_map(|plugin| &plugin.binaries) {
        copy.keep(&project::target().join("debug").join(program), "clean")?;
    }
    let mut build = commands::cargo(&project::root(), ["build", "--quiet"]);
    commands::run(build.args(["--package", CONFORMANCE]))?;
    copy.keep(&project::target().join("debug").join(CONFORMANCE), "tests")?;
    let list = [
        "nextest",
        "list",
        "--list-type=binaries-only",
        "--message-format=json",
    ];
    let mut list = commands::cargo(&project::root(), list);
    for test in Tests::all().black_box {
        let (package, program) = test.split_once("::").unwrap_or((test, test));
        list.args(["--package", package, "--test", program]);
    }
    let mut list = commands::read(&mut list)?;
    let programs: Value = serde_json::from_str(&list).context("nextest's list of programs")?;
    for program in programs["rust-binaries"].as_object().into_iter().flatten() {
        let path = program.1["binary-path"].as_str().context("binary-path")?;
        let kept = copy.keep(Path::new(path), "tests")?;
        list = list.replace(path, &kept.display().to_string());
    }
    fs::write(copy.file(PROGRAMS), list)?;
    let metadata = ["metadata", "--format-version", "1", "--offline"];
    let metadata = commands::read(&mut commands::cargo(&project::root(), metadata))?;
    fs::write(copy.file(METADATA), metadata)?;
    // The tests that only run in User Mode Linux end up here and do nothing, see crates/testkit/src/needs.rs.
    fs::write(copy.file("deferred"), "")?;
    Ok(())
}

/// Runs all tests on clean code.
///
/// # Errors
///
/// When one fails: it would kill every mutant.
pub(super) fn passes_without_mutants(copy: &Copy) -> Result<()> {
    println!("all tests without a mutant");
    match attempt(copy, &Tests::all(), "clean")? {
        Outcome::Survived => Ok(()),
        Outcome::Unviable => bail!("the tests cannot be built"),
        Outcome::Killed(kill) => bail!(
            "{} {} fails without a mutant; see {}",
            kill.by.name(),
            kill.test,
            copy.file("logs/clean.log").display()
        ),
    }
}

/// Tries a mutant.
pub(super) fn of_mutant(copy: &Copy, mutant: &Mutant) -> Result<Outcome> {
    let tests = Tests::of_file(&mutant.file)?;
    let applied = copy.apply(mutant)?;
    let outcome = attempt(copy, &tests, &mutant.id);
    drop(applied);
    outcome
}

fn attempt(copy: &Copy, tests: &Tests, id: &str) -> Result<Outcome> {
    let mut build = copy.cargo(&["build"]);
    for package in PACKAGES {
        build.args(["--package", package]);
    }
    for plugin in &tests.plugins {
        build.args(["--bin", plugin]);
    }
    build.args(WITH_TEST_FEATURES);
    let log = copy.log(id)?;
    let status = build.stdout(log.try_clone()?).stderr(log).status();
    if !status.context("run cargo build")?.success() {
        return Ok(Outcome::Unviable);
    }
    copy.install(&tests.plugins)?;
    let steps = [conformance, units, black_box];
    let mut outcome = Outcome::Survived;
    for step in steps {
        outcome = step(copy, tests, id)?;
        if outcome != Outcome::Survived {
            break;
        }
    }
    kill_processes_of(&copy.bin())?;
    Ok(outcome)
}

/// Rules of the conformance suite. Its program was built without the mutant.
fn conformance(copy: &Copy, tests: &Tests, id: &str) -> Result<Outcome> {
    for plugin in &tests.plugins {
        let mut failed = broken_rule(copy, plugin, None, id)?;
        if let Some((rule, _)) = &failed {
            // What fails once by chance must not kill a mutant.
            failed = broken_rule(copy, plugin, Some(rule), id)?;
        }
        if let Some((rule, hung)) = failed {
            return Ok(Outcome::Killed(Kill {
                by: Killer::Conformance,
                test: format!("{plugin} {rule}"),
                hung,
            }));
        }
    }
    Ok(Outcome::Survived)
}

/// Checks one rule or all. Returns the one that failed, and whether it hung.
fn broken_rule(
    copy: &Copy,
    plugin: &str,
    only: Option<&str>,
    id: &str,
) -> Result<Option<(String, bool)>> {
    let mut rules = Command::new(copy.file("tests").join(CONFORMANCE));
    rules.arg("--cni-path").arg(copy.bin());
    rules.args([
        "--plugin",
        plugin,
        "--fail-fast",
        "--timeout",
        "180",
        "--json",
        "-",
    ]);
    rules.args(only.iter().flat_map(|rule| ["--rule", rule]));
    let output = rules.stderr(copy.log(id)?).output();
    let output = output.with_context(|| commands::shown(&rules))?;
    let results: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{}: {}", commands::shown(&rules), output.status))?;
    writeln!(copy.log(id)?, "{results:#}")?;
    Ok(failed_rule(&results))
}

/// Returns the first rule that failed among the results of cni-conformance, and whether it hung.
fn failed_rule(results: &Value) -> Option<(String, bool)> {
    let plugins = results["plugins"].as_array()?.iter();
    let mut rules = plugins
        .flat_map(|plugin| plugin["results"].as_array())
        .flatten();
    // A rule that only recommends something does not fail the suite.
    let failed = rules.find(|rule| rule["outcome"] == "failed" && rule["severity"] != "should")?;
    let seen = failed["seen"].as_str().unwrap_or_default();
    Some((failed["rule"].as_str()?.to_owned(), seen.contains("hangs")))
}

/// Unit tests, which are compiled with the code, and so are integration tests of a library.
fn units(copy: &Copy, tests: &Tests, id: &str) -> Result<Outcome> {
    let selected = tests.of_units();
    if selected.is_empty() {
        return Ok(Outcome::Survived);
    }
    let mut run = copy.cargo(&["nextest", "run"]);
    run_tests(copy, run.args(selected), Killer::Unit, id)
}

/// Test programs that run plugins. They were built from clean code, and are not built again.
fn black_box(copy: &Copy, tests: &Tests, id: &str) -> Result<Outcome> {
    let mut run = commands::cargo(&project::root(), ["nextest", "run"]);
    run.arg("--binaries-metadata").arg(copy.file(PROGRAMS));
    run.arg("--cargo-metadata").arg(copy.file(METADATA));
    for test in &tests.black_box {
        run.args(["-E", &format!("binary_id(={test})")]);
    }
    run_tests(copy, &mut run, Killer::BlackBox, id)
}

fn run_tests(copy: &Copy, tests: &mut Command, by: Killer, id: &str) -> Result<Outcome> {
    tests
        .args([
            "--profile",
            "mutants",
            "--config-file",
            "xtask/nextest.toml",
        ])
        // They mostly wait.
        .args([
            "--test-threads",
            "4",
            "--message-format",
            "libtest-json-plus",
        ])
        .env("NEXTEST_EXPERIMENTAL_LIBTEST_JSON", "1")
        .env("CNI_TEST_BIN_DIR", copy.bin())
        .env(DEFER, copy.file("deferred"))
        .env(FEATURES_FILE, copy.file("features"))
        .stderr(copy.log(id)?);
    let mut failure = None;
    let status = commands::watch(tests, Output::Stdout, |line| {
        if failure.is_none() {
            failure = failed_test(line);
        }
    })?;
    match (status.code(), failure) {
        (Some(0), _) => Ok(Outcome::Survived),
        (Some(BUILD_FAILED), None) => Ok(Outcome::Unviable),
        (_, Some((test, hung))) => Ok(Outcome::Killed(Kill { by, test, hung })),
        (_, None) => bail!("{}: {status}", commands::shown(tests)),
    }
}

/// Parses a line of nextest's `libtest-json-plus`. Returns the name of a test that failed, and whether it hung.
fn failed_test(line: &str) -> Option<(String, bool)> {
    let event: Value = serde_json::from_str(line).ok()?;
    if event["type"] != "test" || event["event"] != "failed" {
        return None;
    }
    // "cni-bridge::bridge$check::fails#2": the second attempt.
    let name = event["name"].as_str()?.replace('$', " ");
    let name = name.split('#').next().unwrap_or_default().to_owned();
    Some((name, event["reason"] == "time limit exceeded"))
}

/// Ends the processes of programs below `dir`: a mutant may have left some that never end.
fn kill_processes_of(dir: &Path) -> Result<()> {
    for process in fs::read_dir("/proc").context("/proc")?.flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // The program may have been replaced, but the path remains.
        if fs::read_link(process.path().join("exe")).is_ok_and(|exe| exe.starts_with(dir)) {
            // It may have ended by itself.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn failed_tests_are_found_in_the_output_of_nextest() {
        let failed = r#"{"type":"test","event":"failed","name":"cni-bridge::bridge$check::a#2","stdout":"x"}"#;
        let expected = Some(("cni-bridge::bridge check::a".to_owned(), false));
        assert_eq!(failed_test(failed), expected);
        let hung =
            r#"{"type":"test","event":"failed","name":"a::t$b","reason":"time limit exceeded"}"#;
        assert_eq!(failed_test(hung), Some(("a::t b".to_owned(), true)));
        for line in [
            r#"{"type":"test","event":"ok","name":"a::t$b"}"#,
            r#"{"type":"suite","event":"failed","failed":1}"#,
            "text",
        ] {
            assert_eq!(failed_test(line), None, "{line}");
        }
    }

    #[test]
    fn failed_rules_are_found_in_the_results_of_cni_conformance() {
        let results = |outcomes: &[(&str, &str, &str)]| {
            let rule = |(rule, severity, outcome): &(&str, &str, &str)| json!({"rule": rule, "severity": severity, "outcome": outcome, "seen": "the plugin hangs"});
            let rules: Vec<Value> = outcomes.iter().map(rule).collect();
            json!({"plugins": [{"plugin": "bridge", "results": rules}]})
        };
        let fine = [
            ("a", "must", "passed"),
            ("b", "should", "failed"),
            ("c", "must", "not-applicable"),
        ];
        assert_eq!(failed_rule(&results(&fine)), None);
        let failed = [("a", "must", "passed"), ("b", "runtime", "failed")];
        assert_eq!(failed_rule(&results(&failed)), Some(("b".to_owned(), true)));
    }

    #[test]
    fn processes_of_a_directory_are_killed() {
        let dir = tempfile::tempdir().expect("a directory");
        let program = dir.path().join("sleep");
        fs::copy("/bin/sleep", &program).expect("copied");
        let mut child = Command::new(&program).arg("600").spawn().expect("started");
        fs::remove_file(&program).expect("removed");
        kill_processes_of(dir.path()).expect("processes are listed");
        let status = child.wait().expect("it has ended");
        assert!(!status.success(), "{status}");
    }
}
