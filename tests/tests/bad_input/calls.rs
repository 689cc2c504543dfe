//! Invalid arguments, plugin names and paths. The protocol's own demands on environment and input are in the
//! conformance rules.

use std::fs;

use serde_json::json;

use super::{Stage, network};

#[test]
fn malformed_arguments() {
    let stage = Stage::new();
    let config = network(json!({}));
    for (args, text) in [
        ("IgnoreUnknown=1;", "ARGS: invalid pair \"\""),
        ("MAC", "ARGS: invalid pair \"MAC\""),
        ("IgnoreUnknown=1;MAC=a=b", "ARGS: invalid pair \"MAC=a=b\""),
        (" ; ", "ARGS: invalid pair \" \""),
        ("A=b;C=d", "ARGS: unknown args [\"A=b\" \"C=d\"]"),
        (
            "mac=02:00:00:00:00:01",
            "ARGS: unknown args [\"mac=02:00:00:00:00:01\"]",
        ),
        (
            "IgnoreUnknown=maybe",
            "ARGS: error parsing value of pair \"IgnoreUnknown=maybe\": boolean unmarshal error: \
             invalid input maybe",
        ),
        ("A=b;IgnoreUnknown=0", "ARGS: unknown args [\"A=b\"]"),
    ] {
        for plugin in ["bridge", "host-local"] {
            stage.refused(stage.call(plugin, "ADD", &config).args(args), 999, &[text]);
        }
    }
    // A plugin knows only its own keys. As upstream, the bridge plugin refuses host-local's IP.
    let call = stage.call("bridge", "ADD", &config).args("IP=10.23.0.9");
    stage.refused(call, 999, &["ARGS: unknown args [\"IP=10.23.0.9\"]"]);
    let call = stage
        .call("bridge", "ADD", &config)
        .args("IgnoreUnknown=1;MAC=x");
    stage.refused(call, 999, &["x: invalid MAC address"]);
}

/// The type becomes a file name, which must not lead out of the plugin directories.
#[test]
fn plugin_types_that_are_not_file_names() {
    let stage = Stage::new();
    for (kind, text) in [
        ("../host-local", "invalid plugin name: ../host-local"),
        ("/bin/sh", "invalid plugin name: /bin/sh"),
        ("a/b", "invalid plugin name: a/b"),
        ("host-local/", "invalid plugin name: host-local/"),
        (".", "failed to find plugin \".\" in path ["),
        ("..", "failed to find plugin \"..\" in path ["),
        (
            "no-such-plugin",
            "failed to find plugin \"no-such-plugin\" in path [",
        ),
        (
            "Host-Local",
            "failed to find plugin \"Host-Local\" in path [",
        ),
    ] {
        let config = network(json!({"ipam": {"type": kind}}));
        for verb in ["ADD", "DEL", "STATUS", "GC"] {
            // STATUS: a plugin that is not there keeps ADD from working.
            let code = match verb == "STATUS" && text.starts_with("failed to find") {
                true => 50,
                false => 999,
            };
            stage.refused(stage.call("bridge", verb, &config), code, &[text]);
        }
    }
    let zero = network(json!({"ipam": {"type": "host-local\u{0}"}}));
    stage.add_refused("bridge", &zero, 999, &["host-local"]);
}

#[test]
fn plugins_that_are_missing_or_not_executable() {
    let stage = Stage::new();
    let config = network(json!({}));
    let dir = stage.host.dir().join("plugins");
    fs::create_dir(&dir).expect("make a directory");
    let shown = dir.display().to_string();
    let call = || stage.call("bridge", "ADD", &config).path(&dir);
    let text = format!("failed to find plugin \"host-local\" in path [{shown}]");
    stage.refused(call(), 999, &[&text]);
    fs::create_dir(dir.join("host-local")).expect("make a directory");
    stage.refused(call(), 999, &[&text]);
    fs::remove_dir(dir.join("host-local")).expect("remove the directory");
    fs::write(dir.join("host-local"), "not a program").expect("write a file");
    // A failed start has no error code of its own, so that the code is 0.
    let text = format!("fork/exec {shown}/host-local: permission denied");
    stage.refused(call(), 0, &[&text]);
}

/// The error contains the path of the namespace and what is wrong with it.
#[test]
fn paths_without_a_namespace() {
    let stage = Stage::new();
    let file = stage.host.write("file", b"");
    let file = file.to_string_lossy();
    for plugin in ["bridge", "loopback"] {
        let config = network(json!({}));
        for verb in ["ADD", "CHECK"] {
            let at = |path: &str| stage.call(plugin, verb, &config).netns(path);
            stage.refused(
                at("/run/netns/gone"),
                999,
                &["failed to Statfs \"/run/netns/gone\": no such file or directory"],
            );
            let below = format!("{file}/below");
            let text = format!("failed to Statfs {below:?}: not a directory");
            stage.refused(at(&below), 999, &[&text]);
            // 0x1021994 is the magic number of tmpfs.
            stage.refused(
                at(&file),
                999,
                &[&format!("unknown FS magic on {file:?}: 1021994")],
            );
            stage.refused(at("/proc/self/status"), 999, &["/proc/self/status"]);
            stage.refused(at("/proc/self/ns/mnt"), 999, &["/proc/self/ns/mnt"]);
        }
    }
}

/// CHECK fails without an attachment.
#[test]
fn check_without_an_attachment() {
    let stage = Stage::new();
    let config = network(json!({}));
    stage.refused(stage.call("bridge", "CHECK", &config), 999, &[]);
    let text = "host-local: Failed to find address added by container c1";
    stage.refused(stage.call("host-local", "CHECK", &config), 999, &[text]);
    stage.refused(
        stage.call("loopback", "CHECK", &config),
        999,
        &["loopback interface is down"],
    );
}
