//! Sockets of the clients, which are open only while an answer is awaited.

use crate::client::{Datagram, Destination, Mac, SocketKind};
use crate::sys::{self, Instruction};
use crate::v4::packet;
use crate::v6::Socket6;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, SockaddrIn, bind, sendmsg,
    setsockopt, socket, sockopt,
};
use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// `ETH_P_IP` and `ETH_P_ARP` of linux/if_ether.h.
const ETH_P_IP: u16 = 0x0800;
const ETH_P_ARP: u16 = 0x0806;
const BROADCAST: Mac = [0xff; 6];

/// Passes UDP to the port of DHCP clients, no fragments.
const FOR_CLIENTS: &[Instruction] = &[
    // ldb [9]; jeq #17
    (0x30, 0, 0, 9),
    (0x15, 0, 6, 17),
    // ldh [6]; jset #0x3fff
    (0x28, 0, 0, 6),
    (0x45, 4, 0, 0x3fff),
    // ldxb 4*([0]&0xf); ldh [x + 2]; jeq #68
    (0xb1, 0, 0, 0),
    (0x48, 0, 0, 2),
    (0x15, 0, 1, 68),
    // ret #262144; ret #0
    (0x06, 0, 0, 0x0004_0000),
    (0x06, 0, 0, 0),
];

/// An open socket of a client.
pub(crate) struct Socket {
    pub(crate) kind: SocketKind,
    /// Index of the link.
    index: u32,
    fd: Io,
}

enum Io {
    Packet(PacketSocket),
    Udp(UdpSocket),
    V6(Socket6),
}

impl Socket {
    /// Opens a socket on a link of the calling thread's network namespace.
    ///
    /// # Errors
    /// Those of the kernel.
    pub(crate) fn open(kind: SocketKind, index: u32, name: &str) -> io::Result<Socket> {
        let fd = match kind {
            SocketKind::Packet(_) => Io::Packet(PacketSocket::open(index, ETH_P_IP, FOR_CLIENTS)?),
            SocketKind::Arp => Io::Packet(PacketSocket::open(index, ETH_P_ARP, &[])?),
            SocketKind::Udp(address) => Io::Udp(udp_socket(address, name)?),
            SocketKind::Udp6 => Io::V6(Socket6::udp(index, name)?),
            SocketKind::Icmp6 => Io::V6(Socket6::icmp(index, name)?),
        };
        Ok(Socket { kind, index, fd })
    }

    /// The link-local address that an IPv6 socket is bound to.
    pub(crate) fn link_local(&self) -> Option<Ipv6Addr> {
        match &self.fd {
            Io::V6(socket) => Some(socket.link_local),
            _ => None,
        }
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// Those of the kernel.
    pub(crate) fn send(&self, datagram: &Datagram) -> io::Result<()> {
        let payload = &datagram.payload;
        match (&self.fd, datagram.to, self.kind) {
            (Io::Packet(fd), Destination::V4(to), SocketKind::Packet(from)) => {
                let packet = packet::encode(payload, from, to);
                sys::send_packet(fd, &packet, self.index, ETH_P_IP, BROADCAST)
            }
            (Io::Packet(fd), Destination::V4Via(to, mac), SocketKind::Packet(from)) => {
                let packet = packet::encode(payload, from, to);
                sys::send_packet(fd, &packet, self.index, ETH_P_IP, mac)
            }
            (Io::Packet(fd), Destination::Arp, _) => {
                sys::send_packet(fd, payload, self.index, ETH_P_ARP, BROADCAST)
            }
            (
                Io::Udp(socket),
                Destination::V4(to) | Destination::V4Via(to, _),
                SocketKind::Udp(from),
            ) => send_from(socket, from, to, payload),
            (Io::V6(socket), Destination::V6(to), _) => socket.send(payload, to),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Receives a datagram for the client into `buffer`; `None` for a packet that is not for
    /// it.
    ///
    /// # Errors
    /// Those of the kernel; `WouldBlock` if there is none.
    pub(crate) fn receive<'b>(
        &self,
        buffer: &'b mut [u8],
    ) -> io::Result<Option<(&'b [u8], Option<Mac>)>> {
        match &self.fd {
            Io::Packet(fd) => {
                let (length, mac) = sys::receive_packet(fd, buffer)?;
                // A longer packet is cut off.
                let packet = &buffer[..length.min(buffer.len())];
                let payload = match self.kind {
                    SocketKind::Packet(_) => packet::decode(packet),
                    _ => Some(packet),
                };
                Ok(payload.map(|payload| (payload, mac)))
            }
            Io::V6(socket) => Ok(socket.receive(buffer)?.map(|payload| (payload, None))),
            Io::Udp(socket) => {
                let length = socket.recv(buffer)?;
                Ok(Some((&buffer[..length], None)))
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.fd {
            Io::Packet(fd) => fd.as_fd(),
            Io::Udp(socket) => socket.as_fd(),
            Io::V6(socket) => socket.as_fd(),
        }
    }
}

const FLAGS: SockFlag = SockFlag::SOCK_CLOEXEC.union(SockFlag::SOCK_NONBLOCK);

/// Packet sockets that threads are closing.
static CLOSING: AtomicUsize = AtomicUsize::new(0);
/// Most of them; further ones are closed at once.
const MOST_CLOSING: usize = 64;
/// Bytes of the stack of a thread that closes a socket.
const STACK: usize = 64 << 10;

/// A packet socket.
///
/// Whoever closes one has to wait until no processor uses it any more, for some 10 ms. A
/// thread does that, so that neither the plugin that waits for the lease nor the other leases
/// have to.
struct PacketSocket(Option<OwnedFd>);

impl PacketSocket {
    /// Opens a packet socket. Without a protocol it receives nothing until it is bound, so
    /// that no packet of another link gets past the filter.
    fn open(index: u32, protocol: u16, filter: &[Instruction]) -> io::Result<PacketSocket> {
        let fd = socket(AddressFamily::Packet, SockType::Datagram, FLAGS, None)?;
        if !filter.is_empty() {
            sys::attach_filter(&fd, filter)?;
        }
        sys::bind_packet(&fd, index, protocol)?;
        Ok(PacketSocket(Some(fd)))
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // There until it is dropped.
        self.0.as_ref().expect("an open socket").as_fd()
    }
}

impl Drop for PacketSocket {
    fn drop(&mut self) {
        let fd = self.0.take();
        if CLOSING.fetch_add(1, Ordering::Relaxed) < MOST_CLOSING {
            let close = move || {
                drop(fd);
                CLOSING.fetch_sub(1, Ordering::Relaxed);
            };
            // Without a thread it is closed here.
            let thread = thread::Builder::new().stack_size(STACK).spawn(close);
            if thread.is_ok() {
                return;
            }
        }
        CLOSING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Opens the socket of a client that has an address. While it is open, the kernel does not
/// answer the server's messages with "port unreachable".
///
/// It is bound to no address, since a refusal is broadcast (RFC 2131, section 4.3.2), which a
/// socket with an address does not receive.
fn udp_socket(address: Ipv4Addr, link: &str) -> io::Result<UdpSocket> {
    let fd = socket(AddressFamily::Inet, SockType::Datagram, FLAGS, None)?;
    // Another DHCP client of the container may have the port as well.
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    setsockopt(&fd, sockopt::Broadcast, &true)?;
    setsockopt(&fd, sockopt::BindToDevice, &OsString::from(link))?;
    // Fails if the interface has lost the address.
    UdpSocket::bind((address, 0))?;
    let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, packet::CLIENT_PORT);
    bind(fd.as_raw_fd(), &SockaddrIn::from(any))?;
    Ok(fd.into())
}

/// Sends a datagram from one of the addresses of the interface.
fn send_from(socket: &UdpSocket, from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> io::Result<()> {
    let source = libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr {
            s_addr: u32::from(from).to_be(),
        },
        ipi_addr: libc::in_addr { s_addr: 0 },
    };
    let to = SockaddrIn::from(SocketAddrV4::new(to, packet::SERVER_PORT));
    sendmsg(
        socket.as_raw_fd(),
        &[IoSlice::new(payload)],
        &[ControlMessage::Ipv4PacketInfo(&source)],
        MsgFlags::empty(),
        Some(&to),
    )?;
    Ok(())
}
