//! Random numbers for transaction identifiers and for spreading retransmissions.

use rand::TryRng;
use std::time::Duration;

/// Returns a random number of the system's generator.
pub(crate) fn u32() -> u32 {
    // The generator fails only on kernels without getrandom(2) and without /dev/urandom.
    // The clock is then unpredictable enough for what the numbers are used for.
    rand::rngs::SysRng.try_next_u32().unwrap_or_else(|_| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap_or_default().subsec_nanos()
    })
}

/// Returns `around` plus or minus up to `spread`, never below zero, evenly distributed.
pub(crate) fn jittered(around: Duration, spread: Duration) -> Duration {
    let offset = spread
        .saturating_mul(2)
        .mul_f64(f64::from(u32()) / f64::from(u32::MAX));
    (around + offset).saturating_sub(spread)
}
