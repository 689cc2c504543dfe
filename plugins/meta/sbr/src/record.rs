//! What the main table was, kept for DEL. It cannot be told from the tables that the
//! routes have gone to: one route may be in several of them, and there are others.

use cni_core::{Cidr, json};
use rtnl::RawRoute;
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::IpAddr;

/// Where the records are.
pub(crate) const DIRECTORY: &str = "/run/cni/sbr";

/// What an ADD has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// The interface, by its index. Another one under its name is not meant.
    pub(crate) index: u32,
    /// The addresses, each with the table that a rule leads its packets to.
    pub(crate) rules: Vec<(IpAddr, u32)>,
    /// The routes that were in the main table, in the order in which they can be put
    /// back, and whether others of the same destination stood before.
    pub(crate) routes: Vec<(RawRoute, bool)>,
    /// The addresses that were made the source for their network in the main table.
    pub(crate) hints: Vec<Cidr>,
}

/// The keys as they are written.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    index: u32,
    rules: Vec<RawRule>,
    routes: Vec<JsonRoute>,
    hints: Vec<Cidr>,
}

#[derive(Deserialize)]
struct RawRule {
    from: IpAddr,
    table: u32,
}

#[derive(Deserialize)]
struct JsonRoute {
    /// The kernel's own form, in hexadecimal digits.
    message: String,
    behind: bool,
}

impl Record {
    pub(crate) fn add_rule(&mut self, from: IpAddr, table: u32) {
        if !self.rules.contains(&(from, table)) {
            self.rules.push((from, table));
        }
    }

    /// In the place of what was known of them.
    pub(crate) fn add_routes(&mut self, routes: Vec<(RawRoute, bool)>) {
        let same = |known: &RawRoute| routes.iter().any(|(copy, _)| copy.same_entry(known));
        self.routes.retain(|(known, _)| !same(known));
        self.routes.extend(routes);
        self.routes
            .sort_by_key(|(copy, _)| copy.gateways().next().is_some());
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Record> {
        let raw: Raw = json::decode(&json::parse(bytes).ok()?).ok()?;
        let route = |raw: JsonRoute| {
            let copy = RawRoute::from_bytes(&bytes_of(&raw.message)?)?;
            Some((copy, raw.behind))
        };
        Some(Record {
            index: raw.index,
            rules: raw.rules.into_iter().map(|r| (r.from, r.table)).collect(),
            routes: raw.routes.into_iter().filter_map(route).collect(),
            hints: raw.hints,
        })
    }

    pub(crate) fn encode(&self) -> String {
        let rules = self.rules.iter();
        let rules = rules.map(|(from, table)| json!({"from": from.to_string(), "table": table}));
        let routes = self.routes.iter();
        let routes = routes
            .map(|(copy, behind)| json!({"message": digits(copy.as_bytes()), "behind": behind}));
        json::to_string(&json!({
            "index": self.index,
            "rules": rules.collect::<Value>(),
            "routes": routes.collect::<Value>(),
            "hints": self.hints.iter().map(Cidr::to_string).collect::<Value>(),
        }))
    }
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        // An IPv4 route to 10.0.0.0/24 of table 254 by link 3.
        let message = "02180000fe03fd0100000000080001000a0000000800040003000000";
        let copy = bytes_of(message).and_then(|bytes| RawRoute::from_bytes(&bytes));
        let record = Record {
            index: 3,
            rules: vec![([10, 0, 0, 5].into(), 100)],
            routes: vec![(copy.unwrap(), true)],
            hints: vec!["10.0.0.5/24".parse().unwrap()],
        };
        assert_eq!(record.routes[0].0.route().prefix, 24);
        assert_eq!(Record::decode(record.encode().as_bytes()), Some(record));
        assert_eq!(Record::decode(b"{}"), Some(Record::default()));
        for text in ["", "[]", "{\"rules\": [{}]}", "{\"index\": -1}"] {
            assert_eq!(Record::decode(text.as_bytes()), None);
        }
        for text in ["0", "zz", "ä"] {
            assert_eq!(bytes_of(text).filter(|b| b.len() != 1), None, "{text}");
        }
    }
}
