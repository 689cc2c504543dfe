//! Calls of the daemon, from the plugin and from `dhcp status`.

use crate::rpc::{self, Arguments, Caller, Reply};
use cni_core::{Call, errno};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long the daemon may take: for a lease longer than its `-resendtimeout`, 208 s.
const LEASE_TIME: Duration = Duration::from_secs(300);
const OTHER_TIME: Duration = Duration::from_secs(30);

/// Why a call failed.
#[derive(Debug)]
pub(crate) enum CallError {
    /// Nobody listens on the socket.
    Unreachable(String),
    /// Any other failure.
    Failed(String),
    /// The daemon's error, of this method.
    Daemon(&'static str, String),
}

impl CallError {
    /// Returns whether nobody listens on the socket.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, CallError::Unreachable(_))
    }

    /// Returns whether the daemon is upstream's and lacks the method.
    pub(crate) fn is_unknown_method(&self) -> bool {
        matches!(self, CallError::Daemon(_, text) if rpc::is_unknown_method(text))
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Unreachable(text) | CallError::Failed(text) => f.write_str(text),
            CallError::Daemon(method, text) => write!(f, "error calling {method}: {text}"),
        }
    }
}

impl std::error::Error for CallError {}

/// A connection with a deadline.
struct Connection {
    stream: UnixStream,
    until: Instant,
    caller: Caller,
}

impl Connection {
    /// Connects, and exchanges the greetings.
    fn open(path: &str, time: Duration) -> Result<Connection, CallError> {
        let stream = dial(path)?;
        let until = Instant::now() + time;
        let mut connection = Connection {
            stream,
            until,
            caller: Caller::default(),
        };
        let greeted = connection.greet();
        greeted.map_err(|why| CallError::Failed(format!("error dialing DHCP daemon: {why}")))?;
        Ok(connection)
    }

    fn greet(&mut self) -> Result<(), String> {
        self.send(Caller::greeting().as_bytes())?;
        while !self.caller.is_connected()? {
            self.receive()?;
        }
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream
            .set_write_timeout(Some(self.left()?))
            .map_err(|e| errno::of(&e))?;
        self.stream.write_all(bytes).map_err(|e| errno::of(&e))
    }

    fn receive(&mut self) -> Result<(), String> {
        self.stream
            .set_read_timeout(Some(self.left()?))
            .map_err(|e| errno::of(&e))?;
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err("unexpected EOF".to_owned()),
            Ok(length) => {
                self.caller.receive(&buffer[..length]);
                Ok(())
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Ok(())
            }
            Err(error) => Err(errno::of(&error)),
        }
    }

    fn left(&self) -> Result<Duration, String> {
        let left = self.until.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err("the daemon has not answered in time".to_owned()),
            false => Ok(left),
        }
    }
}

/// Connects to the socket at `path`. The wait for a daemon that accepts no connections is
/// bounded.
fn dial(path: &str) -> Result<UnixStream, CallError> {
    let text = |error: io::Error| {
        let text = format!(
            "error dialing DHCP daemon: dial unix {path}: connect: {}",
            errno::of(&error)
        );
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => CallError::Unreachable(text),
            _ => CallError::Failed(text),
        }
    };
    let dialed = || {
        let fd = socket(
            AddressFamily::Unix,
            SockType::Stream,
            SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        let seconds = i64::try_from(OTHER_TIME.as_secs()).unwrap_or(30);
        setsockopt(&fd, sockopt::SendTimeout, &TimeVal::seconds(seconds))?;
        connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
        nix::Result::Ok(fd)
    };
    dialed().map(Into::into).map_err(|errno| text(errno.into()))
}

/// Makes a call with arguments.
///
/// # Errors
/// When the daemon cannot be reached, or returns an error.
pub(crate) fn call(
    path: &str,
    method: &'static str,
    arguments: &Arguments,
) -> Result<Reply, CallError> {
    let time = if method == rpc::ALLOCATE {
        LEASE_TIME
    } else {
        OTHER_TIME
    };
    let mut connection = Connection::open(path, time)?;
    let failed = |why: String| CallError::Failed(format!("error calling {method}: {why}"));
    connection
        .send(&Caller::call(method, arguments))
        .map_err(failed)?;
    loop {
        match connection.caller.reply() {
            Ok(Some(reply)) => return reply.map_err(|text| CallError::Daemon(method, text)),
            Ok(None) => connection.receive().map_err(failed)?,
            Err(why) => return Err(failed(why.to_owned())),
        }
    }
}

/// Forwards a call of the plugin.
///
/// # Errors
/// As [`call`].
pub(crate) fn call_daemon(
    path: &str,
    method: &'static str,
    from: &Call,
) -> Result<Reply, CallError> {
    let arguments = Arguments {
        container_id: from.container_id.clone(),
        netns: absolute(from),
        if_name: from.if_name.clone(),
        args: from.args.to_string_lossy().into_owned(),
        stdin: from.stdin.clone(),
    };
    call(path, method, &arguments)
}

/// `CNI_NETNS` as an absolute path, since the daemon has another working directory; empty if
/// it is not given.
fn absolute(call: &Call) -> String {
    if call.netns.as_os_str().is_empty() {
        return String::new();
    }
    let path: PathBuf = std::path::absolute(&call.netns).unwrap_or_else(|_| call.netns.clone());
    path.to_string_lossy().into_owned()
}

/// Returns whether a daemon answers on the socket.
///
/// # Errors
/// When it does not.
pub(crate) fn probe(path: &str) -> Result<(), CallError> {
    Connection::open(path, OTHER_TIME).map(drop)
}
