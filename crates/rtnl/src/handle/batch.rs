//! Several requests in one datagram.

use super::Handle;
use crate::error::Error;
use crate::link::Link;
use crate::request::{Reply, Request};
use crate::wire::{Messages, RTM_NEWLINK};

/// Maximum number of requests per datagram. The acknowledgement and the echo of each
/// must fit the socket's receive buffer (208 KiB by default), which is read only after
/// the kernel has processed the datagram.
const MAX_MESSAGES: usize = 32;

/// Maximum size of a datagram in bytes, unless a single request is larger; half the
/// default send buffer.
const MAX_BYTES: usize = 64 * 1024;

/// A request that is not answered yet, and the link of its echo.
struct Pending {
    sequence: u32,
    position: usize,
    link: Option<Link>,
}

type Results = Vec<Option<Result<Reply, Error>>>;

impl Handle {
    /// Sends several requests in as few system calls as possible. Returns one result
    /// for each, in order.
    ///
    /// The kernel processes them in order and **continues after an error**: a batch is
    /// not a transaction. Batch only requests that are harmless if an earlier one
    /// failed, and check every result.
    ///
    /// After a socket error or timeout, unanswered requests get that error; the kernel
    /// may have executed them.
    pub fn batch(&self, requests: Vec<Request<'_>>) -> Vec<Result<Reply, Error>> {
        let mut results: Results = Vec::new();
        results.resize_with(requests.len(), || None);
        let mut datagram = Vec::new();
        let mut pending: Vec<Pending> = Vec::new();
        for (position, request) in requests.iter().enumerate() {
            if let Some(error) = refusal(request) {
                results[position] = Some(Err(error));
                continue;
            }
            let full =
                pending.len() == MAX_MESSAGES || datagram.len() + request.encoded_len() > MAX_BYTES;
            if full {
                self.exchange(&datagram, &mut pending, &requests, &mut results);
                datagram.clear();
            }
            let sequence = self.connection.next_sequence();
            request.encode(sequence, &mut datagram);
            pending.push(Pending {
                sequence,
                position,
                link: None,
            });
        }
        self.exchange(&datagram, &mut pending, &requests, &mut results);
        let lost = |request: &Request<'_>| Error::malformed("no result", request.what());
        results
            .into_iter()
            .zip(&requests)
            .map(|(result, request)| result.unwrap_or_else(|| Err(lost(request))))
            .collect()
    }

    /// Sends one datagram and waits for all its answers. Leaves `pending` empty.
    fn exchange(
        &self,
        datagram: &[u8],
        pending: &mut Vec<Pending>,
        requests: &[Request<'_>],
        results: &mut Results,
    ) {
        let Some(first) = pending.first() else {
            return;
        };
        let mut outcome = self
            .connection
            .socket()
            .send(datagram, requests[first.position].what());
        while outcome.is_ok()
            && let Some(first) = pending.first()
        {
            let what = requests[first.position].what();
            outcome = self.connection.socket().receive(what, |datagram| {
                read_answers(datagram, pending, requests, results);
            });
        }
        if let Err(error) = outcome {
            for lost in pending.drain(..) {
                let what = requests[lost.position].what();
                results[lost.position] = Some(Err(error.about(what)));
            }
        }
    }
}

/// Answers without a pending request belong to one that timed out; they are ignored.
fn read_answers(
    datagram: &[u8],
    pending: &mut Vec<Pending>,
    requests: &[Request<'_>],
    results: &mut Results,
) {
    for message in Messages::new(datagram) {
        let Some(at) = pending.iter().position(|p| p.sequence == message.sequence) else {
            continue;
        };
        if message.kind == RTM_NEWLINK {
            pending[at].link = Link::decode(message.body);
        }
        let Some(outcome) = message.outcome() else {
            continue;
        };
        let done = pending.remove(at);
        results[done.position] = Some(if outcome.errno == 0 {
            Ok(Reply { link: done.link })
        } else {
            let what = requests[done.position].what();
            Err(Error::kernel(outcome.errno, outcome.text, what))
        });
    }
}

/// The error of a request that is not sent at all.
fn refusal(request: &Request<'_>) -> Option<Error> {
    #[cfg(feature = "fault-injection")]
    if let Some(error) = crate::fault::injected_fault(request.what()) {
        return Some(error);
    }
    request.problem()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{NLMSG_ERROR, message};

    #[test]
    fn answers_find_their_requests_in_any_order() {
        let requests = [5, 6, 7].map(Request::del_link);
        let mut pending: Vec<Pending> = (0..3)
            .map(|position| Pending {
                sequence: 10 + position,
                position: position as usize,
                link: None,
            })
            .collect();
        let mut results: Results = vec![None, None, None];
        let mut datagram = Vec::new();
        for (sequence, code) in [(9, -1i32), (12, 0), (10, -19), (10, 0), (0, -5)] {
            message::write(&mut datagram, NLMSG_ERROR, 0, sequence, &code.to_ne_bytes());
        }
        read_answers(&datagram, &mut pending, &requests, &mut results);
        assert_eq!(pending.len(), 1);
        assert_eq!(pending[0].position, 1);
        let error = results[0].as_ref().unwrap().as_ref().err().unwrap();
        assert_eq!(error.to_string(), "no such device");
        assert_eq!(error.what(), "delete link 5");
        assert!(results[1].is_none());
        assert!(results[2].as_ref().unwrap().is_ok());
    }
}
