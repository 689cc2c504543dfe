//! Batches: changes that the kernel applies in one transaction.

use rtnl::netlink::{
    Builder, Message, Messages, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_ECHO, NLM_F_REQUEST,
    write_message,
};

use super::constants::*;
use super::element::Element;
use super::message::describe;
use super::object::{Chain, Family, Table};
use super::rule::Rule;
use super::set::Set;
use super::userdata;
use crate::nfnetlink::header;

/// Bytes of elements per message: the length of the attribute around them is 16 bits.
const ELEMENTS_MAX: usize = 32 * 1024;

/// Changes that the kernel applies in order and in one transaction: all or none.
///
/// A batch is built without a socket and committed by
/// [`Nft::commit`](super::Nft::commit). Building never fails; the commit reports the
/// first invalid change before anything is sent.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Complete messages, numbered from 0.
    bytes: Vec<u8>,
    count: u32,
    sets: u32,
    echo: bool,
    echoes: usize,
    problem: Option<(String, String)>,
}

/// Adding. Objects that exist are left unchanged, unless stated otherwise.
impl Batch {
    /// Returns an empty batch.
    #[must_use]
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Makes the commit return the rules that are added after this call, with their
    /// handles (`NLM_F_ECHO`).
    pub fn echo(&mut self) -> &mut Batch {
        self.echo = true;
        self
    }

    /// Creates a table unless it exists.
    pub fn add_table(&mut self, table: &Table<'_>) -> &mut Batch {
        self.message(NFT_MSG_NEWTABLE, NLM_F_CREATE, table.family, |body| {
            body.text(NFTA_TABLE_NAME, table.name);
            write_comment(
                body,
                NFTA_TABLE_USERDATA,
                NFTNL_UDATA_TABLE_COMMENT,
                table.comment,
            )
        })
    }

    /// Creates a chain unless it exists. A chain of this name with another type, hook or
    /// priority is an error (`EEXIST`, in old kernels `EBUSY`). Sets the policy if one is
    /// given.
    pub fn add_chain(&mut self, chain: &Chain<'_>) -> &mut Batch {
        self.message(NFT_MSG_NEWCHAIN, NLM_F_CREATE, chain.table.family, |body| {
            body.text(NFTA_CHAIN_TABLE, chain.table.name);
            body.text(NFTA_CHAIN_NAME, chain.name);
            if let Some(base) = chain.base {
                body.nested(NFTA_CHAIN_HOOK, |hook| {
                    hook.u32_be(NFTA_HOOK_HOOKNUM, base.hook as u32);
                    hook.u32_be(NFTA_HOOK_PRIORITY, base.priority.cast_unsigned());
                });
                if let Some(policy) = base.policy {
                    body.u32_be(NFTA_CHAIN_POLICY, policy as u32);
                }
                body.text(NFTA_CHAIN_TYPE, base.kind.as_str());
            }
            write_comment(
                body,
                NFTA_CHAIN_USERDATA,
                NFTNL_UDATA_CHAIN_COMMENT,
                chain.comment,
            )
        })
    }

    /// Appends a rule to its chain.
    pub fn add_rule(&mut self, rule: &Rule<'_>) -> &mut Batch {
        self.new_rule(rule, NLM_F_CREATE | NLM_F_APPEND)
    }

    /// Inserts a rule at the beginning of its chain.
    pub fn insert_rule(&mut self, rule: &Rule<'_>) -> &mut Batch {
        self.new_rule(rule, NLM_F_CREATE)
    }

    fn new_rule(&mut self, rule: &Rule<'_>, flags: u16) -> &mut Batch {
        let chain = rule.chain;
        let echo = if self.echo { NLM_F_ECHO } else { 0 };
        self.message(NFT_MSG_NEWRULE, flags | echo, chain.table.family, |body| {
            body.text(NFTA_RULE_TABLE, chain.table.name);
            body.text(NFTA_RULE_CHAIN, chain.name);
            body.nested(NFTA_RULE_EXPRESSIONS, |list| list.append(&rule.expressions));
            if let Some(protocol) = rule.xt_protocol {
                body.nested(NFTA_RULE_COMPAT, |compat| {
                    compat.u32_be(NFTA_RULE_COMPAT_PROTO, protocol as u32);
                    compat.u32_be(NFTA_RULE_COMPAT_FLAGS, 0);
                });
            }
            if !rule.userdata.is_empty() {
                body.raw(NFTA_RULE_USERDATA, &rule.userdata);
            }
            rule.problem.clone().map_or(Ok(()), Err)
        });
        if self.echo {
            // The kernel echoes the request with some overhead.
            self.echoes += rule.expressions.len() + 1024;
        }
        self
    }

    /// Creates a set or map unless it exists. A set of this name with other types is an
    /// error (`EEXIST`) in newer kernels.
    pub fn add_set(&mut self, set: &Set<'_>) -> &mut Batch {
        self.sets += 1;
        let number = self.sets;
        self.message(NFT_MSG_NEWSET, NLM_F_CREATE, set.table.family, |body| {
            body.text(NFTA_SET_TABLE, set.table.name);
            body.text(NFTA_SET_NAME, set.name);
            body.u32_be(NFTA_SET_ID, number);
            set.write(body);
            Ok(())
        })
    }

    /// Adds elements. An element that exists with other data is an error (`EEXIST`, in old
    /// kernels `EBUSY`).
    pub fn add_elements(
        &mut self,
        set: &Set<'_>,
        elements: impl IntoIterator<Item = Element>,
    ) -> &mut Batch {
        self.elements(NFT_MSG_NEWSETELEM, NLM_F_CREATE, set, elements)
    }

    fn elements(
        &mut self,
        kind: u16,
        flags: u16,
        set: &Set<'_>,
        elements: impl IntoIterator<Item = Element>,
    ) -> &mut Batch {
        let mut list = Builder::default();
        let key_only = kind == NFT_MSG_DELSETELEM;
        for element in elements {
            if let Some(problem) = element.problem(set, key_only) {
                let what = format!(
                    "elements of set {} {} {}",
                    set.table.family.as_str(),
                    set.table.name,
                    set.name
                );
                self.problem.get_or_insert((what, problem));
            }
            if list.len() > ELEMENTS_MAX {
                self.element_message(kind, flags, set, &std::mem::take(&mut list));
            }
            element.write(&mut list);
        }
        if !list.is_empty() {
            self.element_message(kind, flags, set, &list);
        }
        self
    }

    fn element_message(&mut self, kind: u16, flags: u16, set: &Set<'_>, list: &Builder) {
        self.message(kind, flags, set.table.family, |body| {
            body.text(NFTA_SET_ELEM_LIST_TABLE, set.table.name);
            body.text(NFTA_SET_ELEM_LIST_SET, set.name);
            body.nested(NFTA_SET_ELEM_LIST_ELEMENTS, |elements| {
                elements.append(list);
            });
            Ok(())
        });
    }
}

/// Deleting. A missing object is an error (`ENOENT`), and so is one that is referenced
/// (`EBUSY`).
impl Batch {
    /// Deletes a chain, which must be empty; see [`Batch::flush_chain`].
    pub fn delete_chain(&mut self, chain: &Chain<'_>) -> &mut Batch {
        self.message(NFT_MSG_DELCHAIN, 0, chain.table.family, |body| {
            body.text(NFTA_CHAIN_TABLE, chain.table.name);
            body.text(NFTA_CHAIN_NAME, chain.name);
            Ok(())
        })
    }

    /// Deletes the rules of a chain. The chain must exist, or be added by this batch.
    pub fn flush_chain(&mut self, chain: &Chain<'_>) -> &mut Batch {
        self.delete_rules(chain, None)
    }

    /// Deletes the rule with this handle.
    pub fn delete_rule(&mut self, chain: &Chain<'_>, handle: u64) -> &mut Batch {
        self.delete_rules(chain, Some(handle))
    }

    fn delete_rules(&mut self, chain: &Chain<'_>, handle: Option<u64>) -> &mut Batch {
        self.message(NFT_MSG_DELRULE, 0, chain.table.family, |body| {
            body.text(NFTA_RULE_TABLE, chain.table.name);
            body.text(NFTA_RULE_CHAIN, chain.name);
            if let Some(handle) = handle {
                body.u64_be(NFTA_RULE_HANDLE, handle);
            }
            Ok(())
        })
    }

    /// Deletes elements by their keys.
    pub fn delete_elements(
        &mut self,
        set: &Set<'_>,
        elements: impl IntoIterator<Item = Element>,
    ) -> &mut Batch {
        self.elements(NFT_MSG_DELSETELEM, 0, set, elements)
    }
}

impl Batch {
    /// Returns whether the batch has no changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the number of changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Returns the space that echoed rules need in the receive buffer, in bytes.
    pub(crate) fn echo_bytes(&self) -> usize {
        self.echoes
    }

    /// Returns the first invalid change: its description and the reason.
    pub(crate) fn problem(&self) -> Option<&(String, String)> {
        self.problem.as_ref()
    }

    fn message(
        &mut self,
        kind: u16,
        flags: u16,
        family: Family,
        fill: impl FnOnce(&mut Builder) -> Result<(), String>,
    ) -> &mut Batch {
        let mut body = Builder::with_raw_header(&header(family as u8, 0));
        let mut problem = fill(&mut body).err();
        let body = body.finish().unwrap_or_else(|fault| {
            problem = Some(fault.to_owned());
            Vec::new()
        });
        if let Some(problem) = problem {
            self.problem.get_or_insert((describe(kind, &body), problem));
        }
        let flags = NLM_F_REQUEST | flags;
        write_message(&mut self.bytes, kind, flags, self.count, &body);
        self.count += 1;
        self
    }

    /// Returns the datagram: the begin message with sequence number `first`, the changes
    /// with the following numbers, and the end message. The last change requests an
    /// acknowledgement. Without the `end` message the kernel checks the changes and does
    /// not apply them.
    pub(crate) fn encode(&self, first: u32, generation: Option<u32>, end: bool) -> Vec<u8> {
        let mut datagram = Vec::with_capacity(self.bytes.len() + 64);
        let mut begin = Builder::with_raw_header(&header(0, NFNL_SUBSYS_NFTABLES));
        if let Some(generation) = generation {
            begin.u32_be(NFNL_BATCH_GENID, generation);
        }
        // Fails only for attributes that are too long.
        let begin = begin.finish().unwrap_or_default();
        write_message(
            &mut datagram,
            NFNL_MSG_BATCH_BEGIN,
            NLM_F_REQUEST,
            first,
            &begin,
        );
        for message in Messages::new(&self.bytes) {
            let is_last = message.sequence + 1 == self.count;
            let ack = if is_last { NLM_F_ACK } else { 0 };
            let sequence = first.wrapping_add(1).wrapping_add(message.sequence);
            write_message(
                &mut datagram,
                message.kind,
                message.flags | ack,
                sequence,
                message.body,
            );
        }
        if end {
            let sequence = first.wrapping_add(1).wrapping_add(self.count);
            let body = header(0, NFNL_SUBSYS_NFTABLES);
            write_message(
                &mut datagram,
                NFNL_MSG_BATCH_END,
                NLM_F_REQUEST,
                sequence,
                &body,
            );
        }
        datagram
    }

    /// Returns a change by its number, counted from 0.
    pub(crate) fn change(&self, number: u32) -> Option<Message<'_>> {
        Messages::new(&self.bytes).find(|message| message.sequence == number)
    }
}

fn write_comment(
    body: &mut Builder,
    attribute: u16,
    kind: u8,
    comment: Option<&str>,
) -> Result<(), String> {
    if let Some(comment) = comment {
        body.raw(attribute, &userdata::comment(kind, comment)?);
    }
    Ok(())
}
