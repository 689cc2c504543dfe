//! The examples on the page of the documentation: commands, and what they print.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::Setup;
use testkit::{bin_dir, examples};

const PAGE: &str = include_str!("../../../Documentation/cnitool.md");

/// A command of the page, with the lines below it.
struct Example {
    command: String,
    output: String,
}

/// The commands in the blocks of the language `console`, in their order.
fn commands() -> Vec<Example> {
    let mut found: Vec<Example> = Vec::new();
    for block in PAGE.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default();
        for line in block.lines() {
            match line.strip_prefix("$ ") {
                Some(command) => found.push(Example {
                    command: command.to_owned(),
                    output: String::new(),
                }),
                None => {
                    let example = found.last_mut().expect("a command precedes its output");
                    example.output += line;
                    example.output.push('\n');
                }
            }
        }
    }
    found
}

/// Replaces what differs from run to run: generated names of links and hardware addresses.
fn normalized(text: &str) -> String {
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut out = String::new();
    for line in text.lines() {
        let mut line = line.to_owned();
        if let Some(start) = line.find("\"mac\": \"") {
            line.truncate(start);
            line += "\"mac\": …";
        }
        let mut from = 0;
        while let Some(found) = line[from..].find("veth") {
            let start = from + found + "veth".len();
            if line.get(start..start + 8).is_some_and(is_hex) {
                line.replace_range(start..start + 8, "xxxxxxxx");
            }
            from = start;
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

/// Runs a command in a shell that has the exports of all earlier ones.
fn run(setup: &Setup, exports: &str, command: &str) -> String {
    let path = format!(
        "{}:{}",
        bin_dir().display(),
        std::env::var("PATH").expect("PATH")
    );
    let dir = setup.config_dir.display().to_string();
    let output = Command::new("sh")
        .args(["-c", &format!("{exports}{command}")])
        .current_dir(setup.host.dir())
        .env("PATH", path)
        .env("NETCONFPATH", &setup.config_dir)
        .output()
        .expect("run sh");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && error.is_empty(),
        "{command}: {}\n{error}",
        output.status
    );
    String::from_utf8_lossy(&output.stdout).replace(&dir, "/etc/cni/net.d")
}

#[test]
fn the_commands_of_the_page_print_what_it_says() {
    let setup = Setup::new();
    let [list, plugin] = &examples(PAGE)[..2] else {
        panic!("the page has a list and a plugin");
    };
    setup.write("10-mynet.conflist", list);
    setup.host.write("tuning.json", plugin.to_string());
    let bin = bin_dir().display().to_string();
    let mut exports = String::new();
    let mut transcript = String::new();
    for example in commands() {
        transcript += &format!("$ {}\n", example.command);
        let command = example.command.replace("/opt/cni/bin", &bin);
        if command.starts_with("export ") {
            exports += &format!("{command}\n");
            continue;
        }
        let printed = run(&setup, &exports, &command);
        transcript += &printed;
        assert_eq!(
            normalized(&example.output),
            normalized(&printed),
            "the page (left) says otherwise; so far the commands printed\n{transcript}"
        );
    }
    assert!(
        transcript.matches("\n$ cnitool").count() > 8,
        "{transcript}"
    );
    assert!(
        fs::exists(Path::new("/run/netns/blue")).expect("look up"),
        "the host is private"
    );
}
