//! Kills of one plugin before each of its changes.

use blackbox::answer;
use serde_json::Value;
use testkit::Run;
use testkit::trace::{Kill, Point};

use crate::cases::Case;
use crate::report::Report;
use crate::stage::{Stage, State};

/// What deletes the remains of a killed ADD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cleaner {
    Del,
    Gc,
}

/// Kills ADD at each point; DEL, or GC without the container's attachment, restores the state before.
#[track_caller]
pub(crate) fn add(case: &Case) {
    testkit::needs(case.needs);
    let mut report = Report::new(case.name, "ADD");
    kill_add(case, &mut report, Cleaner::Del);
    kill_add(case, &mut report, Cleaner::Gc);
    report.finish();
}

fn kill_add(case: &Case, report: &mut Report, cleaner: Cleaner) {
    let is_gc = cleaner == Cleaner::Gc;
    let (mut stage, mut before) = prepare(case, cleaner);
    let points = add_points(&mut stage, cleaner);
    for (victim, at, what) in report.chosen(&points, if is_gc { 2 } else { 0 }, 4) {
        if is_gc {
            stage.create_container();
        }
        let kill = Kill { at, victim };
        let (run, trace) = stage.trace("ADD", &Value::Null, Some(kill));
        let outcome = match (trace.is_killed, cleaner) {
            (false, _) => Err(format!("not reached\n{}", run.report())),
            (true, Cleaner::Del) => {
                let run = stage.call("DEL", &Value::Null).run();
                judge(&run, stage.remains(&before, |state| state))
            }
            // What GC cannot find in the container is gone with it.
            (true, Cleaner::Gc) => judge(&stage.gc(), stage.remains(&before, State::of_the_host)),
        };
        let failed = outcome.is_err();
        report.add(
            cleaner,
            &format!("{victim:?} killed before {at:?}: {what}"),
            outcome,
        );
        if failed {
            drop(stage);
            (stage, before) = prepare(case, cleaner);
        } else if is_gc {
            stage.delete_container();
        }
    }
}

/// Returns a host, and its state before ADD, or before the container exists.
pub(crate) fn prepare(case: &Case, cleaner: Cleaner) -> (Stage, State) {
    let is_gc = cleaner == Cleaner::Gc;
    let mut stage = Stage::new(case, is_gc);
    if is_gc {
        stage.delete_container();
    }
    let before = stage.state();
    (stage, before)
}

/// Demands that a plugin has succeeded and nothing remains.
pub(crate) fn judge(run: &Run, remains: String) -> Result<(), String> {
    match run.is_ok() && remains.is_empty() {
        true => Ok(()),
        false => Err(format!("{remains}{}", run.report())),
    }
}

/// The points of an undisturbed ADD.
fn add_points(stage: &mut Stage, cleaner: Cleaner) -> Vec<(Point, String)> {
    let is_gc = cleaner == Cleaner::Gc;
    if is_gc {
        stage.create_container();
    }
    let points = points(stage, "ADD", &Value::Null);
    match is_gc {
        true => stage.delete_container(),
        false => drop(answer::silent(stage.call("DEL", &Value::Null).run())),
    }
    points
}

/// Kills the first ADD on a host, which also creates what outlives attachments, at each point. DEL succeeds, and the next
/// attachment works and leaves what it leaves on a host without kills.
#[track_caller]
pub(crate) fn first(case: &Case) {
    testkit::needs(case.needs);
    let mut report = Report::new(case.name, "first ADD");
    let mut stage = Stage::fresh(case);
    let points = points(&stage, "ADD", &Value::Null);
    stage.delete_container();
    let usual = stage.state().without_bridges();
    drop(stage);
    for (victim, at, what) in report.chosen(&points, 0, 4) {
        let mut stage = Stage::fresh(case);
        let (run, trace) = stage.trace("ADD", &Value::Null, Some(Kill { at, victim }));
        let deleted = stage.call("DEL", &Value::Null).run();
        let outcome = match trace.is_killed {
            false => Err(format!("not reached\n{}", run.report())),
            true if !deleted.is_ok() => Err(deleted.report()),
            true => next_attachment(&stage).and_then(|run| {
                stage.delete_container();
                judge(&run, stage.remains(&usual, State::without_bridges))
            }),
        };
        let what = format!("{victim:?} killed before {at:?}: {what}");
        report.add(Cleaner::Del, &what, outcome);
    }
    report.finish();
}

/// Attaches and detaches. Returns the run of DEL.
fn next_attachment(stage: &Stage) -> Result<Run, String> {
    let succeeded = |run: Run| match run.is_ok() {
        true => Ok(run),
        false => Err(run.report()),
    };
    let result = succeeded(stage.call("ADD", &Value::Null).run())?;
    // IPAM plugins print other results.
    let result = result.json();
    if result.get("interfaces").is_some() {
        succeeded(stage.call("CHECK", &result).run())?;
    }
    Ok(stage.call("DEL", &result).run())
}

/// Kills DEL at each point; another DEL completes it.
#[track_caller]
pub(crate) fn del(case: &Case) {
    del_as_seen(case, |state| state);
}

/// The same, with states compared as `of` shows them.
#[track_caller]
pub(crate) fn del_as_seen(case: &Case, of: fn(State) -> State) {
    testkit::needs(case.needs);
    let mut report = Report::new(case.name, "DEL");
    let mut stage = Stage::new(case, false);
    let mut before = of(stage.state());
    let mut result = added(&stage);
    let points = points(&stage, "DEL", &result);
    answer::silent(stage.call("DEL", &result).run());
    for (victim, at, what) in report.chosen(&points, 0, 2) {
        result = added(&stage);
        let (run, trace) = stage.trace("DEL", &result, Some(Kill { at, victim }));
        let again = stage.call("DEL", &result).run();
        let outcome = match trace.is_killed {
            false => Err(format!("not reached\n{}", run.report())),
            true => judge(&again, stage.remains(&before, of)),
        };
        let failed = outcome.is_err();
        report.add(
            Cleaner::Del,
            &format!("{victim:?} killed before {at:?}: {what}"),
            outcome,
        );
        if failed {
            drop(stage);
            stage = Stage::new(case, false);
            before = of(stage.state());
        }
    }
    report.finish();
}

fn added(stage: &Stage) -> Value {
    answer::result(&stage.call("ADD", &Value::Null).run())
}

/// The points of an undisturbed run.
fn points(stage: &Stage, verb: &str, result: &Value) -> Vec<(Point, String)> {
    let (run, trace) = stage.trace(verb, result, None);
    assert!(run.is_ok(), "{}", run.report());
    assert!(!trace.changes.is_empty(), "no changes\n{}", run.report());
    trace.changes
}
