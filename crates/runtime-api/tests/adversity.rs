//! Sockets at which no runtime answers, or not as one.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use runtime_api::{Cri, Docker, Error, Label};
use testkit::{Host, patience};

/// Answers each connection with `answer`, and keeps it open if `stays`.
fn serve(path: &Path, answer: &'static [u8], stays: bool) {
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).expect("a socket");
    thread::spawn(move || {
        let mut open = Vec::new();
        for mut connection in listener.incoming().flatten() {
            let _ = connection.read(&mut [0; 4096]);
            let _ = connection.write_all(answer);
            if stays {
                open.push(connection);
            }
        }
    });
}

fn label() -> Label {
    "a=b".parse().expect("a label")
}

#[test]
fn a_silent_runtime_is_given_up() {
    let host = Host::new();
    let socket = host.dir().join("silent.sock");
    serve(&socket, b"", true);
    let limit = Duration::from_millis(300);
    let started = Instant::now();
    let err = Cri::new(&socket, limit).unwrap().sandboxes().unwrap_err();
    assert!(matches!(err, Error::TimedOut { .. }), "{err}");
    assert_eq!(
        err.to_string(),
        "POST /runtime.v1.RuntimeService/ListPodSandbox: no answer within 300ms"
    );
    let docker = Docker::new(&socket, limit).unwrap();
    let err = docker.find(&label()).unwrap_err();
    assert!(matches!(err, Error::TimedOut { .. }), "{err}");
    // Waiting for a container ends, too, with the reason.
    let err = docker.wait(&label(), limit).unwrap_err();
    assert!(matches!(err, Error::TimedOut { .. }), "{err}");
    assert!(started.elapsed() < Duration::from_secs(20) * patience());
}

#[test]
fn an_answer_that_makes_no_sense_is_an_error() {
    let host = Host::new();
    let socket = host.dir().join("odd.sock");
    let limit = Duration::from_secs(10) * patience();
    let answers: [(&[u8], &str); 7] = [
        (b"", "connection failed"),
        (b"\0\xff\0garbage", "connection failed"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[",
            "connection failed",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            "the answer cannot be read: invalid type: map, expected a sequence",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[{}]",
            "the answer cannot be read: missing field `Id`",
        ),
        (
            b"HTTP/1.1 400 Bad\r\nContent-Length: 22\r\n\r\n{\"message\":\"too old\"}\n",
            "refused with status 400: too old",
        ),
        (
            b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno",
            "refused with status 403: no",
        ),
    ];
    for (number, (answer, text)) in answers.into_iter().enumerate() {
        let socket = host.dir().join(format!("{number}.sock"));
        serve(&socket, answer, false);
        let err = Docker::new(&socket, limit)
            .unwrap()
            .find(&label())
            .unwrap_err();
        assert!(err.to_string().contains(text), "{number}: {err}");
        let err = Cri::new(&socket, limit).unwrap().sandboxes().unwrap_err();
        assert!(matches!(err, Error::Broken { .. }), "{number}: {err}");
    }
    // More than any runtime has.
    static MUCH: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n";
    serve(&socket, MUCH, false);
    let err = Docker::new(&socket, limit)
        .unwrap()
        .find(&label())
        .unwrap_err();
    assert!(err.to_string().contains("connection failed"), "{err}");
}
