//! As much of ELF as tells whether a binary is static (elf(5)).

use std::fs;
use std::path::Path;

use crate::Outcome;

/// Program header type "interpreter": the path of the dynamic loader.
const PT_INTERP: u32 = 3;

/// The dynamic loader that a binary asks for; `None` for a static one.
///
/// # Errors
///
/// When the file is unreadable, or no 64- or 32-bit little-endian ELF file.
pub(crate) fn interpreter(path: &Path) -> Outcome<Option<String>> {
    let bytes = fs::read(path).map_err(|err| format!("{}: {err}", path.display()))?;
    parse(&bytes).ok_or_else(|| format!("{}: not a little-endian ELF binary", path.display()))
}

fn parse(bytes: &[u8]) -> Option<Option<String>> {
    let little_endian = *bytes.get(5)? == 1;
    let wide = match *bytes.get(4)? {
        1 => false,
        2 => true,
        _ => return None,
    };
    if !bytes.starts_with(b"\x7fELF") || !little_endian {
        return None;
    }
    let number = |at: usize, size: usize| -> Option<usize> {
        let field = bytes.get(at..at.checked_add(size)?)?;
        usize::try_from(
            field
                .iter()
                .rev()
                .fold(0u64, |n, byte| n << 8 | u64::from(*byte)),
        )
        .ok()
    };
    let (table, entry_size, count) = if wide {
        (number(32, 8)?, number(54, 2)?, number(56, 2)?)
    } else {
        (number(28, 4)?, number(42, 2)?, number(44, 2)?)
    };
    for index in 0..count {
        let header = table.checked_add(index.checked_mul(entry_size)?)?;
        if number(header, 4)? == PT_INTERP as usize {
            let (offset, size) = if wide {
                (number(header + 8, 8)?, number(header + 32, 8)?)
            } else {
                (number(header + 4, 4)?, number(header + 16, 4)?)
            };
            let text = bytes.get(offset..offset.checked_add(size)?)?;
            return Some(Some(
                String::from_utf8_lossy(text)
                    .trim_end_matches('\0')
                    .to_owned(),
            ));
        }
    }
    Some(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_binary_names_its_loader() {
        let ourselves = std::env::current_exe().expect("own path");
        let loader = interpreter(&ourselves).expect("an ELF file");
        assert!(loader.is_some_and(|l| l.contains("ld-")));
    }

    #[test]
    fn what_is_no_elf_file_is_refused() {
        for bytes in [&b""[..], b"\x7fELF", b"#!/bin/sh\n", &[0x7f; 64]] {
            assert_eq!(parse(bytes), None);
        }
    }
}
