//! Domain names that servers send.
//!
//! They end up in `resolv.conf`, so nothing but the characters of host names is accepted.

/// Longest name in its text form (RFC 1035, section 2.3.4).
const LONGEST: usize = 253;
/// Most names of a list.
const MOST: usize = 32;

/// Returns a name that is sent as text, without zero bytes and dots at the end; `None` if
/// it is no domain name.
pub(crate) fn from_text(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let name = text.trim_end_matches('\0').trim_end_matches('.');
    is_domain(name).then(|| name.to_owned())
}

/// Returns the names of a list in the encoding of RFC 1035, section 3.1, with compression.
/// Reading stops at the first malformed name.
pub(crate) fn list(bytes: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut at = 0;
    while at < bytes.len() && names.len() < MOST {
        let Some((name, end)) = name_at(bytes, at) else {
            break;
        };
        if is_domain(&name) {
            names.push(name);
        }
        at = end;
    }
    names
}

fn is_domain(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() < 64
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.len() <= LONGEST && name.split('.').all(is_label)
}

/// Returns the name at an offset, and the offset behind it.
fn name_at(bytes: &[u8], start: usize) -> Option<(String, usize)> {
    let mut labels: Vec<String> = Vec::new();
    let (mut at, mut end, mut length) = (start, None, 0);
    loop {
        match usize::from(*bytes.get(at)?) {
            0 => return Some((labels.join("."), end.unwrap_or(at + 1))),
            // A pointer leads backwards only, so that each name ends.
            high @ 0xc0.. => {
                let target = (high & 0x3f) << 8 | usize::from(*bytes.get(at + 1)?);
                if target >= at {
                    return None;
                }
                end.get_or_insert(at + 2);
                at = target;
            }
            count @ 1..64 => {
                let label = bytes.get(at + 1..at + 1 + count)?;
                labels.push(String::from_utf8_lossy(label).into_owned());
                length += count + 1;
                if length > LONGEST + 1 {
                    return None;
                }
                at += 1 + count;
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_checked() {
        assert_eq!(from_text(b"example.org.\0"), Some("example.org".into()));
        for bad in [
            &b""[..],
            b"a b",
            b"a\nnameserver 6.6.6.6",
            b"a..b",
            &[0xff],
            &[b'a'; 64],
        ] {
            assert_eq!(from_text(bad), None, "{bad:?}");
        }
        // eng.apple.com., marketing.apple.com. of RFC 3397, section 2.
        let list_bytes = b"\x03eng\x05apple\x03com\0\x09marketing\xc0\x04";
        assert_eq!(list(list_bytes), ["eng.apple.com", "marketing.apple.com"]);
        let bad: [(&[u8], usize); 4] = [
            (b"\xc0\0", 0),
            (b"\x01a", 0),
            (b"\x01a\xc0\0", 0),
            (b"\x01a\0\x05b", 1),
        ];
        for (bytes, count) in bad {
            assert_eq!(list(bytes).len(), count, "{bytes:?}");
        }
    }
}
