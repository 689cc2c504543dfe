//! Reads the resolver configuration named by `resolvConf`.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::bail;
use cni_core::Dns;

use crate::reservation::file_error;

/// The longest line that upstream reads, in bytes.
const MAX_LINE: usize = 64 * 1024;

/// The most that is read of a file, in bytes. Such files have a few lines.
const MAX_FILE: u64 = 1024 * 1024;

/// Reads name servers, domain, search list and options from a file in the format of
/// resolv.conf(5).
///
/// # Errors
/// When the file cannot be read, is not a regular file, or has an overlong line.
pub(crate) fn read(path: &Path) -> anyhow::Result<Dns> {
    let file = File::open(path).map_err(|error| file_error("open", path, &error))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE)
        .read_to_end(&mut bytes)
        .map_err(|error| file_error("read", path, &error))?;
    parse(&bytes)
}

/// Parses the file. As in upstream but not in libc, all `search` and `options` lines are
/// merged.
fn parse(bytes: &[u8]) -> anyhow::Result<Dns> {
    let mut dns = Dns::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        if line.len() >= MAX_LINE {
            bail!("bufio.Scanner: token too long");
        }
        let line = String::from_utf8_lossy(line);
        let line = line.trim();
        if line.starts_with(['#', ';']) {
            continue;
        }
        let mut fields = line.split_whitespace();
        let (Some(keyword), Some(value)) = (fields.next(), fields.next()) else {
            continue;
        };
        let value = value.to_owned();
        let values = std::iter::once(value.clone()).chain(fields.map(str::to_owned));
        match keyword {
            "nameserver" => dns.nameservers.push(value),
            "domain" => dns.domain = value,
            "search" => dns.search.extend(values),
            "options" => dns.options.extend(values),
            _ => {}
        }
    }
    Ok(dns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_keyword() {
        let text = "# comment\n; comment\n\nnameserver 192.0.2.3 ignored\n  nameserver\t2001:db8::1  \r\n\
            domain a.example\ndomain b.example\nsearch x.example y.example\nsearch z.example\n\
            options ndots:2 # not\noptions edns0\nnameserver\nsortlist 1.2.3.4\nunknown x";
        let dns = parse(text.as_bytes()).unwrap();
        assert_eq!(dns.nameservers, ["192.0.2.3", "2001:db8::1"]);
        assert_eq!(dns.domain, "b.example");
        assert_eq!(dns.search, ["x.example", "y.example", "z.example"]);
        assert_eq!(dns.options, ["ndots:2", "#", "not", "edns0"]);
    }

    #[test]
    fn unreadable_files_are_refused() {
        let long = format!("search {}", "x".repeat(MAX_LINE));
        let error = parse(long.as_bytes()).unwrap_err().to_string();
        assert_eq!(error, "bufio.Scanner: token too long");
        let error = read(Path::new("/nonexistent/resolv.conf"))
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "open /nonexistent/resolv.conf: no such file or directory"
        );
        assert_eq!(
            read(Path::new("/")).unwrap_err().to_string(),
            "read /: is a directory"
        );
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
