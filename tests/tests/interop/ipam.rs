//! Cases of the IPAM plugins that keep no process: host-local and static.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use testkit::merge;

use crate::difference::Difference;
use crate::differences::*;
use crate::exchange::{Case, VERSIONS};
use crate::site::{self, Site};

fn ipam(name: &str, extra: Value) -> Value {
    let ipam = merge(json!({"type": name}), &extra);
    json!({"type": name, "ipam": ipam})
}

static LEASES: &[&Difference] = &[&FILE_MODES, &NOTES, &EMPTY_DNS];

fn host_local(extra: Value) -> Value {
    ipam("host-local", extra)
}

#[test]
fn host_local_in_every_version() {
    for keys in [
        json!({"subnet": "10.1.0.0/24", "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.9.0.0/16", "gw": "10.1.0.9"}]}),
        json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]], "routes": [{"dst": "::/0"}]}),
    ] {
        Case::new(host_local(keys))
            .versions(VERSIONS)
            .expect(LEASES)
            .run();
    }
}

#[test]
fn host_local_ranges() {
    for keys in [
        json!({"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.20", "rangeEnd": "10.1.0.30", "gateway": "10.1.0.254"}),
        json!({"ranges": [[{"subnet": "10.1.0.0/30"}, {"subnet": "10.2.0.0/24", "rangeStart": "10.2.0.5"}]]}),
        json!({"ranges": [[{"subnet": "10.1.0.0/24", "rangeEnd": "10.1.0.9"}], [{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10"}]]}),
        json!({"subnet": "fd00:1::/126"}),
        json!({"subnet": "10.1.0.0/24", "dataDir": "/run/leases"}),
    ] {
        Case::new(host_local(keys)).expect(LEASES).run();
    }
}

/// Resolver settings, and a last reserved address at the end of the range.
fn with_files() -> Site {
    let site = site::bare();
    site.host.write(
        "resolv.conf",
        "# comment\nnameserver 10.1.0.53\nnameserver fd00:1::53\ndomain a.example\nsearch b.example c.example\noptions ndots:5 rotate\n",
    );
    fs::create_dir_all("/var/lib/cni/networks/net").expect("create the directory");
    let file = "/var/lib/cni/networks/net/last_reserved_ip.0";
    fs::write(file, "10.1.0.254").expect("write the file");
    // As of the implementations, which keep the mode or not.
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("change the mode");
    site
}

#[test]
fn host_local_files() {
    let keys = json!({"subnet": "10.1.0.0/24", "resolvConf": "/run/testkit/resolv.conf"});
    Case::new(host_local(keys))
        .at(with_files)
        .versions(VERSIONS)
        .expect(&[&FILE_MODES, &NOTES])
        .run();
}

#[test]
fn host_local_requested_addresses() {
    let config =
        host_local(json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]}));
    Case::new(config.clone())
        .args("IP=10.1.0.77;IgnoreUnknown=1")
        .expect(LEASES)
        .run();
    for keys in [
        json!({"runtimeConfig": {"ips": ["10.1.0.78/24", "fd00:1::78"]}}),
        json!({"args": {"cni": {"ips": ["fd00:1::79"]}}}),
        json!({"runtimeConfig": {"ipRanges": [[{"subnet": "10.7.0.0/24"}]]}}),
    ] {
        Case::new(merge(config.clone(), &keys)).expect(LEASES).run();
    }
}

#[test]
fn static_addresses() {
    let addresses =
        json!([{"address": "10.1.0.5/24", "gateway": "10.1.0.1"}, {"address": "fd00:1::5/64"}]);
    let keys = json!({
        "addresses": addresses, "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "fd00:1::1"}],
        "dns": {"nameservers": ["10.1.0.53"], "domain": "a.example", "search": ["b.example"], "options": ["ndots:5"]},
    });
    Case::new(ipam("static", keys.clone()))
        .versions(VERSIONS)
        .run();
    let config = ipam("static", keys);
    for keys in [
        json!({"runtimeConfig": {"ips": ["10.1.0.6/24"]}}),
        json!({"args": {"cni": {"ips": ["10.1.0.7/24", "fd00:1::7/64"]}}}),
    ] {
        Case::new(merge(config.clone(), &keys)).run();
    }
    let config = ipam("static", json!({"routes": [{"dst": "0.0.0.0/0"}]}));
    Case::new(config)
        .args("IP=10.1.0.8/24,fd00:1::8/64;GATEWAY=10.1.0.1,fd00:1::1")
        .expect(&[&EMPTY_DNS])
        .run();
}
