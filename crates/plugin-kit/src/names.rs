//! Names that nobody chose.

use crate::sha512;
use rand::TryRng;

/// A name for the host end of a veth pair, as upstream makes them: `veth` and
/// eight hexadecimal digits.
///
/// # Errors
/// When the system has no randomness to give.
pub fn random_veth() -> anyhow::Result<String> {
    let number = rand::rngs::SysRng
        .try_next_u32()
        .map_err(|e| anyhow::anyhow!("failed to generate random veth name: {e}"))?;
    Ok(format!("veth{number:08x}"))
}

/// A name of `length` bytes for something that belongs to an attachment: `prefix`, and
/// as many digits as fit of the SHA-512 of network and container ID. Upstream finds
/// what it has made by the same names.
#[must_use]
pub fn of_attachment(prefix: &str, network: &str, container_id: &str, length: usize) -> String {
    let mut name = prefix.to_owned();
    name += &sha512::hex(format!("{network}{container_id}").as_bytes());
    // Hexadecimal digits; and prefixes are the program's own.
    name.truncate(length);
    name
}

#[cfg(test)]
mod tests {
    use super::of_attachment;

    #[test]
    fn attachments_have_the_names_upstream_gives_them() {
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
}
