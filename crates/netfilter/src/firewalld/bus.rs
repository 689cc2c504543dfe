//! A connection to a message bus: authentication and method calls, with deadlines.

use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::{Duration, Instant};

use nix::unistd::Uid;

use super::address::{self, Address};
use super::wire::{self, Answer, Call, FIXED_LEN, Value};
use crate::error::{Error, Kind};

/// The longest line during authentication.
const LINE_MAX: usize = 512;

pub(crate) struct Bus {
    stream: UnixStream,
    serial: u32,
    /// Time limit of connecting and of each call.
    timeout: Duration,
}

impl Bus {
    /// Connects and authenticates (SASL `EXTERNAL`, by the socket's credentials). `timeout`
    /// limits this, and each call.
    pub(crate) fn connect(timeout: Duration) -> Result<Bus, Error> {
        const WHAT: &str = "connect to the system bus";
        let text = address::system();
        let mut outcome = Err(Error::invalid(
            format!("no Unix socket in the address {text:?}"),
            WHAT,
        ));
        for address in address::parse(&text) {
            match open(&address) {
                Ok(stream) => {
                    outcome = Ok(stream);
                    break;
                }
                Err(error) => outcome = Err(Error::io("connect", error, WHAT)),
            }
        }
        let mut bus = Bus {
            stream: outcome?,
            serial: 0,
            timeout,
        };
        let deadline = Instant::now() + timeout;
        bus.authenticate(deadline)
            .map_err(|error| bus.failed(error, WHAT))?;
        bus.call(&Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "Hello",
            arguments: &[],
        })?;
        Ok(bus)
    }

    fn authenticate(&mut self, deadline: Instant) -> io::Result<()> {
        let user = Uid::effective().to_string();
        let hexadecimal: String = user.bytes().map(|byte| format!("{byte:02x}")).collect();
        let greeting = format!("\0AUTH EXTERNAL {hexadecimal}\r\n");
        self.write(greeting.as_bytes(), deadline)?;
        let line = self.read_line(deadline)?;
        if !line.starts_with("OK") {
            let text = format!("the bus refuses authentication: {line}");
            return Err(io::Error::other(text));
        }
        self.write(b"BEGIN\r\n", deadline)
    }

    fn read_line(&mut self, deadline: Instant) -> io::Result<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.read(&mut byte, deadline)?;
            line.extend(byte);
            if line.len() > LINE_MAX {
                return Err(io::Error::other("endless line during authentication"));
            }
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Calls a method and returns the first value of its reply, if it is a string or a
    /// boolean.
    pub(crate) fn call(&mut self, call: &Call<'_>) -> Result<Option<Value>, Error> {
        let what = || {
            let arguments = call.arguments.join(", ");
            format!("D-Bus call {}.{}({arguments})", call.interface, call.member)
        };
        if call.arguments.iter().any(|text| text.contains('\0')) {
            return Err(Error::invalid("zero byte in an argument", what()));
        }
        // Serial numbers are never 0.
        self.serial = self.serial.wrapping_add(1).max(1);
        let deadline = Instant::now() + self.timeout;
        let message = call.encode(self.serial);
        let answer = self
            .write(&message, deadline)
            .and_then(|()| self.answer(deadline))
            .map_err(|error| self.failed(error, &what()))?;
        match answer.error {
            None => Ok(answer.value),
            Some(name) => {
                let text = match answer.value {
                    Some(Value::Text(text)) => text,
                    _ => String::new(),
                };
                Err(Error::new(Kind::Bus { name, text }, what()))
            }
        }
    }

    /// Waits for a signal with this name that the bus has been asked for, `timeout` at most.
    pub(crate) fn wait_for_signal(&mut self, name: &str, timeout: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + timeout;
        loop {
            let message = self.message(deadline);
            let message = message.map_err(|error| self.failed(error, "wait for a signal"))?;
            if wire::signal(&message).is_some_and(|signal| signal == name) {
                return Ok(());
            }
        }
    }

    fn message(&mut self, deadline: Instant) -> io::Result<Vec<u8>> {
        let mut fixed = [0; FIXED_LEN];
        self.read(&mut fixed, deadline)?;
        let len =
            wire::message_len(&fixed).ok_or_else(|| io::Error::other("invalid D-Bus message"))?;
        let mut message = fixed.to_vec();
        message.resize(len, 0);
        self.read(message.get_mut(FIXED_LEN..).unwrap_or_default(), deadline)?;
        Ok(message)
    }

    /// Reads the reply to the last call; ignores signals.
    fn answer(&mut self, deadline: Instant) -> io::Result<Answer> {
        loop {
            let message = self.message(deadline)?;
            if let Some(answer) = wire::decode(&message)
                && answer.to == self.serial
            {
                return Ok(answer);
            }
        }
    }

    fn read(&mut self, mut buffer: &mut [u8], deadline: Instant) -> io::Result<()> {
        while !buffer.is_empty() {
            self.stream.set_read_timeout(Some(left(deadline)?))?;
            match self.stream.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => buffer = buffer.get_mut(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(Some(left(deadline)?))?;
            match self.stream.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn failed(&self, error: io::Error, what: &str) -> Error {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::new(
                Kind::Timeout {
                    waited: self.timeout,
                },
                what,
            ),
            _ => Error::io("talk to the bus", error, what),
        }
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

fn open(address: &Address) -> io::Result<UnixStream> {
    match address {
        Address::Path(path) => UnixStream::connect(path),
        Address::Abstract(name) => UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?),
    }
}
