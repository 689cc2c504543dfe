//! Addresses of buses (D-Bus specification, "Server Addresses").

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Where the system bus is unless the environment says otherwise.
const USUAL: &str = "unix:path=/var/run/dbus/system_bus_socket";

/// A socket that a bus may listen on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Path(PathBuf),
    Abstract(Vec<u8>),
}

/// The address of the system bus as text.
pub(crate) fn system() -> String {
    match std::env::var("DBUS_SYSTEM_BUS_ADDRESS") {
        Ok(address) if !address.is_empty() => address,
        _ => USUAL.to_owned(),
    }
}

/// The sockets of a list of addresses, in their order. Others than Unix sockets
/// are passed over.
pub(crate) fn parse(list: &str) -> Vec<Address> {
    list.split(';').filter_map(parse_one).collect()
}

fn parse_one(address: &str) -> Option<Address> {
    let options = address.strip_prefix("unix:")?;
    options.split(',').find_map(|option| {
        let (key, value) = option.split_once('=')?;
        let value = unescape(value)?;
        match key {
            "path" => Some(Address::Path(OsString::from_vec(value).into())),
            "abstract" => Some(Address::Abstract(value)),
            _ => None,
        }
    })
}

/// `%2f` is a slash.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            plain.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        plain.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_sockets_are_found_in_a_list() {
        let path = |path: &str| Address::Path(path.into());
        assert_eq!(parse("unix:path=/run/bus"), [path("/run/bus")]);
        assert_eq!(
            parse("tcp:host=x;unix:guid=1,path=/a%2fb%20c;unix:abstract=bus"),
            [path("/a/b c"), Address::Abstract(b"bus".to_vec())]
        );
        assert_eq!(parse(";unix:;unix:path;unix:path=%2;unix:path=%zz"), []);
    }
}
