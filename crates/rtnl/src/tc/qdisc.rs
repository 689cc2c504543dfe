//! Queueing disciplines (`RTM_*QDISC`).

use super::rate::{RATESPEC_LEN, rate_at, rate64, ratespec};
use super::*;
use crate::errno;
use crate::error::Error;
use crate::handle::Handle;
use crate::request::Request;
use crate::wire::*;

const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_HTB_INIT: u16 = 2;

/// `HTB_VER >> 16` of the kernel's sch_htb.c: the only version it accepts.
const HTB_VERSION: u32 = 3;

/// A qdisc, to be added by [`Request::add_qdisc`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QdiscSpec {
    /// Handle; [`TcHandle::NONE`] lets the kernel choose.
    pub handle: TcHandle,
    /// Parent: [`TcHandle::ROOT`], [`TcHandle::INGRESS`] or a class.
    pub parent: TcHandle,
    /// Kind and parameters.
    pub kind: QdiscKind,
}

/// The kinds of qdiscs that can be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QdiscKind {
    /// Token bucket filter: limits the rate (`tc-tbf(8)`).
    Tbf(Tbf),
    /// Hierarchical token bucket: a tree of classes with rates (`tc-htb(8)`).
    Htb(Htb),
    /// Hook for filters on received packets, without a queue.
    Ingress,
    /// FIFO queue limited in bytes (`tc-bfifo(8)`).
    Bfifo {
        /// Limit in bytes.
        limit: u32,
    },
    /// Fair queue with controlled delay and default parameters (`tc-fq_codel(8)`).
    FqCodel,
    /// Fair queue with pacing and default parameters (`tc-fq(8)`).
    Fq,
}

/// Parameters of a token bucket filter (`struct tc_tbf_qopt`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tbf {
    /// Rate in bytes per second. From 2^32 on it is sent as `TCA_TBF_RATE64`.
    pub rate: u64,
    /// Limit of the queue in bytes.
    pub limit: u32,
    /// Size of the bucket as its transmission time at `rate`, in ticks of the packet
    /// scheduler's clock (`/proc/net/psched`).
    pub buffer: u32,
}

/// Parameters of a hierarchical token bucket (`struct tc_htb_glob`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Htb {
    /// Minor number of the class for unclassified packets.
    pub default_class: u32,
    /// Divisor of a class's rate that gives its quantum (`r2q`).
    pub rate2quantum: u32,
}

/// A qdisc as the kernel reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qdisc {
    /// Index of its link.
    pub index: u32,
    /// Its number.
    pub handle: TcHandle,
    /// Where it hangs.
    pub parent: TcHandle,
    /// The kernel's name of its kind.
    pub kind: String,
    /// Its parameters.
    pub info: QdiscInfo,
}

/// Parameters of a qdisc of a kind known here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum QdiscInfo {
    /// A kind without parameters, or not known here.
    #[default]
    None,
    /// Of a token bucket filter.
    Tbf(Tbf),
    /// Of a hierarchical token bucket.
    Htb(Htb),
}

impl QdiscKind {
    /// The kernel's name of the kind.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            QdiscKind::Tbf(_) => "tbf",
            QdiscKind::Htb(_) => "htb",
            QdiscKind::Ingress => "ingress",
            QdiscKind::Bfifo { .. } => "bfifo",
            QdiscKind::FqCodel => "fq_codel",
            QdiscKind::Fq => "fq",
        }
    }

    fn encode(&self, body: &mut Builder) {
        body.text(TCA_KIND, self.name());
        match self {
            QdiscKind::Tbf(tbf) => body.nested(TCA_OPTIONS, |options| tbf.encode(options)),
            QdiscKind::Htb(htb) => body.nested(TCA_OPTIONS, |options| htb.encode(options)),
            // `struct tc_fifo_qopt`.
            QdiscKind::Bfifo { limit } => body.u32(TCA_OPTIONS, *limit),
            QdiscKind::Ingress | QdiscKind::FqCodel | QdiscKind::Fq => {}
        }
    }
}

impl Tbf {
    fn encode(&self, options: &mut Builder) {
        let mut value = ratespec(self.rate).to_vec();
        // No peak rate.
        value.extend_from_slice(&[0; RATESPEC_LEN]);
        for number in [self.limit, self.buffer, 0] {
            value.extend_from_slice(&number.to_ne_bytes());
        }
        options.raw(TCA_TBF_PARMS, &value);
        if let Some(rate) = rate64(self.rate) {
            options.u64(TCA_TBF_RATE64, rate);
        }
    }

    fn decode(options: Attributes<'_>) -> Option<Tbf> {
        let mut tbf = None;
        let mut rate = None;
        for attribute in options {
            match attribute.kind {
                TCA_TBF_PARMS => {
                    tbf = Some(Tbf {
                        rate: rate_at(attribute.value, 0)?,
                        limit: u32_at(attribute.value, 2 * RATESPEC_LEN)?,
                        buffer: u32_at(attribute.value, 2 * RATESPEC_LEN + 4)?,
                    });
                }
                TCA_TBF_RATE64 => rate = attribute.u64(),
                _ => {}
            }
        }
        let tbf = tbf?;
        Some(Tbf {
            rate: rate.unwrap_or(tbf.rate),
            ..tbf
        })
    }
}

impl Htb {
    fn encode(&self, options: &mut Builder) {
        let mut value = Vec::with_capacity(20);
        for number in [HTB_VERSION, self.rate2quantum, self.default_class, 0, 0] {
            value.extend_from_slice(&number.to_ne_bytes());
        }
        options.raw(TCA_HTB_INIT, &value);
    }

    fn decode(mut options: Attributes<'_>) -> Option<Htb> {
        let init = options.find(|attribute| attribute.kind == TCA_HTB_INIT)?;
        Some(Htb {
            rate2quantum: u32_at(init.value, 4)?,
            default_class: u32_at(init.value, 8)?,
        })
    }
}

impl Qdisc {
    /// Reads the body of an `RTM_NEWQDISC`.
    pub(crate) fn decode(body: &[u8]) -> Option<Qdisc> {
        let header = Header::decode(body)?;
        let mut kind = String::new();
        let mut options = Attributes::new(&[]);
        for attribute in Attributes::after(body, TCMSG_LEN) {
            match attribute.kind {
                TCA_KIND => kind = attribute.text(),
                TCA_OPTIONS => options = attribute.nested(),
                _ => {}
            }
        }
        let info = match kind.as_str() {
            "tbf" => Tbf::decode(options).map(QdiscInfo::Tbf),
            "htb" => Htb::decode(options).map(QdiscInfo::Htb),
            _ => None,
        };
        Some(Qdisc {
            index: header.index,
            handle: header.handle,
            parent: header.parent,
            kind,
            info: info.unwrap_or_default(),
        })
    }
}

impl<'fd> Request<'fd> {
    /// Adds a qdisc to the link `index` (`RTM_NEWQDISC`, CREATE and EXCL). It replaces
    /// the kernel's default qdisc.
    ///
    /// Errors: `EEXIST` if a qdisc other than the default exists there; `ENOENT` for a
    /// kind that the kernel lacks or a class that does not exist; `EINVAL` for invalid
    /// parameters; `ENODEV` if the link does not exist.
    #[must_use]
    pub fn add_qdisc(index: u32, spec: &QdiscSpec) -> Request<'fd> {
        let mut body = body(index, spec.handle, spec.parent, 0);
        spec.kind.encode(&mut body);
        let what = format!(
            "add qdisc {} at {} of link {index}",
            spec.kind.name(),
            spec.parent
        );
        Request::new(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, body, what)
    }

    /// Deletes the qdisc `handle` of the link `index`, with its classes and filters
    /// (`RTM_DELQDISC`).
    ///
    /// Errors: `ENOENT` or, at the root, `EINVAL` if the qdisc does not exist; `ENODEV` if
    /// the link does not exist.
    #[must_use]
    pub fn del_qdisc(index: u32, handle: TcHandle, parent: TcHandle) -> Request<'fd> {
        let what = format!("delete qdisc {handle} at {parent} of link {index}");
        let body = body(index, handle, parent, 0);
        Request::new(RTM_DELQDISC, 0, body, what)
    }
}

impl Handle {
    /// The qdisc at `parent` of the link `index`: [`TcHandle::ROOT`],
    /// [`TcHandle::INGRESS`] or a class. `None` if there is none, or only the `noop`
    /// qdisc of a link that is down.
    ///
    /// # Errors
    /// `ENODEV` if the link does not exist.
    pub fn qdisc(&self, index: u32, parent: TcHandle) -> Result<Option<Qdisc>, Error> {
        let what = format!("look up the qdisc at {parent} of link {index}");
        let body = body(index, TcHandle::NONE, parent, 0)
            .finish()
            .map_err(|problem| Error::invalid(problem.to_owned(), &what))?;
        // Kernels before 6.8 answer only if an echo is requested, and no kernel answers
        // for a built-in qdisc such as noop: the acknowledgement then ends the wait.
        let flags = NLM_F_ECHO | NLM_F_ACK;
        let found = self
            .connection()
            .get_with(RTM_GETQDISC, flags, &body, &what, |message| {
                (message.kind == RTM_NEWQDISC)
                    .then(|| Qdisc::decode(message.body))
                    .flatten()
            });
        match found {
            // EINVAL: from newer kernels for a built-in qdisc, from all for a missing
            // ingress qdisc.
            Err(error) if matches!(error.errno(), Some(errno::ENOENT | errno::EINVAL)) => Ok(None),
            found => found,
        }
    }

    /// All qdiscs of the link `index`, the root first. The kernel dumps those of all
    /// links for this; use [`Handle::qdisc`] on hot paths.
    ///
    /// # Errors
    /// As [`Handle::addresses`].
    pub fn qdiscs(&self, index: u32) -> Result<Vec<Qdisc>, Error> {
        let what = format!("list qdiscs of link {index}");
        let body = body(index, TcHandle::NONE, TcHandle::NONE, 0)
            .finish()
            .map_err(|problem| Error::invalid(problem.to_owned(), &what))?;
        self.connection()
            .dump(RTM_GETQDISC, &body, &what, |message, list| {
                if message.kind == RTM_NEWQDISC
                    && let Some(qdisc) = Qdisc::decode(message.body)
                    && qdisc.index == index
                {
                    list.push(qdisc);
                }
            })
    }
}
