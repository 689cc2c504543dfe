//! Errors of steps that are all tried, even if some fail.

use anyhow::anyhow;

/// The errors of the failed steps.
#[derive(Debug, Default)]
pub struct Failures(Vec<anyhow::Error>);

impl Failures {
    /// Returns the value of a step that succeeded, or records its error.
    pub fn add<T>(&mut self, outcome: Result<T, impl Into<anyhow::Error>>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(error) => {
                self.push(error);
                None
            }
        }
    }

    /// Records an error.
    pub fn push(&mut self, error: impl Into<anyhow::Error>) {
        self.0.push(error.into());
    }

    /// Returns the outcome of all steps.
    ///
    /// # Errors
    /// A single error unchanged, with its code; several joined into one text.
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
