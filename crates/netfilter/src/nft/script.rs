//! The `nft` command, for matches in a user's own words: what `nft` understands is
//! far more than a [`Rule`](super::Rule) can be built of.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::error::{Error, Kind};
use crate::process;

/// Limit on one run of `nft`.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The installed `nft`.
#[derive(Clone, Debug)]
pub struct NftCommand {
    program: PathBuf,
}

impl NftCommand {
    /// Finds `nft` in `$PATH`.
    ///
    /// # Errors
    /// [`Error::is_missing_command`] if it is not installed.
    pub fn find() -> Result<NftCommand, Error> {
        match process::find("nft") {
            Some(program) => Ok(NftCommand { program }),
            None => {
                let command = "nft".to_owned();
                Err(Error::new(Kind::MissingCommand { command }, "nft"))
            }
        }
    }

    /// Runs a script in one transaction and returns the handles of the rules that it
    /// added, in its order.
    ///
    /// Words of a user in `script` are not quoted: the caller makes sure that they
    /// cannot end the statement, see [`is_statement_part`].
    ///
    /// # Errors
    /// What `nft` printed if it refused the script; a timeout after 30 seconds.
    pub fn add_rules(&self, script: &str) -> Result<Vec<u64>, Error> {
        const ARGUMENTS: [&str; 4] = ["--echo", "--handle", "--file", "-"];
        let what = "nft --echo --handle --file -";
        #[cfg(feature = "fault-injection")]
        if let Some(error) = rtnl::netlink::injected_fault(what) {
            return Err(error.into());
        }
        let mut command = Command::new(&self.program);
        command.args(ARGUMENTS);
        let output = process::run(command, script, TIMEOUT, what)?;
        if output.status.success() {
            return Ok(rule_handles(&output.stdout));
        }
        Err(Error::new(
            Kind::Command {
                arguments: what.to_owned(),
                status: output.status_text(),
                stderr: output.stderr,
                hint: "",
            },
            "nft",
        ))
    }
}

/// Whether words can stand inside a statement of a script without ending it.
#[must_use]
pub fn is_statement_part(words: &str) -> bool {
    !words.contains([';', '#', '\\']) && !words.contains(char::is_control)
}

/// Reads the handles from lines like `add rule ip t c tcp dport 80 accept # handle 5`.
fn rule_handles(echo: &str) -> Vec<u64> {
    echo.lines()
        .filter(|line| line.starts_with("add rule "))
        .filter_map(|line| line.rsplit_once(" # handle ")?.1.trim().parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_of_rules_are_read_from_the_echo() {
        let echo = "add chain ip t c # handle 1\n\
                    add rule ip t c ip saddr { 10.0.0.1 } accept comment \"x\" # handle 4\n\
                    add rule ip t c drop # handle 18446744073709551615\n";
        assert_eq!(rule_handles(echo), [4, u64::MAX]);
        assert_eq!(rule_handles("add rule ip t c drop\n"), [0; 0]);
    }

    #[test]
    fn words_that_end_a_statement_are_told() {
        assert!(is_statement_part("ip daddr != { 127.0.0.0/8, 192.0.2.1 }"));
        for words in ["accept; flush ruleset", "accept # x", "a\nb", "a\\"] {
            assert!(!is_statement_part(words), "{words:?}");
        }
    }
}
