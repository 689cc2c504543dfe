//! Tests of the `noop` binary.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use testkit::{Container, Host, Plugin, Run};

/// A host with a container, and a file that tells noop what to answer.
struct Setup {
    host: Host,
    container: Container,
    file: PathBuf,
}

impl Setup {
    fn new(script: &Value) -> Setup {
        let host = Host::new();
        let container = host.container("c1");
        let file = host.dir().join("debug.json");
        fs::write(&file, script.to_string()).expect("write the file");
        Setup {
            host,
            container,
            file,
        }
    }

    fn config(&self) -> Value {
        json!({"cniVersion": "1.1.0", "name": "net", "type": "noop", "debugFile": self.file})
    }

    fn call(&self, verb: &str, config: &Value) -> Run {
        Plugin::new("noop")
            .command(verb)
            .container(&self.container)
            .config(config)
            .run()
    }

    fn recorded(&self) -> Value {
        serde_json::from_slice(&fs::read(&self.file).expect("read the file")).expect("JSON")
    }
}

#[test]
fn the_answer_is_printed_as_it_stands_and_the_call_recorded() {
    let setup = Setup::new(&json!({"ReportResult": "not { json", "ReportStderr": "hello"}));
    for verb in ["ADD", "CHECK", "DEL", "GC", "STATUS"] {
        let run = setup.call(verb, &setup.config()).expect_ok();
        assert_eq!(run.stdout_text(), "not { json");
        assert_eq!(run.stderr_text(), "hello");
        let recorded = setup.recorded();
        assert_eq!(recorded["Command"], verb);
        let arguments = &recorded["CmdArgs"];
        assert_eq!(arguments["ContainerID"], "c1");
        assert_eq!(arguments["IfName"], "eth0");
        let keys: Vec<&String> = arguments.as_object().expect("an object").keys().collect();
        let expected = [
            "ContainerID",
            "Netns",
            "IfName",
            "Args",
            "Path",
            "NetnsOverride",
            "StdinData",
        ];
        assert_eq!(keys, expected);
        assert_eq!(recorded["ReportResult"], "not { json");
    }
}

#[test]
fn the_file_can_be_named_by_cni_args() {
    let setup = Setup::new(&json!({"ReportResult": "{}", "ExitWithCode": 7}));
    let config = json!({"cniVersion": "0.2.0", "name": "net", "type": "noop"});
    let run = Plugin::new("noop")
        .command("ADD")
        .container(&setup.container)
        .args(&format!("FOO=bar;DEBUG={}", setup.file.display()))
        .config(&config)
        .run();
    assert_eq!(run.status.code(), Some(7));
    assert_eq!(run.stdout_text(), "{}");
    assert_eq!(setup.recorded()["Command"], "ADD");
}

#[test]
fn errors_have_the_code_of_the_file() {
    let setup = Setup::new(&json!({"ReportError": "no", "ReportErrorCode": 11}));
    let error = setup.call("ADD", &setup.config()).expect_error(11);
    assert_eq!(error.msg, "no");
    let setup = Setup::new(&json!({"ReportError": "no"}));
    setup.call("DEL", &setup.config()).expect_error(999);
}

#[test]
fn results_of_the_previous_plugin_are_passed_on() {
    let mut config = Setup::new(&json!({"ReportResult": "PASSTHROUGH"})).config();
    let prev = json!({"cniVersion": "1.1.0", "ips": [{"address": "10.1.2.3/24"}], "dns": {}});
    config["prevResult"] = prev.clone();
    for (answer, dns) in [
        ("PASSTHROUGH", json!(null)),
        ("INJECT-DNS", json!({"nameservers": ["1.2.3.4"]})),
    ] {
        let setup = Setup::new(&json!({"ReportResult": answer}));
        config["debugFile"] = json!(setup.file);
        let result = setup.call("ADD", &config).expect_ok();
        assert!(!result.stdout_text().contains('\n'));
        assert_eq!(result.json()["ips"], prev["ips"]);
        assert_eq!(result.json()["dns"], dns);
    }
}

#[test]
fn versions_are_those_of_the_file() {
    let _host = Host::new();
    let all = Plugin::new("noop").version().expect_ok().json();
    assert_eq!(all["supportedVersions"][0], "0.-42.0");
    assert_eq!(all["supportedVersions"][1], "0.1.0");
    let setup = Setup::new(&json!({"ReportVersionSupport": ["0.3.1", "x"], "ReportResult": "{}"}));
    let version = setup.call("VERSION", &setup.config()).expect_ok().json();
    assert_eq!(version["supportedVersions"], json!(["0.3.1", "x"]));
    let error = setup.call("ADD", &setup.config()).expect_error(1);
    assert_eq!(error.msg, "incompatible CNI versions");
}

#[test]
fn calls_are_appended_to_a_log() {
    let setup = Setup::new(&json!({"ReportResult": "{}"}));
    let log = setup.host.dir().join("log.json");
    fs::write(&log, "").expect("make the log");
    let mut config = setup.config();
    config["commandLog"] = json!(log);
    setup.call("ADD", &config).expect_ok();
    setup.call("GC", &config).expect_ok();
    let entries: Value =
        serde_json::from_slice(&fs::read(&log).expect("read the log")).expect("JSON");
    assert_eq!(entries[0]["Command"], "ADD");
    assert_eq!(entries[1]["Command"], "GC");
    assert_eq!(entries[0]["CmdArgs"]["ContainerID"], "c1");
    assert!(entries[2].is_null());
}

#[test]
fn without_a_file_it_prints_an_empty_object() {
    let setup = Setup::new(&json!({}));
    let config = json!({"cniVersion": "1.1.0", "name": "net", "type": "noop"});
    let run = setup.call("ADD", &config).expect_ok();
    assert_eq!(run.stdout_text(), "{}");
    assert!(run.stderr_text().contains("debugFile"));
}

#[test]
fn an_unreadable_file_is_an_error() {
    let setup = Setup::new(&json!({"ExitWithCode": "x"}));
    let error = setup.call("ADD", &setup.config()).expect_error(5);
    assert!(error.details.contains("ExitWithCode"), "{}", error.details);
    fs::remove_file(&setup.file).expect("remove the file");
    let error = setup.call("ADD", &setup.config()).expect_error(5);
    assert!(error.msg.contains("debug.json"), "{}", error.msg);
}
