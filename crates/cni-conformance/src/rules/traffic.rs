//! TCP and UDP between nodes, with the address that the server sees.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use testkit::Node;

/// The time after which packets count as dropped.
const DROPPED: Duration = Duration::from_millis(700);

/// A server of a node, for both families.
pub(super) struct Server {
    tcp: TcpListener,
    udp: UdpSocket,
}

impl Server {
    /// Listens on `port` of all addresses of a node.
    #[track_caller]
    pub(super) fn new(node: &impl Node, port: u16) -> Server {
        let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        let sockets = node.enter(|| Ok((TcpListener::bind(any)?, UdpSocket::bind(any)?)));
        let sockets: std::io::Result<_> = sockets;
        let (tcp, udp) = sockets.unwrap_or_else(|err| panic!("{} on {any}: {err}", node.label()));
        tcp.set_nonblocking(true).expect("a flag of a socket");
        Server { tcp, udp }
    }

    /// The address from which a TCP connection of `from` to `to` arrives. It must arrive soon.
    #[track_caller]
    pub(super) fn sees(&self, from: &impl Node, to: &str) -> String {
        let wait = super::support::SOON * testkit::patience();
        let source = self.tcp_source(from, to, wait);
        source.unwrap_or_else(|why| panic!("no connection of {} to {to}: {why}", from.label()))
    }

    /// A TCP connection of `from` to `to` must not arrive.
    #[track_caller]
    pub(super) fn misses(&self, from: &impl Node, to: &str) {
        if let Ok(source) = self.tcp_source(from, to, DROPPED) {
            panic!(
                "a connection of {} to {to} arrives, from {source}",
                from.label()
            );
        }
    }

    fn tcp_source(&self, from: &impl Node, to: &str, wait: Duration) -> Result<String, String> {
        let target: SocketAddr = to.parse().map_err(|err| format!("{to}: {err}"))?;
        let client = from.enter(|| TcpStream::connect_timeout(&target, wait));
        let client = client.map_err(|err| err.to_string())?;
        let end = Instant::now() + wait;
        loop {
            match self.tcp.accept() {
                Ok((_, peer)) => {
                    drop(client);
                    return Ok(text(peer.ip()));
                }
                Err(err) if err.kind() == ErrorKind::WouldBlock && Instant::now() < end => {
                    thread::sleep(Duration::from_millis(2));
                }
                Err(_) => return Err("another server has accepted it".into()),
            }
        }
    }

    /// Sends datagrams from `client` to `to` until one arrives, which must be soon. Returns its source address.
    #[track_caller]
    pub(super) fn receives(&self, client: &UdpSocket, to: &str) -> String {
        let end = Instant::now() + super::support::SOON * testkit::patience();
        let wait = Some(Duration::from_millis(200));
        self.udp
            .set_read_timeout(wait)
            .expect("a timeout of a socket");
        while Instant::now() < end {
            // An error message of an earlier datagram does not matter.
            let _ = client.send_to(b"datagram", to);
            if let Ok((_, peer)) = self.udp.recv_from(&mut [0; 100]) {
                return text(peer.ip());
            }
        }
        panic!("no datagram to {to} arrives")
    }
}

/// A socket of a node for datagrams of a family.
#[track_caller]
pub(super) fn udp_client(node: &impl Node, local: &str) -> UdpSocket {
    let socket = node.enter(|| UdpSocket::bind(local));
    socket.unwrap_or_else(|err| panic!("{} on {local}: {err}", node.label()))
}

fn text(address: IpAddr) -> String {
    address.to_canonical().to_string()
}
