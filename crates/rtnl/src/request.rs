//! Modifying requests, encoded and ready to be sent.

use std::marker::PhantomData;
use std::os::fd::BorrowedFd;

use crate::error::Error;
use crate::wire::{Builder, NLM_F_ACK, NLM_F_REQUEST, message};

/// One modifying request. Its constructors stand with the things they change:
/// [links](crate::LinkSpec), [addresses](crate::AddressSpec),
/// [routes](crate::RouteSpec), [neighbours](crate::Neighbour).
///
/// Building a request never fails; an invalid one (a name that contains a zero byte)
/// is reported by [`Handle::request`](crate::Handle::request) and
/// [`Handle::batch`](crate::Handle::batch), which do not send it.
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

    /// The request in words, for example `delete link 3`.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The reason why the request must not be sent, if any.
    pub(crate) fn problem(&self) -> Option<Error> {
        let problem = self.body.as_ref().err()?;
        Some(Error::invalid(problem.clone(), &self.what))
    }

    /// Length of the request in a datagram, in bytes.
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

/// The answer to a successful request.
#[derive(Debug, Default)]
pub struct Reply {
    /// The created link as the kernel echoed it.
    ///
    /// Only for [`Request::new_link`], and only from kernels that echo created links
    /// (`NLM_F_ECHO`, Linux 6.2 and later). `None` from older ones: look the link up by
    /// name. The kernel sends the echo before it attaches the link to its master, so
    /// `master` is not set.
    pub link: Option<crate::Link>,
}
