//! Validation of identifiers (specification, section "Parameters").

use crate::{Code, Error};

/// Returns whether `text` matches `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`, so that it can be part
/// of the names of files and chains and of comments.
fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// Validates a container ID.
///
/// # Errors
/// Code 3 if it is empty, code 4 if it has other than the allowed characters.
pub fn validate_container_id(id: &str) -> Result<(), Error> {
    if id.is_empty() {
        return Err(Error::new(Code::UNKNOWN_CONTAINER, "missing containerID"));
    }
    if !is_identifier(id) {
        return Err(Error::new(
            Code::INVALID_ENVIRONMENT,
            "invalid characters in containerID",
        )
        .with_details(id));
    }
    Ok(())
}

/// Validates a network name.
///
/// # Errors
/// Code 7 if it is empty or has other than the allowed characters.
pub fn validate_network_name(name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(Error::new(
            Code::INVALID_NETWORK_CONFIG,
            "missing network name:",
        ));
    }
    if !is_identifier(name) {
        return Err(Error::new(
            Code::INVALID_NETWORK_CONFIG,
            "invalid characters found in network name",
        )
        .with_details(name));
    }
    Ok(())
}

/// Validates an interface name by the kernel's rules (`dev_valid_name`).
///
/// # Errors
/// Code 4.
pub fn validate_if_name(name: &str) -> Result<(), Error> {
    /// `IFNAMSIZ` of linux/if.h, with the terminating zero.
    const IFNAMSIZ: usize = 16;
    let error = |msg: &str| Err(Error::new(Code::INVALID_ENVIRONMENT, msg));
    if name.is_empty() {
        return error("interface name is empty");
    }
    if name.len() >= IFNAMSIZ {
        return Err(
            Error::new(Code::INVALID_ENVIRONMENT, "interface name is too long")
                .with_details("interface name should be less than 16 characters"),
        );
    }
    if name == "." || name == ".." {
        return error("interface name is . or ..");
    }
    if name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace()) {
        return error("interface name contains / or : or whitespace characters");
    }
    Ok(())
}
