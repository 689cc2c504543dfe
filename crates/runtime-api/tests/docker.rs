//! The Docker client against a real daemon.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use runtime_api::{Docker, Error, Event, Label};
use testkit::runtime::{DOCKER, IMAGE, Runtime};
use testkit::{Host, patience};

fn label(text: &str) -> Label {
    text.parse().unwrap_or_else(|err| panic!("{text}: {err}"))
}

fn client(socket: &Path) -> Docker {
    Docker::new(socket, Duration::from_secs(10) * patience()).expect("sockets")
}

/// Starts a container that sleeps. Returns its ID.
fn start(docker: &Runtime, options: &str) -> String {
    let id = docker.run(&format!(
        "{DOCKER} run --detach --network none {options} {IMAGE} /bin/busybox sleep 600"
    ));
    id.trim().to_owned()
}

#[test]
fn containers_are_found_by_label() {
    let host = Host::new();
    let daemon = Runtime::docker(&host);
    let docker = client(daemon.socket());
    let web = start(
        &daemon,
        "--name web --env MICROSERVICE_LABEL=web --label role=front",
    );
    let db = start(&daemon, "--label MICROSERVICE_LABEL=db --label a=b=c");
    let find = |text: &str| docker.find(&label(text)).unwrap();
    let found = find("web").expect("by its environment");
    assert_eq!(
        (found.id.as_str(), found.name.as_str()),
        (web.as_str(), "web")
    );
    let pid = daemon.run(&format!("{DOCKER} inspect --format {{{{.State.Pid}}}} web"));
    assert_eq!(found.pid.to_string(), pid.trim());
    assert_eq!(find("role=front"), Some(found));
    for text in ["db", "a=b=c"] {
        assert_eq!(
            find(text).map(|container| container.id),
            Some(db.clone()),
            "{text}"
        );
    }
    for text in [
        "we",
        "role=fron",
        "role",
        "MICROSERVICE_LABEL=web",
        "a=\"}'&?%",
    ] {
        assert_eq!(find(text), None, "{text}");
    }
    // Of two the newer one, and no longer when it has ended.
    let second = start(&daemon, "--name second --label role=front");
    assert_eq!(
        find("role=front").map(|container| container.id),
        Some(second)
    );
    daemon.run(&format!("{DOCKER} kill second"));
    assert_eq!(find("role=front").map(|container| container.id), Some(web));
    daemon.run(&format!("{DOCKER} rm -f web"));
    assert_eq!(find("role=front"), None);
}

/// Follows a label on a thread, which gets the host's namespaces.
fn follow(socket: &Path, text: &str) -> Receiver<Event> {
    let (sender, events): (Sender<Event>, _) = channel();
    let (socket, label) = (socket.to_owned(), label(text));
    thread::spawn(move || {
        let on = |event| match sender.send(event) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        };
        client(&socket)
            .follow(&label, None, on)
            .expect("it goes on for ever");
    });
    events
}

fn next(events: &Receiver<Event>) -> Event {
    let event = events.recv_timeout(Duration::from_secs(30) * patience());
    event.expect("an event within 30 seconds")
}

fn available(events: &Receiver<Event>) -> String {
    match next(events) {
        Event::Available(container) => container.id,
        event => panic!("{event:?}"),
    }
}

fn gone(events: &Receiver<Event>) -> String {
    match next(events) {
        Event::Gone(container) => container.id,
        event => panic!("{event:?}"),
    }
}

#[test]
fn a_container_is_followed_beyond_its_own_end_and_the_daemons() {
    let host = Host::new();
    // Nobody answers yet.
    let events = follow(Path::new("/run/docker.sock"), "web");
    let daemon = Runtime::docker(&host);
    let first = start(&daemon, "--name first --env MICROSERVICE_LABEL=web");
    assert_eq!(available(&events), first);
    // Ends by itself, as Docker sees it: no stop event, only die.
    let pid = daemon.run(&format!(
        "{DOCKER} inspect --format {{{{.State.Pid}}}} first"
    ));
    daemon.run(&format!("kill -KILL {}", pid.trim()));
    assert_eq!(gone(&events), first);
    let second = start(&daemon, "--env MICROSERVICE_LABEL=web");
    assert_eq!(available(&events), second);
    // The same container with another process.
    daemon.run(&format!("{DOCKER} restart --time 0 {second}"));
    assert_eq!(
        (gone(&events), available(&events)),
        (second.clone(), second.clone())
    );
    // The newest has the label.
    let third = start(&daemon, "--env MICROSERVICE_LABEL=web");
    assert_eq!(
        (gone(&events), available(&events)),
        (second.clone(), third.clone())
    );
    daemon.run(&format!("{DOCKER} rm -f {third}"));
    assert_eq!((gone(&events), available(&events)), (third, second.clone()));
    // The stream of events breaks, and the new daemon knows other containers.
    drop(daemon);
    let daemon = Runtime::docker(&host);
    assert_eq!(gone(&events), second);
    let fourth = start(&daemon, "--env MICROSERVICE_LABEL=web");
    assert_eq!(available(&events), fourth);
}

#[test]
fn waiting_ends_with_the_container_or_an_error_that_says_what_to_do() {
    let host = Host::new();
    let missing = client(Path::new("/run/docker.sock"));
    let err = missing.wait(&label("web"), Duration::ZERO).unwrap_err();
    assert_eq!(
        err.to_string(),
        "cannot connect to the runtime's socket /run/docker.sock: no such file or directory"
    );
    let daemon = Runtime::docker(&host);
    let docker = client(daemon.socket());
    let started = Instant::now();
    let err = docker
        .wait(&label("web"), Duration::from_millis(300))
        .unwrap_err();
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert!(matches!(err, Error::NoContainer { .. }), "{err}");
    assert!(err.to_string().ends_with(
        "start one with --env MICROSERVICE_LABEL=web, or give a Docker label as key=value"
    ));
    let found = thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            client(daemon.socket()).wait(&label("x=y"), Duration::from_secs(60) * patience())
        });
        let id = start(&daemon, "--label x=y");
        (waiting.join().unwrap().unwrap().id, id)
    });
    assert_eq!(found.0, found.1);
}
