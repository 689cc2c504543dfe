//! Tables of test cases, one line each: `INPUT => EXPECTED`.
//!
//! `INPUT` consists of a JSON object, whose keys are added to a configuration, and of commands separated by `; `. Both
//! are optional. `EXPECTED` is a part of the error's message or of `MESSAGE; DETAILS`, after the error's code and a
//! colon if the code is not 999.

use serde_json::{Value, json};

/// One line of a table.
pub struct Case {
    /// Keys to add to the configuration.
    pub extra: Value,
    /// Commands to run.
    pub commands: Vec<String>,
    /// The error's code.
    pub code: u64,
    /// What the error mentions.
    pub words: String,
}

/// Parses a table.
///
/// # Panics
///
/// When a line has another form.
#[track_caller]
pub fn cases(table: &str) -> Vec<Case> {
    let lines = table.lines().map(str::trim);
    let cases: Vec<Case> = lines.filter(|line| !line.is_empty()).map(case).collect();
    assert!(!cases.is_empty(), "a table without cases");
    cases
}

#[track_caller]
fn case(line: &str) -> Case {
    let (input, expected) = line
        .split_once(" => ")
        .unwrap_or_else(|| panic!("not a case: {line}"));
    let (extra, commands) = split_json(input);
    let (code, words) = match expected.split_once(": ") {
        Some((code, words)) if code.parse::<u64>().is_ok() => {
            (code.parse().unwrap_or_default(), words)
        }
        _ => (999, expected),
    };
    Case {
        extra,
        commands: commands
            .split("; ")
            .filter(|command| !command.is_empty())
            .map(str::to_owned)
            .collect(),
        code,
        words: words.to_owned(),
    }
}

/// Splits `input` into the object at its beginning, empty if there is none, and the rest.
#[track_caller]
fn split_json(input: &str) -> (Value, &str) {
    if !input.starts_with('{') {
        return (json!({}), input);
    }
    let mut values = serde_json::Deserializer::from_str(input).into_iter();
    match values.next() {
        Some(Ok(value)) => (value, input[values.byte_offset()..].trim()),
        _ => panic!("not JSON: {input}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_keys_and_commands_and_words() {
        let cases = cases(
            r#"
            {"mtu": 5} => 50: mtu: 5
            link set eth0 down; link del eth0 => is down
            {"mtu": 5} link del eth0 => gone
            "#,
        );
        assert_eq!(cases.len(), 3);
        assert_eq!((cases[0].code, cases[0].words.as_str()), (50, "mtu: 5"));
        assert_eq!(cases[0].extra, json!({"mtu": 5}));
        assert_eq!(cases[1].commands, ["link set eth0 down", "link del eth0"]);
        assert_eq!((cases[1].code, &cases[1].extra), (999, &json!({})));
        assert_eq!(cases[2].commands, ["link del eth0"]);
    }
}
