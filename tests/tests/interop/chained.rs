//! Cases of the plugins that change what others have made in the container: tuning, sbr, vrf; and a whole list.

use serde_json::{Value, json};
use testkit::{merge, needs};

use crate::difference::Difference;
use crate::differences::*;
use crate::exchange::{Case, TWO};
use crate::side::peer_is_new;
use crate::site;

static TUNING: &[&Difference] = &[&TUNING_DIRECTORY, &TUNING_RECORD, &TUNING_GC];

#[test]
fn tuning() {
    let tuning = |keys| Case::new(merge(json!({"type": "tuning"}), &keys)).at(site::bridged);
    let keys = json!({"mac": "02:00:00:00:00:0a", "mtu": 1400, "promisc": true, "allmulti": true});
    let case = tuning(keys).versions(TWO).expect(TUNING);
    case.expect(&[&MTU_IN_RESULT]).run();
    for keys in [
        json!({"runtimeConfig": {"mac": "02:00:00:00:00:0b"}, "allmulti": false}),
        json!({"mtu": 1400, "sysctl": {"net.core.somaxconn": "500", "net/ipv4/ip_forward": "1"}}),
    ] {
        let of_mtu: &[&Difference] = if keys.get("mtu").is_some() {
            &[&MTU_IN_RESULT]
        } else {
            &[]
        };
        tuning(keys).expect(TUNING).expect(of_mtu).run();
    }
    let keys =
        json!({"sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}, "args": {"cni": {"mtu": 1300}}});
    let case = tuning(keys).expect(TUNING);
    case.expect(&[&MTU_IN_RESULT, &TUNING_CHECK]).run();
    let case = tuning(json!({}));
    case.args("MAC=02:00:00:00:00:0c").expect(TUNING).run();
}

#[test]
fn sbr() {
    let config = json!({"type": "sbr"});
    Case::new(config.clone())
        .at(site::bridged_ipv4)
        .versions(TWO)
        .expect(&[&RECORDS, &SBR_MAIN])
        .run();
    let case = Case::new(config).at(site::bridged);
    case.expect(&[&RECORDS, &SBR_FAMILIES, &SBR_MAIN]).run();
    if peer_is_new() {
        let case = Case::new(json!({"type": "sbr", "table": 1001})).at(site::bridged);
        case.expect(&[&RECORDS]).run();
    }
}

#[test]
fn vrf() {
    needs(&["vrf"]);
    for keys in [json!({}), json!({"table": 1001})] {
        let config = merge(json!({"type": "vrf", "vrfname": "blue"}), &keys);
        let case = Case::new(config).at(site::bridged).versions(TWO);
        case.expect(&[&VRF_OWNER, &VRF_QUEUE, &VRF_ROUTES, &VRF_ADDRESSES])
            .run();
    }
}

/// What a node of Kubernetes has.
#[test]
fn a_whole_list() {
    let bridge: Value = json!({
        "type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true,
        "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"},
    });
    let list = vec![
        bridge,
        json!({
            "type": "portmap", "capabilities": {"portMappings": true},
            "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]},
        }),
        json!({"type": "firewall"}),
        json!({
            "type": "bandwidth", "ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 16_000_000,
            "egressBurst": 1_600_000,
        }),
        json!({"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}, "mtu": 1400}),
    ];
    let case = Case::chain(list).versions(TWO).expect(TUNING).expect(&[
        &TX_QUEUE,
        &PAIR_ALIAS,
        &MTU_IN_RESULT,
        &NDISC_NOTIFY,
        &FILE_MODES,
        &NOTES,
        &EMPTY_DNS,
        &RECORDS,
        &PORTMAP_CHECK,
        &IP6TABLES_TABLE,
        &SHAPING_ACTION,
        &SHAPING_ALIAS,
    ]);
    case.run();
}
