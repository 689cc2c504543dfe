//! Reasons why mutants survive: they change nothing that can be observed, or not in the tests that are run for each.

/// The ID of a mutant and the reason.
pub(super) const ANSWERS: &[(&str, &str)] = &[
    ("3f103313", NO_COMMON_BITS),
    ("bfec570e", NO_COMMON_BITS),
    ("ae2798ae", VLANS),
    ("10b97144", VLANS),
    (
        "b3a10ca1",
        "reached only if somebody deletes the table between two netlink requests of this call",
    ),
];

const NO_COMMON_BITS: &str =
    "the bits have nothing in common, so that both operators give the same";

const VLANS: &str = "runs only where bridges filter VLANs: in User Mode Linux, tests of `vlan_check` and `vlan_gateway` fail with it";
