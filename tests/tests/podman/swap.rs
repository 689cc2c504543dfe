//! Plugins that are replaced by another implementation's while containers run.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use blackbox::state;
use libcni::{Cni, load_list};
use testkit::runtime::use_plugins;
use testkit::{Node as _, bin_dir, patience, peer_dir};

use crate::{HOST, NEIGHBOUR, Stage, addresses, cache, expect_answer};

/// The port of the host that a container has; its port 81 is 80 further.
fn port(container: &str) -> Option<u16> {
    match container {
        "c2" => Some(8002),
        "c4" => Some(8004),
        _ => None,
    }
}

/// Starts a container with its port, and returns its addresses.
#[track_caller]
fn start(stage: &Stage, name: &str) -> Vec<IpAddr> {
    let mut options = vec!["--network=n".to_owned()];
    if let Some(port) = port(name) {
        options.push(format!("--publish={port}:80"));
        options.push(format!("--publish={}:81", port + 80));
    }
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    addresses("n", &stage.start(name, &options))
}

/// Demands that the neighbour reaches these containers, and that CHECK of the plugins in a directory succeeds for each.
#[track_caller]
fn expect_whole(stage: &Stage, plugins: &Path, containers: &[&str]) {
    let cni = Cni::new([plugins]);
    let list = load_list(&stage.podman.path("net.d"), "n").unwrap();
    for name in containers {
        let (attachment, result) = cache::attachment(&stage.podman, &cni, "n", name);
        let address = result["ips"][0]["address"].as_str().unwrap_or_default();
        let address = address.split('/').next().unwrap_or_default();
        let to = match port(name) {
            Some(port) => format!("{HOST}:{port}"),
            None => format!("{address}:80"),
        };
        expect_answer(&stage.neighbour, &to, name, NEIGHBOUR);
        // CHECK of upstream's portmap 1.1.1 looks for the rules of IPv4 in ip6tables, and fails after its own ADD, too.
        if plugins == peer_dir() && port(name).is_some() {
            continue;
        }
        let checked = cni.check(&list, &attachment);
        assert!(checked.is_ok(), "{name}: {checked:?}");
    }
}

/// Containers of `first`; then `second` takes over; then `first` again.
fn swap(first: &Path, second: &Path) {
    let stage = Stage::new();
    let podman = &stage.podman;
    use_plugins(&podman.host, first);
    stage.dual_network("n", 81);
    start(&stage, "c1");
    start(&stage, "c2");
    expect_whole(&stage, first, &["c1", "c2"]);
    // A connection that outlives both changes.
    let mut connection = connect(&stage, "c2");

    use_plugins(&podman.host, second);
    expect_whole(&stage, second, &["c1", "c2"]);
    let mut unique = start(&stage, "c3");
    unique.extend(start(&stage, "c4"));
    assert_eq!(unique.iter().collect::<BTreeSet<_>>().len(), 4);
    assert_eq!(state::leases("n").len(), 8);
    expect_whole(&stage, second, &["c3", "c4"]);

    use_plugins(&podman.host, first);
    expect_whole(&stage, first, &["c1", "c2", "c3", "c4"]);
    expect_connected(&mut connection);
    // DEL of what the second one has added, and ADD.
    podman.run(&["network", "reload", "c4"]);
    expect_whole(&stage, first, &["c4"]);
    stage.remove("c3");

    // DEL of what the first one has added.
    use_plugins(&podman.host, second);
    podman.run(&["network", "reload", "c2"]);
    expect_whole(&stage, second, &["c1", "c2", "c4"]);
    stage.remove("c1");
    let mut list = load_list(&podman.path("net.d"), "n").unwrap();
    stage.remove_all();

    // Upstream does not know our records. GC, of a later version of the specification than Podman's lists, does.
    list.cni_version = "1.1.0".into();
    Cni::new([bin_dir()]).gc(&list, Some(&[])).unwrap();
    stage.expect_nothing_left();
}

/// Connects the neighbour to port 81 of a container. Returns both ends.
#[track_caller]
fn connect(stage: &Stage, name: &str) -> (TcpStream, TcpStream) {
    let container = stage.podman.container(name);
    let listener = container.enter(|| TcpListener::bind("0.0.0.0:81"));
    let to = format!("{HOST}:{}", port(name).unwrap_or_default() + 80);
    let client = stage.neighbour.enter(|| TcpStream::connect(&to));
    let (server, _) = listener.unwrap().accept().unwrap();
    (client.unwrap(), server)
}

/// Demands that a connection still works.
#[track_caller]
fn expect_connected((client, server): &mut (TcpStream, TcpStream)) {
    let limit = Duration::from_secs(5) * patience();
    server.set_read_timeout(Some(limit)).unwrap();
    client.write_all(b"still here").unwrap();
    server.read_exact(&mut [0; 10]).unwrap();
}

#[test]
fn the_peer_takes_over_from_ours_and_gives_back() {
    swap(&bin_dir(), &peer_dir());
}

#[test]
fn ours_take_over_from_the_peer_and_give_back() {
    swap(&peer_dir(), &bin_dir());
}
