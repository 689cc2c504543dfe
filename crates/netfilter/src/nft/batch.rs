//! Changes that happen together or not at all.

use rtnl::netlink::{
    Attributes, Builder, Message, Messages, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_ECHO,
    NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, write_message,
};

use super::constants::*;
use super::object::{Chain, Family, Table};
use super::rule::Rule;
use super::set::{Element, Set};
use super::userdata;

/// Bytes of elements in one message: the attribute around them has a 16-bit
/// length.
const ELEMENTS_MAX: usize = 32 * 1024;

/// `sizeof(struct nlmsghdr)`.
pub(crate) const HEADER_LEN: usize = 16;
/// `sizeof(struct nfgenmsg)`.
pub(crate) const NFGENMSG_LEN: usize = 4;

/// Several changes, carried out in their order as one: other processes, and
/// packets, see all of them or none.
///
/// It is built without a socket, and committed with
/// [`Nft::commit`](super::Nft::commit). Building never fails; the first thing
/// that cannot be meant is reported by the commit, before anything is sent.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Finished messages, numbered from 0.
    bytes: Vec<u8>,
    count: u32,
    sets: u32,
    echo: bool,
    echoes: usize,
    problem: Option<(String, String)>,
}

/// Making things. What exists already is left as it is, except where stated.
impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Makes the commit return the rules that are added from here on, with the
    /// handles that the kernel gave them.
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

    /// Creates a chain unless it exists. One that exists with another type,
    /// hook or priority is an error (`EEXIST`, in old kernels `EBUSY`); its
    /// policy is changed if one is given.
    pub fn add_chain(&mut self, chain: &Chain<'_>) -> &mut Batch {
        self.new_chain(chain, NLM_F_CREATE)
    }

    /// Creates a chain that must not exist (`EEXIST`).
    pub fn create_chain(&mut self, chain: &Chain<'_>) -> &mut Batch {
        self.new_chain(chain, NLM_F_CREATE | NLM_F_EXCL)
    }

    fn new_chain(&mut self, chain: &Chain<'_>, flags: u16) -> &mut Batch {
        self.message(NFT_MSG_NEWCHAIN, flags, chain.table.family, |body| {
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

    /// Adds a rule behind the others of its chain.
    pub fn add_rule(&mut self, rule: &Rule<'_>) -> &mut Batch {
        self.new_rule(rule, NLM_F_CREATE | NLM_F_APPEND, None)
    }

    /// Adds a rule before the others of its chain.
    pub fn insert_rule(&mut self, rule: &Rule<'_>) -> &mut Batch {
        self.new_rule(rule, NLM_F_CREATE, None)
    }

    /// Adds a rule right behind the one with this handle.
    pub fn add_rule_after(&mut self, rule: &Rule<'_>, handle: u64) -> &mut Batch {
        let at = Some((NFTA_RULE_POSITION, handle));
        self.new_rule(rule, NLM_F_CREATE | NLM_F_APPEND, at)
    }

    /// Adds a rule right before the one with this handle.
    pub fn insert_rule_before(&mut self, rule: &Rule<'_>, handle: u64) -> &mut Batch {
        let at = Some((NFTA_RULE_POSITION, handle));
        self.new_rule(rule, NLM_F_CREATE, at)
    }

    /// Puts a rule in the place of the one with this handle. Whether it keeps
    /// the handle is the kernel's affair: [`Batch::echo`] tells.
    pub fn replace_rule(&mut self, rule: &Rule<'_>, handle: u64) -> &mut Batch {
        let at = Some((NFTA_RULE_HANDLE, handle));
        self.new_rule(rule, NLM_F_REPLACE, at)
    }

    fn new_rule(&mut self, rule: &Rule<'_>, flags: u16, at: Option<(u16, u64)>) -> &mut Batch {
        let chain = rule.chain;
        let echo = if self.echo { NLM_F_ECHO } else { 0 };
        self.message(NFT_MSG_NEWRULE, flags | echo, chain.table.family, |body| {
            body.text(NFTA_RULE_TABLE, chain.table.name);
            body.text(NFTA_RULE_CHAIN, chain.name);
            if let Some((attribute, handle)) = at {
                body.u64_be(attribute, handle);
            }
            body.nested(NFTA_RULE_EXPRESSIONS, |list| list.append(&rule.expressions));
            if !rule.userdata.is_empty() {
                body.raw(NFTA_RULE_USERDATA, &rule.userdata);
            }
            rule.problem.clone().map_or(Ok(()), Err)
        });
        if self.echo {
            // What the kernel sends back is the request and its own overhead.
            self.echoes += rule.expressions.len() + 1024;
        }
        self
    }

    /// Creates a set or map unless it exists. One that exists with other types
    /// is an error (`EEXIST`) in newer kernels.
    pub fn add_set(&mut self, set: &Set<'_>) -> &mut Batch {
        self.sets += 1;
        let number = self.sets;
        self.message(NFT_MSG_NEWSET, NLM_F_CREATE, set.table.family, |body| {
            body.text(NFTA_SET_TABLE, set.table.name);
            body.text(NFTA_SET_NAME, set.name);
            body.u32_be(NFTA_SET_ID, number);
            set.write(body)
        })
    }

    /// Adds elements. One that exists is left if its data are the same, and is
    /// an error otherwise (`EEXIST`, in old kernels `EBUSY`).
    pub fn add_elements<'e>(
        &mut self,
        set: &Set<'_>,
        elements: impl IntoIterator<Item = Element<'e>>,
    ) -> &mut Batch {
        self.elements(NFT_MSG_NEWSETELEM, NLM_F_CREATE, set, elements)
    }

    /// Adds elements that must not exist (`EEXIST`).
    pub fn create_elements<'e>(
        &mut self,
        set: &Set<'_>,
        elements: impl IntoIterator<Item = Element<'e>>,
    ) -> &mut Batch {
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.elements(NFT_MSG_NEWSETELEM, flags, set, elements)
    }

    fn elements<'e>(
        &mut self,
        kind: u16,
        flags: u16,
        set: &Set<'_>,
        elements: impl IntoIterator<Item = Element<'e>>,
    ) -> &mut Batch {
        let mut list = Builder::default();
        let bare = kind == NFT_MSG_DELSETELEM;
        for element in elements {
            if let Some(problem) = element.problem(set, bare) {
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
            element.write(set, &mut list);
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

/// Removing things. What does not exist is an error (`ENOENT`), and so is what
/// something else refers to (`EBUSY`).
impl Batch {
    /// Deletes a table and all that is in it.
    pub fn delete_table(&mut self, table: &Table<'_>) -> &mut Batch {
        self.message(NFT_MSG_DELTABLE, 0, table.family, |body| {
            body.text(NFTA_TABLE_NAME, table.name);
            Ok(())
        })
    }

    /// Deletes a chain. It must be empty: [`Batch::flush_chain`] comes before.
    pub fn delete_chain(&mut self, chain: &Chain<'_>) -> &mut Batch {
        self.message(NFT_MSG_DELCHAIN, 0, chain.table.family, |body| {
            body.text(NFTA_CHAIN_TABLE, chain.table.name);
            body.text(NFTA_CHAIN_NAME, chain.name);
            Ok(())
        })
    }

    /// Deletes the rules of a chain. The chain must exist, maybe by this batch.
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

    /// Deletes a set or map and its elements.
    pub fn delete_set(&mut self, set: &Set<'_>) -> &mut Batch {
        self.message(NFT_MSG_DELSET, 0, set.table.family, |body| {
            body.text(NFTA_SET_TABLE, set.table.name);
            body.text(NFTA_SET_NAME, set.name);
            Ok(())
        })
    }

    /// Deletes elements by their keys.
    pub fn delete_elements<'e>(
        &mut self,
        set: &Set<'_>,
        elements: impl IntoIterator<Item = Element<'e>>,
    ) -> &mut Batch {
        self.elements(NFT_MSG_DELSETELEM, 0, set, elements)
    }

    /// Deletes all elements of a set or map.
    pub fn flush_set(&mut self, set: &Set<'_>) -> &mut Batch {
        self.message(NFT_MSG_DELSETELEM, 0, set.table.family, |body| {
            body.text(NFTA_SET_ELEM_LIST_TABLE, set.table.name);
            body.text(NFTA_SET_ELEM_LIST_SET, set.name);
            Ok(())
        })
    }
}

impl Batch {
    /// Whether nothing is to be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Number of changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Room that the answers take until they are read.
    pub(crate) fn echo_bytes(&self) -> usize {
        self.echoes
    }

    /// What cannot be meant: where it is, and what it is.
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

    /// The datagram: the changes, numbered from `first` + 1 on, between the
    /// marks of a batch. The last change asks for an acknowledgement. Without
    /// the `end` mark the kernel checks the changes and makes none of them.
    pub(crate) fn encode(&self, first: u32, generation: Option<u32>, end: bool) -> Vec<u8> {
        let mut datagram = Vec::with_capacity(self.bytes.len() + 64);
        let mut begin = Builder::with_raw_header(&header(0, NFNL_SUBSYS_NFTABLES));
        if let Some(generation) = generation {
            begin.u32_be(NFNL_BATCH_GENID, generation);
        }
        // A number is no attribute that could be too long.
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

    /// The change of this number, from 0 on.
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

/// `struct nfgenmsg`.
pub(crate) fn header(family: u8, resource: u16) -> [u8; NFGENMSG_LEN] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

/// What a message asks for, in words, for errors.
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
    // The table's name is the first attribute of all of them, and the name in
    // the table the second, but for chains.
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
