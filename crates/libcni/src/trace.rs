//! Trace context for plugins (W3C Trace Context and Baggage, as environment variables).

use std::ffi::OsString;

/// The span of the caller's trace that the calls of plugins belong to.
///
/// It has no dependency on a tracing library: the numbers are those of the caller's span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace's ID; 0 is none, and nothing is passed on.
    pub trace_id: u128,
    /// The span's ID; 0 is none, and nothing is passed on.
    pub span_id: u64,
    /// Whether the trace is recorded.
    pub is_sampled: bool,
    /// The state of tracing systems, as in the header `tracestate`; may be empty.
    pub state: String,
    /// Values of the application, as in the header `baggage`; may be empty.
    pub baggage: String,
}

impl TraceContext {
    /// Returns the variables to set, `None` for those to remove: state and baggage that this
    /// process has inherited belong to another span.
    pub(crate) fn variables(&self) -> Vec<(&'static str, Option<OsString>)> {
        if self.trace_id == 0 || self.span_id == 0 {
            return Vec::new();
        }
        let flags = u8::from(self.is_sampled);
        let parent = format!(
            "00-{:032x}-{:016x}-{flags:02x}",
            self.trace_id, self.span_id
        );
        let unless_empty = |text: &String| (!text.is_empty()).then(|| text.into());
        vec![
            ("TRACEPARENT", Some(parent.into())),
            ("TRACESTATE", unless_empty(&self.state)),
            ("BAGGAGE", unless_empty(&self.baggage)),
        ]
    }
}
