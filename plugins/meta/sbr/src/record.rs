//! The record of the main table before ADD, for DEL. The tables of the addresses do not
//! tell: a route may be in several of them, and they have other routes.

use crate::tables::Tables;
use cni_core::{AddResult, Call, Cidr};
use cni_state::Store;
use plugin_kit::state::owner;
use rtnl::{Family, RawRoute};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A record for each attachment.
pub(crate) const STORE: Store = Store::new("sbr");

/// Returns the file of the attachment's record.
pub(crate) fn file(call: &Call) -> cni_state::Record {
    cni_state::Record::new(STORE, owner(call))
}

/// The changes of an ADD.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Index of the interface, since another one may have its name later.
    pub(crate) index: u32,
    /// The addresses with the tables of their rules.
    pub(crate) rules: Vec<(IpAddr, u32)>,
    /// Those of the tables that are configured: their routes are not the plugin's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) configured: Vec<u32>,
    /// The routes of the main table in the order in which they can be restored, and
    /// whether routes with the same key came before them.
    #[serde(with = "routes")]
    pub(crate) routes: Vec<(RawRoute, bool)>,
    /// The addresses with source hints in the main table.
    pub(crate) hints: Vec<Cidr>,
}

/// Serializes routes as hexadecimal netlink messages. Unreadable ones are left out.
mod routes {
    use rtnl::RawRoute;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        routes: &[(RawRoute, bool)],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let encoded = routes.iter();
        to.collect_seq(encoded.map(|(copy, behind)| (digits(copy.as_bytes()), behind)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<(RawRoute, bool)>, D::Error> {
        let encoded = Vec::<(String, bool)>::deserialize(from)?.into_iter();
        let route = |(digits, behind): (String, bool)| {
            Some((RawRoute::from_bytes(&bytes_of(&digits)?)?, behind))
        };
        Ok(encoded.filter_map(route).collect())
    }

    pub(super) fn digits(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn bytes_of(digits: &str) -> Option<Vec<u8>> {
        let pairs = digits.as_bytes().chunks(2);
        pairs
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect()
    }
}

impl Record {
    /// The record of an ADD of which only `rules` and their tables are left, for the interface
    /// `index` with the previous result `result`. Without an interface if there is no route to
    /// restore.
    pub(crate) fn of_tables(
        tables: &Tables,
        index: u32,
        rules: Vec<(IpAddr, u32)>,
        result: &AddResult,
    ) -> Record {
        let defaults = result.routes.iter().filter(|route| route.dst.prefix() == 0);
        let defaults: Vec<Family> = defaults.map(|route| Family::of(route.dst.addr())).collect();
        let routes = tables.moved(&rules, &defaults);
        Record {
            index: if routes.is_empty() { 0 } else { index },
            rules,
            configured: Vec::new(),
            routes: routes.into_iter().map(|copy| (copy, false)).collect(),
            hints: Vec::new(),
        }
    }

    pub(crate) fn add_rule(&mut self, from: IpAddr, table: u32) {
        if !self.rules.contains(&(from, table)) {
            self.rules.push((from, table));
        }
    }

    pub(crate) fn add_configured(&mut self, table: u32) {
        if !self.configured.contains(&table) {
            self.configured.push(table);
        }
    }

    /// Adds routes in place of recorded ones with the same key.
    pub(crate) fn add_routes(&mut self, routes: Vec<(RawRoute, bool)>) {
        let same = |known: &RawRoute| routes.iter().any(|(copy, _)| copy.same_entry(known));
        self.routes.retain(|(known, _)| !same(known));
        self.routes.extend(routes);
        self.routes
            .sort_by_key(|(copy, _)| copy.gateways().next().is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        // An IPv4 route to 10.0.0.0/24 of table 254 by link 3.
        let message = "02180000fe03fd0100000000080001000a0000000800040003000000";
        let copy = routes::bytes_of(message).and_then(|bytes| RawRoute::from_bytes(&bytes));
        let record = Record {
            index: 3,
            rules: vec![([10, 0, 0, 5].into(), 100)],
            configured: vec![100],
            routes: vec![(copy.unwrap(), true)],
            hints: vec!["10.0.0.5/24".parse().unwrap()],
        };
        assert_eq!(record.routes[0].0.route().prefix, 24);
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
        // What is no route is left out.
        let digits = routes::digits(record.routes[0].0.as_bytes());
        for other in ["0", "zz", "zzzä"] {
            let text = text.replace(&digits, other);
            let read: Record = serde_json::from_str(&text).unwrap();
            assert_eq!(read.routes, [], "{other}");
        }
        for text in ["{}", "[]", r#"{"index": -1}"#] {
            assert!(serde_json::from_str::<Record>(text).is_err(), "{text}");
        }
    }
}
