//! A DHCPv4 server that follows a script, and keeps what it has received.
//!
//! Messages are decoded and encoded by `dhcproto`, independently of the code under test.

use crate::lan::{SERVER, eventually};
use dhcproto::v4::{DhcpOption, Flags, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable};
use nix::cmsg_space;
use nix::libc::in_pktinfo;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};
use std::io::IoSliceMut;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};
use testkit::{Container, Node};

/// The address that the usual script leases.
pub(crate) const LEASED: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 77);

/// A message of a client.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) message: Message,
    /// The source address of the packet, and its destination.
    pub(crate) from: Ipv4Addr,
    pub(crate) to: Ipv4Addr,
    /// Length of the message in bytes.
    pub(crate) length: usize,
    pub(crate) at: Instant,
}

impl Seen {
    pub(crate) fn kind(&self) -> MessageType {
        match self.message.opts().get(OptionCode::MessageType) {
            Some(DhcpOption::MessageType(kind)) => *kind,
            other => panic!("no message type: {other:?}"),
        }
    }

    pub(crate) fn has(&self, code: OptionCode) -> bool {
        self.message.opts().get(code).is_some()
    }

    /// The numbers of the options.
    pub(crate) fn codes(&self) -> Vec<u8> {
        let mut codes: Vec<u8> = self
            .message
            .opts()
            .iter()
            .map(|(code, _)| u8::from(*code))
            .collect();
        codes.sort_unstable();
        codes.retain(|code| *code != 255);
        codes
    }

    /// Whether it was sent by broadcast.
    pub(crate) fn is_broadcast(&self) -> bool {
        self.to == Ipv4Addr::BROADCAST
    }

    /// A reply with the fields that every server copies.
    pub(crate) fn reply(&self, kind: MessageType, yiaddr: Ipv4Addr) -> Message {
        let mut reply = Message::default();
        reply.set_opcode(Opcode::BootReply);
        reply.set_xid(self.message.xid());
        reply.set_flags(self.message.flags());
        reply.set_chaddr(self.message.chaddr());
        reply.set_yiaddr(yiaddr);
        reply.opts_mut().insert(DhcpOption::MessageType(kind));
        reply
            .opts_mut()
            .insert(DhcpOption::ServerIdentifier(SERVER.parse().unwrap()));
        reply
    }

    /// An offer or acknowledgement of `address` with these lease, T1 and T2 times in seconds.
    pub(crate) fn grant(&self, kind: MessageType, address: Ipv4Addr, times: [u32; 3]) -> Message {
        let mut reply = self.reply(kind, address);
        let options = reply.opts_mut();
        options.insert(DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)));
        options.insert(DhcpOption::Router(vec![SERVER.parse().unwrap()]));
        options.insert(DhcpOption::AddressLeaseTime(times[0]));
        options.insert(DhcpOption::Renewal(times[1]));
        options.insert(DhcpOption::Rebinding(times[2]));
        reply
    }

    /// The replies of a server that grants `address` to everyone.
    pub(crate) fn granted(&self, address: Ipv4Addr, times: [u32; 3]) -> Vec<Message> {
        match self.kind() {
            MessageType::Discover => vec![self.grant(MessageType::Offer, address, times)],
            MessageType::Request => vec![self.grant(MessageType::Ack, address, times)],
            _ => Vec::new(),
        }
    }
}

/// A running server.
pub(crate) struct Scripted {
    seen: Arc<Mutex<Vec<Seen>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Scripted {
    /// Starts a server on `eth0` of a container; `script` returns the replies to a message,
    /// and is told how many there were before it.
    pub(crate) fn start(
        node: &Container,
        script: impl Fn(&Seen, usize) -> Vec<Message> + Send + 'static,
    ) -> Scripted {
        let (seen, is_over) = (Arc::default(), Arc::default());
        let shared: (Arc<Mutex<Vec<Seen>>>, Arc<AtomicBool>) =
            (Arc::clone(&seen), Arc::clone(&is_over));
        let socket = node.enter(|| {
            let socket = UdpSocket::bind("0.0.0.0:67").unwrap();
            setsockopt(&socket, sockopt::BindToDevice, &"eth0".into()).unwrap();
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true).unwrap();
            socket
        });
        socket.set_broadcast(true).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let thread = spawn(move || serve(&socket, &shared.0, &shared.1, script));
        Scripted {
            seen,
            is_over,
            thread: Some(thread),
        }
    }

    /// Starts a server that grants [`LEASED`] to everyone, with these times.
    pub(crate) fn granting(node: &Container, times: [u32; 3]) -> Scripted {
        Scripted::start(node, move |seen, _| seen.granted(LEASED, times))
    }

    /// All messages so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The messages of one type.
    pub(crate) fn of(&self, kind: MessageType) -> Vec<Seen> {
        let mut seen = self.seen();
        seen.retain(|seen| seen.kind() == kind);
        seen
    }

    /// Waits until there are this many messages of a type, and returns them.
    #[track_caller]
    pub(crate) fn wait_for(&self, kind: MessageType, count: usize) -> Vec<Seen> {
        eventually(&format!("{count} of {kind:?}"), || {
            self.of(kind).len() >= count
        });
        self.of(kind)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    socket: &UdpSocket,
    log: &Mutex<Vec<Seen>>,
    is_over: &AtomicBool,
    script: impl Fn(&Seen, usize) -> Vec<Message>,
) {
    while !is_over.load(Ordering::Relaxed) {
        let Some(seen) = receive(socket) else {
            continue;
        };
        let before = log.lock().unwrap().len();
        let replies = script(&seen, before);
        log.lock().unwrap().push(seen.clone());
        for reply in replies {
            // RFC 2131, section 4.1: to the client's address if it has one; else by broadcast
            // here, because without ARP there is no other way to it. A NAK always so.
            let kind = reply.opts().get(OptionCode::MessageType);
            let is_nak = kind == Some(&DhcpOption::MessageType(MessageType::Nak));
            let to = match seen.message.ciaddr() {
                address if address.is_unspecified() || is_nak => Ipv4Addr::BROADCAST,
                address => address,
            };
            let _ = socket.send_to(&reply.to_vec().unwrap(), SocketAddrV4::new(to, 68));
        }
    }
}

fn receive(socket: &UdpSocket) -> Option<Seen> {
    let mut buffer = [0; 4096];
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let mut control = cmsg_space!(in_pktinfo);
    let received = recvmsg::<SockaddrIn>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::empty(),
    )
    .ok()?;
    let (length, from) = (received.bytes, received.address?.ip());
    let to = received.cmsgs().ok()?.find_map(|message| match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)))
        }
        _ => None,
    })?;
    let message = Message::decode(&mut Decoder::new(&buffer[..length])).expect("a DHCP message");
    Some(Seen {
        message,
        from,
        to,
        length,
        at: Instant::now(),
    })
}

/// The flags with the broadcast bit.
pub(crate) fn broadcast_flag() -> Flags {
    Flags::default().set_broadcast()
}
