//! The daemon: acquires leases for plugins and keeps them, in one thread.
//!
//! One event loop serves all connections and all leases. A lease has a socket only while
//! the answer of a server is awaited, so the number of descriptors does not grow with the
//! number of leases. Namespaces are entered by this thread for the few system calls that
//! open a socket or change an address: these do not block, and a thread for each would cost
//! more than the calls.

mod attachment;
mod connection;
mod flags;
mod leases;
mod listener;
mod logger;
mod requests;
mod slot;

use crate::client::Progress;
use crate::record::Records;
use crate::socket::Socket;
use crate::time::Time;
use anyhow::{Context as _, bail};
use attachment::Attachment;
use cni_core::confine::{Capability, Needs};
use cni_core::ns::Netns;
use connection::{Connection, Step};
use flags::{Flags, Line, USAGE};
use listener::Listener;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

/// Most connections at once; further ones wait for one to be closed.
const MOST_CONNECTIONS: usize = 512;
/// Most sockets that leases have at once while no plugin waits for them.
const MOST_SOCKETS: usize = 48;
/// How often the daemon looks for containers that are gone.
const SWEEP: Duration = Duration::from_secs(10);
/// Events that are taken at once.
const EVENTS: usize = 64;
/// Bytes that are read of a connection at once.
const BUFFER: usize = 16 << 10;

/// What the data of an event refer to, in their highest byte.
const LISTENER: u64 = 0;
const SIGNAL: u64 = 1 << 56;
const CONNECTION: u64 = 2 << 56;
const ATTACHMENT: u64 = 3 << 56;
const KIND: u64 = 0xff << 56;
/// The number of a client of an attachment, in the lowest byte.
const CLIENT: u64 = 0xff;

/// What attachments need of the daemon.
struct Context {
    flags: Flags,
    /// The path of the socket, which names the daemon in records.
    socket: String,
    home: Netns,
    records: Records,
    epoll: Epoll,
    open_sockets: Cell<usize>,
}

impl Context {
    /// Has the loop report datagrams of a socket, with `data`. The report ends with the
    /// socket.
    fn watch(&self, socket: &Socket, data: u64) {
        // Fails only without memory; the client then goes on by its timer.
        let _ = self
            .epoll
            .add(socket.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, data));
    }

    fn is_short_of_sockets(&self) -> bool {
        self.open_sockets.get() >= MOST_SOCKETS
    }
}

struct Daemon {
    context: Context,
    listener: Listener,
    signals: SignalFd,
    connections: BTreeMap<u64, Connection>,
    attachments: BTreeMap<u64, Attachment>,
    /// Attachments that are over, whose releases have still to be confirmed.
    leaving: BTreeMap<u64, Attachment>,
    /// The next number of a connection or an attachment.
    next: u64,
    next_sweep: Time,
}

/// Runs the daemon until it is told to end; `arguments` are those after `daemon`.
pub(crate) fn main(arguments: &[OsString]) -> ExitCode {
    let line = Flags::parse(arguments);
    let flags = match line {
        Ok(Line::Run(flags)) => flags,
        Ok(Line::Help) => {
            let _ = std::io::stdout().write_all(USAGE.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            let _ = write!(std::io::stderr(), "{why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    logger::install();
    match start(flags) {
        Ok(mut daemon) => daemon.run(),
        Err(error) => {
            log::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(flags: Flags) -> anyhow::Result<Daemon> {
    raise_descriptor_limit();
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGINT);
    mask.add(Signal::SIGTERM);
    mask.thread_block()?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let listener = Listener::open(&flags)?;
    write_pid_file(&flags)?;
    // Before there are threads, which would not be confined.
    needs().confine();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(
        listener.socket.as_fd(),
        EpollEvent::new(EpollFlags::EPOLLIN, LISTENER),
    )?;
    epoll.add(&signals, EpollEvent::new(EpollFlags::EPOLLIN, SIGNAL))?;
    let now = Time::now();
    let mut daemon = Daemon {
        context: Context {
            socket: flags
                .on_host(&flags.socket_path)
                .to_string_lossy()
                .into_owned(),
            home: Netns::current()?,
            records: Records::new(&flags.host_prefix),
            epoll,
            open_sockets: Cell::new(0),
            flags,
        },
        listener,
        signals,
        connections: BTreeMap::new(),
        attachments: BTreeMap::new(),
        leaving: BTreeMap::new(),
        next: 1,
        next_sweep: now + SWEEP,
    };
    daemon.resume(now);
    log::info!("listening on {}", daemon.context.socket);
    Ok(daemon)
}

/// Returns what the daemon needs once it listens: packet sockets and port 68 in the
/// namespaces of containers, and records in a directory that `-hostprefix` may name.
fn needs() -> Needs {
    Needs::network()
        .capability(Capability::NetRaw)
        .capability(Capability::NetBindService)
        .capability(Capability::DacOverride)
        .opening_namespaces()
}

/// Raises the soft limit of open descriptors to the hard one, as far as is reasonable.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard.min(1 << 16)), hard)
    });
    if let Err(error) = raised {
        log::warn!("cannot raise the limit of open files: {error}");
    }
}

fn write_pid_file(flags: &Flags) -> anyhow::Result<()> {
    let Some(path) = &flags.pid_file else {
        return Ok(());
    };
    if !path.is_absolute() {
        bail!("Error writing pidfile {path:?}: path not absolute");
    }
    std::fs::write(path, std::process::id().to_string())
        .with_context(|| format!("Error writing pidfile {path:?}"))
}

impl Daemon {
    fn run(&mut self) -> ExitCode {
        let mut events = [EpollEvent::empty(); EVENTS];
        loop {
            let count = match self.context.epoll.wait(&mut events, self.timeout()) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(error) => {
                    log::error!("cannot wait for events: {error}");
                    return ExitCode::FAILURE;
                }
            };
            let now = Time::now();
            for event in &events[..count] {
                let data = event.data();
                match data & KIND {
                    LISTENER => self.accept(now),
                    SIGNAL => return self.end(),
                    CONNECTION => self.serve(data & !KIND, event.events(), now),
                    _ => self.receive((data & !KIND) >> 8, (data & CLIENT) as usize, now),
                }
            }
            self.tick(now);
        }
    }

    /// The time to the next thing that is due.
    fn timeout(&self) -> EpollTimeout {
        let now = Time::now();
        let leases = self.attachments.values().chain(self.leaving.values());
        let leases = leases.filter_map(|lease| lease.wake(now, &self.context));
        let connections = self.connections.values().filter_map(Connection::deadline);
        let due = leases
            .chain(connections)
            .min()
            .unwrap_or(self.next_sweep)
            .min(self.next_sweep);
        let wait = due - now;
        // At most the time of a sweep; rounded up, so that the loop does not spin.
        EpollTimeout::try_from(wait + Duration::from_millis(1)).unwrap_or(EpollTimeout::ZERO)
    }

    /// Ends the daemon. Leases stay as they are: the next daemon goes on with them.
    fn end(&mut self) -> ExitCode {
        let _ = self.signals.read_signal();
        log::info!(
            "ends; {} leases are kept for the next start",
            self.attachments.len()
        );
        if let Some(path) = &self.context.flags.pid_file {
            let _ = std::fs::remove_file(path);
        }
        ExitCode::SUCCESS
    }

    fn accept(&mut self, now: Time) {
        while self.connections.len() < MOST_CONNECTIONS {
            let stream = match self.listener.socket.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                // Out of descriptors: the event stays, so it is switched off for a while.
                Err(error) => {
                    log::warn!("cannot accept a connection: {error}");
                    break;
                }
            };
            let Ok(connection) = Connection::new(stream, now) else {
                continue;
            };
            let id = self.number();
            let events = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP;
            let event = EpollEvent::new(events, CONNECTION | id);
            if self.context.epoll.add(&connection, event).is_ok() {
                self.connections.insert(id, connection);
            }
        }
        self.listen(false);
    }

    /// Switches reports of new connections on or off.
    fn listen(&self, on: bool) {
        let events = if on {
            EpollFlags::EPOLLIN
        } else {
            EpollFlags::empty()
        };
        let mut event = EpollEvent::new(events, LISTENER);
        let _ = self
            .context
            .epoll
            .modify(self.listener.socket.as_fd(), &mut event);
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn serve(&mut self, id: u64, events: EpollFlags, now: Time) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let mut step = Step::Wait;
        if events.contains(EpollFlags::EPOLLOUT) {
            step = connection.write();
        }
        if step == Step::Wait
            && events.intersects(
                EpollFlags::EPOLLIN
                    | EpollFlags::EPOLLHUP
                    | EpollFlags::EPOLLRDHUP
                    | EpollFlags::EPOLLERR,
            )
        {
            step = connection.read(&mut [0; BUFFER]);
        }
        match step {
            Step::Wait => self.watch_output(id),
            Step::Request => self.request(id, now),
            Step::Close => self.close(id, now),
        }
    }

    /// Has the loop report when there is room for output, if there is any.
    fn watch_output(&mut self, id: u64) {
        if let Some(connection) = self.connections.get(&id) {
            let mut events = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP;
            events.set(EpollFlags::EPOLLOUT, connection.wants_to_write());
            let mut event = EpollEvent::new(events, CONNECTION | id);
            let _ = self.context.epoll.modify(connection, &mut event);
        }
    }

    fn close(&mut self, id: u64, now: Time) {
        let was_full = self.connections.len() >= MOST_CONNECTIONS;
        self.connections.remove(&id);
        if was_full {
            self.listen(true);
        }
        self.abandon(id, now);
    }

    fn tick(&mut self, now: Time) {
        let late = |(id, connection): (&u64, &Connection)| {
            connection
                .deadline()
                .is_some_and(|deadline| deadline <= now)
                .then_some(*id)
        };
        let late: Vec<u64> = self.connections.iter().filter_map(late).collect();
        for id in late {
            self.close(id, now);
        }
        let is_due = |attachment: &Attachment| {
            let wake = attachment.wake(now, &self.context);
            wake.is_some_and(|wake| wake <= now)
        };
        let mut due: Vec<(Option<Time>, u64)> = self
            .attachments
            .iter()
            .chain(&self.leaving)
            .filter(|(_, attachment)| is_due(attachment))
            .map(|(id, attachment)| (attachment.due(), *id))
            .collect();
        due.sort_unstable();
        for (_, id) in due {
            self.with(
                id,
                |attachment, token, context| attachment.tick(token, now, context),
                now,
            );
        }
        if self.next_sweep <= now {
            self.sweep(now);
        }
    }

    fn receive(&mut self, id: u64, client: usize, now: Time) {
        self.with(
            id,
            |attachment, token, context| attachment.receive(client, token, now, context),
            now,
        );
    }

    /// Runs a step of an attachment, and answers those who wait for it when it is done.
    fn with(&mut self, id: u64, step: impl FnOnce(&mut Attachment, u64, &Context), now: Time) {
        let found = self.attachments.get_mut(&id);
        let Some(attachment) = found.or_else(|| self.leaving.get_mut(&id)) else {
            return;
        };
        let before = attachment.sockets();
        step(attachment, ATTACHMENT | id << 8, &self.context);
        let open = self.context.open_sockets.get() + attachment.sockets();
        self.context.open_sockets.set(open.saturating_sub(before));
        if attachment.is_over {
            if !attachment.is_leaving() {
                let open = self.context.open_sockets.get();
                let open = open.saturating_sub(attachment.sockets());
                self.context.open_sockets.set(open);
                self.leaving.remove(&id);
            }
            return;
        }
        if attachment.is_gone {
            return self.release(id, "its interface is gone", now);
        }
        match attachment.progress() {
            Progress::Acquiring => {}
            Progress::Bound => self.answer(id, now),
            Progress::Failed(why) => self.fail(id, &why, now),
        }
    }
}
