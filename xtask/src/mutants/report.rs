//! The result of a sample: counts, and the table of all mutants.

use anyhow::{Result, bail};

use super::answers::ANSWERS;
use super::list::Mutant;
use super::record::{Killer, Outcome};

/// The share of mutants that must be killed, in percent.
const GOAL: usize = 90;

/// A mutant of the sample with its result, which is not [`Outcome::Unviable`].
pub(super) type Tried = (Mutant, Outcome);

/// The text for the page.
pub(super) fn page(tried: &[Tried], seed: u64, listed: usize) -> String {
    let mut text = summary(tried, seed, listed);
    text += "\n\n| mutant | place | change | result |\n|---|---|---|---|\n";
    for (mutant, outcome) in tried {
        text += &format!(
            "| {} | {} | {} | {} |\n",
            mutant.id,
            mutant.place(),
            code(&mutant.change),
            result(mutant, outcome)
        );
    }
    text
}

/// One line with the counts.
pub(super) fn summary(tried: &[Tried], seed: u64, listed: usize) -> String {
    let by = |killer: Killer| {
        let killed = tried
            .iter()
            .filter(|(_, outcome)| matches!(outcome, Outcome::Killed(kill) if kill.by == killer));
        format!("{} by {}s", killed.count(), killer.name())
    };
    let hung = tried
        .iter()
        .filter(|(_, outcome)| matches!(outcome, Outcome::Killed(kill) if kill.hung));
    format!(
        "Seed {seed}, {} of {listed} mutants: {} killed ({}; in {} of them the test hung), {} survived.",
        tried.len(),
        tried.len() - survivors(tried).count(),
        Killer::ALL.map(by).join(", "),
        hung.count(),
        survivors(tried).count()
    )
}

fn survivors(tried: &[Tried]) -> impl Iterator<Item = &Mutant> {
    let survived = tried
        .iter()
        .filter(|(_, outcome)| *outcome == Outcome::Survived);
    survived.map(|(mutant, _)| mutant)
}

/// The result in words, for the table and the terminal.
pub(super) fn result(mutant: &Mutant, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Unviable => "does not compile".into(),
        Outcome::Killed(kill) => format!(
            "{}{}: {}",
            kill.by.name(),
            if kill.hung { ", hung" } else { "" },
            code(&kill.test)
        ),
        Outcome::Survived => match answer(mutant) {
            Some(answer) => format!("**survived**: {answer}"),
            None => "**survived**".into(),
        },
    }
}

fn answer(mutant: &Mutant) -> Option<&'static str> {
    let answer = ANSWERS.iter().find(|(id, _)| *id == mutant.id);
    answer.map(|(_, reason)| *reason)
}

/// Demands that enough mutants were killed and that each survivor is answered.
///
/// # Errors
///
/// Otherwise.
pub(super) fn judge(tried: &[Tried]) -> Result<()> {
    let open: Vec<String> = survivors(tried)
        .filter(|mutant| answer(mutant).is_none())
        .map(|mutant| format!("  {} {}: {}", mutant.id, mutant.place(), mutant.change))
        .collect();
    let killed = tried.len() - survivors(tried).count();
    if !open.is_empty() {
        bail!(
            "{killed} of {} mutants killed; add a test for each of these, or a reason to xtask/src/mutants/answers.rs\n{}",
            tried.len(),
            open.join("\n")
        );
    }
    if killed * 100 < tried.len() * GOAL {
        bail!(
            "{killed} of {} mutants killed; {GOAL} % are required",
            tried.len()
        );
    }
    Ok(())
}

/// Text as code in a cell of a table.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|").replace('`', "'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::list::{parse, tests::list};
    use crate::mutants::record::Kill;

    fn killed(hung: bool) -> Outcome {
        Outcome::Killed(Kill {
            by: Killer::Unit,
            test: "p tests::a".into(),
            hung,
        })
    }

    fn tried(outcomes: &[Outcome]) -> Vec<Tried> {
        let json = list(&[("a.rs", 7, [1, 2], "&&", "replace || with && in f")]);
        let mutant = parse(&json).expect("a list").remove(0);
        let pair = |outcome: &Outcome| (mutant.clone(), outcome.clone());
        outcomes.iter().map(pair).collect()
    }

    #[test]
    fn the_page_counts_and_lists_mutants() {
        let tried = tried(&[killed(false), killed(true), Outcome::Survived]);
        let page = page(&tried, 4, 50);
        for part in [
            "Seed 4, 3 of 50 mutants: 2 killed (0 by conformance rules, 2 by unit tests, 0 by black-box tests; in 1 of",
            "| a.rs:7 | `replace \\|\\| with && in f` | unit test: `p tests::a` |",
            "| unit test, hung: `p tests::a` |",
            "| **survived** |",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
    }

    #[test]
    fn survivors_without_an_answer_are_an_error() {
        let mut outcomes = vec![killed(false); 99];
        judge(&tried(&outcomes)).expect("all killed");
        outcomes.push(Outcome::Survived);
        let error = judge(&tried(&outcomes)).expect_err("one survived");
        assert!(error.to_string().contains("a.rs:7: replace ||"), "{error}");
    }
}
