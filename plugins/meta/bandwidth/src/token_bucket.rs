//! Conversion of rate and burst to the parameters of a token bucket filter (`tc-tbf(8)`,
//! `struct tc_tbf_qopt` of pkt_sched.h).
//!
//! The arithmetic is upstream's, including its overflows: either implementation must
//! accept the other's qdiscs in CHECK, and the burst that container engines send for
//! "no burst" overflows.

use rtnl::Tbf;
use std::fs;

const MICROSECONDS: f64 = 1_000_000.0;

/// Default limit of a packet's waiting time, in microseconds.
pub(crate) const LATENCY: f64 = 25_000.0;

/// The clock of the packet scheduler.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Clock {
    pub(crate) ticks_per_microsecond: f64,
}

/// The clock of all kernels since 2.6.31 (`PSCHED_SHIFT`): a tick is 64 ns.
const USUAL: Clock = Clock {
    ticks_per_microsecond: 15.625,
};

impl Clock {
    /// The clock of the running kernel, [`USUAL`] if `/proc/net/psched` is unreadable.
    pub(crate) fn of_kernel() -> Clock {
        let text = fs::read_to_string("/proc/net/psched").unwrap_or_default();
        Clock::parse(&text).unwrap_or(USUAL)
    }

    /// Parses `/proc/net/psched`: nanoseconds and ticks of the same duration, clock
    /// resolution, timer frequency.
    fn parse(text: &str) -> Option<Clock> {
        let mut words = text.split_whitespace().map(|w| u32::from_str_radix(w, 16));
        let mut next = || words.next()?.ok().filter(|word| *word > 0);
        let (mut nanoseconds, ticks, resolution) = (next()?, next()?, next()?);
        // "Compatibility hack", as iproute2 calls it.
        if resolution == 1_000_000_000 {
            nanoseconds = ticks;
        }
        let factor = f64::from(resolution) / MICROSECONDS;
        let ticks_per_microsecond = f64::from(nanoseconds) / f64::from(ticks) * factor;
        Some(Clock {
            ticks_per_microsecond,
        })
    }
}

/// The lower 32 bits of the integer part, which is the result of Go's conversion on
/// amd64. Rust's conversion saturates.
fn wrapping(number: f64) -> u32 {
    number as i64 as u32
}

/// The bucket for `rate`, in bytes per second and not 0, and `burst`, in bytes.
///
/// `latency` is the limit of a packet's waiting time in microseconds; `None` is
/// upstream's 25 ms, with a limit of the queue that wraps like upstream's.
pub(crate) fn token_bucket(rate: u64, burst: u32, latency: Option<f64>, clock: Clock) -> Tbf {
    let time = wrapping(f64::from(burst) * MICROSECONDS / rate as f64);
    let waiting = |latency: f64| rate as f64 * latency / MICROSECONDS;
    let limit = match latency {
        None => wrapping(waiting(LATENCY)).wrapping_add(burst),
        // Upstream has no such key.
        Some(latency) => (waiting(latency) as u32).saturating_add(burst),
    };
    Tbf {
        rate,
        limit,
        buffer: wrapping(f64::from(time) * clock.ticks_per_microsecond),
    }
}

/// Whether any packet can pass. The kernel refuses a bucket of less than a byte, and
/// accepts a queue limit of 0, with which it drops all packets.
pub(crate) fn passes_anything(bucket: &Tbf) -> bool {
    // `PSCHED_TICKS2NS` and `psched_ns_t2l`.
    let nanoseconds = u64::from(bucket.buffer) << 6;
    let bytes = nanoseconds.wrapping_mul(bucket.rate) / 1_000_000_000;
    bytes > 0 && bucket.limit > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(rate: u64, burst: u64) -> (u64, u32, u32) {
        let burst = u32::try_from(burst / 8).unwrap();
        let bucket = token_bucket(rate / 8, burst, None, USUAL);
        (bucket.rate, bucket.limit, bucket.buffer)
    }

    /// Bits per second and bits as configured.
    #[test]
    fn the_numbers_are_upstreams() {
        assert_eq!(numbers(8000, 80), (1000, 35, 156_250));
        assert_eq!(numbers(8, 8), (1, 1, 15_625_000));
        assert_eq!(numbers(16, 8), (2, 1, 7_812_500));
        assert_eq!(
            numbers(1_000_000, 8_000_000),
            (125_000, 1_003_125, 125_000_000)
        );
        // What containerd sends for no burst: the buffer wraps.
        let (rate, limit, buffer) = numbers(10_000_000, 4_294_967_295);
        assert_eq!(
            (rate, limit, buffer),
            (1_250_000, 536_902_161, 2_415_919_079)
        );
        // What CRI-O does: the limit wraps, to 2 bytes less than the latency's.
        let (_, limit, _) = numbers(10_000_000, 34_359_738_359);
        assert_eq!(limit, 1_250_000 / 40 - 2);
    }

    #[test]
    fn the_kernels_clock() {
        let parse = |text| Clock::parse(text).map(|clock| clock.ticks_per_microsecond);
        assert_eq!(parse("000003e8 00000040 000f4240 3b9aca00\n"), Some(15.625));
        assert_eq!(parse("000003e8 00000040 3b9aca00 3b9aca00\n"), Some(1000.0));
        for broken in ["", "000003e8", "x 40 f4240", "3e8 0 f4240 0"] {
            assert_eq!(parse(broken), None, "{broken}");
        }
        assert_eq!(Clock::of_kernel(), USUAL);
    }

    #[test]
    fn a_configured_latency() {
        let with = |latency| token_bucket(125_000, 10_000, Some(latency), USUAL).limit;
        assert_eq!(
            with(LATENCY),
            token_bucket(125_000, 10_000, None, USUAL).limit
        );
        assert_eq!(with(100_000.0), 22_500);
        assert_eq!(token_bucket(u64::MAX, 9, Some(1e9), USUAL).limit, u32::MAX);
    }

    #[test]
    fn buckets_that_pass_nothing() {
        let passes = |rate, burst| passes_anything(&token_bucket(rate, burst, None, USUAL));
        assert!(passes(1, 1));
        assert!(passes(125_000, 1));
        // The time of a byte is less than the clock can tell.
        assert!(!passes(1_250_000_000, 1));
        assert!(!passes(1000, 0));
    }
}
