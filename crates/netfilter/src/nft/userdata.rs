//! Comments, as `nft` keeps them: user data that the kernel stores with an
//! object and never looks at. A list of type, length (a byte each) and value.

/// The longest comment in bytes (`NFTNL_UDATA_COMMENT_MAXLEN`): `nft` refuses
/// to make longer ones and cannot show them.
pub const COMMENT_MAX: usize = 128;

/// One entry; `value` is at most [`COMMENT_MAX`] bytes and a zero, or a number.
pub(crate) fn entry(kind: u8, value: &[u8]) -> Vec<u8> {
    let len = u8::try_from(value.len()).unwrap_or(u8::MAX);
    let mut bytes = vec![kind, len];
    bytes.extend(value.iter().take(usize::from(len)));
    bytes
}

/// A comment with the zero that ends it.
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

/// The comment among user data, without its zero; `None` if there is none, or
/// if it is not text.
pub(crate) fn find_comment(kind: u8, mut data: &[u8]) -> Option<&str> {
    while let [found, len, rest @ ..] = data {
        let value = rest.get(..usize::from(*len))?;
        if *found == kind {
            let end = value.iter().position(|byte| *byte == 0);
            return std::str::from_utf8(&value[..end.unwrap_or(value.len())]).ok();
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
    fn a_comment_has_a_greatest_length() {
        assert!(comment(0, &"x".repeat(128)).is_ok());
        assert!(comment(0, &"x".repeat(129)).is_err());
        assert!(comment(0, "a\0b").is_err());
    }
}
