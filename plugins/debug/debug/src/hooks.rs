//! Commands in the container's namespace.

use std::process::Command;
use std::time::Duration;

use child_process::{End, Output, Running};
use cni_core::{Call, ns::Netns};

use crate::Hook;

/// How long one hook may run.
const TIME: Duration = Duration::from_secs(60);

/// Runs each hook with the plugin's environment. A hook that fails is reported on standard error; the chain goes on.
/// Without a namespace there is nothing to look at, and no hook is run.
pub(crate) fn run(call: &Call, hooks: &[Hook]) {
    if hooks.is_empty() {
        return;
    }
    let Ok(netns) = call.open_netns() else {
        return;
    };
    for hook in hooks {
        if let Err(problem) = run_in(&netns, hook) {
            eprintln!("{problem}");
        }
    }
}

fn run_in(netns: &Netns, hook: &Hook) -> Result<(), String> {
    let Some((program, arguments)) = hook.split_first() else {
        return Err("ERR: a hook is empty; it needs a program".to_owned());
    };
    let mut command = Command::new(program);
    command.args(arguments);
    let output = netns
        .run(|| Running::spawn(command)?.finish(&[], TIME))
        .map_err(|e| e.to_string())
        .and_then(|ran| ran.map_err(|e| e.to_string()))
        .map_err(|e| format!("ERR: {program}: {e}"))?;
    match output.end {
        End::Exited(status) if status.success() => Ok(()),
        End::Exited(status) => Err(report(&output, &status.to_string())),
        End::TimedOut => Err(report(
            &output,
            &format!("killed after {} s", TIME.as_secs()),
        )),
        End::TooMuchOutput(_) => Err(report(&output, "killed because it printed too much")),
    }
}

fn report(output: &Output, end: &str) -> String {
    format!(
        "OUTPUT: {}{}\nERR: {end}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
