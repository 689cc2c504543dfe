//! The rules of masquerade go with the attachment, whatever is left of it, and
//! whoever made them.

use crate::common::{assert_restored, bridge, merge, run_on, state};
use crate::masquerade::{WAYS, Way, attached, traces};
use serde_json::{Value, json};
use std::fs;
use std::process::{Child, Command};
use testkit::{Host, Node, Plugin, filters, run_all};

const RECORDS: &str = "/run/cni/filters";

fn records() -> Vec<String> {
    let files = fs::read_dir(RECORDS).into_iter().flatten().flatten();
    files
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .collect()
}

#[derive(Clone, Copy, Debug)]
enum Gone {
    Nothing,
    PrevResult,
    Link,
    Namespace,
    NamespaceFromEnvironment,
    Configuration,
}

#[test]
fn del_from_whatever_is_left() {
    use Gone::*;
    let everything = [
        Nothing,
        PrevResult,
        Link,
        Namespace,
        NamespaceFromEnvironment,
        Configuration,
    ];
    for way in WAYS {
        for gone in everything {
            for noted in [true, false] {
                let host = Host::new();
                let (container, mut config) = attached(&host, way, "c1", json!({}));
                let (_other, other) = attached(&host, way, "c2", json!({}));
                let mut del = way.call(&host, "DEL").container(&container);
                match gone {
                    Nothing => {}
                    PrevResult => config["prevResult"] = Value::Null,
                    Link => {
                        config["prevResult"] = Value::Null;
                        run_on(&container, "ip link del eth0");
                    }
                    Namespace => {
                        config["prevResult"] = Value::Null;
                        container.delete();
                    }
                    NamespaceFromEnvironment => {
                        config["prevResult"] = Value::Null;
                        del = del.netns("");
                    }
                    // The notes tell, or else nobody does: then GC is what is left.
                    Configuration if !noted => continue,
                    Configuration => config["ipMasq"] = false.into(),
                }
                if !noted {
                    fs::remove_dir_all(RECORDS).unwrap();
                }
                for _ in 0..2 {
                    let run = del.clone().config(&config).run().expect_ok();
                    assert_eq!(run.stderr_text(), "", "{way:?} {gone:?}");
                    let left = traces(&host);
                    let mine = |line: &String| {
                        line.contains("10.1.0.2")
                            || line.contains("fd00:1::2")
                            || line.contains("c1\"")
                            || line.contains("CNI-623e1c388032b20529218ecc")
                    };
                    assert!(
                        !left.iter().any(mine),
                        "{way:?} {gone:?} {noted}: {left:#?}"
                    );
                }
                let check = way.call(&host, "CHECK").container(&_other);
                check.config(&other).run().expect_ok();
                let del = way.call(&host, "DEL").container(&_other);
                del.config(&other).run().expect_ok();
                assert_eq!(traces(&host), [""; 0], "{way:?} {gone:?} {noted}");
                assert_eq!(records(), [""; 0]);
            }
        }
    }
}

#[test]
fn both_backends_are_looked_through() {
    for (made, removed) in [("nftables", "iptables"), ("iptables", "nftables")] {
        for noted in [true, false] {
            let host = Host::new();
            let config = |backend: &str| Way::Nftables.config(json!({"ipMasqBackend": backend}));
            let container = host.container("c1");
            bridge().add(&container, &config(made)).expect_ok();
            if !noted {
                fs::remove_dir_all(RECORDS).unwrap();
            }
            bridge().del(&container, &config(removed)).expect_ok();
            assert_eq!(traces(&host), [""; 0], "{made}");
        }
    }
}

/// An attachment's rules are told from those of another interface of the container,
/// though the chain of iptables is the same.
#[test]
fn two_interfaces_of_a_container_in_a_network() {
    for way in WAYS {
        let host = Host::new();
        let (container, config) = attached(&host, way, "c1", json!({}));
        let second = |verb: &str| way.call(&host, verb).container(&container).ifname("net1");
        let extra = json!({"isDefaultGateway": false, "isGateway": true});
        let run = second("ADD").config(&way.config(extra)).run().expect_ok();
        for both in [true, false] {
            second("CHECK").config(&run.with_prev()).run().expect_ok();
            let mut first = way
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
        assert_eq!(traces(&host), [""; 0], "{way:?}");
    }
}

#[test]
fn gc_keeps_the_living() {
    for way in WAYS {
        for noted in [true, false] {
            let host = Host::new();
            let (dead, config) = attached(&host, way, "c1", json!({}));
            let (live, valid) = attached(&host, way, "c2", json!({}));
            let other = json!({"name": "other", "bridge": "cni1", "ipam": {
                "type": "host-local", "ranges": [[{"subnet": "10.9.0.0/24"}]]}});
            let (elsewhere, elsewhere_config) = attached(&host, way, "c3", other);
            dead.delete();
            if !noted {
                fs::remove_dir_all(RECORDS).unwrap();
            }
            let mut gc = config.clone();
            gc["prevResult"] = Value::Null;
            // Without the key it is not known which attachments are valid.
            for collects in [false, true] {
                if collects {
                    gc["cni.dev/valid-attachments"] =
                        json!([{"containerID": "c2", "ifname": "eth0"}]);
                }
                way.call(&host, "GC").config(&gc).run().expect_ok();
                let left = filters(&host).iter().any(|line| line.contains("10.1.0.2"));
                assert_eq!(left, !collects, "{way:?}");
                for (container, config) in [(&live, &valid), (&elsewhere, &elsewhere_config)] {
                    let check = way.call(&host, "CHECK").container(container);
                    check.config(config).run().expect_ok();
                }
            }
            if noted {
                assert_eq!(records().len(), 2);
            }
            gc["cni.dev/valid-attachments"] = json!([]);
            way.call(&host, "GC").config(&gc).run().expect_ok();
            assert_eq!(
                traces(&host).iter().find(|line| line.contains("10.1.0")),
                None
            );
            let del = way.call(&host, "DEL").container(&elsewhere);
            del.config(&elsewhere_config).run().expect_ok();
            assert_eq!(traces(&host), [""; 0]);
        }
    }
}

/// What a killed ADD has left of another attempt does not stay with the next one.
#[test]
fn added_again_without_a_del_between() {
    for way in WAYS {
        let host = Host::new();
        let (container, _) = attached(&host, way, "c1", json!({}));
        run_on(&container, "ip link del eth0");
        let (ranges, rest) = (
            json!([[{"subnet": "10.1.7.0/24"}]]),
            json!({"forceAddress": true}),
        );
        let ipam = json!({"ipam": {"type": "host-local", "ranges": ranges}});
        let add = way.call(&host, "ADD").container(&container);
        fs::remove_dir_all("/var/lib/cni/networks").unwrap();
        let run = add.config(&way.config(merge(ipam, rest))).run().expect_ok();
        assert!(
            !traces(&host).iter().any(|line| line.contains("10.1.0.2")),
            "{way:?}"
        );
        let del = way.call(&host, "DEL").container(&container);
        del.config(&run.with_prev()).run().expect_ok();
        assert_eq!(traces(&host), [""; 0]);
    }
}

/// The peer's release knows iptables only.
#[test]
fn handed_over_between_us_and_the_peer() {
    let peer = Plugin::peer("bridge");
    for (from, to) in [(&peer, &bridge()), (&bridge(), &peer)] {
        let host = Host::new();
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let config = |extra| Way::Iptables.config(merge(json!({"cniVersion": "1.0.0"}), extra));
        let run = from.add(&c1, &config(json!({}))).expect_ok();
        let other = to.add(&c2, &config(json!({}))).expect_ok();
        for plugin in [from, to] {
            plugin.check(&c1, &run.with_prev()).expect_ok();
            plugin.check(&c2, &other.with_prev()).expect_ok();
        }
        to.del(&c1, &run.with_prev()).expect_ok();
        from.del(&c2, &other.with_prev()).expect_ok();
        assert_eq!(traces(&host), [""; 0]);

        // GC of what the peer has left.
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
    for way in WAYS {
        let host = Host::new();
        let extra = || json!({"macspoofchk": true, "raGuard": true, "dhcpGuard": true});
        let (container, config) = attached(&host, way, "before", extra());
        let del = way.call(&host, "DEL").container(&container);
        del.config(&config).run().expect_ok();
        let container = host.container("c1");
        let before = state(&host);
        let add = || {
            way.call(&host, "ADD")
                .container(&container)
                .config(&way.config(extra()))
        };
        for number in 1.. {
            let run = add().env("RTNL_FAIL_AT", number.to_string()).run();
            if run.is_ok() {
                assert!(number > 8, "{number}");
                break;
            }
            let report = run.report();
            run.expect_error(999).mentions("input/output error");
            assert_restored(&host, &before, &format!("{way:?} {number}: {report}"));
        }
    }
}

/// Killed before each request in turn: DEL leaves nothing, and so does GC.
#[test]
fn del_and_gc_after_a_kill() {
    for way in WAYS {
        let host = Host::new();
        let extra = || json!({"macspoofchk": true, "raGuard": true, "dhcpGuard": true});
        let mut gc = way.config(extra());
        gc["cni.dev/valid-attachments"] = json!([]);
        for number in 1.. {
            let container = host.container(&format!("c{number}"));
            let add = way
                .call(&host, "ADD")
                .container(&container)
                .config(&way.config(extra()));
            let run = add.env("RTNL_KILL_AT", number.to_string()).run();
            let ended = run.is_ok();
            if number % 2 == 0 {
                let del = way.call(&host, "DEL").container(&container);
                del.config(&way.config(extra())).run().expect_ok();
            } else {
                container.delete();
                drop(container);
                // The host's end goes with the namespace, in the background.
                crate::common::wait_until("the pair is gone", || {
                    !host
                        .link_names()
                        .iter()
                        .any(|name| name.starts_with("veth"))
                });
                way.call(&host, "GC").config(&gc).run().expect_ok();
            }
            assert_eq!(traces(&host), [""; 0], "{way:?} {number}");
            assert_eq!(records(), [""; 0], "{way:?} {number}");
            if ended {
                break;
            }
        }
    }
}

/// A program that ends with the test, however that ends.
struct Busy(Child);

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Thirty at once, ADD and then DEL, while somebody else keeps rewriting rules.
#[test]
fn many_at_once_beside_another_program() {
    for way in WAYS {
        let host = Host::new();
        let containers: Vec<_> = (0..30).map(|n| host.container(&format!("c{n}"))).collect();
        let iptables = if way == Way::Legacy {
            "iptables-legacy"
        } else {
            "iptables"
        };
        let script = format!(
            "nft add table ip other; nft add chain ip other kept; {iptables} -t nat -N OTHER
             while true; do nft add rule ip other kept counter; nft flush chain ip other kept
             {iptables} -w -t nat -A OTHER -j RETURN; {iptables} -w -t nat -D OTHER 1; done"
        );
        let other = Busy(Command::new("sh").args(["-c", &script]).spawn().unwrap());
        let config = way.config(json!({"macspoofchk": true, "raGuard": true}));
        for verb in ["ADD", "DEL"] {
            let call = |c| {
                let call = way.call(&host, verb).container(c).config(&config);
                call.deadline(std::time::Duration::from_secs(100))
            };
            for run in run_all(containers.iter().map(call)) {
                run.expect_ok();
            }
        }
        drop(other);
        assert_eq!(traces(&host), [""; 0], "{way:?}");
        let left = filters(&host).join("\n");
        assert!(
            left.contains("chain kept") && left.contains("OTHER"),
            "{left}"
        );
    }
}
