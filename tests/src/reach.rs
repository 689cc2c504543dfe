//! Connections between nodes, and who the other end takes their client for.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use testkit::Node;

/// The limit on the wait for a connection.
const LONG: Duration = Duration::from_secs(20);
/// How long to wait for one that must not come about, or for a datagram to arrive before it is sent again.
const SHORT: Duration = Duration::from_millis(300);

/// Returns the address of a client in `from` that connects to port `port` of `to`, as a TCP server at `served` of `server`
/// sees it; an error if the connection is refused or another's.
///
/// # Errors
///
/// What happened instead.
///
/// # Panics
///
/// When the server cannot listen.
pub fn tcp(
    server: &impl Node,
    served: u16,
    from: &impl Node,
    (to, port): (&str, u16),
) -> Result<IpAddr, String> {
    let listener = server.enter(|| TcpListener::bind(("::", served))).unwrap();
    listener.set_nonblocking(true).unwrap();
    let connected = from.enter(|| TcpStream::connect_timeout(&address(to, port), LONG));
    let stream = connected.map_err(|err| format!("{} to {to}:{port}: {err}", from.label()))?;
    let end = Instant::now() + LONG;
    loop {
        match listener.accept() {
            Ok((_, client)) => return Ok(client.ip().to_canonical()),
            Err(err) if err.kind() != ErrorKind::WouldBlock => return Err(err.to_string()),
            Err(_) if Instant::now() > end => return Err(format!("another answers: {stream:?}")),
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// The same with UDP. Datagrams are sent until one arrives.
///
/// # Errors
///
/// When none arrives.
///
/// # Panics
///
/// When sockets cannot be bound.
pub fn udp(
    server: &impl Node,
    served: u16,
    from: &impl Node,
    (to, port): (&str, u16),
) -> Result<IpAddr, String> {
    let socket = server.enter(|| UdpSocket::bind(("::", served))).unwrap();
    socket.set_read_timeout(Some(SHORT)).unwrap();
    let to = address(to, port);
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let client = from.enter(|| UdpSocket::bind((any, 0))).unwrap();
    let end = Instant::now() + LONG;
    while Instant::now() < end {
        client
            .send_to(b"question", to)
            .map_err(|err| err.to_string())?;
        if let Ok((_, source)) = socket.recv_from(&mut [0; 16]) {
            return Ok(source.ip().to_canonical());
        }
    }
    Err(format!("{} to {to}: no datagram arrives", from.label()))
}

/// Whether anything answers a client in `from` that connects to port `port` of `to`.
///
/// # Panics
///
/// When `to` is not an address.
pub fn is_open(from: &impl Node, (to, port): (&str, u16)) -> bool {
    from.enter(|| TcpStream::connect_timeout(&address(to, port), SHORT))
        .is_ok()
}

fn address(text: &str, port: u16) -> SocketAddr {
    SocketAddr::new(text.parse().unwrap(), port)
}
