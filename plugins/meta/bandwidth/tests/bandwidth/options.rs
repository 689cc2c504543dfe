//! Keys that upstream lacks: latency, automatic bursts, queues.

use crate::common::{IFB, bandwidth, bare, both, host, qdisc};
use rtnl::{QdiscInfo, Tbf, TcHandle};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, needs};

/// The token bucket of `veth1` after ADD with a configuration.
#[track_caller]
fn bucket(container: &Container, config: &Value) -> Tbf {
    let run = bandwidth().add(container, config).expect_ok();
    let Some(QdiscInfo::Tbf(tbf)) = qdisc("veth1", TcHandle::ROOT).map(|q| q.info) else {
        panic!("no tbf");
    };
    bandwidth().check(container, &run.with_prev()).expect_ok();
    bandwidth().del(container, &run.with_prev()).expect_ok();
    tbf
}

#[test]
fn latency() {
    let (_host, container) = host();
    let limit = |latency: &str| {
        let config = both(json!({"latency": latency}));
        bucket(&container, &config).limit
    };
    assert_eq!(limit("25ms"), 125_000);
    assert_eq!(limit("5ms"), 105_000);
    assert_eq!(limit("500us"), 100_500);
    assert_eq!(limit("2s"), 2_100_000);
    assert_eq!(bucket(&container, &both(json!({}))).limit, 125_000);
}

/// Transmission time of a bucket in ticks of 64 ns.
fn ticks(bytes: u64, rate: u64) -> u32 {
    (bytes * 1_000_000_000 / rate / 64) as u32
}

#[test]
fn automatic_bursts() {
    let (_host, container) = host();
    let auto = |rate: u64, burst: Value| {
        let runtime = json!({"ingressRate": rate, "ingressBurst": burst});
        let config = bare(json!({"burst": "auto", "runtimeConfig": {"bandwidth": runtime}}));
        bucket(&container, &config).buffer
    };
    for placeholder in [
        Value::Null,
        json!(0),
        json!(4_294_967_295u64),
        json!(34_359_738_359u64),
    ] {
        // 10 ms of the rate, at least 64 KiB.
        assert_eq!(
            auto(8_000_000_000, placeholder.clone()),
            ticks(10_000_000, 1_000_000_000)
        );
        assert_eq!(auto(8_000_000, placeholder), ticks(65_536, 1_000_000));
    }
    // A configured burst is kept.
    assert_eq!(auto(8_000_000, json!(800_000)), ticks(100_000, 1_000_000));
}

#[test]
fn fair_queues() {
    needs(&["fq_codel"]);
    for (queue, extra, place) in [
        ("fq_codel", json!({}), TcHandle::new(1, 1)),
        ("fq", json!({}), TcHandle::new(1, 1)),
        (
            "fq_codel",
            json!({"shapedSubnets": ["10.1.0.0/16"]}),
            TcHandle::new(1, 48),
        ),
    ] {
        let (host, container) = host();
        let before = host.snapshot();
        let config = testkit::merge(both(json!({"queue": queue})), &extra);
        let run = bandwidth().add(&container, &config).expect_ok();
        for link in ["veth1", IFB] {
            assert_eq!(qdisc(link, place).map(|q| q.kind), Some(queue.into()));
        }
        bandwidth().check(&container, &run.with_prev()).expect_ok();
        container.ping("10.1.0.1");
        host.command(&[
            "tc",
            "qdisc",
            "replace",
            "dev",
            IFB,
            "parent",
            &place.to_string(),
            "pfifo",
        ]);
        bandwidth()
            .check(&container, &run.with_prev())
            .expect_error(999)
            .mentions("queue doesn't match; link bwp623e1c388032 has pfifo");
        bandwidth().del(&container, &run.with_prev()).expect_ok();
        before.assert_same(&host.snapshot());
    }
}

/// Every kernel has the plain queue.
#[test]
fn a_plain_queue() {
    let (host, container) = host();
    let run = bandwidth()
        .add(&container, &both(json!({"queue": "fifo"})))
        .expect_ok();
    bandwidth().check(&container, &run.with_prev()).expect_ok();
    assert!(
        host.command(&["tc", "qdisc", "show", "dev", "veth1"])
            .contains("tbf")
    );
}

fn has(host: &Host, queue: &str) -> bool {
    host.command(&["ip", "link", "add", "probe", "type", "ifb"]);
    let added = host.try_command(&["tc", "qdisc", "add", "dev", "probe", "root", queue]);
    host.command(&["ip", "link", "del", "probe"]);
    added.is_ok()
}

/// On a kernel without fair queues, the error names the module and nothing is left.
#[test]
fn fair_queues_that_the_kernel_lacks() {
    let (host, container) = host();
    for queue in ["fq_codel", "fq"] {
        let before = host.snapshot();
        let config = both(json!({"queue": queue}));
        let run = bandwidth().add(&container, &config);
        if has(&host, queue) {
            run.expect_ok();
            bandwidth().del(&container, &config).expect_ok();
        } else {
            let error = run.expect_error(999);
            error
                .mentions("create qdisc: ")
                .mentions(&format!(
                    "the kernel lacks {queue}: load the module sch_{queue}"
                ))
                .mentions(&format!("CONFIG_NET_SCH_{}", queue.to_uppercase()));
        }
        before.assert_same(&host.snapshot());
    }
}
