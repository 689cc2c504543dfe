//! Selection of the shaped traffic by subnet: as in upstream's version 1.5, classes of a
//! hierarchical token bucket with `u32` filters.

use cni_core::quote::quote;
use cni_core::{Cidr, Code, Error};
use rtnl::{TcHandle, U32Filter, U32Key};
use std::net::IpAddr;

/// The class of shaped packets.
pub(crate) const SHAPED: TcHandle = TcHandle::new(1, 48);
/// The class of packets that are not shaped.
pub(crate) const UNSHAPED: TcHandle = TcHandle::new(1, 1);

/// A non-empty list of subnets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnets {
    list: Vec<Cidr>,
    /// Whether traffic with these subnets is shaped, rather than all other traffic.
    shaped: bool,
}

/// Direction of the packets in a qdisc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To the container: the remote address is the source.
    Ingress,
    /// From the container: the remote address is the destination.
    Egress,
}

impl Subnets {
    /// Parses the lists; `None` if both are empty.
    pub(crate) fn new(shaped: &[String], unshaped: &[String]) -> anyhow::Result<Option<Subnets>> {
        let invalid = |text: String| Error::new(Code::INVALID_NETWORK_CONFIG, text);
        let (list, key) = match (shaped, unshaped) {
            ([], []) => return Ok(None),
            (list, []) => (list, "shapedSubnets"),
            ([], list) => (list, "unshapedSubnets"),
            _ => {
                let msg = "unshapedSubnets and shapedSubnets cannot be both specified, one of them \
                           should be discarded";
                return Err(invalid(msg.into()).into());
            }
        };
        let mut parsed: Vec<Cidr> = Vec::with_capacity(list.len());
        for (number, text) in list.iter().enumerate() {
            let subnet = match text.parse::<Cidr>() {
                Ok(subnet) => subnet.masked(),
                Err(e) => {
                    let msg = format!("bad subnet {} provided, details {e}", quote(text));
                    return Err(invalid(msg).with_details(format!("{key}[{number}]")).into());
                }
            };
            if !parsed.contains(&subnet) {
                parsed.push(subnet);
            }
        }
        Ok(Some(Subnets {
            list: parsed,
            shaped: key == "shapedSubnets",
        }))
    }

    /// The subnets as text, in the order of [`Subnets::filters`].
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.list.iter().map(ToString::to_string)
    }

    /// The class of packets without a matching filter.
    pub(crate) fn default_class(&self) -> TcHandle {
        if self.shaped { UNSHAPED } else { SHAPED }
    }

    /// The filters, one per subnet.
    pub(crate) fn filters(&self, parent: TcHandle, direction: Direction) -> Vec<U32Filter> {
        let class = if self.shaped { SHAPED } else { UNSHAPED };
        let filter = |subnet: &Cidr| {
            // `ETH_P_IP` and `ETH_P_IPV6` of if_ether.h. Each priority has one protocol.
            let (protocol, priority) = match subnet.is_ipv4() {
                true => (0x0800, 16),
                false => (0x86dd, 15),
            };
            U32Filter {
                parent,
                protocol,
                priority,
                keys: keys(subnet, direction),
                class,
                redirect: None,
            }
        };
        self.list.iter().map(filter).collect()
    }
}

/// The keys that match the remote address, 32 bits each. Keys with an empty mask are
/// left out, except the first.
fn keys(subnet: &Cidr, direction: Direction) -> Vec<U32Key> {
    // Offsets of source and destination in the IP header.
    let (bytes, source, destination) = match subnet.network() {
        IpAddr::V4(address) => (address.octets().to_vec(), 12, 16),
        IpAddr::V6(address) => (address.octets().to_vec(), 8, 24),
    };
    let begin = match direction {
        Direction::Ingress => source,
        Direction::Egress => destination,
    };
    let words = bytes.chunks_exact(4).enumerate();
    let keys = words.map(|(number, word)| {
        let bits = usize::from(subnet.prefix())
            .saturating_sub(number * 32)
            .min(32);
        let zeros = u32::try_from(32 - bits).unwrap_or(32);
        U32Key {
            mask: u32::MAX.checked_shl(zeros).unwrap_or(0),
            value: word
                .iter()
                .fold(0, |value, byte| value << 8 | u32::from(*byte)),
            offset: begin + 4 * number as i32,
        }
    });
    let mut keys: Vec<U32Key> = keys.collect();
    let significant = keys.iter().filter(|key| key.mask != 0).count();
    keys.truncate(significant.max(1));
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(mask: u32, value: u32, offset: i32) -> U32Key {
        U32Key {
            mask,
            value,
            offset,
        }
    }

    fn compared(subnet: &str, direction: Direction) -> Vec<U32Key> {
        keys(&subnet.parse::<Cidr>().unwrap().masked(), direction)
    }

    #[test]
    fn keys_match_the_remote_address() {
        use Direction::{Egress, Ingress};
        assert_eq!(
            compared("10.1.2.3/8", Egress),
            [key(0xff00_0000, 0x0a00_0000, 16)]
        );
        assert_eq!(
            compared("10.1.2.3/32", Ingress),
            [key(u32::MAX, 0x0a01_0203, 12)]
        );
        assert_eq!(compared("0.0.0.0/0", Egress), [key(0, 0, 16)]);
        assert_eq!(
            compared("2001:db8:1::/48", Egress),
            [
                key(u32::MAX, 0x2001_0db8, 24),
                key(0xffff_0000, 0x0001_0000, 28)
            ]
        );
        assert_eq!(
            compared("2001:db8::/32", Ingress),
            [key(u32::MAX, 0x2001_0db8, 8)]
        );
        assert_eq!(compared("::/0", Ingress), [key(0, 0, 8)]);
        assert_eq!(compared("fd00::1/128", Egress).len(), 4);
    }

    #[test]
    fn lists() {
        let list = |texts: &[&str]| texts.iter().map(|t| t.to_string()).collect::<Vec<_>>();
        let new = |shaped: &[&str], unshaped: &[&str]| {
            Subnets::new(&list(shaped), &list(unshaped)).map_err(|e| e.to_string())
        };
        assert_eq!(new(&[], &[]), Ok(None));
        let shaped = new(&["10.0.0.0/8", "10.9.9.9/8", "fd00::/8"], &[])
            .unwrap()
            .unwrap();
        assert_eq!(shaped.list.len(), 2);
        assert_eq!(shaped.default_class(), UNSHAPED);
        let filters = shaped.filters(TcHandle::new(1, 0), Direction::Egress);
        assert_eq!((filters[0].protocol, filters[0].priority), (0x0800, 16));
        assert_eq!((filters[1].protocol, filters[1].priority), (0x86dd, 15));
        assert!(filters.iter().all(|filter| filter.class == SHAPED));
        let unshaped = new(&[], &["10.0.0.0/8"]).unwrap().unwrap();
        assert_eq!(unshaped.default_class(), SHAPED);
        assert!(
            new(&["10.0.0.0/8"], &["11.0.0.0/8"])
                .unwrap_err()
                .contains("cannot be both")
        );
        assert_eq!(
            new(&[], &["10.0.0.0/8", "x"]).unwrap_err(),
            "bad subnet \"x\" provided, details invalid CIDR address: x; unshapedSubnets[1]"
        );
    }
}
