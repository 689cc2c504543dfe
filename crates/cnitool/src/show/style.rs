//! Colours, on terminals only.

use std::env;
use std::io::{self, IsTerminal};

/// Whether text is coloured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    is_coloured: bool,
}

/// SGR sequences of ECMA-48.
const BOLD: &str = "1";
const RED: &str = "31";
const GREEN: &str = "32";

impl Style {
    /// Colours if standard output is a terminal that has them and `NO_COLOR` is not set.
    pub(super) fn of_stdout() -> Style {
        let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
        Style {
            is_coloured: io::stdout().is_terminal() && !is_dumb && !is_set("NO_COLOR"),
        }
    }

    pub(super) fn heading(self, text: &str) -> String {
        self.sgr(BOLD, text)
    }

    pub(super) fn good(self, text: &str) -> String {
        self.sgr(GREEN, text)
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.sgr(RED, text)
    }

    fn sgr(self, code: &str, text: &str) -> String {
        match self.is_coloured {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}
