//! Sockets for DHCPv6 and for router and neighbour discovery.

use std::ffi::OsString;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6,
    bind, recvmsg, sendto, setsockopt, socket, sockopt,
};
use plugin_kit::sysctl;
use rtnl::{Family, Handle};

/// The port of DHCPv6 clients (RFC 8415, 7.2).
const CLIENT_PORT: u16 = 546;

/// Hop limit of packets that no router has forwarded (RFC 4861, 6.1 and 7.1).
const NOT_FORWARDED: i32 = 255;

const FLAGS: SockFlag = SockFlag::SOCK_CLOEXEC.union(SockFlag::SOCK_NONBLOCK);

/// A socket on a link, and the link's link-local address.
pub(crate) struct Socket6 {
    fd: Fd,
    index: u32,
    pub(crate) link_local: Ipv6Addr,
}

enum Fd {
    Udp(UdpSocket),
    Icmp(OwnedFd),
}

impl Socket6 {
    /// Opens the socket of a DHCPv6 client on a link of the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// Those of the kernel; `EADDRNOTAVAIL` until the link has a usable link-local address.
    pub(crate) fn udp(index: u32, name: &str) -> io::Result<Socket6> {
        let link_local = link_local(index, name)?;
        let fd = socket(AddressFamily::Inet6, SockType::Datagram, FLAGS, None)?;
        // Another client of the container may have the port as well.
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
        setsockopt(&fd, sockopt::BindToDevice, &OsString::from(name))?;
        let address = SockaddrIn6::from(SocketAddrV6::new(link_local, CLIENT_PORT, 0, index));
        bind(fd.as_raw_fd(), &address)?;
        Ok(Socket6 {
            fd: Fd::Udp(fd.into()),
            index,
            link_local,
        })
    }

    /// Opens a socket for ICMPv6 in the same way.
    ///
    /// # Errors
    ///
    /// As of [`Socket6::udp`].
    pub(crate) fn icmp(index: u32, name: &str) -> io::Result<Socket6> {
        let link_local = link_local(index, name)?;
        let protocol = SockProtocol::IcmpV6;
        let fd = socket(AddressFamily::Inet6, SockType::Raw, FLAGS, protocol)?;
        setsockopt(&fd, sockopt::BindToDevice, &OsString::from(name))?;
        setsockopt(&fd, sockopt::Ipv6MulticastHops, &NOT_FORWARDED)?;
        setsockopt(&fd, sockopt::Ipv6RecvHopLimit, &true)?;
        Ok(Socket6 {
            fd: Fd::Icmp(fd),
            index,
            link_local,
        })
    }

    /// Sends a datagram.
    ///
    /// # Errors
    ///
    /// Those of the kernel.
    pub(crate) fn send(&self, payload: &[u8], to: SocketAddrV6) -> io::Result<()> {
        // On the host, from which a release is sent if the container is gone, the link has another index.
        let to = SocketAddrV6::new(*to.ip(), to.port(), 0, self.index);
        match &self.fd {
            Fd::Udp(socket) => socket.send_to(payload, to).map(drop),
            Fd::Icmp(fd) => {
                let to = SockaddrIn6::from(to);
                Ok(sendto(fd.as_raw_fd(), payload, &to, MsgFlags::empty()).map(drop)?)
            }
        }
    }

    /// Receives a datagram into `buffer`; `None` for a packet that a router has forwarded.
    ///
    /// # Errors
    ///
    /// Those of the kernel; `WouldBlock` if there is none.
    pub(crate) fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
        let (length, is_near) = match &self.fd {
            Fd::Udp(socket) => (socket.recv(buffer)?, true),
            Fd::Icmp(fd) => {
                let mut space = nix::cmsg_space!(i32);
                let mut slices = [IoSliceMut::new(buffer)];
                let flags = MsgFlags::empty();
                let message =
                    recvmsg::<SockaddrIn6>(fd.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
                let mut control = message.cmsgs()?;
                let is_near =
                    control.any(|found| found == ControlMessageOwned::Ipv6HopLimit(NOT_FORWARDED));
                (message.bytes, is_near)
            }
        };
        Ok(buffer.get(..length).filter(|_| is_near))
    }
}

impl AsFd for Socket6 {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.fd {
            Fd::Udp(socket) => socket.as_fd(),
            Fd::Icmp(fd) => fd.as_fd(),
        }
    }
}

/// The usable link-local address of a link. Switches IPv6 on where a runtime has switched it off.
fn link_local(index: u32, name: &str) -> io::Result<Ipv6Addr> {
    let addresses = Handle::open()
        .and_then(|handle| handle.addresses(index, Some(Family::V6)))
        .map_err(io::Error::other)?;
    let mut found = addresses.iter().filter_map(|address| match address.addr {
        IpAddr::V6(ip) if ip.is_unicast_link_local() && !address.is_tentative() => Some(ip),
        _ => None,
    });
    if let Some(address) = found.next() {
        return Ok(address);
    }
    if addresses.is_empty() {
        sysctl::ensure(&format!("net/ipv6/conf/{name}/disable_ipv6"), "0")?;
    }
    Err(Errno::EADDRNOTAVAIL.into())
}
