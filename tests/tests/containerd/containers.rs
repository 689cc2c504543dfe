//! Containers in pods, which serve whoever comes by the network.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use testkit::Node;
use testkit::runtime::IMAGE;

use crate::pods::{CLIENT, GATEWAYS, NODE, Pod, Pods, list, pod};

/// Runs an HTTP server in the network of a pod.
#[track_caller]
fn serve(pods: &Pods, pod: &Pod, name: &str) {
    let netns = pod.netns.display();
    // Without limits, for which a hybrid hierarchy of control groups has no controllers.
    pods.containerd.run(&format!(
        "ctr -n k8s.io run --detach --snapshotter native --cgroup= --cpu-shares 0 --with-ns network:{netns} \
         {IMAGE} {name} /bin/serve 80"
    ));
}

/// Kills and deletes a container.
#[track_caller]
fn end(pods: &Pods, name: &str) {
    for command in ["tasks delete --force", "containers delete"] {
        pods.containerd
            .run(&format!("ctr -n k8s.io {command} {name}"));
    }
}

/// Asks the server for the name of its host and the address of the client.
fn try_ask(node: &impl Node, to: SocketAddr) -> io::Result<String> {
    let limit = Duration::from_secs(5);
    node.enter(|| {
        let mut stream = TcpStream::connect_timeout(&to, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.write_all(b"GET /cgi-bin/who HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    })
}

/// The server answers, and sees this client.
#[track_caller]
fn assert_serves(from: &impl Node, to: (&str, u16), client: &str) {
    let to = SocketAddr::new(to.0.parse().unwrap(), to.1);
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        match try_ask(from, to) {
            Ok(answer) if answer.contains(client) => return,
            // It may not listen yet.
            other => assert!(Instant::now() < end, "{client} to {to}: {other:?}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_container_serves_the_neighbour_the_node_and_another_pod() {
    let pods = Pods::new(&list("1.0.0", "iptables"));
    let (web, other) = (pods.run(pod("web-0", 8080)), pods.run(pod("other", 8081)));
    serve(&pods, &web, "server");
    for (family, address) in web.addresses.iter().enumerate() {
        let address = address.to_string();
        assert_serves(&pods.client, (NODE[family], 8080), CLIENT[family]);
        assert_serves(&pods.client, (&address, 80), CLIENT[family]);
        let source = other.addresses[family].to_string();
        assert_serves(&pods.inside(&other), (&address, 80), &source);
        // Answers must come back by way of the node.
        let gateway = GATEWAYS[family];
        assert_serves(&pods.inside(&other), (NODE[family], 8080), gateway);
    }
    // The container is restarted, and the daemon is not there meanwhile.
    pods.containerd.restart("KILL");
    assert_serves(&pods.client, (NODE[0], 8080), CLIENT[0]);
    end(&pods, "server");
    assert!(pods.inside(&web).link("eth0").is_some());
    serve(&pods, &web, "server");
    assert_serves(&pods.client, (NODE[0], 8080), CLIENT[0]);
    end(&pods, "server");
    pods.end(&web);
    pods.end(&other);
    pods.assert_nothing_left();
}
