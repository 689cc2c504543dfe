//! The protocol between plugin and daemon: Go's `net/rpc` over HTTP, that of upstream.
//!
//! Plugin and daemon are upgraded at different times, so each must understand upstream's.
//! Methods of our own are [`CHECK`], [`COLLECT`] and [`LIST`]; upstream's daemon answers them
//! with an error that [`is_unknown_method`] recognizes.

mod gob;
mod values;

use gob::{BYTES, INT, STRING, UINT};
use gob::{Decoder, Definition, Encoder, Shape, Value};
pub(crate) use values::{Arguments, Reply};

/// ADD; also upstream's CHECK.
pub(crate) const ALLOCATE: &str = "DHCP.Allocate";
/// DEL.
pub(crate) const RELEASE: &str = "DHCP.Release";
/// CHECK: as [`ALLOCATE`], without acquiring a lease.
pub(crate) const CHECK: &str = "DHCP.Check";
/// GC: the configuration contains the valid attachments.
pub(crate) const COLLECT: &str = "DHCP.Collect";
/// `dhcp status`: the leases as JSON.
pub(crate) const LIST: &str = "DHCP.List";

/// What a client sends first, without its headers.
const CONNECT: &str = "CONNECT /_goRPC_ HTTP/1.0";
/// What the server answers.
const CONNECTED: &str = "HTTP/1.0 200 Connected to Go RPC\n\n";
const REFUSED: &str = "HTTP/1.0 405 must CONNECT\n\n";

/// Longest message of a client in bytes, as the configuration with a result of the chain may
/// be long; of the daemon, whose list may have thousands of leases; and longest HTTP head.
const LONGEST_REQUEST: usize = 4 << 20;
const LONGEST_REPLY: usize = 64 << 20;
const LONGEST_HEAD: usize = 4096;

const REQUEST: i64 = 65;
const ARGUMENTS: i64 = 66;
const RESPONSE: i64 = 67;
const RESULT: i64 = 68;
const EMPTY: i64 = 78;
const TEXT: i64 = 79;

/// The types of this protocol, with the names and fields of upstream's.
const TYPES: &[Definition] = &[
    structure(
        REQUEST,
        "Request",
        &[("ServiceMethod", STRING), ("Seq", UINT)],
    ),
    structure(
        ARGUMENTS,
        "CmdArgs",
        &[
            ("ContainerID", STRING),
            ("Netns", STRING),
            ("IfName", STRING),
            ("Args", STRING),
            ("Path", STRING),
            ("NetnsOverride", STRING),
            ("StdinData", BYTES),
        ],
    ),
    structure(
        RESPONSE,
        "Response",
        &[("ServiceMethod", STRING), ("Seq", UINT), ("Error", STRING)],
    ),
    structure(
        RESULT,
        "Result",
        &[("IPs", 71), ("Routes", 74), ("DNS", 76)],
    ),
    slice(71, "[]*types100.IPConfig", 72),
    structure(72, "IPConfig", &[("Address", 73), ("Gateway", BYTES)]),
    structure(73, "IPNet", &[("IP", BYTES), ("Mask", BYTES)]),
    slice(74, "[]*types.Route", 75),
    structure(
        75,
        "Route",
        &[
            ("Dst", 73),
            ("GW", BYTES),
            ("MTU", INT),
            ("AdvMSS", INT),
            ("Priority", INT),
            ("Table", INT),
            ("Scope", INT),
        ],
    ),
    structure(
        76,
        "DNS",
        &[
            ("Nameservers", 77),
            ("Domain", STRING),
            ("Search", 77),
            ("Options", 77),
        ],
    ),
    slice(77, "[]string", STRING),
    structure(EMPTY, "", &[]),
    structure(TEXT, "Text", &[("Text", STRING)]),
];

const fn structure(
    id: i64,
    name: &'static str,
    fields: &'static [(&'static str, i64)],
) -> Definition {
    Definition {
        id,
        name,
        shape: Shape::Struct(fields),
    }
}

const fn slice(id: i64, name: &'static str, element: i64) -> Definition {
    Definition {
        id,
        name,
        shape: Shape::Slice(element),
    }
}

/// Returns whether the text of an error says that the daemon is upstream's and lacks a
/// method.
pub(crate) fn is_unknown_method(text: &str) -> bool {
    text.starts_with("rpc: can't find method")
}

/// The bytes of one side of a connection, taken apart into messages.
#[derive(Debug)]
struct Stream {
    /// Longest message in bytes.
    longest: usize,
    /// What has been received and not yet used.
    buffer: Vec<u8>,
    decoder: Decoder,
}

impl Stream {
    fn new(longest: usize) -> Stream {
        Stream {
            longest,
            buffer: Vec::new(),
            decoder: Decoder::default(),
        }
    }

    /// Returns the next value; `None` if it is not complete.
    fn value(&mut self) -> Result<Option<Value>, &'static str> {
        loop {
            let Some((length, prefix)) = gob::uint(&self.buffer)? else {
                return Ok(None);
            };
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if length > self.longest {
                return Err("a message is too long");
            }
            let Some(message) = self.buffer.get(prefix..prefix + length) else {
                return Ok(None);
            };
            let value = self.decoder.message(message)?;
            self.buffer.drain(..prefix + length);
            if value.is_some() {
                return Ok(value);
            }
        }
    }

    /// Takes the HTTP head; `None` if it is not complete.
    fn head(&mut self) -> Result<Option<String>, &'static str> {
        let ends = [&b"\n\n"[..], b"\n\r\n"];
        let end = |end: &&[u8]| {
            let at = self
                .buffer
                .windows(end.len())
                .position(|window| window == *end)?;
            Some(at + end.len())
        };
        match ends.iter().filter_map(end).min() {
            Some(end) => {
                let head: Vec<u8> = self.buffer.drain(..end).collect();
                Ok(Some(String::from_utf8_lossy(&head).into_owned()))
            }
            None if self.buffer.len() > LONGEST_HEAD => Err("the HTTP head is longer than 4 KiB"),
            None => Ok(None),
        }
    }
}

/// A call that a client has made.
#[derive(Debug)]
pub(crate) struct Request {
    /// The method, such as [`ALLOCATE`].
    pub(crate) method: String,
    sequence: u64,
    /// The argument.
    pub(crate) arguments: Arguments,
}

/// The daemon's side of a connection, without input and output.
#[derive(Debug)]
pub(crate) struct Server {
    stream: Stream,
    encoder: Encoder,
    is_connected: bool,
    header: Option<Value>,
    /// What is to be sent.
    pub(crate) output: Vec<u8>,
}

impl Default for Server {
    fn default() -> Server {
        Server {
            stream: Stream::new(LONGEST_REQUEST),
            encoder: Encoder::new(TYPES),
            is_connected: false,
            header: None,
            output: Vec::new(),
        }
    }
}

impl Server {
    /// Takes what was received.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.stream.buffer.extend(bytes);
    }

    /// Returns the next request; `None` if it is not complete.
    ///
    /// # Errors
    /// When the stream is malformed; the connection is then to be closed.
    pub(crate) fn request(&mut self) -> Result<Option<Request>, &'static str> {
        if !self.is_connected {
            let Some(head) = self.stream.head()? else {
                return Ok(None);
            };
            if !head.starts_with(CONNECT) {
                self.output.extend(REFUSED.as_bytes());
                return Err("the first line is not that of a call of upstream's protocol");
            }
            self.output.extend(CONNECTED.as_bytes());
            self.is_connected = true;
        }
        if self.header.is_none() {
            self.header = self.stream.value()?;
        }
        let (Some(header), Some(arguments)) = (&self.header, self.stream.value()?) else {
            return Ok(None);
        };
        let request = Request {
            method: header.text("ServiceMethod"),
            sequence: header.int("Seq").unwrap_or_default().cast_unsigned(),
            arguments: Arguments::from_value(&arguments),
        };
        self.header = None;
        Ok(Some(request))
    }

    /// Answers a request.
    pub(crate) fn respond(&mut self, request: &Request, reply: &Result<Reply, String>) {
        let (error, (id, body)) = match reply {
            Ok(reply) => ("", reply.to_value()),
            Err(error) => (error.as_str(), (EMPTY, Value::Struct(Vec::new()))),
        };
        let header = values::structure([
            ("ServiceMethod", values::text(&request.method)),
            ("Seq", Value::Uint(request.sequence)),
            ("Error", values::text(error)),
        ]);
        self.encoder.put(&mut self.output, RESPONSE, &header);
        self.encoder.put(&mut self.output, id, &body);
    }
}

/// The plugin's side of a connection of one call, without input and output.
#[derive(Debug)]
pub(crate) struct Caller {
    stream: Stream,
    is_connected: bool,
    header: Option<Value>,
}

impl Default for Caller {
    fn default() -> Caller {
        Caller {
            stream: Stream::new(LONGEST_REPLY),
            is_connected: false,
            header: None,
        }
    }
}

impl Caller {
    /// Returns the bytes to begin with; the call itself follows after the answer to them.
    pub(crate) fn greeting() -> String {
        format!("{CONNECT}\n\n")
    }

    /// Returns the bytes of the call.
    pub(crate) fn call(method: &str, arguments: &Arguments) -> Vec<u8> {
        let mut encoder = Encoder::new(TYPES);
        let mut bytes = Vec::new();
        // A sequence of 0, the first one, is left out by the encoding.
        let header = values::structure([("ServiceMethod", values::text(method))]);
        encoder.put(&mut bytes, REQUEST, &header);
        encoder.put(&mut bytes, ARGUMENTS, &arguments.to_value());
        bytes
    }

    /// Takes what was received.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.stream.buffer.extend(bytes);
    }

    /// Returns whether the daemon has accepted the greeting.
    ///
    /// # Errors
    /// When it is no such daemon.
    pub(crate) fn is_connected(&mut self) -> Result<bool, String> {
        if !self.is_connected
            && let Some(head) = self.stream.head()?
        {
            let status = head.lines().next().unwrap_or_default();
            if !CONNECTED.starts_with(status) || status.is_empty() {
                return Err(format!("unexpected HTTP response: {status}"));
            }
            self.is_connected = true;
        }
        Ok(self.is_connected)
    }

    /// Returns the reply; `None` if it is not complete. The inner error is the daemon's.
    ///
    /// # Errors
    /// When the stream is malformed.
    pub(crate) fn reply(&mut self) -> Result<Option<Result<Reply, String>>, &'static str> {
        if self.header.is_none() {
            self.header = self.stream.value()?;
        }
        let Some(header) = &self.header else {
            return Ok(None);
        };
        let error = header.text("Error");
        if !error.is_empty() {
            return Ok(Some(Err(error)));
        }
        let Some(body) = self.stream.value()? else {
            return Ok(None);
        };
        Reply::from_value(&body).map(|reply| Some(Ok(reply)))
    }
}

#[cfg(test)]
mod tests;
