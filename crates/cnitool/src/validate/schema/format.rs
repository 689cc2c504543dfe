//! The formats of the schemas.

use cni_core::Cidr;
use cni_core::cidr::parse_ip;

/// What a text of this format is, and an example; `None` if `text` is one, or the format is unknown.
pub(super) fn mismatch(format: &str, text: &str) -> Option<(&'static str, &'static str)> {
    match format {
        "ip" if parse_ip(text).is_err() => Some(("an IP address", "10.1.0.1")),
        "cidr" if text.parse::<Cidr>().is_err() => {
            Some(("an address with a prefix length", "10.1.0.0/16"))
        }
        "mac" if !is_mac(text) => Some(("a hardware address", "02:00:00:aa:bb:cc")),
        _ => None,
    }
}

/// Six bytes as plugins accept them: `02:00:00:aa:bb:cc`, `02-00-00-aa-bb-cc`, `0200.00aa.bbcc`, `020000aabbcc`.
fn is_mac(text: &str) -> bool {
    let parts = |separator: char, width: usize| {
        text.split(separator)
            .all(|part| part.len() == width && part.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    match text.len() {
        17 => parts(':', 2) || parts('-', 2),
        14 => parts('.', 4),
        12 => parts('.', 12),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        for (format, text) in [
            ("ip", "10.1.0.1"),
            ("ip", "fd00::1"),
            ("cidr", "10.1.0.1/24"),
            ("cidr", "fd00::/64"),
            ("mac", "02:00:00:aa:bb:cc"),
            ("mac", "02-00-00-AA-BB-CC"),
            ("mac", "0200.00aa.bbcc"),
            ("mac", "020000aabbcc"),
            ("other", "x"),
        ] {
            assert_eq!(mismatch(format, text), None, "{text}");
        }
        for (format, text) in [
            ("ip", "10.1.0.256"),
            ("ip", "10.1.0.1/24"),
            ("cidr", "10.1.0.1"),
            ("cidr", "10.1.0.1/33"),
            ("mac", "02:00:00:aa:bb"),
            ("mac", "02:00:00:aa:bb:cg"),
            ("mac", "02.00.00.aa.bb.cc"),
        ] {
            assert!(mismatch(format, text).is_some(), "{text}");
        }
    }
}
