//! What is remembered of an attachment from ADD to DEL: where its rules are.
//!
//! Only for speed: the kernel's rules bear the names of their attachments, and what
//! the record says is tested against them. Without a record, with one that is
//! not complete (the ADD was killed), and where it is wrong, all rules are looked
//! through.

use crate::attachment::Attachment;
use netfilter::nft::Family;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// A directory for each network, in it one for each container; gone with a reboot, as
/// the rules are.
const DIRECTORY: &str = "/run/cni/portmap";

/// Where an attachment's rules are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// In iptables; whether of IPv4 and of IPv6.
    Iptables { ipv4: bool, ipv6: bool },
    /// In nftables, a rule each.
    Rules(Vec<Place>),
    /// In nftables, in maps.
    Map,
    /// Not known: the ADD did not come to its end.
    Unknown,
}

impl Whereabouts {
    /// Whether both are in the same backend and form. One that is not known is like
    /// any.
    pub(crate) fn is_like(&self, other: &Whereabouts) -> bool {
        let unknown = [self, other].contains(&&Whereabouts::Unknown);
        unknown || std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// A rule of the table of portmap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) family: Family,
    pub(crate) chain: String,
    pub(crate) handle: u64,
}

/// The file of an attachment.
#[derive(Debug)]
pub(crate) struct Record {
    path: PathBuf,
}

impl Record {
    pub(crate) fn of(attachment: &Attachment<'_>) -> Record {
        // None of the three can hold a slash.
        let container = Path::new(DIRECTORY)
            .join(attachment.network)
            .join(attachment.container_id);
        Record {
            path: container.join(attachment.if_name),
        }
    }

    /// Whether the container is in the network a second time.
    pub(crate) fn has_sibling(&self) -> bool {
        let entries = self.path.parent().map(fs::read_dir);
        let mut names = entries.into_iter().flatten().flatten().flatten();
        names.any(|entry| Some(entry.file_name().as_os_str()) != self.path.file_name())
    }

    /// What it says; `None` if there is none, or none that can be read.
    pub(crate) fn read(&self) -> Option<Whereabouts> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Some(parse(&text).unwrap_or(Whereabouts::Unknown)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                log::warn!("cannot read {}: {error}", self.path.display());
                Some(Whereabouts::Unknown)
            }
        }
    }

    /// Notes that an ADD has begun, unless an earlier one is noted; whether it did.
    pub(crate) fn begin(&self) -> bool {
        let create = || {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&self.path)
        };
        let with_directory = || {
            self.path.parent().map_or(Ok(()), fs::create_dir_all)?;
            create()
        };
        // A sibling that goes takes an empty directory along.
        let missing = |error: &io::Error| error.kind() == ErrorKind::NotFound;
        let mut created = create();
        for _ in 0..3 {
            if created.as_ref().is_err_and(missing) {
                created = with_directory();
            }
        }
        match created {
            Ok(_) => true,
            Err(error) => {
                if error.kind() != ErrorKind::AlreadyExists {
                    self.complain("write", &error);
                }
                false
            }
        }
    }

    /// Keeps where the rules are.
    pub(crate) fn write(&self, whereabouts: &Whereabouts) {
        let text = print(whereabouts);
        let written = File::create(&self.path).and_then(|mut file| file.write_all(text.as_bytes()));
        if let Err(error) = written {
            // An old one would be worse than none.
            self.complain("write", &error);
            self.remove();
        }
    }

    /// Forgets it.
    pub(crate) fn remove(&self) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => self.complain("remove", &error),
            _ => {}
        }
        // Not empty if there is a sibling.
        let _ = self.path.parent().map(fs::remove_dir);
    }

    fn complain(&self, verb: &str, error: &io::Error) {
        log::warn!("cannot {verb} {}: {error}", self.path.display());
    }
}

/// The attachments of a network that are remembered: container ID, interface.
pub(crate) fn remembered(network: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (path, id) in names_in(&Path::new(DIRECTORY).join(network)) {
        let interfaces = names_in(&path).into_iter();
        found.extend(interfaces.map(|(_, if_name)| (id.clone(), if_name)));
    }
    found
}

fn names_in(directory: &Path) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.map(|entry| (entry.path(), entry.file_name().into_string()));
    names
        .filter_map(|(path, name)| Some((path, name.ok()?)))
        .collect()
}

const END: &str = "end";

fn print(whereabouts: &Whereabouts) -> String {
    let mut text = String::new();
    match whereabouts {
        Whereabouts::Unknown => return text,
        Whereabouts::Map => text.push_str("map\n"),
        Whereabouts::Iptables { ipv4, ipv6 } => {
            text.push_str("iptables");
            text.push_str(if *ipv4 { " ipv4" } else { "" });
            text.push_str(if *ipv6 { " ipv6" } else { "" });
            text.push('\n');
        }
        Whereabouts::Rules(places) => {
            text.push_str("rules\n");
            for place in places {
                let (family, chain) = (place.family.as_str(), &place.chain);
                // Writing to a string does not fail.
                let _ = writeln!(text, "{family} {chain} {}", place.handle);
            }
        }
    }
    text + END + "\n"
}

/// `None` for what is not complete, or not ours.
fn parse(text: &str) -> Option<Whereabouts> {
    let text = text.strip_suffix("\n")?.strip_suffix(END)?;
    let mut lines = text.lines();
    let mut words = lines.next()?.split(' ');
    match words.next()? {
        "map" => Some(Whereabouts::Map),
        "iptables" => {
            let words: Vec<&str> = words.collect();
            Some(Whereabouts::Iptables {
                ipv4: words.contains(&"ipv4"),
                ipv6: words.contains(&"ipv6"),
            })
        }
        "rules" => lines
            .map(place)
            .collect::<Option<_>>()
            .map(Whereabouts::Rules),
        _ => None,
    }
}

fn place(line: &str) -> Option<Place> {
    let mut words = line.split(' ');
    let family = words.next()?;
    let family = [Family::Ip, Family::Ip6]
        .into_iter()
        .find(|known| known.as_str() == family)?;
    Some(Place {
        family,
        chain: words.next()?.to_owned(),
        handle: words.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some() -> Whereabouts {
        let place = |family, chain: &str, handle| Place {
            family,
            chain: chain.to_owned(),
            handle,
        };
        Whereabouts::Rules(vec![
            place(Family::Ip, "hostports", 12),
            place(Family::Ip6, "masquerading", 4_000_000_000_000),
        ])
    }

    #[test]
    fn what_was_written_is_read() {
        for whereabouts in [
            some(),
            Whereabouts::Rules(Vec::new()),
            Whereabouts::Map,
            Whereabouts::Iptables {
                ipv4: true,
                ipv6: false,
            },
            Whereabouts::Iptables {
                ipv4: false,
                ipv6: true,
            },
        ] {
            assert_eq!(parse(&print(&whereabouts)), Some(whereabouts));
        }
    }

    #[test]
    fn what_was_cut_off_is_not_believed() {
        let text = print(&some());
        for len in 0..text.len() {
            assert_eq!(parse(&text[..len]), None, "{len}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "[a-z0-9 \n]{0,60}") {
            let _ = parse(&text);
            let _ = parse(&format!("rules\n{text}\nend\n"));
        }
    }
}
