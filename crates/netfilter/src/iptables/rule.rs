//! Rules of iptables, built or read, in one form that can be compared.

use std::fmt;
use std::net::IpAddr;

use super::words::{quote, split};

/// A rule of iptables.
///
/// It is kept in the form in which `iptables-save` prints it, whatever words it
/// was made of: two rules are equal if they match the same and do the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Rule {
    /// `-s`, `-d`, `-i`, `-o`, `-p`, in this order; each may be inverted.
    basics: [Option<Basic>; 5],
    /// `-m name words`, in the order in which they were given.
    matches: Vec<Extension>,
    target: Option<Target>,
    /// Further words of a user, whose meaning is not known here.
    free: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Basic {
    inverted: bool,
    value: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Extension {
    name: String,
    words: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    /// `-g` instead of `-j`.
    goto: bool,
    name: String,
    words: Vec<String>,
}

/// Options of `basics`, by their place.
const BASICS: [(&str, &str); 5] = [
    ("-s", "--source"),
    ("-d", "--destination"),
    ("-i", "--in-interface"),
    ("-o", "--out-interface"),
    ("-p", "--protocol"),
];
const SOURCE: usize = 0;
const DESTINATION: usize = 1;
const IN: usize = 2;
const OUT: usize = 3;
const PROTOCOL: usize = 4;

/// Matches.
impl Rule {
    /// A rule that matches everything and does nothing.
    pub fn new() -> Rule {
        Rule::default()
    }

    /// `-s`: the source address is in the network of `address`. A prefix of
    /// length 0 matches everything, and is left out as iptables does.
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

    fn network(self, place: usize, inverted: bool, address: IpAddr, prefix_len: u8) -> Rule {
        if prefix_len == 0 && !inverted {
            return self;
        }
        let network = mask(address, prefix_len);
        self.basic(place, inverted, format!("{network}/{prefix_len}"))
    }

    /// `-i`: the interface that the packet came in by.
    pub fn in_interface(self, name: &str) -> Rule {
        self.basic(IN, false, name.to_owned())
    }

    /// `-o`: the interface that the packet goes out by.
    pub fn out_interface(self, name: &str) -> Rule {
        self.basic(OUT, false, name.to_owned())
    }

    /// `! -o`.
    pub fn not_out_interface(self, name: &str) -> Rule {
        self.basic(OUT, true, name.to_owned())
    }

    /// `-p`: `tcp`, `udp`, `sctp`. In lower case, as iptables prints it.
    pub fn protocol(self, name: &str) -> Rule {
        self.basic(PROTOCOL, false, name.to_ascii_lowercase())
    }

    fn basic(mut self, place: usize, inverted: bool, value: String) -> Rule {
        if let Some(slot) = self.basics.get_mut(place) {
            *slot = Some(Basic { inverted, value });
        }
        self
    }

    /// `-m name words`, any match; the words as `iptables-save` prints them.
    pub fn matching(mut self, name: &str, words: &[&str]) -> Rule {
        self.matches.push(Extension {
            name: name.to_owned(),
            words: owned(words),
        });
        self
    }

    /// `-m comment`. 255 bytes at most, or newer versions of iptables cut it and
    /// older ones refuse it.
    pub fn comment(self, text: &str) -> Rule {
        self.matching("comment", &["--comment", text])
    }

    /// `-p protocol --dport port`.
    pub fn dport(self, protocol: &str, port: u16) -> Rule {
        let rule = self.protocol(protocol);
        let name = protocol.to_ascii_lowercase();
        rule.matching(&name, &["--dport", &port.to_string()])
    }

    /// `-m multiport -p protocol --dports port,port…`; 15 ports at most.
    pub fn dports(self, protocol: &str, ports: &[u16]) -> Rule {
        let list: Vec<String> = ports.iter().map(u16::to_string).collect();
        self.protocol(protocol)
            .matching("multiport", &["--dports", &list.join(",")])
    }

    /// `-m addrtype --dst-type LOCAL`: the destination is an address of this
    /// host.
    pub fn local_destination(self) -> Rule {
        self.matching("addrtype", &["--dst-type", "LOCAL"])
    }

    /// `-m mark --mark value/mask`.
    pub fn mark(self, value: u32, mask: u32) -> Rule {
        self.matching("mark", &["--mark", &hexadecimal(value, mask)])
    }

    /// `-m conntrack --ctstate RELATED,ESTABLISHED`: the packet belongs to a
    /// connection that was let through, or to one that it announced.
    pub fn related_or_established(self) -> Rule {
        self.matching("conntrack", &["--ctstate", "RELATED,ESTABLISHED"])
    }

    /// Further matches in the words of a user, behind those given so far. A rule
    /// with such words is equal to no rule that was read, as their meaning is
    /// not known.
    pub fn free(mut self, words: &[impl AsRef<str>]) -> Rule {
        self.free
            .extend(words.iter().map(|word| word.as_ref().to_owned()));
        self
    }
}

/// What happens to the packet.
impl Rule {
    /// `-j`: a chain, or `ACCEPT`, `DROP`, `RETURN`, `MASQUERADE`.
    pub fn jump(self, target: &str) -> Rule {
        self.target(target, &[])
    }

    /// `-j target words`, any target; the words as `iptables-save` prints them.
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

/// What a rule says.
impl Rule {
    /// The target of `-j` or `-g`.
    #[must_use]
    pub fn target_name(&self) -> Option<&str> {
        self.target.as_ref().map(|target| target.name.as_str())
    }

    /// The argument of an option of the target, such as `--to-destination`.
    #[must_use]
    pub fn target_option(&self, option: &str) -> Option<&str> {
        let words = &self.target.as_ref()?.words;
        let at = words.iter().position(|word| word == option)?;
        words.get(at + 1).map(String::as_str)
    }

    /// The text of `-m comment`.
    #[must_use]
    pub fn comment_text(&self) -> Option<&str> {
        self.match_option("comment", "--comment")
    }

    /// The argument of an option of a match, such as `--dports` of `multiport`.
    #[must_use]
    pub fn match_option(&self, name: &str, option: &str) -> Option<&str> {
        let found = self.matches.iter().filter(|m| m.name == name);
        found.into_iter().find_map(|extension| {
            let at = extension.words.iter().position(|word| word == option)?;
            extension.words.get(at + 1).map(String::as_str)
        })
    }

    /// The argument of `-s`, in the form `address/length`, unless it is inverted.
    #[must_use]
    pub fn source_network(&self) -> Option<&str> {
        self.plain_basic(SOURCE)
    }

    /// The argument of `-d`, likewise.
    #[must_use]
    pub fn destination_network(&self) -> Option<&str> {
        self.plain_basic(DESTINATION)
    }

    fn plain_basic(&self, place: usize) -> Option<&str> {
        let basic = self.basics.get(place)?.as_ref()?;
        (!basic.inverted).then_some(basic.value.as_str())
    }

    /// Whether it holds words of a user.
    #[must_use]
    pub fn has_free_words(&self) -> bool {
        !self.free.is_empty()
    }

    /// Whether the rules match the same and do the same; the order of matches
    /// does not count.
    #[must_use]
    pub fn same(&self, other: &Rule) -> bool {
        let sorted = |rule: &Rule| {
            let mut matches = rule.matches.clone();
            matches.sort_unstable();
            matches
        };
        self.basics == other.basics
            && self.target == other.target
            && self.free.is_empty()
            && other.free.is_empty()
            && (self.matches == other.matches || sorted(self) == sorted(other))
    }

    /// The words that iptables takes.
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
        words.extend(self.free.iter().cloned());
        if let Some(target) = &self.target {
            words.push(if target.goto { "-g" } else { "-j" }.to_owned());
            words.push(target.name.clone());
            words.extend(target.words.iter().cloned());
        }
        words
    }

    /// Reads the words that follow `-A chain` in what `iptables-save` prints.
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
                    Some(place) if !in_extension => {
                        let value = words.next().unwrap_or_default();
                        rule = rule.basic(place, std::mem::take(&mut inverted), value);
                    }
                    _ => rule.push_word(word),
                },
            }
        }
        rule
    }

    /// A word of the match or target that was begun last, or of none.
    fn push_word(&mut self, word: String) {
        match (&mut self.target, self.matches.last_mut()) {
            (Some(target), _) => target.words.push(word),
            (None, Some(extension)) => extension.words.push(word),
            (None, None) => self.free.push(word),
        }
    }
}

/// As one line for iptables-restore.
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

/// The address without its host bits.
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
