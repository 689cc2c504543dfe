//! ADD: the result, the kernel's state, and connectivity.

use crate::common::{dual, fixed, host_end, ipv4, ptp, reaches, with_ipam};
use serde_json::{Value, json};
use testkit::{
    Host, Node, VERSIONS, default_route, leases, reused_addresses_are_reachable, run_all, state,
};

/// The result in `version`, with the host's end `veth`.
fn expected(version: &str, host_mac: &Value, container_mac: &Value, veth: &str) -> Value {
    let mut result = match version {
        "0.1.0" | "0.2.0" => {
            return json!({
                "cniVersion": version, "dns": {"nameservers": ["10.1.0.53"]},
                "ip4": {"ip": "10.1.0.2/24", "gateway": "10.1.0.1", "routes": [{"dst": "0.0.0.0/0"}]},
                "ip6": {"ip": "fd00:1::2/64", "gateway": "fd00:1::1", "routes": [{"dst": "::/0"}]},
            });
        }
        _ => json!({
            "cniVersion": version, "dns": {"nameservers": ["10.1.0.53"]},
            "interfaces": [
                {"name": veth, "mac": host_mac},
                {"name": "eth0", "mac": container_mac, "sandbox": "/run/netns/c1"},
            ],
            "ips": [
                {"interface": 1, "address": "10.1.0.2/24", "gateway": "10.1.0.1"},
                {"interface": 1, "address": "fd00:1::2/64", "gateway": "fd00:1::1"},
            ],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        }),
    };
    if version < "1.0.0" {
        result["ips"][0]["version"] = "4".into();
        result["ips"][1]["version"] = "6".into();
    }
    if version == "1.1.0" {
        result["interfaces"][0]["mtu"] = 1500.into();
        result["interfaces"][1]["mtu"] = 1500.into();
    }
    result
}

#[test]
fn every_version() {
    let host = Host::new();
    for version in VERSIONS {
        let container = host.container("c1");
        let config = dual(json!({"cniVersion": version, "dns": {"nameservers": ["10.1.0.53"]}}));
        let run = ptp().add(&container, &config).expect_ok();
        assert_eq!(run.stderr_text(), "");
        let links = host.link_names();
        let [_lo, veth] = &links[..] else {
            panic!("{links:?}")
        };
        let result = run.json();
        let host_mac = host.link_attribute(veth, "/address");
        let container_mac = container.link_attribute("eth0", "/address");
        assert_eq!(result, expected(version, &host_mac, &container_mac, veth));
        reaches(&container, "10.1.0.1");
        reaches(&container, "fd00:1::1");
        reaches(&host, "10.1.0.2");
        reaches(&host, "fd00:1::2");

        let check = ptp().check(&container, &run.with_prev());
        match version >= "0.4.0" {
            true => drop(check.expect_ok()),
            false => drop(check.expect_error(1)),
        }
        for _ in 0..2 {
            let del = ptp().del(&container, &run.with_prev()).expect_ok();
            assert_eq!((del.stdout_text(), del.stderr_text()), Default::default());
            assert_eq!(host.link_names(), ["lo"]);
            assert_eq!(container.link_names(), ["lo"]);
            assert_eq!(leases("net"), [""; 0]);
        }
        host.command(&["rm", "-r", "/var/lib/cni/networks"]);
    }
}

#[test]
fn routes_of_both_ends() {
    let host = Host::new();
    let container = host.container("c1");
    let run = ptp().add(&container, &dual(json!({}))).expect_ok();
    let veth = host_end(&run);
    assert_eq!(
        container.routes("-4"),
        [
            "10.1.0.0/24 via 10.1.0.1 dev eth0 src 10.1.0.2",
            "10.1.0.1 dev eth0 scope link src 10.1.0.2",
            "default via 10.1.0.1 dev eth0",
        ]
    );
    let ipv6 = container.routes("-6");
    for route in [
        "fd00:1::1 dev eth0 src fd00:1::2 metric 1024 pref medium",
        "fd00:1::/64 via fd00:1::1 dev eth0 src fd00:1::2 metric 1024 pref medium",
        "default via fd00:1::1 dev eth0 metric 1024 pref medium",
    ] {
        assert!(ipv6.iter().any(|r| r == route), "{route}: {ipv6:?}");
    }
    assert_eq!(ipv6.len(), 3, "{ipv6:?}");
    assert_eq!(host.addresses(&veth), ["10.1.0.1/32", "fd00:1::1/128"]);
    assert_eq!(
        host.routes("-4"),
        [format!("10.1.0.2 dev {veth} scope host")]
    );
    assert_eq!(
        host.routes("-6"),
        [format!("fd00:1::2 dev {veth} metric 1024 pref medium")]
    );
    assert_eq!(host.sysctl("net/ipv4/ip_forward"), "1");
    assert_eq!(host.sysctl("net/ipv6/conf/all/forwarding"), "1");
    assert_eq!(host.sysctl(&format!("net/ipv6/conf/{veth}/accept_ra")), "0");
    // The kernel does not add the connected route again in the background.
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(container.routes("-6"), ipv6);
    reaches(&container, "fd00:1::1");
}

#[test]
fn containers_reach_each_other_through_the_host() {
    let host = Host::new();
    let (c1, c2) = (host.container("c1"), host.container("c2"));
    for container in [&c1, &c2] {
        ptp().add(container, &dual(json!({}))).expect_ok();
    }
    reaches(&c1, "10.1.0.3");
    reaches(&c2, "10.1.0.2");
    reaches(&c1, "fd00:1::3");
    reaches(&c2, "fd00:1::2");
}

#[test]
fn two_interfaces_of_one_container() {
    let host = Host::new();
    let container = host.container("c1");
    let net = |number: u8| {
        let subnet = format!("10.{number}.0.0/24");
        let ipam = json!({"type": "host-local", "subnet": subnet});
        with_ipam(ipam, json!({"name": format!("net{number}")}))
    };
    ptp().add(&container, &net(1)).expect_ok();
    let second = ptp().command("ADD").container(&container).ifname("net1");
    second.config(&net(2)).run().expect_ok();
    reaches(&container, "10.1.0.1");
    reaches(&container, "10.2.0.1");
    ptp().del(&container, &net(1)).expect_ok();
    reaches(&container, "10.2.0.1");
}

/// The kernel has one route to the gateway in the container, which leads to the first interface.
#[test]
fn a_second_interface_of_one_network_is_refused() {
    let host = Host::new();
    let container = host.container("c1");
    let config = dual(json!({}));
    let second = |verb: &str, config: &Value| {
        let call = ptp().command(verb).container(&container).ifname("net1");
        call.config(config).run()
    };
    let first = ptp().add(&container, &config).expect_ok();
    let before = state(&host);
    let ipv6 = json!({"type": "host-local", "ranges": [[{"subnet": "fd00:1::/64"}]]});
    let ipv6 = with_ipam(ipv6, json!({}));
    let other_gateway = fixed(&[("10.1.0.9/24", "10.1.0.254")], json!([]));
    for (config, route) in [
        (&config, "10.1.0.1/32"),
        (&ipv6, "fd00:1::1/128"),
        (&other_gateway, "10.1.0.0/24"),
    ] {
        second("ADD", config)
            .expect_error(999)
            .mentions(&format!("failed to add route {route}: file exists"))
            .mentions("interface \"eth0\" of the container /run/netns/c1 has this route");
        before.assert_same(&state(&host));
        second("DEL", config).expect_ok();
        before.assert_same(&state(&host));
    }
    ptp().check(&container, &first.with_prev()).expect_ok();
    reaches(&container, "10.1.0.1");
    reaches(&container, "fd00:1::1");
    ptp().del(&container, &config).expect_ok();
    second("ADD", &config).expect_ok();
    reaches(&container, "10.1.0.1");
    reaches(&container, "fd00:1::1");
}

/// Each of them may be refused because of another one.
#[test]
fn of_interfaces_added_at_once_at_most_one_is_attached() {
    let host = Host::new();
    let container = host.container("c1");
    let config = dual(json!({}));
    let call = |verb: &str, number: usize, config: &Value| {
        let call = ptp().command(verb).container(&container);
        call.ifname(&format!("net{number}")).config(config)
    };
    for _ in 0..4 {
        let runs = run_all((0..4).map(|number| call("ADD", number, &config)));
        let runs: Vec<_> = runs.iter().enumerate().collect();
        let added: Vec<_> = runs.iter().filter(|(_, run)| run.is_ok()).collect();
        assert!(added.len() <= 1, "{:?}", added.len());
        assert_eq!(container.link_names().len(), 1 + added.len());
        assert_eq!(host.link_names().len(), 1 + added.len());
        assert_eq!(leases("net").len(), 2 * added.len());
        for (number, run) in added {
            let check = call("CHECK", *number, &run.with_prev());
            check.run().expect_ok();
            reaches(&container, "10.1.0.1");
            reaches(&container, "fd00:1::1");
            call("DEL", *number, &config).run().expect_ok();
        }
    }
}

#[test]
fn mtu_of_both_ends() {
    let host = Host::new();
    for (mtu, expected) in [(json!(1400), 1400), (json!(0), 1500), (json!(-1), 1500)] {
        let container = host.container("c1");
        let config = ipv4(json!({"mtu": mtu}));
        let run = ptp().add(&container, &config).expect_ok();
        assert_eq!(container.link_attribute("eth0", "/mtu"), expected);
        assert_eq!(host.link_attribute(&host_end(&run), "/mtu"), expected);
        ptp().check(&container, &run.with_prev()).expect_ok();
        ptp().del(&container, &config).expect_ok();
    }
}

#[test]
fn mtu_of_the_default_route() {
    let host = Host::new();
    default_route(&host, 1380);
    let container = host.container("c1");
    let run = ptp()
        .add(&container, &ipv4(json!({"mtu": "auto"})))
        .expect_ok();
    assert_eq!(container.link_attribute("eth0", "/mtu"), 1380);
    assert_eq!(host.link_attribute(&host_end(&run), "/mtu"), 1380);
    assert_eq!(run.json()["interfaces"][1]["mtu"], 1380);
    ptp().check(&container, &run.with_prev()).expect_ok();
}

#[test]
fn link_options_of_both_ends() {
    let host = Host::new();
    let container = host.container("c1");
    let keys = json!({
        "txQueueLen": 500, "numQueues": 2, "gsoMaxSize": 20000, "groMaxSize": 30000,
    });
    let run = ptp().add(&container, &ipv4(keys)).expect_ok();
    for link in [
        container.link("eth0").unwrap(),
        host.link(&host_end(&run)).unwrap(),
    ] {
        assert_eq!(link["txqlen"], 500);
        assert_eq!(link["num_tx_queues"], 2);
        assert_eq!(link["gso_max_size"], 20000);
        assert_eq!(link["gro_max_size"], 30000);
    }
    ptp().check(&container, &run.with_prev()).expect_ok();
    container.ip("link set eth0 txqueuelen 7");
    ptp()
        .check(&container, &run.with_prev())
        .expect_error(999)
        .mentions("Interface eth0 has 7 where txQueueLen is 500");
}

/// ADD, CHECK and DEL with static addresses, which answer. Returns the container's routes.
#[track_caller]
fn connects(addresses: &[(&str, &str)], routes: Value, family: &str) -> Vec<String> {
    let host = Host::new();
    let container = host.container("c1");
    let config = fixed(addresses, routes);
    let run = ptp().add(&container, &config).expect_ok();
    let present = container.routes(family);
    for (address, gateway) in addresses {
        reaches(&container, gateway);
        reaches(&host, address.split('/').next().unwrap());
    }
    ptp().check(&container, &run.with_prev()).expect_ok();
    ptp().del(&container, &config).expect_ok();
    assert_eq!(host.link_names(), ["lo"]);
    present
}

#[test]
fn a_host_address_with_a_gateway_of_another_network() {
    let routes = connects(
        &[("10.1.0.2/32", "169.254.1.1")],
        json!([{"dst": "0.0.0.0/0"}]),
        "-4",
    );
    assert_eq!(
        routes,
        [
            "10.1.0.2 via 169.254.1.1 dev eth0 src 10.1.0.2",
            "169.254.1.1 dev eth0 scope link src 10.1.0.2",
            "default via 169.254.1.1 dev eth0",
        ]
    );
    connects(
        &[("fd00:1::2/128", "fd00:9::1")],
        json!([{"dst": "::/0"}]),
        "-6",
    );
}

#[test]
fn two_addresses_of_one_subnet() {
    let routes = connects(
        &[("10.1.0.2/24", "10.1.0.1"), ("10.1.0.3/24", "10.1.0.1")],
        json!([]),
        "-4",
    );
    assert_eq!(
        routes,
        [
            "10.1.0.0/24 via 10.1.0.1 dev eth0 src 10.1.0.2",
            "10.1.0.1 dev eth0 scope link src 10.1.0.2",
        ]
    );
    connects(
        &[("fd00:1::2/64", "fd00:1::1"), ("fd00:1::3/64", "fd00:1::1")],
        json!([]),
        "-6",
    );
    // With a gateway each: the first one routes the subnet.
    connects(
        &[("10.1.0.2/24", "10.1.0.1"), ("10.1.0.3/24", "10.1.0.254")],
        json!([]),
        "-4",
    );
}

#[test]
fn a_network_of_two_addresses() {
    connects(&[("10.1.0.1/31", "10.1.0.0")], json!([]), "-4");
    connects(&[("fd00:1::1/127", "fd00:1::")], json!([]), "-6");
}

#[test]
fn route_attributes_reach_the_kernel() {
    let routes = connects(
        &[("10.1.0.2/24", "10.1.0.1")],
        json!([
            {"dst": "10.50.0.0/16", "mtu": 1300, "advmss": 1200, "priority": 7},
            {"dst": "10.51.0.0/16", "gw": "10.1.0.9"},
            {"dst": "10.52.0.0/16", "scope": 253},
        ]),
        "-4",
    );
    for route in [
        "10.50.0.0/16 via 10.1.0.1 dev eth0 metric 7 mtu 1300 advmss 1200",
        "10.51.0.0/16 via 10.1.0.9 dev eth0",
        "10.52.0.0/16 dev eth0 scope link",
    ] {
        assert!(
            routes.iter().any(|r| r.trim() == route),
            "{route}: {routes:?}"
        );
    }
}

#[test]
fn dns_of_the_configuration_replaces_that_of_ipam() {
    let dns = |own: Value| {
        let host = Host::new();
        let container = host.container("c1");
        let addresses = json!([{"address": "10.1.0.2/24", "gateway": "10.1.0.1"}]);
        let ipam = json!({
            "type": "static", "addresses": addresses,
            "dns": {"nameservers": ["10.9.9.9"], "domain": "ipam.example"},
        });
        let run = ptp().add(&container, &with_ipam(ipam, own)).expect_ok();
        run.json()["dns"].clone()
    };
    let of_ipam = json!({"nameservers": ["10.9.9.9"], "domain": "ipam.example"});
    assert_eq!(dns(json!({})), of_ipam);
    assert_eq!(dns(json!({"dns": {"domain": ""}})), of_ipam);
    assert_eq!(
        dns(json!({"dns": {"search": ["a"]}})),
        json!({"search": ["a"]})
    );
    assert_eq!(dns(json!({"dns": {"nameservers": []}})), Value::Null);
}

/// Host and neighbours have cached the MAC address of the container that had the address before.
#[test]
fn a_reused_address_is_reachable_at_once() {
    let host = Host::new();
    let neighbour = host.container("neighbour");
    let other = fixed(
        &[("10.1.0.9/24", "10.1.0.1"), ("fd00:1::9/64", "fd00:1::1")],
        json!([]),
    );
    ptp().add(&neighbour, &other).expect_ok();
    let config = fixed(
        &[("10.1.0.10/24", "10.1.0.1"), ("fd00:1::10/64", "fd00:1::1")],
        json!([]),
    );
    let reused = ["10.1.0.10", "fd00:1::10"];
    reused_addresses_are_reachable(&host, &neighbour, &ptp(), &config, &reused);
    let host = Host::new();
    reused_addresses_are_reachable(&host, &host, &ptp(), &config, &reused);
}
