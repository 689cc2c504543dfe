//! A regular expression as a tree.

/// A part of an expression.
pub(super) enum Node {
    /// One character of a set.
    One(Set),
    /// Something about the place, no character.
    Look(Look),
    /// One after the other.
    Sequence(Vec<Node>),
    /// One of several.
    Either(Vec<Node>),
    /// So many times at least, and so many at most.
    Repeat(Box<Node>, u32, Option<u32>),
}

/// What can be demanded of a place between two characters.
#[derive(Clone, Copy)]
pub(super) enum Look {
    /// In front of the first character.
    Start,
    /// Behind the last one.
    End,
    /// Between a character of a word and another one.
    WordBoundary,
    /// Anywhere else.
    NoWordBoundary,
}

/// A set of characters: the ranges of it, or of all that it lacks.
#[derive(Clone)]
pub(super) struct Set {
    parts: Vec<Vec<(char, char)>>,
    lacking: Vec<Vec<(char, char)>>,
    negated: bool,
}

impl Set {
    pub(super) fn new(ranges: Vec<(char, char)>) -> Set {
        Set {
            parts: vec![ranges],
            lacking: Vec::new(),
            negated: false,
        }
    }

    /// `\w`.
    pub(super) fn word() -> Set {
        Set::new(vec![('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')])
    }

    pub(super) fn negated(mut self) -> Set {
        self.negated = !self.negated;
        self
    }

    /// Takes the characters of `other`, one of the simple sets, in.
    pub(super) fn add(&mut self, other: Set) {
        match other.negated {
            true => self.lacking.push(other.parts.concat()),
            false => self.parts.push(other.parts.concat()),
        }
    }

    /// With every letter in both cases.
    pub(super) fn any_case(mut self) -> Set {
        for ranges in self.parts.iter_mut().chain(&mut self.lacking) {
            let mut both = Vec::new();
            for &(low, high) in ranges.iter() {
                both.push((low, high));
                for (from, to, other) in [('a', 'z', 'A'), ('A', 'Z', 'a')] {
                    let (low, high) = (low.max(from), high.min(to));
                    if low <= high {
                        let swap = |c: char| {
                            // Both are letters of ASCII.
                            (c as u8 - from as u8 + other as u8) as char
                        };
                        both.push((swap(low), swap(high)));
                    }
                }
            }
            *ranges = both;
        }
        self
    }

    /// The character of a set of one.
    pub(super) fn single(&self) -> Option<char> {
        match (self.negated, self.parts.as_slice()) {
            (false, [ranges]) => match ranges.as_slice() {
                [(low, high)] if low == high => Some(*low),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn has(&self, c: char) -> bool {
        let within = |ranges: &[(char, char)]| ranges.iter().any(|(l, h)| (*l..=*h).contains(&c));
        let has = self.parts.iter().any(|ranges| within(ranges))
            || self.lacking.iter().any(|ranges| !within(ranges));
        has != self.negated
    }
}
