//! State files that a loss of power has left incomplete.
//!
//! The plugins do not sync their files. Those in `/var/lib/cni` survive a reboot and may then be empty, cut off, or full of
//! zeros; those in `/run` do not survive it, and are damaged here as an administrator or a full disk might.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use blackbox::answer;
use serde_json::Value;

use crate::cases::{Case, Record};
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
/// works. A damaged file that tells nobody's attachment may stay until GC.
#[track_caller]
pub(crate) fn sweep(case: &Case) {
    testkit::needs(case.needs);
    let mut report = Report::new(case.name, "state damaged");
    damage_each(case, &mut report, Cleaner::Del);
    if case.record == Record::Saves {
        damage_each(case, &mut report, Cleaner::Gc);
    }
    report.finish();
}

fn damage_each(case: &Case, report: &mut Report, cleaner: Cleaner) {
    let is_gc = cleaner == Cleaner::Gc;
    // Without its record an attachment's container is not as before.
    let seen: fn(State) -> State = match (case.record, is_gc) {
        (Record::Restores, _) => State::of_files,
        (_, true) => State::of_the_host,
        (_, false) => |state| state,
    };
    let (mut stage, mut before) = prepare(case, cleaner);
    for number in 0.. {
        for damage in DAMAGES {
            if is_gc {
                stage.create_container();
            }
            let (result, written) = attach(&stage);
            assert!(!written.is_empty(), "{} writes no state", case.name);
            report.points(written.len());
            let Some(file) = written.get(number) else {
                return;
            };
            damage.apply(file);
            let before_it = seen(before.clone());
            let outcome = match cleaner {
                Cleaner::Gc => judge(&stage.gc(), stage.remains(&before_it, seen)),
                Cleaner::Del => {
                    let run = stage.call("DEL", &result).run();
                    judge(&run, String::new()).and_then(|()| {
                        let is_unclear = file.is_file();
                        let run = if is_unclear { stage.gc() } else { run };
                        judge(&run, stage.remains(&before_it, seen))
                    })
                }
            };
            let is_over = outcome.is_err() || case.record == Record::Restores;
            report.add(cleaner, &format!("{damage:?} {}", file.display()), outcome);
            if is_over {
                drop(stage);
                (stage, before) = prepare(case, cleaner);
            } else if is_gc {
                stage.delete_container();
            }
        }
    }
}

/// Runs ADD. Returns its result and the files that it has written, in order.
fn attach(stage: &Stage) -> (Value, Vec<PathBuf>) {
    let before = files();
    let result = answer::result(&stage.call("ADD", &Value::Null).run());
    let after = files().into_iter();
    let written = after.filter(|(path, content)| before.get(path) != Some(content));
    (result, written.map(|(path, _)| path).collect())
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
