//! Regular expressions of the allow list, which are written for Go's `regexp` package
//! (RE2 syntax) and matched by `regex-lite`.
//!
//! Both take linear time and know the same operators. What they read differently, or
//! what `regex-lite` accepts and Go does not, is refused here, so that no expression
//! ever matches more than it does with upstream. Keys are compared only if they are
//! printable ASCII: outside of that range the two differ in case folding and in `\s`.

use regex_lite::Regex;
use std::iter::Peekable;
use std::str::Chars;

/// The largest count of a repetition, nested ones multiplied (`regexp/syntax`).
const MAX_REPEAT: u32 = 1000;

/// A regular expression that means the same to Go and to `regex-lite`.
pub(crate) struct Regexp(Regex);

impl Regexp {
    /// Compiles an expression.
    ///
    /// # Errors
    /// Text that says what is wrong with it or what is not supported.
    pub(crate) fn new(text: &str) -> Result<Regexp, String> {
        Scanner::new(text).scan()?;
        Regex::new(text).map(Regexp).map_err(|e| e.to_string())
    }

    /// Whether the expression matches any part of `key`. A key with characters other
    /// than printable ASCII is never matched.
    pub(crate) fn is_match(&self, key: &str) -> bool {
        key.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && self.0.is_match(key)
    }
}

/// Reads an expression and stops at what the two engines do not have in common. Plain
/// syntax errors are left to `regex-lite`.
struct Scanner<'t> {
    rest: Peekable<Chars<'t>>,
    /// Whether the flag `i` has been set anywhere before.
    folds_case: bool,
    /// Whether the last item can be repeated: a repetition and a flag cannot.
    is_repeatable: bool,
    /// Product of the nested counts of the last item.
    item_count: u32,
    /// Largest product of counts in each open group; the first is the whole expression.
    group_counts: Vec<u32>,
}

impl<'t> Scanner<'t> {
    fn new(text: &'t str) -> Self {
        Scanner {
            rest: text.chars().peekable(),
            folds_case: false,
            is_repeatable: true,
            item_count: 1,
            group_counts: vec![1],
        }
    }

    fn scan(mut self) -> Result<(), String> {
        while let Some(c) = self.rest.next() {
            match c {
                '*' | '+' | '?' => self.repeated()?,
                '{' => self.counted()?,
                _ => {
                    self.is_repeatable = true;
                    self.item_count = 1;
                    self.item(c)?;
                }
            }
        }
        Ok(())
    }

    fn item(&mut self, c: char) -> Result<(), String> {
        match c {
            '\\' => self.escape().map(drop),
            '[' => self.class(),
            '(' => self.group(),
            ')' => {
                self.item_count = self.group_counts.pop().unwrap_or(1);
                self.note_count();
                Ok(())
            }
            c => literal(c).map(drop),
        }
    }

    /// A repetition operator. Go takes one after an item, regex-lite any number.
    fn repeated(&mut self) -> Result<(), String> {
        if !self.is_repeatable {
            return Err("invalid nested repetition operator".into());
        }
        self.is_repeatable = false;
        self.rest.next_if_eq(&'?');
        Ok(())
    }

    /// `{2}`, `{2,}` or `{2,5}`. Go takes any other brace as a literal.
    fn counted(&mut self) -> Result<(), String> {
        let mut text = String::new();
        while let Some(c) = self.rest.next_if(|c| c.is_ascii_digit() || *c == ',') {
            text.push(c);
        }
        let (least, most) = text.split_once(',').unwrap_or((&text, ""));
        let is_number =
            |digits: &str| !digits.is_empty() && (digits == "0" || !digits.starts_with('0'));
        let closed = self.rest.next_if_eq(&'}').is_some();
        if !closed || !is_number(least) || !(most.is_empty() || is_number(most)) {
            return Err("\"{\" without a repeat count; write \"\\{\" for a literal brace".into());
        }
        let count = |digits: &str| match digits {
            "" => 0,
            digits => digits.parse().unwrap_or(u32::MAX),
        };
        let count = count(least).max(count(most)).max(1);
        self.item_count = self.item_count.saturating_mul(count);
        if self.item_count > MAX_REPEAT {
            return Err(format!("invalid repeat count: {{{text}}}"));
        }
        self.note_count();
        self.repeated()
    }

    fn note_count(&mut self) {
        if let Some(count) = self.group_counts.last_mut() {
            *count = self.item_count.max(*count);
        }
    }

    /// What follows an opening parenthesis: a name, flags or nothing.
    fn group(&mut self) -> Result<(), String> {
        if self.rest.next_if_eq(&'?').is_none() {
            self.group_counts.push(1);
            return Ok(());
        }
        let is_named = self.rest.next_if_eq(&'P').is_some();
        let is_open = self.rest.next_if_eq(&'<').is_some();
        if is_named || is_open {
            let is_word = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
            while self.rest.next_if(is_word).is_some() {}
            self.group_counts.push(1);
            return match self.rest.next() {
                Some('>') if is_open => Ok(()),
                _ => Err("invalid named capture".into()),
            };
        }
        let mut sets = true;
        loop {
            match self.rest.next() {
                Some('i') => self.folds_case |= sets,
                Some('m' | 's' | 'U') => {}
                Some('-') => sets = false,
                Some(':') => {
                    self.group_counts.push(1);
                    return Ok(());
                }
                // Flags alone apply to the rest of the group around them.
                Some(')') => {
                    self.is_repeatable = false;
                    return Ok(());
                }
                _ => return Err("invalid or unsupported Perl syntax".into()),
            }
        }
    }

    /// What follows a backslash. Returns the character, `None` for a class or an
    /// assertion.
    fn escape(&mut self) -> Result<Option<char>, String> {
        let Some(c) = self.rest.next() else {
            return Err("trailing backslash at end of expression".into());
        };
        match c {
            'd' | 'D' | 'w' | 'W' | 's' | 'S' | 'A' | 'z' | 'B' => Ok(None),
            // `\b{start}` and its like are assertions of their own to regex-lite.
            'b' if self.rest.peek() != Some(&'{') => Ok(None),
            'a' | 'f' | 't' | 'n' | 'r' | 'v' => Ok(Some(c)),
            'x' => self.hexadecimal().map(Some),
            // `\<` and `\>` are word boundaries to regex-lite.
            c if c.is_ascii_punctuation() && !matches!(c, '<' | '>') => Ok(Some(c)),
            c => Err(format!("unsupported escape sequence: \\{c}")),
        }
    }

    /// `41` or `{41}`.
    fn hexadecimal(&mut self) -> Result<char, String> {
        let mut digits = String::new();
        let braces = self.rest.next_if_eq(&'{').is_some();
        while braces || digits.len() < 2 {
            let Some(digit) = self.rest.next_if(char::is_ascii_hexdigit) else {
                break;
            };
            digits.push(digit);
        }
        if braces && self.rest.next() != Some('}') {
            return Err("invalid escape sequence: \\x".into());
        }
        let number = u32::from_str_radix(&digits, 16).ok();
        match number.and_then(char::from_u32) {
            Some(c) => literal(c),
            None => Err("invalid escape sequence: \\x".into()),
        }
    }

    /// What follows an opening bracket.
    fn class(&mut self) -> Result<(), String> {
        self.rest.next_if_eq(&'^');
        let mut is_first = true;
        loop {
            let low = match self.rest.next() {
                None => return Err("missing closing ]".into()),
                Some(']') if !is_first => return Ok(()),
                Some('[') => {
                    self.named_class()?;
                    is_first = false;
                    continue;
                }
                Some('\\') => self.escape()?,
                Some(c) => Some(literal(c)?),
            };
            if self.is_range() {
                // regex-lite takes a leading `-` or `]` as a literal, Go as the start
                // of the range.
                if is_first && matches!(low, Some('-' | ']')) {
                    return Err("character class starts with a range of - or ]".into());
                }
                self.range_end(low)?;
            }
            is_first = false;
        }
    }

    /// Whether a `-` follows that is not the last character of the class.
    fn is_range(&self) -> bool {
        let mut ahead = self.rest.clone();
        ahead.next() == Some('-') && ahead.next() != Some(']')
    }

    fn range_end(&mut self, low: Option<char>) -> Result<(), String> {
        self.rest.next();
        let high = match self.rest.next() {
            None => return Err("missing closing ]".into()),
            Some('\\') => self.escape()?,
            Some(c) => Some(literal(c)?),
        };
        // regex-lite folds only one of the two cases of such a range.
        let has_letter = |first: char, last: char| low <= Some(last) && high >= Some(first);
        if self.folds_case && has_letter('A', 'Z') && has_letter('a', 'z') {
            return Err("range of upper and lower case letters together with (?i)".into());
        }
        Ok(())
    }

    /// `[:alpha:]` inside of a class, after its opening bracket.
    fn named_class(&mut self) -> Result<(), String> {
        let is_name = self.rest.next_if_eq(&':').is_some();
        // regex-lite folds the complement, Go the class: `(?i)[[:^upper:]]`.
        let is_negated = is_name && self.rest.next_if_eq(&'^').is_some();
        if is_negated && self.folds_case {
            return Err("[:^ together with (?i); write [^[: instead".into());
        }
        while self.rest.next_if(char::is_ascii_alphabetic).is_some() {}
        let is_closed =
            self.rest.next_if_eq(&':').is_some() && self.rest.next_if_eq(&']').is_some();
        match is_name && is_closed {
            true => Ok(()),
            false => Err("\"[\" inside of a character class; write \"\\[\"".into()),
        }
    }
}

/// A character that stands for itself.
fn literal(c: char) -> Result<char, String> {
    match c.is_ascii() {
        true => Ok(c),
        // The two engines fold the case of other characters differently.
        false => Err(format!("{c:?} is not an ASCII character")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "net.ipv4.conf.IFNAME.arp_filter";

    /// The answers are those of Go's `regexp.MatchString`.
    #[test]
    fn matches_as_go_does() {
        for pattern in [
            "",
            "arp_filter",
            r"^net\.ipv4\.conf\.IFNAME\.[a-z_]*$",
            "^net.ipv4.",
            r"conf\.(all|IFNAME)\.",
            "a{1}rp",
            "(?i)ifname",
            "(?i:NET)\\.",
            "(?i-s)NET.IPV4",
            "[[:upper:]]{6}",
            "[^[:^upper:]]{6}",
            "(?i)^[[:upper:]]{3}",
            "(?i)^[[:alpha:]]{3}[^a-z]",
            "[^.]+$",
            r"\.\w+_\w+$",
            r"\bconf\b",
            "x*y*z*",
            "(a|b|c|arp)_f",
            "(?P<family>ipv[46])",
            "(?<family>ipv[46])",
            "filter{0,}$",
            r"net\x2eipv4",
            r"\x{6e}et",
            r"[\d.]con[e-g]",
            "[]n]et",
            "[-.]arp",
            "[.-]arp",
            "[^-]$",
            "r{1,2}?p",
            "(?:net)??$",
            r"^(?:net|kernel)(?:\.[A-Za-z0-9_]+){4}$",
            "I[^a-z]{4}E",
            "(((((n)))))e",
            r"\Anet",
            r"filter\z",
            "(?m)^net",
            "a||net",
            "()n",
            r"\_filter",
            "^*net",
            "(?i)[^K]",
            "[A-z]FNAME",
            r"(net|\S+ \S+)\.",
        ] {
            let found = Regexp::new(pattern).map(|r| r.is_match(KEY));
            assert_eq!(found, Ok(true), "{pattern}");
        }
        for pattern in [
            "^arp_filter",
            "ipv6",
            "net$",
            r"\Bconf",
            "[A-Z]{7}",
            "^$",
            "arp-filter",
            "ifname",
            "(?i)(?-i)ifname",
            "((?i)x)|ifname",
            "(?-i:ifname)",
            r"conf\.(all|default)\.",
            "a{2}",
            r"\d{2}",
            r"\s",
            "net/ipv4",
            "(?i)^[^[:upper:]]",
            "(?i)^[^a-zA-Z]",
            "(?i)^[^N]",
            r"^\W",
            r"net\.ipv4\.$",
        ] {
            let found = Regexp::new(pattern).map(|r| r.is_match(KEY));
            assert_eq!(found, Ok(false), "{pattern}");
        }
    }

    /// Expressions that Go refuses.
    #[test]
    fn refuses_what_go_refuses() {
        for pattern in [
            "(",
            "a)",
            "[a",
            "[]",
            "[^]",
            "*",
            "|*",
            "(*a)",
            "a**",
            "a*+",
            "a??*",
            "a{2}{3}",
            "a{1001}",
            "a{5,2}",
            "((a{100}){11})",
            "(a{500}){3,4}",
            "[z-a]",
            "\\",
            r"\y",
            r"\8",
            r"\u0041",
            r"\U00000041",
            r"\Z",
            r"\x4",
            r"\x{110000}",
            r"\x{}",
            "(?=a)",
            "(?!a)",
            "(?<=a)",
            "(?<!a)",
            "(?x)a b",
            "(?R)a",
            "(?u)a",
            "(?i",
            "(?i-)a",
            "(?Pi)a",
            "(?P=n)",
            "(?P<n",
            "(?P<a.b>x)",
            "(?P<a>x)(?P<a>y)",
            "[[:nope:]]",
            r"[a-\d]",
            r"[\b]",
            "a(?#comment)",
        ] {
            assert!(Regexp::new(pattern).is_err(), "{pattern}");
        }
        let deep = "(".repeat(100_000);
        assert!(Regexp::new(&deep).is_err());
    }

    /// Expressions that Go takes and regex-lite reads differently, or not at all.
    #[test]
    fn refuses_what_go_reads_differently() {
        for pattern in [
            // Literals to Go.
            "a{ 2 }",
            "a{01}",
            "a{2,03}",
            "a{,5}",
            "{",
            "x{a}",
            r"\<net",
            r"net\>",
            r"\b{start}net",
            "[[a]",
            "[a&&b]",
            "[a~~b]",
            // Ranges to Go.
            "[--a]",
            "[^--a]",
            "[]-a]",
            "[^]-a]",
            "[+--]",
            // Folded in another way.
            "(?i)[[:^upper:]]",
            "(?i)[[:^lower:]]",
            "(?i)[Z-a]",
            "(?i)[^Y-b]",
            "(?i)[!-~]",
            "(?i)[^\u{17f}]",
            "(?i)\u{212a}",
            r"(?i)[^\x{17f}]",
            r"[a-\x{10ffff}]",
            // Unknown to regex-lite.
            r"\Qnet.ipv4\E",
            r"\pL",
            r"\056",
            "(?)a",
            "(?ii)a",
        ] {
            assert!(Regexp::new(pattern).is_err(), "{pattern}");
        }
    }

    /// `\s` is without `\v` in Go, and case folding is Unicode's there.
    #[test]
    fn keys_beyond_printable_ascii_never_match() {
        for pattern in ["", ".*", r"\s", "(?i)[^k]", "net"] {
            for key in ["net.\u{b}", "net\n", "net.\u{212a}", "net.\u{7f}", "net.ü"] {
                let found = Regexp::new(pattern).map(|r| r.is_match(key));
                assert_eq!(found, Ok(false), "{pattern} {key:?}");
            }
        }
    }

    #[test]
    fn no_expression_takes_long() {
        let text = "a".repeat(2000);
        for pattern in ["(a*)*b", "(a|aa)+$b", "(a+a+)+b", "(x+x+)+y"] {
            let found = Regexp::new(pattern).map(|r| r.is_match(&text));
            assert_eq!(found, Ok(false), "{pattern}");
        }
    }
}
