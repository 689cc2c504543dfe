//! Errors of steps each of which is tried even if others fail.

use anyhow::anyhow;

/// The errors so far.
#[derive(Debug, Default)]
pub struct Failures(Vec<anyhow::Error>);

impl Failures {
    /// Keeps the error of a step, if it failed; returns its value if it did not.
    pub fn add<T>(&mut self, outcome: Result<T, impl Into<anyhow::Error>>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(error) => {
                self.push(error);
                None
            }
        }
    }

    /// Keeps an error.
    pub fn push(&mut self, error: impl Into<anyhow::Error>) {
        self.0.push(error.into());
    }

    /// Returns the outcome of all steps: an only error as it is, with its code; several
    /// in one text.
    ///
    /// # Errors
    /// If there was any.
    pub fn result(mut self) -> anyhow::Result<()> {
        match self.0.len() {
            0 => Ok(()),
            1 => Err(self.0.remove(0)),
            _ => {
                let texts: Vec<String> = self.0.iter().map(|e| format!("{e:#}")).collect();
                Err(anyhow!("{}", texts.join("; ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_error_is_kept_and_several_are_joined() {
        let mut failures = Failures::default();
        assert_eq!(failures.add(anyhow::Ok(1)), Some(1));
        assert_eq!(failures.add::<()>(Err(std::fmt::Error)), None);
        let only = failures.result().unwrap_err();
        assert!(only.is::<std::fmt::Error>());
        let mut failures = Failures::default();
        failures.push(anyhow!("a").context("b"));
        failures.push(anyhow!("c"));
        assert_eq!(failures.result().unwrap_err().to_string(), "b: a; c");
        assert!(Failures::default().result().is_ok());
    }
}
