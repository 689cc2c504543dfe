//! What the workers have done, and what went wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

/// Most failures that are shown.
const SHOWN: usize = 10;

/// Counts by description, and failures that nothing explains.
#[derive(Default)]
pub(crate) struct Results {
    counts: Mutex<BTreeMap<&'static str, u64>>,
    unexplained: Mutex<Vec<String>>,
}

impl Results {
    /// Counts one more.
    pub(crate) fn count(&self, what: &'static str) {
        *self.counts.lock().unwrap().entry(what).or_default() += 1;
    }

    /// Returns the sum of the counts whose description ends with this.
    pub(crate) fn sum(&self, ending: &str) -> u64 {
        let counts = self.counts.lock().unwrap();
        let counted = counts.iter().filter(|(what, _)| what.ends_with(ending));
        counted.map(|(_, count)| count).sum()
    }

    /// Returns the failures that nothing explains.
    pub(crate) fn failures(&self) -> Vec<String> {
        self.unexplained.lock().unwrap().clone()
    }

    /// Records a failure that nothing explains.
    pub(crate) fn unexplained(&self, text: String) {
        self.unexplained.lock().unwrap().push(text);
    }

    /// Demands that there were no such failures.
    #[track_caller]
    pub(crate) fn assert_explained(&self) {
        let all = self.failures();
        let some: Vec<&str> = all.iter().take(SHOWN).map(String::as_str).collect();
        assert!(
            all.is_empty(),
            "{} failures:\n{}",
            all.len(),
            some.join("\n")
        );
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &*self.counts.lock().unwrap() {
            writeln!(f, "{count:>8} {what}")?;
        }
        let failures = self.failures().len();
        writeln!(f, "{failures:>8} unexplained failures")
    }
}
