//! JUnit XML, as continuous integration systems read it: a suite for each plugin, a case for each rule.

use std::fmt::Write as _;

use super::Summary;
use crate::runner::{Report, Verdict};
use crate::worker::Outcome;

/// The results of all plugins.
pub(crate) fn results(reports: &[Report]) -> String {
    let mut text =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"cni-conformance\">\n"
            .to_owned();
    for report in reports {
        let of = Summary::of(std::slice::from_ref(report));
        let seconds: f64 = report
            .verdicts
            .iter()
            .map(|verdict| verdict.time.as_secs_f64())
            .sum();
        let _ = writeln!(
            text,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{seconds:.3}\">",
            escaped(&report.subject.plugin),
            report.verdicts.len(),
            of.failed_must + of.failed_runtime + of.failed_should,
            of.not_run,
            of.not_applicable
        );
        for verdict in &report.verdicts {
            text += &case(&report.subject.plugin, verdict);
        }
        text += "  </testsuite>\n";
    }
    text + "</testsuites>\n"
}

fn case(plugin: &str, verdict: &Verdict) -> String {
    let rule = verdict.rule;
    let head = format!(
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
        escaped(plugin),
        rule.id,
        verdict.time.as_secs_f64()
    );
    let body = match &verdict.outcome {
        Outcome::Passed => return head + "/>\n",
        Outcome::Failed(seen) => format!(
            "<failure type=\"{}\" message=\"{}\">{}</failure>",
            rule.severity,
            escaped(rule.text),
            escaped(seen)
        ),
        Outcome::NotApplicable(reason) => format!("<skipped message=\"{}\"/>", escaped(reason)),
        Outcome::NotRun(reason) => format!("<error>{}</error>", escaped(reason)),
    };
    format!("{head}>{body}</testcase>\n")
}

/// Text without the characters that have a meaning in XML, or that it cannot have.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\n' | '\t' | ' '..'\u{fffe}' | '\u{10000}'.. => escaped.push(character),
            _ => escaped.push('\u{fffd}'),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        assert_eq!(
            escaped("a<b>&\"c\"\u{1}\u{0}é"),
            "a&lt;b&gt;&amp;&quot;c&quot;\u{fffd}\u{fffd}é"
        );
    }
}
