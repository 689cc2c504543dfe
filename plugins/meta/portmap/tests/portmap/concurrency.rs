//! Concurrent calls, while another program keeps rewriting its own rules.

use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use testkit::{Container, Host, run_all};

use crate::common::{backends, config, portmap, ruleset};

const CONTAINERS: u16 = 30;

/// A process that keeps rewriting rules of its own.
struct Writer(Child);

impl Writer {
    fn start() -> Writer {
        let script = "
            iptables -t nat -N WRITER
            while true; do
                iptables -t nat -A WRITER -s 203.0.113.1 -j ACCEPT
                iptables -t nat -D WRITER -s 203.0.113.1 -j ACCEPT
                nft 'add table ip writer; flush table ip writer; add chain ip writer c; add rule ip writer c counter'
            done
        ";
        let child = Command::new("sh")
            .args(["-c", script])
            .stderr(Stdio::null())
            .spawn();
        Writer(child.unwrap())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn of(container: &Container, number: u16, keys: &Value) -> Value {
    let mappings = json!([
        {"hostPort": 8000 + number, "containerPort": 80, "protocol": "tcp"},
        {"hostPort": 8000 + number, "containerPort": 80, "protocol": "udp"},
    ]);
    let mut config = config(container, &mappings, keys);
    config["prevResult"]["ips"] = json!([
        {"address": format!("10.1.0.{}/24", number + 2)},
        {"address": format!("fd00:1::{}/64", number + 2)},
    ]);
    config
}

#[test]
fn thirty_concurrent_calls_succeed() {
    for keys in backends() {
        let host = Host::new();
        let containers: Vec<Container> = (0..CONTAINERS)
            .map(|number| host.container(&format!("c{number}")))
            .collect();
        let all = |verb: &str| {
            let calls = containers.iter().zip(0..).map(|(container, number)| {
                let call = portmap().command(verb).container(container);
                call.config(&of(container, number, &keys))
            });
            let runs = run_all(calls.collect::<Vec<_>>());
            for run in runs {
                run.expect_ok();
            }
        };
        let rules = || ruleset(&host);
        let writer = Writer::start();
        all("ADD");
        for number in 0..CONTAINERS {
            let added = rules();
            let address = format!("10.1.0.{}", number + 2);
            assert!(added.contains(&address), "{keys} {address}\n{added}");
        }
        all("CHECK");
        all("DEL");
        drop(writer);
        let left = rules();
        assert!(
            !left.contains("10.1.0.") && !left.contains("fd00:1::"),
            "{keys}\n{left}"
        );
        assert!(!left.contains("CNI-DN-"), "{keys}\n{left}");
        for once in [
            "CNI portfwd requiring masquerade",
            "chain CNI-HOSTPORT-DNAT",
        ] {
            // One in each family.
            assert!(left.matches(once).count() <= 2, "{keys}\n{left}");
        }
    }
}
