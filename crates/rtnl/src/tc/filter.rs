//! Traffic control filters (`RTM_*TFILTER`): the `u32` classifier with the `mirred`
//! action.

use super::*;
use crate::error::Error;
use crate::handle::Handle;
use crate::request::Request;
use crate::wire::attr::u32_be_at;
use crate::wire::*;

const TCA_U32_CLASSID: u16 = 1;
const TCA_U32_SEL: u16 = 5;
const TCA_U32_ACT: u16 = 7;
/// `struct tc_u32_sel` without its keys, and one key.
const SEL_LEN: usize = 16;
const KEY_LEN: usize = 16;
/// `TC_U32_TERMINAL`: a match ends classification.
const TC_U32_TERMINAL: u8 = 1;

const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_MIRRED_PARMS: u16 = 2;
/// `TC_ACT_STOLEN`: the action consumes the packet.
const TC_ACT_STOLEN: u32 = 4;
/// `TCA_EGRESS_REDIR`: the packet is sent by another link.
const TCA_EGRESS_REDIR: u32 = 1;
/// Offsets in `struct tc_mirred`.
const MIRRED_EACTION: usize = 20;
const MIRRED_IFINDEX: usize = 24;

/// A key of a `u32` filter (`struct tc_u32_key`): it matches if the packet's 32 bits at
/// `offset`, masked with `mask`, equal `value`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct U32Key {
    /// The bits to compare, in network byte order.
    pub mask: u32,
    /// The expected value.
    pub value: u32,
    /// Offset in bytes from the start of the network header.
    pub offset: i32,
}

/// A `u32` filter, to be added by [`Request::add_u32_filter`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct U32Filter {
    /// The parent qdisc or class.
    pub parent: TcHandle,
    /// Protocol of the packets, `ETH_P_*` (if_ether.h); 3 (`ETH_P_ALL`) for all.
    pub protocol: u16,
    /// Priority; filters are evaluated in ascending order. Each priority has one
    /// protocol.
    pub priority: u16,
    /// Keys that must all match; without any, every packet matches.
    pub keys: Vec<U32Key>,
    /// The class of matching packets.
    pub class: TcHandle,
    /// Index of the link that matching packets are redirected to
    /// (`mirred egress redirect`).
    pub redirect: Option<u32>,
}

/// A filter as the kernel reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The kernel's name of its kind.
    pub kind: String,
    /// Its parent, protocol and priority, and if it is a `u32` filter its keys, class and
    /// redirection. Of several redirections, only the first is in effect and reported. A
    /// redirection to a deleted link has index 0.
    pub filter: U32Filter,
}

impl U32Filter {
    fn encode(&self, options: &mut Builder) {
        options.u32(TCA_U32_CLASSID, self.class.0);
        let keys = match self.keys.as_slice() {
            [] => &[U32Key::default()],
            keys => keys,
        };
        let mut selector = vec![0; SEL_LEN];
        selector[0] = TC_U32_TERMINAL;
        // The kernel refuses more than 128.
        selector[2] = u8::try_from(keys.len()).unwrap_or(u8::MAX);
        for key in keys {
            selector.extend_from_slice(&key.mask.to_be_bytes());
            selector.extend_from_slice(&key.value.to_be_bytes());
            selector.extend_from_slice(&key.offset.to_ne_bytes());
            // No offset from the next header.
            selector.extend_from_slice(&[0; 4]);
        }
        options.raw(TCA_U32_SEL, &selector);
        if let Some(link) = self.redirect {
            // Actions are numbered from 1.
            options.nested(TCA_U32_ACT, |actions| {
                actions.nested(1, |action| redirect(action, link));
            });
        }
    }

    /// Reads the options of a `u32` filter; `false` for a hash table that contains
    /// filters.
    fn read(&mut self, options: Attributes<'_>) -> bool {
        let mut is_filter = false;
        for attribute in options {
            match attribute.kind {
                TCA_U32_CLASSID => self.class = TcHandle(attribute.u32().unwrap_or(0)),
                TCA_U32_SEL => {
                    is_filter = true;
                    let keys = attribute.value.get(SEL_LEN..).unwrap_or_default();
                    self.keys = keys.chunks_exact(KEY_LEN).filter_map(key).collect();
                }
                TCA_U32_ACT => {
                    self.redirect = attribute.nested().find_map(|a| redirected(a.nested()));
                }
                _ => {}
            }
        }
        is_filter
    }
}

fn key(bytes: &[u8]) -> Option<U32Key> {
    Some(U32Key {
        mask: u32_be_at(bytes, 0)?,
        value: u32_be_at(bytes, 4)?,
        offset: u32_at(bytes, 8)?.cast_signed(),
    })
}

/// Writes a `mirred` action that redirects packets to the link `index`.
fn redirect(action: &mut Builder, index: u32) {
    action.text(TCA_ACT_KIND, "mirred");
    action.nested(TCA_ACT_OPTIONS, |options| {
        // `struct tc_mirred`: index, capab, action, refcnt, bindcnt, eaction, ifindex.
        let mut value = Vec::with_capacity(28);
        for number in [0, 0, TC_ACT_STOLEN, 0, 0, TCA_EGRESS_REDIR, index] {
            value.extend_from_slice(&number.to_ne_bytes());
        }
        options.raw(TCA_MIRRED_PARMS, &value);
    });
}

/// The index of the link that an action redirects packets to.
fn redirected(action: Attributes<'_>) -> Option<u32> {
    let mut is_mirred = false;
    let mut options = Attributes::new(&[]);
    for attribute in action {
        match attribute.kind {
            TCA_ACT_KIND => is_mirred = attribute.text() == "mirred",
            TCA_ACT_OPTIONS => options = attribute.nested(),
            _ => {}
        }
    }
    let parameters = options.into_iter().find(|a| a.kind == TCA_MIRRED_PARMS)?;
    let eaction = u32_at(parameters.value, MIRRED_EACTION)?;
    (is_mirred && eaction == TCA_EGRESS_REDIR)
        .then(|| u32_at(parameters.value, MIRRED_IFINDEX))
        .flatten()
}

impl Filter {
    /// Reads the body of an `RTM_NEWTFILTER`. `None` for the hash tables that the
    /// kernel lists among the filters.
    pub(crate) fn decode(body: &[u8]) -> Option<Filter> {
        let header = Header::decode(body)?;
        let mut filter = U32Filter {
            parent: header.parent,
            protocol: u16::from_be(header.info as u16),
            priority: (header.info >> 16) as u16,
            ..U32Filter::default()
        };
        let mut kind = String::new();
        let mut options = None;
        for attribute in Attributes::after(body, TCMSG_LEN) {
            match attribute.kind {
                TCA_KIND => kind = attribute.text(),
                TCA_OPTIONS => options = Some(attribute.nested()),
                _ => {}
            }
        }
        // The first message of each priority has no options.
        let options = options?;
        if kind == "u32" && !filter.read(options) {
            return None;
        }
        Some(Filter { kind, filter })
    }
}

impl<'fd> Request<'fd> {
    /// Adds a filter to the link `index` (`RTM_NEWTFILTER`, CREATE and EXCL), after the
    /// others of its priority.
    ///
    /// Errors: `ENOENT` for a kernel without `u32` filters or `mirred` actions,
    /// `EINVAL` if the qdisc does not exist, `ENODEV` if either link does not
    /// exist.
    #[must_use]
    pub fn add_u32_filter(index: u32, filter: &U32Filter) -> Request<'fd> {
        let info = u32::from(filter.priority) << 16 | u32::from(filter.protocol.to_be());
        let mut body = body(index, TcHandle::NONE, filter.parent, info);
        body.text(TCA_KIND, "u32");
        body.nested(TCA_OPTIONS, |options| filter.encode(options));
        let what = format!("add a filter at {} of link {index}", filter.parent);
        Request::new(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, body, what)
    }
}

impl Handle {
    /// The filters at `parent` of the link `index`, in order of evaluation. Empty if
    /// the link or qdisc does not exist.
    ///
    /// # Errors
    /// As [`Handle::addresses`].
    pub fn filters(&self, index: u32, parent: TcHandle) -> Result<Vec<Filter>, Error> {
        let what = format!("list filters at {parent} of link {index}");
        let body = body(index, TcHandle::NONE, parent, 0)
            .finish()
            .map_err(|problem| Error::invalid(problem.to_owned(), &what))?;
        self.connection()
            .dump(RTM_GETTFILTER, &body, &what, |message, list| {
                if message.kind == RTM_NEWTFILTER {
                    list.extend(Filter::decode(message.body));
                }
            })
    }
}
