//! What goes on while the plugins are replaced: a TCP connection, and calls.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use libcni::{Attachment, Cni, NetworkList};
use testkit::{Container, Node, patience};

use crate::networks;
use crate::pod::{Pod, attachment};
use crate::site::Site;

/// The port of the servers in their containers.
const PORT: u16 = 80;

/// The time after which a peer that does not answer is lost.
fn limit() -> Duration {
    Duration::from_secs(20) * patience()
}

/// A thread that ends with this value.
struct Worker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(work: impl FnOnce(&AtomicBool) + Send + 'static) -> Worker {
        let stop = Arc::new(AtomicBool::new(false));
        let signal = Arc::clone(&stop);
        Worker {
            stop,
            thread: Some(thread::spawn(move || work(&signal))),
        }
    }

    /// Ends the thread. Panics if it has.
    fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(
            matches!(ended, Some(Ok(()))),
            "see the thread's panic above"
        );
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The test is failing; it must not panic twice.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A server in a container: sends its name, then everything that it receives.
pub(crate) struct Server {
    _worker: Worker,
}

impl Server {
    pub(crate) fn start(container: &Container, name: &str) -> Server {
        let listener = container.enter(|| TcpListener::bind(("::", PORT)).unwrap());
        listener.set_nonblocking(true).unwrap();
        let name = format!("{name}\n");
        Server {
            _worker: Worker::start(move |stop| {
                let mut connections: Vec<TcpStream> = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    while let Ok((mut connection, _)) = listener.accept() {
                        if connection.write_all(name.as_bytes()).is_ok()
                            && connection.set_nonblocking(true).is_ok()
                        {
                            connections.push(connection);
                        }
                    }
                    connections.retain_mut(echo);
                    thread::sleep(Duration::from_millis(2));
                }
            }),
        }
    }
}

/// Sends back what has arrived. Returns whether the connection is still open.
fn echo(connection: &mut TcpStream) -> bool {
    let mut bytes = [0; 64];
    match connection.read(&mut bytes) {
        Ok(0) => false,
        Ok(len) => connection.write_all(&bytes[..len]).is_ok(),
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

/// Connects from `node` and returns the connection and the name of the server.
pub(crate) fn connect(node: &impl Node, address: &str, port: u16) -> (TcpStream, String) {
    let peer = format!("{address}:{port}").parse().unwrap();
    let connected = node.enter(|| TcpStream::connect_timeout(&peer, limit()));
    let mut stream = connected.unwrap_or_else(|err| panic!("{} to {peer}: {err}", node.label()));
    stream.set_read_timeout(Some(limit())).unwrap();
    let mut name = Vec::new();
    let mut byte = [0];
    while byte != *b"\n" {
        let read = stream.read_exact(&mut byte);
        read.unwrap_or_else(|err| panic!("no name from {peer}: {err}"));
        name.push(byte[0]);
    }
    let name = String::from_utf8_lossy(&name).trim().to_owned();
    (stream, name)
}

/// An open connection from outside of the host to a pod, on which bytes go to and fro all the time.
pub(crate) struct Flow {
    worker: Worker,
    echoes: Arc<AtomicU64>,
}

impl Flow {
    /// Opens one to the published port.
    pub(crate) fn open(site: &Site, pod: &Pod) -> Flow {
        let (mut stream, name) = site.connect(pod);
        assert_eq!(name, pod.name);
        let echoes = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&echoes);
        let worker = Worker::start(move |stop| {
            while !stop.load(Ordering::Relaxed) {
                let mut byte = [0];
                stream.write_all(b"?").expect("the connection is open");
                stream.read_exact(&mut byte).expect("the server answers");
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Flow { worker, echoes }
    }

    /// Demands further answers.
    pub(crate) fn continues(&self) {
        let (seen, end) = (
            self.echoes.load(Ordering::Relaxed),
            Instant::now() + limit(),
        );
        while self.echoes.load(Ordering::Relaxed) < seen + 3 {
            assert!(Instant::now() < end, "the connection is dead");
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn end(self) {
        self.continues();
        self.worker.end();
    }
}

/// Calls of a runtime that go on: ADD, CHECK and DEL in turns, none of which may fail.
pub(crate) struct Busy {
    worker: Worker,
    rounds: Arc<AtomicU64>,
    /// Its namespace exists as long as this value.
    _container: Container,
}

impl Busy {
    pub(crate) fn start(site: &Site) -> Busy {
        let network = networks::busy();
        let container = site.host.container("busy");
        let attachment = attachment(&network, &container, 9090);
        let (cni, checker) = (site.cni.clone(), site.checker.clone());
        let list = network.list("1.0.0");
        let rounds = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&rounds);
        let worker = Worker::start(move |stop| {
            while !stop.load(Ordering::Relaxed) {
                round(&cni, &checker, &list, &attachment);
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let busy = Busy {
            worker,
            rounds,
            _container: container,
        };
        busy.goes_on();
        busy
    }

    fn goes_on(&self) {
        let (seen, end) = (
            self.rounds.load(Ordering::Relaxed),
            Instant::now() + 3 * limit(),
        );
        while self.rounds.load(Ordering::Relaxed) == seen {
            let thread = self.worker.thread.as_ref();
            let is_running = thread.is_some_and(|thread| !thread.is_finished());
            assert!(
                is_running && Instant::now() < end,
                "the calls have ended, see above"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends after a whole round.
    pub(crate) fn end(self) {
        self.goes_on();
        self.worker.end();
    }
}

/// One round of these calls.
pub(crate) fn one_round(site: &Site) {
    let network = networks::busy();
    let container = site.host.container("busy");
    let attachment = attachment(&network, &container, 9090);
    round(
        &site.cni,
        &site.checker,
        &network.list("1.0.0"),
        &attachment,
    );
}

fn round(cni: &Cni, checker: &Cni, list: &NetworkList, attachment: &Attachment) {
    let expect = |verb: &str, outcome: Result<(), libcni::Error>| {
        outcome.unwrap_or_else(|err| panic!("{verb} while files are exchanged: {err}"));
    };
    expect("ADD", cni.add(list, attachment).map(drop));
    expect("CHECK", checker.check(list, attachment));
    expect("DEL", cni.del(list, attachment));
}
