//! State files that a loss of power has left incomplete.
//!
//! The plugins do not sync their files. Those in `/var/lib/cni` survive a reboot and may then be empty, cut off, or full of
//! zeros; those in `/run` do not survive it, and are damaged here as an administrator or a full disk might.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use blackbox::answer;
use serde_json::Value;

use crate::cases::Case;
use crate::report::Report;
use crate::stage::{Stage, State};
use crate::sweep::{Cleaner, judge, prepare};

/// What becomes of a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Missing,
    Empty,
    Half,
    Zeros,
    Garbage,
}

const DAMAGES: [Damage; 5] = [
    Damage::Missing,
    Damage::Empty,
    Damage::Half,
    Damage::Zeros,
    Damage::Garbage,
];

impl Damage {
    fn apply(self, file: &Path) {
        let content = fs::read(file).expect("a state file");
        let damaged = match self {
            Damage::Missing => return fs::remove_file(file).expect("remove a state file"),
            Damage::Empty => Vec::new(),
            Damage::Half => content[..content.len() / 2].to_vec(),
            Damage::Zeros => vec![0; content.len()],
            Damage::Garbage => b"\xff\xfe{\"version\":7,[".to_vec(),
        };
        fs::write(file, damaged).expect("write a state file");
    }
}

/// Damages each file that ADD has written in each way. DEL, or GC, succeeds and leaves nothing, and the next attachment
/// works.
#[track_caller]
pub(crate) fn sweep(case: &Case) {
    testkit::needs(case.needs);
    let mut report = Report::new(case.name, "state damaged");
    for cleaner in [Cleaner::Del, Cleaner::Gc] {
        let (mut stage, mut before) = prepare(case, cleaner);
        let count = attach(&mut stage, cleaner).len();
        detach(&mut stage, cleaner);
        report.points(count);
        for number in 0..count {
            for damage in DAMAGES {
                let written = attach(&mut stage, cleaner);
                assert_eq!(written.len(), count, "{written:?}");
                damage.apply(&written[number]);
                let outcome = after_damage(case, &stage, &before, cleaner);
                let failed = outcome.is_err();
                let what = format!("{damage:?} {}", written[number].display());
                report.add(cleaner, &what, outcome);
                if failed || case.needs_record {
                    drop(stage);
                    (stage, before) = prepare(case, cleaner);
                } else if cleaner == Cleaner::Gc {
                    stage.delete_container();
                }
            }
        }
    }
    report.finish();
}

fn after_damage(
    case: &Case,
    stage: &Stage,
    before: &State,
    cleaner: Cleaner,
) -> Result<(), String> {
    // Without its record an attachment's container cannot be put back.
    let seen: fn(State) -> State = match (case.needs_record, cleaner) {
        (true, _) => State::of_files,
        (false, Cleaner::Del) => |state| state,
        (false, Cleaner::Gc) => State::of_the_host,
    };
    let before = seen(before.clone());
    match cleaner {
        Cleaner::Del => {
            let run = stage.call("DEL", &Value::Null).run();
            judge(&run, stage.remains(&before, seen))
        }
        Cleaner::Gc => judge(&stage.gc(), stage.remains(&before, seen)),
    }
}

/// Runs ADD. Returns the files that it has written, in order.
fn attach(stage: &mut Stage, cleaner: Cleaner) -> Vec<PathBuf> {
    if cleaner == Cleaner::Gc {
        stage.create_container();
    }
    let before = files();
    answer::result(&stage.call("ADD", &Value::Null).run());
    let after = files().into_iter();
    let written = after.filter(|(path, content)| before.get(path) != Some(content));
    written.map(|(path, _)| path).collect()
}

fn detach(stage: &mut Stage, cleaner: Cleaner) {
    match cleaner {
        Cleaner::Del => drop(answer::silent(stage.call("DEL", &Value::Null).run())),
        Cleaner::Gc => stage.delete_container(),
    }
}

/// The state files with their contents.
fn files() -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut directories = vec![PathBuf::from("/var/lib/cni"), PathBuf::from("/run/cni")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => directories.push(path),
                Ok(kind) if kind.is_file() => {
                    let content = fs::read(&path).unwrap_or_default();
                    found.insert(path, content);
                }
                _ => {}
            }
        }
    }
    found
}
