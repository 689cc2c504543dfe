//! Decides which attachments are valid. Whatever is in doubt is valid.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use cni_core::types;
use libcni::CachedAttachment;

/// Interfaces that every pod has.
const USUAL: [&str; 2] = ["eth0", "lo"];

/// A sandbox that a runtime lists.
#[derive(Clone, Debug, Default)]
pub(super) struct Sandbox {
    pub(super) id: String,
    /// Its network namespace, if the runtime says it.
    pub(super) netns: Option<PathBuf>,
    /// The links in its network namespace.
    pub(super) links: Vec<String>,
}

/// What is known.
pub(super) struct Facts {
    /// The cache before the runtimes were asked.
    pub(super) before: Vec<CachedAttachment>,
    /// The cache after that.
    pub(super) after: Vec<CachedAttachment>,
    /// The caches of others, such as Multus, which attach the same sandboxes.
    pub(super) others: Vec<CachedAttachment>,
    pub(super) sandboxes: Vec<Sandbox>,
    /// Attachments that are being made.
    pub(super) additions: Vec<types::Attachment>,
    /// Networks whose configuration says `disableGC`.
    pub(super) disabled: Vec<String>,
    /// The age below which an attachment is not collected.
    pub(super) min_age: Duration,
}

/// What the host says of one cached attachment.
pub(super) struct Condition {
    /// Since it was written to the cache.
    pub(super) age: Duration,
    /// A process in its network namespace.
    pub(super) user: Option<u32>,
}

/// What becomes of a cached attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A runtime lists its sandbox.
    Listed,
    /// No runtime lists it, but it is kept.
    Kept(Reason),
    /// It is collected.
    Stale,
}

/// Why an attachment is kept that no runtime lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Another kind of runtime made it: Podman, nerdctl, Nomad.
    Foreign,
    /// The configuration of its network disables GC.
    Disabled,
    /// It was made while the runtimes were asked.
    New,
    /// A plugin works on it.
    BeingMade,
    /// It is younger than this.
    Young(Duration),
    /// This process is in its network namespace.
    InUse(u32),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Foreign => f.write_str("not made by a CRI runtime"),
            Reason::Disabled => f.write_str("the network has disableGC"),
            Reason::New => f.write_str("made meanwhile"),
            Reason::BeingMade => f.write_str("being made"),
            Reason::Young(limit) => write!(f, "younger than {} s", limit.as_secs()),
            Reason::InUse(pid) => write!(f, "process {pid} is in its network namespace"),
        }
    }
}

impl Facts {
    /// Returns what becomes of an attachment of the cache.
    pub(super) fn verdict(&self, cached: &CachedAttachment, condition: &Condition) -> Verdict {
        let key = key(cached);
        let is_listed = self.sandboxes.iter().any(|sandbox| sandbox.id == key.1);
        let is_being_made = self
            .additions
            .iter()
            .any(|addition| addition.container_id == key.1);
        let reason = if is_listed {
            return Verdict::Listed;
        } else if !is_of_cri(cached) {
            Reason::Foreign
        } else if self.disabled.contains(&cached.network) {
            Reason::Disabled
        } else if !self.before.iter().any(|before| self::key(before) == key) {
            Reason::New
        } else if is_being_made {
            Reason::BeingMade
        } else if condition.age < self.min_age {
            Reason::Young(self.min_age)
        } else if let Some(pid) = condition.user {
            Reason::InUse(pid)
        } else {
            return Verdict::Stale;
        };
        Verdict::Kept(reason)
    }

    /// Returns the valid attachments, for the plugins: what is kept, what is being made, and for each sandbox all names of
    /// interfaces that are known of it.
    pub(super) fn valid(&self, kept: &[&CachedAttachment]) -> Vec<types::Attachment> {
        let mut pairs: BTreeSet<(&str, &str)> = BTreeSet::new();
        let caches = kept.iter().copied().chain(&self.others);
        pairs.extend(caches.map(|cached| (key(cached).1, key(cached).2)));
        for addition in &self.additions {
            pairs.insert((&addition.container_id, &addition.if_name));
        }
        for sandbox in &self.sandboxes {
            let links = sandbox.links.iter().map(String::as_str);
            pairs.extend(links.chain(USUAL).map(|name| (sandbox.id.as_str(), name)));
        }
        let attachment = |(container_id, if_name): (&str, &str)| types::Attachment {
            container_id: container_id.to_owned(),
            if_name: if_name.to_owned(),
        };
        pairs.into_iter().map(attachment).collect()
    }
}

/// Network, container and interface.
pub(super) fn key(cached: &CachedAttachment) -> (&str, &str, &str) {
    let attachment = &cached.attachment;
    (
        &cached.network,
        &attachment.container_id,
        &attachment.if_name,
    )
}

/// Returns the value of an argument of `CNI_ARGS`.
pub(super) fn argument<'a>(cached: &'a CachedAttachment, name: &str) -> Option<&'a str> {
    let mut args = cached.attachment.args.iter();
    args.find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

/// Whether a CRI runtime made the attachment: containerd and CRI-O pass the ID of the sandbox, and nobody else does.
fn is_of_cri(cached: &CachedAttachment) -> bool {
    argument(cached, "K8S_POD_INFRA_CONTAINER_ID") == Some(&cached.attachment.container_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use libcni::Attachment;

    fn cached(id: &str, if_name: &str, args: &[(&str, &str)]) -> CachedAttachment {
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        CachedAttachment {
            network: "net".into(),
            attachment: Attachment {
                args: args.iter().map(pair).collect(),
                ..Attachment::new(id, "/run/netns/x", if_name)
            },
            config: Vec::new(),
            result: None,
        }
    }

    fn pod(id: &str) -> CachedAttachment {
        cached(id, "eth0", &[("K8S_POD_INFRA_CONTAINER_ID", id)])
    }

    fn facts() -> Facts {
        let all = ["listed", "stale", "adding"].map(pod);
        Facts {
            before: all.to_vec(),
            after: all.to_vec(),
            others: vec![cached("listed", "net1", &[])],
            sandboxes: vec![Sandbox {
                id: "listed".into(),
                links: vec!["lo".into(), "eth5".into()],
                ..Sandbox::default()
            }],
            additions: vec![types::Attachment {
                container_id: "adding".into(),
                if_name: "net7".into(),
            }],
            disabled: Vec::new(),
            min_age: Duration::from_secs(300),
        }
    }

    #[test]
    fn only_what_is_beyond_doubt_is_stale() {
        let (old, young) = (Duration::from_secs(300), Duration::from_secs(299));
        let unused = |age| Condition { age, user: None };
        let used = Condition {
            age: old,
            user: Some(7),
        };
        let facts = facts();
        let verdict = |cached: &CachedAttachment, condition| facts.verdict(cached, &condition);
        assert_eq!(verdict(&pod("listed"), unused(young)), Verdict::Listed);
        assert_eq!(verdict(&pod("stale"), unused(old)), Verdict::Stale);
        let kept = |cached: &CachedAttachment, condition| match verdict(cached, condition) {
            Verdict::Kept(reason) => reason,
            verdict => panic!("{verdict:?}"),
        };
        assert_eq!(kept(&pod("stale"), unused(young)), Reason::Young(old));
        assert_eq!(kept(&pod("stale"), used), Reason::InUse(7));
        assert_eq!(kept(&pod("adding"), unused(old)), Reason::BeingMade);
        assert_eq!(kept(&pod("new"), unused(old)), Reason::New);
        for args in [
            &[][..],
            &[("K8S_POD_NAME", "podman")],
            &[("K8S_POD_INFRA_CONTAINER_ID", "x")],
        ] {
            assert_eq!(
                kept(&cached("stale", "eth0", args), unused(old)),
                Reason::Foreign
            );
        }
    }

    #[test]
    fn plugins_learn_of_every_interface_that_may_be_valid() {
        let facts = facts();
        let foreign = cached("podman", "eth0", &[]);
        let valid = facts.valid(&[&foreign]);
        let pairs: Vec<(&str, &str)> = valid
            .iter()
            .map(|one| (one.container_id.as_str(), one.if_name.as_str()))
            .collect();
        let expected = [
            ("adding", "net7"),
            ("listed", "eth0"),
            ("listed", "eth5"),
            ("listed", "lo"),
            ("listed", "net1"),
            ("podman", "eth0"),
        ];
        assert_eq!(pairs, expected);
    }
}
