//! Several changes in one system call.

use super::Handle;
use crate::error::Error;
use crate::link::Link;
use crate::request::{Reply, Request};
use crate::wire::{Messages, RTM_NEWLINK};

/// Most messages in one datagram. Each may be answered by an acknowledgement
/// and an echo, which must all fit the socket's receive buffer (208 KiB unless
/// changed) since nobody reads it until the kernel is through.
const MAX_MESSAGES: usize = 32;

/// Most bytes in one datagram, unless a single message is larger; half the
/// send buffer at its smallest usual setting.
const MAX_BYTES: usize = 64 * 1024;

/// A request on its way: where its result goes, and what an echo said.
struct Pending {
    sequence: u32,
    position: usize,
    link: Option<Link>,
}

type Results = Vec<Option<Result<Reply, Error>>>;

impl Handle {
    /// Asks for several changes, in as few system calls as possible, and
    /// returns one result for each, in their order.
    ///
    /// The kernel goes through them in order and **carries on after one that
    /// it refuses**: a batch is neither a transaction nor does it stop at an
    /// error. Batch only what may be done though something before it failed,
    /// or what fails harmlessly then, and look at every result.
    ///
    /// After a socket error or timeout, requests without an answer get that
    /// error; they may have been carried out or not.
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

/// Answers to nothing that is pending are left over from a request that timed
/// out; they are passed over.
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

/// Why a request is not sent at all.
fn refusal(request: &Request<'_>) -> Option<Error> {
    #[cfg(feature = "fault-injection")]
    if let Some(error) = crate::fault::strike(request.what()) {
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
