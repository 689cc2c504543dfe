//! GC, which needs only the network's name and the valid attachments.

use std::fs;

use serde_json::{Value, json};
use testkit::Host;

use crate::common::{backends, config, portmap, rules_of};

#[test]
fn gc_removes_what_is_not_valid() {
    for keys in backends() {
        for forgotten in [false, true] {
            let host = Host::new();
            let mut address = 10;
            let mut add = |name: &str, id: &str| {
                let container = host
                    .try_container(id)
                    .unwrap_or_else(|_| host.container(&format!("{id}x")));
                address += 1;
                let mapping = json!([
                    {"hostPort": 8000 + address, "containerPort": 80, "protocol": "tcp"},
                    {"hostPort": 8000 + address, "containerPort": 80, "protocol": "udp"},
                ]);
                let mut config = config(&container, &mapping, &keys);
                config["name"] = name.into();
                config["cniVersion"] = "1.1.0".into();
                config["prevResult"] = json!({
                    "cniVersion": "1.1.0",
                    "ips": [
                        {"address": format!("10.1.0.{address}/24")},
                        {"address": format!("fd00:1::{address}/64")},
                    ],
                });
                let call = portmap().command("ADD").container(&container).id(id);
                call.config(&config).run().expect_ok();
                config
            };
            let mut base = add("net", "c1");
            add("net", "c2");
            add("other", "c3");
            add("other", "c1");
            if forgotten {
                fs::remove_dir_all("/run/cni").unwrap();
            }
            let there = |addresses: [u8; 4]| {
                addresses.map(|n| {
                    !rules_of(&host, &format!("10.1.0.{n}")).is_empty()
                        && !rules_of(&host, &format!("fd00:1::{n}")).is_empty()
                })
            };
            let all = [11, 12, 13, 14];
            // Without the key nothing is stale.
            base.as_object_mut()
                .unwrap()
                .remove("cni.dev/valid-attachments");
            portmap().gc(&base).expect_ok();
            assert_eq!(there(all), [true; 4]);
            base["cni.dev/valid-attachments"] = json!([{"containerID": "c2", "ifname": "eth0"}]);
            base["runtimeConfig"] = Value::Null;
            for _ in 0..2 {
                portmap().gc(&base).expect_ok();
                assert_eq!(there(all), [false, true, true, true], "{keys} {forgotten}");
            }
            base["cni.dev/valid-attachments"] = json!([]);
            portmap().gc(&base).expect_ok();
            base["name"] = "other".into();
            portmap().gc(&base).expect_ok();
            assert_eq!(there(all), [false; 4], "{keys} {forgotten}");
            assert!(!fs::exists("/run/cni/portmap").unwrap());
        }
    }
}
