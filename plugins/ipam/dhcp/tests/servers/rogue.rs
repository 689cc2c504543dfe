//! Servers that do not keep to the protocol.

use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::Duration;

use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode};
use dhcproto::{Decodable as _, Decoder, Encodable as _};
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::json;
use testkit::Node as _;
use testkit::dhcp;

use crate::common::Rig;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 66);

/// A reply of the server `from` that assigns `address`.
fn reply(to: &Message, kind: MessageType, from: Ipv4Addr, address: Ipv4Addr) -> Message {
    let mut reply = Message::default();
    reply
        .set_opcode(Opcode::BootReply)
        .set_xid(to.xid())
        .set_yiaddr(address)
        .set_chaddr(to.chaddr());
    let options = reply.opts_mut();
    options.insert(DhcpOption::MessageType(kind));
    options.insert(DhcpOption::ServerIdentifier(from));
    options.insert(DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)));
    options.insert(DhcpOption::AddressLeaseTime(600));
    reply
}

/// Runs ADD against a server on the segment that sends what `answers` returns for each message. Returns the result's
/// first address.
fn add_with(answers: impl Fn(&Message) -> Vec<Vec<u8>> + Send + 'static) -> String {
    let rig = Rig::new();
    let node = dhcp::node(&rig.host, "s1", &["10.9.0.1/24"]);
    let socket = node
        .enter(|| UdpSocket::bind("0.0.0.0:67"))
        .expect("a socket");
    // The limited broadcast address has no route.
    setsockopt(&socket, sockopt::BindToDevice, &"eth0".into()).expect("a device");
    socket.set_broadcast(true).expect("broadcast");
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a timeout");
    let server = thread::spawn(move || {
        let mut buffer = [0; 1500];
        loop {
            let (length, _) = socket.recv_from(&mut buffer)?;
            let message = Message::decode(&mut Decoder::new(&buffer[..length])).expect("a message");
            if message.opts().msg_type() == Some(MessageType::Release) {
                return std::io::Result::Ok(());
            }
            for answer in answers(&message) {
                socket.send_to(&answer, "255.255.255.255:68")?;
            }
        }
    });
    let result = rig.add(&json!({}));
    rig.del(&json!({}));
    server.join().expect("no panic").expect("a release arrives");
    result["ips"][0]["address"]
        .as_str()
        .expect("an address")
        .to_owned()
}

fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().expect("encodable")
}

#[test]
fn answers_of_the_wrong_server_are_ignored() {
    let address = add_with(|message| {
        let [right, wrong] = [(SERVER, [10, 9, 0, 10]), (OTHER, [10, 9, 0, 11])];
        let answer = |kind, (server, address): (Ipv4Addr, [u8; 4])| {
            bytes(&reply(message, kind, server, address.into()))
        };
        match message.opts().msg_type() {
            Some(MessageType::Discover) => vec![answer(MessageType::Offer, right)],
            _ => vec![
                answer(MessageType::Nak, wrong),
                answer(MessageType::Ack, wrong),
                answer(MessageType::Ack, right),
            ],
        }
    });
    assert_eq!(address, "10.9.0.10/24");
}

#[test]
fn malformed_and_foreign_messages_are_ignored() {
    let address = add_with(|message| {
        let kind = match message.opts().msg_type() {
            Some(MessageType::Discover) => MessageType::Offer,
            _ => MessageType::Ack,
        };
        let right = reply(message, kind, SERVER, Ipv4Addr::new(10, 9, 0, 10));
        let mut foreign = right.clone();
        foreign.set_xid(message.xid() ^ 1).set_yiaddr(OTHER);
        let mut not_ours = right.clone();
        not_ours.set_chaddr(&[2; 6]).set_yiaddr(OTHER);
        let good = bytes(&right);
        let mut looping = good.clone();
        // An option that is longer than the message.
        looping.truncate(240);
        looping.extend([53, 200, 1]);
        vec![
            Vec::new(),
            vec![0; 1],
            good[..200].to_vec(),
            looping,
            vec![0xff; 1472],
            bytes(&foreign),
            bytes(&not_ours),
            good,
        ]
    });
    assert_eq!(address, "10.9.0.10/24");
}

#[test]
fn a_message_of_the_largest_size_is_read() {
    let address = add_with(|message| {
        let kind = match message.opts().msg_type() {
            Some(MessageType::Discover) => MessageType::Offer,
            _ => MessageType::Ack,
        };
        let mut answer = bytes(&reply(message, kind, SERVER, Ipv4Addr::new(10, 9, 0, 10)));
        // The end option is the last byte; options of a site are ignored.
        while answer.last() == Some(&0) {
            answer.pop();
        }
        assert_eq!(answer.pop(), Some(255));
        for _ in 0..4 {
            answer.extend([224, 255]);
            answer.extend([7; 255]);
        }
        answer.push(255);
        vec![answer]
    });
    assert_eq!(address, "10.9.0.10/24");
}
