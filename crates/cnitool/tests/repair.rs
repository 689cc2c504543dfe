//! `cnitool repair`: what others have deleted of living attachments.

mod support;

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::thread;

use serde_json::{Value, json};
use support::{Setup, path};
use testkit::{Container, Node, Run, bin_dir, needs};

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
    json!({
        "type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd01::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    })
}

fn bridge(backend: &str) -> Value {
    json!({
        "type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "hairpinMode": true, "portIsolation": true,
        "ipMasq": true, "ipMasqBackend": backend, "macspoofchk": true, "raGuard": true, "ipam": ipam(),
    })
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

/// What connections depend on in a container.
fn inside(container: &Container) -> (Value, Vec<String>, Vec<String>) {
    let mac = container.link_attribute("eth0", "/address");
    (mac, container.addresses("eth0"), container.routes("-4"))
}

fn rules(setup: &Setup) -> Vec<String> {
    let text = setup.host.command(&["nft", "-s", "list", "ruleset"]);
    text.lines().map(str::to_owned).collect()
}

/// Detaches the containers, after which nothing may be left of what was put back.
fn detach(setup: &Setup, containers: &[Container; 2]) {
    for container in containers {
        setup.verb("del", container).expect_ok();
    }
    let shown = setup.run(&["show", "--json"]).expect_ok().json();
    assert_eq!(shown["attachments"], json!([]));
    assert_eq!(shown["orphans"], json!([]));
    let is_left = |line: &String| line.contains("cnitool-") || line.contains("10.1.0.");
    let left: Vec<String> = rules(setup).into_iter().filter(is_left).collect();
    assert!(left.is_empty(), "{left:#?}");
    let records = setup.host.snapshot().only_files();
    let records =
        records.filtered(|line| line.starts_with("/run/cni/") && line.contains("cnitool-"));
    assert_eq!(records.lines("host files"), Vec::<&str>::new());
}

/// Deletes something of attachments that live on, and has `kinds` put it back.
#[track_caller]
fn restores(setup: &Setup, containers: &[Container; 2], kinds: &[&str], delete: impl Fn()) {
    let connection = &mut connect(setup);
    echo(connection);
    expect_whole(setup);
    // The order of rules of different attachments has no meaning, nor have their handles, which records contain, and the
    // numbers of actions of filters.
    let is_rule = |line: &str| {
        line.get(..4)
            .is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let is_numbered = |line: &str| line.starts_with("/run/cni/") || line.ends_with(" ref 1 bind 1");
    let is_compared = |line: &str| !is_rule(line) && !is_numbered(line);
    let snapshot = || setup.host.snapshot().filtered(is_compared);
    let whole = (snapshot(), rules(setup));
    let cache = || fs::read_to_string("/var/lib/cni/results/net-c1-eth0").ok();
    let cached = cache();
    let ends = || containers.each_ref().map(inside);
    let connected = ends();
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
    whole.0.assert_same(&snapshot());
    assert_untouched(&whole.1, &rules(setup));
    assert_eq!(whole.1.len(), rules(setup).len());
    assert_eq!(ends(), connected, "{}", run.report());
    assert_eq!(cache(), cached);
    expect_whole(setup);
    echo(connection);
    echo(&mut self::connect(setup));
}

fn rules_and_qdiscs_are_put_back(backend: &str, flush: &[&[&str]]) {
    let (setup, containers) = attached(&network(&bridge(backend), backend));
    serve(&containers[0]);
    let both = [
        "bridge", "portmap", "firewall", "bridge", "portmap", "firewall",
    ];
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
    detach(&setup, &containers);
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

/// The host's end of the first container's pair.
fn host_end(setup: &Setup) -> String {
    let shown = setup.run(&["show", "--json"]).expect_ok().json();
    let attachments = shown["attachments"].as_array().expect("attachments");
    let mut ports = attachments.iter();
    let first = ports.find(|shown| shown["ports"][0]["hostPort"] == 8080);
    let name = &first.expect("the first container")["hostLink"]["name"];
    name.as_str().expect("a name").to_owned()
}

#[test]
fn bridges_ports_and_gateways_are_put_back() {
    let (setup, containers) = attached(&network(&bridge("nftables"), "nftables"));
    serve(&containers[0]);
    let port = host_end(&setup);
    let host = &setup.host;
    restores(&setup, &containers, &["bridge", "bridge"], || {
        host.ip("link delete cni0");
    });
    restores(&setup, &containers, &["bridge"], || {
        host.ip(&format!("link set {port} nomaster"));
    });
    restores(&setup, &containers, &["bridge"], || {
        host.command(&["bridge", "link", "set", "dev", &port, "hairpin", "off"]);
    });
    restores(&setup, &containers, &["bridge"], || {
        host.command(&["bridge", "link", "set", "dev", &port, "isolated", "off"]);
    });
    restores(&setup, &containers, &["bridge", "bridge"], || {
        host.ip("address flush dev cni0 scope global");
    });
    restores(&setup, &containers, &["bridge", "bridge"], || {
        host.command(&["nft", "delete", "table", "bridge", "nat"]);
    });
    detach(&setup, &containers);
}

/// Kernels with VLAN filtering may lack packet filters, so there are none.
#[test]
fn vlans_and_their_gateways_are_put_back() {
    needs(&["bridge-vlan-filtering"]);
    let plugin =
        json!({"type": "bridge", "bridge": "cni0", "isGateway": true, "vlan": 5, "ipam": ipam()});
    let setup =
        Setup::with_list(&json!({"cniVersion": "1.1.0", "name": "net", "plugins": [plugin]}));
    let container = setup.host.container("c1");
    setup.verb("add", &container).expect_ok();
    let shown = setup.run(&["show", "--json"]).expect_ok().json();
    let port = shown["attachments"][0]["hostLink"]["name"].as_str();
    let without_vlan = format!("bridge vlan delete dev {} vid 5", port.expect("a port"));
    for delete in [
        "ip link delete cni0",
        "ip link delete cni0.5",
        "ip address flush dev cni0.5 scope global",
        without_vlan.as_str(),
    ] {
        let whole = setup.host.snapshot();
        let command: Vec<&str> = delete.split(' ').collect();
        setup.host.command(&command);
        let run = setup.run(&["repair"]).expect_ok();
        let text = run.stdout_text();
        assert!(text.contains("bridge: repaired: "), "{delete}: {text}");
        // The other end of the pair gets another name.
        let is_compared = |line: &str| delete != "ip link delete cni0.5" || line.contains("cni0.5");
        whole
            .filtered(is_compared)
            .assert_same(&setup.host.snapshot().filtered(is_compared));
        setup.host.ping("10.1.0.2");
        let text = setup.run(&["repair"]).expect_ok().stdout_text();
        assert_eq!(
            text,
            "attachments: 1, whole 1, repaired 0, missing 0, failed 0, skipped 0\n"
        );
    }
}

#[test]
fn ptp_is_put_back() {
    for backend in ["nftables", "iptables"] {
        let plugin =
            json!({"type": "ptp", "ipMasq": true, "ipMasqBackend": backend, "ipam": ipam()});
        let (setup, containers) = attached(&network(&plugin, backend));
        serve(&containers[0]);
        let end = host_end(&setup);
        let host = &setup.host;
        let all = ["ptp", "portmap", "firewall", "ptp", "portmap", "firewall"];
        restores(&setup, &containers, &all, || {
            host.command(&["nft", "flush", "ruleset"]);
        });
        restores(&setup, &containers, &["ptp"], || {
            host.ip(&format!("route flush dev {end}"));
        });
        restores(&setup, &containers, &["ptp"], || {
            host.ip(&format!("address flush dev {end} scope global"));
        });
        restores(&setup, &containers, &["ptp"], || {
            host.ip(&format!("link set {end} down"));
        });
        detach(&setup, &containers);
    }
}

#[test]
fn attachments_that_are_gone_are_skipped() {
    let (setup, containers) = attached(&network(&bridge("nftables"), "nftables"));
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

/// The runtime has called DEL of the plugin already when it is repaired.
#[test]
fn attachments_that_are_detached_meanwhile_are_withdrawn() {
    let (setup, _containers) = attached(&network(&bridge("nftables"), "nftables"));
    setup.host.command(&["nft", "flush", "ruleset"]);
    let dir = setup.host.dir().join("first");
    fs::create_dir(&dir).expect("make a directory");
    let bin = bin_dir().display().to_string();
    let script = format!(
        "#!/bin/sh\n[ $CNI_COMMAND != ADD ] || rm /var/lib/cni/results/net-*\nexec {bin}/portmap\n"
    );
    fs::write(dir.join("portmap"), script).expect("write a script");
    let mode = Permissions::from_mode(0o755);
    fs::set_permissions(dir.join("portmap"), mode).expect("make it executable");
    let path = format!("{}:{bin}", dir.display());
    let run = setup.call(&["repair", "--json"]).env("CNI_PATH", path);
    let report = run.run().expect_ok().json();
    for attachment in report["attachments"].as_array().expect("attachments") {
        assert_eq!(attachment["state"], "skipped", "{report:#}");
        assert_eq!(attachment["reason"], "was detached meanwhile");
    }
    let dnat = |line: &String| line.contains("dnat to");
    assert!(!rules(&setup).iter().any(dnat));
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
