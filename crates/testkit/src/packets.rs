//! Packets between nodes, their source addresses, and packet filters.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use crate::common_cases::wire;
use crate::host::{Container, Host};
use crate::node::Node;

/// The time after which a datagram counts as dropped.
const PATIENCE: Duration = Duration::from_millis(500);

/// The port of listeners.
const PORT: u16 = 4000;

/// A listener for datagrams that returns their source addresses.
pub struct Listener {
    address: IpAddr,
    socket: UdpSocket,
}

impl Listener {
    /// Listens on `node` at one of its addresses.
    ///
    /// # Panics
    ///
    /// When the socket cannot be bound to the address.
    #[track_caller]
    pub fn new(node: &impl Node, address: &str) -> Listener {
        let address: IpAddr = address.parse().expect("an address");
        let socket = node.enter(|| UdpSocket::bind(SocketAddr::new(address, PORT)));
        let socket = socket.unwrap_or_else(|err| panic!("{} on {address}: {err}", node.label()));
        socket
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout can be set");
        Listener { address, socket }
    }

    /// Sends a datagram from `from` and returns its source address on arrival; `None` if it does not arrive.
    ///
    /// # Panics
    ///
    /// When it cannot be sent.
    #[track_caller]
    pub fn sees(&self, from: &impl Node) -> Option<IpAddr> {
        let any = match self.address {
            IpAddr::V4(_) => "0.0.0.0:0",
            IpAddr::V6(_) => "[::]:0",
        };
        self.sees_from(from, any)
    }

    /// The same with the sender bound to the address and port `source`.
    ///
    /// # Panics
    ///
    /// When it cannot be sent.
    #[track_caller]
    pub fn sees_from(&self, from: &impl Node, source: &str) -> Option<IpAddr> {
        let sender = from.enter(|| UdpSocket::bind(source));
        let sender = sender.unwrap_or_else(|err| panic!("{} on {source}: {err}", from.label()));
        let text = format!("{} {source}", from.label());
        if let Err(err) = sender.send_to(text.as_bytes(), SocketAddr::new(self.address, PORT)) {
            panic!("{} to {}: {err}", from.label(), self.address);
        }
        let mut buffer = [0; 200];
        loop {
            let (len, peer) = self.socket.recv_from(&mut buffer).ok()?;
            if buffer.get(..len) == Some(text.as_bytes()) {
                return Some(peer.ip());
            }
        }
    }
}

/// Creates a network outside of `host`: the container `outside` with the addresses 192.0.2.9 and 2001:db8::9 on the
/// link `out0` of the host, which has 192.0.2.1 and 2001:db8::1 there and is the container's default gateway.
#[track_caller]
pub fn outside(host: &Host) -> Container {
    let outside = wire(host, "out0", "outside", &["192.0.2.9/24", "2001:db8::9/64"]);
    // The kernel sends neighbour solicitations for forwarded packets only from a link-local address.
    for address in ["192.0.2.1/24", "2001:db8::1/64", "fe80::1/64"] {
        host.command(&["ip", "addr", "add", address, "dev", "out0", "nodad"]);
    }
    for (family, via) in [("-4", "192.0.2.1"), ("-6", "2001:db8::1")] {
        outside.command(&["ip", family, "route", "add", "default", "via", via]);
    }
    // The kernel handles a new carrier in the background, after up to a second.
    for there in ["192.0.2.9", "2001:db8::9"] {
        let there: IpAddr = there.parse().expect("an address");
        assert!(
            host.can_reach(there, Duration::from_secs(10)),
            "{there} is not reached"
        );
    }
    outside
}

/// Adds a default route of `host` on a new link `out` with an MTU of `mtu`. The next hop is 192.0.2.1.
#[track_caller]
pub fn default_route(host: &Host, mtu: u32) {
    host.ip_batch(&[
        &format!("link add out mtu {mtu} up type veth peer name far"),
        "link set far up",
        "addr add 192.0.2.2/24 dev out",
        "route add default via 192.0.2.1",
    ]);
}

/// Returns a `$PATH` in which `iptables` is the legacy variant.
///
/// # Panics
///
/// When it is not installed.
#[track_caller]
pub fn legacy_iptables(host: &Host) -> String {
    let dir = host.dir().join("legacy");
    std::fs::create_dir_all(&dir).expect("create a directory");
    for command in ["iptables", "ip6tables"] {
        for suffix in ["", "-save", "-restore"] {
            let program = PathBuf::from(format!("/usr/sbin/{command}-legacy{suffix}"));
            assert!(program.exists(), "{} is missing", program.display());
            let link = dir.join(format!("{command}{suffix}"));
            if !link.is_symlink() {
                std::os::unix::fs::symlink(&program, &link).expect("create a link");
            }
        }
    }
    format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", dir.display())
}

/// The packet filter rules of `host`, of all variants and families, one line each.
#[track_caller]
pub fn filters(host: &Host) -> Vec<String> {
    let mut lines = Vec::new();
    for argv in [
        &["nft", "list", "ruleset"][..],
        &["iptables-save"],
        &["ip6tables-save"],
        &["iptables-legacy-save"],
        &["ip6tables-legacy-save"],
    ] {
        // Comments contain the time.
        let text = host.command(argv);
        lines.extend(
            text.lines()
                .filter(|line| !line.starts_with('#'))
                .map(String::from),
        );
    }
    lines
}
