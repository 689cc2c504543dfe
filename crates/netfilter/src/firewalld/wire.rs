//! D-Bus messages (specification, "Message Protocol"): calls with string arguments, their
//! replies, and signals.

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;
/// Do not start a service for the call.
const NO_AUTO_START: u8 = 2;
const VERSION: u8 = 1;

const FIELD_PATH: u8 = 1;
const FIELD_INTERFACE: u8 = 2;
const FIELD_MEMBER: u8 = 3;
const FIELD_ERROR_NAME: u8 = 4;
const FIELD_REPLY_SERIAL: u8 = 5;
const FIELD_DESTINATION: u8 = 6;
const FIELD_SIGNATURE: u8 = 8;

/// Bytes of a message before the array of its header fields.
pub(crate) const FIXED_LEN: usize = 16;
/// The longest message that is read; the expected replies have one short value.
const MESSAGE_MAX: usize = 1 << 20;

/// A method call with string arguments.
pub(crate) struct Call<'a> {
    pub(crate) destination: &'a str,
    pub(crate) path: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) member: &'a str,
    pub(crate) arguments: &'a [&'a str],
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn u32(&mut self, value: usize) {
        self.align(4);
        // Lengths of names and of two short arguments.
        let value = u32::try_from(value).unwrap_or(u32::MAX);
        self.0.extend(value.to_le_bytes());
    }

    fn string(&mut self, text: &str) {
        self.u32(text.len());
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        // One letter per argument.
        self.0.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn field(&mut self, number: u8, kind: &str, value: &str) {
        self.align(8);
        self.0.push(number);
        self.signature(kind);
        if kind == "g" {
            self.signature(value);
        } else {
            self.string(value);
        }
    }
}

impl Call<'_> {
    pub(crate) fn encode(&self, serial: u32) -> Vec<u8> {
        let mut body = Writer::default();
        for argument in self.arguments {
            body.string(argument);
        }
        let mut fields = Writer::default();
        fields.field(FIELD_PATH, "o", self.path);
        fields.field(FIELD_DESTINATION, "s", self.destination);
        fields.field(FIELD_INTERFACE, "s", self.interface);
        fields.field(FIELD_MEMBER, "s", self.member);
        if !self.arguments.is_empty() {
            fields.field(FIELD_SIGNATURE, "g", &"s".repeat(self.arguments.len()));
        }
        let mut message = Writer(vec![b'l', METHOD_CALL, NO_AUTO_START, VERSION]);
        message.u32(body.0.len());
        message.u32(serial as usize);
        message.u32(fields.0.len());
        // The array begins at a multiple of 8, so its alignment is right.
        message.0.extend(fields.0);
        message.align(8);
        message.0.extend(body.0);
        message.0
    }
}

/// The first value of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Bool(bool),
}

/// A reply to a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The serial number of the call.
    pub(crate) to: u32,
    /// The error name of an error reply.
    pub(crate) error: Option<String>,
    /// The first value, if it is a string or a boolean.
    pub(crate) value: Option<Value>,
}

/// Returns the length of the message that begins with these bytes, `None` if they are not
/// a message or it is too long.
pub(crate) fn message_len(fixed: &[u8; FIXED_LEN]) -> Option<usize> {
    let reader = Reader::new(fixed)?;
    let body = reader.at_u32(4)? as usize;
    let fields = reader.at_u32(12)? as usize;
    let len = FIXED_LEN
        .checked_add(fields)?
        .checked_next_multiple_of(8)?
        .checked_add(body)?;
    (len <= MESSAGE_MAX).then_some(len)
}

/// Decodes a reply; `None` for other messages and invalid ones.
pub(crate) fn decode(message: &[u8]) -> Option<Answer> {
    let mut reader = Reader::new(message)?;
    let kind = *message.get(1)?;
    if kind != METHOD_RETURN && kind != ERROR {
        return None;
    }
    let header = Header::read(&mut reader)?;
    let mut answer = Answer {
        to: header.reply_to,
        error: header.error,
        value: None,
    };
    answer.value = match header.signature.as_bytes().first() {
        Some(b's') => Some(Value::Text(reader.string()?)),
        Some(b'b') => Some(Value::Bool(reader.u32()? != 0)),
        _ => None,
    };
    if kind == ERROR {
        answer.error.get_or_insert_default();
    } else {
        answer.error = None;
    }
    Some(answer)
}

/// Returns the name of a signal; `None` for other messages and invalid ones.
pub(crate) fn signal(message: &[u8]) -> Option<String> {
    let mut reader = Reader::new(message)?;
    let is_signal = *message.get(1)? == SIGNAL;
    is_signal
        .then(|| Header::read(&mut reader))?
        .map(|header| header.member)
}

/// The header fields that are used.
#[derive(Default)]
struct Header {
    reply_to: u32,
    error: Option<String>,
    member: String,
    signature: String,
}

impl Header {
    /// Reads the header fields, and moves the reader to the body.
    fn read(reader: &mut Reader<'_>) -> Option<Header> {
        let end = FIXED_LEN.checked_add(reader.at_u32(12)? as usize)?;
        let mut header = Header::default();
        reader.at = FIXED_LEN;
        while reader.at < end {
            reader.align(8);
            let field = reader.byte()?;
            match (field, reader.signature()?.as_str()) {
                (FIELD_REPLY_SERIAL, "u") => header.reply_to = reader.u32()?,
                (FIELD_ERROR_NAME, "s") => header.error = Some(reader.string()?),
                (FIELD_MEMBER, "s") => header.member = reader.string()?,
                (FIELD_SIGNATURE, "g") => header.signature = reader.signature()?,
                (_, "s" | "o") => drop(reader.string()?),
                (_, "g") => drop(reader.signature()?),
                (_, "u") => drop(reader.u32()?),
                _ => return None,
            }
        }
        reader.at = end.checked_next_multiple_of(8)?;
        Some(header)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    big_endian: bool,
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Option<Reader<'a>> {
        let big_endian = match bytes.first()? {
            b'l' => false,
            b'B' => true,
            _ => return None,
        };
        Some(Reader {
            bytes,
            big_endian,
            at: 0,
        })
    }

    fn at_u32(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.checked_next_multiple_of(to).unwrap_or(self.at);
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.align(4);
        let value = self.at_u32(self.at)?;
        self.at += 4;
        Some(value)
    }

    fn text(&mut self, len: usize) -> Option<String> {
        let end = self.at.checked_add(len)?;
        let text = String::from_utf8(self.bytes.get(self.at..end)?.to_vec()).ok()?;
        // Behind the zero.
        self.at = end.checked_add(1)?;
        Some(text)
    }

    fn string(&mut self) -> Option<String> {
        let len = self.u32()?;
        self.text(len as usize)
    }

    fn signature(&mut self) -> Option<String> {
        let len = self.byte()?;
        self.text(usize::from(len))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer as a bus would send it.
    fn answer(kind: u8, to: u32, signature: &str, body: &[u8]) -> Vec<u8> {
        let mut fields = Writer::default();
        fields.align(8);
        fields.0.push(FIELD_REPLY_SERIAL);
        fields.signature("u");
        fields.u32(to as usize);
        fields.field(FIELD_ERROR_NAME, "s", "org.example.Error");
        fields.field(7, "s", ":1.5");
        if !signature.is_empty() {
            fields.field(FIELD_SIGNATURE, "g", signature);
        }
        let mut message = Writer(vec![b'l', kind, 0, VERSION]);
        message.u32(body.len());
        message.u32(99);
        message.u32(fields.0.len());
        message.0.extend(fields.0);
        message.align(8);
        message.0.extend(body);
        message.0
    }

    #[test]
    fn answers_are_read() {
        let mut text = Writer::default();
        text.string("trusted");
        let message = answer(METHOD_RETURN, 7, "s", &text.0);
        let fixed = message[..FIXED_LEN].try_into().unwrap();
        assert_eq!(message_len(fixed), Some(message.len()));
        let read = decode(&message).unwrap();
        assert_eq!((read.to, read.error), (7, None));
        assert_eq!(read.value, Some(Value::Text("trusted".to_owned())));
        let read = decode(&answer(METHOD_RETURN, 7, "b", &[1, 0, 0, 0])).unwrap();
        assert_eq!(read.value, Some(Value::Bool(true)));
        let read = decode(&answer(ERROR, 7, "s", &text.0)).unwrap();
        assert_eq!(read.error.as_deref(), Some("org.example.Error"));
        assert_eq!(decode(&answer(4, 7, "", &[])), None);
        assert_eq!(decode(&answer(METHOD_RETURN, 7, "b", &[])), None);
    }

    #[test]
    fn an_answer_is_not_endless() {
        let mut message = answer(METHOD_RETURN, 7, "", &[]);
        message[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        let fixed = message[..FIXED_LEN].try_into().unwrap();
        assert_eq!(message_len(fixed), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
            let mut message = answer(METHOD_RETURN, 7, "s", &bytes);
            for (at, byte) in bytes.iter().enumerate().take(20) {
                let place = (at * 7 + usize::from(*byte)) % message.len();
                message[place] = *byte;
            }
            let _ = decode(&message);
            if let Some(fixed) = message.first_chunk() {
                let _ = message_len(fixed);
            }
        }
    }
}
