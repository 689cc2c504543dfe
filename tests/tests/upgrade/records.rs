//! Records below /run/cni from one version of ours to the next: their form is fixed, and records of a later version do no
//! harm.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use blackbox::state;
use serde_json::{Value, json};

use crate::pod::Pod;
use crate::site::{Method, Side, Site};

const DIR: &str = "/run/cni";

/// The records of a pod: the directory of each, and the keys of its content with the kinds of their values. What stands
/// here is part of the interface between versions: a key may be added, and has to be optional when it is read. Anything
/// else is a new version of the form.
const FORMS: &[(&str, &str)] = &[
    ("filters", "{data: {masquerade: [text]}}"),
    (
        "firewall",
        "{data: {address: text, policy: null, zone: null}}",
    ),
    (
        "portmap",
        "{data: {location: {iptables: {ipv4: bool, ipv6: bool}}, targets: [text]}}",
    ),
    (
        "sbr",
        "{data: {hints: [], index: number, routes: [[bool | text]], rules: [[number | text]]}}",
    ),
    (
        "tuning",
        "{mtu: number, network: text, set: {mtu: number}, sysctls: [{path: text, set: text, was: text}]}",
    ),
];

/// The other keys of a record; the file of tuning is upstream's and has none of them.
const ENVELOPE: &str = "containerID: text, ifName: text, network: text, version: number";

/// All files below a directory.
fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.path().is_dir() {
            true => files(&entry.path(), found),
            false => found.push(entry.path()),
        }
    }
}

/// The records, by path.
fn records() -> BTreeMap<PathBuf, Value> {
    let mut found = Vec::new();
    files(Path::new(DIR), &mut found);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let value = serde_json::from_str(&text);
        (
            path.clone(),
            value.unwrap_or_else(|err| panic!("{}: {err}: {text}", path.display())),
        )
    };
    found.into_iter().map(read).collect()
}

/// The kinds of all values.
fn form(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "text".to_owned(),
        Value::Array(values) => {
            let kinds: BTreeSet<String> = values.iter().map(form).collect();
            format!("[{}]", Vec::from_iter(kinds).join(" | "))
        }
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| format!("{key}: {}", form(value));
            let members: BTreeSet<String> = members.iter().map(member).collect();
            format!("{{{}}}", Vec::from_iter(members).join(", "))
        }
    }
}

/// A site with our plugins and its first pod, which has records.
fn attached() -> (Site, Pod) {
    let mut site = Site::new();
    site.install(Side::Ours, Method::Copy);
    let first = site.attach("first");
    state::wait_for_addresses(&site.host);
    site.detach(first);
    let pod = site.attach("pod");
    (site, pod)
}

#[test]
fn records_have_the_form_of_version_1() {
    let (site, pod) = attached();
    let found: BTreeSet<(String, String)> = records()
        .iter()
        .map(|(path, record)| {
            let topic = path
                .parent()
                .and_then(|dir| dir.strip_prefix(DIR).ok())
                .unwrap();
            let mut record = record.clone();
            if let Some(data) = record.get_mut("data").map(Value::take) {
                assert_eq!(record["version"], 1);
                record.as_object_mut().unwrap().remove("data");
                assert_eq!(form(&record), format!("{{{ENVELOPE}}}"));
                record = json!({"data": data});
            }
            (topic.display().to_string(), form(&record))
        })
        .collect();
    let expected: BTreeSet<(String, String)> = FORMS
        .iter()
        .map(|(topic, form)| ((*topic).to_owned(), (*form).to_owned()))
        .collect();
    assert_eq!(found, expected);
    site.detach(pod);
}

/// Changes each record as `change` says, deletes the pod, and demands that nothing of it is left but records that
/// contain `rest`.
fn changed(change: impl Fn(&Path, &mut Value), is_checked: bool, rest: &str) {
    let (site, pod) = attached();
    let number = records().len();
    site.detach(pod);
    let settled = state::of(&site.host);
    let pod = site.attach("pod");
    assert_eq!(records().len(), number);
    for (path, mut record) in records() {
        change(&path, &mut record);
        fs::write(&path, record.to_string()).unwrap();
    }
    if is_checked {
        site.check(&pod);
    }
    site.works(&pod);
    site.detach(pod);
    // Also without the names of the directories of records that are left.
    let left = state::of(&site.host).without(rest);
    settled.assert_same(&left.filtered(|line| !(line.starts_with(DIR) && line.ends_with('/'))));
}

/// A later version adds keys.
#[test]
fn records_with_unknown_keys_are_used() {
    changed(
        |path, record| {
            record["later"] = json!({"key": [1, "two"]});
            if let Some(data) = record.get_mut("data").and_then(Value::as_object_mut) {
                // Those of filters are lists of words by topic.
                let is_by_topic = path.starts_with("/run/cni/filters");
                let value = if is_by_topic {
                    json!(["word"])
                } else {
                    json!(true)
                };
                data.insert("later".into(), value);
            }
        },
        true,
        "nothing",
    );
}

/// A later version has another form. What was added is searched for, as without a record, and DEL succeeds. Some of the
/// records stay for the version that can read them.
#[test]
fn records_of_another_form_are_searched_past() {
    changed(
        |_, record| {
            // That of tuning is upstream's form, without a version.
            if record.get("version").is_some() {
                *record =
                    json!({"version": 2, "owner": ["pods", "pod-1", "eth0"], "content": "unknown"});
            }
        },
        false,
        r#"\"version\":2"#,
    );
}
