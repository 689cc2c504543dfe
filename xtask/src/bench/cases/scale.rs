//! Cases on hosts that already have many objects of one kind.

use super::scripts::{
    BRIDGE_FLOOR, BRIDGE_KEYS, HOST_LOCAL, LEASE_FLOOR, LINKS, PORTS, TAKEN_LEASES,
};
use super::{CASE, Case};

const fn taken(name: &'static str, count: u32) -> Case {
    Case {
        name,
        count,
        chain: &[("host-local", HOST_LOCAL)],
        prepare: TAKEN_LEASES,
        // No GC, which would release these addresses.
        verbs: &["ADD", "CHECK", "DEL", "STATUS"],
        floor: LEASE_FLOOR,
        ..CASE
    }
}

const fn ports(name: &'static str, count: u32) -> Case {
    Case {
        name,
        count,
        chain: &[("bridge", BRIDGE_KEYS)],
        prepare: PORTS,
        floor: BRIDGE_FLOOR,
        ..CASE
    }
}

const fn links(name: &'static str, count: u32) -> Case {
    Case {
        prepare: LINKS,
        ..ports(name, count)
    }
}

/// Cases of `host-local` with so many addresses taken, for the ablation of its index.
pub(crate) const TAKEN: &[Case] = &[
    taken("host-local, none taken", 0),
    taken("host-local, 110 taken", 110),
    taken("host-local, 250 taken", 250),
    taken("host-local, 20,000 taken", 20_000),
];

/// What there may be many of, and the case among none, some, and most of them. A bridge has at most 1,023 ports.
pub(crate) const AMONG: &[(&str, [Case; 3])] = &[
    (
        "addresses taken",
        [
            taken("host-local", 0),
            taken("host-local", 500),
            taken("host-local", 2_000),
        ],
    ),
    (
        "ports of the bridge",
        [
            ports("bridge", 0),
            ports("bridge", 250),
            ports("bridge", 1_000),
        ],
    ),
    (
        "links on the host",
        [
            links("bridge", 0),
            links("bridge", 500),
            links("bridge", 2_000),
        ],
    ),
];
