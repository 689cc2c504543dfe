//! `cnitool repair`: what others have deleted of living attachments.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::{Value, json};
use support::{Setup, path};
use testkit::{Container, Node, Run};

/// A network as Kubernetes has it, with all plugins that can be repaired.
fn network(interface: &Value, backend: &str) -> Value {
    let portmap =
        json!({"type": "portmap", "backend": backend, "capabilities": {"portMappings": true}});
    json!({
        "cniVersion": "1.1.0", "name": "net",
        "plugins": [
            interface,
            portmap,
            {"type": "firewall", "backend": backend},
            {"type": "bandwidth", "ingressRate": 10_000_000, "ingressBurst": 1_000_000,
             "egressRate": 15_000_000, "egressBurst": 1_000_000},
            {"type": "tuning", "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}},
        ]
    })
}

fn ipam() -> Value {
    json!({"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd01::/64"}]]})
}

fn bridge() -> Value {
    json!({"type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "ipam": ipam()})
}

/// A host with two containers of the network. Port 8080 of 192.0.2.1 leads to port 80 of the first.
fn attached(list: &Value) -> (Setup, [Container; 2]) {
    let setup = Setup::with_list(list);
    setup.host.ip("link add outside type veth peer name beyond");
    setup.host.ip("address add 192.0.2.1/24 dev outside");
    setup.host.ip("link set outside up");
    setup.host.ip("link set beyond up");
    let containers = ["c1", "c2"].map(|name| setup.host.container(name));
    for (container, port) in containers.iter().zip([8080, 8081]) {
        let ports =
            json!({"portMappings": [{"hostPort": port, "containerPort": 80, "protocol": "tcp"}]});
        let call = setup.call(&["add", "net", path(container)]);
        call.env("CAP_ARGS", ports.to_string()).run().expect_ok();
    }
    (setup, containers)
}

/// Serves port 80 of the container: what is sent there comes back.
fn serve(container: &Container) {
    let listener = container.enter(|| TcpListener::bind("0.0.0.0:80"));
    let listener = listener.expect("listen");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            thread::spawn(move || {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() {
                    let _ = stream.write_all(&byte);
                }
            });
        }
    });
}

fn connect(setup: &Setup) -> TcpStream {
    let stream = setup.host.enter(|| TcpStream::connect("192.0.2.1:8080"));
    stream.expect("connect to the mapped port")
}

#[track_caller]
fn echo(stream: &mut TcpStream) {
    let mut byte = [0];
    stream.write_all(b"x").expect("send");
    stream.read_exact(&mut byte).expect("receive");
    assert_eq!(&byte, b"x");
}

/// Rules, links, qdiscs and routes with the numbers that the kernel gave them, so that what is made again differs. What
/// the kernel changes by itself some time after a change, such as the state of a link, is left out.
fn identities(setup: &Setup) -> Vec<String> {
    let lines = |command: &str| -> Vec<String> {
        let words: Vec<&str> = command.split(' ').collect();
        let text = setup.host.command(&words);
        text.lines().map(str::to_owned).collect()
    };
    let links = lines("ip -o link").into_iter();
    let links = links.map(|line| line.split('<').next().unwrap_or_default().to_owned());
    let routes = lines("ip route show table all").into_iter();
    let routes = routes.filter(|line| !line.contains("fe80:") && !line.contains("ff00:"));
    let routes = routes.map(|line| line.replace(" linkdown", ""));
    let mut all = lines("nft -s -a list ruleset");
    all.extend(lines("tc qdisc"));
    all.extend(links.chain(routes));
    all
}

#[track_caller]
fn assert_untouched(before: &[String], after: &[String]) {
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        let only = these.iter().filter(|line| !those.contains(line));
        only.cloned().collect()
    };
    let (gone, new) = (only(before, after), only(after, before));
    assert!(gone.is_empty() && new.is_empty(), "{gone:#?}\n{new:#?}");
}

fn states(report: &Value) -> Vec<(String, String, String)> {
    let list = report["attachments"].as_array().expect("attachments");
    let findings = list
        .iter()
        .flat_map(|attachment| attachment["findings"].as_array().expect("findings"));
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    findings
        .map(|finding| {
            (
                text(finding, "type"),
                text(finding, "state"),
                text(finding, "error"),
            )
        })
        .collect()
}

#[track_caller]
fn expect_whole(setup: &Setup) {
    let before = identities(setup);
    let report = setup.run(&["repair", "--json"]).expect_ok().json();
    assert_eq!(states(&report), []);
    assert_untouched(&before, &identities(setup));
}

fn failing(run: Run) -> Run {
    assert_eq!(run.status.code(), Some(1), "{}", run.report());
    run
}

/// Deletes something of attachments that live on, and has `kinds` put it back.
#[track_caller]
fn restores(setup: &Setup, containers: &[Container; 2], kinds: &[&str], delete: impl Fn()) {
    let connection = &mut connect(setup);
    echo(connection);
    expect_whole(setup);
    // Without the numbers of actions of filters, which the kernel counts up.
    let snapshot = || setup.host.snapshot().without(" ref 1 bind 1");
    let whole = snapshot();
    let cache = || fs::read_to_string("/var/lib/cni/results/net-c1-eth0").ok();
    let cached = cache();
    let inside = containers.each_ref().map(|c| c.ip("address"));
    delete();
    let broken = identities(setup);
    let run = failing(setup.run(&["repair", "--dry-run", "--json"]));
    let found: Vec<String> = states(&run.json())
        .into_iter()
        .map(|(kind, state, error)| {
            assert_eq!((state.as_str(), error.as_str()), ("missing", ""), "{kind}");
            kind
        })
        .collect();
    assert_eq!(found, kinds, "{}", run.report());
    assert_untouched(&broken, &identities(setup));
    let run = setup.run(&["repair"]).expect_ok();
    whole.assert_same(&snapshot());
    assert_eq!(
        containers.each_ref().map(|c| c.ip("address")),
        inside,
        "{}",
        run.report()
    );
    assert_eq!(cache(), cached);
    expect_whole(setup);
    echo(connection);
    echo(&mut self::connect(setup));
}

fn rules_and_qdiscs_are_put_back(backend: &str, flush: &[&[&str]]) {
    let (setup, containers) = attached(&network(&bridge(), backend));
    serve(&containers[0]);
    let both = ["portmap", "firewall", "portmap", "firewall"];
    restores(&setup, &containers, &both, || {
        for command in flush {
            setup.host.command(command);
        }
    });
    let links = setup.host.link_names();
    let links = links.iter().filter(|name| name.starts_with("bwp"));
    let links: Vec<&String> = links.collect();
    restores(&setup, &containers, &["bandwidth"], || {
        setup.host.ip(&format!("link delete {}", links[0]));
    });
    restores(&setup, &containers, &["bandwidth", "bandwidth"], || {
        for link in &links {
            let delete = ["tc", "qdisc", "delete", "dev", link.as_str(), "root"];
            setup.host.command(&delete);
        }
    });
    restores(&setup, &containers, &["tuning"], || {
        containers[1].set_sysctl("net/ipv4/conf/eth0/arp_filter", "0");
    });
    for container in &containers {
        setup.verb("del", container).expect_ok();
    }
}

#[test]
fn rules_of_nftables_and_qdiscs_are_put_back() {
    rules_and_qdiscs_are_put_back("nftables", &[&["nft", "flush", "ruleset"]]);
}

#[test]
fn rules_of_iptables_and_qdiscs_are_put_back() {
    let flush: [&[&str]; 4] = [
        &["iptables", "-F"],
        &["iptables", "-t", "nat", "-F"],
        &["ip6tables", "-F"],
        &["ip6tables", "-t", "nat", "-F"],
    ];
    rules_and_qdiscs_are_put_back("iptables", &flush);
}

#[test]
fn attachments_that_are_gone_are_skipped() {
    let (setup, containers) = attached(&network(&bridge(), "nftables"));
    containers[0].delete();
    containers[1].ip("link delete eth0");
    setup.host.command(&["nft", "flush", "ruleset"]);
    let before = identities(&setup);
    let report = setup.run(&["repair", "--json"]).expect_ok().json();
    let list = report["attachments"].as_array().expect("attachments");
    let mut reasons: Vec<_> = list
        .iter()
        .map(|attachment| (&attachment["state"], &attachment["reason"]))
        .map(|(state, reason)| format!("{state} {reason}"))
        .collect();
    reasons.sort();
    assert_eq!(
        reasons,
        [
            r#""skipped" "interface missing""#,
            r#""skipped" "namespace gone""#
        ]
    );
    assert_untouched(&before, &identities(&setup));
}

#[test]
fn what_cannot_be_repaired_is_reported() {
    let list = json!({
        "cniVersion": "1.1.0", "name": "net",
        "plugins": [
            {"type": "ptp", "ipam": ipam()},
            {"type": "portmap", "backend": "nftables", "capabilities": {"portMappings": true}},
            {"type": "sbr"},
        ]
    });
    let (setup, containers) = attached(&list);
    containers[0].ip("rule flush");
    setup.host.command(&["nft", "flush", "ruleset"]);
    let run = failing(setup.run(&["repair", "--json"]));
    let of = |kind: &str| -> Vec<String> {
        let states = states(&run.json()).into_iter();
        let own = states.filter(|(of, ..)| of == kind);
        own.map(|(_, state, _)| state).collect()
    };
    assert_eq!(of("portmap"), ["repaired", "repaired"], "{}", run.report());
    assert_eq!(of("sbr"), ["failed"], "{}", run.report());
    let text = failing(setup.run(&["repair", "net"])).stdout_text();
    assert!(text.contains("sbr: failed: "), "{text}");
    assert!(
        text.ends_with("attachments: 2, whole 1, repaired 0, missing 0, failed 1, skipped 0\n"),
        "{text}"
    );
    let none = setup.run(&["repair", "other"]).expect_ok().stdout_text();
    assert!(none.starts_with("attachments: 0,"), "{none}");
}
