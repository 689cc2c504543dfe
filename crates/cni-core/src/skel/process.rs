//! Runs a plugin as a process. No other module uses globals of the process.

use super::{Bundle, Call, Env, Outcome, Plugin, run_bundled};
use crate::{Code, Error, confine, ns};
use nix::sys::stat::{Mode, umask};
use std::io::{self, Write};
use std::process::ExitCode;

/// Runs a plugin with environment and standard input of the process, and returns its exit
/// code. To be called by the plugin's `fn main`.
///
/// A panic prints a CNI error object and exits with 1, so that the runtime reports the
/// cause and not "no error message".
pub fn main(plugin: &dyn Plugin) -> ExitCode {
    main_bundled(Bundle::default(), plugin)
}

/// The same for an executable with several plugins: delegates that are among `bundle`, and
/// are found in `CNI_PATH` as this very executable, run in this process.
pub fn main_bundled(bundle: Bundle, plugin: &dyn Plugin) -> ExitCode {
    // The umask of the runtime may be anything; BuildKit's is 0. The mode of files in
    // upstream's format depends on it.
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    let name = plugin.name();
    std::panic::set_hook(Box::new(move |info| {
        let error = panic_error(name, &info.to_string());
        // A failure of these cannot be reported.
        let _ = io::stdout().write_all(error.to_json().as_bytes());
        let _ = io::stdout().flush();
        let _ = writeln!(io::stderr(), "{}; {}", error.msg, error.details);
        std::process::exit(1);
    }));
    if std::env::var_os("CNI_LOG").is_some_and(|filter| !filter.is_empty()) {
        env_logger::Builder::from_env(env_logger::Env::new().filter("CNI_LOG")).init();
    }
    let (env, stdin) = (Env::from_process(), io::stdin().lock());
    let outcome = run_bundled(bundle, plugin, &env, stdin, |call| confine(plugin, call));
    write(&outcome)
}

/// Gives up what the verb does not need. The container's namespace is opened before.
fn confine(plugin: &dyn Plugin, call: &Call) {
    if !confine::is_off()
        && let Some(needs) = plugin.needs(call)
    {
        ns::hold(&call.netns);
        needs.confine();
    }
    #[cfg(feature = "escape-attempts")]
    confine::attempt_escapes();
}

fn panic_error(plugin: &str, what: &str) -> Error {
    Error::new(
        Code::INTERNAL,
        format!("the {plugin} plugin panicked, which is a bug in it"),
    )
    .with_details(what.replace('\n', " "))
}

fn write(outcome: &Outcome) -> ExitCode {
    // Standard error is informational; it may be closed.
    let _ = io::stderr().write_all(outcome.stderr.as_bytes());
    let mut stdout = io::stdout();
    let written = stdout
        .write_all(outcome.stdout.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Ok(()) => ExitCode::from(outcome.exit),
        Err(e) => {
            let _ = writeln!(
                io::stderr(),
                "Error writing to stdout: {}; what could not be written: {}",
                crate::errno::of(&e),
                outcome.stdout
            );
            ExitCode::FAILURE
        }
    }
}
