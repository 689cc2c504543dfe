//! What the interface and the sysctls were, kept for DEL.
//!
//! The file is upstream's, where upstream looks for it: either implementation restores
//! the interface that the other has tuned. What upstream has no place for stands in keys
//! that it does not know.

use crate::link::Attributes;
use crate::sysctl::{Change, Values};
use cni_core::types::Attachment;
use cni_core::{Call, json};
use cni_state::Directory;
use plugin_kit::MacAddress;
use plugin_kit::failures::Failures;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// The file of one attachment.
pub(crate) struct Store {
    directory: PathBuf,
    name: String,
}

/// What it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backup {
    /// The network's name; empty in upstream's files.
    pub(crate) network: String,
    /// The interface before.
    pub(crate) link: Attributes,
    /// What the interface was tuned to; nothing in upstream's files.
    pub(crate) set: Attributes,
    /// The sysctls before, in the order in which they were changed.
    pub(crate) sysctls: Vec<Saved>,
}

/// A sysctl before and after.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Saved {
    /// Path below `/proc/sys`.
    pub(crate) path: String,
    /// The value before.
    pub(crate) was: String,
    /// The value that was written; `None` when the kernel changed it along with another.
    pub(crate) set: Option<String>,
}

/// The keys as they are written; upstream's `configToRestore`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Raw {
    mac: String,
    promisc: Option<bool>,
    mtu: u32,
    allmulti: Option<bool>,
    #[serde(rename = "txQLen")]
    tx_q_len: Option<u32>,
    network: String,
    set: Option<Value>,
    sysctls: Vec<Saved>,
}

impl Store {
    /// Returns the file of the attachment `call` is about, in `directory`.
    pub(crate) fn of(call: &Call, directory: PathBuf) -> Store {
        let name = file_name(&call.container_id, &call.if_name);
        Store { directory, name }
    }

    /// Returns the path of the file.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    /// Returns what the file holds; `None` when there is none that can be read.
    pub(crate) fn read(&self) -> Option<Backup> {
        Backup::decode(&self.bytes()?)
    }

    /// Returns the bytes of the file, for [`Store::restore`].
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        let directory = Directory::open(&self.directory).ok().flatten()?;
        directory.read(&self.name).ok().flatten()
    }

    /// Restores the bytes that the file had.
    pub(crate) fn restore(&self, bytes: Option<&[u8]>) -> anyhow::Result<()> {
        match bytes {
            Some(bytes) => self.write_bytes(bytes),
            None => self.remove(),
        }
    }

    /// Writes the file, wholly or not at all.
    ///
    /// # Errors
    /// When the directory cannot be created or written to.
    pub(crate) fn write(&self, backup: &Backup) -> anyhow::Result<()> {
        self.write_bytes(backup.encode().as_bytes())
    }

    fn write_bytes(&self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(Directory::write_at(&self.directory, &self.name, bytes)?)
    }

    /// Removes the file; one that is missing is fine.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        // In a directory that is not ours is nothing of ours.
        if let Ok(Some(directory)) = Directory::open(&self.directory) {
            directory.remove(&self.name)?;
            Directory::remove_empty(&self.directory);
        }
        Ok(())
    }
}

/// Removes the files of `network` that belong to none of the attachments `valid`. Those
/// of upstream, which do not name a network, are left alone.
///
/// # Errors
/// All of those met; the other files are removed all the same.
pub(crate) fn collect(path: &Path, network: &str, valid: &[Attachment]) -> anyhow::Result<()> {
    let Some(directory) = Directory::open(path)? else {
        return Ok(());
    };
    let mut failures = Failures::default();
    for name in directory.names()? {
        let alive = valid
            .iter()
            .any(|a| name == file_name(&a.container_id, &a.if_name));
        let backup = || Backup::decode(&directory.read(&name).ok()??);
        if !alive && backup().is_some_and(|backup| backup.network == network) {
            failures.add(directory.remove(&name));
        }
    }
    Directory::remove_empty(path);
    failures.result()
}

/// Upstream's name, but where it would be too long for a file.
fn file_name(container_id: &str, if_name: &str) -> String {
    cni_state::bounded(&format!("{container_id}_{if_name}"), ".json")
}

impl Backup {
    /// What to keep of `present`, the attributes that are about to become `wanted`, of
    /// the sysctls about to be changed and of those that change along with them, if
    /// `self` was kept before.
    ///
    /// What an earlier ADD has kept, and what is still as that ADD has made it, was
    /// never anything else since.
    pub(crate) fn renewed(
        self,
        present: &Attributes,
        wanted: &Attributes,
        changes: &[Change],
        dependants: Values,
    ) -> Backup {
        fn pick<T: PartialEq + Copy>(
            kept: Option<T>,
            set: Option<T>,
            present: Option<T>,
            wanted: Option<T>,
        ) -> Option<T> {
            match wanted {
                Some(_) if kept.is_none() => present,
                Some(_) if set.is_some() && set != present => present,
                _ => kept,
            }
        }
        let (kept, set) = (&self.link, &self.set);
        let link = Attributes {
            mac: pick(kept.mac, set.mac, present.mac, wanted.mac),
            promisc: pick(kept.promisc, set.promisc, present.promisc, wanted.promisc),
            mtu: pick(kept.mtu, set.mtu, present.mtu, wanted.mtu),
            allmulti: pick(
                kept.allmulti,
                set.allmulti,
                present.allmulti,
                wanted.allmulti,
            ),
            txqlen: pick(kept.txqlen, set.txqlen, present.txqlen, wanted.txqlen),
        };
        let set = Attributes {
            mac: wanted.mac.or(set.mac),
            promisc: wanted.promisc.or(set.promisc),
            mtu: wanted.mtu.or(set.mtu),
            allmulti: wanted.allmulti.or(set.allmulti),
            txqlen: wanted.txqlen.or(set.txqlen),
        };
        let mut sysctls = self.sysctls;
        for change in changes {
            let Some(was) = &change.was else { continue };
            let value = change.value.clone();
            match sysctls.iter_mut().find(|saved| saved.path == change.path) {
                Some(saved) if saved.set.as_ref().is_none_or(|set| set == was) => {
                    saved.set = Some(value);
                }
                Some(saved) => (saved.was, saved.set) = (was.clone(), Some(value)),
                None => sysctls.push(Saved {
                    path: change.path.clone(),
                    was: was.clone(),
                    set: Some(value),
                }),
            }
        }
        for (path, was) in dependants {
            if sysctls.iter().all(|saved| saved.path != path) {
                sysctls.push(Saved {
                    path,
                    was,
                    set: None,
                });
            }
        }
        Backup {
            link,
            set,
            sysctls,
            ..self
        }
    }

    /// Whether there would be nothing to restore.
    pub(crate) fn is_empty(&self) -> bool {
        self.link.is_empty() && self.sysctls.is_empty()
    }

    fn decode(text: &[u8]) -> Option<Backup> {
        let raw: Raw = json::decode(&json::parse(text).ok()?).ok()?;
        let set: Raw = raw
            .set
            .as_ref()
            .and_then(|set| json::decode(set).ok())
            .unwrap_or_default();
        Some(Backup {
            network: raw.network.clone(),
            link: raw.attributes(),
            set: set.attributes(),
            sysctls: raw.sysctls,
        })
    }

    /// As upstream writes it: an indent of one space, no final newline, its own keys
    /// in its order.
    fn encode(&self) -> String {
        let mut object = attributes(&self.link);
        object.insert("network".into(), self.network.as_str().into());
        object.insert("set".into(), attributes(&self.set).into());
        let sysctls = self.sysctls.iter().map(|saved| {
            let mut object = Map::new();
            object.insert("path".into(), saved.path.as_str().into());
            object.insert("was".into(), saved.was.as_str().into());
            if let Some(set) = &saved.set {
                object.insert("set".into(), set.as_str().into());
            }
            Value::from(object)
        });
        object.insert("sysctls".into(), sysctls.collect());
        let mut text = String::from("{");
        for (number, (key, value)) in object.iter().enumerate() {
            let separator = if number == 0 { "" } else { "," };
            text.push_str(&format!(
                "{separator}\n \"{key}\": {}",
                json::to_string(value)
            ));
        }
        text.push_str("\n}");
        text
    }
}

impl Raw {
    fn attributes(&self) -> Attributes {
        Attributes {
            mac: self.mac.parse::<MacAddress>().ok(),
            promisc: self.promisc,
            mtu: (self.mtu != 0).then_some(self.mtu),
            allmulti: self.allmulti,
            txqlen: self.tx_q_len,
        }
    }
}

fn attributes(link: &Attributes) -> Map<String, Value> {
    let mut object = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            object.insert(key.into(), value);
        }
    };
    put("mac", link.mac.map(|mac| mac.to_string().into()));
    put("promisc", link.promisc.map(Value::from));
    put("mtu", link.mtu.map(Value::from));
    put("allmulti", link.allmulti.map(Value::from));
    put("txQLen", link.txqlen.map(|len| json!(len)));
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(mtu: u32) -> Attributes {
        Attributes {
            mtu: Some(mtu),
            ..Attributes::default()
        }
    }

    #[test]
    fn upstreams_form() {
        let backup = Backup {
            network: "net".into(),
            link: Attributes {
                mac: "c2:11:22:33:44:54".parse().ok(),
                txqlen: Some(1000),
                ..link(1500)
            },
            set: link(1400),
            sysctls: vec![Saved {
                path: "net/core/somaxconn".into(),
                was: "4096".into(),
                set: Some("5000".into()),
            }],
        };
        let text = backup.encode();
        assert!(
            text.starts_with(
                "{\n \"mac\": \"c2:11:22:33:44:54\",\n \"mtu\": 1500,\n \"txQLen\": 1000,\n"
            ),
            "{text}"
        );
        assert!(text.ends_with("\n}"), "{text}");
        assert_eq!(Backup::decode(text.as_bytes()), Some(backup));
        let upstreams = "{\n \"promisc\": false,\n \"mtu\": 1500\n}";
        let expected = Backup {
            link: Attributes {
                promisc: Some(false),
                ..link(1500)
            },
            ..Backup::default()
        };
        assert_eq!(Backup::decode(upstreams.as_bytes()), Some(expected));
        for text in ["", "{", "[]", "{\"mtu\": \"x\"}"] {
            assert_eq!(Backup::decode(text.as_bytes()), None);
        }
    }

    #[test]
    fn the_first_value_is_kept() {
        let first = Backup::default().renewed(&link(1500), &link(1400), &[], vec![]);
        assert_eq!((first.link, first.set), (link(1500), link(1400)));
        let again = first.clone().renewed(&link(1400), &link(1400), &[], vec![]);
        assert_eq!(again, first);
        // The configuration has changed, then the interface is another one.
        let other = first.renewed(&link(1400), &link(1300), &[], vec![]);
        assert_eq!((other.link, other.set), (link(1500), link(1300)));
        let other = other.renewed(&link(9000), &link(1400), &[], vec![]);
        assert_eq!((other.link, other.set), (link(9000), link(1400)));
        // Upstream does not say what it has made of it.
        let upstreams = Backup {
            link: link(1500),
            ..Backup::default()
        };
        assert_eq!(
            upstreams
                .renewed(&link(1400), &link(1400), &[], vec![])
                .link,
            link(1500)
        );
    }

    #[test]
    fn the_first_value_of_a_sysctl_is_kept() {
        let change = |was: &str, value: &str| Change {
            key: "k".into(),
            path: "net/k".into(),
            was: Some(was.into()),
            value: value.into(),
        };
        let none = Attributes::default();
        let first = Backup::default().renewed(&none, &none, &[change("0", "1")], vec![]);
        let second = first
            .clone()
            .renewed(&none, &none, &[change("1", "2")], vec![]);
        assert_eq!(
            (second.sysctls[0].was.as_str(), second.sysctls.len()),
            ("0", 1)
        );
        let third = second.renewed(&none, &none, &[change("7", "2")], vec![]);
        assert_eq!(third.sysctls[0].was, "7");
        let unreadable = Change {
            was: None,
            ..change("0", "1")
        };
        assert_eq!(
            Backup::default()
                .renewed(&none, &none, &[unreadable], vec![])
                .sysctls,
            []
        );
    }
}
