//! A private host for the demonstration and the benchmark.

use testkit::Host;

use crate::Outcome;

/// Makes this process a private host, as root or as root of a user namespace of its own.
///
/// # Errors
///
/// Says what the kernel refused, and what to do.
pub(crate) fn private_host() -> Outcome<Host> {
    if !testkit::is_root() {
        testkit::become_root().map_err(|err| {
            format!("this kernel grants an ordinary user no namespaces ({err}): run it as root, with sudo")
        })?;
        println!("\nnot root: going on as root of a user namespace");
    }
    Host::try_new().map_err(|err| format!("cannot make a private host: {err}"))
}
