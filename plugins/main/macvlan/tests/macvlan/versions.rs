//! Every version of the specification, the printed text byte for byte.

use crate::common::{host, layer2, macvlan};
use serde_json::json;
use testkit::{VERSIONS, dual_stack, single_interface_in_every_version};

#[test]
fn addresses_of_both_families() {
    let (host, _router) = host();
    let config = layer2(json!({
        "ipam": dual_stack(),
        "dns": {"nameservers": ["10.1.0.53"], "search": ["example.org"]},
    }));
    single_interface_in_every_version(&host, &macvlan(), &config);
}

#[test]
fn layer_2() {
    let (host, _router) = host();
    for version in VERSIONS {
        let container = host.container("c1");
        let config = layer2(json!({"cniVersion": version}));
        let before = host.snapshot();
        let run = macvlan().add(&container, &config);
        if version < "0.3.0" {
            run.expect_error(999)
                .mentions("cannot convert: no valid IP addresses");
            before.assert_same(&host.snapshot());
        } else {
            let run = run.expect_ok();
            let mtu = run.json()["interfaces"][0]["mtu"].clone();
            assert_eq!(mtu.is_null(), version != "1.1.0", "{version}");
            if version >= "0.4.0" {
                macvlan().check(&container, &run.with_prev()).expect_ok();
            }
            macvlan().del(&container, &config).expect_ok();
        }
        container.delete();
    }
}
