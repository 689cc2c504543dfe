//! Differences between the implementations, and how they show themselves in states.

/// A difference between the implementations in what they print, or leave in the kernel and in files.
pub(crate) struct Difference {
    pub(crate) name: &'static str,
    /// The plugins, for the page.
    pub(crate) plugins: &'static str,
    pub(crate) peers: Peers,
    /// What differs, for the page.
    pub(crate) what: &'static str,
    /// The reason, for the page.
    pub(crate) why: &'static str,
    pub(crate) seen: &'static [Seen],
}

/// Releases of upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peers {
    /// All that were compared.
    All,
    /// 1.1.1.
    Old,
    /// 1.9.1.
    New,
}

impl Peers {
    pub(crate) fn include(self, is_new: bool) -> bool {
        match self {
            Peers::All => true,
            Peers::Old => !is_new,
            Peers::New => is_new,
        }
    }

    /// As the page names them.
    pub(crate) fn shown(self) -> &'static str {
        match self {
            Peers::All => "both",
            Peers::Old => "1.1.1",
            Peers::New => "1.9.1",
        }
    }
}

/// How a difference shows itself in states: in the stages, headings and lines that contain these texts.
pub(crate) struct Seen {
    stage: &'static str,
    heading: &'static str,
    line: &'static str,
    form: Form,
}

enum Form {
    /// Texts in the peer's lines and in ours. What else is in these lines is compared.
    Texts(&'static str, &'static str),
    /// Texts from which on the peer's lines and ours differ.
    Ends(&'static str, &'static str),
    /// Lines that only the peer's state has.
    OnlyPeer,
    /// Lines that only our state has.
    OnlyOurs,
    /// A call that fails.
    Fails,
}

pub(crate) const fn texts(
    heading: &'static str,
    line: &'static str,
    peer: &'static str,
    ours: &'static str,
) -> Seen {
    Seen {
        stage: "",
        heading,
        line,
        form: Form::Texts(peer, ours),
    }
}

pub(crate) const fn ends(
    heading: &'static str,
    line: &'static str,
    peer: &'static str,
    ours: &'static str,
) -> Seen {
    Seen {
        stage: "",
        heading,
        line,
        form: Form::Ends(peer, ours),
    }
}

pub(crate) const fn only_peer(
    stage: &'static str,
    heading: &'static str,
    line: &'static str,
) -> Seen {
    Seen {
        stage,
        heading,
        line,
        form: Form::OnlyPeer,
    }
}

pub(crate) const fn only_ours(
    stage: &'static str,
    heading: &'static str,
    line: &'static str,
) -> Seen {
    Seen {
        stage,
        heading,
        line,
        form: Form::OnlyOurs,
    }
}

pub(crate) const fn fails(heading: &'static str, line: &'static str) -> Seen {
    Seen {
        stage: "calls",
        heading,
        line,
        form: Form::Fails,
    }
}

impl Difference {
    /// Removes the lines by which the difference shows itself from those that only the peer's state has, and from those
    /// that only the other one has, below a heading. Returns whether there were any.
    pub(crate) fn explain(
        &self,
        stage: &str,
        heading: &str,
        peer: &mut Vec<String>,
        ours: &mut Vec<String>,
    ) -> bool {
        let mut found = false;
        for seen in self.seen {
            if stage.contains(seen.stage) && heading.contains(seen.heading) {
                found |= seen.explain(peer, ours);
            }
        }
        found
    }
}

impl Seen {
    fn explain(&self, peer: &mut Vec<String>, ours: &mut Vec<String>) -> bool {
        let before = (peer.len(), ours.len());
        let is_meant = |line: &String| line.contains(self.line);
        match self.form {
            Form::OnlyPeer => peer.retain(|line| !is_meant(line)),
            Form::OnlyOurs => ours.retain(|line| !is_meant(line)),
            Form::Texts(old, new) => remove_pairs(peer, ours, |line, other| {
                is_meant(line) && line.contains(old) && line.replace(old, new) == *other
            }),
            Form::Ends(old, new) => remove_pairs(peer, ours, |line, other| {
                let ends = (line.find(old), other.find(new));
                let (Some(end), Some(other_end)) = ends else {
                    return false;
                };
                is_meant(line) && line[..end] == other[..other_end]
            }),
            Form::Fails => remove_pairs(peer, ours, |line, other| line == "ok" && is_meant(other)),
        }
        before != (peer.len(), ours.len())
    }
}

/// Removes lines from both lists, each together with one of the other list.
fn remove_pairs(
    peer: &mut Vec<String>,
    ours: &mut Vec<String>,
    is_pair: impl Fn(&String, &String) -> bool,
) {
    peer.retain(|line| {
        let other = ours.iter().position(|other| is_pair(line, other));
        other.map(|other| ours.remove(other)).is_none()
    });
}
