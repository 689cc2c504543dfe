//! A delegate that is a script: what it is given, and what becomes of its failures.

use crate::common::{IPV4, config, flannel, host, states};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, SCRIPTED, ScriptedIpam, VERSIONS};

fn add(host: &Host, on_add: &str, container: &Container, extra: &Value) -> testkit::Run {
    let script = ScriptedIpam::new(host, on_add);
    run(&script, "ADD", container, extra)
}

fn run(
    script: &ScriptedIpam<'_>,
    verb: &str,
    container: &Container,
    extra: &Value,
) -> testkit::Run {
    let config = testkit::merge(config(json!({"delegate": {"type": SCRIPTED}})), extra);
    script
        .command(&flannel(), verb)
        .container(container)
        .config(&config)
        .run()
}

#[test]
fn what_the_delegate_is_given() {
    let host = host(IPV4);
    let container = host.container("c1");
    let script = ScriptedIpam::new(
        &host,
        "env | sort > /run/testkit/env; cp $IN /run/testkit/given; echo '{}'",
    );
    let config = config(json!({
        "delegate": {"type": SCRIPTED}, "args": {"cni": {"labels": []}}, "prevResult": {"cniVersion": "1.1.0"},
        "dns": {"domain": "x"},
    }));
    script
        .command(&flannel(), "ADD")
        .container(&container)
        .args("IgnoreUnknown=1;K8S_POD_NAME=p")
        .config(&config)
        .run()
        .expect_ok();
    let env = container.command(&["cat", "/run/testkit/env"]);
    for line in [
        "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAME=p",
        "CNI_COMMAND=ADD",
        "CNI_CONTAINERID=c1",
        "CNI_IFNAME=eth0",
        "CNI_NETNS=/run/netns/c1",
    ] {
        assert!(env.lines().any(|l| l == line), "{line}\n{env}");
    }
    let given = container.command(&["cat", "/run/testkit/given"]);
    assert_eq!(
        given,
        r#"{"args":{"cni":{"labels":[]}},"cniVersion":"1.1.0","ipMasq":false,"ipam":{"ranges":[[{"subnet":"10.1.17.0/24"}]],"routes":[{"dst":"10.1.0.0/16"}],"type":"host-local"},"mtu":1472,"name":"net","type":"scripted"}"#
    );
}

/// The delegate's result is printed as it is.
#[test]
fn results() {
    for version in VERSIONS {
        let host = host(IPV4);
        let container = host.container("c1");
        let result = match version {
            "0.1.0" | "0.2.0" => {
                json!({"cniVersion": version, "ip4": {"ip": "10.1.17.2/24"}, "dns": {}})
            }
            _ => json!({
                "cniVersion": version,
                "interfaces": [{"name": "eth0", "sandbox": "/run/netns/c1"}],
                "ips": [{"version": "4", "address": "10.1.17.2/24", "interface": 0}],
                "routes": [{"dst": "10.1.0.0/16"}],
                "dns": {"domain": "example.org"},
            }),
        };
        let script = ScriptedIpam::answering(&host, &result);
        let printed = run(&script, "ADD", &container, &json!({"cniVersion": version}))
            .expect_ok()
            .json();
        let address = |result: &Value| {
            let old = result.pointer("/ip4/ip").cloned();
            old.or(result.pointer("/ips/0/address").cloned())
        };
        assert_eq!(address(&printed), address(&result), "{version}");
        assert_eq!(printed["cniVersion"], version);
        assert_eq!(printed["interfaces"], result["interfaces"], "{version}");
        assert_eq!(script.calls(), ["ADD"]);
    }
}

#[test]
fn a_failing_add() {
    let host = host(IPV4);
    let container = host.container("c1");
    let script = ScriptedIpam::new(
        &host,
        r#"echo '{"code": 11, "msg": "no address", "details": "later"}'; exit 1"#,
    );
    let error = run(&script, "ADD", &container, &json!({})).expect_error(11);
    assert_eq!(error.msg, "no address");
    assert!(
        error.details.starts_with("later; delegate: scripted ("),
        "{error:?}"
    );
    // It may have left something: DEL is to reach it.
    assert_eq!(states(), ["c1", "c1:net:eth0"]);
    run(&script, "DEL", &container, &json!({})).expect_ok();
    assert_eq!(script.calls(), ["ADD", "DEL"]);
    assert_eq!(states(), [""; 0]);
    run(&script, "DEL", &container, &json!({})).expect_ok();
    assert_eq!(script.calls(), ["ADD", "DEL"]);
}

#[test]
fn a_failing_del() {
    let host = host(IPV4);
    let container = host.container("c1");
    let script = ScriptedIpam::new(&host, "echo '{}'");
    run(&script, "ADD", &container, &json!({})).expect_ok();
    let program = host.dir().join(SCRIPTED);
    let good = std::fs::read(&program).unwrap();
    std::fs::write(
        &program,
        "#!/bin/sh\ncat >/dev/null\necho '{\"code\": 7, \"msg\": \"stuck\"}'\nexit 1\n",
    )
    .unwrap();
    for _ in 0..2 {
        let error = run(&script, "DEL", &container, &json!({})).expect_error(7);
        assert_eq!(error.msg, "stuck");
        assert_eq!(states(), ["c1", "c1:net:eth0"]);
    }
    std::fs::write(&program, good).unwrap();
    run(&script, "DEL", &container, &json!({})).expect_ok();
    assert_eq!(states(), [""; 0]);
}

#[test]
fn no_such_delegate() {
    let host = host(IPV4);
    let container = host.container("c1");
    let before = host.snapshot();
    let extra = json!({"delegate": {"type": "nosuchplugin"}});
    add(&host, "", &container, &extra)
        .expect_error(999)
        .mentions("failed to delegate add: failed to find plugin \"nosuchplugin\" in path [");
    let extra = json!({"delegate": {"type": "../bridge"}});
    add(&host, "", &container, &extra)
        .expect_error(999)
        .mentions("failed to delegate add: invalid plugin name: ../bridge");
    before.assert_same(&host.snapshot());
}

#[test]
fn no_such_namespace() {
    let host = host(IPV4);
    let container = host.container("c1");
    let before = host.snapshot();
    let call = flannel()
        .command("ADD")
        .container(&container)
        .config(&config(json!({})));
    call.netns("/run/netns/gone")
        .run()
        .expect_error(999)
        .mentions("failed to open netns \"/run/netns/gone\"");
    before.assert_same(&host.snapshot());
}

#[test]
fn upkeep() {
    let host = host(IPV4);
    let script = ScriptedIpam::new(&host, "");
    let call = |verb: &str, extra: Value| {
        let config = testkit::merge(config(json!({"delegate": {"type": SCRIPTED}})), &extra);
        script
            .command(&flannel(), verb)
            .config(&config)
            .run()
            .expect_ok();
        std::fs::read_to_string(host.dir().join("stdin")).unwrap_or_default()
    };
    call("STATUS", json!({}));
    assert_eq!(call("GC", json!({})), call("STATUS", json!({})));
    let given = call(
        "GC",
        json!({"cni.dev/valid-attachments": [{"containerID": "c9", "ifname": "eth0"}]}),
    );
    assert!(
        given.contains(r#""cni.dev/valid-attachments":[{"containerID":"c9","ifname":"eth0"}]"#),
        "{given}"
    );
    assert_eq!(script.calls(), ["STATUS", "STATUS", "GC"]);
}
