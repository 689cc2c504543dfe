//! The delegate's configuration, kept from ADD to DEL.
//!
//! Upstream's file is named by the container's ID. A container with attachments to two
//! networks has only one such file, so there is a second one named by network and
//! interface as well. Both hold the same text, and either implementation's DEL finds
//! what the other has written. Both outlive a reboot, as the leases of the delegate's
//! IPAM do.

use crate::delegate::Delegate;
use cni_core::Call;
use cni_core::types::Attachment;
use cni_state::Directory;
use std::path::Path;

/// Separator of the parts of a file's name; not allowed in any of them.
const SEPARATOR: char = ':';

/// The state of one attachment.
pub(crate) struct State<'a> {
    call: &'a Call,
    dir: &'a Path,
}

/// The recorded state of an attachment.
pub(crate) enum Stored {
    /// No ADD, or a DEL since.
    Nothing,
    /// The file of an ADD that cannot be read.
    Corrupt,
    /// The configuration that the delegate got.
    Delegate(Delegate),
}

impl<'a> State<'a> {
    pub(crate) fn of(call: &'a Call, dir: &'a Path) -> Self {
        State { call, dir }
    }

    /// The name of upstream's file.
    fn shared(&self) -> &str {
        &self.call.container_id
    }

    /// Common prefix of the file names of this container and network.
    fn prefix(&self) -> String {
        let Call {
            container_id, name, ..
        } = self.call;
        format!("{container_id}{SEPARATOR}{name}{SEPARATOR}")
    }

    /// The name of the attachment's own file.
    fn own(&self) -> String {
        own_name(&self.call.container_id, &self.call.name, &self.call.if_name)
    }

    /// Returns the path of the attachment's own file, for messages.
    pub(crate) fn describe(&self) -> String {
        self.dir.join(self.own()).display().to_string()
    }

    /// Looks at upstream's file first: it is never older, if it is of this network.
    ///
    /// # Errors
    /// When a file is there and cannot be read.
    pub(crate) fn read(&self) -> anyhow::Result<Stored> {
        let Some(directory) = Directory::open(self.dir)? else {
            return Ok(Stored::Nothing);
        };
        let shared = self.read_shared(&directory)?;
        let decoded = shared.as_deref().map(Delegate::decode);
        if let Some(Some(delegate)) = decoded
            && delegate.network() == self.call.name
        {
            return Ok(Stored::Delegate(delegate));
        }
        let own = directory.read(&self.own())?;
        Ok(match own.as_deref().map(Delegate::decode) {
            Some(Some(delegate)) => Stored::Delegate(delegate),
            Some(None) => Stored::Corrupt,
            // Its network is unknown.
            None if shared
                .as_deref()
                .is_some_and(|text| Delegate::decode(text).is_none()) =>
            {
                Stored::Corrupt
            }
            None => Stored::Nothing,
        })
    }

    /// Returns the content of upstream's file. No file has a longer name than the
    /// attachment's own.
    fn read_shared(&self, directory: &Directory) -> anyhow::Result<Option<Vec<u8>>> {
        match is_file_name(self.shared()) {
            true => Ok(directory.read(self.shared())?),
            false => Ok(None),
        }
    }

    /// Writes both files, each wholly or not at all. Upstream's is left alone while it is
    /// that of another network.
    ///
    /// # Errors
    /// When the file system refuses.
    pub(crate) fn write(&self, text: &str) -> anyhow::Result<()> {
        let directory = Directory::create(self.dir)?;
        directory.write_synced(&self.own(), text.as_bytes())?;
        let other = self
            .read_shared(&directory)?
            .and_then(|text| Delegate::decode(&text))
            .is_some_and(|delegate| delegate.network() != self.call.name);
        if !other && is_file_name(self.shared()) {
            directory.write_synced(self.shared(), text.as_bytes())?;
        }
        Ok(())
    }

    /// Removes the attachment's own file. Removes upstream's if it is of this network or
    /// unreadable, and no other interface of the container needs it.
    ///
    /// # Errors
    /// When the file system refuses.
    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        let Some(directory) = Directory::open(self.dir)? else {
            return Ok(());
        };
        directory.remove(&self.own())?;
        let Some(text) = self.read_shared(&directory)? else {
            return Ok(());
        };
        let is_other = Delegate::decode(&text).is_some_and(|d| d.network() != self.call.name);
        let prefix = self.prefix();
        let is_sibling = |name: &String| name.starts_with(&prefix);
        if !is_other && !directory.names()?.iter().any(is_sibling) {
            directory.remove(self.shared())?;
        }
        Ok(())
    }
}

/// Removes the state of `network`'s attachments that are not among `valid`.
///
/// # Errors
/// When the file system refuses; the other files are removed all the same.
pub(crate) fn collect(dir: &Path, network: &str, valid: &[Attachment]) -> anyhow::Result<()> {
    let Some(directory) = Directory::open(dir)? else {
        return Ok(());
    };
    let own_names = valid.iter();
    let own_names = own_names.map(|a| own_name(&a.container_id, network, &a.if_name));
    let mut valid_names: Vec<String> = own_names.collect();
    valid_names.extend(valid.iter().map(|a| a.container_id.clone()));
    let mut outcome = Ok(());
    let names = directory.names()?;
    // Whether all of a container's files that name their network name this one.
    let is_only_here = |id: &str| {
        let parts = names.iter().map(|name| name.split(SEPARATOR));
        let parts = parts.map(|parts| parts.collect::<Vec<_>>());
        let mut networks = parts.filter_map(|parts| match parts[..] {
            [of, network, _] if of == id => Some(network.to_owned()),
            _ => None,
        });
        let first = networks.next();
        first.is_some_and(|first| first == network) && networks.all(|other| other == network)
    };
    for name in &names {
        let is_of_network = match name.split(SEPARATOR).collect::<Vec<_>>()[..] {
            [_, of, _] => of == network,
            // Upstream's, or one whose name would be too long: the text tells.
            [id] => {
                let text = directory.read(name).ok().flatten();
                match text.and_then(|text| Delegate::decode(&text)) {
                    Some(delegate) => delegate.network() == network,
                    None => is_only_here(id),
                }
            }
            _ => false,
        };
        if is_of_network && !valid_names.contains(name) {
            outcome = outcome.and(directory.remove(name));
        }
    }
    Ok(outcome?)
}

fn own_name(container_id: &str, network: &str, if_name: &str) -> String {
    let name = format!("{container_id}{SEPARATOR}{network}{SEPARATOR}{if_name}");
    cni_state::bounded(&name, "")
}

fn is_file_name(name: &str) -> bool {
    cni_state::bounded(name, "") == name
}
