//! `cnitool chain`: plugins in files beside a network's list.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};
use support::Setup;
use testkit::{Node, Run};

fn list() -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "net",
        "plugins": [{
            "type": "ptp", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]}
        }]
    })
}

fn tuning() -> Value {
    json!({"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}})
}

/// Writes the configuration of a plugin. Returns its path.
fn plugin(setup: &Setup, config: &Value) -> String {
    setup
        .host
        .write("plugin.json", config.to_string())
        .display()
        .to_string()
}

/// The files in the folder of the network.
fn folder(setup: &Setup) -> Vec<String> {
    let entries = fs::read_dir(setup.config_dir.join("net"));
    let mut names: Vec<String> = entries
        .into_iter()
        .flatten()
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    names.sort();
    names
}

#[track_caller]
fn fails(run: &Run, message: &str) {
    assert_eq!(run.status.code(), Some(1), "{}", run.report());
    assert_eq!(run.stdout_text(), "");
    assert_eq!(run.stderr_text(), format!("Error: {message}\n"));
}

#[test]
fn a_plugin_is_added_runs_and_is_removed() {
    let setup = Setup::with_list(&list());
    let file = setup.config_dir.join("10-net.conflist");
    fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).expect("set the mode");
    let plugin = plugin(&setup, &tuning());
    let run = setup.run(&["chain", "add", "net", &plugin]).expect_ok();
    let path: PathBuf = setup.config_dir.join("net/10-tuning.conf");
    assert_eq!(
        run.stdout_text(),
        format!("added {}\nchain of net: ptp, tuning\n", path.display())
    );
    assert_eq!(run.stderr_text(), "");
    assert_eq!(
        fs::read_to_string(&path).expect("the file"),
        tuning().to_string()
    );
    let mode = fs::metadata(&path).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o640, "that of the list");
    assert_eq!(folder(&setup), ["10-tuning.conf"]);

    let container = setup.host.container("c1");
    setup.verb("add", &container).expect_ok();
    let somaxconn = container.command(&["cat", "/proc/sys/net/core/somaxconn"]);
    assert_eq!(somaxconn.trim(), "500");

    let run = setup.run(&["chain", "remove", "net", &plugin]);
    fails(
        &run,
        "10-tuning.conf: network net has attachments (1), whose DEL would not call the plugin any more; delete them \
         first, or give --force",
    );
    setup.verb("del", &container).expect_ok();
    let run = setup.run(&["chain", "remove", "net", &plugin]).expect_ok();
    assert_eq!(
        run.stdout_text(),
        format!("removed {}\nchain of net: ptp\n", path.display())
    );
    assert!(
        !setup.config_dir.join("net").exists(),
        "an empty folder is removed"
    );
    setup.verb("add", &container).expect_ok();
    setup.verb("del", &container).expect_ok();
}

#[test]
fn plugins_are_ordered_by_the_names_of_their_files() {
    let setup = Setup::with_list(&list());
    let tuning = plugin(&setup, &tuning());
    setup.run(&["chain", "add", "net", &tuning]).expect_ok();
    let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    let run = setup
        .call(&["chain", "add", "net", "-"])
        .config(&portmap)
        .run()
        .expect_ok();
    assert!(
        run.stdout_text().ends_with(": ptp, tuning, portmap\n"),
        "{}",
        run.report()
    );
    let run = setup
        .call(&["chain", "add", "net", "-", "--name", "05-first.conf"])
        .config(&json!({"type": "firewall"}))
        .run()
        .expect_ok();
    assert!(
        run.stdout_text()
            .ends_with(": ptp, firewall, tuning, portmap\n"),
        "{}",
        run.report()
    );
    assert_eq!(
        folder(&setup),
        ["05-first.conf", "10-tuning.conf", "20-portmap.conf"]
    );
    // By the name of the file, and by the type.
    let run = setup
        .run(&["chain", "remove", "net", "05-first.conf"])
        .expect_ok();
    assert!(
        run.stdout_text().ends_with(": ptp, tuning, portmap\n"),
        "{}",
        run.report()
    );
    setup
        .run(&["chain", "remove", "net", "portmap"])
        .expect_ok();
    assert_eq!(folder(&setup), ["10-tuning.conf"]);
}

#[test]
fn attachments_without_the_plugin_are_mentioned() {
    let setup = Setup::with_list(&list());
    let container = setup.host.container("c1");
    setup.verb("add", &container).expect_ok();
    let plugin = plugin(&setup, &tuning());
    let run = setup.run(&["chain", "add", "net", &plugin]).expect_ok();
    assert_eq!(
        run.stderr_text(),
        "note: existing attachments of net (1) do not have tuning until their next ADD\n"
    );
    setup
        .run(&["chain", "remove", "net", "tuning", "--force"])
        .expect_ok();
    setup.verb("del", &container).expect_ok();
}

#[test]
fn what_could_not_run_is_not_written() {
    let setup = Setup::with_list(&list());
    let dir = setup.config_dir.display();
    let add = |config: &str| {
        let path = setup.host.write("plugin.json", config);
        setup.run(&["chain", "add", "net", path.to_str().expect("UTF-8")])
    };
    let file = setup.host.dir().join("plugin.json");
    let file = file.display();
    let hint = format!("{file}: one plugin's configuration is needed, as in \"plugins\" of a list");
    let run = add("{\"plugins\": []}");
    fails(
        &run,
        &format!("{hint}: error parsing configuration: missing 'type'"),
    );
    let error = add("{").stderr_text();
    assert!(
        error.starts_with(&format!("Error: {hint}: error parsing")),
        "{error}"
    );
    let error = add("{\"type\": \"missing\"}").stderr_text();
    assert!(
        error.contains("failed to find plugin \"missing\""),
        "{error}"
    );
    for (config, what) in [
        (
            r#"{"type": "tuning", "sysctl": {"net.core.somaxconn": 500}}"#,
            "1:53: error: expected a string, got 500",
        ),
        (
            r#"{"type": "macvlan", "master": "eth0"}"#,
            "error: ptp has already created the interface that macvlan would create",
        ),
    ] {
        let error = add(config).stderr_text();
        let begin = format!("Error: nothing was added, since this is wrong:\n{file}:");
        assert!(error.starts_with(&begin) && error.contains(what), "{error}");
    }
    // The plugin does not know the version of the list.
    setup.write(
        "10-net.conflist",
        &json!({"cniVersion": "9.9.9", "name": "net", "plugins": [{"type": "ptp"}]}),
    );
    let error = add("{\"type\": \"tuning\"}").stderr_text();
    assert!(
        error.contains("plugin tuning does not support config version \"9.9.9\""),
        "{error}"
    );
    let run = setup
        .call(&["chain", "add", "net", "-"])
        .stdin("{\"type\": \"tuning\"}")
        .without_env("CNI_PATH")
        .run();
    assert!(
        run.stderr_text()
            .starts_with("Error: CNI_PATH is not set: "),
        "{}",
        run.report()
    );
    setup.write(
        "10-net.conflist",
        &json!({"name": "net", "loadOnlyInlinedPlugins": true, "plugins": [{"type": "ptp"}]}),
    );
    fails(
        &add("{\"type\": \"tuning\"}"),
        &format!(
            "{dir}/10-net.conflist: loadOnlyInlinedPlugins is true, so that plugins beside the list are not read; set \
             it to false, or add the plugin to the list"
        ),
    );
    assert!(!setup.config_dir.join("net").exists());
}

#[test]
fn a_network_must_be_a_list_that_exists() {
    let setup = Setup::with_list(&list());
    let dir = setup.config_dir.display();
    let add = |network: &str| {
        setup
            .call(&["chain", "add", network, "-"])
            .config(&tuning())
            .run()
    };
    fails(
        &add("other"),
        &format!("no net configuration with name \"other\" in {dir}"),
    );
    setup.write("20-single.conf", &json!({"name": "single", "type": "ptp"}));
    fails(
        &add("single"),
        "network single is the configuration of a single plugin, which has no chain; make it a list in a .conflist \
         file first",
    );
    let error = add("../net").stderr_text();
    assert!(error.starts_with("Error: network ../net: "), "{error}");
}

#[test]
fn an_existing_file_is_never_replaced() {
    let setup = Setup::with_list(&list());
    let file = plugin(&setup, &tuning());
    setup.run(&["chain", "add", "net", &file]).expect_ok();
    let run = setup.run(&["chain", "add", "net", &file, "--name", "10-tuning.conf"]);
    fails(
        &run,
        &format!(
            "{}/net/10-tuning.conf: exists; remove it first, or give another --name",
            setup.config_dir.display()
        ),
    );
    for name in ["../10-net.conf", "x.json", ".x.conf"] {
        let error = setup
            .run(&["chain", "add", "net", &file, "--name", name])
            .stderr_text();
        assert!(error.contains("not a name of a plugin's file"), "{error}");
    }
    assert_eq!(folder(&setup), ["10-tuning.conf"]);
}

#[test]
fn only_one_additional_plugin_is_removed() {
    let setup = Setup::with_list(&list());
    let run = setup.run(&["chain", "remove", "net", "tuning"]);
    fails(
        &run,
        &format!(
            "tuning: network net has no additional plugins; those in its list stand in {}/10-net.conflist",
            setup.config_dir.display()
        ),
    );
    let file = plugin(&setup, &tuning());
    for _ in 0..2 {
        setup.run(&["chain", "add", "net", &file]).expect_ok();
    }
    for wanted in ["tuning", &file] {
        let run = setup.run(&["chain", "remove", "net", wanted]);
        fails(
            &run,
            &format!("{wanted}: 10-tuning.conf, 20-tuning.conf are that; give the name of one"),
        );
    }
    let run = setup.run(&["chain", "remove", "net", "portmap"]);
    fails(
        &run,
        "portmap: not an additional plugin of network net, which has 10-tuning.conf, 20-tuning.conf",
    );
    // A network needs a plugin.
    setup
        .run(&["chain", "remove", "net", "10-tuning.conf"])
        .expect_ok();
    setup.write(
        "10-net.conflist",
        &json!({"cniVersion": "1.0.0", "name": "net"}),
    );
    let run = setup.run(&["chain", "remove", "net", "tuning"]);
    fails(
        &run,
        &format!(
            "20-tuning.conf is the only plugin of network net; remove the network instead: {}/10-net.conflist",
            setup.config_dir.display()
        ),
    );
}
