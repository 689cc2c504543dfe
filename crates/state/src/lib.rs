//! Files that the plugins keep on the host: records and locks of our own below
//! `/run/cni`, and files in the forms of other implementations.
//!
//! | type | what it is |
//! |---|---|
//! | [`Store`] | the records of one topic, a file each in `/run/cni/<topic>` |
//! | [`Record`] | the record of one attachment in a store |
//! | [`Lock`] | a lock between processes, a file in `/run/cni/locks` while it is held |
//! | [`released`] | what GC of an IPAM plugin tells the other plugins of a network |
//! | [`Directory`] | a directory whose files are in another implementation's form |
//!
//! Everything below `/run/cni` belongs to the user that runs the plugins: directories
//! have mode 0700, files 0600, whatever the umask. Names are resolved relative to a
//! directory's descriptor, and no symbolic link is followed. A file is written without a
//! name and then linked, or, to replace one, under a temporary name and then renamed, so
//! that a reader sees the old content or the new one, and a killed writer leaves nothing
//! or a temporary file beside the old one, which is removed together with that. Nothing is synced to a disk: `/run` does not outlive a
//! reboot, and neither does what the records describe.
//!
//! What is not ours is not believed. A directory or a lock that is a link, or belongs
//! to another user, is an error that says what to remove. A record that is a link, a
//! pipe, another user's, or no record at all counts as missing, with a warning on
//! standard error; writing replaces it. Of a record of another form, as a later release may
//! have left, the owner is known and nothing else.

mod directory;
mod error;
mod lock;
mod name;
mod record;
pub mod released;
mod shared;
mod store;
mod tree;

pub use directory::Directory;
pub use error::Error;
pub use lock::Lock;
pub use name::{bounded, name_part, sha512};
pub use record::Record;
pub use store::{Found, Owner, Store};

/// Logs a condition that is no reason to fail, for the operator.
fn warn(text: &str) {
    use std::io::Write as _;
    // Nothing better can be done when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}
