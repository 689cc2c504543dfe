//! The VLANs of a bridge port: configuration, requests to the kernel, comparison. VLAN
//! filtering of the bridge.

use crate::trunk::{self, TrunkElement};
use cni_core::quote::quote;
use cni_core::{Code, Error};
use plugin_kit::{FilterRecord, names};
use rtnl::{BridgeInfo, BridgeVlan, Handle, KindInfo, Link, PortVlan, Request};
use std::collections::BTreeSet;
use std::io::Write;

/// The highest VLAN ID (IEEE 802.1Q reserves 4095).
pub(crate) const MAX_ID: u16 = 4094;

/// The native VLAN of a trunk that names none.
const TRUNK_NATIVE: u16 = 1;

/// The topic in the record of an attachment, and the state that is recorded.
const TOPIC: &str = "vlan";
const UNFILTERED: &str = "unfiltered";

/// The VLANs that a port is a member of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortVlans {
    /// The key `vlan`; 0 if it is not given.
    vlan: u16,
    /// The VLAN of untagged frames.
    native: Option<u16>,
    /// The tagged VLANs, without the native one.
    trunk: BTreeSet<u16>,
    /// The port stays in the default VLAN of the bridge too.
    preserve_default: bool,
    /// `vlanTrunk` names the native one too; upstream then tags it.
    native_in_trunk: bool,
}

/// Returns the VLANs that are configured; `None` if neither key is given.
///
/// # Errors
/// For an ID that is out of range, or a malformed trunk.
pub(crate) fn validated(
    vlan: i64,
    trunk: Option<Vec<Option<TrunkElement>>>,
    preserve_default: bool,
) -> Result<Option<PortVlans>, Error> {
    let vlan = match u16::try_from(vlan) {
        Ok(id) if id <= MAX_ID => id,
        _ => {
            let msg = format!("invalid VLAN ID {vlan} (must be between 0 and {MAX_ID})");
            return Err(Error::new(Code::INTERNAL, msg));
        }
    };
    if vlan == 0 && trunk.is_none() {
        return Ok(None);
    }
    let mut trunk = trunk::ids(&trunk.unwrap_or_default())?;
    let native = match vlan {
        0 if trunk.is_empty() => None,
        0 => Some(TRUNK_NATIVE),
        vlan => Some(vlan),
    };
    let native_in_trunk = native.is_some_and(|native| trunk.remove(&native));
    Ok(Some(PortVlans {
        vlan,
        native,
        trunk,
        preserve_default,
        native_in_trunk,
    }))
}

impl PortVlans {
    /// The name of the host's interface in the VLAN of `vlan`, on a bridge called
    /// `bridge`; `None` without `vlan`, where the bridge itself is that interface.
    ///
    /// It is upstream's, `<bridge>.<vlan>`, where that fits an interface name.
    pub(crate) fn gateway_name(&self, bridge: &str) -> Option<String> {
        (self.vlan != 0).then(|| names::interface(bridge, &format!(".{}", self.vlan)))
    }

    /// The VLANs of the bridge's end of that interface: `vlan` alone.
    pub(crate) fn of_gateway(&self) -> PortVlans {
        PortVlans {
            trunk: BTreeSet::new(),
            ..self.clone()
        }
    }

    /// The requests that make the new port `port` of `bridge` a member, each with the text
    /// that reports its failure.
    pub(crate) fn requests(&self, bridge: &Link, port: &Link) -> Vec<(String, Request<'static>)> {
        let mut requests = Vec::new();
        let mut ask = |what: &str, request: Request<'static>| {
            let text = format!("failed to {what} on interface {}", quote(&port.name));
            requests.push((text, request));
        };
        let Some(native) = self.native else {
            return requests;
        };
        // A new port is a member of the default VLAN only.
        let default = default_vlan(bridge).filter(|id| *id != native && !self.preserve_default);
        if let Some(id) = default {
            let del = Request::del_bridge_vlans(port.index, &[BridgeVlan::tagged(id)]);
            ask("remove default vlan", del);
        }
        let what = match self.vlan {
            0 => "setup default native vlan tag",
            _ => "setup vlan tag",
        };
        let add = |vlans: &[BridgeVlan]| Request::add_bridge_vlans(port.index, vlans);
        ask(what, add(&[BridgeVlan::native(native)]));
        if !self.trunk.is_empty() {
            ask("setup vlan tag", add(&trunk::ranges(&self.trunk)));
        }
        requests
    }

    /// How the memberships of a port of `bridge` differ from these, as a predicate whose
    /// subject is the port. The bridge's default VLAN is ignored: older releases of
    /// upstream leave ports in it.
    ///
    /// Of a port `of_upstream` the trunk is ignored too, which these releases do not know.
    pub(crate) fn difference(
        &self,
        bridge: &Link,
        present: &[PortVlan],
        of_upstream: bool,
    ) -> Option<String> {
        let native = self.native?;
        if of_upstream && (self.vlan == 0 || self.native_in_trunk) {
            return None;
        }
        let pvid = present.iter().find(|vlan| vlan.pvid).map(|vlan| vlan.id);
        if pvid != Some(native) {
            return Some(match pvid {
                Some(pvid) => format!("has the native vlan {pvid}, configured is {native}"),
                None => format!("has no native vlan, configured is {native}"),
            });
        }
        for vlan in present {
            let tagged = self.trunk.contains(&vlan.id);
            if vlan.id == native && !vlan.untagged {
                return Some(format!("has the native vlan {native} tagged"));
            }
            if tagged && vlan.untagged {
                return Some(format!("has vlan {} of its trunk untagged", vlan.id));
            }
            if vlan.id != native && !tagged && default_vlan(bridge) != Some(vlan.id) {
                return Some(format!("is in vlan {}, which is not configured", vlan.id));
            }
        }
        let is_there = |id: u16| present.iter().any(|vlan| vlan.id == id);
        let missing = self.trunk.iter().find(|id| !of_upstream && !is_there(**id));
        missing.map(|id| format!("is not in vlan {id} of its trunk"))
    }
}

fn info(bridge: &Link) -> BridgeInfo {
    match &bridge.info {
        KindInfo::Bridge(info) => info.clone(),
        _ => BridgeInfo::default(),
    }
}

/// The VLAN of new ports (`vlan_default_pvid`); `None` if the bridge has none.
fn default_vlan(bridge: &Link) -> Option<u16> {
    info(bridge).vlan_default_pvid.filter(|id| *id != 0)
}

/// Whether the bridge filters by VLAN.
pub(crate) fn is_filtering(bridge: &Link) -> bool {
    info(bridge).vlan_filtering == Some(true)
}

/// Refuses a bridge of a kernel without VLAN filtering.
pub(crate) fn require_support(bridge: &Link, code: Code) -> Result<(), Error> {
    match info(bridge).vlan_default_pvid {
        Some(_) => Ok(()),
        None => Err(unsupported(code)),
    }
}

/// The error of a kernel without VLAN filtering.
pub(crate) fn unsupported(code: Code) -> Error {
    Error::new(code, "the kernel does not filter by vlan on bridges").with_details(
        "it needs CONFIG_BRIDGE_VLAN_FILTERING; \
         without it, remove the keys \"vlan\" and \"vlanTrunk\"",
    )
}

/// Whether the bridge that ADD found does not filter by VLAN and has no port that
/// depends on that, so that ADD is to switch filtering on. Logs a warning if it has one:
/// upstream's ADD succeeds then, without isolation, and so does this project's.
///
/// # Errors
/// When the kernel cannot be asked.
pub(crate) fn may_filter(host: &Handle, bridge: &mut Link) -> anyhow::Result<bool> {
    if is_filtering(bridge) {
        return Ok(false);
    }
    let Some(port) = foreign_port(host, bridge)? else {
        return Ok(true);
    };
    // It may be the port of another first ADD, which has switched filtering on before.
    *bridge = host.link_by_index(bridge.index)?;
    if !is_filtering(bridge) {
        let error = not_filtering(bridge, &port);
        let _ = writeln!(std::io::stderr(), "{error}");
    }
    Ok(false)
}

/// Why the VLANs of `bridge` are not isolated.
fn not_filtering(bridge: &Link, port: &Link) -> Error {
    let name = &bridge.name;
    let msg = format!("bridge {name} does not filter by vlan, its vlans are not isolated");
    let details = format!(
        "it is not switched on because of its port {}, which is in no vlan of a container; \
         see ip link set {name} type bridge vlan_filtering 1",
        port.name
    );
    Error::new(Code::PLUGIN_NOT_AVAILABLE, msg).with_details(details)
}

/// Returns a port of the bridge that ADD has not prepared for VLANs: one that is not the
/// end of a veth pair, or is only in the VLAN of every new port.
fn foreign_port(host: &Handle, bridge: &Link) -> anyhow::Result<Option<Link>> {
    let default = default_vlan(bridge);
    for port in host.links_by_master(bridge.index)? {
        let vlans = host.bridge_vlans(port.index)?;
        let is_prepared = vlans.iter().any(|vlan| Some(vlan.id) != default);
        if !port.is_kind("veth") || !is_prepared {
            return Ok(Some(port));
        }
    }
    Ok(None)
}

/// STATUS: reports a bridge that would not isolate the VLANs of its containers.
///
/// # Errors
/// With code 50, for that, or for a kernel without VLANs on bridges.
pub(crate) fn probe(host: &Handle, bridge: &Link) -> anyhow::Result<()> {
    require_support(bridge, Code::PLUGIN_NOT_AVAILABLE)?;
    if is_filtering(bridge) {
        return Ok(());
    }
    match foreign_port(host, bridge)? {
        Some(port) => Err(not_filtering(bridge, &port).into()),
        None => Ok(()),
    }
}

/// Records that ADD succeeded on a bridge that does not filter, for CHECK.
pub(crate) fn record_unfiltered(bridge: &Link, record: &mut FilterRecord) {
    if !is_filtering(bridge) {
        record.set(TOPIC, &[UNFILTERED.to_owned()]);
    }
}

/// Whether the bridge did not filter when ADD returned.
pub(crate) fn was_unfiltered(record: &FilterRecord) -> bool {
    record.get(TOPIC).as_deref() == Some(&[UNFILTERED])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vlans(vlan: i64, trunk: &[(i64, i64)], preserve_default: bool) -> PortVlans {
        let element = |(min, max): &(i64, i64)| Some(TrunkElement::range(*min, *max));
        let trunk = trunk.iter().map(element).collect();
        let vlans = validated(vlan, Some(trunk), preserve_default);
        vlans.unwrap().expect("a trunk was given")
    }

    fn bridge(default: u16) -> Link {
        Link {
            info: KindInfo::Bridge(BridgeInfo {
                vlan_filtering: Some(true),
                vlan_default_pvid: Some(default),
            }),
            ..Link::default()
        }
    }

    /// Memberships as `bridge vlan` abbreviates them: `p` for PVID, `u` for untagged.
    fn members(list: &[(u16, &str)]) -> Vec<PortVlan> {
        let member = |(id, flags): &(u16, &str)| PortVlan {
            index: 7,
            id: *id,
            pvid: flags.contains('p'),
            untagged: flags.contains('u'),
        };
        list.iter().map(member).collect()
    }

    #[test]
    fn ids_in_range() {
        for (vlan, ok) in [
            (-1, false),
            (0, true),
            (4094, true),
            (4095, false),
            (i64::MIN, false),
        ] {
            let result = validated(vlan, None, false);
            let text = format!("invalid VLAN ID {vlan} (must be between 0 and 4094)");
            match result {
                Ok(_) => assert!(ok, "{vlan}"),
                Err(e) => assert_eq!((e.to_string(), ok), (text, false)),
            }
        }
        assert_eq!(validated(0, None, true), Ok(None));
    }

    #[test]
    fn the_native_vlan_is_not_tagged() {
        let plain = vlans(5, &[(4, 6)], false);
        assert_eq!(plain.native, Some(5));
        assert_eq!(plain.trunk, BTreeSet::from([4, 6]));
        let trunk = vlans(0, &[(1, 3)], false);
        assert_eq!(trunk.native, Some(1));
        assert_eq!(trunk.trunk, BTreeSet::from([2, 3]));
        assert_eq!(trunk.gateway_name("cni0"), None);
        let nothing = vlans(0, &[], false);
        assert_eq!(nothing.native, None);
        assert!(nothing.requests(&bridge(1), &Link::default()).is_empty());
    }

    #[test]
    fn requests_for_a_new_port() {
        let texts = |vlans: &PortVlans, default: u16| {
            let port = Link {
                name: "veth0".into(),
                ..Link::default()
            };
            let requests = vlans.requests(&bridge(default), &port).into_iter();
            requests.map(|(text, _)| text).collect::<Vec<_>>()
        };
        let remove = "failed to remove default vlan on interface \"veth0\"";
        let add = "failed to setup vlan tag on interface \"veth0\"";
        let native = "failed to setup default native vlan tag on interface \"veth0\"";
        assert_eq!(texts(&vlans(5, &[], false), 1), [remove, add]);
        assert_eq!(texts(&vlans(5, &[(7, 9)], false), 1), [remove, add, add]);
        assert_eq!(texts(&vlans(5, &[(7, 9)], true), 1), [add, add]);
        assert_eq!(texts(&vlans(5, &[], false), 5), [add]);
        assert_eq!(texts(&vlans(5, &[], false), 0), [add]);
        assert_eq!(texts(&vlans(0, &[(7, 9)], false), 7), [remove, native, add]);
        assert_eq!(
            texts(&vlans(5, &[(7, 9)], false).of_gateway(), 1),
            [remove, add]
        );
    }

    #[test]
    fn differences() {
        let trunk = vlans(5, &[(7, 8)], false);
        for (present, words) in [
            (&[(5, "pu"), (7, ""), (8, "")][..], None),
            (&[(1, "u"), (5, "pu"), (7, ""), (8, "")], None),
            (
                &[(5, "u"), (7, ""), (8, "")],
                Some("has no native vlan, configured is 5"),
            ),
            (
                &[(7, ""), (8, "")],
                Some("has no native vlan, configured is 5"),
            ),
            (
                &[(1, "pu"), (5, "u"), (7, ""), (8, "")],
                Some("has the native vlan 1, configured is 5"),
            ),
            (
                &[(5, "p"), (7, ""), (8, "")],
                Some("has the native vlan 5 tagged"),
            ),
            (
                &[(5, "pu"), (7, "u"), (8, "")],
                Some("has vlan 7 of its trunk untagged"),
            ),
            (&[(5, "pu"), (7, "")], Some("is not in vlan 8 of its trunk")),
            (
                &[(5, "pu"), (7, ""), (8, ""), (9, "")],
                Some("is in vlan 9, which is not configured"),
            ),
        ] {
            let difference = trunk.difference(&bridge(1), &members(present), false);
            assert_eq!(difference.as_deref(), words, "{present:?}");
        }
        let none = vlans(0, &[], false);
        assert_eq!(
            none.difference(&bridge(1), &members(&[(9, "pu")]), false),
            None
        );
    }

    #[test]
    fn differences_of_a_port_of_upstream() {
        let difference = |vlans: &PortVlans, present: &[(u16, &str)]| {
            vlans.difference(&bridge(1), &members(present), true)
        };
        let trunk = vlans(5, &[(7, 8)], false);
        assert_eq!(difference(&trunk, &[(1, "u"), (5, "pu")]), None);
        assert_eq!(difference(&trunk, &[(5, "pu"), (7, ""), (8, "")]), None);
        let drift = difference(&trunk, &[(1, "pu"), (7, ""), (8, "")]);
        let expected = "has the native vlan 1, configured is 5";
        assert_eq!(drift.as_deref(), Some(expected));
        let drift = difference(&trunk, &[(5, "pu"), (9, "")]);
        let expected = "is in vlan 9, which is not configured";
        assert_eq!(drift.as_deref(), Some(expected));
        // Upstream's newer releases tag a native VLAN that the trunk lists.
        assert_eq!(
            difference(&vlans(5, &[(5, 6)], false), &[(5, ""), (6, "")]),
            None
        );
        assert_eq!(difference(&vlans(0, &[(7, 8)], false), &[(1, "pu")]), None);
    }

    #[test]
    fn a_kernel_without_vlan_filtering_is_refused() {
        assert!(require_support(&bridge(0), Code::INTERNAL).is_ok());
        let old = Link {
            info: KindInfo::Bridge(BridgeInfo {
                vlan_filtering: Some(false),
                vlan_default_pvid: None,
            }),
            ..Link::default()
        };
        assert!(require_support(&old, Code::INTERNAL).is_err());
        assert!(is_filtering(&bridge(1)) && !is_filtering(&old));
    }

    #[test]
    fn gateway_names_are_shortened_to_fit() {
        let vlans = vlans(4094, &[], false);
        assert_eq!(vlans.gateway_name("cni0").as_deref(), Some("cni0.4094"));
        let shortened = vlans.gateway_name("eleven-lett");
        assert_eq!(shortened.as_deref(), Some("elevce9d3e.4094"));
    }
}
