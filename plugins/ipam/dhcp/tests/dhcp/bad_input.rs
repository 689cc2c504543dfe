//! Bad input: configurations, clients of the socket, and servers.

use crate::lan::{Daemon, Lan, QUICK, SOCKET, config, eventually, plugin, status};
use crate::scripted::{LEASED, Scripted};
use dhcproto::Encodable;
use dhcproto::v4::MessageType;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use testkit::{Host, Node};

#[test]
fn bad_configurations_are_refused() {
    let lan = Lan::new();
    let _daemon = Daemon::start(QUICK);
    let container = lan.container("c1");
    let long = "x".repeat(256);
    let cases: [(Value, u64, &str); 11] = [
        (
            json!({"request": [{"option": "frob"}]}),
            999,
            r#"error calling DHCP.Allocate: Can not parse option "frob": Can not parse option: strconv.ParseUint: parsing "frob": invalid syntax"#,
        ),
        (
            json!({"request": [{"option": "256"}]}),
            999,
            "value out of range",
        ),
        (
            json!({"provide": [{"option": "host-name", "value": long}]}),
            999,
            r#"value too long for option "host-name""#,
        ),
        (json!({"priority": "high"}), 999, "error parsing netconf"),
        (
            json!({"suppress": ["routes"]}),
            999,
            r#"ipam.suppress has "routes""#,
        ),
        (
            json!({"clientID": "serial"}),
            999,
            r#"ipam.clientID "serial" is none of"#,
        ),
        (
            json!({"routes": [{"dst": "fd00::/8"}]}),
            999,
            "ipam.routes has fd00::/8 of IPv6, but ipam.ipv6 does not ask for IPv6",
        ),
        (
            json!({"ipv4": false, "ipv6": true, "routes": [{"dst": "10.0.0.0/8"}]}),
            999,
            "ipam.routes has 10.0.0.0/8 of IPv4, but ipam.ipv4 is false",
        ),
        (
            json!({"probe": "soon"}),
            999,
            r#"ipam.probe "soon" is not a duration"#,
        ),
        (json!({"probe": "1h"}), 999, "more than 30s"),
        (
            json!({"daemonSocketPath": 5}),
            999,
            "error obtaining socketPath: error parsing socket path conf",
        ),
    ];
    for (ipam, code, text) in cases {
        plugin()
            .add(&container, &config(&ipam))
            .expect_error(code)
            .mentions(text);
    }
    let mut without = config(&json!({}));
    without.as_object_mut().unwrap().remove("ipam");
    plugin()
        .add(&container, &without)
        .expect_error(7)
        .mentions("no object \"ipam\"");
    let absent = plugin()
        .command("ADD")
        .container(&container)
        .ifname("eth9")
        .config(&config(&json!({})));
    let error = absent.run().expect_error(999);
    assert_eq!(
        error.msg,
        r#"error calling DHCP.Allocate: error looking up "eth9": Link not found"#
    );
    let nowhere = plugin()
        .command("ADD")
        .id("c1")
        .ifname("eth0")
        .netns("/run/netns/none");
    let error = nowhere.config(&config(&json!({}))).run().expect_error(999);
    assert_eq!(
        error.msg,
        r#"error calling DHCP.Allocate: failed to Statfs "/run/netns/none": no such file or directory"#
    );
    // An invalid configuration does not prevent DEL.
    plugin()
        .del(&container, &config(&json!({"daemonSocketPath": 5})))
        .expect_ok();
    assert_eq!(status().len(), 0);
}

#[test]
fn any_configuration_is_survived() {
    let complete = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bridge",
        "cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}],
        "ipam": {
            "type": "dhcp", "daemonSocketPath": "/nowhere/dhcp.sock", "priority": 5, "clientID": "mac", "probe": "1s",
            "request": [{"option": "121", "skipDefault": true}], "suppress": ["gateway"],
            "provide": [{"option": "host-name", "value": "x", "fromArg": "K8S_POD_NAME"}],
            "routes": [{"dst": "10.0.0.0/8", "gw": "10.0.0.1"}],
        },
    });
    testkit::parsing::survives_any_input(&cni_dhcp::Dhcp, "eth0", &complete);
}

/// Connects, sends bytes, and returns what the daemon answers until it closes.
fn exchange(bytes: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(SOCKET).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    // The daemon may close before all is sent.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn hostile_clients_of_the_socket_do_not_block_others() {
    let lan = Lan::new();
    let _server = lan.dnsmasq("");
    let _daemon = Daemon::start(QUICK);
    const GREETING: &[u8] = b"CONNECT /_goRPC_ HTTP/1.0\n\n";
    assert_eq!(
        exchange(b"GET / HTTP/1.0\r\n\r\n"),
        b"HTTP/1.0 405 must CONNECT\n\n"
    );
    assert_eq!(exchange(b""), b"");
    let connected = exchange(GREETING);
    assert_eq!(connected, b"HTTP/1.0 200 Connected to Go RPC\n\n");
    for bad in [
        // Too long a message, a number of too many bytes, an unknown type, a cut off value, zeros.
        &b"\xf8\xff\xff\xff\xff\xff\xff\xff\xff"[..],
        b"\x80",
        b"\x03\xff\x90\x00",
        b"\x05\xff\x82\x01\x7f",
        &[0; 64],
        &[0xff; 4096],
    ] {
        assert_eq!(exchange(&[GREETING, bad].concat()), connected, "{bad:?}");
    }
    assert_eq!(exchange(&[b'x'; 8192]), b"");
    // Clients that send nothing, or half a greeting, and a long one that is never finished.
    let mut idle: Vec<UnixStream> = (0..300)
        .map(|_| UnixStream::connect(SOCKET).unwrap())
        .collect();
    idle[0].write_all(&GREETING[..9]).unwrap();
    let container = lan.container("c1");
    let run = plugin().add(&container, &config(&json!({}))).expect_ok();
    assert!(
        run.elapsed < Duration::from_secs(10) * testkit::patience(),
        "{:?}",
        run.elapsed
    );
    idle[0]
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    assert_eq!(
        idle[0].read(&mut [0; 64]).unwrap(),
        0,
        "closed after a while"
    );
    assert_eq!(status().len(), 1);
}

#[test]
fn malformed_messages_of_servers_are_ignored() {
    let lan = Lan::new();
    let server = Scripted::start(&lan.server, |_, _| Vec::new());
    let _daemon = Daemon::start(QUICK);
    let container = lan.container("c1");
    let running = plugin()
        .command("ADD")
        .container(&container)
        .config(&config(&json!({})))
        .start();
    let discover = server.wait_for(MessageType::Discover, 1)[0].clone();
    let socket = lan
        .server
        .enter(|| UdpSocket::bind("10.20.0.1:1067").unwrap());
    socket.set_broadcast(true).unwrap();
    let send = |bytes: &[u8]| {
        let _ = socket.send_to(bytes, "255.255.255.255:68");
    };
    let offer = discover
        .grant(MessageType::Offer, LEASED, [60, 30, 50])
        .to_vec()
        .unwrap();
    for length in 0..offer.len() - 1 {
        // Without its end, an offer is either malformed or incomplete.
        if length < 250 {
            send(&offer[..length]);
        }
    }
    let mut long_option = offer.clone();
    long_option[241] = 255;
    send(&long_option);
    send(&[0xff; 1400]);
    // Larger than the buffer, in fragments.
    send(&vec![0; 20_000]);
    drop(server);
    let _server = Scripted::granting(&lan.server, [60, 30, 50]);
    let result = running.wait().expect_ok().json();
    assert_eq!(result["ips"][0]["address"], "10.20.0.77/24");
}

#[test]
fn a_server_that_floods_does_not_keep_others_waiting() {
    let lan = Lan::new();
    let _server = Scripted::granting(&lan.server, [600, 300, 500]);
    let _daemon = Daemon::start(QUICK);
    let flooded = lan.host.container("c2");
    lan.host.ip_batch(&[
        "link add other type bridge",
        "link set other addrgenmode none up",
    ]);
    let flooder = lan.host.container("flooder");
    for name in ["c2", "flooder"] {
        lan.host.ip_batch(&[
            &format!("link add o{name} type veth peer name eth0 netns {name}"),
            &format!("link set o{name} addrgenmode none master other up"),
        ]);
    }
    flooded.ip("link set eth0 up");
    flooder.ip_batch(&["link set eth0 up", "addr add 10.20.0.1/24 dev eth0"]);
    let socket = flooder.enter(|| UdpSocket::bind("10.20.0.1:67").unwrap());
    socket.set_broadcast(true).unwrap();
    let waits = plugin()
        .command("ADD")
        .container(&flooded)
        .config(&config(&json!({})))
        .start();
    eventually("the flooded client waits", || !status().is_empty());
    let is_over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stop = std::sync::Arc::clone(&is_over);
    let thread = std::thread::spawn(move || {
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            let _ = socket.send_to(&[1; 300], "255.255.255.255:68");
        }
    });
    let run = plugin()
        .add(&lan.container("c1"), &config(&json!({})))
        .expect_ok();
    is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    thread.join().unwrap();
    assert!(
        run.elapsed < Duration::from_secs(10) * testkit::patience(),
        "{:?}",
        run.elapsed
    );
    drop(waits);
}

#[test]
fn del_succeeds_without_daemon_lease_and_namespace() {
    let _host = Host::new();
    let call = plugin()
        .command("DEL")
        .id("c1")
        .ifname("eth0")
        .config(&config(&json!({})));
    call.run().expect_ok();
    let _daemon = Daemon::start(&[]);
    let call = plugin()
        .command("DEL")
        .id("c1")
        .ifname("eth0")
        .netns("/run/netns/none")
        .config(&config(&json!({})));
    call.run().expect_ok();
}
