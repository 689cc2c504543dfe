//! Tests of the `debug` binary.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use testkit::{Host, Node, Plugin};

fn prev_result() -> Value {
    json!({"cniVersion": "1.0.0", "ips": [{"address": "10.1.2.3/24"}], "dns": {}})
}

fn config(host: &Host, keys: Value) -> Value {
    let mut config = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "debug",
        "cniOutput": host.dir().join("calls"), "prevResult": prev_result()
    });
    for (key, value) in keys.as_object().expect("keys") {
        config[key] = value.clone();
    }
    config
}

#[test]
fn calls_are_appended_to_the_file() {
    let host = Host::new();
    let container = host.container("c1");
    let config = config(&host, json!({}));
    let plugin = Plugin::new("debug");
    let added = plugin.add(&container, &config).expect_ok();
    assert_eq!(added.json()["ips"][0]["address"], "10.1.2.3/24");
    for run in [
        plugin.check(&container, &config),
        plugin.del(&container, &config),
    ] {
        assert_eq!(run.expect_ok().stdout_text(), "");
    }
    let path = host.dir().join("calls");
    let text = fs::read_to_string(&path).expect("the file");
    let entry = |verb| {
        format!(
            "{verb}\nContainerID: c1\nNetns: {}\nIfName: eth0\nArgs: \nPath: {}\nStdinData: {config}\n{}\n",
            container.netns().display(),
            testkit::bin_dir().display(),
            "-".repeat(22)
        )
    };
    let expected: String = ["CmdAdd", "CmdCheck", "CmdDel"].map(entry).concat();
    assert_eq!(text, expected);
    let mode = path.metadata().expect("metadata").permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}

#[test]
fn hooks_run_in_the_namespace() {
    let host = Host::new();
    let container = host.container("c1");
    let seen = host.dir().join("seen");
    let hook = |text: &str| json!([["sh", "-c", format!("{text} >>{}", seen.display())]]);
    let config = config(
        &host,
        json!({
            "addHooks": hook("readlink /proc/self/ns/net"),
            "checkHooks": hook("echo $CNI_COMMAND"),
            "delHooks": hook("echo gone")
        }),
    );
    let plugin = Plugin::new("debug");
    plugin.add(&container, &config).expect_ok();
    plugin.check(&container, &config).expect_ok();
    plugin.del(&container, &config).expect_ok();
    let inside = container.command(&["readlink", "/proc/self/ns/net"]);
    let text = fs::read_to_string(seen).expect("output of the hooks");
    assert_eq!(text, format!("{}\nCHECK\ngone\n", inside.trim()));
}

#[test]
fn a_failing_hook_is_reported_and_the_chain_goes_on() {
    let host = Host::new();
    let container = host.container("c1");
    let hooks = json!([["sh", "-c", "echo said; exit 3"], ["/nonexistent"], []]);
    let run = Plugin::new("debug")
        .add(&container, &config(&host, json!({"addHooks": hooks})))
        .expect_ok();
    let stderr = run.stderr_text();
    for part in [
        "OUTPUT: said\n",
        "exit status: 3",
        "/nonexistent",
        "a hook is empty",
    ] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
}

#[test]
fn del_without_namespace_runs_no_hook() {
    let host = Host::new();
    let config = config(&host, json!({"delHooks": [["sh", "-c", "exit 3"]]}));
    let run = Plugin::new("debug")
        .command("DEL")
        .id("c1")
        .ifname("eth0")
        .config(&config)
        .run()
        .expect_ok();
    assert_eq!(run.stderr_text(), "");
}

#[test]
fn bad_configurations_are_errors() {
    let host = Host::new();
    let container = host.container("c1");
    let plugin = Plugin::new("debug");
    let hooks = config(&host, json!({"addHooks": "ls"}));
    let error = plugin.add(&container, &hooks).expect_error(999);
    assert!(error.msg.contains("addHooks"), "{}", error.msg);
    let output = config(&host, json!({"cniOutput": "/nonexistent/calls"}));
    let error = plugin.add(&container, &output).expect_error(999);
    assert!(error.msg.contains("/nonexistent/calls"), "{}", error.msg);
}
