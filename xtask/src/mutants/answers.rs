//! Reasons why mutants survive: they change nothing that can be observed.

/// The ID of a mutant and the reason.
pub(super) const ANSWERS: &[(&str, &str)] = &[(
    "3f103313",
    "the bits have nothing in common, so that `^` gives what `|` gives",
)];
