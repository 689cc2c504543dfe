//! One plugin of an attachment: whether something of it is missing, and how that is put back.

use anyhow::{Context, Result};
use cni_core::{Code, json};
use libcni::{Attachment, Cni, Error, NetworkList, PluginConf};
use serde_json::{Value, json};

use super::report::{Finding, State};
use crate::environment;

/// How a plugin puts back what CHECK finds missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// DEL and ADD of this plugin alone: all that it makes is on the host, and named after the attachment.
    Again,
    /// ADD alone: it sets what is configured and keeps its record of the previous values. DEL would restore them.
    Add,
    /// CHECK with the key `repair`, which is not in the specification. ADD would make another interface.
    InPlace,
}

impl Way {
    /// Returns the way for plugins of this type; `None` if there is none.
    pub(super) fn of(kind: &str) -> Option<Way> {
        match kind {
            "portmap" | "firewall" | "bandwidth" => Some(Way::Again),
            "tuning" => Some(Way::Add),
            "bridge" | "ptp" => Some(Way::InPlace),
            _ => None,
        }
    }
}

/// A plugin of an attachment that exists.
pub(super) struct Plugin<'a> {
    pub(super) list: &'a NetworkList,
    pub(super) conf: &'a PluginConf,
    pub(super) attachment: &'a Attachment,
    /// The result of the chain.
    pub(super) result: &'a Value,
}

impl Plugin<'_> {
    /// Runs CHECK, and unless `dry_run` puts back what it finds missing. Returns `None` if nothing is.
    pub(super) fn repair(&self, dry_run: bool) -> Option<Finding> {
        let error = self.check(None).err()?;
        let kind = &self.conf.conf.kind;
        let finding = |state, error| {
            Some(Finding {
                kind: kind.clone(),
                state,
                missing: error_text(&error),
                error: None,
            })
        };
        let is_of_plugin = matches!(
            error.downcast_ref::<Error>(),
            Some(error) if error.cni_error().is_some_and(|error| !is_refusal(error.code))
        );
        let Some(way) = Way::of(kind).filter(|_| is_of_plugin) else {
            let mut finding = finding(State::Failed, error)?;
            finding.error = Some(match is_of_plugin {
                true => format!("cannot be repaired: attach the container again ({kind})"),
                false => "it could not be checked, and nothing was changed".to_owned(),
            });
            return Some(finding);
        };
        if dry_run {
            return finding(State::Missing, error);
        }
        let repaired = self.put_back(way).and_then(|()| self.check(None));
        let state = match repaired {
            Ok(()) => State::Repaired,
            Err(_) => State::Failed,
        };
        let mut finding = finding(state, error)?;
        finding.error = repaired.err().as_ref().map(error_text);
        Some(finding)
    }

    /// Deletes what was put back for an attachment that its runtime has deleted meanwhile.
    pub(super) fn withdraw(&self) -> Result<()> {
        self.alone(None, |cni, list| cni.del(list, self.attachment))
    }

    fn put_back(&self, way: Way) -> Result<()> {
        if way == Way::InPlace {
            return self.check(Some(("repair", true.into())));
        }
        if way == Way::Again {
            self.withdraw()?;
        }
        self.alone(None, |cni, list| cni.add(list, self.attachment).map(drop))
    }

    fn check(&self, key: Option<(&str, Value)>) -> Result<()> {
        self.alone(key, |cni, list| cni.check(list, self.attachment))
    }

    /// Runs an operation with a list of this plugin, whose own `prevResult` is that of the chain. The cache is a
    /// directory that is deleted afterwards, so that the runtime's stays as it is.
    fn alone(
        &self,
        key: Option<(&str, Value)>,
        operation: impl Fn(&Cni, &NetworkList) -> Result<(), Error>,
    ) -> Result<()> {
        let mut conf = json::parse(&self.conf.bytes)?;
        conf["prevResult"] = self.result.clone();
        if let Some((key, value)) = key {
            conf[key] = value;
        }
        let list = json!({
            "cniVersion": self.list.cni_version,
            "name": self.list.name,
            "plugins": [conf],
        });
        let list = NetworkList::from_bytes(json::to_string(&list).as_bytes())?;
        let cache = tempfile::tempdir().context("cannot create a directory")?;
        let cni = Cni::new(environment::plugin_dirs()).cache_dir(cache.path());
        Ok(operation(&cni, &list)?)
    }
}

/// Whether a plugin has refused the call, and so compared nothing.
fn is_refusal(code: Code) -> bool {
    [
        Code::INCOMPATIBLE_VERSION,
        Code::UNSUPPORTED_FIELD,
        Code::INVALID_ENVIRONMENT,
        Code::DECODING_FAILURE,
        Code::INVALID_NETWORK_CONFIG,
        Code::INVALID_NETNS,
        Code::TRY_AGAIN_LATER,
    ]
    .contains(&code)
}

fn error_text(error: &anyhow::Error) -> String {
    error.to_string()
}
