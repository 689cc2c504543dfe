//! Entry points of the fuzz targets in `fuzz/`: bytes of servers and of callers go through the codecs, and as answers
//! through the clients' state machines. Not part of the plugin.

use crate::client::{Client, Output, Progress};
use crate::config::Config;
use crate::rpc::{Caller, Reply, Server};
use crate::time::Time;
use crate::v4::client::{Settings, Timing};
use crate::v4::{V4Client, packet};
use crate::v6::{Ipv6Client, Setup, decode_any};
use cni_core::AddResult;
use serde_json::{Value, json};
use std::net::Ipv6Addr;
use std::time::Duration;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

/// Length of a DHCPv4 message up to its options, with the magic cookie.
const HEADER: usize = 240;

/// Length of the head of a DHCPv6 message of the client, with its DUID-LL.
const HEADER6: usize = 4 + 4 + 10;

/// Steps of a client in simulated time.
const STEPS: usize = 8;

/// A packet for a DHCPv4 client, and options of answers to its messages.
pub fn codec_v4(bytes: &[u8]) {
    binds_v4(bytes);
}

/// A message of a DHCPv6 server or a router, and options of answers to the client's messages.
pub fn codec_v6(bytes: &[u8]) {
    binds_v6(bytes);
}

/// Returns whether a DHCPv4 client gets a lease by answers with these options.
fn binds_v4(bytes: &[u8]) -> bool {
    if let Some(payload) = packet::decode(bytes) {
        let _ = crate::v4::message::Message::decode(payload);
    }
    let options = ["6", "15", "26", "33", "108", "119", "121"];
    let ipam = json!({"request": options.map(|option| json!({"option": option}))});
    let Some(config) = load(&ipam) else {
        return false;
    };
    let settings = Settings {
        hardware_type: 1,
        mac: Some(MAC),
        client_id: vec![0, 1],
        broadcast: false,
        timing: Timing {
            timeout: Duration::from_secs(10),
            resend_max: Duration::from_secs(62),
            resend_timeout: Duration::from_secs(208),
        },
    };
    let now = Time::now();
    let mut client = V4Client::new(config, settings, now);
    // OFFER and ACK in turn.
    let mut kinds = [2, 5].into_iter().cycle();
    let answer = |sent: &[u8]| {
        let mut answer = sent.get(..HEADER)?.to_vec();
        // BOOTREPLY, and an address for the client.
        answer[0] = 2;
        answer[16..20].copy_from_slice(&[10, 0, 0, 5]);
        answer.extend([53, 1, kinds.next()?]);
        answer.extend(bytes);
        Some(answer)
    };
    drive(&mut client, now, bytes, answer)
}

/// Returns whether a DHCPv6 client gets a lease by answers with these options.
fn binds_v6(bytes: &[u8]) -> bool {
    decode_any(bytes);
    let mut is_bound = false;
    for mode in ["dhcp", "auto", "slaac"] {
        let ipam = json!({"ipv6": {"mode": mode, "dad": bytes.len().is_multiple_of(2)}});
        let Some(settings) = load(&ipam).and_then(|config| config.ipv6) else {
            return false;
        };
        let now = Time::now();
        let setup = Setup {
            settings,
            mac: Some(MAC),
            iaid: 0x0102_0304,
            index: 7,
            deadline: now + Duration::from_secs(208),
        };
        let mut client = Ipv6Client::new(setup, now);
        let mut kinds = [2, 7].into_iter().cycle();
        let answer = |sent: &[u8]| {
            // Advertise and Reply in turn, with the client's DUID and one of a server.
            let mut answer = sent.get(..HEADER6)?.to_vec();
            answer[0] = kinds.next()?;
            answer.extend([0, 2, 0, 4, 0, 3, 0, 1]);
            answer.extend(bytes);
            Some(answer)
        };
        is_bound |= drive(&mut client, now, bytes, answer);
    }
    is_bound
}

/// Bytes of a plugin for the daemon, and of a daemon for the plugin.
pub fn rpc(bytes: &[u8]) {
    let mut server = Server::default();
    server.receive(Caller::greeting().as_bytes());
    server.receive(bytes);
    while let Ok(Some(request)) = server.request() {
        server.respond(&request, &Ok(Reply::Nothing));
    }
    let mut caller = Caller::default();
    caller.receive(bytes);
    if caller.is_connected() == Ok(true) {
        let _ = caller.reply();
    }
}

fn load(ipam: &Value) -> Option<Config> {
    Config::load(ipam, "").ok()
}

/// Has a client receive `bytes` as they are, and an answer to each of its messages. Returns whether it gets a lease.
fn drive(
    client: &mut dyn Client,
    start: Time,
    bytes: &[u8],
    mut answer: impl FnMut(&[u8]) -> Option<Vec<u8>>,
) -> bool {
    let (mut now, mut is_bound) = (start, false);
    client.opened(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
    for _ in 0..STEPS {
        client.tick(now);
        client.received(now, bytes, None);
        for output in client.take() {
            if let Output::Send(datagram) = output
                && let Some(answer) = answer(&datagram.payload)
            {
                client.received(now, &answer, Some(MAC));
            }
        }
        let mut result = AddResult::default();
        client.add_to(&mut result);
        is_bound |= client.progress() == Progress::Bound && !result.ips.is_empty();
        client.status(now);
        client.record();
        match client.wake() {
            Some(wake) => now = now.max(wake),
            None => break,
        }
    }
    client.release(now);
    is_bound
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a target on damaged copies of `seeds`: the bounded form of what `cargo fuzz` does without end. The same
    /// numbers in every run (xorshift).
    fn damage(target: fn(&[u8]), seeds: &[Vec<u8>]) {
        const ROUNDS: usize = 4000;
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = |limit: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % (limit.max(1) as u64)).expect("small")
        };
        for round in 0..ROUNDS {
            let mut bytes = seeds[round % seeds.len()].clone();
            for _ in 0..below(6) {
                let at = below(bytes.len());
                match below(5) {
                    0 if !bytes.is_empty() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][below(5)],
                    1 if !bytes.is_empty() => bytes[at] ^= 1 << below(8),
                    2 => bytes.truncate(at),
                    3 => bytes.insert(at, u8::try_from(below(256)).expect("a byte")),
                    _ => bytes.extend_from_within(at..),
                }
                bytes.truncate(4096);
            }
            target(&bytes);
        }
    }

    #[test]
    fn damaged_dhcpv4_is_survived() {
        let options = [
            &[54, 4, 10, 0, 0, 1, 1, 4, 255, 255, 255, 0][..],
            &[3, 4, 10, 0, 0, 1, 51, 4, 0, 0, 0, 8, 58, 4, 0, 0, 0, 2],
            &[121, 5, 0, 10, 0, 0, 1, 33, 8, 10, 9, 0, 0, 10, 0, 0, 1],
            &[26, 2, 5, 0, 119, 6, 3, b'f', b'o', b'o', 0xc0, 0],
        ];
        let lease = options.concat();
        assert!(binds_v4(&lease), "undamaged, it goes all the way");
        let ipv6_only = [&lease[..], &[108, 4, 0, 0, 1, 0]].concat();
        damage(codec_v4, &[lease, ipv6_only, Vec::new()]);
    }

    #[test]
    fn damaged_dhcpv6_and_advertisements_are_survived() {
        let mut address = vec![0, 5, 0, 24, 0x20, 1, 0x0d, 0xb8];
        address.extend([0; 11]);
        address.extend([5, 0, 0, 0, 7, 0, 0, 0, 8]);
        let mut lease = vec![0, 3, 0, 12 + 28, 1, 2, 3, 4, 0, 0, 0, 2, 0, 0, 0, 4];
        lease.extend(address);
        lease.extend([0, 14, 0, 0, 0, 7, 0, 1, 255, 0, 82, 0, 4, 0, 0, 0, 60]);
        lease.extend([0, 13, 0, 2, 0, 0, 0, 24, 0, 5, 3, b'f', b'o', b'o', 0]);
        let mut advertisement = vec![134, 0, 0, 0, 64, 0xc0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        advertisement.extend([3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 7, 8, 0, 0, 0, 0]);
        advertisement.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        advertisement.extend([25, 3, 0, 0, 0, 0, 0, 60]);
        advertisement.extend([9; 16]);
        assert!(binds_v6(&lease), "undamaged, it goes all the way");
        assert!(binds_v6(&advertisement));
        damage(codec_v6, &[lease, advertisement, Vec::new()]);
    }

    #[test]
    fn damaged_calls_and_replies_are_survived() {
        let arguments = crate::rpc::Arguments {
            container_id: "c1".into(),
            stdin: br#"{"name":"net"}"#.to_vec(),
            ..Default::default()
        };
        let call = Caller::call(crate::rpc::ALLOCATE, &arguments);
        let reply = [b"HTTP/1.0 200 Connected to Go RPC\n\n", &call[..]].concat();
        damage(rpc, &[call, reply, Vec::new()]);
    }
}
