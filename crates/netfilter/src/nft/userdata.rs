//! Comments and notes: user data that the kernel stores with an object without
//! interpreting it. In nftables' format, a list of type, length (one byte each) and value.

/// The longest comment in bytes (`NFTNL_UDATA_COMMENT_MAXLEN`): `nft` neither writes nor
/// shows longer ones.
pub const COMMENT_MAX: usize = 128;

/// The longest note in bytes: it fits beside a comment of maximal length
/// (`NFT_USERDATA_MAXLEN`, 256).
pub(crate) const NOTE_MAX: usize = 120;

/// The type of our own entry. `nft` ignores unknown types; its own are numbered from 0.
const NOTE: u8 = 0xc1;

/// Returns a note as an entry.
pub(crate) fn note(bytes: &[u8]) -> Result<Vec<u8>, String> {
    if bytes.len() > NOTE_MAX {
        return Err(format!("note of {} bytes, {NOTE_MAX} at most", bytes.len()));
    }
    Ok(entry(NOTE, bytes))
}

/// Returns the note in user data.
pub(crate) fn find_note(data: &[u8]) -> Option<&[u8]> {
    find(NOTE, data)
}

/// Returns an entry; `value` is a number, or at most [`COMMENT_MAX`] bytes and a zero.
pub(crate) fn entry(kind: u8, value: &[u8]) -> Vec<u8> {
    let len = u8::try_from(value.len()).unwrap_or(u8::MAX);
    let mut bytes = vec![kind, len];
    bytes.extend(value.iter().take(usize::from(len)));
    bytes
}

/// Returns a comment, with its terminating zero, as an entry.
pub(crate) fn comment(kind: u8, text: &str) -> Result<Vec<u8>, String> {
    if text.len() > COMMENT_MAX {
        return Err(format!(
            "comment of {} bytes, {COMMENT_MAX} at most",
            text.len()
        ));
    }
    if text.as_bytes().contains(&0) {
        return Err("zero byte in a comment".to_owned());
    }
    let mut value = text.as_bytes().to_vec();
    value.push(0);
    Ok(entry(kind, &value))
}

/// Returns the comment in user data, `None` if there is none or it is not UTF-8.
pub(crate) fn find_comment(kind: u8, data: &[u8]) -> Option<&str> {
    let value = find(kind, data)?;
    let end = value.iter().position(|byte| *byte == 0);
    std::str::from_utf8(&value[..end.unwrap_or(value.len())]).ok()
}

fn find(kind: u8, mut data: &[u8]) -> Option<&[u8]> {
    while let [found, len, rest @ ..] = data {
        let value = rest.get(..usize::from(*len))?;
        if *found == kind {
            return Some(value);
        }
        data = rest.get(usize::from(*len)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_found_behind_other_entries() {
        let mut data = entry(5, &7u32.to_ne_bytes());
        data.extend(comment(0, "here").unwrap());
        assert_eq!(find_comment(0, &data), Some("here"));
        assert_eq!(find_comment(1, &data), None);
        assert_eq!(find_comment(0, &data[..data.len() - 1]), None);
        assert_eq!(find_comment(0, &[]), None);
        assert_eq!(find_comment(0, &[0]), None);
        assert_eq!(find_comment(0, &[0, 2, 0xff, 0xff]), None);
    }

    #[test]
    fn a_note_stands_beside_a_comment() {
        let mut data = comment(0, &"x".repeat(128)).unwrap();
        data.extend(note(&[7; NOTE_MAX]).unwrap());
        assert!(data.len() <= 256);
        assert_eq!(find_note(&data), Some(&[7; NOTE_MAX][..]));
        assert_eq!(find_comment(0, &data).map(str::len), Some(128));
        assert!(note(&[7; NOTE_MAX + 1]).is_err());
    }

    #[test]
    fn a_comment_has_a_greatest_length() {
        assert!(comment(0, &"x".repeat(128)).is_ok());
        assert!(comment(0, &"x".repeat(129)).is_err());
        assert!(comment(0, "a\0b").is_err());
    }
}
