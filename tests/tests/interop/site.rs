//! Hosts on which the cases run.

use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use testkit::dhcp::{self, Pool, Program, Server};
use testkit::{Container, Host, Node, Service, wire};

use crate::exchange::eventually;

/// The container of all cases.
pub(crate) const ID: &str = "c1";

/// The hardware address of interfaces that a site creates.
pub(crate) const MAC: &str = "02:00:00:00:00:01";

/// A host, the container to attach, and what else there must be.
pub(crate) struct Site {
    /// The container, until its end.
    container: Option<Container>,
    /// `CNI_IFNAME`
    pub(crate) ifname: &'static str,
    /// The result of the plugins before the first one of the case, in version 1.0.0.
    pub(crate) previous: Option<Value>,
    _others: Vec<Container>,
    _server: Option<Server>,
    _services: Vec<Service>,
    pub(crate) host: Host,
}

impl Site {
    fn new(host: Host) -> Site {
        let container = host.container(ID);
        set_dad(&host, "0");
        set_dad(&container, "0");
        Site {
            container: Some(container),
            ifname: "eth0",
            previous: None,
            _others: Vec::new(),
            _server: None,
            _services: Vec::new(),
            host,
        }
    }

    #[track_caller]
    pub(crate) fn container(&self) -> &Container {
        self.container.as_ref().expect("the container lives")
    }

    /// Ends the container, as a runtime does that sends no DEL.
    pub(crate) fn end_container(&mut self) {
        self.container = None;
    }

    pub(crate) fn with_service(mut self, service: Service) -> Site {
        self._services.push(service);
        self
    }
}

/// Switches duplicate address detection of new links, which takes a second or two for each address.
fn set_dad(node: &impl Node, value: &str) {
    node.set_sysctl("net/ipv6/conf/default/accept_dad", value);
}

/// Only a container.
pub(crate) fn bare() -> Site {
    Site::new(Host::new())
}

/// The same with duplicate address detection.
pub(crate) fn with_dad() -> Site {
    let site = bare();
    set_dad(&site.host, "1");
    set_dad(site.container(), "1");
    site
}

/// A host with the bridge `cni0` of an operator: with an address of its own, and down.
pub(crate) fn with_bridge() -> Site {
    let site = bare();
    site.host.ip_batch(&[
        "link add cni0 type bridge forward_delay 400",
        "link set cni0 address 02:00:00:00:00:b1 addrgenmode none",
        "addr add 10.1.0.1/24 dev cni0",
    ]);
    site
}

/// The same for the interface `lo`.
pub(crate) fn loopback() -> Site {
    Site {
        ifname: "lo",
        ..bare()
    }
}

/// A host whose link `m0` leads to the gateways 10.1.0.1 and fd00:1::1, and has the default routes.
pub(crate) fn uplink() -> Site {
    let mut site = bare();
    let router = wire(&site.host, "m0", "router", &["10.1.0.1/24", "fd00:1::1/64"]);
    site.host.ip_batch(&[
        &format!("link set m0 address {MAC}"),
        "addr add 10.1.0.2/24 dev m0",
        "addr add fd00:1::2/64 dev m0 nodad",
        "route add default via 10.1.0.1",
        "route add default via fd00:1::1",
    ]);
    site._others.push(router);
    site
}

/// The same; `m0` is in the container, under the name `eth1`.
pub(crate) fn uplink_in_container() -> Site {
    let mut site = bare();
    let router = wire(&site.host, "m0", "router", &["10.1.0.1/24", "fd00:1::1/64"]);
    site.host
        .ip_batch(&["link set m0 down", "link set m0 name eth1 netns c1"]);
    site.container().ip_batch(&[
        &format!("link set eth1 address {MAC} addrgenmode none up"),
        "addr add 10.1.0.2/24 dev eth1",
    ]);
    site._others.push(router);
    site
}

/// A container with `eth0` on the host's bridge `cni0` by `veth1`, as after the bridge plugin, and a host with an
/// address outside, 192.0.2.1.
pub(crate) fn bridged() -> Site {
    let mut site = bare();
    let outside = wire(&site.host, "ens1", "outside", &["192.0.2.2/24"]);
    site.host.ip_batch(&[
        "addr add 192.0.2.1/24 dev ens1",
        "link add cni0 type bridge",
        "link set cni0 address 02:00:00:00:00:b0 addrgenmode none up",
        "addr add 10.1.0.1/24 dev cni0",
        "addr add fd00:1::1/64 dev cni0 nodad",
        &format!("link add veth1 address 02:00:00:00:00:99 type veth peer name eth0 address {MAC} netns c1"),
        "link set veth1 addrgenmode none master cni0 up",
    ]);
    site.container().ip_batch(&[
        "link set lo up",
        "link set eth0 addrgenmode none",
        "addr add 10.1.0.5/24 dev eth0",
        "addr add fd00:1::5/64 dev eth0 nodad",
        "link set eth0 up",
        "route add default via 10.1.0.1",
        "route add default via fd00:1::1",
    ]);
    site._others.push(outside);
    site.previous = Some(json!({
        "interfaces": [
            {"name": "cni0", "mac": "02:00:00:00:00:b0"},
            {"name": "veth1", "mac": "02:00:00:00:00:99"},
            {"name": "eth0", "mac": MAC, "sandbox": "/run/netns/c1"},
        ],
        "ips": [
            {"address": "10.1.0.5/24", "gateway": "10.1.0.1", "interface": 2},
            {"address": "fd00:1::5/64", "gateway": "fd00:1::1", "interface": 2},
        ],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        "dns": {"nameservers": ["10.1.0.53"]},
    }));
    site
}

/// The same with IPv4 only.
pub(crate) fn bridged_ipv4() -> Site {
    let mut site = bridged();
    site.container()
        .ip_batch(&["addr del fd00:1::5/64 dev eth0"]);
    if let Some(previous) = &mut site.previous {
        for list in ["ips", "routes"] {
            previous[list].as_array_mut().expect("a list").truncate(1);
        }
    }
    site
}

/// A container with `eth0` on a segment with dnsmasq, and the DHCP daemon `daemon`, a program and its arguments.
pub(crate) fn lan(daemon: &[&str]) -> Site {
    let mut site = bare();
    dhcp::lan(&site.host);
    let node = dhcp::node(&site.host, "server", &["10.20.0.1/24"]);
    let pool = Pool {
        router: Some("10.20.0.1".to_owned()),
        lease: 120,
        renew: 60,
        rebind: 100,
        ..Pool::short("10.20.0.50", "10.20.0.200")
    };
    let (host, program) = (&site.host, Program::Dnsmasq);
    let routes =
        "--dhcp-option=option:classless-static-route,10.9.0.0/16,10.20.0.9,0.0.0.0/0,10.20.0.1";
    site._server = Some(Server::start(
        host, program, &node, "dnsmasq", &pool, routes,
    ));
    dhcp::connect(&site.host, site.container(), &[]);
    site.container()
        .ip_batch(&[&format!("link set eth0 address {MAC}")]);
    site.host.ip_batch(&[
        "link set lan0 address 02:00:00:00:00:b0",
        "link set server address 02:00:00:00:00:b1",
        "link set c1 address 02:00:00:00:00:b2",
    ]);
    site._others.push(node);
    let site = site.with_service(Service::start(daemon));
    eventually("the daemon listens", || {
        UnixStream::connect("/run/cni/dhcp.sock").is_ok()
    });
    site
}
