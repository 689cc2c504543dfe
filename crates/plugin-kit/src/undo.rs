//! Undoing the steps of a failed ADD.

use std::io::Write;

type Step<'a> = Box<dyn FnOnce() -> anyhow::Result<()> + 'a>;

/// The steps that undo the changes made so far.
///
/// Each change registers its undo step once it has succeeded. Dropping the list runs the
/// steps in reverse order; [`Undo::disarm`] discards them. The error of a step is logged on
/// standard error, since the runtime must receive the error that caused the undo.
#[derive(Default)]
pub struct Undo<'a> {
    steps: Vec<(&'static str, Step<'a>)>,
}

impl<'a> Undo<'a> {
    /// Returns an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers the undo of the latest change. `what` completes "failed to …" in the log.
    pub fn push(&mut self, what: &'static str, step: impl FnOnce() -> anyhow::Result<()> + 'a) {
        self.steps.push((what, Box::new(step)));
    }

    /// Discards the steps: the ADD has succeeded.
    pub fn disarm(mut self) {
        self.steps.clear();
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        for (what, step) in self.steps.drain(..).rev() {
            if let Err(e) = step() {
                // Nothing better can be done when standard error is closed.
                let _ = writeln!(std::io::stderr(), "failed to {what}: {e:#}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn steps_run_in_reverse_and_continue_after_an_error() {
        let ran = RefCell::new(Vec::new());
        {
            let mut undo = Undo::new();
            let step = |name| {
                ran.borrow_mut().push(name);
                Ok(())
            };
            undo.push("a", move || step("a"));
            undo.push("b", || anyhow::bail!("b cannot be undone"));
            undo.push("c", move || step("c"));
        }
        assert_eq!(*ran.borrow(), ["c", "a"]);
    }

    #[test]
    fn disarmed_steps_do_not_run() {
        let mut undo = Undo::new();
        undo.push("x", || panic!("ran"));
        undo.disarm();
    }
}
