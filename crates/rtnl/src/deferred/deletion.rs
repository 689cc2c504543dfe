//! Deletes links, and returns when they are gone.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::child::Child;
use super::{may_leave_child, start_sending};
use crate::error::Error;
use crate::handle::Handle;
use crate::request::Request;
use crate::socket::ANSWER_TIMEOUT;
use crate::wire::attr::u32_at;
use crate::wire::{AF_UNSPEC, Messages, RTM_DELLINK, RTNLGRP_LINK};

const WHAT: &str = "delete links";

/// A socket for a [`LinkDeletion`], in the network namespace in which the calling thread
/// opened it.
pub struct DeletionSocket(Handle);

impl DeletionSocket {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// Errors of `socket(2)` and of joining the multicast group.
    pub fn open() -> Result<DeletionSocket, Error> {
        let handle = Handle::open()?;
        if may_leave_child() {
            handle.connection().socket().subscribe(RTNLGRP_LINK)?;
        }
        Ok(DeletionSocket(handle))
    }
}

/// A deletion of links that is under way.
#[must_use = "the links may exist until it is finished"]
pub struct LinkDeletion<'h> {
    handle: &'h Handle,
    worker: Worker,
}

/// Who makes the requests.
enum Worker {
    Child(Watch),
    Thread(JoinHandle<Results>, Vec<u32>),
    /// This process has made them.
    None(Results),
}

type Results = Vec<Result<(), Error>>;

impl<'h> LinkDeletion<'h> {
    /// Begins to delete the links with these indexes, one after the other, and with each its
    /// peer if it is a veth. `handle` and `socket` are of their namespace; without a socket
    /// this returns when they are gone.
    pub fn start(
        handle: &'h Handle,
        socket: Option<DeletionSocket>,
        indexes: &[u32],
    ) -> LinkDeletion<'h> {
        let worker = match socket {
            Some(DeletionSocket(socket)) if !indexes.is_empty() => match may_leave_child() {
                true => Watch::start(socket, indexes).map(Worker::Child),
                false => start_thread(socket, indexes),
            },
            _ => None,
        };
        LinkDeletion {
            handle,
            worker: worker.unwrap_or_else(|| Worker::None(delete(handle, indexes))),
        }
    }

    /// Waits until the links are gone, by name, by index and from sysfs, or the kernel has
    /// refused to delete them. Returns one result for each, in order; a link that did not
    /// exist is gone.
    ///
    /// # Errors
    /// The kernel's error, such as `EOPNOTSUPP` for hardware. After 60 seconds, a timeout.
    pub fn finish(self) -> Vec<Result<(), Error>> {
        let mut results = match self.worker {
            Worker::Child(watch) => watch.finish(self.handle),
            Worker::Thread(thread, indexes) => thread
                .join()
                .unwrap_or_else(|_| delete(self.handle, &indexes)),
            Worker::None(results) => results,
        };
        for result in &mut results {
            if matches!(result, Err(error) if error.is_not_found()) {
                *result = Ok(());
            }
        }
        results
    }
}

/// Deletes links and waits for the kernel's answers.
fn delete(handle: &Handle, indexes: &[u32]) -> Results {
    let requests = indexes.iter().copied().map(Request::del_link).collect();
    let replies = handle.batch(requests).into_iter();
    replies.map(|reply| reply.map(drop)).collect()
}

fn start_thread(handle: Handle, indexes: &[u32]) -> Option<Worker> {
    let (all, own) = (indexes.to_vec(), indexes.to_vec());
    let thread = thread::Builder::new().spawn(move || delete(&handle, &own));
    thread.ok().map(|thread| Worker::Thread(thread, all))
}

/// Follows what a child does.
struct Watch {
    child: Arc<Child>,
    /// The child sends by it; answers and events are received here.
    socket: Handle,
    targets: Vec<Target>,
}

struct Target {
    index: u32,
    /// The request in words.
    what: String,
    state: State,
}

enum State {
    Pending,
    /// The kernel has announced the deletion. It may not have left the section under the
    /// RTNL lock yet, at the end of which the link leaves sysfs.
    Announced,
    Done(Result<(), Error>),
}

/// What there is to read.
enum Ready {
    Answers,
    /// Nothing more will come: all requests were sent, or the child has died.
    End,
    TimedOut,
}

impl Watch {
    /// Starts the child; `None` if there can be none.
    fn start(socket: Handle, indexes: &[u32]) -> Option<Watch> {
        let mut targets = Vec::new();
        let mut datagrams = Vec::new();
        for (index, sequence) in indexes.iter().copied().zip(1..) {
            let request = Request::del_link(index);
            let what = request.what().to_owned();
            let mut datagram = Vec::with_capacity(request.encoded_len());
            request.encode(sequence, &mut datagram);
            let state = match injected(&what) {
                Some(error) => State::Done(Err(error)),
                None => {
                    datagrams.push(datagram);
                    State::Pending
                }
            };
            targets.push(Target { index, what, state });
        }
        let child = start_sending(socket.as_fd(), &datagrams).ok()?;
        #[cfg(feature = "fault-injection")]
        crate::fault::kill_parent_at(1);
        Some(Watch {
            child,
            socket,
            targets,
        })
    }

    fn finish(mut self, handle: &Handle) -> Results {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        while self.is_pending() {
            match self.wait(deadline) {
                Ok(Ready::Answers) => self.receive(handle),
                Ok(Ready::TimedOut) => self.time_out(),
                Ok(Ready::End) | Err(_) => {
                    self.receive_rest(handle);
                    self.delete_pending(handle);
                }
            }
        }
        #[cfg(feature = "fault-injection")]
        crate::fault::kill_parent_at(2);
        self.confirm(handle);
        #[cfg(feature = "fault-injection")]
        crate::fault::kill_parent_at(3);
        let result = |target: Target| match target.state {
            State::Done(result) => result,
            State::Pending | State::Announced => Ok(()),
        };
        self.targets.into_iter().map(result).collect()
    }

    fn is_pending(&self) -> bool {
        self.targets.iter().any(Target::is_pending)
    }

    /// Waits for an answer, an event, or the end of the child's work.
    fn wait(&self, deadline: Instant) -> Result<Ready, Errno> {
        let mut fds = [
            PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.child.as_fd(), PollFlags::POLLIN),
        ];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return Ok(Ready::TimedOut);
            }
            // Rounded up to avoid a busy loop in the last millisecond.
            let timeout = PollTimeout::try_from(left.as_micros().div_ceil(1000));
            match poll(&mut fds, timeout.unwrap_or(PollTimeout::MAX)) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) if fds[0].any() == Some(true) => return Ok(Ready::Answers),
                Ok(_) => return Ok(Ready::End),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Reads one datagram.
    fn receive(&mut self, handle: &Handle) {
        let targets = &mut self.targets;
        let socket = self.socket.connection().socket();
        let received = socket.receive(WHAT, |datagram| read(datagram, targets));
        if received.is_err() {
            // Events were lost, possibly those of the links.
            self.look_up(handle);
        }
    }

    /// Reads what has arrived.
    fn receive_rest(&mut self, handle: &Handle) {
        let now = Instant::now();
        while self.is_pending()
            && matches!(self.socket.connection().socket().wait(now, WHAT), Ok(true))
        {
            self.receive(handle);
        }
    }

    /// Asks the kernel which of the links are gone.
    fn look_up(&mut self, handle: &Handle) {
        for target in self.targets.iter_mut().filter(|target| target.is_pending()) {
            let found = handle.link_by_index(target.index);
            if found.is_err_and(|error| error.is_not_found()) {
                target.state = State::Done(Ok(()));
            }
        }
    }

    /// Deletes the links that are still there although the child deletes no more.
    fn delete_pending(&mut self, handle: &Handle) {
        for target in self.targets.iter_mut().filter(|target| target.is_pending()) {
            let deleted = handle.request(Request::del_link(target.index));
            target.state = State::Done(deleted.map(drop));
        }
    }

    fn time_out(&mut self) {
        for target in self.targets.iter_mut().filter(|target| target.is_pending()) {
            let error = Error::timeout(ANSWER_TIMEOUT.as_secs(), &target.what);
            target.state = State::Done(Err(error));
        }
    }

    /// Waits until the kernel has left the section in which it made the announcements: a
    /// look-up takes the same lock.
    fn confirm(&mut self, handle: &Handle) {
        let is_announced = |target: &&mut Target| matches!(target.state, State::Announced);
        for target in self.targets.iter_mut().filter(is_announced) {
            target.state = match handle.link_by_index(target.index) {
                // It was moved to another namespace and back.
                Ok(_) => State::Pending,
                Err(_) => State::Done(Ok(())),
            };
        }
        self.delete_pending(handle);
    }
}

impl Target {
    fn is_pending(&self) -> bool {
        matches!(self.state, State::Pending)
    }
}

/// Reads answers to the requests, whose sequence numbers are their positions from 1, and
/// events of the links.
fn read(datagram: &[u8], targets: &mut [Target]) {
    for message in Messages::new(datagram) {
        if let Some(outcome) = message.outcome() {
            let position = (message.sequence as usize).checked_sub(1);
            if let Some(target) = position.and_then(|position| targets.get_mut(position)) {
                target.state = State::Done(match outcome.errno {
                    0 => Ok(()),
                    errno => Err(Error::kernel(errno, outcome.text, &target.what)),
                });
            }
        }
        // A bridge announces the removal of a port by a message of the same type, of
        // another family.
        if message.kind != RTM_DELLINK || message.body.first() != Some(&AF_UNSPEC) {
            continue;
        }
        let index = u32_at(message.body, 4);
        for target in targets.iter_mut() {
            if target.is_pending() && Some(target.index) == index {
                target.state = State::Announced;
            }
        }
    }
}

/// The error that a test wants the request to fail with.
#[cfg(feature = "fault-injection")]
fn injected(what: &str) -> Option<Error> {
    crate::fault::injected_fault(what)
}

#[cfg(not(feature = "fault-injection"))]
fn injected(_what: &str) -> Option<Error> {
    None
}
