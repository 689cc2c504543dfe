//! Reclaims the addresses of containers that are certainly gone.

use std::fmt;
use std::net::IpAddr;

use super::{Content, Store};
use crate::lock;
use crate::origin::{Here, Origin, Reason, can_tell, is_local};
use crate::reservation::{self, names};

/// Most addresses that one command logs; more are only counted.
const LOGGED: usize = 100;

/// A reservation whose container is certainly gone.
struct Gone {
    content: Content,
    reason: Reason,
}

impl Gone {
    fn id(&self) -> &str {
        match &self.content {
            Content::Held { id, .. } => id,
            Content::Empty | Content::Unknown => "",
        }
    }
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "was {}: {}", self.content, self.reason)
    }
}

impl Store {
    /// Allows that addresses are reclaimed, if the running kernel is known.
    pub(crate) fn allow_reclaim(&mut self, here: Option<Here>) {
        self.here = here;
    }

    /// Reclaims the addresses of all containers that are certainly gone, if no ADD has done
    /// so since the machine was booted. The lock file has the mark of the boot.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub(crate) fn reclaim_once_per_boot(&mut self) -> anyhow::Result<()> {
        let (Some(here), Some(lock)) = (self.here, &self.lock) else {
            return Ok(());
        };
        // Without attributes there are no origins either.
        if matches!(here.is_marked_at(lock), Ok(false)) && is_local(&self.directory) {
            let all = names(&self.directory)?;
            self.reclaim(&all);
            self.lacks_mark = true;
        }
        Ok(())
    }

    /// Marks the lock file if this ADD is the first one since the boot.
    ///
    /// That is optional, so it comes last, when nothing can fail any more for lack of space,
    /// and a file system without attributes or room is not an error.
    pub(crate) fn mark_boot(&mut self) {
        if let Some(here) = self.here.filter(|_| self.lacks_mark) {
            let _ = here.mark_at(&self.directory.join(lock::NAME));
        }
    }

    /// Reclaims those of `ips` whose container is certainly gone, and returns their number.
    /// Each is logged on standard error, and so is a file that cannot be removed.
    pub(crate) fn reclaim(&mut self, ips: &[IpAddr]) -> usize {
        let mut count = 0;
        for ip in ips {
            let Some(gone) = self.gone(*ip) else {
                continue;
            };
            // After a boot, no peer remembers the address any more.
            let freed = match gone.reason {
                Reason::Boot => self.release(*ip, gone.id()),
                Reason::Namespace => self.free(*ip, gone.id()),
            };
            if let Err(error) = freed {
                eprintln!("host-local: cannot reclaim {ip}, which {gone}: {error:#}");
                continue;
            }
            count += 1;
            if count <= LOGGED {
                eprintln!("host-local: reclaimed {ip}, which {gone}");
            }
        }
        if count > LOGGED {
            eprintln!("host-local: reclaimed {} more addresses", count - LOGGED);
        }
        count
    }

    /// Returns whether the container that holds an address is certainly gone, and, if
    /// `at_once` is set, whether the address needs no cool-down.
    pub(crate) fn is_reclaimable(&self, ip: IpAddr, at_once: bool) -> bool {
        let gone = self.gone(ip);
        gone.is_some_and(|gone| !at_once || gone.reason == Reason::Boot)
    }

    fn gone(&self, ip: IpAddr) -> Option<Gone> {
        let here = self.here.filter(|_| is_local(&self.directory))?;
        let file = reservation::open(&self.path(ip)).ok()?;
        let bytes = reservation::read_all(&file).ok()?;
        let content = Content::parse(&bytes);
        let origin = Origin::recorded_at(&file, str::from_utf8(&bytes).ok()?)?;
        let reason = origin.why_gone(here)?;
        if reason == Reason::Namespace && !*self.can_tell.get_or_init(can_tell) {
            return None;
        }
        Some(Gone { content, reason })
    }
}
