//! The kernel's answers to a batch.

use rtnl::netlink::{Attributes, Message, Messages, Outcome};

use super::batch::Batch;
use super::constants::*;
use super::info::RuleInfo;
use super::message::{HEADER_LEN, describe};
use crate::error::{Culprit, Error};

/// The kernel's answers to a batch.
///
/// The kernel sends the echoed rules first, then errors and the acknowledgement of the
/// last change in the order of the changes. An error of the batch as a whole has the
/// sequence number of the begin message and may be the only answer.
pub(crate) struct Answers<'b> {
    batch: &'b Batch,
    /// Sequence number of the begin message; those of the changes follow.
    first: u32,
    /// The last answer has been read.
    pub(crate) complete: bool,
    /// The first error.
    pub(crate) failure: Option<Error>,
    /// The echoed rules.
    pub(crate) rules: Vec<RuleInfo>,
}

impl<'b> Answers<'b> {
    pub(crate) fn new(first: u32, batch: &'b Batch) -> Answers<'b> {
        Answers {
            batch,
            first,
            complete: false,
            failure: None,
            rules: Vec::new(),
        }
    }

    /// Reads the messages of one datagram.
    pub(crate) fn read(&mut self, datagram: &[u8]) {
        for message in Messages::new(datagram) {
            // Answers to an earlier batch that timed out.
            let number = message.sequence.wrapping_sub(self.first);
            let count = u32::try_from(self.batch.len()).unwrap_or(u32::MAX);
            if number > count {
                continue;
            }
            match message.outcome() {
                Some(outcome) => {
                    self.complete |= number == 0 || number == count;
                    self.outcome(number, outcome);
                }
                None if message.kind == NFT_MSG_NEWRULE => {
                    self.rules.extend(RuleInfo::decode(message.body));
                }
                None => {}
            }
        }
    }

    fn outcome(&mut self, number: u32, outcome: Outcome) {
        // Later errors are mostly consequences of the first one.
        if outcome.errno == 0 || self.failure.is_some() {
            return;
        }
        let change = number.checked_sub(1).and_then(|n| self.batch.change(n));
        self.failure = Some(match change {
            Some(change) => {
                let culprit = outcome
                    .offset
                    .map_or(Culprit::Unknown, |offset| culprit(&change, offset));
                let what = describe(change.kind, change.body);
                Error::kernel(outcome.errno, outcome.text, culprit, what)
            }
            None => Error::kernel(
                outcome.errno,
                outcome.text,
                Culprit::Unknown,
                "commit packet filters",
            ),
        });
    }
}

/// Returns what the kernel reports at `offset`, counted from the message header.
fn culprit(change: &Message<'_>, offset: u32) -> Culprit {
    const NESTED: u16 = 0x8000;
    let start = (offset as usize).checked_sub(HEADER_LEN);
    let Some(bytes) = start.and_then(|start| change.body.get(start..)) else {
        return Culprit::Unknown;
    };
    let is_nested = match bytes {
        [_, _, low, high, ..] => u16::from_ne_bytes([*low, *high]) & NESTED != 0,
        _ => false,
    };
    let Some(attribute) = Attributes::new(bytes).next() else {
        return Culprit::Unknown;
    };
    if is_nested {
        // An expression of a rule begins with its name.
        let mut inner = attribute.nested();
        return match inner.next() {
            Some(name) if name.kind == NFTA_EXPR_NAME && change.kind == NFT_MSG_NEWRULE => {
                Culprit::Expression(name.text())
            }
            _ => Culprit::Unknown,
        };
    }
    let Some((0, name)) = attribute.value.split_last() else {
        return Culprit::Unknown;
    };
    if name.is_empty() || !name.iter().all(|byte| byte.is_ascii_graphic()) {
        return Culprit::Unknown;
    }
    match (change.kind, attribute.kind) {
        (NFT_MSG_NEWCHAIN, NFTA_CHAIN_TYPE) => Culprit::ChainType(attribute.text()),
        _ => Culprit::Name(attribute.text()),
    }
}
