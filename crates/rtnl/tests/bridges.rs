//! Bridges, their options and ports, compared with `ip -j` and `bridge -j`.
#![allow(clippy::unwrap_used)]

use rtnl::*;
use serde_json::json as value;
use testkit::namespace::{in_namespace, ip_link, json, run};

#[test]
fn masters_and_dump_filters() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        run("ip link add br0 type bridge");
        run("ip link add br1 type bridge");
        let br0 = handle.link_by_name("br0").unwrap().index;
        for (name, master) in [("a", "br0"), ("b", "br0"), ("c", "br1")] {
            run(&format!(
                "ip link add {name}0 master {master} type veth peer name {name}1"
            ));
        }
        let mut names: Vec<String> = handle
            .links_by_master(br0)
            .unwrap()
            .into_iter()
            .map(|link| link.name)
            .collect();
        names.sort();
        assert_eq!(names, ["a0", "b0"]);
        assert_eq!(handle.links_by_kind("veth").unwrap().len(), 6);
        assert_eq!(handle.links_by_kind("nonsense").unwrap(), []);
        let links = handle.links().unwrap();
        assert_eq!(links.len(), json("ip -j link").len());
        for link in &links {
            assert_eq!(*link, handle.link_by_index(link.index).unwrap());
        }

        let a0 = handle.link_by_name("a0").unwrap();
        let leave = LinkChange {
            master: Some(0),
            ..LinkChange::default()
        };
        assert_eq!(a0.master, Some(br0));
        handle.request(Request::set_link(a0.index, &leave)).unwrap();
        assert_eq!(handle.link_by_name("a0").unwrap().master, None);
        assert_eq!(ip_link("a0")["master"], value!(null));
    });
}

#[test]
fn bridge_ports_take_options() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        run("ip link add br0 type bridge");
        run("ip link add v0 master br0 type veth peer name v1");
        let port = handle.link_by_name("v0").unwrap();
        assert_eq!(
            port.port,
            Some(PortInfo {
                isolated: Some(false),
                ..PortInfo::default()
            })
        );
        let change = PortChange {
            hairpin: Some(true),
            isolated: Some(true),
        };
        handle
            .request(Request::set_bridge_port(port.index, &change))
            .unwrap();
        let seen = &json("bridge -j -d link show dev v0")[0];
        for key in ["hairpin", "isolated"] {
            assert_eq!(seen[key], true, "{key}");
        }
        assert_eq!(
            handle.link_by_name("v0").unwrap().port,
            Some(PortInfo {
                hairpin: true,
                isolated: Some(true),
            })
        );
        let other = handle.link_by_name("v1").unwrap();
        assert_eq!(other.port, None);
        let error = handle.request(Request::set_bridge_port(other.index, &change));
        assert!(error.is_err());
    });
}

/// Port options can be set in the batch that attaches the link to the bridge.
#[test]
fn joining_and_port_options_in_one_batch() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        run("ip link add br0 type bridge");
        run("ip link add v0 type veth peer name v1");
        let master = handle.link_by_name("br0").unwrap().index;
        let index = handle.link_by_name("v0").unwrap().index;
        let join = LinkChange {
            master: Some(master),
            up: Some(true),
            ..LinkChange::default()
        };
        let options = PortChange {
            hairpin: Some(true),
            ..PortChange::default()
        };
        let results = handle.batch(vec![
            Request::set_link(index, &join),
            Request::set_bridge_port(index, &options),
        ]);
        for result in results {
            result.unwrap();
        }
        let port = handle.link_by_index(index).unwrap().port.unwrap();
        assert!(port.hairpin);
    });
}

#[test]
fn a_bridge_takes_options() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        let spec = LinkSpec {
            mtu: Some(9000),
            mac: Some(vec![2, 0, 0, 0, 0, 3]),
            ..LinkSpec::new(
                "br0",
                LinkKind::Bridge(Bridge {
                    ageing_time: Some(1000),
                    ..Bridge::default()
                }),
            )
        };
        handle.request(Request::new_link(&spec)).unwrap();
        let seen = ip_link("br0");
        assert_eq!(seen["mtu"], 9000);
        assert_eq!(seen["address"], "02:00:00:00:00:03");
        assert_eq!(seen["linkinfo"]["info_data"]["ageing_time"], 1000);
        let link = handle.link_by_name("br0").unwrap();
        assert!(matches!(link.info, KindInfo::Bridge(_)));
    });
}
