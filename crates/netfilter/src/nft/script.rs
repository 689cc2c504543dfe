//! Scripts of `nft`, for the one thing that cannot be encoded here: matches in
//! the words of a user.

use std::process::Command;
use std::time::Duration;

use crate::error::{Error, Kind};
use crate::process;

/// How long `nft` may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a script by `nft -f -`: all of it, or nothing.
///
/// Everything but matches in the words of a user is better done with a
/// [`Batch`](super::Batch). What is put into the script is not quoted: who takes
/// words from elsewhere sees to it that they are on one line, and hold no `;`,
/// `{` or `}`.
///
/// # Errors
/// [`Error::is_missing_command`] if `nft` is not installed; what it printed if
/// it refused the script; a timeout after 30 seconds.
pub fn run_script(script: &str) -> Result<(), Error> {
    #[cfg(feature = "fault-injection")]
    if let Some(error) = rtnl::netlink::injected_fault("nft -f -") {
        return Err(error.into());
    }
    let Some(nft) = process::find("nft") else {
        let command = "nft".to_owned();
        return Err(Error::new(Kind::MissingCommand { command }, "nft"));
    };
    let mut command = Command::new(nft);
    command.args(["-f", "-"]);
    let output = process::run(command, script, PATIENCE, "nft -f -")?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Command {
            arguments: "nft -f -".to_owned(),
            status: output.status_text(),
            stderr: output.stderr,
            hint: "",
        },
        "nft",
    ))
}
