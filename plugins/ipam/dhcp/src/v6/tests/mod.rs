//! The IPv6 client against scripted servers and routers; packets are read by another implementation, `dhcproto`.

use std::net::Ipv6Addr;
use std::time::Duration;

use cni_core::AddResult;
use dhcproto::v6::{self, DhcpOption, MessageType, OptionCode};
use dhcproto::{Decodable as _, Decoder, Encodable as _};

use super::*;

mod leases;
mod routers;

const LINK_LOCAL: &str = "fe80::42:acff:fe11:2";

fn ip(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
}

fn settings(mode: Mode) -> Settings {
    Settings {
        mode,
        rapid_commit: false,
        dad: false,
        prefix_length: 128,
        required: true,
    }
}

/// A client whose clock stands still unless the test moves it.
struct Rig {
    client: Ipv6Client,
    now: Time,
    /// What the client setup done besides sending.
    done: Vec<Output>,
}

impl Rig {
    fn new(settings: Settings) -> Rig {
        let now = Time::now();
        let setup = Setup {
            settings,
            mac: Some([2, 0, 0, 0, 0, 9]),
            iaid: 0x0102_0304,
            index: 7,
            deadline: now + Duration::from_secs(200),
        };
        let mut client = Ipv6Client::new(setup, now);
        client.opened(ip(LINK_LOCAL));
        Rig {
            client,
            now,
            done: Vec::new(),
        }
    }

    /// What the client sends now.
    fn sent(&mut self) -> Vec<Datagram> {
        self.client.tick(self.now);
        let mut sent = Vec::new();
        for output in self.client.take() {
            match output {
                Output::Send(datagram) => sent.push(datagram),
                other => self.done.push(other),
            }
        }
        sent
    }

    /// The one DHCPv6 message that the client sends now.
    fn message(&mut self, kind: MessageType) -> v6::Message {
        let sent = self.sent();
        let [datagram] = &sent[..] else {
            panic!("{} datagrams, {:?}", sent.len(), self.client);
        };
        let to = Destination::V6("[ff02::1:2%7]:547".parse().expect("an address"));
        assert_eq!(datagram.to, to);
        let message = v6::Message::decode(&mut Decoder::new(&datagram.payload));
        let message = message.expect("a message");
        assert_eq!(message.msg_type(), kind);
        message
    }

    fn pass(&mut self, seconds: f64) {
        self.now = self.now + Duration::from_secs_f64(seconds);
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.client.received(self.now, bytes, None);
    }

    /// Answers `request`.
    fn answer(&mut self, kind: MessageType, request: &v6::Message, options: Vec<DhcpOption>) {
        let reply = reply(kind, request, options);
        self.receive(&reply);
    }

    fn addresses(&self) -> Vec<String> {
        let mut result = AddResult::default();
        self.client.add_to(&mut result);
        let all = result.ips.iter();
        all.map(|ip| ip.address.to_string()).collect()
    }

    /// Acquires 2001:db8::5 for 100 s, T1 after 20 s and T2 after 50 s.
    fn bind(&mut self) {
        let solicit = self.message(MessageType::Solicit);
        let offer = ia("2001:db8::5", 20, 50, 80, 100);
        self.answer(MessageType::Advertise, &solicit, vec![offer.clone()]);
        self.pass(1.2);
        let request = self.message(MessageType::Request);
        self.answer(MessageType::Reply, &request, vec![offer]);
        self.sent();
        assert_eq!(self.client.progress(), Progress::Bound);
        assert_eq!(self.addresses(), ["2001:db8::5/128"]);
        self.done.clear();
    }
}

fn ia(address: &str, t1: u32, t2: u32, preferred_life: u32, valid_life: u32) -> DhcpOption {
    let address = v6::IAAddr {
        addr: ip(address),
        preferred_life,
        valid_life,
        opts: v6::DhcpOptions::new(),
    };
    association(t1, t2, vec![DhcpOption::IAAddr(address)])
}

fn association(t1: u32, t2: u32, options: Vec<DhcpOption>) -> DhcpOption {
    DhcpOption::IANA(v6::IANA {
        id: 0x0102_0304,
        t1,
        t2,
        opts: options.into_iter().collect(),
    })
}

fn status(status: v6::Status) -> DhcpOption {
    DhcpOption::StatusCode(v6::StatusCode {
        status,
        msg: "no\nluck".into(),
    })
}

fn reply(kind: MessageType, request: &v6::Message, options: Vec<DhcpOption>) -> Vec<u8> {
    reply_of(kind, request, &[0, 3, 0, 1, 2, 0, 0, 0, 0, 1], options)
}

fn reply_of(
    kind: MessageType,
    request: &v6::Message,
    server: &[u8],
    options: Vec<DhcpOption>,
) -> Vec<u8> {
    let mut message = v6::Message::new_with_id(kind, request.xid());
    let client = request.opts().get(OptionCode::ClientId).expect("a DUID");
    let own = message.opts_mut();
    own.insert(client.clone());
    own.insert(DhcpOption::ServerId(server.to_vec()));
    options.into_iter().for_each(|option| own.insert(option));
    message.to_vec().expect("encodable")
}
