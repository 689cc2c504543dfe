//! The backup of interface attributes and sysctls, for DEL.
//!
//! The file has upstream's name and format, so that either implementation restores the
//! interface that the other tuned. Data that upstream does not record has keys of its own,
//! which upstream ignores.

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

/// The backup file of an attachment.
pub(crate) struct Store {
    directory: PathBuf,
    name: String,
}

/// The contents of a backup file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backup {
    /// The network's name; empty in upstream's files.
    pub(crate) network: String,
    /// The attributes of the interface before ADD.
    pub(crate) link: Attributes,
    /// The attributes that ADD set; empty in upstream's files.
    pub(crate) set: Attributes,
    /// The sysctls before ADD, in the order in which they were changed.
    pub(crate) sysctls: Vec<Saved>,
}

/// A changed sysctl.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Saved {
    /// Path below `/proc/sys`.
    pub(crate) path: String,
    /// The value before ADD.
    pub(crate) was: String,
    /// The value written; `None` if the kernel changed it together with another sysctl.
    pub(crate) set: Option<String>,
}

/// The JSON keys; upstream's `configToRestore`.
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
    /// Returns the file of the attachment `call` in `directory`.
    pub(crate) fn of(call: &Call, directory: PathBuf) -> Store {
        let name = file_name(&call.container_id, &call.if_name);
        Store { directory, name }
    }

    /// Returns the path of the file.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    /// Reads the file; `None` if it is missing or unreadable.
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

    /// Writes the file atomically.
    ///
    /// # Errors
    /// When the directory cannot be created or written to.
    pub(crate) fn write(&self, backup: &Backup) -> anyhow::Result<()> {
        self.write_bytes(backup.encode().as_bytes())
    }

    fn write_bytes(&self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(Directory::write_at(&self.directory, &self.name, bytes)?)
    }

    /// Deletes the file, if it exists.
    ///
    /// # Errors
    /// When it exists and cannot be deleted.
    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        // A directory with another owner has no file of ours.
        if let Ok(Some(directory)) = Directory::open(&self.directory) {
            directory.remove(&self.name)?;
            Directory::remove_empty(&self.directory);
        }
        Ok(())
    }
}

/// Deletes the files of `network` that belong to none of the attachments `valid`. Those of
/// upstream do not name a network and are kept.
///
/// # Errors
/// The errors of all deletions that failed.
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

/// Reads the files of the interfaces `names` of a container, as far as they exist.
pub(crate) fn of_interfaces(path: &Path, container_id: &str, names: &[&str]) -> Vec<Backup> {
    let Ok(Some(directory)) = Directory::open(path) else {
        return Vec::new();
    };
    let read = |name| directory.read(&file_name(container_id, name)).ok()?;
    names
        .iter()
        .filter_map(|name| Backup::decode(&read(name)?))
        .collect()
}

/// Upstream's file name, or a hashed one if it would be too long.
fn file_name(container_id: &str, if_name: &str) -> String {
    cni_state::bounded(&format!("{container_id}_{if_name}"), ".json")
}

impl Backup {
    /// The backup before a change of the attributes `present` to `wanted` and of sysctls
    /// with their `dependants`, given the backup `self` of an earlier ADD.
    ///
    /// A value that is still as the earlier ADD set it keeps its recorded original.
    pub(crate) fn renewed(
        self,
        present: &Attributes,
        wanted: &Attributes,
        changes: &[Change],
        dependants: Values,
    ) -> Backup {
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
        let mut backup = Backup { link, set, ..self };
        backup.add_sysctls(changes, dependants);
        backup
    }

    fn add_sysctls(&mut self, changes: &[Change], dependants: Values) {
        let sysctls = &mut self.sysctls;
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
    }

    /// Whether there is nothing to restore.
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

    /// Upstream's format: an indent of one space, no final newline, its keys in its
    /// order.
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

/// The original value of an attribute: `present` if it was not recorded before or was
/// changed since, else `kept`.
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
        // First the configuration changed, then the interface is another one.
        let other = first.renewed(&link(1400), &link(1300), &[], vec![]);
        assert_eq!((other.link, other.set), (link(1500), link(1300)));
        let other = other.renewed(&link(9000), &link(1400), &[], vec![]);
        assert_eq!((other.link, other.set), (link(9000), link(1400)));
        // Upstream does not record the values it set.
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
