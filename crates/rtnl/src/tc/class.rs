//! Classes of qdiscs (`RTM_*TCLASS`).

use super::rate::{RATESPEC_LEN, rate_at, rate64, ratespec};
use super::*;
use crate::error::Error;
use crate::handle::Handle;
use crate::request::Request;
use crate::wire::*;

const TCA_HTB_PARMS: u16 = 1;
const TCA_HTB_RATE64: u16 = 6;
const TCA_HTB_CEIL64: u16 = 7;

/// A class of a hierarchical token bucket (`struct tc_htb_opt`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HtbClass {
    /// Guaranteed rate in bytes per second.
    pub rate: u64,
    /// Rate in bytes per second including what is borrowed from the parent class.
    pub ceil: u64,
    /// Size of the bucket of `rate`, in ticks as in [`Tbf::buffer`].
    pub buffer: u32,
    /// Size of the bucket of `ceil`, in ticks.
    pub cbuffer: u32,
    /// Bytes sent in a round; 0 lets the kernel compute them.
    pub quantum: u32,
}

/// A class as the kernel reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// Index of its link.
    pub index: u32,
    /// Its number.
    pub handle: TcHandle,
    /// The parent class or qdisc.
    pub parent: TcHandle,
    /// Its parameters, if it is one of a hierarchical token bucket.
    pub htb: Option<HtbClass>,
}

impl HtbClass {
    fn encode(&self, options: &mut Builder) {
        // The kernel reads 0 here as no rate, even if the 64-bit attribute is set.
        let visible = |rate: u64| ratespec(rate.min(u64::from(u32::MAX)));
        let mut value = visible(self.rate).to_vec();
        value.extend_from_slice(&visible(self.ceil));
        // After the quantum: level and priority.
        for number in [self.buffer, self.cbuffer, self.quantum, 0, 0] {
            value.extend_from_slice(&number.to_ne_bytes());
        }
        options.raw(TCA_HTB_PARMS, &value);
        for (kind, rate) in [(TCA_HTB_RATE64, self.rate), (TCA_HTB_CEIL64, self.ceil)] {
            if let Some(rate) = rate64(rate) {
                options.u64(kind, rate);
            }
        }
    }

    fn decode(options: Attributes<'_>) -> Option<HtbClass> {
        let mut class = None;
        let (mut rate, mut ceil) = (None, None);
        for attribute in options {
            let value = attribute.value;
            match attribute.kind {
                TCA_HTB_PARMS => {
                    class = Some(HtbClass {
                        rate: rate_at(value, 0)?,
                        ceil: rate_at(value, RATESPEC_LEN)?,
                        buffer: u32_at(value, 2 * RATESPEC_LEN)?,
                        cbuffer: u32_at(value, 2 * RATESPEC_LEN + 4)?,
                        quantum: u32_at(value, 2 * RATESPEC_LEN + 8)?,
                    });
                }
                TCA_HTB_RATE64 => rate = attribute.u64(),
                TCA_HTB_CEIL64 => ceil = attribute.u64(),
                _ => {}
            }
        }
        let class = class?;
        Some(HtbClass {
            rate: rate.unwrap_or(class.rate),
            ceil: ceil.unwrap_or(class.ceil),
            ..class
        })
    }
}

impl Class {
    /// Reads the body of an `RTM_NEWTCLASS`.
    pub(crate) fn decode(body: &[u8]) -> Option<Class> {
        let header = Header::decode(body)?;
        let mut is_htb = false;
        let mut options = Attributes::new(&[]);
        for attribute in Attributes::after(body, TCMSG_LEN) {
            match attribute.kind {
                TCA_KIND => is_htb = attribute.text() == "htb",
                TCA_OPTIONS => options = attribute.nested(),
                _ => {}
            }
        }
        Some(Class {
            index: header.index,
            handle: header.handle,
            parent: header.parent,
            htb: is_htb.then(|| HtbClass::decode(options)).flatten(),
        })
    }
}

impl<'fd> Request<'fd> {
    /// Adds the class `handle` to the hierarchical token bucket `parent` of the link
    /// `index` (`RTM_NEWTCLASS`, CREATE and EXCL).
    ///
    /// Errors: `EEXIST` if the class exists, `ENOENT` if the qdisc does not, `EINVAL` for
    /// invalid parameters.
    #[must_use]
    pub fn add_htb_class(
        index: u32,
        handle: TcHandle,
        parent: TcHandle,
        class: &HtbClass,
    ) -> Request<'fd> {
        let mut body = body(index, handle, parent, 0);
        body.text(TCA_KIND, "htb");
        body.nested(TCA_OPTIONS, |options| class.encode(options));
        let what = format!("add class {handle} of link {index}");
        Request::new(RTM_NEWTCLASS, NLM_F_CREATE | NLM_F_EXCL, body, what)
    }
}

impl Handle {
    /// All classes of the link `index`.
    ///
    /// # Errors
    /// As [`Handle::addresses`].
    pub fn classes(&self, index: u32) -> Result<Vec<Class>, Error> {
        let what = format!("list classes of link {index}");
        let body = body(index, TcHandle::NONE, TcHandle::NONE, 0)
            .finish()
            .map_err(|problem| Error::invalid(problem.to_owned(), &what))?;
        self.connection()
            .dump(RTM_GETTCLASS, &body, &what, |message, list| {
                if message.kind == RTM_NEWTCLASS {
                    list.extend(Class::decode(message.body));
                }
            })
    }
}
