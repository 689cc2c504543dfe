//! Identifiers of a client towards servers, stable for the life of the attachment.

use crate::client::Mac;
use cni_state::{Owner, sha512};

/// Longest identifier of upstream's form, in bytes: one byte for the type precedes it.
const LONGEST: usize = 254;
/// Length of the hash, in hexadecimal digits, that ends an identifier which is too long.
const HASH: usize = 32;

/// Returns the identifier of upstream's form: `<container>/<network>/<interface>`.
///
/// Upstream cuts a longer one to 254 bytes, so that two attachments may have the same. Here
/// a hash of the whole replaces the end.
pub(crate) fn of_attachment(owner: &Owner) -> String {
    let whole = format!("{}/{}/{}", owner.container_id, owner.network, owner.if_name);
    if whole.len() <= LONGEST {
        return whole;
    }
    let mut cut = LONGEST - HASH - 1;
    while !whole.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}~{}", &whole[..cut], sha512(&whole, HASH))
}

/// Returns the identity association identifier of the attachment (RFC 8415, section 12).
pub(crate) fn iaid(owner: &Owner) -> u32 {
    let digits = sha512(&of_attachment(owner), 8);
    // Eight hexadecimal digits are 32 bits.
    u32::from_str_radix(&digits, 16).unwrap_or_default()
}

/// Returns the DUID-LL of an Ethernet address (RFC 8415, section 11.4).
pub(crate) fn duid_ll(mac: Mac) -> Vec<u8> {
    let mut duid = vec![0, 3, 0, 1];
    duid.extend(mac);
    duid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_upstreams_unless_they_would_collide() {
        let owner = |network: &str| Owner::new(network, "c1", "eth0");
        assert_eq!(of_attachment(&owner("net")), "c1/net/eth0");
        let long = "n".repeat(LONGEST);
        let (one, other) = (
            of_attachment(&owner(&(long.clone() + "1"))),
            of_attachment(&owner(&(long + "2"))),
        );
        assert_eq!((one.len(), other.len()), (LONGEST, LONGEST));
        assert_ne!(one, other);
        assert_ne!(iaid(&owner("a")), iaid(&owner("b")));
        assert_eq!(duid_ll([2, 0, 0, 0, 0, 1]), [0, 3, 0, 1, 2, 0, 0, 0, 0, 1]);
    }
}
