//! The alias of an ifb, which names its attachment: the name of the ifb is a hash of
//! network and container, without the interface.

use plugin_kit::names;
use rtnl::Link;

/// Longest alias of a link in bytes (`IFALIASZ` without the final zero byte).
const MAX_LEN: usize = 255;
/// First word of the aliases of this plugin.
const MARK: &str = "cni";

/// The alias for an attachment: `cni <network> <container> <interface>`, or if that is
/// too long, `cni <hash>`. None of the words can contain a space.
pub(crate) fn of_attachment(network: &str, container_id: &str, if_name: &str) -> String {
    let alias = format!("{MARK} {network} {container_id} {if_name}");
    if alias.len() <= MAX_LEN {
        return alias;
    }
    let hash = names::attachment_hash(network, container_id, if_name);
    format!("{MARK} {hash}")
}

/// Whether the alias is of this plugin.
pub(crate) fn is_ours(link: &Link) -> bool {
    words(link).is_some()
}

/// Whether `link` is the ifb of an attachment to `network`; `name` returns the name of
/// the ifb of a network and container.
pub(crate) fn is_of_network(
    link: &Link,
    network: &str,
    name: impl Fn(&str, &str) -> String,
) -> bool {
    match words(link).as_deref() {
        Some([own, container_id, _]) => *own == network && link.name == name(own, container_id),
        Some([hash]) => hash.starts_with(&names::network_prefix(network)),
        _ => false,
    }
}

/// The interface of the attachment, if the alias contains it.
pub(crate) fn if_name(link: &Link) -> Option<&str> {
    match words(link)?.as_slice() {
        [_, _, if_name] => Some(if_name),
        _ => None,
    }
}

/// The words after the mark.
fn words(link: &Link) -> Option<Vec<&str>> {
    let rest = link.alias.strip_prefix(MARK)?.strip_prefix(' ')?;
    Some(rest.split(' ').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, alias: &str) -> Link {
        Link {
            name: name.into(),
            alias: alias.into(),
            ..Link::default()
        }
    }

    #[test]
    fn aliases_name_their_attachment() {
        let name = |network: &str, container_id: &str| format!("{network}+{container_id}");
        let id = "c".repeat(300);
        for id in ["c1", &id] {
            let alias = of_attachment("net", id, "eth0");
            assert!(alias.len() <= MAX_LEN);
            let link = link(&format!("net+{id}"), &alias);
            assert!(is_ours(&link));
            assert!(is_of_network(&link, "net", name));
            assert!(!is_of_network(&link, "ne", name));
            assert_eq!(if_name(&link), (id.len() < 9).then_some("eth0"));
            assert_ne!(alias, of_attachment("net", id, "eth1"));
        }
    }

    #[test]
    fn other_aliases_are_ignored() {
        let name = |_: &str, _: &str| "bwp0".to_owned();
        for alias in [
            "",
            "cni",
            "cninet c1 eth0",
            "mine",
            "cni net c1",
            "cni a b c d",
        ] {
            assert!(!is_of_network(&link("bwp0", alias), "net", name), "{alias}");
        }
        // The same words on another link.
        assert!(!is_of_network(&link("x", "cni net c1 eth0"), "net", name));
    }
}
