//! Cases of bandwidth.

use serde_json::{Value, json};
use testkit::merge;

use crate::difference::Difference;
use crate::differences::*;
use crate::exchange::{Case, TWO};
use crate::site;

fn bandwidth(extra: Value) -> Value {
    merge(json!({"type": "bandwidth"}), &extra)
}

#[test]
fn rates() {
    let of_ifb: &[&Difference] = &[&SHAPING_LEFT, &SHAPING_ACTION, &SHAPING_ALIAS, &SHAPING_GC];
    let rates = json!({
        "ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 16_000_000, "egressBurst": 1_600_000,
    });
    Case::new(bandwidth(rates.clone()))
        .at(site::bridged)
        .versions(TWO)
        .expect(of_ifb)
        .run();
    for (keys, expected) in [
        (
            json!({"ingressRate": 8_000_000, "ingressBurst": 800_000}),
            &[&SHAPING_LEFT][..],
        ),
        (
            json!({"egressRate": 10_000_000, "egressBurst": 4_294_967_295_u64}),
            of_ifb,
        ),
        (json!({"runtimeConfig": {"bandwidth": rates}}), of_ifb),
        (json!({}), &[&SHAPING_NOTHING]),
    ] {
        Case::new(bandwidth(keys))
            .at(site::bridged)
            .expect(expected)
            .run();
    }
}
