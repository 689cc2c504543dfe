//! Addresses that GC of an IPAM plugin has released.
//!
//! What other implementations of the plugins leave of a killed ADD often names no network: rules with an address only,
//! or names that are hashes of network and container. The reservation tells whose they are, but GC of the IPAM plugin
//! has removed it by the time of GC of the next plugins. So it leaves a note for them.

use crate::error::Error;
use crate::store::{Owner, Store};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

const STORE: Store = Store::new("released");

/// The number of GCs of the IPAM plugin that a note outlives: any of them can be interrupted before the other plugins of
/// the network have read it.
const PASSES: u8 = 3;

/// A note.
#[derive(Serialize, Deserialize)]
struct Note {
    address: IpAddr,
    /// The file that exists while the address is reserved.
    reservation: PathBuf,
    passes: u8,
}

impl Note {
    fn key(&self, network: &str) -> String {
        format!("{network}/{}", self.address)
    }
}

/// Notes that GC releases an address, whose reservation is the file `reservation`. To be called before that is removed.
///
/// # Errors
/// When the note cannot be written.
pub fn note(owner: &Owner, address: IpAddr, reservation: &Path) -> Result<(), Error> {
    let note = Note {
        address,
        reservation: reservation.to_owned(),
        passes: 0,
    };
    STORE.write(&note.key(&owner.network), owner, &note)
}

/// Removes the notes of a network that are old enough. To be called by each GC of the IPAM plugin, before
/// [`note`].
///
/// # Errors
/// When a note cannot be removed or written.
pub fn age(network: &str) -> Result<(), Error> {
    for (owner, mut note) in notes_of(network) {
        note.passes += 1;
        let key = note.key(network);
        if note.passes < PASSES {
            STORE.write(&key, &owner, &note)?;
        } else {
            STORE.remove(&key)?;
        }
    }
    Ok(())
}

/// Returns the addresses of a network that GC has released, with the attachments that had them, in order. Those that
/// have been reserved again are left out.
#[must_use]
pub fn of_network(network: &str) -> Vec<(Owner, IpAddr)> {
    let notes = notes_of(network);
    let free = notes.into_iter().filter(|(_, note)| is_free(note));
    let mut free: Vec<_> = free.map(|(owner, note)| (owner, note.address)).collect();
    free.sort_unstable();
    free
}

fn notes_of(network: &str) -> Vec<(Owner, Note)> {
    let found = STORE.all::<Note>().into_iter();
    let notes = found.filter_map(|found| Some((found.owner, found.data?)));
    notes
        .filter(|(owner, _)| owner.network == network)
        .collect()
}

fn is_free(note: &Note) -> bool {
    let metadata = fs::symlink_metadata(&note.reservation);
    metadata.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}
