//! The real firewalld on a real bus, and buses that misbehave.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::{Duration, Instant};

use netfilter::firewalld::Firewalld;
use testkit::{Host, Node, Service};

const SOCKET: &str = "/run/dbus/system_bus_socket";

fn wait_for<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < deadline, "no {what} after 60 s");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn sources_of_the_real_one() {
    let host = Host::new();
    host.command(&["ip", "link", "set", "lo", "up"]);
    assert!(Firewalld::find().unwrap().is_none(), "no bus, no firewalld");
    fs::create_dir_all("/run/dbus").unwrap();
    let _bus = Service::start(&["dbus-daemon", "--system", "--nofork", "--nopidfile"]);
    wait_for("bus", || fs::metadata(SOCKET).ok());
    assert!(Firewalld::find().unwrap().is_none(), "a bus without it");
    let _firewalld = Service::start(&["firewalld", "--nofork", "--nopid"]);
    let mut firewalld = wait_for("firewalld", || Firewalld::find().unwrap());

    let source = "10.0.0.2/32";
    // It has its name before it has read its zones.
    wait_for("zones", || firewalld.query_source("trusted", source).ok());
    for source in [source, "fd00::2/128"] {
        assert!(!firewalld.query_source("trusted", source).unwrap());
        firewalld.add_source("trusted", source).unwrap();
        firewalld.add_source("trusted", source).unwrap();
        assert!(firewalld.query_source("trusted", source).unwrap());
        assert!(!firewalld.query_source("public", source).unwrap());
    }
    let error = firewalld.add_source("public", source).unwrap_err();
    assert!(error.to_string().contains("ZONE_CONFLICT"), "{error}");
    let error = firewalld.add_source("no-such-zone", source).unwrap_err();
    assert_eq!(
        error.to_string(),
        "D-Bus call org.fedoraproject.FirewallD1.zone.addSource(no-such-zone, 10.0.0.2/32): \
         INVALID_ZONE: no-such-zone"
    );
    assert_eq!(
        error.bus_error(),
        Some("org.fedoraproject.FirewallD1.Exception")
    );
    let error = firewalld.add_source("trusted", "no address").unwrap_err();
    assert!(error.to_string().contains("INVALID_ADDR"), "{error}");
    let error = firewalld.add_source("tru\0sted", source).unwrap_err();
    assert!(error.to_string().contains("zero byte"), "{error}");
    firewalld.remove_source("trusted", source).unwrap();
    firewalld.remove_source("trusted", source).unwrap();
    assert!(!firewalld.query_source("trusted", source).unwrap());
}

/// A bus that says `lines` in turn, each after it read something, and then
/// nothing more.
fn misbehaving(answers: &'static [&'static [u8]]) {
    fs::create_dir_all("/run/dbus").unwrap();
    let _ = fs::remove_file(SOCKET);
    let listener = UnixListener::bind(SOCKET).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        for answer in answers {
            let _ = stream.read(&mut buffer);
            let _ = stream.write_all(answer);
        }
        // Until the other side has had enough.
        while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
    });
}

#[test]
fn a_bus_that_misbehaves_is_an_error_in_time() {
    let _host = Host::new();
    let begin = Instant::now();
    let find = || Firewalld::find_within(Duration::from_millis(300));
    let error = |answers| {
        misbehaving(answers);
        find().err().expect("an error")
    };
    assert!(error(&[]).is_timeout());
    assert!(error(&[b"OK"]).is_timeout());
    assert!(error(&[b"OK 1234\r\n"]).is_timeout());
    let refused = error(&[b"REJECTED EXTERNAL\r\n"]);
    assert!(
        refused.to_string().contains("REJECTED EXTERNAL"),
        "{refused}"
    );
    let endless = error(&[&[b'x'; 4000]]);
    assert!(endless.to_string().contains("endless"), "{endless}");
    let garbage = error(&[b"OK 1234\r\n", &[b'l'; 4096]]);
    assert!(garbage.to_string().contains("no message"), "{garbage}");
    assert!(begin.elapsed() < Duration::from_secs(10));
    // Nobody listens any more.
    fs::remove_file(SOCKET).unwrap();
    drop(UnixListener::bind(SOCKET).unwrap());
    assert!(find().unwrap().is_none());
}
