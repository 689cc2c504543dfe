//! Unit tests: bytes of Go's documentation, round trips, and any bytes.

use super::gob::{Decoder, Encoder, Value};
use super::values::structure;
use super::*;
use cni_core::{AddResult, Dns, IpConfig, Route};
use proptest::prelude::*;

/// The value of a structure of two numbers, with the definition of its type: the example at
/// the end of the documentation of `encoding/gob`.
const POINT: &[u8] = b"\x1f\xff\x81\x03\x01\x01\x05Point\x01\xff\x82\x00\x01\x02\x01\x01X\x01\x04\x00\x01\x01Y\x01\x04\x00\x00\x00\x07\xff\x82\x01\x2c\x01\x42\x00";

#[test]
fn the_example_of_the_documentation_is_read_and_written() {
    let mut decoder = Decoder::default();
    let (definition, value) = (&POINT[1..32], &POINT[33..]);
    assert_eq!(decoder.message(definition), Ok(None));
    let point = structure([("X", Value::Int(22)), ("Y", Value::Int(33))]);
    assert_eq!(decoder.message(value), Ok(Some(point.clone())));
    const TYPE: &[Definition] = &[super::structure(65, "Point", &[("X", INT), ("Y", INT)])];
    let mut written = Vec::new();
    Encoder::new(TYPE).put(&mut written, 65, &point);
    assert_eq!(written, POINT);
}

fn arguments() -> Arguments {
    Arguments {
        container_id: "c1".into(),
        netns: "/run/netns/c1".into(),
        if_name: "eth0".into(),
        args: "K=V".into(),
        stdin: vec![b'x'; 1000],
    }
}

/// The bytes of a client, and the server that has taken them.
fn connected(method: &str) -> (Caller, Server) {
    let (mut caller, mut server) = (Caller::default(), Server::default());
    server.receive(Caller::greeting().as_bytes());
    assert!(server.request().unwrap().is_none());
    caller.receive(&std::mem::take(&mut server.output));
    assert_eq!(caller.is_connected(), Ok(true));
    server.receive(&Caller::call(method, &arguments()));
    (caller, server)
}

#[test]
fn calls_and_replies_survive_the_wire() {
    let result = AddResult {
        ips: vec![
            IpConfig {
                gateway: Some("10.0.0.1".parse().unwrap()),
                ..IpConfig::new("10.0.0.5/22".parse().unwrap())
            },
            IpConfig::new("fd00::5/128".parse().unwrap()),
        ],
        routes: vec![Route {
            gw: Some("fd00::1".parse().unwrap()),
            mtu: 1400,
            priority: -3,
            scope: Some(253),
            ..Route::to("::/0".parse().unwrap())
        }],
        dns: Dns {
            nameservers: vec!["10.0.0.1".into()],
            search: vec!["a".into(), "b".into()],
            ..Dns::default()
        },
        ..AddResult::default()
    };
    for reply in [
        Ok(Reply::Result(Box::new(result))),
        Ok(Reply::Nothing),
        Ok(Reply::Text("[]".into())),
        Err("no more tries".to_owned()),
    ] {
        let (mut caller, mut server) = connected(ALLOCATE);
        let request = server.request().unwrap().unwrap();
        assert_eq!(
            (request.method.as_str(), &request.arguments),
            (ALLOCATE, &arguments())
        );
        server.respond(&request, &reply);
        // Byte by byte.
        let mut received = None;
        for byte in std::mem::take(&mut server.output) {
            assert!(received.is_none());
            caller.receive(&[byte]);
            received = caller.reply().unwrap();
            if matches!(received, Some(Err(_))) {
                break;
            }
        }
        assert_eq!(received, Some(reply));
    }
}

#[test]
fn a_connection_may_have_several_calls() {
    let (mut caller, mut server) = connected(RELEASE);
    for _ in 0..3 {
        let request = server.request().unwrap().unwrap();
        server.respond(&request, &Ok(Reply::Nothing));
        caller.receive(&std::mem::take(&mut server.output));
        assert_eq!(caller.reply(), Ok(Some(Ok(Reply::Nothing))));
        caller.header = None;
        // The types have been defined; only values follow.
        let values = Caller::call(RELEASE, &arguments());
        let mut stream = Stream {
            buffer: values,
            ..Stream::new(LONGEST_REQUEST)
        };
        let header = stream.value().unwrap().unwrap();
        let value = stream.value().unwrap().unwrap();
        let mut encoder = Encoder::new(TYPES);
        let mut known = Vec::new();
        encoder.put(&mut known, REQUEST, &header);
        encoder.put(&mut known, ARGUMENTS, &value);
        let before = known.len();
        encoder.put(&mut known, REQUEST, &header);
        encoder.put(&mut known, ARGUMENTS, &value);
        server.receive(&known[before..]);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut decoder = Decoder::default();
        let _ = decoder.message(&bytes);
        let mut server = Server::default();
        server.receive(Caller::greeting().as_bytes());
        server.receive(&bytes);
        while let Ok(Some(_)) = server.request() {}
    }

    #[test]
    fn damaged_calls_are_survived(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), length in any::<prop::sample::Index>()) {
        let mut bytes = Caller::call(ALLOCATE, &arguments());
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(length.index(bytes.len()) + 1);
        let mut server = Server::default();
        server.receive(Caller::greeting().as_bytes());
        server.receive(&bytes);
        while let Ok(Some(request)) = server.request() {
            server.respond(&request, &Ok(Reply::Nothing));
        }
        let mut caller = Caller::default();
        caller.receive(&bytes);
        let _ = caller.reply();
    }

    #[test]
    fn numbers_survive_the_wire(number in any::<i64>(), other in any::<u64>()) {
        const TYPE: &[Definition] = &[super::structure(65, "N", &[("A", INT), ("B", UINT)])];
        let value = structure([("A", Value::Int(number)), ("B", Value::Uint(other))]);
        let mut buffer = Vec::new();
        Encoder::new(TYPE).put(&mut buffer, 65, &value);
        let read = Stream { buffer, ..Stream::new(LONGEST_REQUEST) }.value().unwrap().unwrap();
        prop_assert_eq!(read.int("A").unwrap_or_default(), number);
    }
}
