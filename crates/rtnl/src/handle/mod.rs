//! The conversation with the kernel: who asked what, and which answer is whose.

mod batch;

use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::protocols::NETLINK_ROUTE;

use crate::error::Error;
use crate::netlink::Connection;
use crate::request::{Reply, Request};

/// A netlink socket.
///
/// It belongs to the network namespace that was the calling thread's when it
/// was opened, and stays with it wherever the thread goes afterwards. One
/// handle a namespace is enough for a program.
///
/// An answer is waited for 60 seconds at most. The kernel does the work while
/// the request is being sent, though, and that cannot be given a deadline: while
/// another process holds the lock of the network configuration, a request hangs.
pub struct Handle {
    connection: Connection,
}

impl Handle {
    /// Opens a socket in the present network namespace of the calling thread.
    ///
    /// # Errors
    /// Those of `socket(2)` and `connect(2)`.
    pub fn open() -> Result<Handle, Error> {
        Ok(Handle {
            connection: Connection::open(NETLINK_ROUTE)?,
        })
    }

    /// Asks for one change and waits until it was made.
    ///
    /// # Errors
    /// The kernel's refusal; see the constructor of the request for which ones
    /// to expect. After a timeout the change may have been made or not.
    pub fn request(&self, request: Request<'_>) -> Result<Reply, Error> {
        let what = request.what().to_owned();
        let reply = self.batch(vec![request]).pop();
        // A batch gives one result a request.
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
