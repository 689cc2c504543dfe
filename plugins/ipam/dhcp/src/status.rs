//! `dhcp status`: lists the leases of the daemon.

use crate::caller::call;
use crate::config::SOCKET_PATH;
use crate::rpc::{self, Arguments, Reply};
use anyhow::bail;
use serde_json::Value;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "\
usage: dhcp status [--json] [-socketpath PATH]
Lists the leases of the daemon that listens on PATH (/run/cni/dhcp.sock).
";

/// The columns: heading, and key of the JSON form.
const COLUMNS: &[(&str, &str)] = &[
    ("CONTAINER", "containerID"),
    ("NETWORK", "network"),
    ("INTERFACE", "ifName"),
    ("PROTOCOL", "protocol"),
    ("STATE", "state"),
    ("ADDRESS", "address"),
    ("SERVER", "server"),
    ("RENEWS", "renewsIn"),
    ("EXPIRES", "expiresIn"),
];

/// Prints the leases; `arguments` are those after `status`.
pub(crate) fn main(arguments: &[OsString]) -> ExitCode {
    let (text, code) = match run(arguments) {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err(error) => {
            // Nothing better can be done when it is closed.
            let _ = writeln!(std::io::stderr(), "{error:#}");
            (String::new(), ExitCode::FAILURE)
        }
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(arguments: &[OsString]) -> anyhow::Result<String> {
    let (mut is_json, mut socket) = (false, SOCKET_PATH.to_owned());
    let mut rest = arguments.iter().map(|argument| argument.to_string_lossy());
    while let Some(argument) = rest.next() {
        let flag = argument
            .strip_prefix("--")
            .or_else(|| argument.strip_prefix('-'));
        match flag.map(|flag| flag.split_once('=').unwrap_or((flag, ""))) {
            Some(("json", "")) => is_json = true,
            Some(("socketpath", "")) => match rest.next() {
                Some(path) => socket = path.into_owned(),
                None => bail!("-socketpath needs a path\n{USAGE}"),
            },
            Some(("socketpath", path)) => socket = path.to_owned(),
            Some(("h" | "help", _)) => return Ok(USAGE.to_owned()),
            _ => bail!("unknown argument {argument}\n{USAGE}"),
        }
    }
    let Reply::Text(text) = call(&socket, rpc::LIST, &Arguments::default())? else {
        bail!("the daemon on {socket} sent something else than leases");
    };
    let leases: Value = serde_json::from_str(&text)?;
    if is_json {
        return Ok(serde_json::to_string_pretty(&leases)? + "\n");
    }
    Ok(table(
        leases.as_array().map(Vec::as_slice).unwrap_or_default(),
    ))
}

/// Returns the leases as a table, a line each.
fn table(leases: &[Value]) -> String {
    let heading = COLUMNS
        .iter()
        .map(|(heading, _)| (*heading).to_owned())
        .collect();
    let line = |lease: &Value| COLUMNS.iter().map(|(_, key)| cell(&lease[*key])).collect();
    let lines: Vec<Vec<String>> = std::iter::once(heading)
        .chain(leases.iter().map(line))
        .collect();
    let width = |column: usize| {
        lines
            .iter()
            .map(|line| line[column].len())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        let joined: Vec<String> = cells.collect();
        text.push_str(joined.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(seconds) => format!("{seconds}s"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_a_table() {
        let leases = serde_json::json!([{
            "containerID": "c1", "network": "lan", "ifName": "eth0", "protocol": "ipv4", "state": "bound",
            "address": "10.0.0.5/24", "server": "10.0.0.1", "renewsIn": 30, "expiresIn": null,
        }]);
        let text = table(leases.as_array().unwrap());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "CONTAINER  NETWORK  INTERFACE  PROTOCOL  STATE  ADDRESS      SERVER    RENEWS  EXPIRES",
                "c1         lan      eth0       ipv4      bound  10.0.0.5/24  10.0.0.1  30s     -",
            ]
        );
    }
}
