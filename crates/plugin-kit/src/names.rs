//! Generated names of interfaces, chains and comments.

use cni_state::sha512;
use rand::TryRng;

/// Digits of each of the two hashes of [`attachment_hash`].
const HASH_DIGITS: usize = 16;

/// Beginning of the names of host ends of veth pairs.
pub(crate) const VETH_PREFIX: &str = "veth";

/// Returns a random name for the host end of a veth pair in upstream's form: `veth` and
/// eight hexadecimal digits.
///
/// # Errors
/// When the system's random number generator fails.
pub fn random_veth() -> anyhow::Result<String> {
    let number = rand::rngs::SysRng
        .try_next_u32()
        .map_err(|e| anyhow::anyhow!("failed to generate random veth name: {e}"))?;
    Ok(format!("{VETH_PREFIX}{number:08x}"))
}

/// Returns a name of `length` bytes for a resource of an attachment: `prefix`, and as many
/// digits as fit of the SHA-512 of network and container ID. Upstream uses the same names.
#[must_use]
pub fn of_attachment(prefix: &str, network: &str, container_id: &str, length: usize) -> String {
    let digits = length.saturating_sub(prefix.len());
    format!(
        "{prefix}{}",
        sha512(&format!("{network}{container_id}"), digits)
    )
}

/// Returns an interface name made of `stem` and `suffix`. If that is too long, `stem` is
/// shortened and followed by six digits of its SHA-512, so that stems with the same
/// beginning almost certainly (24 bits) get different names.
#[must_use]
pub fn interface(stem: &str, suffix: &str) -> String {
    const DIGITS: usize = 6;
    // Without the final zero.
    const MAX: usize = nix::libc::IFNAMSIZ - 1;
    if stem.len() + suffix.len() <= MAX {
        return format!("{stem}{suffix}");
    }
    let mut kept = MAX.saturating_sub(DIGITS + suffix.len()).min(stem.len());
    while !stem.is_char_boundary(kept) {
        kept -= 1;
    }
    format!("{}{}{suffix}", &stem[..kept], sha512(stem, DIGITS))
}

/// Returns the beginning of [`attachment_hash`] of all attachments of `network`.
#[must_use]
pub fn network_prefix(network: &str) -> String {
    format!("{}-", sha512(network, HASH_DIGITS))
}

/// Returns the hash that identifies an attachment in the comments of upstream's nftables
/// rules: a hash of the network, a dash, and a hash of interface and container.
#[must_use]
pub fn attachment_hash(network: &str, container_id: &str, if_name: &str) -> String {
    let attachment = format!("{if_name}:{container_id}");
    network_prefix(network) + &sha512(&attachment, HASH_DIGITS)
}

#[cfg(test)]
mod tests {
    use super::{attachment_hash, interface, of_attachment};

    #[test]
    fn interface_names_fit() {
        assert_eq!(interface("cni0", ".100"), "cni0.100");
        assert_eq!(interface("cni-podman1", ".100"), "cni-podman1.100");
        assert_eq!(interface("cni-podman11", ".100"), "cni-p504ef6.100");
        let other = interface("cni-podman12", ".100");
        assert!(other != "cni-p504ef6.100" && other.len() == 15, "{other}");
        let wide = interface("b\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}", ".4094");
        assert!(wide.len() <= 15 && wide.ends_with(".4094"), "{wide}");
    }

    #[test]
    fn attachment_names_are_those_of_upstream() {
        for (prefix, network, id, name) in [
            ("CNI-", "test", "1234", "CNI-2bbe0c48b91a7d1b8a6753a8"),
            (
                "CNI-DN-",
                "test",
                "icee6giejonei6so",
                "CNI-DN-022110f36292712c8bb50",
            ),
            (
                "bwp",
                "cni-plugin-bandwidth-test",
                "dummy",
                "bwpa8eda89404b7",
            ),
        ] {
            assert_eq!(of_attachment(prefix, network, id, name.len()), name);
        }
    }

    #[test]
    fn attachment_hashes_are_those_of_upstream() {
        assert_eq!(
            attachment_hash("unit-test", "one", "eth0"),
            "6fd94d501e58f0aa-287fc69eff0574a2"
        );
    }
}
