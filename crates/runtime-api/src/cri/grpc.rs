//! Unary calls of gRPC over HTTP/2: one message each way, framed by five bytes.

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::Full;
use hyper::Request;
use hyper::header::HeaderMap;
use prost::Message;

use crate::Error;
use crate::connection::{Answer, Endpoint, Protocol};

/// A flag, which says that the message is compressed, and the length of the message.
const HEAD: usize = 5;

/// Calls a method, such as `/runtime.v1.RuntimeService/Version`.
pub(crate) fn call<T: Message + Default>(
    endpoint: &Endpoint,
    method: &str,
    message: &impl Message,
) -> Result<T, Error> {
    let request = Request::post(format!("http://localhost{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(frame(message)))
        .map_err(|e| Error::Invalid {
            what: format!("method {method}: {e}"),
        })?;
    let answer = endpoint.run(endpoint.exchange(Protocol::Http2, request))?;
    let message = payload(method, &answer)?;
    T::decode(message).map_err(|e| malformed(method, e))
}

fn frame(message: &impl Message) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEAD + message.encoded_len());
    frame.put_u8(0);
    // A request of ours is far from 4 GiB.
    frame.put_u32(message.encoded_len() as u32);
    frame.put_slice(&message.encode_to_vec());
    frame.freeze()
}

/// Returns the message of a successful answer.
fn payload<'a>(method: &str, answer: &'a Answer) -> Result<&'a [u8], Error> {
    if answer.status != 200 {
        return Err(Error::Refused {
            request: method.to_owned(),
            status: answer.status,
            message: "the answer is not gRPC's".to_owned(),
        });
    }
    // An error without a message has its status in the headers.
    let text = |key| field(&answer.trailers, key).or_else(|| field(&answer.headers, key));
    let status = text("grpc-status").ok_or_else(|| malformed(method, "it has no grpc-status"))?;
    match status.parse() {
        Ok(0) => {}
        Ok(status) => {
            return Err(Error::Refused {
                request: method.to_owned(),
                status,
                message: unescape(&text("grpc-message").unwrap_or_default()),
            });
        }
        Err(_) => return Err(malformed(method, format!("grpc-status is {status}"))),
    }
    let (head, message) = answer
        .body
        .split_at_checked(HEAD)
        .ok_or_else(|| malformed(method, "it has no message"))?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    match head[0] {
        0 if length == message.len() => Ok(message),
        0 => Err(malformed(
            method,
            format!("{} bytes instead of {length}", message.len()),
        )),
        flag => Err(malformed(method, format!("unknown flag {flag}"))),
    }
}

fn field(map: &HeaderMap, key: &str) -> Option<String> {
    let value = map.get(key)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn malformed(method: &str, cause: impl ToString) -> Error {
    Error::Malformed {
        request: method.to_owned(),
        cause: cause.to_string(),
    }
}

/// Decodes `%xx` of `grpc-message`.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let code = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code.filter(|_| first == b'%') {
            Some(code) => {
                bytes.push(code);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(trailers: &[(&'static str, &str)], body: &[u8]) -> Answer {
        let pairs = trailers.iter().map(|(key, value)| {
            (
                hyper::header::HeaderName::from_static(key),
                value.parse().unwrap(),
            )
        });
        Answer {
            status: 200,
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body),
            trailers: pairs.collect(),
        }
    }

    #[test]
    fn answers_that_are_not_complete_are_errors() {
        let ok = [("grpc-status", "0")];
        for (trailers, body, cause) in [
            (&ok[..], &b"\0\0\0\0\x02ab"[..], ""),
            (&ok, b"", "it has no message"),
            (&ok, b"\0\0\0\0\x03ab", "2 bytes instead of 3"),
            (&ok, b"\x01\0\0\0\x02ab", "unknown flag 1"),
            (
                &ok,
                b"\0\xff\xff\xff\xffab",
                "2 bytes instead of 4294967295",
            ),
            (&[], b"\0\0\0\0\x02ab", "it has no grpc-status"),
            (&[("grpc-status", "x")], b"", "grpc-status is x"),
            (
                &[("grpc-status", "5"), ("grpc-message", "no %22x%22 100%")],
                b"",
                "refused with status 5: no \"x\" 100%",
            ),
        ] {
            let answer = answer(trailers, body);
            match payload("M", &answer) {
                Ok(message) => assert_eq!((message, cause), (&b"ab"[..], "")),
                Err(err) => {
                    let err = err.to_string();
                    assert!(!cause.is_empty() && err.ends_with(cause), "{err}");
                }
            }
        }
    }
}
