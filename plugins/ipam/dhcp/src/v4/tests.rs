//! Unit tests: messages beside `dhcproto`, and the client in simulated time.

use super::client::{Settings, Timing};
use super::message::{BOOTREPLY, BROADCAST, Kind, Message};
use super::options::{self, Options};
use super::{Lease, V4Client};
use crate::client::{Client, Destination, Output, Progress, SocketKind};
use crate::config::Config;
use crate::time::Time;
use dhcproto::{Decodable, Decoder, Encodable, v4};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::time::Duration;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

fn message(options: Options) -> Message {
    let mut chaddr = [0; 16];
    chaddr[..6].copy_from_slice(&MAC);
    Message {
        op: BOOTREPLY,
        htype: 1,
        hlen: 6,
        xid: 0x0102_0304,
        secs: 5,
        flags: BROADCAST,
        ciaddr: Ipv4Addr::new(1, 2, 3, 4),
        yiaddr: ADDRESS,
        chaddr,
        options,
    }
}

#[test]
fn another_decoder_reads_what_is_encoded() {
    let mut options = Options::default();
    options.set(options::MESSAGE_TYPE, [Kind::Request as u8]);
    options.set(options::REQUESTED_ADDRESS, ADDRESS.octets());
    options.set(options::CLIENT_ID, b"\0id".as_slice());
    let bytes = message(options).encode();
    let read = v4::Message::decode(&mut Decoder::new(&bytes)).unwrap();
    assert_eq!((read.xid(), read.secs(), read.hlen()), (0x0102_0304, 5, 6));
    assert_eq!(read.opcode(), v4::Opcode::BootReply);
    assert_eq!(
        (read.ciaddr(), read.yiaddr(), read.chaddr()),
        (Ipv4Addr::new(1, 2, 3, 4), ADDRESS, &MAC[..])
    );
    assert!(read.flags().broadcast());
    let option = |code| read.opts().get(code).cloned();
    assert_eq!(
        option(v4::OptionCode::RequestedIpAddress),
        Some(v4::DhcpOption::RequestedIpAddress(ADDRESS))
    );
    assert_eq!(
        option(v4::OptionCode::ClientIdentifier),
        Some(v4::DhcpOption::ClientIdentifier(b"\0id".to_vec()))
    );
}

#[test]
fn what_another_encoder_writes_is_read() {
    let mut written = v4::Message::default();
    written
        .set_opcode(v4::Opcode::BootReply)
        .set_xid(9)
        .set_yiaddr(ADDRESS)
        .set_chaddr(&MAC);
    let options = written.opts_mut();
    options.insert(v4::DhcpOption::MessageType(v4::MessageType::Ack));
    options.insert(v4::DhcpOption::AddressLeaseTime(u32::MAX));
    options.insert(v4::DhcpOption::Router(vec![SERVER, ADDRESS]));
    let read = Message::decode(&written.to_vec().unwrap()).unwrap();
    assert_eq!(
        (read.op, read.xid, read.yiaddr, read.kind()),
        (BOOTREPLY, 9, ADDRESS, Some(Kind::Ack))
    );
    assert_eq!(read.chaddr[..6], MAC);
    assert_eq!(read.options.time(options::LEASE_TIME), Some(None));
    assert_eq!(read.options.addresses(options::ROUTERS), [SERVER, ADDRESS]);
}

#[test]
fn long_options_are_split_and_put_together() {
    let value: Vec<u8> = (0..=255).chain(0..=99).collect();
    let mut options = Options::default();
    options.set(options::CLASSLESS_ROUTES, value.as_slice());
    options.set(options::MESSAGE, []);
    let bytes = message(options).encode();
    let read = Message::decode(&bytes).unwrap();
    assert_eq!(
        read.options.get(options::CLASSLESS_ROUTES),
        Some(value.as_slice())
    );
    assert_eq!(read.options.get(options::MESSAGE), Some(&[][..]));
}

#[test]
fn options_in_the_fields_of_names_are_read() {
    let mut options = Options::default();
    options.set(options::OVERLOAD, [3]);
    options.set(options::DOMAIN_NAME, b"exa".as_slice());
    let mut bytes = message(options).encode();
    bytes[108..113].copy_from_slice(&[15, 3, b'm', b'p', b'l']);
    bytes[113] = 255;
    bytes[44..51].copy_from_slice(&[15, 1, b'e', 53, 1, 5, 255]);
    let read = Message::decode(&bytes).unwrap();
    // RFC 3396, section 5: first the options, then file, then sname.
    assert_eq!(
        read.options.get(options::DOMAIN_NAME),
        Some(&b"example"[..])
    );
    assert_eq!(read.kind(), Some(Kind::Ack));
}

#[test]
fn malformed_messages_are_refused() {
    let bytes = message(Options::default()).encode();
    assert_eq!(
        Message::decode(&bytes[..235]),
        Err("shorter than 236 bytes")
    );
    assert_eq!(
        Message::decode(&bytes[..239]),
        Err("no options: the magic cookie is missing")
    );
    let mut cut_off = bytes[..240].to_vec();
    cut_off.extend([3, 8, 1]);
    assert_eq!(
        Message::decode(&cut_off),
        Err("an option that is longer than the message")
    );
    assert_eq!(
        Message::decode(&cut_off[..241]),
        Err("an option without a length")
    );
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        let _ = Message::decode(&bytes);
    }

    #[test]
    fn any_options_are_survived(area in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = message(Options::default()).encode()[..240].to_vec();
        bytes.extend(area);
        if let Ok(read) = Message::decode(&bytes) {
            prop_assert_eq!(Message::decode(&read.encode()).unwrap().options, read.options.clone());
            let mut client = Simulated::new(&json!({"request": [{"option": "6"}, {"option": "15"}, {"option": "119"}, {"option": "26"}]}));
            if let Ok(lease) = Lease::granted(&read, SERVER, None, None, client.now) {
                lease.add_to(&client.client.config, &mut Default::default());
                lease.configuration(&client.client.config, client.now);
                lease.mtu(&client.client.config);
            }
            client.run(Duration::from_secs(1));
            client.client.received(client.now, &bytes, None);
        }
    }
}

/// A client in simulated time, and what it has sent, with the time in seconds.
struct Simulated {
    client: V4Client,
    start: Time,
    now: Time,
    sent: Vec<(u64, Message, Destination)>,
    outputs: Vec<Output>,
}

fn settings() -> Settings {
    Settings {
        hardware_type: 1,
        mac: Some(MAC),
        client_id: b"\0id".to_vec(),
        broadcast: false,
        timing: Timing {
            timeout: Duration::from_secs(10),
            resend_max: Duration::from_secs(62),
            resend_timeout: Duration::from_secs(208),
        },
    }
}

impl Simulated {
    fn new(ipam: &Value) -> Simulated {
        let start = Time::now();
        let config = Config::load(ipam, "").unwrap();
        let client = V4Client::new(config, settings(), start);
        Simulated {
            client,
            start,
            now: start,
            sent: Vec::new(),
            outputs: Vec::new(),
        }
    }

    fn take(&mut self) {
        for output in self.client.take() {
            match output {
                Output::Send(datagram) => {
                    let message = Message::decode(&datagram.payload).unwrap();
                    self.sent
                        .push(((self.now - self.start).as_secs(), message, datagram.to));
                }
                other => self.outputs.push(other),
            }
        }
    }

    /// Runs the client's timers for a time.
    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(wake) = self.client.wake().filter(|wake| *wake <= until) {
            self.now = self.now.max(wake);
            self.client.tick(self.now);
            self.take();
        }
        self.now = until;
    }

    /// Answers the last message.
    fn answer(&mut self, kind: Kind, seconds: &[(u8, u32)]) {
        let xid = self.sent.last().unwrap().1.xid;
        let mut options = Options::default();
        options.set(options::MESSAGE_TYPE, [kind as u8]);
        options.set(options::SERVER_ID, SERVER.octets());
        options.set(options::SUBNET_MASK, [255, 255, 255, 0]);
        for (code, value) in seconds {
            options.set(*code, value.to_be_bytes());
        }
        let reply = Message {
            xid,
            ..message(options)
        };
        self.client.received(self.now, &reply.encode(), Some(MAC));
        self.take();
    }

    fn bound(seconds: &[(u8, u32)]) -> Simulated {
        let mut client = Simulated::new(&json!({}));
        client.run(Duration::ZERO);
        client.answer(Kind::Offer, seconds);
        client.answer(Kind::Ack, seconds);
        assert_eq!(client.client.progress(), Progress::Bound);
        client.sent.clear();
        client
    }

    fn times(&self) -> Vec<u64> {
        self.sent.iter().map(|(at, ..)| *at).collect()
    }
}

#[test]
fn waits_for_an_answer_double_and_are_spread() {
    let mut client = Simulated::new(&json!({}));
    client.run(Duration::from_secs(300));
    assert_eq!(
        client.client.progress(),
        Progress::Failed("no more tries".into())
    );
    let times = client.times();
    // 4, 8, 16, 32, 62, 62 seconds, each plus or minus one.
    let waits: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (wait, about) in waits.iter().zip([4, 8, 16, 32, 62, 62]) {
        assert!((about - 2..=about + 2).contains(wait), "{waits:?}");
    }
    assert_eq!(client.sent[2].1.secs, u16::try_from(times[2]).unwrap());
}

#[test]
fn renewals_halve_the_time_left_down_to_a_minute() {
    let mut client = Simulated::bound(&[(options::LEASE_TIME, 3600)]);
    client.run(Duration::from_secs(3600));
    // T1 1800, T2 3150. By unicast: 1800, then halves of the time to T2; by broadcast until
    // the end.
    let by_unicast: Vec<u64> = client
        .sent
        .iter()
        .filter(|(.., to)| *to == Destination::V4(SERVER))
        .map(|(at, ..)| *at)
        .collect();
    assert_eq!(by_unicast, [1800, 2475, 2812, 2981, 3065, 3125]);
    let by_broadcast: Vec<u64> = client.times()[by_unicast.len()..].to_vec();
    assert_eq!(
        by_broadcast,
        [3150, 3375, 3487, 3547, 3600],
        "the last one is a DISCOVER"
    );
    assert_eq!(client.sent.last().unwrap().1.kind(), Some(Kind::Discover));
    assert!(
        client
            .outputs
            .contains(&Output::Remove("10.0.0.5/24".parse().unwrap()))
    );
}

#[test]
fn an_answer_to_a_renewal_is_awaited_for_ten_seconds() {
    let mut client = Simulated::bound(&[(options::LEASE_TIME, 3600)]);
    assert_eq!(client.client.socket(), None);
    client.run(Duration::from_secs(1801));
    assert_eq!(client.client.socket(), Some(SocketKind::Udp(ADDRESS)));
    client.run(Duration::from_secs(10));
    assert_eq!(client.client.socket(), None);
    client.run(Duration::from_secs(700));
    client.answer(Kind::Ack, &[(options::LEASE_TIME, 3600)]);
    assert_eq!(client.client.status(client.now).state, "bound");
    assert_eq!(
        client.client.status(client.now).renews_in,
        Some(Duration::from_secs(1800))
    );
}

#[test]
fn times_of_a_server_are_used_if_they_make_sense() {
    let times = |given: &[(u8, u32)]| {
        let client = Simulated::bound(given);
        let times = client
            .client
            .record()
            .map(|record| record["times"].clone())
            .unwrap();
        let start = serde_json::to_value(client.start)
            .unwrap()
            .as_u64()
            .unwrap();
        ["renew", "rebind", "expiry"]
            .map(|name| times[name].as_u64().map(|time| (time - start) / 1000))
    };
    let (lease, t1, t2) = (
        options::LEASE_TIME,
        options::RENEWAL_TIME,
        options::REBINDING_TIME,
    );
    assert_eq!(times(&[(lease, 800)]), [Some(400), Some(700), Some(800)]);
    assert_eq!(
        times(&[(lease, 800), (t1, 100), (t2, 200)]),
        [Some(100), Some(200), Some(800)]
    );
    assert_eq!(
        times(&[(lease, 800), (t1, 900), (t2, 900)]),
        [Some(400), Some(700), Some(800)]
    );
    assert_eq!(
        times(&[(lease, 800), (t1, 300), (t2, 200)]),
        [Some(200), Some(200), Some(800)]
    );
    assert_eq!(times(&[]), [Some(1800), Some(3150), Some(3600)]);
    assert_eq!(times(&[(lease, 0)]), [Some(1), Some(1), Some(2)]);
    assert_eq!(times(&[(lease, u32::MAX), (t1, 100)]), [None; 3]);
}

#[test]
fn a_lease_without_end_is_never_renewed() {
    let mut client = Simulated::bound(&[(options::LEASE_TIME, u32::MAX)]);
    assert_eq!(client.client.wake(), None);
    client.run(Duration::from_secs(100_000));
    assert_eq!(client.times(), [0; 0]);
}

#[test]
fn a_server_that_always_refuses_is_asked_less_and_less_often() {
    let mut client = Simulated::bound(&[(options::LEASE_TIME, 3600)]);
    client.run(Duration::from_secs(1800));
    let end = client.now + Duration::from_secs(3600);
    while client.now < end {
        let kind = client.sent.last().unwrap().1.kind();
        match kind {
            Some(Kind::Discover) => client.answer(Kind::Offer, &[]),
            _ => client.answer(Kind::Nak, &[]),
        }
        client.run(Duration::from_secs(1));
    }
    assert!(
        client.times().len() < 200,
        "{} messages in an hour",
        client.times().len()
    );
}

#[test]
fn a_record_is_resumed_by_asking_for_the_address() {
    let before = Simulated::bound(&[(options::LEASE_TIME, 3600)]);
    let lease: Lease = serde_json::from_value(before.client.record().unwrap()).unwrap();
    let config = Config::load(&json!({}), "").unwrap();
    let start = before.now + Duration::from_secs(5);
    let client = V4Client::resumed(config, settings(), Some(lease), start);
    let mut client = Simulated {
        client,
        start,
        now: before.now,
        ..before
    };
    assert_eq!(client.client.socket(), None, "not before its turn");
    client.run(Duration::from_secs(6));
    let (_, message, to) = client.sent.last().unwrap();
    assert_eq!(message.kind(), Some(Kind::Request));
    assert_eq!(
        (message.ciaddr, *to),
        (Ipv4Addr::UNSPECIFIED, Destination::V4(Ipv4Addr::BROADCAST))
    );
    assert_eq!(
        message.options.get(options::REQUESTED_ADDRESS),
        Some(&ADDRESS.octets()[..])
    );
    assert_eq!(message.options.get(options::SERVER_ID), None);
    // Without an answer, the lease is used: RFC 2131, section 3.2.
    client.run(Duration::from_secs(120));
    assert_eq!(client.client.status(client.now).state, "bound");
}
