//! Masquerade rules are deleted with the attachment, whatever is left of it and whichever
//! implementation created them.

use crate::common::{assert_restored, bridge, merge, wait_until};
use crate::masquerade::{BACKENDS, Backend, attached, traces};
use serde_json::{Value, json};
use std::fs;
use std::process::{Child, Command};
use testkit::{Host, Node, Plugin, filters, run_all, state};

const RECORDS: &str = "/run/cni/filters";

fn records() -> Vec<String> {
    let files = fs::read_dir(RECORDS).into_iter().flatten().flatten();
    files
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .collect()
}

/// What is missing when DEL is called.
#[derive(Clone, Copy, Debug)]
enum Missing {
    Nothing,
    PrevResult,
    Link,
    Namespace,
    NetnsVariable,
    Configuration,
}

#[test]
fn del_deletes_the_rules_whatever_is_left() {
    use Missing::*;
    let everything = [
        Nothing,
        PrevResult,
        Link,
        Namespace,
        NetnsVariable,
        Configuration,
    ];
    for backend in BACKENDS {
        for missing in everything {
            for recorded in [true, false] {
                let host = Host::new();
                let (container, mut config) = attached(&host, backend, "c1", json!({}));
                let (other, config_of_other) = attached(&host, backend, "c2", json!({}));
                let mut del = backend.call(&host, "DEL").container(&container);
                match missing {
                    Nothing => {}
                    PrevResult => config["prevResult"] = Value::Null,
                    Link => {
                        config["prevResult"] = Value::Null;
                        container.ip("link del eth0");
                    }
                    Namespace => {
                        config["prevResult"] = Value::Null;
                        container.delete();
                    }
                    NetnsVariable => {
                        config["prevResult"] = Value::Null;
                        del = del.netns("");
                    }
                    // Without the record DEL does not know of rules; GC deletes them.
                    Configuration if !recorded => continue,
                    Configuration => config["ipMasq"] = false.into(),
                }
                if !recorded {
                    fs::remove_dir_all(RECORDS).unwrap();
                }
                for _ in 0..2 {
                    let run = del.clone().config(&config).run().expect_ok();
                    assert_eq!(run.stderr_text(), "", "{backend:?} {missing:?}");
                    let left = traces(&host);
                    let mine = |line: &String| {
                        line.contains("10.1.0.2")
                            || line.contains("fd00:1::2")
                            || line.contains("c1\"")
                            || line.contains("CNI-623e1c388032b20529218ecc")
                    };
                    assert!(
                        !left.iter().any(mine),
                        "{backend:?} {missing:?} {recorded}: {left:#?}"
                    );
                }
                let check = backend.call(&host, "CHECK").container(&other);
                check.config(&config_of_other).run().expect_ok();
                let del = backend.call(&host, "DEL").container(&other);
                del.config(&config_of_other).run().expect_ok();
                assert_eq!(traces(&host), [""; 0], "{backend:?} {missing:?} {recorded}");
                assert_eq!(records(), [""; 0]);
            }
        }
    }
}

#[test]
fn del_deletes_rules_of_both_backends() {
    for (made, removed) in [("nftables", "iptables"), ("iptables", "nftables")] {
        for recorded in [true, false] {
            let host = Host::new();
            let config =
                |backend: &str| Backend::Nftables.config(json!({"ipMasqBackend": backend}));
            let container = host.container("c1");
            bridge().add(&container, &config(made)).expect_ok();
            if !recorded {
                fs::remove_dir_all(RECORDS).unwrap();
            }
            bridge().del(&container, &config(removed)).expect_ok();
            assert_eq!(traces(&host), [""; 0], "{made}");
        }
    }
}

/// With iptables, both interfaces of the container have the same chain.
#[test]
fn two_interfaces_of_a_container_in_a_network() {
    for backend in BACKENDS {
        let host = Host::new();
        let (container, config) = attached(&host, backend, "c1", json!({}));
        let second = |verb: &str| {
            backend
                .call(&host, verb)
                .container(&container)
                .ifname("net1")
        };
        let extra = json!({"isDefaultGateway": false, "isGateway": true});
        let run = second("ADD")
            .config(&backend.config(extra))
            .run()
            .expect_ok();
        for both in [true, false] {
            second("CHECK").config(&run.with_prev()).run().expect_ok();
            let mut first = backend
                .call(&host, "CHECK")
                .container(&container)
                .config(&config);
            if both {
                first.clone().run().expect_ok();
                first = first.env("CNI_COMMAND", "DEL");
                first.run().expect_ok();
            }
        }
        second("DEL").config(&run.with_prev()).run().expect_ok();
        assert_eq!(traces(&host), [""; 0], "{backend:?}");
    }
}

#[test]
fn gc_keeps_rules_of_valid_attachments_and_other_networks() {
    for backend in BACKENDS {
        for recorded in [true, false] {
            let host = Host::new();
            let (dead, config) = attached(&host, backend, "c1", json!({}));
            let (live, valid) = attached(&host, backend, "c2", json!({}));
            let other = json!({"name": "other", "bridge": "cni1", "ipam": {
                "type": "host-local", "ranges": [[{"subnet": "10.9.0.0/24"}]]}});
            let (foreign, foreign_config) = attached(&host, backend, "c3", other);
            dead.delete();
            if !recorded {
                fs::remove_dir_all(RECORDS).unwrap();
            }
            let mut gc = config.clone();
            gc["prevResult"] = Value::Null;
            // Without the key any attachment may be valid.
            for collects in [false, true] {
                if collects {
                    gc["cni.dev/valid-attachments"] =
                        json!([{"containerID": "c2", "ifname": "eth0"}]);
                }
                backend.call(&host, "GC").config(&gc).run().expect_ok();
                let left = filters(&host).iter().any(|line| line.contains("10.1.0.2"));
                assert_eq!(left, !collects, "{backend:?}");
                for (container, config) in [(&live, &valid), (&foreign, &foreign_config)] {
                    let check = backend.call(&host, "CHECK").container(container);
                    check.config(config).run().expect_ok();
                }
            }
            if recorded {
                assert_eq!(records().len(), 2);
            }
            gc["cni.dev/valid-attachments"] = json!([]);
            backend.call(&host, "GC").config(&gc).run().expect_ok();
            assert_eq!(
                traces(&host).iter().find(|line| line.contains("10.1.0")),
                None
            );
            let del = backend.call(&host, "DEL").container(&foreign);
            del.config(&foreign_config).run().expect_ok();
            assert_eq!(traces(&host), [""; 0]);
        }
    }
}

/// ADD deletes the rules that an earlier, killed ADD left.
#[test]
fn added_again_without_a_del_between() {
    for backend in BACKENDS {
        let host = Host::new();
        let (container, _) = attached(&host, backend, "c1", json!({}));
        container.ip("link del eth0");
        let (ranges, rest) = (
            json!([[{"subnet": "10.1.7.0/24"}]]),
            json!({"forceAddress": true}),
        );
        let ipam = json!({"ipam": {"type": "host-local", "ranges": ranges}});
        let add = backend.call(&host, "ADD").container(&container);
        fs::remove_dir_all("/var/lib/cni/networks").unwrap();
        let run = add
            .config(&backend.config(merge(ipam, rest)))
            .run()
            .expect_ok();
        assert!(
            !traces(&host).iter().any(|line| line.contains("10.1.0.2")),
            "{backend:?}"
        );
        let del = backend.call(&host, "DEL").container(&container);
        del.config(&run.with_prev()).run().expect_ok();
        assert_eq!(traces(&host), [""; 0]);
    }
}

/// The peer's release knows iptables only.
#[test]
fn handed_over_between_this_plugin_and_the_peer() {
    let peer = Plugin::peer("bridge");
    for (from, to) in [(&peer, &bridge()), (&bridge(), &peer)] {
        let host = Host::new();
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let config = |extra| Backend::Iptables.config(merge(json!({"cniVersion": "1.0.0"}), extra));
        let run = from.add(&c1, &config(json!({}))).expect_ok();
        let other = to.add(&c2, &config(json!({}))).expect_ok();
        for plugin in [from, to] {
            plugin.check(&c1, &run.with_prev()).expect_ok();
            plugin.check(&c2, &other.with_prev()).expect_ok();
        }
        to.del(&c1, &run.with_prev()).expect_ok();
        from.del(&c2, &other.with_prev()).expect_ok();
        assert_eq!(traces(&host), [""; 0]);

        // GC deletes what the peer left.
        from.add(&c1, &config(json!({}))).expect_ok();
        c1.delete();
        let gc = json!({"cniVersion": "1.1.0", "cni.dev/valid-attachments": []});
        bridge().gc(&config(gc)).expect_ok();
        assert_eq!(traces(&host), [""; 0]);
    }
}

/// Each request to the kernel and each transaction of iptables fails in turn.
#[test]
fn a_failed_add_leaves_nothing() {
    for backend in BACKENDS {
        let host = Host::new();
        let extra = || json!({"macspoofchk": true, "raGuard": true, "dhcpGuard": true});
        let (container, config) = attached(&host, backend, "before", extra());
        let del = backend.call(&host, "DEL").container(&container);
        del.config(&config).run().expect_ok();
        let container = host.container("c1");
        let before = state(&host);
        let add = || {
            backend
                .call(&host, "ADD")
                .container(&container)
                .config(&backend.config(extra()))
        };
        for number in 1.. {
            let run = add().env("RTNL_FAIL_AT", number.to_string()).run();
            if run.is_ok() {
                assert!(number > 8, "{number}");
                break;
            }
            let report = run.report();
            run.expect_error(999).mentions("input/output error");
            assert_restored(&host, &before, &format!("{backend:?} {number}: {report}"));
        }
    }
}

/// ADD is killed before each request in turn. DEL leaves nothing, and neither does GC.
#[test]
fn del_and_gc_after_a_kill() {
    for backend in BACKENDS {
        let host = Host::new();
        let extra = || json!({"macspoofchk": true, "raGuard": true, "dhcpGuard": true});
        let mut gc = backend.config(extra());
        gc["cni.dev/valid-attachments"] = json!([]);
        for number in 1.. {
            let container = host.container(&format!("c{number}"));
            let add = backend
                .call(&host, "ADD")
                .container(&container)
                .config(&backend.config(extra()));
            let run = add.env("RTNL_KILL_AT", number.to_string()).run();
            let ended = run.is_ok();
            if number % 2 == 0 {
                let del = backend.call(&host, "DEL").container(&container);
                del.config(&backend.config(extra())).run().expect_ok();
            } else {
                container.delete();
                drop(container);
                // The kernel deletes the pair with the namespace in the background.
                wait_until("the pair is gone", || {
                    !host
                        .link_names()
                        .iter()
                        .any(|name| name.starts_with("veth"))
                });
                backend.call(&host, "GC").config(&gc).run().expect_ok();
            }
            assert_eq!(traces(&host), [""; 0], "{backend:?} {number}");
            assert_eq!(records(), [""; 0], "{backend:?} {number}");
            if ended {
                break;
            }
        }
    }
}

/// A program that is killed when the test ends.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Thirty ADDs at once, then thirty DELs, while another program keeps changing rules.
#[test]
fn concurrent_calls_while_another_program_changes_rules() {
    for backend in BACKENDS {
        let host = Host::new();
        let containers: Vec<_> = (0..30).map(|n| host.container(&format!("c{n}"))).collect();
        let iptables = if backend == Backend::Legacy {
            "iptables-legacy"
        } else {
            "iptables"
        };
        let script = format!(
            "nft add table ip other; nft add chain ip other kept; {iptables} -t nat -N OTHER
             while true; do nft add rule ip other kept counter; nft flush chain ip other kept
             {iptables} -w -t nat -A OTHER -j RETURN; {iptables} -w -t nat -D OTHER 1; done"
        );
        let other = KillOnDrop(Command::new("sh").args(["-c", &script]).spawn().unwrap());
        let config = backend.config(json!({"macspoofchk": true, "raGuard": true}));
        for verb in ["ADD", "DEL"] {
            let call = |c| {
                let call = backend.call(&host, verb).container(c).config(&config);
                call.deadline(std::time::Duration::from_secs(100))
            };
            for run in run_all(containers.iter().map(call)) {
                run.expect_ok();
            }
        }
        drop(other);
        assert_eq!(traces(&host), [""; 0], "{backend:?}");
        let left = filters(&host).join("\n");
        assert!(
            left.contains("chain kept") && left.contains("OTHER"),
            "{left}"
        );
    }
}
