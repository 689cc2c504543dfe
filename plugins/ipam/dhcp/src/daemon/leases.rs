//! The attachments of the daemon over time: resumed at the start, dropped when the container
//! is gone, released.

use super::attachment::{Attachment, Parts};
use super::{ATTACHMENT, Daemon, MOST_CONNECTIONS, SWEEP};
use crate::record::Record;
use crate::time::Time;
use cni_state::Owner;
use std::time::Duration;

/// The time between two leases that are resumed: a server has to answer all of them, and may
/// enter each into its neighbour table, where Linux has room for some 1000 within 5 s.
const PACE: Duration = Duration::from_millis(10);

impl Daemon {
    /// Goes on with the leases that the last daemon recorded.
    pub(super) fn resume(&mut self, now: Time) {
        let mut start = now;
        for record in self.context.records.all(&self.context.socket) {
            let owner = record.owner();
            match self.resumed(record, start) {
                Ok(attachment) => {
                    let id = self.number();
                    self.attachments.insert(id, attachment);
                    start = start + PACE;
                }
                Err(error) => {
                    log::warn!(
                        "{}/{}/{}: the record cannot be used: {error:#}",
                        owner.container_id,
                        owner.network,
                        owner.if_name
                    );
                    self.forget(&owner);
                }
            }
        }
        self.sweep(now);
    }

    fn resumed(&self, record: Record, start: Time) -> anyhow::Result<Attachment> {
        let parts = Parts {
            owner: record.owner(),
            place: record.place,
            args: record.args,
            ipam: record.ipam,
        };
        let clients = Some(&record.clients);
        let mut attachment = Attachment::new(parts, clients, start, &self.context)?;
        attachment.handed_out = record.handed_out;
        Ok(attachment)
    }

    /// Drops the leases of containers that are gone, and of attachments that were deleted
    /// while the daemon could not be reached.
    pub(super) fn sweep(&mut self, now: Time) {
        self.next_sweep = now + SWEEP;
        if self.connections.len() < MOST_CONNECTIONS {
            self.listen(true);
        }
        let deleted = self.context.records.deleted(&self.context.socket);
        let is_over = |attachment: &Attachment| {
            let gone = (!attachment.place.is_there()).then_some("its container is gone");
            gone.or_else(|| {
                deleted
                    .contains(&attachment.owner)
                    .then_some("it was deleted")
            })
        };
        let over: Vec<(u64, &str)> = self
            .attachments
            .iter()
            .filter_map(|(id, attachment)| Some((*id, is_over(attachment)?)))
            .collect();
        for (id, why) in over {
            self.release(id, why, now);
        }
        // What is left are deletions of attachments without a lease.
        for owner in deleted {
            self.forget(&owner);
        }
    }

    /// Returns the number of an attachment.
    pub(super) fn find(&self, owner: &Owner) -> Option<u64> {
        let mut all = self.attachments.iter();
        all.find(|(_, attachment)| attachment.owner == *owner)
            .map(|(id, _)| *id)
    }

    /// Gives the leases of an attachment back, and forgets it.
    pub(super) fn release(&mut self, id: u64, why: &str, now: Time) {
        let Some(mut attachment) = self.attachments.remove(&id) else {
            return;
        };
        log::info!("{}: {why}", attachment.name());
        let open = self
            .context
            .open_sockets
            .get()
            .saturating_sub(attachment.sockets());
        self.context.open_sockets.set(open);
        attachment.release(ATTACHMENT | id << 8, now, &self.context);
        self.forget(&attachment.owner);
        let error = format!("no lease for {}: {why}", attachment.name());
        for connection in std::mem::take(&mut attachment.waiting) {
            self.respond(connection, &Err(error.clone()), now);
        }
        if attachment.is_leaving() {
            let open = self.context.open_sockets.get() + attachment.sockets();
            self.context.open_sockets.set(open);
            self.leaving.insert(id, attachment);
        }
    }

    /// Stops to wait for the confirmation that the leases of `owner` were released: another
    /// release would end those that it now gets.
    pub(super) fn stop_leaving(&mut self, owner: &Owner) {
        let open = &self.context.open_sockets;
        self.leaving.retain(|_, attachment| {
            let is_kept = attachment.owner != *owner;
            if !is_kept {
                open.set(open.get().saturating_sub(attachment.sockets()));
            }
            is_kept
        });
    }

    fn forget(&self, owner: &Owner) {
        if let Err(error) = self.context.records.remove(owner) {
            log::warn!("{error}");
        }
    }
}
