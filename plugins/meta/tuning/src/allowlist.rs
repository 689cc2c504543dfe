//! The allow list of sysctls on the host.

use crate::regexp::Regexp;
use crate::sysctl::Sysctl;
use anyhow::{anyhow, bail};
use cni_core::errno;
use cni_core::quote::quote;
use std::fs;
use std::io::ErrorKind;

/// One regular expression per line. Without the file, every sysctl is allowed.
pub(crate) const FILE: &str = "/etc/cni/tuning/allowlist.conf";

/// Refuses sysctls that are not on the list. The expressions are matched against the keys
/// as they are written in the configuration, with `IFNAME` not replaced.
///
/// # Errors
/// When a sysctl is not allowed, a line is not a supported regular expression, or the file
/// cannot be read.
pub(crate) fn check(sysctls: &[Sysctl]) -> anyhow::Result<()> {
    if sysctls.is_empty() {
        return Ok(());
    }
    let text = match fs::read(FILE) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(());
        }
        Err(e) => bail!(
            "cannot read {FILE}, which says what sysctls are allowed: {}",
            errno::of(&e)
        ),
    };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let lines: Vec<&str> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    let mut expressions: Vec<Regexp> = Vec::with_capacity(lines.len());
    for sysctl in sysctls {
        if !allowed(&sysctl.key, &lines, &mut expressions)? {
            bail!(
                "Sysctl {} is not allowed. Only the following sysctls are allowed: [{}]",
                sysctl.key,
                lines.join(" ")
            );
        }
    }
    Ok(())
}

/// Whether a line matches. Lines are compiled as they are reached, as upstream does: an
/// invalid one after the one that matches is not an error.
fn allowed(key: &str, lines: &[&str], expressions: &mut Vec<Regexp>) -> anyhow::Result<bool> {
    for (number, line) in lines.iter().enumerate() {
        if expressions.len() == number {
            let expression = Regexp::new(line).map_err(|e| {
                anyhow!(
                    "{FILE}: {} is not a supported regular expression: {e}",
                    quote(line)
                )
            })?;
            expressions.push(expression);
        }
        if expressions[number].is_match(key) {
            return Ok(true);
        }
    }
    Ok(false)
}
