//! Requests over a Unix socket, each on a connection of its own.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::HeaderMap;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

use crate::Error;

/// The largest answer: the limit of kubelet for messages of the CRI.
const LARGEST: usize = 16 << 20;

/// A version of HTTP.
#[derive(Clone, Copy)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// A runtime's socket, and an executor for the calling thread.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) socket: PathBuf,
    /// The time limit of each request.
    pub(crate) limit: Duration,
    executor: Runtime,
}

/// A complete answer.
pub(crate) struct Answer {
    pub(crate) status: u32,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
}

impl Endpoint {
    pub(crate) fn new(socket: &Path, limit: Duration) -> Result<Endpoint, Error> {
        let executor = Builder::new_current_thread().enable_all().build();
        let executor = executor.map_err(|e| Error::Invalid {
            what: format!("cannot poll sockets: {e}"),
        })?;
        Ok(Endpoint {
            socket: socket.to_owned(),
            limit,
            executor,
        })
    }

    /// Runs a future to its end on the calling thread, with whatever limits it has.
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.executor.block_on(future)
    }

    /// Sends a request and reads the whole answer within the time limit.
    pub(crate) async fn exchange(
        &self,
        protocol: Protocol,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, Error> {
        let name = name(&request);
        self.within(&name, async {
            let response = self.send(protocol, request).await?;
            let status = u32::from(response.status().as_u16());
            let headers = response.headers().clone();
            let body = Limited::new(response.into_body(), LARGEST).collect().await;
            let body = body.map_err(|e| broken(&name, e))?;
            let trailers = body.trailers().cloned().unwrap_or_default();
            Ok(Answer {
                status,
                headers,
                body: body.to_bytes(),
                trailers,
            })
        })
        .await
    }

    /// Sends a request and returns when the head of the answer has come, within the time limit.
    pub(crate) async fn open(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Error> {
        let name = name(&request);
        self.within(&name, self.send(Protocol::Http1, request))
            .await
    }

    /// Returns the process that listens at the socket, if it is visible in this PID namespace.
    pub(crate) async fn listener(&self) -> Result<Option<u32>, Error> {
        let credentials = self.connect().await?.peer_cred();
        let credentials = credentials.map_err(|source| Error::Unreachable {
            socket: self.socket.clone(),
            source,
        })?;
        let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok());
        Ok(pid.filter(|pid| *pid > 0))
    }

    async fn connect(&self) -> Result<UnixStream, Error> {
        let stream = UnixStream::connect(&self.socket).await;
        stream.map_err(|source| Error::Unreachable {
            socket: self.socket.clone(),
            source,
        })
    }

    async fn within<T>(
        &self,
        request: &str,
        future: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let timed = tokio::time::timeout(self.limit, future).await;
        timed.unwrap_or_else(|_| {
            Err(Error::TimedOut {
                request: request.to_owned(),
                after: self.limit,
            })
        })
    }

    async fn send(
        &self,
        protocol: Protocol,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Error> {
        let name = name(&request);
        let broken = |e: hyper::Error| broken(&name, e);
        let io = TokioIo::new(self.connect().await?);
        // The connection is a task of its own; it ends with the answer's body. Its error is that of the request.
        match protocol {
            Protocol::Http1 => {
                let (mut sender, connection) = http1::handshake(io).await.map_err(broken)?;
                tokio::spawn(connection);
                sender.send_request(request).await.map_err(broken)
            }
            Protocol::Http2 => {
                let shaken = http2::handshake(TokioExecutor::new(), io).await;
                let (mut sender, connection) = shaken.map_err(broken)?;
                tokio::spawn(connection);
                sender.send_request(request).await.map_err(broken)
            }
        }
    }
}

/// What a request is called in errors.
fn name(request: &Request<Full<Bytes>>) -> String {
    format!("{} {}", request.method(), request.uri().path())
}

/// The error of a connection, with its causes: hyper's own text has none.
pub(crate) fn broken(
    request: &str,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    let error = error.into();
    let mut cause = error.to_string();
    let mut next = error.source();
    while let Some(deeper) = next {
        cause += &format!(": {deeper}");
        next = deeper.source();
    }
    Error::Broken {
        request: request.to_owned(),
        cause,
    }
}
