//! The benchmark cases.
//!
//! Configurations and scripts contain variables, see [`Side::variables`](super::side::Side::variables).

mod list;
mod scale;
mod scripts;

pub(crate) use list::CASES;
pub(crate) use scale::{AMONG, TAKEN};
use scripts::LEASES;

const FOUNDATION: &str = "foundation";
const INTERFACES: &str = "interfaces";
const CHAINED: &str = "chained plugins";
const FILTERS: &str = "packet filters";
const KUBERNETES: &str = "Kubernetes chain";

/// The section of all cases that were measured in User Mode Linux.
pub(crate) const UML: &str = "User Mode Linux";

/// The sections of the cases.
pub(crate) const GROUPS: [&str; 6] = [FOUNDATION, INTERFACES, UML, FILTERS, CHAINED, KUBERNETES];

/// A plugin or a chain of plugins in one configuration. Its verbs are called in order, in many rounds.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// The name in targets and on the command line.
    pub(crate) name: &'static str,
    /// The section of its results, one of [`GROUPS`].
    pub(crate) group: &'static str,
    /// Kernel features that it requires, see [`testkit::needs`].
    pub(crate) needs: &'static [&'static str],
    /// Plugins and the keys of their configurations without `cniVersion`, `name` and `type`. DEL calls them in reverse
    /// order.
    pub(crate) chain: &'static [(&'static str, &'static str)],
    /// A shell script that runs on the host first, once per side, with the variables as environment.
    pub(crate) prepare: &'static str,
    /// The number of objects that the preparation creates, its variable `$count`.
    pub(crate) count: u32,
    pub(crate) verbs: &'static [&'static str],
    /// The verbs that the peer also has.
    pub(crate) peer_verbs: &'static [&'static str],
    /// The kernel operations of each verb, as command lines of the `floor` program.
    pub(crate) floor: &'static [(&'static str, &'static [&'static str])],
}

impl Case {
    /// Whether its plugins change packet filters.
    pub(crate) fn has_filters(&self) -> bool {
        matches!(self.group, FILTERS | KUBERNETES)
    }

    pub(crate) fn floor_of(&self, verb: &str) -> Option<&'static [&'static str]> {
        let mut floor = self.floor.iter();
        floor
            .find(|(name, _)| *name == verb)
            .map(|(_, commands)| *commands)
    }
}

/// The defaults of most cases.
const CASE: Case = Case {
    name: "",
    group: "",
    needs: &[],
    chain: &[],
    prepare: LEASES,
    count: 0,
    verbs: &["ADD", "CHECK", "DEL", "STATUS", "GC"],
    // The peer may be too old for STATUS and GC, the verbs of version 1.1.0.
    peer_verbs: &["ADD", "CHECK", "DEL"],
    floor: &[],
};
