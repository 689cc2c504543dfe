//! Errors of steps each of which is tried whatever became of the others.

use anyhow::anyhow;

/// The errors so far.
#[derive(Debug, Default)]
pub struct Failures(Vec<anyhow::Error>);

impl Failures {
    /// Takes note of the outcome of a step.
    pub fn add(&mut self, outcome: anyhow::Result<()>) {
        self.0.extend(outcome.err());
    }

    /// The outcome of all of them: an only error as it is, with its code; several
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
        failures.add(Ok(()));
        failures.add(Err(std::fmt::Error.into()));
        let only = failures.result().unwrap_err();
        assert!(only.is::<std::fmt::Error>());
        let mut failures = Failures::default();
        failures.add(Err(anyhow!("a").context("b")));
        failures.add(Err(anyhow!("c")));
        assert_eq!(failures.result().unwrap_err().to_string(), "b: a; c");
        assert!(Failures::default().result().is_ok());
    }
}
