//! Results of mutants, one line each in a file, so that an interrupted run continues where it ended.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// The result of a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It does not compile.
    Unviable,
    Killed(Kill),
    /// All tests passed.
    Survived,
}

/// The failure that killed a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kill {
    pub(super) by: Killer,
    /// The name of the test or rule.
    pub(super) test: String,
    /// Whether the test did not end.
    pub(super) hung: bool,
}

/// The kind of test that killed a mutant, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Killer {
    Conformance,
    Unit,
    BlackBox,
}

impl Killer {
    pub(super) const ALL: [Killer; 3] = [Killer::Conformance, Killer::Unit, Killer::BlackBox];

    pub(super) fn name(self) -> &'static str {
        match self {
            Killer::Conformance => "conformance rule",
            Killer::Unit => "unit test",
            Killer::BlackBox => "black-box test",
        }
    }
}

/// The recorded results.
pub(super) struct Records {
    file: PathBuf,
    known: BTreeMap<String, (State, Outcome)>,
}

/// What a result depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The hash of the mutant's file.
    pub(super) file: String,
    /// The hash of all files.
    pub(super) all: String,
}

impl Records {
    /// Reads the file, which need not exist. Lines that cannot be read are ignored.
    pub(super) fn read(file: &Path) -> Records {
        let text = fs::read_to_string(file).unwrap_or_default();
        Records {
            file: file.to_path_buf(),
            known: text.lines().filter_map(from_line).collect(),
        }
    }

    /// The recorded result, if it still holds. Another file cannot bring a killed mutant back to life, but a new test
    /// may kill one that survived.
    pub(super) fn get(&self, id: &str, state: &State) -> Option<&Outcome> {
        let (then, outcome) = self.known.get(id)?;
        let holds = match outcome {
            Outcome::Survived => then == state,
            Outcome::Killed(_) | Outcome::Unviable => then.file == state.file,
        };
        holds.then_some(outcome)
    }

    pub(super) fn add(&mut self, id: &str, state: State, outcome: Outcome) -> Result<()> {
        let file = File::options().create(true).append(true).open(&self.file);
        file.and_then(|mut file| file.write_all(to_line(id, &state, &outcome).as_bytes()))
            .with_context(|| self.file.display().to_string())?;
        self.known.insert(id.to_owned(), (state, outcome));
        Ok(())
    }
}

fn to_line(id: &str, state: &State, outcome: &Outcome) -> String {
    let mut line = json!({"id": id, "file": state.file, "all": state.all});
    match outcome {
        Outcome::Unviable => line["unviable"] = true.into(),
        Outcome::Survived => line["survived"] = true.into(),
        Outcome::Killed(kill) => {
            line["killer"] = kill.by.name().into();
            line["test"] = kill.test.as_str().into();
            line["hung"] = kill.hung.into();
        }
    }
    format!("{line}\n")
}

fn from_line(line: &str) -> Option<(String, (State, Outcome))> {
    let line: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| line[key].as_str().map(String::from);
    let state = State {
        file: text("file")?,
        all: text("all")?,
    };
    let outcome = if line["unviable"] == true {
        Outcome::Unviable
    } else if line["survived"] == true {
        Outcome::Survived
    } else {
        let killer = text("killer")?;
        Outcome::Killed(Kill {
            by: Killer::ALL.into_iter().find(|k| k.name() == killer)?,
            test: text("test")?,
            hung: line["hung"].as_bool()?,
        })
    };
    Some((text("id")?, (state, outcome)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(file: &str, all: &str) -> State {
        State {
            file: file.into(),
            all: all.into(),
        }
    }

    fn killed() -> Outcome {
        Outcome::Killed(Kill {
            by: Killer::Unit,
            test: "cni-core args::tests::a".into(),
            hung: true,
        })
    }

    #[test]
    fn written_results_are_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("results");
        let mut records = Records::read(&file);
        let outcomes = [
            ("a", killed()),
            ("b", Outcome::Survived),
            ("c", Outcome::Unviable),
        ];
        for (id, outcome) in &outcomes {
            let added = records.add(id, state("1", "1"), outcome.clone());
            added.expect("written");
        }
        // The end of a run that was killed.
        let mut text = fs::read_to_string(&file).expect("the file");
        text += r#"{"id": "d", "fi"#;
        fs::write(&file, text).expect("written");
        let records = Records::read(&file);
        for (id, outcome) in &outcomes {
            assert_eq!(records.get(id, &state("1", "1")), Some(outcome));
        }
        assert_eq!(records.get("d", &state("1", "1")), None);
    }

    #[test]
    fn results_hold_until_what_they_depend_on_changes() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut records = Records::read(&dir.path().join("results"));
        for (id, outcome) in [("killed", killed()), ("survived", Outcome::Survived)] {
            records.add(id, state("1", "1"), outcome).expect("written");
        }
        let holds = |id, file, all| records.get(id, &state(file, all)).is_some();
        assert!(holds("killed", "1", "2") && !holds("killed", "2", "2"));
        assert!(holds("survived", "1", "1") && !holds("survived", "1", "2"));
    }
}
