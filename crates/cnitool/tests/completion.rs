//! Completions of command lines, in bash.

mod support;

use std::process::Command;

use serde_json::json;
use support::{Setup, path};
use testkit::bin_dir;

/// The words that bash offers for the last one of a command line.
fn completed(setup: &Setup, words: &[&str]) -> Vec<String> {
    let (last, index) = (words.last().expect("a word"), words.len() - 1);
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let script = format!(
        "source <(cnitool completion bash)\n\
         COMP_WORDS=({}); COMP_CWORD={index}\n\
         _clap_complete_cnitool cnitool '{last}'\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        quoted.join(" ")
    );
    let path = format!(
        "{}:{}",
        bin_dir().display(),
        std::env::var("PATH").expect("PATH")
    );
    let output = Command::new("bash")
        .args(["-c", &script])
        .env("PATH", path)
        .env("NETCONFPATH", &setup.config_dir)
        .output()
        .expect("run bash");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && error.is_empty(),
        "{}: {error}",
        output.status
    );
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(String::from)
        .collect()
}

#[test]
fn bash_completes_commands_networks_and_namespaces() {
    let setup = Setup::with_list(&json!({"name": "blue", "plugins": [{"type": "ptp"}]}));
    setup.write("20.conf", &json!({"name": "green", "type": "ptp"}));
    // Others are still offered.
    setup.write("30.conflist", &json!({}));
    let container = setup.host.container("c1");
    let commands = completed(&setup, &["cnitool", "c"]);
    assert_eq!(commands, ["check", "chain", "completion"]);
    assert_eq!(completed(&setup, &["cnitool", "add", "b"]), ["blue"]);
    for words in [
        &["cnitool", "del", "--ifname", "net1", ""][..],
        &["cnitool", "show", ""],
        &["cnitool", "chain", "add", ""],
    ] {
        let networks = completed(&setup, words);
        assert_eq!(networks[..2], ["blue", "green"], "{words:?}");
    }
    let namespaces = completed(&setup, &["cnitool", "add", "blue", ""]);
    assert_eq!(namespaces[0], path(&container));
    let options = completed(&setup, &["cnitool", "show", "--c"]);
    assert_eq!(options, ["--cache-dir"]);
}
