//! The options of commands that work for several platforms.

use anyhow::Result;
use lexopt::Arg;

use super::platform::{PLATFORMS, Platform};
use crate::text;

/// Which platforms a command line names, and whether to build for them.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// In the order of the command line; empty for this machine's.
    named: Vec<&'static Platform>,
    pub(crate) no_build: bool,
}

impl Selection {
    /// Parses `--platform NAME`, `--all` and `--no-build`.
    ///
    /// # Errors
    ///
    /// For any other argument.
    pub(crate) fn parse(arguments: &[String]) -> Result<Selection> {
        let mut selection = Selection::default();
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("platform") => {
                    let name = text(parser.value()?)?;
                    selection.named.push(Platform::named(&name)?);
                }
                Arg::Long("all") => selection.named = PLATFORMS.iter().collect(),
                Arg::Long("no-build") => selection.no_build = true,
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(selection)
    }

    /// The platforms, at least this machine's.
    ///
    /// # Errors
    ///
    /// When none is named and releases have none for this machine.
    pub(crate) fn platforms(&self) -> Result<Vec<&'static Platform>> {
        if self.named.is_empty() {
            return Ok(vec![Platform::host()?]);
        }
        Ok(self.named.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_those_named_or_the_host() {
        let parse = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(String::from).collect();
            Selection::parse(&words)
        };
        let names = |line: &str| -> Vec<&str> {
            let selection = parse(line).expect("known options");
            let platforms = selection.platforms().expect("a platform");
            platforms.iter().map(|platform| platform.name).collect()
        };
        assert_eq!(names("--platform s390x --platform arm"), ["s390x", "arm"]);
        assert_eq!(names("--all").len(), PLATFORMS.len());
        assert_eq!(names("--no-build").len(), 1);
        assert!(parse("--platform vax").is_err());
        assert!(parse("vax").is_err());
    }
}
