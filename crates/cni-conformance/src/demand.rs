//! Demands on what a plugin answers. They are no stricter than the specification, so that a rule about something else
//! fails for its own reason only.

use serde_json::Value;
use testkit::Run;

/// An error object.
pub(crate) struct Reply {
    pub(crate) code: u64,
    pub(crate) msg: String,
    pub(crate) details: String,
    run: Run,
}

/// Demands success. What is on standard output does not matter.
#[track_caller]
pub(crate) fn success(run: Run) -> Run {
    assert!(
        run.is_ok(),
        "a failure where success is demanded\n{}",
        run.report()
    );
    run
}

/// Demands that nothing is on standard output. Whether the call succeeds does not matter.
#[track_caller]
pub(crate) fn silence(run: &Run) {
    assert!(
        run.stdout.is_empty(),
        "standard output is not empty\n{}",
        run.report()
    );
}

/// Demands success and a result, which is returned.
#[track_caller]
pub(crate) fn result(run: &Run) -> Value {
    assert!(
        run.is_ok(),
        "a failure where a result is demanded\n{}",
        run.report()
    );
    object(run, "a result")
}

/// Demands a failure, with an error object on standard output that has a code and a message.
#[track_caller]
pub(crate) fn error(run: Run) -> Reply {
    assert!(
        !run.is_ok(),
        "success where an error is demanded\n{}",
        run.report()
    );
    let object = object(&run, "an error object");
    let code = object["code"].as_u64();
    let code = code.unwrap_or_else(|| panic!("an error without a code\n{}", run.report()));
    let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
    let (msg, details) = (text("msg"), text("details"));
    assert!(!msg.is_empty(), "an error without msg\n{}", run.report());
    Reply {
        code,
        msg,
        details,
        run,
    }
}

/// Demands an error with this code.
#[track_caller]
pub(crate) fn error_with(code: u64, run: Run) -> Reply {
    let error = error(run);
    assert!(
        error.code == code,
        "code {} instead of {code}: {}\n{}",
        error.code,
        error.text(),
        error.run.report()
    );
    error
}

/// Demands either success or an error object: the plugin must not crash.
#[track_caller]
pub(crate) fn orderly(run: Run) {
    if !run.is_ok() {
        error(run);
    }
}

/// Demands one JSON object on standard output.
#[track_caller]
pub(crate) fn object(run: &Run, what: &str) -> Value {
    let value: Value = serde_json::from_slice(&run.stdout)
        .unwrap_or_else(|err| panic!("standard output is not {what}: {err}\n{}", run.report()));
    assert!(
        value.is_object(),
        "standard output is not {what}: no object\n{}",
        run.report()
    );
    value
}

impl Reply {
    /// Message and details as runtimes show them.
    pub(crate) fn text(&self) -> String {
        match self.details.is_empty() {
            true => self.msg.clone(),
            false => format!("{}; {}", self.msg, self.details),
        }
    }

    /// Demands that message or details contain `part`.
    #[track_caller]
    pub(crate) fn mentions(&self, part: &str) {
        assert!(
            self.text().contains(part),
            "the error does not mention {part:?}: {}\n{}",
            self.text(),
            self.run.report()
        );
    }

    /// Demands this text.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) {
        assert!(
            self.text() == text,
            "the error is {:?} instead of {text:?}\n{}",
            self.text(),
            self.run.report()
        );
    }
}
