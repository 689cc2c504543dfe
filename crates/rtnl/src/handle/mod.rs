//! The rtnetlink handle: sends requests and assigns the answers.

mod batch;

use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::protocols::NETLINK_ROUTE;

use crate::error::Error;
use crate::netlink::Connection;
use crate::request::{Reply, Request};

/// A netlink socket.
///
/// It belongs to the network namespace in which the calling thread opened it, even if
/// the thread changes its namespace. One handle per namespace is enough.
///
/// Answers time out after 60 seconds. However, the kernel does the work inside
/// `send(2)`, which has no deadline: a request blocks while another process holds the
/// RTNL lock.
pub struct Handle {
    connection: Connection,
}

impl Handle {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// Errors of `socket(2)` and `connect(2)`.
    pub fn open() -> Result<Handle, Error> {
        Ok(Handle {
            connection: Connection::open(NETLINK_ROUTE)?,
        })
    }

    /// Sends one request and waits for its acknowledgement.
    ///
    /// # Errors
    /// The kernel's error; the constructor of the request lists the ones to expect.
    /// After a timeout the kernel may have executed the request.
    pub fn request(&self, request: Request<'_>) -> Result<Reply, Error> {
        let what = request.what().to_owned();
        let reply = self.batch(vec![request]).pop();
        // A batch returns one result per request.
        reply.unwrap_or_else(|| Err(Error::malformed("no result", &what)))
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}
