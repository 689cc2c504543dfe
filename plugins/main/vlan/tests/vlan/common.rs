//! The plugin under test.

use testkit::Node;
use testkit::single_interface::Subject;

/// VLAN 5 of the master. The router has 10.1.0.1 and fd00:1::1 in it, and 10.6.0.1 in VLAN 6.
pub(crate) const VLAN: Subject = Subject {
    name: "vlan",
    needs: &["vlan"],
    keys: r#"{"master": "m0", "vlanId": 5}"#,
    prefix: "vlan: ",
    lower_case: false,
    router: Some(|router| {
        router.ip_batch(&[
            "link add eth0.5 up link eth0 type vlan id 5",
            "link add eth0.6 up link eth0 type vlan id 6",
            "addr add 10.1.0.1/24 dev eth0.5",
            "addr add fd00:1::1/64 dev eth0.5 nodad",
            "addr add 10.6.0.1/24 dev eth0.6",
        ]);
    }),
};
