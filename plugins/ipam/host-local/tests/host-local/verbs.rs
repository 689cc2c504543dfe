//! The five verbs, as a runtime calls them.

use std::fs;

use crate::common::{Net, call, ours};
use serde_json::{Value, json};

fn dual_stack() -> Value {
    json!({
        "ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "2001:db8:1::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "2001:db8:1::9"}],
    })
}

#[test]
fn results_have_the_shape_of_every_version() {
    for version in ["1.1.0", "1.0.0"] {
        let net = Net::of_version(version, dual_stack());
        let expected = json!({
            "cniVersion": version,
            "ips": [
                {"address": "10.1.2.2/24", "gateway": "10.1.2.1"},
                {"address": "2001:db8:1::2/64", "gateway": "2001:db8:1::1"},
            ],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "2001:db8:1::9"}],
        });
        assert_eq!(net.run("ADD", "a").expect_ok().json(), expected);
    }
    for version in ["0.4.0", "0.3.1", "0.3.0"] {
        let net = Net::of_version(version, dual_stack());
        let result = net.run("ADD", "a").expect_ok().json();
        assert_eq!(result["ips"][0]["version"], "4");
        assert_eq!(result["ips"][1]["version"], "6");
        assert_eq!(result["ips"][1]["address"], "2001:db8:1::2/64");
    }
    for version in ["0.2.0", "0.1.0", ""] {
        let net = Net::of_version(version, dual_stack());
        let result = net.run("ADD", "a").expect_ok().json();
        assert_eq!(result["ip4"]["ip"], "10.1.2.2/24");
        assert_eq!(result["ip4"]["routes"], json!([{"dst": "0.0.0.0/0"}]));
        assert_eq!(result["ip6"]["gateway"], "2001:db8:1::1");
    }
}

#[test]
fn the_resolver_file_is_returned_as_dns() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("resolv.conf");
    fs::write(
        &path,
        "nameserver 192.0.2.3\nsearch a b\nsearch c\noptions x\n",
    )
    .unwrap();
    let mut net = Net::new(json!({"subnet": "10.1.2.0/24", "resolvConf": path.to_str()}));
    assert_eq!(
        net.run("ADD", "a").expect_ok().json()["dns"],
        json!({"nameservers": ["192.0.2.3"], "search": ["a", "b", "c"], "options": ["x"]})
    );
    // The file is read before an address is reserved.
    net.conf["ipam"]["resolvConf"] = "/nonexistent/resolv.conf".into();
    let error = net.add_error("b");
    assert_eq!(
        error,
        "open /nonexistent/resolv.conf: no such file or directory"
    );
    assert_eq!(net.reserved().len(), 1);
}

#[test]
fn addresses_are_allocated_round_robin() {
    let net = Net::new(json!({"subnet": "10.1.2.0/29"}));
    for (id, ip) in [("a", "10.1.2.2"), ("b", "10.1.2.3"), ("c", "10.1.2.4")] {
        assert_eq!(net.add(id), [ip]);
        assert_eq!(
            fs::read_to_string(net.dir().join("last_reserved_ip.0")).unwrap(),
            ip
        );
    }
    net.del("a");
    // A repeated DEL and a DEL without an ADD succeed.
    net.del("a");
    net.del("never");
    assert_eq!(net.add("d"), ["10.1.2.5"]);
    assert_eq!(net.add("e"), ["10.1.2.6"]);
    assert_eq!(net.add("f"), ["10.1.2.2"]);
    assert_eq!(
        net.add_error("g"),
        "failed to allocate for range 0: no IP addresses available in range set: 10.1.2.1-10.1.2.6; \
         5 of 5 addresses are held by 5 containers, e.g. f (1), b (1), c (1)"
    );
    // The last reserved address is tried last, not skipped.
    net.del("f");
    assert_eq!(net.add("g"), ["10.1.2.2"]);
    assert_eq!(
        net.add_error("g"),
        "failed to allocate for range 0: 10.1.2.2 has been allocated to g, duplicate allocation is not allowed"
    );
    // Another interface of the same container is another attachment.
    net.del("b");
    let run = call(&ours(), "ADD", "g", &net.conf)
        .ifname("eth1")
        .run()
        .expect_ok();
    assert_eq!(crate::common::addresses(&run.json()), ["10.1.2.3"]);
}

#[test]
fn addresses_are_requested_in_three_ways() {
    let mut net = Net::new(json!({
        "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}], [{"subnet": "10.3.0.0/24"}]],
    }));
    net.conf["args"] = json!({"cni": {"ips": ["10.2.0.22/16"]}});
    net.conf["runtimeConfig"] = json!({"ips": ["10.3.0.33"]});
    let add =
        |net: &Net, id: &str, args: &str| call(&ours(), "ADD", id, &net.conf).args(args).run();
    let run = add(&net, "a", "IgnoreUnknown=1;K8S_POD_NAME=x;IP=10.1.0.11").expect_ok();
    let cidrs: Vec<Value> = run.json()["ips"]
        .as_array()
        .unwrap()
        .iter()
        .map(|ip| ip["address"].clone())
        .collect();
    assert_eq!(cidrs, ["10.1.0.11/24", "10.2.0.22/24", "10.3.0.33/24"]);
    // The address is taken, and that of the first set is freed.
    let error = add(&net, "b", "IP=10.1.0.12").expect_error(999).text();
    assert_eq!(
        error,
        "failed to allocate for range 1: requested IP address 10.2.0.22 is not available in range set \
         10.2.0.1-10.2.0.254"
    );
    assert_eq!(net.reserved().len(), 3);
    net.conf["args"] = json!({});
    net.conf["runtimeConfig"] = json!({"ips": ["10.9.0.1", "10.8.0.1"]});
    let error = add(&net, "b", "").expect_error(999).text();
    assert_eq!(
        error,
        "failed to allocate all requested IPs: 10.9.0.1 10.8.0.1; each range set provides one address; the range sets \
         are 10.1.0.1-10.1.0.254 and 10.2.0.1-10.2.0.254 and 10.3.0.1-10.3.0.254"
    );
    assert_eq!(net.reserved().len(), 3);
    let error = add(&net, "b", "IP=10.1.0.12;X=1").expect_error(999).text();
    assert_eq!(error, r#"ARGS: unknown args ["X=1"]"#);
}

#[test]
fn ranges_of_the_runtime_are_used() {
    let mut net = Net::new(json!({"ranges": [[{"subnet": "10.2.0.0/24"}]]}));
    net.conf["runtimeConfig"] = json!({"ipRanges": [[{"subnet": "10.1.0.0/24"}]]});
    assert_eq!(net.add("a"), ["10.1.0.2", "10.2.0.2"]);
    let last = fs::read_to_string(net.dir().join("last_reserved_ip.0")).unwrap();
    assert_eq!(last, "10.1.0.2");
}

#[test]
fn bad_configurations_change_nothing() {
    for (ipam, expected) in [
        (json!({}), "no IP ranges specified"),
        (
            json!({"subnet": "10.1.2.0/31"}),
            "invalid range set 0: Network 10.1.2.0/31 too small to allocate from",
        ),
        (
            json!({"ranges": [[{"subnet": "10.1.2.0/24"}, {"subnet": "10.1.2.128/25"}]]}),
            "invalid range set 0: subnets 10.1.2.1-10.1.2.254 and 10.1.2.129-10.1.2.254 overlap",
        ),
        (
            json!({"ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "10.1.0.0/16"}]]}),
            "range set 0 overlaps with 1",
        ),
        (
            json!({"subnet": "10.1.2.0/24", "gateway": "fd00::1"}),
            "invalid range set 0: gateway fd00::1 and network 10.1.2.0/24 are of different address families",
        ),
        (
            json!({"subnet": "10.1.2.0/24", "rangeStart": "10.1.3.1"}),
            "invalid range set 0: RangeStart 10.1.3.1 not in network 10.1.2.0/24",
        ),
        (
            json!({"subnet": "10.1.2.0"}),
            "ipam.subnet: invalid CIDR address: 10.1.2.0",
        ),
        (
            json!({"ranges": 7}),
            "ipam.ranges: expected an array, got number",
        ),
    ] {
        let net = Net::new(ipam);
        assert_eq!(net.add_error("a"), expected);
        assert!(!net.data_dir.exists());
    }
}

#[test]
fn del_needs_no_valid_ranges() {
    let mut net = Net::new(json!({"subnet": "10.1.2.0/24"}));
    net.add("a");
    net.conf["ipam"]["subnet"] = "nonsense".into();
    net.conf["runtimeConfig"] = json!(7);
    call(&ours(), "DEL", "a", &net.conf)
        .args("X=1")
        .without_env("CNI_NETNS")
        .run()
        .expect_ok();
    assert!(net.reserved().is_empty());
}

#[test]
fn del_and_check_create_nothing() {
    let net = Net::new(json!({"subnet": "10.1.2.0/24"}));
    net.del("a");
    let error = net.run("CHECK", "a").expect_error(999).text();
    assert_eq!(
        error,
        "host-local: Failed to find address added by container a"
    );
    assert!(!net.data_dir.exists());
}

#[test]
fn check_compares_every_address() {
    let net = Net::new(dual_stack());
    let added = net.run("ADD", "a").expect_ok();
    net.add("b");
    let prev = added.with_prev();
    let check = |conf: &Value, id: &str| call(&ours(), "CHECK", id, conf).run();
    check(&prev, "a").expect_ok();
    check(&net.conf, "a").expect_ok();
    let text = check(&net.conf, "c").expect_error(999).text();
    assert_eq!(
        text,
        "host-local: Failed to find address added by container c"
    );
    let text = check(&prev, "b").expect_error(999).text();
    assert_eq!(
        text,
        "host-local: Failed to find address added by container b; 10.1.2.2 is held by a eth0"
    );
    // Addresses of other plugins in the chain are ignored.
    let mut other = prev.clone();
    other["prevResult"]["ips"] = json!([{"address": "192.168.0.2/24"}]);
    check(&other, "a").expect_ok();
    // One of the two reservations is gone.
    fs::remove_file(net.dir().join("2001:db8:1::2")).unwrap();
    let text = check(&prev, "a").expect_error(999).text();
    assert_eq!(
        text,
        "host-local: Failed to find address added by container a; 2001:db8:1::2 is not reserved"
    );
    // A reservation of a very old release counts.
    net.write("2001:db8:1::2", "a\n");
    check(&prev, "a").expect_ok();
}

#[test]
fn gc_frees_addresses_of_stale_attachments() {
    let mut net = Net::new(json!({"subnet": "10.1.2.0/24"}));
    for id in ["a", "b", "c"] {
        net.add(id);
    }
    net.write("10.1.2.50", "legacy");
    net.write("10.1.2.51", "a");
    net.write("10.1.2.52", "");
    let gc = |net: &Net| ours().gc(&net.conf).expect_ok();
    // The runtime passed no list of valid attachments.
    gc(&net);
    assert_eq!(net.reserved().len(), 6);
    net.conf["cni.dev/valid-attachments"] = json!([
        {"containerID": "a", "ifname": "eth0"},
        {"containerID": "b", "ifname": "eth1"},
        {"containerID": "x", "ifname": "eth0"},
    ]);
    // The ranges are not read.
    net.conf["ipam"]["subnet"] = 7.into();
    assert!(gc(&net).stdout.is_empty());
    let expected = ["10.1.2.2", "10.1.2.51", "last_reserved_ip.0", "lock"];
    assert_eq!(net.files(), expected.map(Into::into).into());
    for nothing in [json!([]), Value::Null] {
        net.write("10.1.2.2", "a\r\neth0");
        net.conf["cni.dev/valid-attachments"] = nothing;
        gc(&net);
        assert!(net.reserved().is_empty());
    }
    // A network without a directory.
    let mut net = Net::new(json!({}));
    net.conf["cni.dev/valid-attachments"] = json!([]);
    gc(&net);
    assert!(!net.data_dir.exists());
}

#[test]
fn status_tells_whether_an_add_would_succeed() {
    let mut net = Net::new(json!({"subnet": "10.1.2.0/30"}));
    let status = |net: &Net| ours().status(&net.conf);
    status(&net).expect_ok();
    assert!(!net.data_dir.exists());
    net.add("a");
    status(&net)
        .expect_error(50)
        .mentions("no IP addresses available in range set: 10.1.2.1-10.1.2.2; 1 of 1 addresses are held by 1 container, e.g. a (1)");
    net.del("a");
    status(&net).expect_ok();
    // Without ranges, as if the runtime passed them with each ADD.
    net.conf["ipam"].as_object_mut().unwrap().remove("subnet");
    status(&net).expect_ok();
    net.conf["ipam"]["subnet"] = "10.1.2.1/30".into();
    status(&net)
        .expect_error(999)
        .mentions("Network has host bits set");
    // A file in the way.
    let file = net.data_dir.join("file");
    fs::write(&file, "").unwrap();
    net.conf["ipam"]["subnet"] = "10.1.2.0/30".into();
    net.conf["ipam"]["dataDir"] = file.to_str().into();
    status(&net).expect_error(50).mentions("not a directory");
}
