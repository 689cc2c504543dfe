//! Times since the machine's boot.

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::ops::{Add, Sub};
use std::time::Duration;

/// A time on `CLOCK_BOOTTIME`, in milliseconds since boot.
///
/// Unlike [`std::time::Instant`] it goes on while the machine is suspended, as the lease
/// does on the server, and it can be recorded, since records do not outlive a boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Time(u64);

impl Time {
    /// Returns the current time.
    pub(crate) fn now() -> Time {
        // Cannot fail: the clock exists since Linux 2.6.39.
        let elapsed = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Into::into);
        Time(millis(elapsed))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, duration: Duration) -> Time {
        Time(self.0.saturating_add(millis(duration)))
    }
}

/// The duration from the earlier time to the later one, zero if they are in the other order.
impl Sub for Time {
    type Output = Duration;

    fn sub(self, earlier: Time) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}
