//! `prevResult`: what ADD passes on, and what CHECK and DEL make of it.

use serde_json::{Value, json};
use testkit::Run;

use crate::demand;
use crate::rig::{Pod, Rig};
use crate::rule::{Only, Rule, must, runtime, should};
use crate::subject::Class;

const CONFIG: &str = "spec 2: Deriving execution configuration";
const SUCCESS: &str = "spec 5: Success";
const DEL: &str = "spec 2: DEL";
const PASS: &str = "start from prevResult, change what the plugin has changed, and print all of it";
const LENIENT: &str =
    "DEL is also called for attachments whose result is lost: take what is there, and succeed";
const CHAINED: &[Only] = &[Only::Classes(&[Class::Chained])];
const CHECKED: &[Only] = &[
    Only::Since("0.4.0"),
    Only::Classes(&[Class::Main, Class::Chained]),
    Only::Except(&["loopback"]),
];

pub(crate) const RULES: &[Rule] = &[
    should("previous.required", CONFIG, "ADD of a chained plugin without prevResult is refused", required).only(CHAINED).detached(),
    must("previous.interfaces-kept", SUCCESS, "A chained plugin's result has the interfaces of prevResult", interfaces_kept).only(CHAINED).advice(PASS),
    must("previous.addresses-kept", SUCCESS, "A chained plugin's result has the addresses of prevResult", addresses_kept).only(CHAINED).advice(PASS),
    must("previous.routes-kept", SUCCESS, "A chained plugin's result has the routes of prevResult", routes_kept).only(CHAINED).advice(PASS),
    must("previous.dns-kept", SUCCESS, "A chained plugin's result has the dns of prevResult", dns_kept).only(CHAINED).advice(PASS),
    must("previous.foreign-interfaces-kept", SUCCESS, "A chained plugin's result has interfaces of other namespaces that prevResult has", foreign_interfaces_kept)
        .only(CHAINED).advice(PASS),
    should("previous.order-kept", SUCCESS, "A chained plugin's result has addresses and interfaces in the order of prevResult", order_kept)
        .only(CHAINED).advice("the member interface of addresses is an index; other plugins take the first address of a family"),
    should("previous.route-members-kept", "spec 1.1.0: Success", "A chained plugin's result has mtu, priority and table of routes", route_members_kept)
        .only(&[Only::Classes(&[Class::Chained]), Only::Since("1.1.0")]).advice(PASS),
    should("previous.interface-members-kept", "spec 1.1.0: Success", "A chained plugin's result has mtu, socketPath and pciID of interfaces", interface_members_kept)
        .only(&[Only::Classes(&[Class::Chained]), Only::Since("1.1.0")]).advice(PASS),
    must("previous.not-an-object", CONFIG, "ADD of a chained plugin refuses a prevResult that is not an object", no_text).only(CHAINED).detached(),
    must("previous.malformed-address", CONFIG, "ADD of a chained plugin refuses a prevResult with a malformed address", no_address).only(CHAINED).detached(),
    should("previous.other-form", "library: types", "ADD of a chained plugin refuses a prevResult in the form of another version", other_form).only(CHAINED).detached(),
    runtime("previous.without-version", "libcni: prevResult of plugins without version", "A prevResult without cniVersion has that of the configuration", without_version).only(CHAINED),
    runtime("previous.unknown-members", "libcni: results of newer plugins", "Members of prevResult that the plugin does not know are ignored", unknown_members).only(CHAINED),
    runtime("previous.null-lists", "libcni, Go: empty members", "Lists of prevResult that are null count as empty", null_lists).only(CHAINED),
    must("previous.check-requires-it", "spec 2: CHECK", "CHECK without prevResult is refused", check_requires_it).only(CHECKED),
    must("previous.check-not-an-object", "spec 2: CHECK", "CHECK refuses a prevResult that is not an object", check_refuses_text).only(CHECKED),
    must("previous.check-reads-it", "spec 2: CHECK", "CHECK with the prevResult of another container fails", check_reads_it)
        .only(&[Only::Since("0.4.0"), Only::Classes(&[Class::Main]), Only::Except(&["loopback"]), Only::Two]),
    must("previous.del-without", DEL, "DEL without prevResult succeeds", del_without).advice(LENIENT),
    must("previous.del-without-cleans-up", DEL, "DEL without prevResult deletes everything", del_without_cleans_up).advice(LENIENT),
    should("previous.del-null", DEL, "DEL with a prevResult that is null succeeds", del_null).advice(LENIENT),
    should("previous.del-empty", DEL, "DEL with an empty prevResult succeeds", del_empty).advice(LENIENT),
    should("previous.del-not-an-object", DEL, "DEL with a prevResult that is not an object succeeds", del_text).advice(LENIENT),
    should("previous.del-other-version", DEL, "DEL with a prevResult of an unknown version succeeds", del_other_version).advice(LENIENT),
];

/// Runs ADD with a changed `prevResult`.
#[track_caller]
fn add_with(rig: &Rig, change: impl FnOnce(&mut Value)) -> (Pod, Value, Run) {
    let pod = rig.pod("c1");
    let mut config = pod.config(rig);
    change(&mut config["prevResult"]);
    let run = rig.add(&pod.container, &config);
    (pod, config, run)
}

fn required(rig: &Rig) {
    let pod = rig.pod("c1");
    demand::error(rig.add(&pod.container, &rig.config()));
}

/// The result of ADD, beside the changed `prevResult`.
#[track_caller]
fn results(rig: &Rig, change: impl FnOnce(&mut Value)) -> (Value, Value) {
    let (_pod, config, run) = add_with(rig, change);
    (config["prevResult"].clone(), demand::result(&run))
}

/// Demands that a list of the result has an element with all members of each in `prevResult`.
#[track_caller]
fn has_all(previous: &Value, result: &Value, list: &str, members: &[&str]) {
    for old in super::elements(previous, list) {
        let is_same = |new: &Value| {
            members
                .iter()
                .all(|key| old.get(key).is_none() || new[key] == old[key])
        };
        assert!(
            super::elements(result, list).any(is_same),
            "{list} of the result lacks {old}\nresult: {result}"
        );
    }
}

fn interfaces_kept(rig: &Rig) {
    let (previous, result) = results(rig, |_| {});
    has_all(&previous, &result, "interfaces", &["name", "sandbox"]);
}

fn addresses_kept(rig: &Rig) {
    let (previous, result) = results(rig, |_| {});
    has_all(&previous, &result, "ips", &["address", "gateway"]);
}

fn routes_kept(rig: &Rig) {
    let (previous, result) = results(rig, |_| {});
    has_all(&previous, &result, "routes", &["dst", "gw"]);
}

fn dns_kept(rig: &Rig) {
    let dns = json!({"nameservers": ["10.8.0.53"], "domain": "example.org", "search": ["a.example.org"], "options": ["ndots:2"]});
    let (_, result) = results(rig, |previous| previous["dns"] = dns.clone());
    assert!(
        result["dns"] == dns,
        "dns is {} instead of {dns}",
        result["dns"]
    );
}

fn foreign_interfaces_kept(rig: &Rig) {
    let (previous, result) = results(rig, |previous| {
        if let Some(list) = previous["interfaces"].as_array_mut() {
            list.push(
                json!({"name": "vm0", "mac": "02:00:00:00:03:01", "sandbox": "/run/other/vm"}),
            );
            list.push(json!({"name": "tap0"}));
        }
    });
    has_all(&previous, &result, "interfaces", &["name", "sandbox"]);
}

fn order_kept(rig: &Rig) {
    let (previous, result) = results(rig, |_| {});
    for (list, key) in [("interfaces", "name"), ("ips", "address")] {
        let values = |of: &Value| -> Vec<Value> {
            super::elements(of, list).map(|e| e[key].clone()).collect()
        };
        let (old, new) = (values(&previous), values(&result));
        let kept: Vec<Value> = new
            .iter()
            .filter(|value| old.contains(value))
            .cloned()
            .collect();
        assert!(
            kept == old,
            "{list}: {} instead of {}",
            Value::from(new),
            Value::from(old)
        );
    }
}

fn route_members_kept(rig: &Rig) {
    let (previous, result) = results(rig, |previous| {
        if let Some(list) = previous["routes"].as_array_mut() {
            list.push(json!({"dst": "198.51.100.0/24", "gw": "10.8.0.1", "mtu": 1400, "advmss": 1300, "priority": 50, "table": 100, "scope": 0}));
        }
    });
    has_all(
        &previous,
        &result,
        "routes",
        &["dst", "gw", "mtu", "advmss", "priority", "table", "scope"],
    );
}

fn interface_members_kept(rig: &Rig) {
    let (previous, result) = results(rig, |previous| {
        if let Some(list) = previous["interfaces"].as_array_mut() {
            list.push(json!({"name": "vf0", "mtu": 1400, "socketPath": "/run/vf0.sock", "pciID": "0000:00:1f.6"}));
        }
    });
    has_all(
        &previous,
        &result,
        "interfaces",
        &["name", "mtu", "socketPath", "pciID"],
    );
}

fn no_text(rig: &Rig) {
    for value in [json!("text"), json!(7), json!([])] {
        let (_pod, _, run) = add_with(rig, |previous| *previous = value);
        demand::error(run);
    }
}

fn no_address(rig: &Rig) {
    for address in [json!("10.8.0.2"), json!("nonsense"), json!(7)] {
        let (_pod, _, run) = add_with(rig, |previous| previous["ips"][0]["address"] = address);
        demand::error(run);
    }
}

fn other_form(rig: &Rig) {
    let (_pod, _, run) = add_with(rig, |previous| {
        *previous = json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.8.0.2/24"}, "dns": {}});
    });
    demand::error(run);
}

fn without_version(rig: &Rig) {
    let (_, result) = results(rig, |previous| {
        previous
            .as_object_mut()
            .map(|members| members.remove("cniVersion"));
    });
    assert!(
        result["cniVersion"] == rig.newest(),
        "the version of the result is {}",
        result["cniVersion"]
    );
}

fn unknown_members(rig: &Rig) {
    results(rig, |previous| {
        previous["com.example"] = json!({"a": [1, null]});
        previous["interfaces"][0]["com.example"] = json!(7);
        previous["ips"][0]["com.example"] = json!({});
    });
}

fn null_lists(rig: &Rig) {
    results(rig, |previous| previous["routes"] = Value::Null);
}

fn check_requires_it(rig: &Rig) {
    let attached = rig.attach("c1");
    demand::error(rig.check(attached.container(), &rig.config()));
}

fn check_refuses_text(rig: &Rig) {
    let attached = rig.attach("c1");
    let mut config = attached.with_prev();
    for value in [json!("text"), json!(7)] {
        config["prevResult"] = value;
        demand::error(rig.check(attached.container(), &config));
    }
}

fn check_reads_it(rig: &Rig) {
    let (one, other) = (rig.attach("c1"), rig.attach("c2"));
    demand::error(rig.check(one.container(), &other.with_prev()));
}

fn del_without(rig: &Rig) {
    let attached = rig.attach("c1");
    demand::success(rig.del(attached.container(), &rig.config()));
}

fn del_without_cleans_up(rig: &Rig) {
    let (before, attached) = rig.attach_later("c1");
    demand::success(rig.del(attached.container(), &rig.config()));
    rig.assert_back(&before);
}

/// DEL with this `prevResult` must succeed.
#[track_caller]
fn del_with(rig: &Rig, previous: Value) {
    let attached = rig.attach("c1");
    let mut config = rig.config();
    config["prevResult"] = previous;
    demand::success(rig.del(attached.container(), &config));
}

fn del_null(rig: &Rig) {
    del_with(rig, Value::Null);
}

fn del_empty(rig: &Rig) {
    del_with(rig, json!({}));
}

fn del_text(rig: &Rig) {
    del_with(rig, json!("text"));
}

fn del_other_version(rig: &Rig) {
    del_with(rig, json!({"cniVersion": "9.9.9", "ips": []}));
}
