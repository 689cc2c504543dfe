//! Rates (`struct tc_ratespec`, pkt_sched.h).

use crate::wire::attr::u32_at;

/// `sizeof(struct tc_ratespec)`.
pub(super) const RATESPEC_LEN: usize = 12;

/// Offset of the rate. The fields before it correct for link layers with cells and
/// overhead.
const RATE_OFFSET: usize = 8;

/// A `struct tc_ratespec` of `rate` bytes per second. It holds the lower 32 bits; a
/// larger rate also needs a 64-bit attribute, see [`rate64`].
pub(super) fn ratespec(rate: u64) -> [u8; RATESPEC_LEN] {
    let mut bytes = [0; RATESPEC_LEN];
    bytes[RATE_OFFSET..].copy_from_slice(&(rate as u32).to_ne_bytes());
    bytes
}

/// The rate for the attribute, where one is needed.
pub(super) fn rate64(rate: u64) -> Option<u64> {
    (rate > u64::from(u32::MAX)).then_some(rate)
}

/// The number of the `struct tc_ratespec` at `offset`.
pub(super) fn rate_at(bytes: &[u8], offset: usize) -> Option<u64> {
    u32_at(bytes, offset + RATE_OFFSET).map(u64::from)
}
