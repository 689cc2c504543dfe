//! `raGuard` and `dhcpGuard`: no router advertisements and DHCP server messages of containers.

use crate::common::{attached, bridge, dual, host_end, wait_until};
use crate::masquerade::traces;
use serde_json::json;
use std::fs;
use std::net::UdpSocket;
use std::time::Duration;
use testkit::{Container, Host, Node, namespace};

/// Whether `to`, an address of `there`, gets a datagram from port `source` of `from`.
fn passes(from: &Container, source: u16, there: &Container, to: &str) -> bool {
    let any = match to.contains(':') {
        true => "[::]",
        false => "0.0.0.0",
    };
    let receiver = there
        .enter(|| UdpSocket::bind(format!("{any}:4000")))
        .unwrap();
    receiver
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let sender = from
        .enter(|| UdpSocket::bind(format!("{any}:{source}")))
        .unwrap();
    sender.send_to(b"offer", (to, 4000)).unwrap();
    receiver.recv_from(&mut [0; 9]).is_ok()
}

/// Whether `there` gets a route from a router advertisement of `from`.
fn advertisement_passes(from: &Container, there: &Container) -> bool {
    there.set_sysctl("net/ipv6/conf/eth0/accept_ra", "2");
    let routes = || there.ip("-6 route show proto ra");
    let before = routes();
    let script = "import socket\n\
        s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58)\n\
        i = socket.if_nametoindex('eth0')\n\
        s.setsockopt(41, 18, 255)\n\
        s.sendto(bytes([134, 0, 0, 0, 64, 0, 7, 8] + [0] * 8), ('ff02::1', 0, 0, i))\n";
    from.command(&["python3", "-c", script]);
    std::thread::sleep(Duration::from_millis(300));
    let after = routes();
    there.ip("-6 route flush proto ra");
    before != after
}

/// Waits for the link-local address, from which router advertisements are sent.
fn wait_for_link_local_address(container: &Container) {
    wait_until("a link-local address", || {
        let list = container.ip("-6 addr show dev eth0 scope link");
        list.contains("fe80") && !list.contains("tentative")
    });
}

#[test]
fn each_guard_drops_its_messages_and_no_others() {
    let host = Host::new();
    let (other, _) = attached(&host, "c1", &dual(json!({})));
    for (ra, dhcp) in [(false, false), (true, false), (false, true), (true, true)] {
        let name = format!("c{ra}{dhcp}");
        let (container, _) = attached(
            &host,
            &name,
            &dual(json!({"raGuard": ra, "dhcpGuard": dhcp})),
        );
        wait_for_link_local_address(&container);
        container.ping("10.1.0.2");
        container.ping("fd00:1::2");
        assert_eq!(advertisement_passes(&container, &other), !ra, "{name}");
        for (source, to) in [(67, "10.1.0.2"), (547, "fd00:1::2")] {
            let passes = |source| passes(&container, source, &other, to);
            assert_eq!(passes(source), !dhcp, "{name} {source}");
            assert!(passes(source + 1), "{name} {source} + 1");
        }
    }
}

#[test]
fn check_names_what_is_missing() {
    for (change, words) in [
        (
            "nft flush chain bridge cni_port_guard prerouting",
            "chain prerouting of",
        ),
        (
            "nft flush set bridge cni_port_guard ra_ports",
            "not found in set ra_ports",
        ),
        (
            "nft flush set bridge cni_port_guard dhcp_ports",
            "not found in set dhcp_ports",
        ),
        (
            "nft delete table bridge cni_port_guard",
            "table cni_port_guard",
        ),
    ] {
        let host = Host::new();
        let (c1, run) = attached(
            &host,
            "c1",
            &dual(json!({"raGuard": true, "dhcpGuard": true})),
        );
        namespace::run(change);
        let check = bridge().check(&c1, &run.with_prev());
        check.expect_error(999).mentions(words);
        // The next ADD repairs what all ports share.
        let (_c2, _) = attached(&host, "c2", &dual(json!({"raGuard": true})));
        bridge().del(&c1, &run.with_prev()).expect_ok();
    }
}

#[test]
fn del_deletes_the_elements_whatever_is_left() {
    for gone in ["nothing", "link", "namespace", "environment"] {
        for recorded in [true, false] {
            let host = Host::new();
            let guards = json!({"raGuard": true, "dhcpGuard": true});
            let (container, run) = attached(&host, "c1", &dual(guards.clone()));
            let (other, others) = attached(&host, "c2", &dual(guards.clone()));
            let port = host_end(&run);
            let mut del = bridge().command("DEL").container(&container);
            match gone {
                "link" => drop(container.ip("link del eth0")),
                "namespace" => container.delete(),
                "environment" => del = del.netns(""),
                _ => {}
            }
            if !recorded {
                fs::remove_dir_all("/run/cni/filters").unwrap();
            }
            for _ in 0..2 {
                del.clone().config(&dual(guards.clone())).run().expect_ok();
                let left = traces(&host);
                assert!(
                    !left.iter().any(|line| line.contains(&port)),
                    "{gone}: {left:#?}"
                );
            }
            bridge().check(&other, &others.with_prev()).expect_ok();
            let mut gc = dual(guards);
            gc["cni.dev/valid-attachments"] = json!([]);
            bridge().gc(&gc).expect_ok();
            assert_eq!(traces(&host), [""; 0], "{gone} {recorded}");
        }
    }
}

/// A rule behind the guards counts the tagged frames that pass.
#[test]
fn frames_with_a_vlan_tag_are_dropped_too() {
    for guarded in [false, true] {
        let host = Host::new();
        let config = json!({"raGuard": guarded, "dhcpGuard": guarded});
        let (container, _) = attached(&host, "c1", &dual(config));
        let behind = "add table bridge behind; \
            add chain bridge behind c { type filter hook prerouting priority -200; }; \
            add rule bridge behind c ether type vlan counter";
        namespace::nft(behind);
        let script = "import socket, struct\n\
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n\
            s.bind(('eth0', 0))\n\
            e = bytes.fromhex('333300000001' + '020000000007' + '8100' + '0005' + '86dd')\n\
            a = socket.inet_pton(socket.AF_INET6, 'fe80::7')\n\
            b = socket.inet_pton(socket.AF_INET6, 'ff02::1')\n\
            def ip(p, d): return e + struct.pack('>IHBB', 6 << 28, len(d), p, 255) + a + b + d\n\
            s.send(ip(58, bytes([134] + [0] * 15)))\n\
            s.send(ip(17, struct.pack('>HHHH', 547, 546, 16, 0) + bytes(8)))\n\
            s.send(ip(17, struct.pack('>HHHH', 546, 547, 16, 0) + bytes(8)))\n";
        container.command(&["python3", "-c", script]);
        std::thread::sleep(Duration::from_millis(200));
        let counted = namespace::run("nft list table bridge behind");
        let passed = if guarded { "packets 1 " } else { "packets 3 " };
        assert!(counted.contains(passed), "{guarded}: {counted}");
    }
}

/// The port's name may have been given to another link since.
#[test]
fn an_element_with_another_comment_is_kept() {
    let host = Host::new();
    let guards = json!({"raGuard": true, "dhcpGuard": true});
    let (container, run) = attached(&host, "c1", &dual(guards.clone()));
    let port = host_end(&run);
    for set in ["ra_ports", "dhcp_ports"] {
        let element = |verb: &str, comment: &str| {
            let set = format!("bridge cni_port_guard {set}");
            namespace::nft(&format!("{verb} element {set} {{ {port}{comment} }}"));
        };
        element("delete", "");
        element("add", " comment \"somebody\"");
    }
    bridge().del(&container, &run.with_prev()).expect_ok();
    let left = namespace::run("nft list table bridge cni_port_guard");
    assert_eq!(left.matches("comment \"somebody\"").count(), 2, "{left}");
}
