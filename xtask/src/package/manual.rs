//! Man pages, made from the pages in `Documentation`.
//!
//! Diagrams are left out: they need characters that not every terminal and printer has. Tables become lists.

use std::process::Command;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::version::upstream_part;
use crate::{build, commands};

/// The man page of section 8 with this name, summary and text.
pub(crate) fn of_page(name: &str, summary: &str, page: &str, version: &str) -> String {
    let mut roff = Roff::default();
    roff.request(&format!(
        ".TH {} 8 {} \"cni-plugins-rs {}\" \"CNI plugins\"\n.SH NAME\n{} \\- {}\n.SH DESCRIPTION",
        name.to_uppercase(),
        date(),
        upstream_part(version),
        name,
        escaped(summary)
    ));
    for event in Parser::new_ext(page, Options::ENABLE_TABLES) {
        roff.event(event);
    }
    roff.text
}

/// The day of the build's commit.
fn date() -> String {
    let mut command = Command::new("date");
    command.args(["--utc", "+%Y-%m-%d", "--date"]);
    command.arg(format!("@{}", build::source_date()));
    commands::read(&mut command).unwrap_or_default()
}

/// The first paragraph of a page, as plain text.
pub(crate) fn introduction(page: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for event in Parser::new(page) {
        match event {
            Event::Start(Tag::Paragraph) => inside = true,
            Event::End(TagEnd::Paragraph) => break,
            Event::Text(part) | Event::Code(part) if inside => text.push_str(&part),
            Event::SoftBreak if inside => text.push(' '),
            _ => (),
        }
    }
    text
}

/// Text without characters that have a meaning in roff, except at the beginning of a line.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e")
}

/// Text in the form of a man page.
#[derive(Default)]
struct Roff {
    text: String,
    /// The content of a heading, code block or cell up to its end.
    held: Option<String>,
    /// The finished cells of the current row.
    row: Vec<String>,
    /// The cells of the table's header.
    head: Vec<String>,
    in_code: bool,
    /// The next number of each enclosing list; `None` for bullets.
    lists: Vec<Option<u64>>,
    /// Whether the next paragraph continues the line of a list item.
    in_item: bool,
}

impl Roff {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.in_code => self.put(&text),
            Event::Text(text) => self.put(&escaped(&text)),
            Event::Code(code) => self.put(&format!("\\fB{}\\fR", dashes(&code))),
            Event::SoftBreak | Event::HardBreak => self.put("\n"),
            _ => (),
        }
    }

    fn start(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Heading { .. } | Tag::TableCell => self.held = Some(String::new()),
            Tag::CodeBlock(_) => {
                self.in_code = true;
                self.held = Some(String::new());
            }
            Tag::Paragraph if self.in_item => self.in_item = false,
            Tag::Paragraph => self.request(".PP"),
            Tag::List(first) => {
                if !self.lists.is_empty() {
                    self.request(".RS 3");
                }
                self.lists.push(*first);
            }
            Tag::Item => self.start_item(),
            Tag::Emphasis => self.put("\\fI"),
            Tag::Strong => self.put("\\fB"),
            _ => (),
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(level) => self.end_heading(level),
            TagEnd::CodeBlock => self.end_code(),
            TagEnd::TableCell => self.row.extend(self.held.take()),
            TagEnd::TableHead => self.head = std::mem::take(&mut self.row),
            TagEnd::TableRow => self.end_row(),
            TagEnd::List(_) => {
                self.lists.pop();
                if !self.lists.is_empty() {
                    self.request(".RE");
                }
            }
            TagEnd::Emphasis | TagEnd::Strong => self.put("\\fR"),
            _ => (),
        }
    }

    /// Adds inline text.
    fn put(&mut self, text: &str) {
        if let Some(held) = &mut self.held {
            held.push_str(text);
            return;
        }
        // At the beginning of a line these two would start a request.
        if self.text.ends_with('\n') && text.starts_with(['.', '\'']) {
            self.text.push_str("\\&");
        }
        self.text.push_str(text);
    }

    /// Adds lines of requests.
    fn request(&mut self, lines: &str) {
        self.end_line();
        self.text.push_str(lines);
        self.text.push('\n');
    }

    fn end_line(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }

    fn start_item(&mut self) {
        let mark = match self.lists.last_mut() {
            Some(Some(number)) => {
                *number += 1;
                format!("{}.", *number - 1)
            }
            _ => "\\(bu".into(),
        };
        self.request(&format!(".IP {mark} 3"));
        self.in_item = true;
    }

    fn end_heading(&mut self, level: HeadingLevel) {
        let title = self.held.take().unwrap_or_default();
        match level {
            // The name of the page.
            HeadingLevel::H1 => (),
            HeadingLevel::H2 => self.request(&format!(".SH {}", title.to_uppercase())),
            _ => self.request(&format!(".SS {title}")),
        }
        self.in_item = false;
    }

    fn end_code(&mut self) {
        self.in_code = false;
        let code = self.held.take().unwrap_or_default();
        let is_diagram = code.contains(['│', '┌', '─', '▼']);
        if is_diagram {
            return;
        }
        self.request(".PP\n.RS 4\n.nf");
        for line in code.lines() {
            self.request(&format!("\\&{}", dashes(line)));
        }
        self.request(".fi\n.RE");
    }

    /// Writes a row of a table as an item of a list: the first cell, then the others with their headers.
    fn end_row(&mut self) {
        let cells = std::mem::take(&mut self.row);
        let Some((first, others)) = cells.split_first() else {
            return;
        };
        self.request(".TP");
        self.put(first);
        let Some((text, facts)) = others.split_last() else {
            return self.end_line();
        };
        let heads = self.head.iter().skip(1);
        let facts: Vec<String> = heads
            .zip(facts)
            .filter(|(_, fact)| !fact.is_empty())
            .map(|(head, fact)| format!("{head}: {fact}"))
            .collect();
        if !facts.is_empty() {
            self.request(&format!("{}.\n.br", facts.join(", ")));
        }
        self.end_line();
        self.put(text);
        self.end_line();
    }
}

/// Text that a user may copy: its dashes stay ASCII.
fn dashes(code: &str) -> String {
    escaped(code).replace('-', "\\-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# bridge

Connects a `veth-pair` to
.a bridge.

```
 ┌──┐
```

## Configuration

| key | type | meaning |
|---|---|---|
| `mtu` | integer | The *MTU*. |

1. one
2. two
   - nested

```json
{ \"a\\\\b\": -1 }
```
";

    #[test]
    fn pages_become_man_pages() {
        let manual = of_page("cni-bridge", "connects", PAGE, "v1.2.3");
        assert!(manual.starts_with(".TH CNI-BRIDGE 8 "), "{manual}");
        let rest = manual.split_once(".SH DESCRIPTION\n").map(|(_, rest)| rest);
        let expected = "\
.PP
Connects a \\fBveth\\-pair\\fR to
\\&.a bridge.
.SH CONFIGURATION
.TP
\\fBmtu\\fR
type: integer.
.br
The \\fIMTU\\fR.
.IP 1. 3
one
.IP 2. 3
two
.RS 3
.IP \\(bu 3
nested
.RE
.PP
.RS 4
.nf
\\&{ \"a\\e\\eb\": \\-1 }
.fi
.RE
";
        assert_eq!(rest, Some(expected));
    }

    #[test]
    fn introductions_are_the_first_paragraph() {
        assert_eq!(introduction(PAGE), "Connects a veth-pair to .a bridge.");
    }
}
