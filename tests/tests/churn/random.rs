//! Random numbers that can be repeated.

/// A generator of random numbers: xorshift64*.
pub(crate) struct Random(u64);

impl Random {
    /// Returns the generator of this seed.
    pub(crate) fn new(seed: u64) -> Random {
        // The state must not be zero, and similar seeds must differ in many bits.
        Random((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Returns a number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap() % limit
    }

    /// Returns `true` in this many of a hundred cases.
    pub(crate) fn per_cent(&mut self, cases: usize) -> bool {
        self.below(100) < cases
    }
}
