//! GC: leases and state of attachments that are no more.

use crate::common::{IPV4, SUBNET_FILE, config, flannel, host, read_state, states, write_state};
use serde_json::{Value, json};
use testkit::{ScriptedIpam, leases};

fn gc(valid: Value) {
    let mut config = config(json!({}));
    config["cni.dev/valid-attachments"] = valid;
    let run = flannel().gc(&config).expect_ok();
    assert_eq!((run.stdout_text(), run.stderr_text()), Default::default());
}

#[test]
fn only_what_is_stale_and_of_this_network() {
    let host = host(IPV4);
    let containers = ["c1", "c2"].map(|name| host.container(name));
    for container in &containers {
        flannel().add(container, &config(json!({}))).expect_ok();
    }
    let of_other = read_state("c1").replace("\"net\"", "\"other\"");
    for (name, text) in [
        ("c3", read_state("c1")),
        ("c4", of_other.clone()),
        ("c5:other:eth0", of_other),
        ("c6", "broken".into()),
        ("not:ours", "x".into()),
    ] {
        write_state(name, &text);
    }
    let all = states();
    flannel().gc(&config(json!({}))).expect_ok();
    assert_eq!(states(), all);
    let one = json!({"containerID": "c1", "ifname": "eth0"});
    gc(json!([one, {"containerID": "c2", "ifname": "eth0"}, {"containerID": "c3", "ifname": "x"}]));
    assert_eq!(states(), all);
    assert_eq!(leases("net").len(), 2);
    gc(json!([one]));
    let left = ["c1", "c1:net:eth0", "c4", "c5:other:eth0", "c6", "not:ours"];
    assert_eq!(states(), left);
    assert_eq!(leases("net"), ["10.1.17.2"]);
    // Without the daemon, too.
    std::fs::remove_file(SUBNET_FILE).unwrap();
    gc(Value::Null);
    assert_eq!(states(), left[2..]);
    assert_eq!(leases("net"), [""; 0]);
}

/// The state is there for another try.
#[test]
fn a_delegate_that_fails() {
    let host = host(IPV4);
    write_state("c1:net:eth0", "{}");
    let script = ScriptedIpam::new(&host, "");
    let program = host.dir().join("scripted");
    std::fs::write(
        &program,
        "#!/bin/sh\ncat >/dev/null\necho '{\"code\": 7, \"msg\": \"stuck\"}'\nexit 1\n",
    )
    .unwrap();
    let config = config(json!({"delegate": {"type": "scripted"}, "cni.dev/valid-attachments": []}));
    script
        .command(&flannel(), "GC")
        .config(&config)
        .run()
        .expect_error(7);
    assert_eq!(states(), ["c1:net:eth0"]);
}
