//! Regular expressions, from text to tree.

use super::tree::{Look, Node, Set};

/// Groups inside groups, at most: the parser calls itself for each.
const DEEPEST: usize = 200;

/// The largest count of a repetition, as in RE2.
const MOST_REPEATS: u32 = 1000;

/// Reads `text`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    let mut parser = Parser {
        rest: text.chars().collect(),
        at: 0,
        depth: 0,
        flags: Flags::default(),
    };
    let node = parser.alternatives()?;
    match parser.peek() {
        None => Ok(node),
        Some(_) => Err("unexpected )".into()),
    }
}

#[derive(Clone, Copy, Default)]
struct Flags {
    ignore_case: bool,
    dot_takes_newline: bool,
}

struct Parser {
    rest: Vec<char>,
    at: usize,
    depth: usize,
    flags: Flags,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.rest.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek();
        self.at += usize::from(next.is_some());
        next
    }

    fn take(&mut self, text: &str) -> bool {
        let taken = text
            .chars()
            .enumerate()
            .all(|(i, c)| self.rest.get(self.at + i) == Some(&c));
        if taken {
            self.at += text.chars().count();
        }
        taken
    }

    /// Up to the end or to a closing parenthesis, which stays.
    fn alternatives(&mut self) -> Result<Node, String> {
        // Flags set inside count up to the end of the group, across `|`.
        let outside = self.flags;
        let mut branches = vec![self.sequence()?];
        while self.take("|") {
            branches.push(self.sequence()?);
        }
        self.flags = outside;
        Ok(match branches.len() {
            1 => branches.remove(0),
            _ => Node::Either(branches),
        })
    }

    fn sequence(&mut self) -> Result<Node, String> {
        let mut parts = Vec::new();
        while let Some(c) = self.peek().filter(|c| !matches!(c, '|' | ')')) {
            if self.take(r"\Q") {
                while !self.take(r"\E") {
                    let Some(c) = self.next() else { break };
                    parts.push(self.literal(c));
                }
                continue;
            }
            self.at += 1;
            let part = self.part(c)?;
            parts.push(self.repeated(part)?);
        }
        Ok(Node::Sequence(parts))
    }

    fn part(&mut self, c: char) -> Result<Node, String> {
        Ok(match c {
            '(' => self.group()?,
            '[' => Node::One(self.set()?),
            '.' if self.flags.dot_takes_newline => Node::One(Set::new(vec![]).negated()),
            '.' => Node::One(Set::new(vec![('\n', '\n')]).negated()),
            '^' => Node::Look(Look::Start),
            '$' => Node::Look(Look::End),
            '*' | '+' | '?' => return Err(format!("missing argument to repetition operator: {c}")),
            '\\' => self.escape()?,
            c => self.literal(c),
        })
    }

    fn literal(&self, c: char) -> Node {
        Node::One(self.folded(Set::new(vec![(c, c)])))
    }

    fn folded(&self, set: Set) -> Set {
        match self.flags.ignore_case {
            true => set.any_case(),
            false => set,
        }
    }

    /// What may follow a part: how often it is repeated.
    fn repeated(&mut self, part: Node) -> Result<Node, String> {
        let start = self.at;
        let (least, most) = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => match self.counts()? {
                Some(counts) => counts,
                None => return Ok(part),
            },
            _ => return Ok(part),
        };
        if self.at == start {
            self.at += 1;
        }
        // Few or many first is the same to somebody who asks only whether there is a match.
        self.take("?");
        // Braces that are no counts are themselves, everything else is one too many.
        let twice = match self.peek() {
            Some('*' | '+' | '?') => true,
            Some('{') => {
                let here = self.at;
                let counts = self.counts()?.is_some();
                self.at = here;
                counts
            }
            _ => false,
        };
        if twice {
            return Err("invalid nested repetition operator".into());
        }
        Ok(Node::Repeat(Box::new(part), least, most))
    }

    /// `{2}`, `{2,}` or `{2,5}`; `None` for anything else, which stands for itself.
    fn counts(&mut self) -> Result<Option<(u32, Option<u32>)>, String> {
        let text: String = self.rest[self.at..]
            .iter()
            .skip(1)
            .take_while(|c| **c != '}')
            .collect();
        if self.rest.get(self.at + 1 + text.chars().count()) != Some(&'}') {
            return Ok(None);
        }
        let number = |text: &str| -> Option<u32> {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse().unwrap_or(u32::MAX))
        };
        let counts = match text.split_once(',') {
            None => number(&text).map(|n| (n, Some(n))),
            Some((least, "")) => number(least).map(|n| (n, None)),
            Some((least, most)) => number(least).zip(number(most)).map(|(l, m)| (l, Some(m))),
        };
        let Some((least, most)) = counts else {
            return Ok(None);
        };
        if least.max(most.unwrap_or(0)) > MOST_REPEATS || most.is_some_and(|most| most < least) {
            return Err(format!("invalid repeat count: {{{text}}}"));
        }
        self.at += text.chars().count() + 2;
        Ok(Some((least, most)))
    }

    /// What follows an opening parenthesis.
    fn group(&mut self) -> Result<Node, String> {
        let outside = self.flags;
        if self.take("?P<") || self.take("?<") {
            loop {
                match self.next() {
                    Some('>') => break,
                    Some(c) if c == '_' || c.is_ascii_alphanumeric() => {}
                    _ => return Err("invalid named capture".into()),
                }
            }
        } else if self.take("?") && self.flags()? {
            // For the rest of the group around.
            return Ok(Node::Sequence(vec![]));
        }
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("expression nests too deeply".into());
        }
        let node = self.alternatives()?;
        self.depth -= 1;
        self.flags = outside;
        match self.take(")") {
            true => Ok(node),
            false => Err("missing closing )".into()),
        }
    }

    /// The flags of `(?i)` (then true) or of `(?i:…)`.
    fn flags(&mut self) -> Result<bool, String> {
        let mut on = true;
        loop {
            match self.next() {
                Some('i') => self.flags.ignore_case = on,
                Some('s') => self.flags.dot_takes_newline = on,
                // There is one line; few or many first is all the same.
                Some('m' | 'U') => {}
                Some('-') if on => on = false,
                Some(':') => return Ok(false),
                Some(')') => return Ok(true),
                _ => return Err("invalid or unsupported Perl syntax".into()),
            }
        }
    }

    fn escape(&mut self) -> Result<Node, String> {
        let Some(c) = self.peek() else {
            return Err("trailing backslash at end of expression".into());
        };
        let look = match c {
            'A' => Some(Look::Start),
            'z' => Some(Look::End),
            'b' => Some(Look::WordBoundary),
            'B' => Some(Look::NoWordBoundary),
            _ => None,
        };
        if let Some(look) = look {
            self.at += 1;
            return Ok(Node::Look(look));
        }
        self.escaped().map(|set| Node::One(self.folded(set)))
    }

    /// A character or a class of them, after a backslash.
    fn escaped(&mut self) -> Result<Set, String> {
        let digits = || Set::new(vec![('0', '9')]);
        let spaces = || Set::new(vec![('\t', '\n'), ('\x0c', '\r'), (' ', ' ')]);
        let Some(c) = self.next() else {
            return Err("trailing backslash at end of expression".into());
        };
        let one = match c {
            'd' => return Ok(digits()),
            'D' => return Ok(digits().negated()),
            'w' => return Ok(Set::word()),
            'W' => return Ok(Set::word().negated()),
            's' => return Ok(spaces()),
            'S' => return Ok(spaces().negated()),
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            'f' => '\x0c',
            'v' => '\x0b',
            'a' => '\x07',
            'x' => self.hexadecimal()?,
            '0' => self.octal(),
            c if c.is_ascii_alphanumeric() => {
                return Err(format!("invalid escape sequence: \\{c}"));
            }
            c => c,
        };
        Ok(Set::new(vec![(one, one)]))
    }

    /// Up to two further octal digits.
    fn octal(&mut self) -> char {
        let mut value = 0;
        for _ in 0..2 {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else {
                break;
            };
            self.at += 1;
            value = value * 8 + digit;
        }
        char::from_u32(value).unwrap_or('\0')
    }

    /// `41` or `{10FFFF}`.
    fn hexadecimal(&mut self) -> Result<char, String> {
        let invalid = || "invalid escape sequence: \\x".to_owned();
        let mut digits = String::new();
        if self.take("{") {
            loop {
                match self.next() {
                    Some('}') => break,
                    Some(c) if digits.len() < 8 => digits.push(c),
                    _ => return Err(invalid()),
                }
            }
        } else {
            digits.extend(self.next());
            digits.extend(self.next());
            if digits.chars().count() != 2 {
                return Err(invalid());
            }
        }
        let number = u32::from_str_radix(&digits, 16)
            .ok()
            .filter(|_| !digits.starts_with('+'));
        number.and_then(char::from_u32).ok_or_else(invalid)
    }

    /// What follows an opening bracket.
    fn set(&mut self) -> Result<Set, String> {
        let negated = self.take("^");
        let mut all = Set::new(vec![]);
        let mut first = true;
        loop {
            if self.take("[:") {
                all.add(self.named_class()?);
                first = false;
                continue;
            }
            let low = match self.next() {
                None => return Err("missing closing ]".into()),
                Some(']') if !first => break,
                Some('\\') => self.escaped()?,
                Some(c) => Set::new(vec![(c, c)]),
            };
            first = false;
            let range = self.peek() == Some('-') && self.rest.get(self.at + 1) != Some(&']');
            match low.single().filter(|_| range) {
                None => all.add(low),
                Some(low) => {
                    self.at += 1;
                    let high = match self.next() {
                        None => return Err("missing closing ]".into()),
                        Some('\\') => self.escaped()?.single(),
                        Some(c) => Some(c),
                    };
                    match high.filter(|high| *high >= low) {
                        Some(high) => all.add(Set::new(vec![(low, high)])),
                        None => return Err("invalid character class range".into()),
                    }
                }
            }
        }
        let all = self.folded(all);
        Ok(if negated { all.negated() } else { all })
    }

    /// What follows `[:` inside brackets.
    fn named_class(&mut self) -> Result<Set, String> {
        let negated = self.take("^");
        let mut name = String::new();
        while !self.take(":]") {
            match self.next() {
                Some(c) => name.push(c),
                None => return Err("missing closing ]".into()),
            }
        }
        let ranges: &[(char, char)] = match name.as_str() {
            "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
            "alpha" => &[('A', 'Z'), ('a', 'z')],
            "ascii" => &[('\0', '\x7f')],
            "blank" => &[('\t', '\t'), (' ', ' ')],
            "cntrl" => &[('\0', '\x1f'), ('\x7f', '\x7f')],
            "digit" => &[('0', '9')],
            "graph" => &[('!', '~')],
            "lower" => &[('a', 'z')],
            "print" => &[(' ', '~')],
            "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
            "space" => &[('\t', '\r'), (' ', ' ')],
            "upper" => &[('A', 'Z')],
            "word" => &[('0', '9'), ('A', 'Z'), ('a', 'z'), ('_', '_')],
            "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
            _ => return Err(format!("invalid character class range: [:{name}:]")),
        };
        let set = Set::new(ranges.to_vec());
        Ok(if negated { set.negated() } else { set })
    }
}
