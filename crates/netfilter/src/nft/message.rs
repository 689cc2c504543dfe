//! Descriptions of requests, for errors.

use rtnl::netlink::Attributes;

use super::constants::*;
use super::object::Family;
use super::userdata;
use crate::nfnetlink::NFGENMSG_LEN;

/// `sizeof(struct nlmsghdr)`.
pub(crate) const HEADER_LEN: usize = 16;

/// Describes a request for error messages.
pub(crate) fn describe(kind: u16, body: &[u8]) -> String {
    let verb = match kind {
        NFT_MSG_NEWTABLE => "add table",
        NFT_MSG_GETTABLE => "look up table",
        NFT_MSG_DELTABLE => "delete table",
        NFT_MSG_NEWCHAIN => "add chain",
        NFT_MSG_GETCHAIN => "look up chain",
        NFT_MSG_DELCHAIN => "delete chain",
        NFT_MSG_NEWRULE => "add rule to chain",
        NFT_MSG_GETRULE => "list rules of chain",
        NFT_MSG_DELRULE => "delete rule of chain",
        NFT_MSG_NEWSET => "add set",
        NFT_MSG_DELSET => "delete set",
        NFT_MSG_NEWSETELEM => "add elements to set",
        NFT_MSG_GETSETELEM => "list elements of set",
        NFT_MSG_DELSETELEM => "delete elements of set",
        _ => "nf_tables request",
    };
    let mut words = verb.to_owned();
    let mut add = |word: &str| {
        words.push(' ');
        words.push_str(word);
    };
    if let Some(family) = body.first().and_then(|n| Family::from_number(*n)) {
        add(family.as_str());
    }
    // In all requests attribute 1 is the table's name, and attribute 2 the object's, except
    // for chains.
    let name = match kind {
        NFT_MSG_NEWCHAIN | NFT_MSG_GETCHAIN | NFT_MSG_DELCHAIN => NFTA_CHAIN_NAME,
        NFT_MSG_NEWTABLE | NFT_MSG_GETTABLE | NFT_MSG_DELTABLE => u16::MAX,
        _ => NFTA_RULE_CHAIN,
    };
    for attribute in Attributes::after(body, NFGENMSG_LEN) {
        match (kind, attribute.kind) {
            (_, NFTA_TABLE_NAME) => add(&attribute.text()),
            (_, number) if number == name => add(&attribute.text()),
            (NFT_MSG_NEWRULE, NFTA_RULE_USERDATA) => {
                let comment = userdata::find_comment(NFTNL_UDATA_RULE_COMMENT, attribute.value);
                add(&format!("comment {:?}", comment.unwrap_or_default()));
            }
            (NFT_MSG_DELRULE, NFTA_RULE_HANDLE) => {
                add(&format!("handle {}", attribute.u64_be().unwrap_or(0)));
            }
            _ => {}
        }
    }
    words
}
