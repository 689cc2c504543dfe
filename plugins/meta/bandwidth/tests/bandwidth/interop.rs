//! Interoperability with upstream's binary: the same parameters in the kernel, and each
//! implementation checks and deletes what the other added.

use crate::common::{IFB, bandwidth, bare, both, host, qdisc, run};
use rtnl::{QdiscInfo, TcHandle};
use serde_json::json;
use testkit::{Container, Host, Node, Plugin};

/// The bursts that container engines send for a pod annotated with a rate only.
const CONTAINERD: u64 = 4_294_967_295;
const CRI_O: u64 = 34_359_738_359;

/// Bits per second and bits.
const TABLE: &[(u64, u64)] = &[
    (8, 8),
    (16, 8),
    (123, 1_000_000_000),
    (8_000, 80),
    (100_000, 100_000),
    (1_000_000, 8_000_000),
    (1_234_567, 7_654_321),
    (1_000_000, CONTAINERD),
    (10_000_000, CONTAINERD),
    (100_000_000, CONTAINERD),
    (1_000_000_000, CONTAINERD),
    (10_000_000_000, CONTAINERD),
    (1_000_000, CRI_O),
    (10_000_000, CRI_O),
    (100_000_000, CRI_O),
    (1_000_000_000, CRI_O),
    (10_000_000_000, CRI_O),
    // The rate needs more than 32 bits.
    (34_359_738_368, 80_000_000),
    (40_000_000_000, CONTAINERD),
    (100_000_000_000, 1_000_000_000),
    (1 << 40, CRI_O),
    // A byte takes less than a tick.
    (1 << 50, 8),
    (u64::MAX, 8),
];

fn peer() -> Plugin {
    Plugin::peer("bandwidth")
}

/// The qdiscs of both links after ADD of `plugin`, raw and as `tc` prints them. `None` if
/// ADD fails. Nothing is left.
fn made(
    plugin: &Plugin,
    (rate, burst): (u64, u64),
    host: &Host,
    container: &Container,
) -> Option<(Vec<Option<QdiscInfo>>, String, [bool; 2])> {
    let config = bare(json!({
        "cniVersion": "1.0.0",
        "ingressRate": rate, "ingressBurst": burst, "egressRate": rate, "egressBurst": burst,
    }));
    let mut config = config;
    config["prevResult"]["cniVersion"] = json!("1.0.0");
    let run = plugin.add(container, &config);
    let made = run.is_ok().then(|| {
        let raw = ["veth1", IFB].map(|link| qdisc(link, TcHandle::ROOT).map(|q| q.info));
        let shown = host.command(&["tc", "-d", "qdisc", "show"]);
        let check = |by: &Plugin| by.check(container, &run.with_prev()).is_ok();
        (raw.to_vec(), shown, [check(&bandwidth()), check(&peer())])
    });
    plugin.del(container, &config).expect_ok();
    // Upstream leaves these two until the link is deleted.
    for place in ["root", "ingress"] {
        let _ = host.try_command(&["tc", "qdisc", "del", "dev", "veth1", place]);
    }
    made
}

#[test]
fn the_same_parameters_as_upstream() {
    let (host, container) = host();
    let mut compared = 0;
    for row in TABLE {
        let ours = made(&bandwidth(), *row, &host, &container);
        let theirs = made(&peer(), *row, &host, &container);
        assert_eq!(ours, theirs, "{row:?}");
        if let Some((raw, _, [ours, theirs])) = ours {
            assert!(
                raw.iter()
                    .all(|info| matches!(info, Some(QdiscInfo::Tbf(_))))
            );
            assert!(
                ours && theirs,
                "CHECK of {row:?}: ours {ours}, peer's {theirs}"
            );
            compared += 1;
        }
    }
    assert!(compared >= 20, "{compared}");
}

#[test]
fn added_by_upstream() {
    let (host, container) = host();
    let before = host.snapshot();
    let mut config = both(json!({"cniVersion": "1.0.0"}));
    config["prevResult"]["cniVersion"] = json!("1.0.0");
    let run = peer().add(&container, &config).expect_ok();
    bandwidth().check(&container, &run.with_prev()).expect_ok();
    bandwidth().del(&container, &run.with_prev()).expect_ok();
    before.assert_same(&host.snapshot());
    peer().del(&container, &run.with_prev()).expect_ok();
    before.assert_same(&host.snapshot());
}

#[test]
fn added_by_us() {
    let (host, container) = host();
    let mut config = both(json!({"cniVersion": "1.0.0"}));
    config["prevResult"]["cniVersion"] = json!("1.0.0");
    let run = bandwidth().add(&container, &config).expect_ok();
    peer().check(&container, &run.with_prev()).expect_ok();
    peer().del(&container, &run.with_prev()).expect_ok();
    assert_eq!(host.link(IFB), None);
    let before = host.snapshot();
    assert!(before.lines("host traffic control").len() > 2);
    // Our DEL deletes what upstream's leaves.
    bandwidth().del(&container, &run.with_prev()).expect_ok();
    assert_eq!(qdisc("veth1", TcHandle::INGRESS), None);
    assert_eq!(
        qdisc("veth1", TcHandle::ROOT).map(|q| q.kind),
        Some("noqueue".into())
    );
}

/// Upstream's CHECK detects drift of our objects.
#[test]
fn upstream_detects_drift() {
    let (host, container) = host();
    let mut config = both(json!({"cniVersion": "1.0.0"}));
    config["prevResult"]["cniVersion"] = json!("1.0.0");
    let added = bandwidth().add(&container, &config).expect_ok();
    run(
        &host,
        "tc qdisc change dev veth1 root handle 1: tbf rate 9mbit burst 100000 latency 25ms",
    );
    for plugin in [peer(), bandwidth()] {
        plugin
            .check(&container, &added.with_prev())
            .expect_error(999)
            .mentions("Rate doesn't match");
    }
}
