//! The plugin under test.

use testkit::Node;
use testkit::single_interface::{Subject, plain_router};

pub(crate) const MACVLAN: Subject = Subject {
    name: "macvlan",
    needs: &[],
    keys: r#"{"master": "m0"}"#,
    prefix: "",
    lower_case: true,
    router: Some(plain_router),
};

/// Whether a link has a flag such as `UP` or `PROMISC`.
#[track_caller]
pub(crate) fn has_flag(node: &impl Node, link: &str, flag: &str) -> bool {
    let flags = node.link_attribute(link, "/flags");
    flags
        .as_array()
        .is_some_and(|flags| flags.iter().any(|f| f == flag))
}
