//! Splits and quotes the lines of iptables-save and iptables-restore
//! (`add_param_to_argv` in iptables): words are separated by blanks, and quoted if they
//! contain blanks; in quotes a backslash escapes the next character.

/// Returns the words of a line. An unclosed quote extends to the end.
pub(crate) fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if quoted => {
                if let Some(next) = chars.next() {
                    word.get_or_insert_default().push(next);
                }
            }
            char if char.is_ascii_whitespace() && !quoted => words.extend(word.take()),
            char => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    words
}

/// Quotes a word if necessary.
pub(crate) fn quote(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:,!=+%@[]".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    let mut quoted = String::with_capacity(word.len() + 2);
    quoted.push('"');
    for char in word.chars() {
        if matches!(char, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(char);
    }
    quoted.push('"');
    quoted
}

/// The longest word that iptables-restore accepts, in bytes.
const WORD_MAX: usize = 1023;

/// Returns why a word cannot be written to a line, `None` if it can.
pub(crate) fn bad_word(word: &str) -> Option<String> {
    if word.is_empty() {
        return Some("empty argument".to_owned());
    }
    if word.len() > WORD_MAX {
        return Some(format!(
            "argument of {} bytes is too long, at most {WORD_MAX}",
            word.len()
        ));
    }
    word.contains(['\n', '\r', '\0'])
        .then(|| format!("line break in argument {word:?}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quotes_and_blanks() {
        assert_eq!(split(""), Vec::<String>::new());
        assert_eq!(split("  a  b\t c"), ["a", "b", "c"]);
        assert_eq!(
            split(r#"--comment "a \"b\" \\ c" d"#),
            ["--comment", r#"a "b" \ c"#, "d"]
        );
        assert_eq!(split(r#""" x"#), ["", "x"]);
        assert_eq!(split(r#""open"#), ["open"]);
        assert_eq!(split(r"a\b"), [r"a\b"]);
        assert_eq!(quote("10.0.0.0/8"), "10.0.0.0/8");
        assert_eq!(quote(r#"name: "x""#), r#""name: \"x\"""#);
    }

    proptest! {
        #[test]
        fn words_come_back(words in prop::collection::vec("[^\n\r\0]{1,20}", 0..8)) {
            let line: Vec<String> = words.iter().map(|word| quote(word)).collect();
            prop_assert_eq!(split(&line.join(" ")), words);
        }

        #[test]
        fn any_line_is_split(line in any::<String>()) {
            split(&line);
        }
    }
}
