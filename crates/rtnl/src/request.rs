//! A change to be asked of the kernel, encoded and ready to be sent.

use std::marker::PhantomData;
use std::os::fd::BorrowedFd;

use crate::error::Error;
use crate::wire::{Builder, NLM_F_ACK, NLM_F_REQUEST, message};

/// One modifying request. Its constructors stand with the things they change:
/// [links](crate::LinkSpec), [addresses](crate::AddressSpec),
/// [routes](crate::RouteSpec), [neighbours](crate::Neighbour).
///
/// Building a request never fails; what cannot be meant (a name with a zero
/// byte in it) is reported by [`Handle::request`](crate::Handle::request) and
/// [`Handle::batch`](crate::Handle::batch) without anything being sent.
///
/// `'fd` keeps the namespace descriptors that the request refers to open until
/// it was sent.
pub struct Request<'fd> {
    kind: u16,
    flags: u16,
    body: Result<Vec<u8>, String>,
    what: String,
    fd: PhantomData<BorrowedFd<'fd>>,
}

impl Request<'_> {
    /// `flags` come on top of REQUEST and ACK.
    pub(crate) fn new(kind: u16, flags: u16, body: Builder, what: String) -> Self {
        Request {
            kind,
            flags,
            body: body.finish().map_err(str::to_owned),
            what,
            fd: PhantomData,
        }
    }

    /// What the request asks for, in words: `delete link 3`.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Why the request must not be sent, if so.
    pub(crate) fn problem(&self) -> Option<Error> {
        let problem = self.body.as_ref().err()?;
        Some(Error::invalid(problem.clone(), &self.what))
    }

    /// Bytes the request adds to a datagram.
    pub(crate) fn encoded_len(&self) -> usize {
        let body = self.body.as_ref().map_or(0, Vec::len);
        message::HEADER_LEN + body
    }

    pub(crate) fn encode(&self, sequence: u32, datagram: &mut Vec<u8>) {
        if let Ok(body) = &self.body {
            let flags = NLM_F_REQUEST | NLM_F_ACK | self.flags;
            message::write(datagram, self.kind, flags, sequence, body);
        }
    }
}

/// What came back for a request that the kernel carried out.
#[derive(Debug, Default)]
pub struct Reply {
    /// The link as it was right after its creation: index, MAC address and all.
    ///
    /// Only for [`Request::new_link`], and only from kernels that echo what they
    /// created (`NLM_F_ECHO`, Linux 6.2 and later). `None` from older ones: look
    /// the link up by name. The kernel makes the echo before it attaches the
    /// link to its master, and before it moves it to another namespace: `master`
    /// is not set yet.
    pub link: Option<crate::Link>,
}
