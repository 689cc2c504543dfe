//! Published ports.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use testkit::{Container, Node as _};

use crate::{HOST, NEIGHBOUR, Stage, ask, expect_answer, expect_silence, start, wait_until};

#[test]
fn ports_are_reached_from_everywhere() {
    let stage = Stage::new();
    let (podman, host) = (&stage.podman, &stage.podman.host);
    stage.dual_network("n", 81);
    stage.dual_network("other", 82);
    stage.start(
        "c1",
        &[
            "--network=n",
            "--publish=8080:80",
            "--publish=127.0.0.1:8081:80",
            "--publish=192.0.2.1:8082:80",
            "--publish=[2001:db8::1]:8083:80",
        ],
    );
    let neighbour = &stage.neighbour;
    for to in ["192.0.2.1:8080", "192.0.2.1:8082"] {
        expect_answer(neighbour, to, "c1", NEIGHBOUR);
        expect_answer(host, to, "c1", HOST);
    }
    for to in ["[2001:db8::1]:8080", "[2001:db8::1]:8083"] {
        expect_answer(neighbour, to, "c1", "2001:db8::9");
        expect_answer(host, to, "c1", "2001:db8::1");
    }
    for to in ["127.0.0.1:8080", "127.0.0.1:8081"] {
        expect_answer(host, to, "c1", "10.81.0.1");
    }
    // Each of the others at its own address only.
    for to in ["192.0.2.1:8081", "192.0.2.1:8083", "[2001:db8::1]:8082"] {
        expect_silence(neighbour, to);
        expect_silence(host, to);
    }
    expect_silence(host, "127.0.0.1:8082");

    // From the container itself, its network, and another one.
    stage.start("c2", &["--network=n"]);
    stage.start("c3", &["--network=other"]);
    for name in ["c1", "c2", "c3"] {
        let container = podman.container(name);
        expect_answer(&container, "192.0.2.1:8080", "c1", "10.81.0.1");
        expect_answer(&container, "[2001:db8::1]:8080", "c1", "fd00:81::1");
    }

    stage.remove("c1");
    expect_silence(neighbour, "192.0.2.1:8080");
    stage.start("c4", &["--network=n", "--publish=8080:80"]);
    expect_answer(neighbour, "192.0.2.1:8080", "c4", NEIGHBOUR);
    stage.end();
}

/// Sends a datagram, and returns whether it arrived at `server` and was answered there.
fn is_answered(client: &UdpSocket, server: &UdpSocket) -> bool {
    let mut buffer = [0; 100];
    // An error of an earlier datagram.
    let refused = client.send(b"ping");
    assert!(refused.is_ok_and(|_| true) || client.take_error().is_ok());
    let Ok((length, from)) = server.recv_from(&mut buffer) else {
        return false;
    };
    server.send_to(&buffer[..length], from).unwrap();
    matches!(client.recv(&mut buffer), Ok(4))
}

/// A socket of `node` with a limit to its waits.
fn socket(node: &Container, address: &str) -> UdpSocket {
    let socket = node.enter(|| UdpSocket::bind(address)).unwrap();
    let limit = Some(Duration::from_millis(500));
    socket.set_read_timeout(limit).unwrap();
    socket
}

#[test]
fn ranges_and_udp() {
    let stage = Stage::new();
    let podman = &stage.podman;
    stage.network("n", &["--subnet=10.81.0.0/24"]);
    // A client that has asked before there is a container: the kernel remembers its connection to the host.
    let client = socket(&stage.neighbour, "192.0.2.9:4000");
    let to: SocketAddr = "192.0.2.1:5353".parse().unwrap();
    client.connect(to).unwrap();
    client.send(b"ping").unwrap();
    let refused = client.recv(&mut [0; 8]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    let options = [
        "--network=n",
        "--publish=9001-9003:9001-9003",
        "--publish=5353:5353/udp",
    ];
    podman.run(&start("c1", &options, &["9001", "9002", "9003"]));
    for port in 9001..=9003 {
        let answer = ask(&stage.neighbour, &format!("{HOST}:{port}"));
        assert_eq!(answer.server, "c1");
    }
    let server = socket(&podman.container("c1"), "0.0.0.0:5353");
    wait_until("a datagram is answered", || is_answered(&client, &server));

    // The same client, when another container has the port.
    stage.remove("c1");
    podman.run(&start(
        "c2",
        &["--network=n", "--publish=5353:5353/udp"],
        &[],
    ));
    let server = socket(&podman.container("c2"), "0.0.0.0:5353");
    wait_until("a datagram is answered", || is_answered(&client, &server));
    stage.end();
}
