//! Help and errors of the command line.

use testkit::{Run, tool};

fn cnitool(arguments: &[&str]) -> Run {
    tool("cnitool").arguments(arguments).run()
}

#[test]
fn help_is_on_standard_output() {
    for arguments in [&[][..], &["--help"], &["help"]] {
        let run = cnitool(arguments).expect_ok();
        assert!(run.stdout_text().contains("completion"), "{}", run.report());
        assert_eq!(run.stderr_text(), "");
    }
    let help = cnitool(&["help", "completion"]).expect_ok().stdout_text();
    assert!(help.contains("zsh"), "{help}");
}

#[test]
fn an_unknown_command_is_reported_as_upstream_does() {
    let run = cnitool(&["bogus"]);
    assert_eq!(run.status.code(), Some(1));
    assert_eq!(run.stdout_text(), "");
    assert_eq!(
        run.stderr_text(),
        "Error: unknown command \"bogus\" for \"cnitool\"\nRun 'cnitool --help' for usage.\n\
         unknown command \"bogus\" for \"cnitool\"\n"
    );
    let message =
        "unknown command \"completon\" for \"cnitool\"\n\nDid you mean this?\n\tcompletion\n";
    assert_eq!(
        cnitool(&["completon"]).stderr_text(),
        format!("Error: {message}\nRun 'cnitool --help' for usage.\n{message}\n")
    );
}

#[test]
fn an_unknown_option_is_reported_as_upstream_does() {
    for (option, message) in [
        ("--bogus", "unknown flag: --bogus"),
        ("-b", "unknown shorthand flag: 'b' in -b"),
    ] {
        let run = cnitool(&["completion", option, "bash"]);
        assert_eq!(run.status.code(), Some(1));
        let error = run.stderr_text();
        assert!(error.starts_with(&format!("Error: {message}\n")), "{error}");
        assert!(error.contains("Usage:"), "{error}");
        assert!(error.ends_with(&format!("\n\n{message}\n")), "{error}");
    }
}

#[test]
fn completion_prints_a_script_that_calls_cnitool() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = cnitool(&["completion", shell]).expect_ok().stdout_text();
        assert!(script.contains("CNITOOL_COMPLETE"), "{shell}: {script}");
    }
    let error = cnitool(&["completion", "csh"]).stderr_text();
    assert!(error.starts_with("Error: invalid value 'csh'"), "{error}");
}
