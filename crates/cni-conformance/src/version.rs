//! Versions of the specification, and those that a plugin supports.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use child_process::{End, Running};
use serde_json::{Value, json};
pub(crate) use testkit::VERSIONS;

/// A version in a form that can be compared. What is not a number counts as 0.
pub(crate) fn ordinal(version: &str) -> [u32; 3] {
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| numbers.next().unwrap_or(0))
}

/// The versions that a plugin says it supports, oldest first, as far as this program knows them.
///
/// A plugin that gives no usable answer counts as one of version 0.1.0, which had no VERSION; runtimes do the same.
pub(crate) fn supported(program: &Path) -> Vec<String> {
    let answer = ask(program).unwrap_or_default();
    let listed = answer["supportedVersions"].as_array().into_iter().flatten();
    let listed: Vec<&str> = listed.filter_map(Value::as_str).collect();
    let known = VERSIONS.iter().filter(|version| listed.contains(version));
    let known: Vec<String> = known.map(ToString::to_string).collect();
    match known.is_empty() {
        true => vec![VERSIONS[0].to_owned()],
        false => known,
    }
}

/// The answer to VERSION, `None` if there is none.
fn ask(program: &Path) -> Option<Value> {
    let mut command = Command::new(program);
    command.env_clear().envs([
        ("CNI_COMMAND", "VERSION"),
        ("CNI_NETNS", "dummy"),
        ("CNI_IFNAME", "dummy"),
        ("CNI_PATH", "dummy"),
        ("PATH", testkit::SEARCH_PATH),
    ]);
    let newest = json!({"cniVersion": VERSIONS[VERSIONS.len() - 1]}).to_string();
    let time = Duration::from_secs(10) * testkit::patience();
    let output = Running::spawn(command)
        .ok()?
        .finish(newest.as_bytes(), time)
        .ok()?;
    match output.end {
        End::Exited(status) if status.success() => serde_json::from_slice(&output.stdout).ok(),
        _ => None,
    }
}
