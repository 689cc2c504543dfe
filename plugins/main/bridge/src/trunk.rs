//! `vlanTrunk`: the tagged VLANs of a port.

use crate::vlan::MAX_ID;
use cni_core::{Code, Error};
use rtnl::BridgeVlan;
use serde::Deserialize;
use std::collections::BTreeSet;

/// An element of `vlanTrunk`: a range, a single VLAN, both, or nothing.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct TrunkElement {
    #[serde(rename = "minID")]
    min_id: Option<i64>,
    #[serde(rename = "maxID")]
    max_id: Option<i64>,
    id: Option<i64>,
}

/// Returns the VLANs of all `elements`.
///
/// # Errors
/// For the first element that is malformed; the message is upstream's, the details
/// say which element it is.
pub(crate) fn ids(elements: &[Option<TrunkElement>]) -> Result<BTreeSet<u16>, Error> {
    let mut ids = BTreeSet::new();
    for (number, element) in elements.iter().enumerate() {
        let Some(element) = element else {
            let msg = format!("element {number} of vlanTrunk is null");
            return Err(Error::new(Code::INVALID_NETWORK_CONFIG, msg));
        };
        element.add_to(&mut ids).map_err(|(msg, why)| {
            Error::new(Code::INTERNAL, msg).with_details(format!("vlanTrunk[{number}]: {why}"))
        })?;
    }
    Ok(ids)
}

impl TrunkElement {
    fn add_to(self, ids: &mut BTreeSet<u16>) -> Result<(), (&'static str, String)> {
        match (self.min_id, self.max_id) {
            (Some(min), Some(max)) => {
                let first = valid(min, "incorrect trunk minID parameter")?;
                let last = valid(max, "incorrect trunk maxID parameter")?;
                if first > last {
                    return Err((
                        "minID is greater than maxID in trunk parameter",
                        format!("{first} is greater than {last}"),
                    ));
                }
                ids.extend(first..=last);
            }
            (None, Some(max)) => {
                return Err((
                    "minID and maxID should be configured simultaneously, minID is missing",
                    format!("maxID is {max}; for a single VLAN use \"id\""),
                ));
            }
            (Some(min), None) => {
                return Err((
                    "minID and maxID should be configured simultaneously, maxID is missing",
                    format!("minID is {min}; for a single VLAN use \"id\""),
                ));
            }
            (None, None) => {}
        }
        if let Some(id) = self.id {
            ids.insert(valid(id, "incorrect trunk id parameter")?);
        }
        Ok(())
    }
}

fn valid(id: i64, msg: &'static str) -> Result<u16, (&'static str, String)> {
    match u16::try_from(id) {
        Ok(id) if (1..=MAX_ID).contains(&id) => Ok(id),
        _ => Err((msg, format!("{id} is not between 1 and {MAX_ID}"))),
    }
}

/// Returns tagged VLANs as the fewest ranges.
pub(crate) fn ranges(ids: &BTreeSet<u16>) -> Vec<BridgeVlan> {
    let mut ranges: Vec<BridgeVlan> = Vec::new();
    for id in ids {
        match ranges.last_mut() {
            Some(range) if range.last + 1 == *id => range.last = *id,
            _ => ranges.push(BridgeVlan::tagged(*id)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    impl TrunkElement {
        /// A range, for the tests of other modules.
        pub(crate) fn range(min: i64, max: i64) -> Self {
            TrunkElement {
                min_id: Some(min),
                max_id: Some(max),
                id: None,
            }
        }
    }

    fn element(
        min_id: impl Into<Option<i64>>,
        max_id: impl Into<Option<i64>>,
        id: impl Into<Option<i64>>,
    ) -> Option<TrunkElement> {
        Some(TrunkElement {
            min_id: min_id.into(),
            max_id: max_id.into(),
            id: id.into(),
        })
    }

    fn listed(elements: &[Option<TrunkElement>]) -> Result<Vec<u16>, String> {
        let ids = ids(elements).map_err(|e| e.to_string())?;
        Ok(ids.into_iter().collect())
    }

    #[test]
    fn elements_add_up() {
        assert_eq!(listed(&[]), Ok(vec![]));
        assert_eq!(listed(&[element(None, None, None)]), Ok(vec![]));
        let several = [
            element(5, 7, 2),
            element(None, None, 6),
            element(4094, 4094, None),
            element(None, None, 1),
        ];
        assert_eq!(listed(&several), Ok(vec![1, 2, 5, 6, 7, 4094]));
    }

    #[test]
    fn malformed_elements() {
        for (bad, text) in [
            (
                element(0, 5, None),
                "incorrect trunk minID parameter; vlanTrunk[1]: 0 is not between 1 and 4094",
            ),
            (
                element(-1, 5, None),
                "incorrect trunk minID parameter; vlanTrunk[1]: -1 is not between 1 and 4094",
            ),
            (
                element(4095, 5, None),
                "incorrect trunk minID parameter; vlanTrunk[1]: 4095 is not between 1 and 4094",
            ),
            (
                element(5, 4095, None),
                "incorrect trunk maxID parameter; vlanTrunk[1]: 4095 is not between 1 and 4094",
            ),
            (
                element(5, 0, None),
                "incorrect trunk maxID parameter; vlanTrunk[1]: 0 is not between 1 and 4094",
            ),
            (
                element(7, 5, None),
                "minID is greater than maxID in trunk parameter; vlanTrunk[1]: 7 is greater than 5",
            ),
            (
                element(None, 5, None),
                "minID and maxID should be configured simultaneously, minID is missing; \
                 vlanTrunk[1]: maxID is 5; for a single VLAN use \"id\"",
            ),
            (
                element(5, None, 3),
                "minID and maxID should be configured simultaneously, maxID is missing; \
                 vlanTrunk[1]: minID is 5; for a single VLAN use \"id\"",
            ),
            (
                element(5, 6, 0),
                "incorrect trunk id parameter; vlanTrunk[1]: 0 is not between 1 and 4094",
            ),
            (
                element(None, None, i64::MAX),
                "incorrect trunk id parameter; vlanTrunk[1]: 9223372036854775807 is not between 1 and 4094",
            ),
            (None, "element 1 of vlanTrunk is null"),
        ] {
            assert_eq!(listed(&[element(1, 2, None), bad]), Err(text.to_owned()));
        }
    }

    proptest! {
        #[test]
        fn ranges_are_the_ids(ids in btree_set(1u16..=4094, 0..200)) {
            let ranges = ranges(&ids);
            let back: Vec<u16> = ranges.iter().flat_map(|r| r.first..=r.last).collect();
            prop_assert_eq!(back, ids.into_iter().collect::<Vec<_>>());
            // No two adjacent ranges.
            prop_assert!(ranges.windows(2).all(|pair| pair[0].last + 1 < pair[1].first));
        }
    }
}
