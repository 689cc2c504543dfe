//! References to network namespaces: by path, process, name, and label of a Docker container.

mod support;

use std::path::Path;
use std::thread;

use serde_json::{Value, json};
use support::{Setup, path};
use testkit::runtime::{DOCKER, IMAGE, Runtime};
use testkit::{Invocation, Node as _, Service};

fn list() -> Value {
    json!({"cniVersion": "1.1.0", "name": "net", "plugins": [
        {"type": "bridge", "bridge": "cni0", "isGateway": true,
         "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]}},
    ]})
}

#[test]
fn a_process_and_a_name_are_the_same_as_their_paths() {
    let setup = Setup::with_list(&list());
    let container = setup.host.container("blue");
    let process = container.enter(|| Service::start(&["sleep", "600"]));
    let pid = format!("pid:{}", process.pid());
    let result = setup.run(&["add", "net", &pid]).expect_ok().json();
    assert_eq!(
        result["interfaces"][2]["sandbox"],
        format!("/proc/{}/ns/net", process.pid())
    );
    assert_eq!(container.addresses("eth0"), ["10.1.0.2/24"]);
    setup.run(&["check", "net", &pid]).expect_ok();
    let by_path = format!("/proc/{}/ns/net", process.pid());
    setup.run(&["del", "net", &by_path]).expect_ok();
    assert_eq!(container.link_names(), ["lo"]);
    setup.run(&["add", "net", "name:blue"]).expect_ok();
    setup
        .run(&["del", "net", "/var/run/netns/blue"])
        .expect_ok();
    assert_eq!(container.link_names(), ["lo"]);
    // A path needs no prefix, and DEL no process.
    setup.run(&["add", "net", path(&container)]).expect_ok();
    drop(process);
    setup.run(&["del", "net", &pid]).expect_ok();
}

#[test]
fn names_are_created_on_demand_only() {
    let setup = Setup::with_list(&list());
    let missing = setup.run(&["add", "net", "name:red"]);
    assert!(!missing.is_ok());
    assert!(!Path::new("/run/netns/red").exists());
    setup
        .run(&["add", "net", "name:red", "--create"])
        .expect_ok();
    let addresses = setup.host.ip("-n red -br addr show dev eth0");
    assert!(addresses.contains("10.1.0.2/24"), "{addresses}");
    setup.run(&["del", "net", "name:red"]).expect_ok();
    setup.host.ip("netns del red");
    for (arguments, text) in [
        (
            &["del", "net", "name:red", "--create"][..],
            "--create is for add only",
        ),
        (
            &["del", "net", "name:red", "--wait"],
            "--wait is for add and check only",
        ),
        (
            &["add", "net", "name:../red"],
            r#"network namespace "../red": a name must not contain slashes"#,
        ),
        (
            &["add", "net", "pid:x"],
            r#"network namespace "pid:x": expected the number of a process, such as pid:123"#,
        ),
        (
            &["add", "net", "label:=x"],
            r#"label "=x": expected a name, or key=value"#,
        ),
    ] {
        let run = setup.run(arguments);
        assert_eq!(run.status.code(), Some(1));
        assert!(run.stderr_text().contains(text), "{}", run.stderr_text());
    }
}

#[test]
fn add_waits_for_a_namespace() {
    let setup = Setup::with_list(&list());
    let waiting = setup.call(&["add", "net", "name:late", "--wait"]).start();
    thread::yield_now();
    let late = setup.host.container("late");
    waiting.wait().expect_ok();
    assert_eq!(late.addresses("eth0"), ["10.1.0.2/24"]);
    let never = setup.run(&["add", "net", "/run/netns/never", "--wait=1"]);
    assert!(
        never
            .stderr_text()
            .contains(r#"failed to Statfs "/run/netns/never""#),
        "{}",
        never.stderr_text()
    );
}

#[test]
fn containers_of_docker_are_found_by_label() {
    let setup = Setup::with_list(&list());
    let docker = Runtime::docker(&setup.host);
    let call = |arguments: &[&str]| -> Invocation {
        setup
            .call(arguments)
            .env("DOCKER_HOST", "unix:///run/docker.sock")
            .inside(&docker)
    };
    let run = |options: &str| {
        docker.run(&format!(
            "{DOCKER} run -d --network none {options} {IMAGE} /bin/busybox sleep 600"
        ))
    };
    let inside = |name: &str, command: &str| {
        docker.run(&format!("{DOCKER} exec {name} /bin/busybox {command}"))
    };
    // It appears while cnitool waits for it.
    let waiting = call(&["add", "net", "label:web", "--wait"]).start();
    run("--name web --env MICROSERVICE_LABEL=web");
    waiting.wait().expect_ok();
    let addresses = inside("web", "ip addr show dev eth0");
    assert!(addresses.contains("10.1.0.2/24"), "{addresses}");
    inside("web", "ping -c 1 -W 5 10.1.0.1");
    call(&["check", "net", "label:web"]).run().expect_ok();
    // By a Docker label it is another attachment, since the container ID is derived from the reference.
    run("--name db --label role=db");
    call(&["add", "net", "label:role=db"]).run().expect_ok();
    call(&["del", "net", "label:role=db"]).run().expect_ok();
    assert!(!Path::new("/var/lib/cni/networks/net/10.1.0.3").exists());
    // It starts again, with a namespace that was never attached; DEL of what is gone leaves it alone.
    docker.run(&format!("{DOCKER} restart -t 0 web"));
    let pid = docker.run(&format!("{DOCKER} inspect --format {{{{.State.Pid}}}} web"));
    docker.run(&format!(
        "nsenter --net --target {} ip link add eth0 type veth peer name x0",
        pid.trim()
    ));
    call(&["del", "net", "label:web"]).run().expect_ok();
    assert!(inside("web", "ip link").contains("eth0"));
    assert!(!Path::new("/var/lib/cni/networks/net/10.1.0.2").exists());
    docker.run(&format!("{DOCKER} rm -f web"));
    call(&["del", "net", "label:web"]).run().expect_ok();
    let missing = call(&["add", "net", "label:web", "--wait=0"]).run();
    let stderr = missing.stderr_text();
    assert!(stderr.contains(r#"no running container has the label "web": looked through the socket /run/docker.sock"#), "{stderr}");
    // The daemon's process numbers are those of its PID namespace, in which this cnitool is not.
    let outside = setup
        .call(&["add", "net", "label:role=db"])
        .env("DOCKER_HOST", "unix:///run/docker.sock");
    let stderr = outside.run().stderr_text();
    assert!(
        stderr.contains("the daemon at this socket runs in another PID namespace"),
        "{stderr}"
    );
    let remote = setup
        .call(&["add", "net", "label:web"])
        .env("DOCKER_HOST", "tcp://127.0.0.1:2375")
        .run();
    assert!(
        remote
            .stderr_text()
            .contains("expected unix:// and the path of a socket"),
        "{}",
        remote.stderr_text()
    );
}
