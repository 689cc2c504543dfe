//! Deletion of tracked flows, compared with the output of `conntrack`.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, UdpSocket};

use netfilter::conntrack::{Filter, delete};
use testkit::namespace::{in_namespace, nft, run};

const UDP: u8 = 17;

/// Makes the kernel track connections and translate the destination of one port.
const TRACK: &str = "
    table inet t {
        chain prerouting { type filter hook prerouting priority 0; ct state new accept; }
        chain output { type nat hook output priority -100;
            udp dport 5300 ip daddr 127.0.0.9 dnat to 127.0.0.2:53; }
    }";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn send(to: &str) {
    let local = if to.starts_with('[') {
        "[::1]:0"
    } else {
        "127.0.0.1:0"
    };
    let socket = UdpSocket::bind(local).unwrap();
    socket.send_to(b"x", to).unwrap();
}

/// The destination ports of all tracked UDP flows, as `conntrack` lists them.
fn ports(family: &str) -> Vec<u16> {
    let list = run(&format!("conntrack -L -p udp -f {family}"));
    let mut ports: Vec<u16> = list
        .lines()
        .filter_map(|line| line.split("dport=").nth(1)?.split(' ').next()?.parse().ok())
        .collect();
    ports.sort_unstable();
    ports
}

#[test]
fn only_matching_flows_are_deleted() {
    in_namespace(|| {
        run("ip link set lo up");
        nft(TRACK);
        for to in [
            "127.0.0.1:1000",
            "127.0.0.1:1000",
            "127.0.0.3:1000",
            "127.0.0.1:2000",
            "127.0.0.9:5300",
            "127.0.0.8:5300",
            "[::1]:1000",
            "[::1]:2000",
        ] {
            send(to);
        }
        assert_eq!(ports("ipv4"), [1000, 1000, 1000, 2000, 5300, 5300]);
        assert_eq!(ports("ipv6"), [1000, 2000]);
        let v4 = Filter::new(false, UDP);
        let port = |port| Filter {
            port: Some(port),
            ..v4
        };

        assert_eq!(delete(&[]).unwrap(), 0);
        assert_eq!(delete(&[port(9)]).unwrap(), 0);
        let tcp = Filter {
            port: Some(1000),
            ..Filter::new(false, 6)
        };
        assert_eq!(delete(&[tcp]).unwrap(), 0);
        let to_three = Filter {
            destination: Some(ip("127.0.0.3")),
            ..port(1000)
        };
        assert_eq!(delete(&[to_three]).unwrap(), 1);
        assert_eq!(ports("ipv4"), [1000, 1000, 2000, 5300, 5300]);

        // A translated flow is selected by the source of the replies.
        let translated = Filter {
            answered_by: Some(ip("127.0.0.2")),
            ..port(5300)
        };
        assert_eq!(delete(&[translated]).unwrap(), 1);
        assert_eq!(ports("ipv4"), [1000, 1000, 2000, 5300]);

        // Several ports and both families in one call.
        let v6 = Filter {
            ipv6: true,
            ..port(1000)
        };
        assert_eq!(delete(&[port(1000), port(5300), v6]).unwrap(), 4);
        assert_eq!(ports("ipv4"), [2000]);
        assert_eq!(ports("ipv6"), [2000]);
        let all = [v4, Filter::new(true, UDP)];
        assert_eq!(delete(&all).unwrap(), 2);
        assert_eq!(delete(&all).unwrap(), 0);
    });
}

#[test]
fn many_flows_are_deleted() {
    in_namespace(|| {
        run("ip link set lo up");
        nft(TRACK);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for port in 10_000..11_000 {
            socket.send_to(b"x", ("127.0.0.1", port)).unwrap();
        }
        let filters = [Filter::new(false, UDP)];
        assert_eq!(delete(&filters).unwrap(), 1000);
        assert_eq!(ports("ipv4"), [0; 0]);
    });
}

#[test]
fn deletion_without_flows_succeeds() {
    in_namespace(|| assert_eq!(delete(&[Filter::new(false, UDP)]).unwrap(), 0));
}
