//! Delegation of ADD: what the IPAM plugin gets, and what becomes of its answer.

use std::path::Path;

use serde_json::{Value, json};
use testkit::{Node, merge};

use super::delegate::{ADDRESS, Delegate, GOOD, print};
use super::support::{applies_if, ips};
use crate::demand;
use crate::rig::Rig;
use crate::rule::{Only, Rule, must, runtime, should};
use crate::subject::Class;

const SPEC: &str = "spec 4: Plugin Delegation";
const NODE: &str = "kubelet: a pod without an address";
const MAIN: &[Only] = &[Only::Since("0.3.0"), Only::Classes(&[Class::Main])];
const DIRECT: &[Only] = &[
    Only::Since("0.3.0"),
    Only::Classes(&[Class::Main]),
    Only::Except(&["flannel"]),
];
/// vlan wraps the error in one of its own, as the reference plugin of this name.
const UNWRAPPED: &[Only] = &[
    Only::Since("0.3.0"),
    Only::Classes(&[Class::Main]),
    Only::Except(&["vlan"]),
];

pub(crate) const RULES: &[Rule] = &[
    runtime(
        "delegation.missing",
        NODE,
        "ADD fails if the IPAM plugin is not in CNI_PATH",
        missing,
    )
    .only(MAIN),
    runtime(
        "delegation.not-executable",
        NODE,
        "ADD fails if the IPAM plugin cannot be executed",
        not_executable,
    )
    .only(MAIN),
    runtime(
        "delegation.name-with-slash",
        "libcni",
        "An IPAM type with a slash is refused: it would leave CNI_PATH",
        name_with_slash,
    )
    .only(MAIN),
    runtime(
        "delegation.first-in-path",
        "libcni",
        "The first directory of CNI_PATH that has the IPAM plugin counts",
        first_in_path,
    )
    .only(MAIN),
    runtime(
        "delegation.exit-status",
        NODE,
        "ADD fails if the IPAM plugin fails and prints nothing",
        exit_status,
    )
    .only(MAIN),
    runtime(
        "delegation.killed",
        NODE,
        "ADD fails if the IPAM plugin is killed",
        killed,
    )
    .only(MAIN),
    runtime(
        "delegation.no-answer",
        NODE,
        "ADD fails if the IPAM plugin succeeds but prints nothing",
        no_answer,
    )
    .only(MAIN),
    runtime(
        "delegation.garbage",
        NODE,
        "ADD fails if the answer of the IPAM plugin is not JSON",
        garbage,
    )
    .only(MAIN),
    runtime(
        "delegation.not-an-object",
        NODE,
        "ADD fails if the answer of the IPAM plugin is not an object",
        not_an_object,
    )
    .only(MAIN),
    runtime(
        "delegation.cut-off",
        NODE,
        "ADD fails if the answer of the IPAM plugin is cut off",
        cut_off,
    )
    .only(MAIN),
    runtime(
        "delegation.flood",
        "kubelet",
        "ADD fails in time if the IPAM plugin prints 16 MiB",
        flood,
    )
    .only(MAIN),
    runtime(
        "delegation.standard-error",
        NODE,
        "ADD succeeds while the IPAM plugin logs 300 kB on standard error",
        standard_error,
    )
    .only(MAIN),
    should(
        "delegation.error-code",
        SPEC,
        "The error code of the IPAM plugin is passed on",
        error_code,
    )
    .only(UNWRAPPED),
    should(
        "delegation.error-text",
        SPEC,
        "The message of the IPAM plugin's error is passed on",
        error_text,
    )
    .only(MAIN),
    should(
        "delegation.unknown-version",
        "library: types",
        "ADD fails if the result of the IPAM plugin has an unknown version",
        unknown_version,
    )
    .only(MAIN),
    should(
        "delegation.any-version",
        "library: types",
        "Results of IPAM plugins of all versions are understood",
        any_version,
    )
    .only(MAIN),
    should(
        "delegation.no-address",
        "reference plugins",
        "ADD fails if the IPAM plugin allocates no address",
        no_address,
    )
    .only(DIRECT),
    must(
        "delegation.bad-address",
        "spec 5: Success",
        "ADD fails if an address of the IPAM plugin has no prefix length",
        bad_address,
    )
    .only(MAIN),
    must(
        "delegation.address-applied",
        SPEC,
        "The address of the IPAM plugin is on the interface and in the result",
        address_applied,
    )
    .only(MAIN),
    must(
        "delegation.interface-index",
        "spec 5: Success",
        "Addresses of the result refer to the interface of the container",
        interface_index,
    )
    .only(MAIN),
    must(
        "delegation.routes-applied",
        SPEC,
        "The routes of the IPAM plugin are in the container and in the result",
        routes_applied,
    )
    .only(MAIN),
    should(
        "delegation.dns",
        SPEC,
        "The DNS settings of the IPAM plugin are in the result",
        dns,
    )
    .only(&[Only::Since("0.3.0"), Only::Plugins(&["bridge", "ptp"])]),
    should(
        "delegation.environment",
        SPEC,
        "The IPAM plugin has the environment of its caller",
        environment,
    )
    .only(MAIN),
    should(
        "delegation.input",
        SPEC,
        "The IPAM plugin gets the configuration of its caller",
        input,
    )
    .only(DIRECT),
    runtime(
        "delegation.large-input",
        "CRI-O, Multus",
        "ADD succeeds with an IPAM plugin that does not read its input of 1 MiB",
        large_input,
    )
    .only(MAIN),
    should(
        "delegation.undone-with-del",
        SPEC,
        "If ADD fails after the IPAM plugin's, DEL of the IPAM plugin follows",
        undone_with_del,
    )
    .only(MAIN),
    should(
        "delegation.dead-gets-del",
        SPEC,
        "If the IPAM plugin is killed, its DEL follows: it may have allocated",
        dead_gets_del,
    )
    .only(MAIN),
];

fn missing(rig: &Rig) {
    let delegate = Delegate::new(rig, "");
    let config = merge(
        delegate.config(),
        &json!({"ipam": {"type": "no-such-ipam"}}),
    );
    demand::error(delegate.call_with("ADD", &config).run()).mentions("no-such-ipam");
}

fn not_executable(rig: &Rig) {
    let delegate = Delegate::answering(rig, GOOD);
    delegate.forbid();
    delegate.refused();
}

fn name_with_slash(rig: &Rig) {
    let delegate = Delegate::answering(rig, GOOD);
    for name in ["../delegates/conformance-ipam", "./conformance-ipam"] {
        let config = merge(delegate.config(), &json!({"ipam": {"type": name}}));
        demand::error(delegate.call_with("ADD", &config).run());
    }
    assert!(delegate.verbs().is_empty(), "it was executed");
}

fn first_in_path(rig: &Rig) {
    let delegate = Delegate::answering(rig, GOOD);
    let plugins = rig.plugin.program().parent().unwrap_or(Path::new("/"));
    let own = rig.host.dir().join("delegates");
    let path = format!(
        "/nowhere:{}:{}:{}",
        rig.host.dir().display(),
        own.display(),
        plugins.display()
    );
    delegate.call("ADD").path(path).run().expect_ok();
    assert_eq!(delegate.verbs(), ["ADD"]);
}

/// ADD must fail after these commands of the IPAM plugin.
fn refuses(rig: &Rig, commands: &str) {
    Delegate::new(rig, &format!("cat >/dev/null\n{commands}")).refused();
}

fn exit_status(rig: &Rig) {
    refuses(rig, "exit 3");
}

fn killed(rig: &Rig) {
    refuses(rig, "kill -9 $$");
}

fn no_answer(rig: &Rig) {
    refuses(rig, "exit 0");
}

fn garbage(rig: &Rig) {
    refuses(rig, "echo garbage");
}

fn not_an_object(rig: &Rig) {
    refuses(rig, "echo '[]'");
}

fn cut_off(rig: &Rig) {
    refuses(rig, &format!("printf '%.60s' '{GOOD}'"));
}

fn flood(rig: &Rig) {
    refuses(rig, "head -c 16777216 /dev/zero | tr '\\0' y");
}

fn standard_error(rig: &Rig) {
    let log = "yes 'a line of a log' | head -c 300000 >&2";
    Delegate::new(rig, &format!("{log}\n{}", print(GOOD))).added();
}

/// An IPAM plugin that fails with code 11.
fn busy(rig: &Rig) -> Delegate<'_> {
    let error = r#"{"cniVersion":"1.0.0","code":11,"msg":"come back later","details":"the pool is locked"}"#;
    Delegate::new(rig, &format!("{}\nexit 1", print(error)))
}

fn error_code(rig: &Rig) {
    let error = busy(rig).refused();
    assert_eq!(error.code, 11, "{}", error.text());
}

fn error_text(rig: &Rig) {
    let error = busy(rig).refused();
    error.mentions("come back later");
    error.mentions("the pool is locked");
}

fn unknown_version(rig: &Rig) {
    let answer = GOOD.replace("1.0.0", "9.9.9");
    Delegate::answering(rig, &answer).refused();
}

fn any_version(rig: &Rig) {
    let delegate = Delegate::new(rig, "");
    let old = r#""ip4":{"ip":"10.7.0.77/16","gateway":"10.7.0.1"}"#;
    let middle = r#""ips":[{"version":"4","address":"10.7.0.77/16","gateway":"10.7.0.1"}]"#;
    let new = r#""ips":[{"address":"10.7.0.77/16","gateway":"10.7.0.1"}]"#;
    for (version, answer) in [
        ("0.1.0", old),
        ("0.2.0", old),
        ("0.3.0", middle),
        ("0.3.1", middle),
        ("0.4.0", middle),
        ("1.0.0", new),
    ] {
        let answer = print(&format!("{{\"cniVersion\":\"{version}\",{answer}}}"));
        delegate.change(&format!("[ $CNI_COMMAND = ADD ] || exit 0\n{answer}"));
        let run = delegate.added();
        assert_eq!(
            ips(&run.json()),
            [ADDRESS],
            "IPAM plugin of version {version}"
        );
        delegate
            .call("DEL")
            .config(&run.with_prev())
            .run()
            .expect_ok();
    }
}

fn no_address(rig: &Rig) {
    Delegate::answering(rig, r#"{"cniVersion":"1.0.0","ips":[]}"#).refused();
}

fn bad_address(rig: &Rig) {
    Delegate::answering(rig, &GOOD.replace("/16", "")).refused();
}

fn address_applied(rig: &Rig) {
    let delegate = Delegate::answering(rig, GOOD);
    let result = delegate.added().json();
    assert_eq!(ips(&result), [ADDRESS], "{result}");
    let on_interface = delegate.pod.container.addresses(&rig.subject.if_name);
    assert!(
        on_interface.contains(&format!("{ADDRESS}/16")),
        "{on_interface:?}"
    );
}

fn interface_index(rig: &Rig) {
    let result = Delegate::answering(rig, GOOD).added().json();
    let index = result["ips"][0]["interface"]
        .as_u64()
        .and_then(|index| usize::try_from(index).ok());
    let index = index.unwrap_or_else(|| panic!("ips[0].interface is missing in {result}"));
    let interface = &result["interfaces"][index];
    assert_eq!(interface["name"], *rig.subject.if_name, "{result}");
    assert!(interface["sandbox"].is_string(), "{result}");
}

fn routes_applied(rig: &Rig) {
    let routes =
        r#"],"routes":[{"dst":"198.51.100.0/24"},{"dst":"203.0.113.0/24","gw":"10.7.0.9"}]}"#;
    let delegate = Delegate::answering(rig, &GOOD.replace("]}", routes));
    let result = delegate.added().json();
    let listed = result["routes"].as_array().into_iter().flatten();
    let listed: Vec<&Value> = listed.map(|route| &route["dst"]).collect();
    let table = delegate.pod.container.routes("-4");
    for (dst, via) in [
        ("198.51.100.0/24", "10.7.0.1"),
        ("203.0.113.0/24", "10.7.0.9"),
    ] {
        assert!(listed.contains(&&json!(dst)), "{dst} is not in {result}");
        let start = format!("{dst} via {via} ");
        assert!(
            table.iter().any(|line| line.starts_with(&start)),
            "{start:?} is not in {table:?}"
        );
    }
}

fn dns(rig: &Rig) {
    let answer = GOOD.replace(
        "]}",
        r#"],"dns":{"nameservers":["192.0.2.53"],"search":["example.org"]}}"#,
    );
    let result = Delegate::answering(rig, &answer).added().json();
    assert_eq!(
        result["dns"],
        json!({"nameservers": ["192.0.2.53"], "search": ["example.org"]})
    );
}

fn environment(rig: &Rig) {
    let delegate = Delegate::new(rig, &format!("env >$DIR/environment\n{}", print(GOOD)));
    let call = delegate
        .call("ADD")
        .args("IgnoreUnknown=1;K8S_POD_NAME=web");
    call.env("SOMETHING_ELSE", "passed on").run().expect_ok();
    let got = delegate.wrote("environment");
    let container = &delegate.pod.container;
    for line in [
        "CNI_COMMAND=ADD".to_owned(),
        format!("CNI_CONTAINERID={}", container.id()),
        format!("CNI_NETNS={}", container.netns().display()),
        format!("CNI_IFNAME={}", rig.subject.if_name),
        "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAME=web".to_owned(),
        "SOMETHING_ELSE=passed on".to_owned(),
    ] {
        assert!(
            got.lines().any(|own| own == line),
            "{line} is not in\n{got}"
        );
    }
}

fn input(rig: &Rig) {
    let script = format!("cat >$DIR/input.new; mv $DIR/input.new $DIR/input\nprintf '%s' '{GOOD}'");
    let delegate = Delegate::new(rig, &script);
    let config = merge(
        delegate.config(),
        &json!({
            "ipam": {"type": super::delegate::NAME, "pool": "<a&b>", "sizes": [1, 2, null]},
            "vendor.example/key": {"nested": true}, "args": {"labels": [{"key": "app", "value": "web"}]},
        }),
    );
    delegate.call_with("ADD", &config).run().expect_ok();
    let got: Value = serde_json::from_str(&delegate.wrote("input")).expect("the input is JSON");
    assert_eq!(
        got, config,
        "the input of the delegate (left) and of its caller"
    );
}

fn large_input(rig: &Rig) {
    let delegate = Delegate::new(rig, &format!("printf '%s' '{GOOD}'"));
    let padding = "x".repeat(1 << 20);
    let config = merge(delegate.config(), &json!({"padding": padding}));
    delegate.call_with("ADD", &config).run().expect_ok();
}

/// An IPAM plugin whose route has an unreachable gateway, so that ADD fails after it.
pub(super) fn with_bad_route(rig: &Rig) -> Delegate<'_> {
    let route = r#"],"routes":[{"dst":"198.51.100.0/24","gw":"203.0.113.1"}]}"#;
    Delegate::answering(rig, &GOOD.replace("]}", route))
}

fn undone_with_del(rig: &Rig) {
    let delegate = with_bad_route(rig);
    let run = delegate.call("ADD").run();
    applies_if(
        !run.is_ok(),
        "the plugin accepts routes through gateways that are not reachable",
    );
    assert_eq!(delegate.verbs(), ["ADD", "DEL"]);
}

fn dead_gets_del(rig: &Rig) {
    let delegate = Delegate::new(rig, "cat >/dev/null\nkill -9 $$");
    delegate.refused();
    assert_eq!(delegate.verbs(), ["ADD", "DEL"]);
}
