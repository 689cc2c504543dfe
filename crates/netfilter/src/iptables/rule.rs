//! Rules of iptables, built or parsed, in one form that can be compared.

use std::fmt;
use std::net::IpAddr;

use super::words::{quote, split};

/// A rule of iptables.
///
/// It is kept in the form in which `iptables-save` prints it, so that built and parsed
/// rules can be compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Rule {
    /// The basic matches `-s`, `-d`, `-i`, `-o`, `-p`, in this order.
    pub(super) basics: [Option<Basic>; 5],
    /// `-m name words`, in the order of the calls.
    pub(super) matches: Vec<Extension>,
    pub(super) target: Option<Target>,
    /// Arguments given by the user; they are not interpreted.
    pub(super) user_args: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Basic {
    pub(super) inverted: bool,
    pub(super) value: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extension {
    pub(super) name: String,
    pub(super) words: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// `-g` instead of `-j`.
    pub(super) goto: bool,
    pub(super) name: String,
    pub(super) words: Vec<String>,
}

/// The options of `basics`, by index.
const BASICS: [(&str, &str); 5] = [
    ("-s", "--source"),
    ("-d", "--destination"),
    ("-i", "--in-interface"),
    ("-o", "--out-interface"),
    ("-p", "--protocol"),
];
pub(super) const SOURCE: usize = 0;
pub(super) const DESTINATION: usize = 1;
const IN: usize = 2;
const OUT: usize = 3;
const PROTOCOL: usize = 4;

/// The longest comment that iptables keeps in bytes (`XT_MAX_COMMENT_LEN` without the
/// terminating zero). It cuts longer ones silently.
pub const COMMENT_MAX: usize = 255;

/// Matches.
impl Rule {
    /// Returns a rule that matches everything and has no target.
    pub fn new() -> Rule {
        Rule::default()
    }

    /// `-s`: the source address is in the network of `address`. Prefix length 0 matches
    /// everything and is omitted, as iptables does.
    pub fn source(self, address: IpAddr, prefix_len: u8) -> Rule {
        self.network(SOURCE, false, address, prefix_len)
    }

    /// `-d`: the destination address is in the network of `address`.
    pub fn destination(self, address: IpAddr, prefix_len: u8) -> Rule {
        self.network(DESTINATION, false, address, prefix_len)
    }

    /// `! -d`.
    pub fn not_destination(self, address: IpAddr, prefix_len: u8) -> Rule {
        self.network(DESTINATION, true, address, prefix_len)
    }

    fn network(self, index: usize, inverted: bool, address: IpAddr, prefix_len: u8) -> Rule {
        if prefix_len == 0 && !inverted {
            return self;
        }
        let network = mask(address, prefix_len);
        self.basic(index, inverted, format!("{network}/{prefix_len}"))
    }

    /// `-i`: the input interface.
    pub fn in_interface(self, name: &str) -> Rule {
        self.basic(IN, false, name.to_owned())
    }

    /// `-o`: the output interface.
    pub fn out_interface(self, name: &str) -> Rule {
        self.basic(OUT, false, name.to_owned())
    }

    /// `! -o`.
    pub fn not_out_interface(self, name: &str) -> Rule {
        self.basic(OUT, true, name.to_owned())
    }

    /// `-p`: the protocol; converted to lower case, as iptables prints it.
    pub fn protocol(self, name: &str) -> Rule {
        self.basic(PROTOCOL, false, name.to_ascii_lowercase())
    }

    fn basic(mut self, index: usize, inverted: bool, value: String) -> Rule {
        if let Some(slot) = self.basics.get_mut(index) {
            *slot = Some(Basic { inverted, value });
        }
        self
    }

    /// `-m name words`: any match, with its words as `iptables-save` prints them.
    pub(crate) fn matching(mut self, name: &str, words: &[&str]) -> Rule {
        self.matches.push(Extension {
            name: name.to_owned(),
            words: owned(words),
        });
        self
    }

    /// `-m comment`: a comment, at most [`COMMENT_MAX`] bytes.
    pub fn comment(self, text: &str) -> Rule {
        self.matching("comment", &["--comment", text])
    }

    /// `-p protocol --dport port`.
    pub fn dport(self, protocol: &str, port: u16) -> Rule {
        let rule = self.protocol(protocol);
        let name = protocol.to_ascii_lowercase();
        rule.matching(&name, &["--dport", &port.to_string()])
    }

    /// `-m multiport -p protocol --dports port,port…`: at most 15 ports.
    pub fn dports(self, protocol: &str, ports: &[u16]) -> Rule {
        let list: Vec<String> = ports.iter().map(u16::to_string).collect();
        self.protocol(protocol)
            .matching("multiport", &["--dports", &list.join(",")])
    }

    /// `-m addrtype --dst-type LOCAL`: the destination is a local address.
    pub fn local_destination(self) -> Rule {
        self.matching("addrtype", &["--dst-type", "LOCAL"])
    }

    /// `-m mark --mark value/mask`.
    pub fn mark(self, value: u32, mask: u32) -> Rule {
        self.matching("mark", &["--mark", &hexadecimal(value, mask)])
    }

    /// `-m conntrack --ctstate RELATED,ESTABLISHED`.
    pub fn related_or_established(self) -> Rule {
        self.matching("conntrack", &["--ctstate", "RELATED,ESTABLISHED"])
    }

    /// Adds matches in the user's iptables syntax, after those added so far. They are not
    /// interpreted, so a rule with such arguments equals no parsed rule.
    pub fn user_args(mut self, args: &[impl AsRef<str>]) -> Rule {
        self.user_args
            .extend(args.iter().map(|arg| arg.as_ref().to_owned()));
        self
    }
}

/// Targets.
impl Rule {
    /// `-j`: a chain, or a target without options such as `ACCEPT`.
    pub fn jump(self, target: &str) -> Rule {
        self.target(target, &[])
    }

    /// `-j target words`: any target, with its words as `iptables-save` prints them.
    pub fn target(mut self, name: &str, words: &[&str]) -> Rule {
        self.target = Some(Target {
            goto: false,
            name: name.to_owned(),
            words: owned(words),
        });
        self
    }

    /// `-j MARK --set-xmark value/mask`.
    pub fn set_mark(self, value: u32, mask: u32) -> Rule {
        self.target("MARK", &["--set-xmark", &hexadecimal(value, mask)])
    }

    /// `-j DNAT --to-destination`.
    pub fn dnat(self, to: std::net::SocketAddr) -> Rule {
        self.target("DNAT", &["--to-destination", &to.to_string()])
    }
}

/// Reading a rule.
impl Rule {
    /// Returns the target of `-j` or `-g`.
    #[must_use]
    pub fn target_name(&self) -> Option<&str> {
        self.target.as_ref().map(|target| target.name.as_str())
    }

    /// Returns the text of `-m comment`.
    #[must_use]
    pub fn comment_text(&self) -> Option<&str> {
        let comments = self.matches.iter().filter(|m| m.name == "comment");
        comments.into_iter().find_map(|comment| {
            let option = comment.words.iter().position(|word| word == "--comment")?;
            comment.words.get(option + 1).map(String::as_str)
        })
    }

    /// Returns the argument of `-s` as `address/length`, unless it is inverted.
    pub(crate) fn source_network(&self) -> Option<&str> {
        self.plain_basic(SOURCE)
    }

    /// Returns the argument of `-d`, likewise.
    pub(crate) fn destination_network(&self) -> Option<&str> {
        self.plain_basic(DESTINATION)
    }

    fn plain_basic(&self, index: usize) -> Option<&str> {
        let basic = self.basics.get(index)?.as_ref()?;
        (!basic.inverted).then_some(basic.value.as_str())
    }

    /// Returns whether the rule has [`user_args`](Rule::user_args).
    #[must_use]
    pub fn has_user_args(&self) -> bool {
        !self.user_args.is_empty()
    }

    /// Returns whether two rules have the same matches, in any order, and the same target.
    #[must_use]
    pub fn same_as(&self, other: &Rule) -> bool {
        let count = |rule: &Rule, wanted: &Extension| {
            rule.matches.iter().filter(|found| *found == wanted).count()
        };
        self.basics == other.basics
            && self.target == other.target
            && self.user_args.is_empty()
            && other.user_args.is_empty()
            && self.matches.len() == other.matches.len()
            && self
                .matches
                .iter()
                .all(|wanted| count(self, wanted) == count(other, wanted))
    }

    /// Returns the rule as arguments of iptables.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for (basic, (option, _)) in self.basics.iter().zip(BASICS) {
            if let Some(basic) = basic {
                if basic.inverted {
                    words.push("!".to_owned());
                }
                words.push(option.to_owned());
                words.push(basic.value.clone());
            }
        }
        for extension in &self.matches {
            words.push("-m".to_owned());
            words.push(extension.name.clone());
            words.extend(extension.words.iter().cloned());
        }
        words.extend(self.user_args.iter().cloned());
        if let Some(target) = &self.target {
            words.push(if target.goto { "-g" } else { "-j" }.to_owned());
            words.push(target.name.clone());
            words.extend(target.words.iter().cloned());
        }
        words
    }

    /// Parses the text after `-A chain` in the output of `iptables-save`.
    pub fn parse(text: &str) -> Rule {
        Rule::from_words(split(text))
    }

    fn from_words(words: Vec<String>) -> Rule {
        let mut rule = Rule::new();
        let mut words = words.into_iter().peekable();
        let mut inverted = false;
        while let Some(word) = words.next() {
            let in_extension = !rule.matches.is_empty() || rule.target.is_some();
            match word.as_str() {
                "-m" | "--match" if rule.target.is_none() => {
                    rule.matches.push(Extension {
                        name: words.next().unwrap_or_default(),
                        words: Vec::new(),
                    });
                }
                "-j" | "--jump" | "-g" | "--goto" => {
                    rule.target = Some(Target {
                        goto: word == "-g" || word == "--goto",
                        name: words.next().unwrap_or_default(),
                        words: Vec::new(),
                    });
                }
                "!" if !in_extension => inverted = true,
                option => match BASICS
                    .iter()
                    .position(|(s, l)| *s == option || *l == option)
                {
                    Some(index) if !in_extension => {
                        let value = words.next().unwrap_or_default();
                        rule = rule.basic(index, std::mem::take(&mut inverted), value);
                    }
                    _ => rule.push_word(word),
                },
            }
        }
        rule
    }

    /// Adds a word to the last target or match, or to the uninterpreted arguments.
    fn push_word(&mut self, word: String) {
        match (&mut self.target, self.matches.last_mut()) {
            (Some(target), _) => target.words.push(word),
            (None, Some(extension)) => extension.words.push(word),
            (None, None) => self.user_args.push(word),
        }
    }
}

/// Writes the rule as a line for iptables-restore.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, word) in self.words().iter().enumerate() {
            if number > 0 {
                f.write_str(" ")?;
            }
            f.write_str(&quote(word))?;
        }
        Ok(())
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn hexadecimal(value: u32, mask: u32) -> String {
    format!("{value:#x}/{mask:#x}")
}

/// Returns the address with its host bits cleared.
fn mask(address: IpAddr, len: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let shift = 32u32.saturating_sub(u32::from(len));
            let mask = u32::MAX.checked_shl(shift).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let shift = 128u32.saturating_sub(u32::from(len));
            let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}
