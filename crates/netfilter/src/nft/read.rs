//! Reading tables, chains, rules and elements.

use nix::libc::EINVAL;
use rtnl::netlink::Builder;

use super::client::Nft;
use super::constants::*;
use super::element::{Element, ElementInfo, decode_elements};
use super::info::{ChainInfo, RuleInfo, RuleView};
use super::object::{Chain, Family, Table};
use super::set::Set;
use crate::error::Error;
use crate::nfnetlink::header;

/// Reading. A missing object is `None` or an empty list, not an error, where possible.
impl Nft {
    /// Returns whether a table exists. A kernel without nf_tables has none.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn has_table(&self, table: &Table<'_>) -> Result<bool, Error> {
        let body = body(table.family, |body| {
            body.text(NFTA_TABLE_NAME, table.name);
        })?;
        match self.get(NFT_MSG_GETTABLE, &body, |_| Some(())) {
            // The error of requests, unlike that of changes, without nf_tables.
            Err(error) if error.is_unsupported() || error.errno() == Some(EINVAL) => Ok(false),
            found => Ok(found?.is_some()),
        }
    }

    /// Returns a chain, `None` if it or its table does not exist.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn chain(&self, chain: &Chain<'_>) -> Result<Option<ChainInfo>, Error> {
        let body = body(chain.table.family, |body| {
            body.text(NFTA_CHAIN_TABLE, chain.table.name);
            body.text(NFTA_CHAIN_NAME, chain.name);
        })?;
        self.get(NFT_MSG_GETCHAIN, &body, |message| {
            ChainInfo::decode(message.body)
        })
    }

    /// Returns the rule of a chain with this handle, `None` if there is none.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn rule(&self, chain: &Chain<'_>, handle: u64) -> Result<Option<RuleInfo>, Error> {
        let body = body(chain.table.family, |body| {
            body.text(NFTA_RULE_TABLE, chain.table.name);
            body.text(NFTA_RULE_CHAIN, chain.name);
            body.u64_be(NFTA_RULE_HANDLE, handle);
        })?;
        self.get(NFT_MSG_GETRULE, &body, |message| {
            RuleInfo::decode(message.body)
        })
    }

    /// Returns the rules of a chain in order; none if the chain does not exist.
    ///
    /// # Errors
    /// The kernel's refusal; a timeout if the rules kept changing.
    pub fn rules(&self, chain: &Chain<'_>) -> Result<Vec<RuleInfo>, Error> {
        self.find_rules(chain, |_| true)
    }

    /// Returns the rules of all chains of a table; none if the table does not exist.
    ///
    /// # Errors
    /// The kernel's refusal; a timeout if the rules kept changing.
    pub fn table_rules(&self, table: &Table<'_>) -> Result<Vec<RuleInfo>, Error> {
        let body = body(table.family, |body| {
            body.text(NFTA_RULE_TABLE, table.name);
        })?;
        self.dump_rules(&body, |_| true)
    }

    /// Returns the rules of a chain for which `wanted` is true, in order. The others are
    /// not copied.
    ///
    /// # Errors
    /// The kernel's refusal; a timeout if the rules kept changing.
    pub fn find_rules(
        &self,
        chain: &Chain<'_>,
        wanted: impl Fn(&RuleView<'_>) -> bool,
    ) -> Result<Vec<RuleInfo>, Error> {
        let body = body(chain.table.family, |body| {
            body.text(NFTA_RULE_TABLE, chain.table.name);
            body.text(NFTA_RULE_CHAIN, chain.name);
        })?;
        self.dump_rules(&body, wanted)
    }

    fn dump_rules(
        &self,
        body: &[u8],
        wanted: impl Fn(&RuleView<'_>) -> bool,
    ) -> Result<Vec<RuleInfo>, Error> {
        self.dump(NFT_MSG_GETRULE, body, |message, rules, entries| {
            let Some(view) = RuleView::decode(message.body) else {
                return;
            };
            entries.add(&view.handle.to_ne_bytes());
            if wanted(&view) {
                rules.push(view.to_info());
            }
        })
    }

    /// Returns the elements of a set or map.
    ///
    /// # Errors
    /// [`Error::is_not_found`] if it does not exist; the kernel's refusal; a
    /// timeout if the rules kept changing.
    pub fn elements(&self, set: &Set<'_>) -> Result<Vec<ElementInfo>, Error> {
        let body = body(set.table.family, |body| {
            body.text(NFTA_SET_ELEM_LIST_TABLE, set.table.name);
            body.text(NFTA_SET_ELEM_LIST_SET, set.name);
        })?;
        self.dump(NFT_MSG_GETSETELEM, &body, |message, elements, entries| {
            for element in decode_elements(message.body) {
                entries.add(&element.key);
                elements.push(element);
            }
        })
    }

    /// Returns the element with the key of `element`, `None` if it or the set does not
    /// exist.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn element(&self, set: &Set<'_>, element: &Element) -> Result<Option<ElementInfo>, Error> {
        let key = element.key_bytes();
        let body = body(set.table.family, |body| {
            body.text(NFTA_SET_ELEM_LIST_TABLE, set.table.name);
            body.text(NFTA_SET_ELEM_LIST_SET, set.name);
            body.nested(NFTA_SET_ELEM_LIST_ELEMENTS, |list| {
                list.nested(NFTA_LIST_ELEM, |element| {
                    element.nested(NFTA_SET_ELEM_KEY, |value| {
                        value.raw(NFTA_DATA_VALUE, key);
                    });
                });
            });
        })?;
        self.get(NFT_MSG_GETSETELEM, &body, |message| {
            decode_elements(message.body).into_iter().next()
        })
    }
}

/// Returns the body of a request.
fn body(family: Family, fill: impl FnOnce(&mut Builder)) -> Result<Vec<u8>, Error> {
    let mut body = Builder::with_raw_header(&header(family as u8, 0));
    fill(&mut body);
    body.finish()
        .map_err(|problem| Error::invalid(problem, "read packet filters"))
}
