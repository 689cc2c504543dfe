//! Names of interfaces that nobody chose.

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
