//! The daemon's log: lines on standard error, with levels for systemd's journal.

use log::{Level, LevelFilter, Log, Metadata, Record};
use std::io::Write;

struct Logger {
    has_levels: bool,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("cni_dhcp")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // sd-daemon(3).
        let prefix = match (self.has_levels, record.level()) {
            (false, _) => "",
            (true, Level::Error) => "<3>",
            (true, Level::Warn) => "<4>",
            (true, Level::Info) => "<6>",
            (true, Level::Debug | Level::Trace) => "<7>",
        };
        // Texts of servers may contain line ends.
        let text = record.args().to_string().replace(['\n', '\r'], " ");
        // Nothing better can be done when standard error is closed.
        let _ = writeln!(std::io::stderr(), "{prefix}{text}");
    }

    fn flush(&self) {}
}

/// Installs the log. `CNI_LOG=debug` shows what is of use for a diagnosis only.
pub(super) fn install() {
    let has_levels = std::env::var_os("JOURNAL_STREAM").is_some();
    let is_verbose = std::env::var_os("CNI_LOG").is_some_and(|level| level == "debug");
    if log::set_boxed_logger(Box::new(Logger { has_levels })).is_ok() {
        log::set_max_level(if is_verbose {
            LevelFilter::Debug
        } else {
            LevelFilter::Info
        });
    }
}
