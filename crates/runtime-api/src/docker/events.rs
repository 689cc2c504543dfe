//! Follows the container with a label: waits until it appears, and reports when it goes.
//!
//! Events only say when to look. What is reported is the difference between two looks, so that neither a lost event nor
//! their order matters. A container that ends by itself has no `stop` event, only `die`.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{sleep, timeout};

use super::{Container, Docker, Label, encoded, get};
use crate::Error;
use crate::connection::broken;

/// The events after which another container may have the label.
const FILTERS: &str = r#"{"type":["container"],"event":["start","die","stop","destroy","rename"]}"#;
/// The longest time between two looks while events arrive.
const LOOK: Duration = Duration::from_secs(30);
/// The time between two looks without events: the daemon is not running, or refuses to send them.
const POLL: Duration = Duration::from_secs(1);
/// Events come in groups (`die`, `stop`, `start`). One look is enough for those within this time.
const GROUP: Duration = Duration::from_millis(20);

/// A change of the container that has a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It runs: also another one than before, or the same with another process.
    Available(Container),
    /// It does not run any more.
    Gone(Container),
}

/// A stream of events of the daemon.
struct Events(Incoming);

impl Docker {
    /// Waits until a container with the label runs, also for the daemon itself.
    ///
    /// # Errors
    /// [`Error::NoContainer`] if none has appeared in time. The daemon's refusal, at once.
    pub fn wait(&self, label: &Label, patience: Duration) -> Result<Container, Error> {
        let mut found = None;
        self.follow(label, Some(patience), |event| match event {
            Event::Available(container) => {
                found = Some(container);
                ControlFlow::Break(())
            }
            Event::Gone(_) => ControlFlow::Continue(()),
        })?;
        found.ok_or_else(|| Error::NoContainer {
            label: label.to_string(),
            reason: format!(
                "looked through the socket {} for {patience:?}; {}",
                self.0.socket.display(),
                label.hint()
            ),
        })
    }

    /// Calls `on` for each change of the container that has the label, beginning with the one that runs now. Returns when
    /// `on` says so, or after `patience`; without it, it goes on for ever.
    ///
    /// Survives a restart of the daemon: it looks every second until the daemon answers again. Containers count as
    /// gone only if the daemon says so.
    ///
    /// # Errors
    /// The daemon's refusal, at once; that it could not be asked, at the end.
    pub fn follow(
        &self,
        label: &Label,
        patience: Option<Duration>,
        on: impl FnMut(Event) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let end = patience.and_then(|patience| Instant::now().checked_add(patience));
        self.0.run(self.looks(label, end, on))
    }

    async fn looks(
        &self,
        label: &Label,
        end: Option<Instant>,
        mut on: impl FnMut(Event) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let mut known = None;
        let mut events = None;
        loop {
            // Before the look, so that nothing is missed between.
            if events.is_none() && !is_over(end) {
                events = self.subscribe().await.ok();
            }
            let looked = self.scan(label).await;
            match looked {
                Ok(now) => {
                    if changes(&mut known, now)
                        .into_iter()
                        .any(|event| on(event).is_break())
                    {
                        return Ok(());
                    }
                }
                Err(e) if e.is_temporary() && !is_over(end) => {}
                Err(e) => return Err(e),
            }
            if is_over(end) {
                return Ok(());
            }
            let left = end.map_or(LOOK, |end| {
                end.saturating_duration_since(Instant::now()).min(LOOK)
            });
            match &mut events {
                Some(stream) => match timeout(left, stream.next()).await {
                    Ok(Ok(())) => sleep(GROUP).await,
                    Ok(Err(_)) => {
                        events = None;
                        sleep(left.min(POLL)).await;
                    }
                    Err(_) => {}
                },
                None => sleep(left.min(POLL)).await,
            }
        }
    }

    async fn subscribe(&self) -> Result<Events, Error> {
        let path = format!("/events?filters={}", encoded(FILTERS));
        let response = self.0.open(get(&path)?).await?;
        match response.status().as_u16() {
            200 => Ok(Events(response.into_body())),
            status => Err(Error::Refused {
                request: "GET /events".to_owned(),
                status: status.into(),
                message: String::new(),
            }),
        }
    }
}

impl Events {
    /// Waits for the next event, or several.
    async fn next(&mut self) -> Result<(), Error> {
        match self.0.frame().await {
            Some(Ok(_)) => Ok(()),
            Some(Err(e)) => Err(broken("GET /events", e)),
            None => Err(broken("GET /events", "the stream has ended")),
        }
    }
}

fn is_over(end: Option<Instant>) -> bool {
    end.is_some_and(|end| end <= Instant::now())
}

/// Returns what has changed between two looks.
fn changes(known: &mut Option<Container>, now: Option<Container>) -> Vec<Event> {
    if *known == now {
        return Vec::new();
    }
    let gone = known.take().map(Event::Gone);
    known.clone_from(&now);
    gone.into_iter().chain(now.map(Event::Available)).collect()
}
