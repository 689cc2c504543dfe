//! Single files, directories, and forms of the output.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use testkit::{examples, tool};

use crate::messages::MESSAGES;
use crate::{in_repository, messages, validate};

#[test]
fn broken_configurations_are_diagnosed() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken");
    let files: BTreeSet<String> = fs::read_dir(&dir)
        .expect("a directory")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let named: BTreeSet<String> = MESSAGES
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(files, named);
    for (name, expected) in MESSAGES {
        let path = dir.join(name).display().to_string();
        let run = validate(&[&path]);
        let got = messages(&run, &dir);
        let expected: Vec<String> = expected
            .iter()
            .map(|text| format!("{name}:{text}"))
            .collect();
        assert_eq!(got, expected, "{}", run.report());
        let has_error = expected.iter().any(|text| text.contains(": error: "));
        assert_eq!(run.is_ok(), !has_error, "{}", run.report());
        assert!(!validate(&["--strict", &path]).is_ok(), "{name}");
    }
}

#[test]
fn a_message_shows_the_line_and_the_place() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken/30-vlan-range.conflist");
    let path = path.display();
    let run = validate(&[&path.to_string()]);
    let expected = format!(
        "{path}:7:15: error: vlan 4095 is out of range (/plugins/0/vlan), write 0 to 4094\n  \
           7 |       \"vlan\": 4095,\n    \
             |               ^^^^\n\
         1 file: 1 error, 0 warnings\n"
    );
    assert_eq!(run.stdout_text(), expected);
}

#[test]
fn findings_are_json_for_programs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken/30-vlan-range.conflist");
    let path = path.display().to_string();
    let run = validate(&["--json", &path]);
    assert!(!run.is_ok());
    let finding = json!({
        "file": path, "line": 7, "column": 15, "severity": "error", "rule": "range",
        "pointer": "/plugins/0/vlan", "message": "vlan 4095 is out of range", "help": "write 0 to 4094",
    });
    assert_eq!(
        run.json(),
        json!({"files": [path], "errors": 1, "warnings": 0, "findings": [finding]})
    );
}

/// Writes the example of a page as a network: with the plugins that it needs around it.
fn as_list(example: Value) -> Value {
    if example.get("plugins").is_some() {
        return example;
    }
    let list =
        |plugins: Value| json!({"cniVersion": "1.1.0", "name": "example", "plugins": plugins});
    match example["type"].as_str() {
        Some("host-local" | "static" | "dhcp") => list(json!([{"type": "ptp", "ipam": example}])),
        Some("bandwidth" | "firewall" | "portmap" | "sbr" | "tuning" | "vrf") => {
            let interface =
                json!({"type": "ptp", "ipam": {"type": "host-local", "subnet": "10.99.0.0/16"}});
            list(json!([interface, example]))
        }
        _ => list(json!([example])),
    }
}

#[test]
fn examples_of_the_documentation_are_valid() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut count = 0;
    for entry in fs::read_dir(in_repository("Documentation/plugins")).expect("pages") {
        let page = entry.expect("an entry").path();
        for example in examples(&fs::read_to_string(&page).expect("a page")) {
            let file = dir.path().join("example.conflist");
            fs::write(&file, as_list(example).to_string()).expect("a file");
            let run = validate(&[&file.display().to_string()]);
            let got = messages(&run, dir.path());
            // There is an example of a bridge on layer 2.
            let unexpected = got
                .iter()
                .any(|text| !text.contains("containers get no addresses without ipam"));
            assert!(
                run.is_ok() && !unexpected,
                "{}: {}",
                page.display(),
                run.report()
            );
            count += 1;
        }
    }
    assert!(count > 60, "{count} examples");
}

#[test]
fn networks_of_runtimes_are_valid() {
    let mut count = 0;
    for entry in fs::read_dir(in_repository("crates/libcni/tests/net.d")).expect("a directory") {
        let path = entry.expect("an entry").path().display().to_string();
        let run = validate(&["--strict", &path]);
        assert!(run.is_ok(), "{}", run.report());
        count += 1;
    }
    assert!(count > 7, "{count} networks");
}

#[test]
fn a_directory_is_read_as_runtimes_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let list = |name: &str, subnet: &str| {
        json!({
            "cniVersion": "1.0.0", "name": name, "plugins": [
                {"type": "bridge", "ipam": {"type": "host-local", "ranges": [[{"subnet": subnet}]]}},
            ],
        })
    };
    let write = |name: &str, content: &Value| {
        fs::write(dir.path().join(name), content.to_string()).expect("a file")
    };
    write("10-a.conflist", &list("a", "10.1.0.0/16"));
    write("20-b.conflist", &list("b", "10.1.2.0/24"));
    write("30-c.conflist", &list("a", "10.3.0.0/16"));
    write("40-other.txt", &json!("ignored"));
    fs::create_dir(dir.path().join("a")).expect("a directory");
    write(
        "a/10-portmap.conf",
        &json!({"type": "portmap", "snap": true, "capabilities": {"portMappings": true}}),
    );
    let run = validate(&[&dir.path().display().to_string()]);
    let got = messages(&run, dir.path());
    let path = dir.path().display();
    assert_eq!(
        got,
        [
            r#"a/10-portmap.conf:1:19: warning: portmap has no key "snap" (/snap), write "snat""#
                .to_owned(),
            format!(
                r#"20-b.conflist:1:111: warning: 10.1.2.0/24 overlaps 10.1.0.0/16 of the network "a" in {path}/10-a.conflist (/plugins/0/ipam/ranges/0/0/subnet), write another subnet, unless the two networks are never connected"#
            ),
            format!(
                r#"30-c.conflist:1:30: error: the network "a" is also in {path}/10-a.conflist (/name), write another name"#
            ),
        ]
    );
    assert!(
        run.stdout_text()
            .ends_with("4 files: 1 error, 2 warnings\n"),
        "{}",
        run.report()
    );
}

#[test]
fn what_cannot_be_read_is_not_a_finding() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().display().to_string();
    for (arguments, text) in [
        (
            vec![path.clone()],
            format!("Error: {path} has no files with the suffix .conflist, .conf or .json"),
        ),
        (
            vec![format!("{path}/none.conflist")],
            format!(
                "Error: cannot read {path}/none.conflist: No such file or directory (os error 2)"
            ),
        ),
    ] {
        let run = tool("cnitool")
            .arguments(&["validate"])
            .arguments(&arguments)
            .run();
        assert_eq!(run.status.code(), Some(2), "{}", run.report());
        assert_eq!(run.stderr_text().trim_end(), text);
    }
    assert_eq!(validate(&["--frobnicate"]).status.code(), Some(2));
}

#[test]
fn any_text_is_survived() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("x.conflist");
    let deep = "[".repeat(100_000);
    let valid = r#"{"cniVersion":"1.0.0","name":"ü","plugins":[{"type":"bridge","ipam":{"type":"host-local"}}]}"#;
    let cut = (0..valid.len()).map(|length| valid.as_bytes()[..length].to_vec());
    let others = [
        b"\xff\xfe{\0}\0".to_vec(),
        deep.into_bytes(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"5".to_vec(),
    ];
    for bytes in cut.step_by(3).chain(others) {
        fs::write(&file, &bytes).expect("a file");
        let run = validate(&[&file.display().to_string()]);
        assert_eq!(
            run.status.code(),
            Some(1),
            "{:?}: {}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(99)]),
            run.report()
        );
        assert!(run.stdout_text().contains(": error: "), "{}", run.report());
    }
}
