//! Families of versions whose results have the same format.

use crate::Version;

/// Versions of the specification whose results have the same format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// 0.1.0 and 0.2.0: one address of each IP family.
    V020,
    /// 0.3.0 to 0.4.0: lists, and addresses that name their IP family.
    V040,
    /// 1.0.0 and newer.
    V100,
}

impl Family {
    pub(super) const fn of(version: Version) -> Family {
        match version {
            Version::V0_1_0 | Version::V0_2_0 => Family::V020,
            Version::V0_3_0 | Version::V0_3_1 | Version::V0_4_0 => Family::V040,
            Version::V1_0_0 | Version::V1_1_0 => Family::V100,
        }
    }

    /// Returns the values of `cniVersion` in documents of this family. Only in the oldest
    /// one it may be missing.
    pub(super) const fn texts(self) -> &'static [&'static str] {
        match self {
            Family::V020 => &["", "0.1.0", "0.2.0"],
            Family::V040 => &["0.3.0", "0.3.1", "0.4.0"],
            Family::V100 => &["1.0.0", "1.1.0"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_belongs_to_its_family() {
        for version in Version::ALL {
            assert!(Family::of(*version).texts().contains(&version.as_str()));
        }
    }
}
