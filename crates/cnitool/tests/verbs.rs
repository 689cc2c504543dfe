//! Upstream's commands: arguments, environment, output, error texts and exit codes.

mod support;

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{Setup, path};
use testkit::{Container, Node, Run, bin_dir};

/// The container ID of the path `/run/netns/c1`.
const ID: &str = "cnitool-20b4ff582526573bbe7d";

fn bridge() -> Value {
    json!({
        "cniVersion": "1.1.0", "name": "net",
        "plugins": [{
            "type": "bridge", "bridge": "cni0", "isGateway": true,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]}
        }]
    })
}

/// A network of the plugin `noop`, which answers as `script` says and records how it was called.
fn noop(setup: &Setup, script: &Value) {
    let file = setup.host.write("noop.json", script.to_string());
    setup.write(
        "10-net.conflist",
        &json!({
            "cniVersion": "1.1.0", "name": "net",
            "plugins": [{"type": "noop", "debugFile": file, "capabilities": {"mac": true}}]
        }),
    );
}

fn recorded(setup: &Setup) -> Value {
    let bytes = fs::read(setup.host.dir().join("noop.json")).expect("read the record");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// Demands exit code 1, and the error as upstream prints it: with the usage, and twice.
#[track_caller]
fn fails(run: &Run, verb: &str, message: &str) {
    assert_eq!(run.status.code(), Some(1), "{}", run.report());
    assert_eq!(run.stdout_text(), "");
    let usage = format!("Usage: cnitool {verb} [OPTIONS] <NETWORK> <NETNS>");
    assert_eq!(
        run.stderr_text(),
        format!("Error: {message}\n{usage}\n\n{message}\n")
    );
}

#[test]
fn an_attachment_lives_through_all_commands() {
    let setup = Setup::with_list(&bridge());
    let container = setup.host.container("c1");
    setup.verb("add", &container).expect_ok();
    setup.verb("del", &container).expect_ok();
    // The bridge and the last reserved address stay.
    let before = setup.host.snapshot();
    let run = setup.verb("add", &container).expect_ok();
    assert_eq!(run.stderr_text(), "");
    let result = run.json();
    assert_eq!(result["ips"][0]["address"], "10.1.0.3/24");
    assert_eq!(result["interfaces"][2]["sandbox"], path(&container));
    // As upstream prints it: four spaces, keys in order, no newline.
    let text = run.stdout_text();
    assert!(
        text.starts_with("{\n    \"cniVersion\": \"1.1.0\",\n    \"interfaces\": [\n"),
        "{text}"
    );
    assert!(text.ends_with("\n}"), "{text}");
    container.ping("10.1.0.1");
    let lease = fs::read_to_string("/var/lib/cni/networks/net/10.1.0.3").expect("the lease");
    assert!(lease.starts_with(ID), "{lease}");
    assert!(fs::exists(format!("/var/lib/cni/results/net-{ID}-eth0")).expect("the cache"));

    for verb in ["check", "status", "del", "del", "status"] {
        let run = setup.verb(verb, &container).expect_ok();
        assert_eq!(
            (run.stdout_text(), run.stderr_text()),
            (String::new(), String::new())
        );
    }
    let after = setup.host.snapshot();
    before
        .without("last_reserved_ip")
        .assert_same(&after.without("last_reserved_ip"));
}

#[test]
fn gc_deletes_all_attachments_of_the_network() {
    let setup = Setup::with_list(&bridge());
    let containers: Vec<Container> = ["c1", "c2"].map(|name| setup.host.container(name)).into();
    for container in &containers {
        setup.verb("add", container).expect_ok();
    }
    // The namespace is demanded, as by upstream, and not looked at.
    setup.run(&["gc", "net", "/nowhere"]).expect_ok();
    for container in &containers {
        assert_eq!(container.link_names(), ["lo"]);
    }
    let cached = fs::read_dir("/var/lib/cni/results")
        .expect("the cache")
        .count();
    assert_eq!(cached, 0);
}

#[test]
fn plugins_receive_arguments_of_the_environment() {
    let setup = Setup::new();
    noop(
        &setup,
        &json!({"ReportResult": "{\"cniVersion\": \"1.1.0\"}"}),
    );
    let run = setup
        .call(&["add", "net", "/x/../var/./run//netns/testing", "ignored"])
        .env("CNI_ARGS", "A=1;B=two")
        .env("CAP_ARGS", r#"{"mac": "02:00:00:00:00:01", "unknown": 1}"#)
        .run()
        .expect_ok();
    assert_eq!(run.stdout_text(), "{\n    \"cniVersion\": \"1.1.0\"\n}");
    let recorded = recorded(&setup);
    let arguments = &recorded["CmdArgs"];
    assert_eq!(recorded["Command"], "ADD");
    assert_eq!(arguments["ContainerID"], "cnitool-77383ca0a0715733ca6f");
    assert_eq!(arguments["Netns"], "/var/run/netns/testing");
    assert_eq!(arguments["IfName"], "eth0");
    assert_eq!(arguments["Args"], "A=1;B=two");
    assert_eq!(arguments["Path"], bin_dir().to_str().expect("UTF-8"));
    let stdin = arguments["StdinData"].to_string();
    assert!(!stdin.contains("unknown"), "{stdin}");
}

#[test]
fn the_interface_is_named_by_option_environment_or_default() {
    let setup = Setup::new();
    noop(
        &setup,
        &json!({"ReportResult": "{\"cniVersion\": \"1.1.0\"}"}),
    );
    for (arguments, variable, expected) in [
        (&["del", "net", "/n"][..], "", "eth0"),
        (&["del", "net", "/n"], "net1", "net1"),
        (&["--ifname", "net2", "del", "net", "/n"], "net1", "net2"),
        (&["del", "-i", "net3", "net", "/n"], "", "net3"),
        (&["del", "net", "/n", "--ifname=net4"], "", "net4"),
        (&["del", "net", "/n", "--ifname="], "net1", "net1"),
    ] {
        setup
            .call(arguments)
            .env("CNI_IFNAME", variable)
            .run()
            .expect_ok();
        assert_eq!(
            recorded(&setup)["CmdArgs"]["IfName"],
            expected,
            "{arguments:?}"
        );
    }
}

#[test]
fn single_configurations_are_networks_too() {
    let setup = Setup::new();
    let mut plugin = bridge()["plugins"][0].clone();
    plugin["name"] = "net".into();
    plugin["cniVersion"] = "0.4.0".into();
    setup.write("20-net.json", &plugin);
    let container = setup.host.container("c1");
    let result = setup.verb("add", &container).expect_ok().json();
    assert_eq!(result["cniVersion"], "0.4.0");
    setup.verb("del", &container).expect_ok();
}

#[test]
fn errors_have_the_texts_of_upstream() {
    let setup = Setup::new();
    let dir = setup.config_dir.display().to_string();
    let c1 = "/run/netns/c1";
    for verb in ["add", "check", "del", "gc", "status"] {
        let run = setup.run(&[verb]);
        fails(&run, verb, "requires at least 2 arg(s), only received 0");
        let run = setup.run(&[verb, "net"]);
        fails(&run, verb, "requires at least 2 arg(s), only received 1");
        let run = setup.run(&[verb, "net", c1]);
        fails(&run, verb, &format!("no net configurations found in {dir}"));
    }
    noop(
        &setup,
        &json!({"ReportError": "it went wrong", "ReportErrorCode": 11}),
    );
    let run = setup.run(&["add", "other", c1]);
    fails(
        &run,
        "add",
        &format!("no net configuration with name \"other\" in {dir}"),
    );
    for (args, piece) in [
        ("A", "A"),
        ("A=", "A="),
        ("A=1;", ""),
        ("=1", "=1"),
        ("A=1=2", "A=1=2"),
    ] {
        let run = setup
            .call(&["status", "net", c1])
            .env("CNI_ARGS", args)
            .run();
        fails(
            &run,
            "status",
            &format!("invalid CNI_ARGS pair \"{piece}\""),
        );
    }
    for args in ["{", "[1]", "\"x\""] {
        let run = setup.call(&["gc", "net", c1]).env("CAP_ARGS", args).run();
        assert!(
            run.stderr_text().starts_with("Error: CAP_ARGS: "),
            "{}",
            run.report()
        );
    }
    let run = setup
        .call(&["add", "net", c1])
        .without_env("CNI_PATH")
        .run();
    fails(
        &run,
        "add",
        "plugin type=\"noop\" failed (add): no paths provided",
    );
    let run = setup.run(&["add", "net", c1]);
    fails(
        &run,
        "add",
        "plugin type=\"noop\" failed (add): it went wrong",
    );
    let run = setup.run(&["del", "net", c1]);
    fails(
        &run,
        "del",
        "plugin type=\"noop\" failed (delete): it went wrong",
    );
    let run = setup.run(&["check", "net", c1]);
    fails(&run, "check", "it went wrong");
}

#[test]
fn a_result_that_cannot_be_printed_is_a_failure() {
    let setup = Setup::with_list(&bridge());
    let container = setup.host.container("c1");
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("open /dev/full");
    let output = Command::new(bin_dir().join("cnitool"))
        .args(["add", "net", path(&container)])
        .env("NETCONFPATH", &setup.config_dir)
        .env("CNI_PATH", bin_dir())
        .stdout(Stdio::from(full))
        .output()
        .expect("run cnitool");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("its result cannot be printed"), "{error}");
}
