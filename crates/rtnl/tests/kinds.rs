//! Kinds of links and options that many kernels lack: dummy, vlan, ipvlan, vrf, bridge
//! VLAN filtering.
#![allow(clippy::unwrap_used)]

use rtnl::*;
use serde_json::json as value;
use testkit::namespace::{Namespace, in_namespace, ip_link, json, run};
use testkit::needs;

fn create(handle: &Handle, spec: &LinkSpec<'_>) {
    handle.request(Request::new_link(spec)).unwrap();
}

#[test]
fn dummy() {
    needs(&["dummy"]);
    in_namespace(|| {
        let container = Namespace::default();
        let handle = Handle::open().unwrap();
        let spec = LinkSpec {
            netns: Some(container.fd()),
            up: true,
            ..LinkSpec::new("d0", LinkKind::Dummy)
        };
        create(&handle, &spec);
        container.run(|| {
            let seen = ip_link("d0");
            assert_eq!(seen["linkinfo"]["info_kind"], "dummy");
            assert!(seen["flags"].as_array().unwrap().contains(&value!("UP")));
        });
    });
}

#[test]
fn vlan() {
    needs(&["dummy", "vlan"]);
    in_namespace(|| {
        let container = Namespace::default();
        let handle = Handle::open().unwrap();
        create(&handle, &LinkSpec::new("d0", LinkKind::Dummy));
        let parent = handle.link_by_name("d0").unwrap().index;
        for (name, id, protocol, words) in [
            ("v5", 5, None, "802.1Q"),
            ("v0", 0, Some(VlanProtocol::Dot1Q), "802.1Q"),
            ("v4094", 4094, Some(VlanProtocol::Dot1Ad), "802.1ad"),
        ] {
            let spec = LinkSpec {
                link: Some(parent),
                netns: Some(container.fd()),
                ..LinkSpec::new(name, LinkKind::Vlan(Vlan { id, protocol }))
            };
            create(&handle, &spec);
            container.run(|| {
                let data = &ip_link(name)["linkinfo"]["info_data"];
                assert_eq!(data["id"], id);
                assert_eq!(data["protocol"], words);
                let link = Handle::open().unwrap().link_by_name(name).unwrap();
                let KindInfo::Vlan(info) = link.info else {
                    panic!()
                };
                let expected = protocol.unwrap_or(VlanProtocol::Dot1Q);
                assert_eq!((info.id, info.protocol), (id, Some(expected)));
                assert_eq!(link.link, Some(parent));
            });
        }
        let spec = LinkSpec {
            link: Some(parent),
            ..LinkSpec::new(
                "bad",
                LinkKind::Vlan(Vlan {
                    id: 4095,
                    protocol: None,
                }),
            )
        };
        let error = handle.request(Request::new_link(&spec)).err().unwrap();
        let text = error.to_string();
        assert!(
            text.starts_with("numerical result out of range: "),
            "{text}"
        );
        assert!(error.ext_ack().ends_with("Invalid VLAN id"), "{text}");
    });
}

#[test]
fn ipvlan() {
    needs(&["dummy", "ipvlan"]);
    in_namespace(|| {
        let container = Namespace::default();
        let handle = Handle::open().unwrap();
        for (number, (mode, words)) in [
            (IpvlanMode::L2, "l2"),
            (IpvlanMode::L3, "l3"),
            (IpvlanMode::L3s, "l3s"),
        ]
        .into_iter()
        .enumerate()
        {
            let flag = [IpvlanFlag::Bridge, IpvlanFlag::Private, IpvlanFlag::Vepa][number];
            // All ipvlan links of one lower link share the mode.
            let parent = format!("d{number}");
            create(&handle, &LinkSpec::new(parent.as_str(), LinkKind::Dummy));
            let parent = handle.link_by_name(&parent).unwrap().index;
            let spec = LinkSpec {
                link: Some(parent),
                netns: Some(container.fd()),
                mtu: Some(1400),
                ..LinkSpec::new(
                    words,
                    LinkKind::Ipvlan(Ipvlan {
                        mode: Some(mode),
                        flag: Some(flag),
                    }),
                )
            };
            create(&handle, &spec);
            container.run(|| {
                let seen = ip_link(words);
                assert_eq!(seen["mtu"], 1400);
                assert_eq!(seen["linkinfo"]["info_data"]["mode"], words);
                let link = Handle::open().unwrap().link_by_name(words).unwrap();
                let expected = IpvlanInfo {
                    mode: Some(mode),
                    flag: Some(flag),
                };
                assert_eq!(link.info, KindInfo::Ipvlan(expected));
            });
        }
    });
}

#[test]
fn vrf() {
    needs(&["dummy", "vrf"]);
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        let spec = LinkSpec {
            up: true,
            ..LinkSpec::new("vrf0", LinkKind::Vrf(Vrf { table: 70_000 }))
        };
        create(&handle, &spec);
        assert_eq!(ip_link("vrf0")["linkinfo"]["info_data"]["table"], 70_000);
        let vrf = handle.link_by_name("vrf0").unwrap();
        assert_eq!(vrf.info, KindInfo::Vrf(VrfInfo { table: 70_000 }));
        let spec = LinkSpec {
            master: Some(vrf.index),
            ..LinkSpec::new("d0", LinkKind::Dummy)
        };
        create(&handle, &spec);
        assert_eq!(handle.links_by_master(vrf.index).unwrap().len(), 1);
        assert_eq!(ip_link("d0")["master"], "vrf0");
        let joined = handle.link_by_name("d0").unwrap();
        assert_eq!((joined.master, joined.port), (Some(vrf.index), None));
    });
}

/// The VLANs of a port as `bridge vlan` prints them, ranges expanded.
fn vlans_by_iproute2(port: &str) -> Vec<(u64, bool, bool)> {
    let list = json(&format!("bridge -j vlan show dev {port}"));
    let Some(port) = list.first() else {
        return Vec::new();
    };
    let mut vlans = Vec::new();
    for vlan in port["vlans"].as_array().unwrap() {
        let has = |flag: &str| {
            let flags = vlan["flags"].as_array();
            flags.is_some_and(|flags| flags.contains(&value!(flag)))
        };
        let first = vlan["vlan"].as_u64().unwrap();
        let last = vlan["vlanEnd"].as_u64().unwrap_or(first);
        for id in first..=last {
            vlans.push((id, has("PVID"), has("Egress Untagged")));
        }
    }
    vlans
}

fn listed(handle: &Handle, index: u32) -> Vec<(u64, bool, bool)> {
    let vlans = handle.bridge_vlans(index).unwrap();
    vlans
        .iter()
        .map(|vlan| (u64::from(vlan.id), vlan.pvid, vlan.untagged))
        .collect()
}

#[test]
fn vlans_of_bridge_ports() {
    needs(&["bridge-vlan-filtering"]);
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        let bridge = Bridge {
            vlan_filtering: Some(true),
            ..Bridge::default()
        };
        create(&handle, &LinkSpec::new("br0", LinkKind::Bridge(bridge)));
        let bridge = handle.link_by_name("br0").unwrap();
        let KindInfo::Bridge(info) = &bridge.info else {
            panic!()
        };
        assert_eq!(info.vlan_filtering, Some(true));
        assert_eq!(info.vlan_default_pvid, Some(1));
        run("ip link add a0 master br0 type veth peer name a1");
        run("ip link add b0 master br0 type veth peer name b1");
        let port = handle.link_by_name("a0").unwrap().index;
        assert_eq!(listed(&handle, port), [(1, true, true)]);

        let add = Request::add_bridge_vlans(
            port,
            &[
                BridgeVlan::native(5),
                BridgeVlan::tagged(7),
                BridgeVlan::range(100, 299),
            ],
        );
        let results = handle.batch(vec![
            Request::del_bridge_vlans(port, &[BridgeVlan::tagged(1)]),
            add,
        ]);
        for result in results {
            result.unwrap();
        }
        let vlans = listed(&handle, port);
        assert_eq!(vlans, vlans_by_iproute2("a0"));
        assert_eq!(vlans.len(), 202);
        assert_eq!(
            vlans[..3],
            [(5, true, true), (7, false, false), (100, false, false)]
        );
        let other = handle.link_by_name("b0").unwrap().index;
        assert_eq!(listed(&handle, other), [(1, true, true)]);

        let all: Vec<BridgeVlan> = (1..=4094).map(BridgeVlan::tagged).collect();
        handle
            .request(Request::add_bridge_vlans(other, &all))
            .unwrap();
        assert_eq!(listed(&handle, other).len(), 4094);
        assert_eq!(listed(&handle, other), vlans_by_iproute2("b0"));
        handle
            .request(Request::del_bridge_vlans(other, &all))
            .unwrap();
        assert_eq!(listed(&handle, other), []);

        run("bridge vlan add vid 7 dev br0 self");
        assert_eq!(
            listed(&handle, bridge.index),
            [(1, true, true), (7, false, false)]
        );
        assert_eq!(listed(&handle, bridge.index), vlans_by_iproute2("br0"));

        let bad = Request::add_bridge_vlans(port, &[BridgeVlan::tagged(4095)]);
        assert!(handle.request(bad).is_err());
        let no_port = handle.link_by_name("a1").unwrap().index;
        assert_eq!(listed(&handle, no_port), []);
    });
}

#[test]
fn a_bridge_without_default_vlan() {
    needs(&["bridge-vlan-filtering"]);
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        let bridge = Bridge {
            vlan_filtering: Some(true),
            vlan_default_pvid: Some(0),
            ..Bridge::default()
        };
        create(&handle, &LinkSpec::new("br0", LinkKind::Bridge(bridge)));
        run("ip link add a0 master br0 type veth peer name a1");
        let port = handle.link_by_name("a0").unwrap().index;
        assert_eq!(listed(&handle, port), []);
        assert_eq!(vlans_by_iproute2("a0"), []);
    });
}
