//! Runs a plugin as a process. No other module uses globals of the process.

use super::{Bundle, Env, Outcome, Plugin, run_bundled};
use crate::{Code, Error};
use nix::sys::stat::{Mode, umask};
use std::cell::RefCell;
use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::process::ExitCode;
use std::sync::mpsc::Sender;
use std::thread;

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
    report_panics(plugin.name());
    if std::env::var_os("CNI_LOG").is_some_and(|filter| !filter.is_empty()) {
        env_logger::Builder::from_env(env_logger::Env::new().filter("CNI_LOG")).init();
    }
    let outcome = run_bundled(bundle, plugin, &Env::from_process(), io::stdin().lock());
    write(&outcome)
}

thread_local! {
    /// The plugin that runs in this thread for another one, and where its outcome goes.
    static DELEGATE: RefCell<Option<(&'static str, Sender<Outcome>)>> =
        const { RefCell::new(None) };
}

/// Lets a panic of this thread fail the delegate `name` that runs in it, instead of the
/// process: its error object is sent to `outcome`.
pub(crate) fn fail_delegate_on_panic(name: &'static str, outcome: Sender<Outcome>) {
    DELEGATE.set(Some((name, outcome)));
}

/// Installs the panic hook. It works with `panic = "abort"` as well, because it does not
/// return.
pub(crate) fn report_panics(plugin: &'static str) {
    std::panic::set_hook(Box::new(move |info| match DELEGATE.take() {
        Some((delegate, outcome)) => {
            let error = panic_error(delegate, info);
            // Without a receiver, the caller has given up already.
            let _ = outcome.send(Outcome::failure(&error));
            // The process ends when its caller has undone what there was.
            loop {
                thread::park();
            }
        }
        None => {
            let error = panic_error(plugin, info);
            // A failure of these cannot be reported.
            let _ = io::stdout().write_all(error.to_json().as_bytes());
            let _ = io::stdout().flush();
            let _ = writeln!(io::stderr(), "{}; {}", error.msg, error.details);
            std::process::exit(1);
        }
    }));
}

fn panic_error(plugin: &str, info: &PanicHookInfo<'_>) -> Error {
    Error::new(
        Code::INTERNAL,
        format!("the {plugin} plugin panicked, which is a bug in it"),
    )
    .with_details(info.to_string().replace('\n', " "))
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
