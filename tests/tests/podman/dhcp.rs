//! Networks whose addresses come from a DHCP server.

use std::fs;
use std::os::unix::net::UnixStream;

use testkit::dhcp::{self, LAN, Pool, Program, Server};
use testkit::{Node as _, Service, bin_dir};

use crate::{Stage, expect_answer, wait_until};

/// The daemon's socket.
const SOCKET: &str = "/run/cni/dhcp.sock";

/// The container's address, as the server knows it.
fn leased(stage: &Stage) -> Option<String> {
    let file = stage.podman.path("dnsmasq/leases");
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split(' ').nth(2).map(String::from)
}

#[test]
fn macvlan_containers_get_addresses_of_the_network() {
    let (stage, (server, daemon)) = Stage::with(|host| {
        dhcp::lan(host);
        host.ip_batch(&[
            "link add uplink type veth peer name port",
            &format!("link set port addrgenmode none master {LAN} up"),
            "link set uplink addrgenmode none up",
        ]);
        let server = dhcp::node(host, "server", &["10.20.0.1/24"]);
        let program = bin_dir().join("dhcp").display().to_string();
        let daemon = Service::start(&[&program, "daemon"]);
        wait_until("the daemon listens", || UnixStream::connect(SOCKET).is_ok());
        (server, daemon)
    });
    let podman = &stage.podman;
    let pool = Pool {
        router: Some("10.20.0.1".into()),
        lease: 120,
        renew: 60,
        rebind: 100,
        ..Pool::short("10.20.0.50", "10.20.0.200")
    };
    let dnsmasq = Server::start(
        &podman.host,
        Program::Dnsmasq,
        &server,
        "dnsmasq",
        &pool,
        "",
    );
    stage.network("lan", &["--driver=macvlan", "--opt=parent=uplink"]);
    stage.start("c1", &["--network=lan"]);
    let about = podman.inspect("c1");
    let address = about["NetworkSettings"]["Networks"]["lan"]["IPAddress"].as_str();
    let address = address.unwrap_or_default();
    assert_eq!(
        leased(&stage).as_deref(),
        Some(address),
        "{}",
        dnsmasq.log()
    );
    expect_answer(&server, &format!("{address}:80"), "c1", "10.20.0.1");

    podman.run(&["restart", "--time", "5", "c1"]);
    wait_until("there is a lease", || leased(&stage).is_some());
    let address = leased(&stage).unwrap_or_default();
    expect_answer(&server, &format!("{address}:80"), "c1", "10.20.0.1");

    stage.remove("c1");
    wait_until("the lease is released", || leased(&stage).is_none());
    stage.end();
    drop(daemon);
}
