//! Client of the Docker Engine API: containers by label.

mod events;
mod label;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cni_core::ns::{Containers, Netns, NsError};
use http_body_util::Full;
use hyper::Request;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::connection::{Endpoint, Protocol};

pub use events::Event;
pub use label::Label;

/// Docker's usual socket.
const SOCKET: &str = "/var/run/docker.sock";
/// The pause after a container has ended while its namespace was opened: the daemon learns of that a little later.
const PAUSE: Duration = Duration::from_millis(50);

/// A Docker daemon, or Podman's service of the same API.
#[derive(Debug)]
pub struct Docker(Endpoint);

/// A running container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its ID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its first process, by the number in the daemon's PID namespace.
    pub pid: u32,
    /// When it was created (RFC 3339, UTC).
    pub created: String,
}

/// An element of `GET /containers/json`.
#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "Id")]
    id: String,
}

/// The answer to `GET /containers/<id>/json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    created: String,
    state: State,
    #[serde(default)]
    config: Config,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    #[serde(default)]
    running: bool,
    #[serde(default)]
    pid: u32,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    env: Option<Vec<String>>,
    labels: Option<HashMap<String, String>>,
}

impl Docker {
    /// Returns a client for the daemon at `socket`. `limit` is the time limit of each request.
    ///
    /// # Errors
    /// When sockets cannot be polled. The socket is opened by requests.
    pub fn new(socket: &Path, limit: Duration) -> Result<Docker, Error> {
        Ok(Docker(Endpoint::new(socket, limit)?))
    }

    /// Returns a client for the daemon that `DOCKER_HOST` names, or for `/var/run/docker.sock`.
    ///
    /// # Errors
    /// When `DOCKER_HOST` is no Unix socket: namespaces exist on the same machine only.
    pub fn from_environment(limit: Duration) -> Result<Docker, Error> {
        let host = std::env::var("DOCKER_HOST").unwrap_or_default();
        let socket = match host.strip_prefix("unix://") {
            Some(path) => path,
            None if host.is_empty() => SOCKET,
            None => {
                return Err(Error::Invalid {
                    what: format!(
                        "DOCKER_HOST is {host:?}: expected unix:// and the path of a socket"
                    ),
                });
            }
        };
        Docker::new(Path::new(socket), limit)
    }

    /// Returns the running container with a label: of several the one created last.
    ///
    /// # Errors
    /// When the daemon cannot be reached, does not answer in time, or refuses.
    pub fn find(&self, label: &Label) -> Result<Option<Container>, Error> {
        self.0.run(self.scan(label))
    }

    async fn scan(&self, label: &Label) -> Result<Option<Container>, Error> {
        let filters = label.filters();
        let list: Vec<Listed> = self
            .get(&format!("/containers/json?filters={}", encoded(&filters)))
            .await?;
        let mut newest: Option<Inspected> = None;
        for listed in list {
            let Some(container) = self.inspect(&listed.id).await? else {
                continue;
            };
            let is_newer = newest
                .as_ref()
                .is_none_or(|other| age(other) < age(&container));
            if container.state.running && label.is_of(&container.config) && is_newer {
                newest = Some(container);
            }
        }
        Ok(newest.map(Container::from))
    }

    /// Returns a container, or none if it has been removed.
    async fn inspect(&self, id: &str) -> Result<Option<Inspected>, Error> {
        match self.get(&format!("/containers/{}/json", encoded(id))).await {
            Ok(container) => Ok(Some(container)),
            Err(Error::Refused { status: 404, .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let answer = self.0.exchange(Protocol::Http1, get(path)?).await?;
        let request = || format!("GET {path}");
        if answer.status != 200 {
            return Err(Error::Refused {
                request: request(),
                status: answer.status,
                message: message(&answer.body),
            });
        }
        serde_json::from_slice(&answer.body).map_err(|e| Error::Malformed {
            request: request(),
            cause: e.to_string(),
        })
    }

    /// Opens the network namespace of a container that was found. None if it does not run any more.
    ///
    /// The number of its process could belong to another one by now. It did not while the namespace was opened if the
    /// same process exists before that and after the daemon has confirmed that it is the container's.
    ///
    /// # Errors
    /// When the daemon cannot be asked, or the process is not in this PID namespace.
    pub fn netns(&self, container: &Container) -> Result<Option<Netns>, NsError> {
        self.check_pid_namespace()?;
        let Ok(process) = File::open(format!("/proc/{}", container.pid)) else {
            return Ok(None);
        };
        let opened = Netns::of_process(container.pid);
        // Refers to this very process: fails when it has ended.
        let stat = format!("/proc/self/fd/{}/stat", process.as_raw_fd());
        if self.still_runs(container)? && fs::read(stat).is_ok() {
            return match opened {
                // Its process has ended, and waits for its parent.
                Err(e) if e.is_gone() => Ok(None),
                opened => opened.map(Some),
            };
        }
        Ok(None)
    }

    fn still_runs(&self, container: &Container) -> Result<bool, NsError> {
        let now = self.0.run(self.inspect(&container.id)).map_err(other)?;
        Ok(now.is_some_and(|now| now.state.running && now.state.pid == container.pid))
    }

    /// Refuses a daemon of another PID namespace, whose process numbers are those of other processes here: cnitool runs in
    /// a container that has the daemon's socket, or the daemon does in one of its own.
    fn check_pid_namespace(&self) -> Result<(), NsError> {
        let listener = self.0.run(self.0.listener()).map_err(other)?;
        let namespace = |process: String| fs::read_link(format!("/proc/{process}/ns/pid")).ok();
        let daemon = listener.and_then(|pid| namespace(pid.to_string()));
        if daemon.is_some() && daemon == namespace("self".to_owned()) {
            return Ok(());
        }
        let socket = self.0.socket.display();
        Err(NsError::Invalid {
            text: socket.to_string(),
            reason: "the daemon at this socket runs in another PID namespace, so that its process numbers mean nothing \
                     here; run this in the namespace of the daemon (docker run --pid host)"
                .to_owned(),
        })
    }
}

impl Containers for Docker {
    fn netns(&self, label: &str, wait: Duration) -> Result<Netns, NsError> {
        let parsed: Label = label.parse().map_err(other)?;
        let start = Instant::now();
        loop {
            let left = wait.saturating_sub(start.elapsed());
            let container = match self.wait(&parsed, left) {
                Err(Error::NoContainer { reason, .. }) => {
                    return Err(NsError::NoContainer {
                        label: label.to_owned(),
                        reason,
                    });
                }
                container => container.map_err(other)?,
            };
            match self.netns(&container)? {
                Some(netns) => return Ok(netns),
                None if left.is_zero() => {
                    return Err(NsError::NoContainer {
                        label: label.to_owned(),
                        reason: format!("container {} has just ended", container.id),
                    });
                }
                None => thread::sleep(PAUSE.min(left)),
            }
        }
    }
}

impl From<Inspected> for Container {
    fn from(container: Inspected) -> Container {
        Container {
            name: container.name.trim_start_matches('/').to_owned(),
            id: container.id,
            pid: container.state.pid,
            created: container.created,
        }
    }
}

/// The time of creation in a form that can be compared as text: Docker omits trailing zeros of the fraction.
fn age(container: &Inspected) -> (&str, String) {
    let time = container.created.trim_end_matches('Z');
    let (seconds, fraction) = time.split_once('.').unwrap_or((time, ""));
    (seconds, format!("{fraction:0<9}"))
}

fn get(path: &str) -> Result<Request<Full<Bytes>>, Error> {
    let request = Request::get(path).header("host", "docker");
    request.body(Full::default()).map_err(|e| Error::Invalid {
        what: format!("request {path}: {e}"),
    })
}

/// The text of an error: `{"message": …}`.
fn message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Message {
        message: String,
    }
    match serde_json::from_slice(body) {
        Ok(Message { message }) => message,
        Err(_) => String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned(),
    }
}

/// Encodes all bytes but letters and digits as `%xx`, for a part of a URI.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() {
            true => encoded.push(byte.into()),
            // Writing to a string cannot fail.
            false => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

fn other(error: Error) -> NsError {
    NsError::Other {
        what: "cannot find the container".to_owned(),
        source: std::io::Error::other(error),
    }
}
