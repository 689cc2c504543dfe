//! Command line options of the commands.

use crate::Outcome;

/// The arguments of a command, taken one by one; what is left at the end was not understood.
pub(crate) struct Options {
    left: Vec<String>,
}

impl Options {
    pub(crate) fn new(arguments: &[String]) -> Options {
        Options {
            left: arguments.to_vec(),
        }
    }

    /// Whether `name` is given.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let before = self.left.len();
        self.left.retain(|argument| argument != name);
        self.left.len() != before
    }

    /// The value of `--name VALUE` or `--name=VALUE`.
    pub(crate) fn value(&mut self, name: &str) -> Outcome<Option<String>> {
        let prefix = format!("{name}=");
        if let Some(at) = self.left.iter().position(|a| a.starts_with(&prefix)) {
            return Ok(Some(self.left.remove(at)[prefix.len()..].to_owned()));
        }
        let Some(at) = self.left.iter().position(|argument| argument == name) else {
            return Ok(None);
        };
        self.left.remove(at);
        if at == self.left.len() {
            return Err(format!("{name} needs a value"));
        }
        Ok(Some(self.left.remove(at)))
    }

    /// What is left, which must not be options.
    pub(crate) fn positional(self) -> Outcome<Vec<String>> {
        match self.left.iter().find(|argument| argument.starts_with('-')) {
            Some(option) => Err(format!("unknown option {option}")),
            None => Ok(self.left),
        }
    }

    /// Demands that nothing is left.
    pub(crate) fn end(self) -> Outcome {
        match self.left.first() {
            Some(argument) => Err(format!("unexpected argument {argument}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Options {
        Options::new(
            &text
                .split_whitespace()
                .map(String::from)
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn options_are_taken_in_any_order() {
        let mut all = options("loopback --quick --json out.json --peer=/usr/lib/cni bridge");
        assert!(all.flag("--quick"));
        assert!(!all.flag("--slow"));
        assert_eq!(all.value("--json"), Ok(Some("out.json".into())));
        assert_eq!(all.value("--peer"), Ok(Some("/usr/lib/cni".into())));
        assert_eq!(all.value("--other"), Ok(None));
        assert_eq!(
            all.positional(),
            Ok(vec!["loopback".into(), "bridge".into()])
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert!(options("--json").value("--json").is_err());
        assert!(options("--typo").positional().is_err());
        assert!(options("extra").end().is_err());
    }
}
