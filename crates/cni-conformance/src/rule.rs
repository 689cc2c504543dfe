//! A rule: what is demanded, of which plugins, and by whom.

use std::fmt;

use serde::Serialize;

use crate::rig::Rig;
use crate::subject::{Class, Subject};
use crate::version::ordinal;

/// How much a failure matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// The specification says "must", or gives the format.
    Must,
    /// Container runtimes, or those who use the reference plugin of this name, rely on it.
    Runtime,
    /// The specification says "should", or the reference library and plugins do it and users notice the difference, or
    /// operators expect it.
    Should,
}

/// A rule. It demands one thing.
#[derive(Debug)]
pub(crate) struct Rule {
    /// `GROUP.NAME`. It never changes.
    pub(crate) id: &'static str,
    pub(crate) severity: Severity,
    /// The part of the specification, or the program, that the rule comes from.
    pub(crate) source: &'static str,
    /// The demand, in one sentence.
    pub(crate) text: &'static str,
    /// What the author of a plugin that breaks it has to change.
    pub(crate) advice: &'static str,
    only: &'static [Only],
    /// Whether the rule attaches something, so that the kernel must have what the plugin needs.
    pub(crate) attaches: bool,
    /// Panics if the plugin breaks the rule.
    pub(crate) check: fn(&Rig),
}

/// A condition for a rule.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Only {
    /// The plugin supports this version of the specification, or a later one.
    Since(&'static str),
    /// The plugin supports this version or an earlier one.
    Until(&'static str),
    /// The plugin is of one of these classes.
    Classes(&'static [Class]),
    /// The plugin has one of these names.
    Plugins(&'static [&'static str]),
    /// The plugin has none of these names.
    Except(&'static [&'static str]),
    /// The plugin uses the container's namespace.
    Netns,
    /// Several attachments can exist at once.
    Two,
    /// A second ADD of the same attachment is an error.
    Once,
}

pub(crate) const fn must(
    id: &'static str,
    source: &'static str,
    text: &'static str,
    check: fn(&Rig),
) -> Rule {
    rule(Severity::Must, id, source, text, check)
}

pub(crate) const fn runtime(
    id: &'static str,
    source: &'static str,
    text: &'static str,
    check: fn(&Rig),
) -> Rule {
    rule(Severity::Runtime, id, source, text, check)
}

pub(crate) const fn should(
    id: &'static str,
    source: &'static str,
    text: &'static str,
    check: fn(&Rig),
) -> Rule {
    rule(Severity::Should, id, source, text, check)
}

const fn rule(
    severity: Severity,
    id: &'static str,
    source: &'static str,
    text: &'static str,
    check: fn(&Rig),
) -> Rule {
    Rule {
        id,
        severity,
        source,
        text,
        advice: "",
        only: &[],
        attaches: true,
        check,
    }
}

impl Rule {
    /// The same for some plugins only.
    pub(crate) const fn only(mut self, only: &'static [Only]) -> Rule {
        self.only = only;
        self
    }

    /// The same with advice to the author of a plugin that breaks it.
    pub(crate) const fn advice(mut self, advice: &'static str) -> Rule {
        self.advice = advice;
        self
    }

    /// The same, but it attaches nothing, and can be checked on any kernel.
    pub(crate) const fn detached(mut self) -> Rule {
        self.attaches = false;
        self
    }

    /// The part of the ID before the dot.
    pub(crate) fn group(&self) -> &'static str {
        self.id.split_once('.').map_or(self.id, |(group, _)| group)
    }

    /// Why the rule does not apply to a plugin, if it does not.
    pub(crate) fn obstacle(&self, subject: &Subject) -> Option<String> {
        if self.attaches && subject.versions.is_empty() {
            return Some("the plugin supports none of the versions under test".into());
        }
        let unmet = self.only.iter().find_map(|only| only.obstacle(subject));
        unmet.or_else(|| {
            let mut needs = subject.needs.iter();
            needs
                .find_map(|feature| lacking(feature))
                .filter(|_| self.attaches)
        })
    }

    /// What it applies to, in words.
    pub(crate) fn scope(&self) -> String {
        let parts: Vec<String> = self.only.iter().map(ToString::to_string).collect();
        match parts.is_empty() {
            true => "all".into(),
            false => parts.join("; "),
        }
    }
}

fn lacking(feature: &str) -> Option<String> {
    (!testkit::has(feature)).then(|| format!("{KERNEL}{feature}"))
}

/// The beginning of the reason why a rule does not apply on this kernel, but may on another.
const KERNEL: &str = "this kernel lacks ";

impl Only {
    fn obstacle(&self, subject: &Subject) -> Option<String> {
        let versions = || subject.versions.iter().map(|version| ordinal(version));
        let (is_met, why) = match self {
            Only::Since(oldest) => (
                versions().any(|version| version >= ordinal(oldest)),
                format!("the plugin does not support version {oldest}"),
            ),
            Only::Until(newest) => (
                versions().any(|version| version <= ordinal(newest)),
                format!("the plugin supports no version up to {newest}"),
            ),
            Only::Classes(classes) => (
                classes.contains(&subject.class),
                format!("the plugin is of the class {}", subject.class),
            ),
            Only::Plugins(names) => (
                names.contains(&subject.plugin.as_str()),
                format!("only for {}", names.join(", ")),
            ),
            Only::Except(names) => (
                !names.contains(&subject.plugin.as_str()),
                format!("not for {}", subject.plugin),
            ),
            Only::Netns => (
                subject.class != Class::Ipam && !subject.ignores_netns,
                "the plugin does not use the namespace".into(),
            ),
            Only::Two => (
                !subject.exclusive,
                "the plugin has one attachment at a time in this configuration".into(),
            ),
            Only::Once => (
                !subject.repeatable,
                "the plugin may add the same attachment again".into(),
            ),
        };
        (!is_met).then_some(why)
    }
}

impl fmt::Display for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes = |classes: &[Class]| {
            let names: Vec<String> = classes.iter().map(ToString::to_string).collect();
            names.join(", ")
        };
        match self {
            Only::Since(version) => write!(f, "from {version}"),
            Only::Until(version) => write!(f, "up to {version}"),
            Only::Classes(list) => write!(f, "class {}", classes(list)),
            Only::Plugins(names) => write!(f, "{}", names.join(", ")),
            Only::Except(names) => write!(f, "not {}", names.join(", ")),
            Only::Netns => write!(f, "uses the namespace"),
            Only::Two => write!(f, "several attachments"),
            Only::Once => write!(f, "not repeatable"),
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Must => "must",
            Severity::Runtime => "runtime",
            Severity::Should => "should",
        })
    }
}
