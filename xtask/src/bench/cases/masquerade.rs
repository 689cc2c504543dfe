//! Masquerade: the bridge with `ipMasq`. Peers that know iptables only use that in either case.

use serde_json::{Value, json};

use super::{Case, Side, bridge_config, new, old, prepare_leases};

fn config(side: &Side, backend: &str, dual_stack: bool) -> Value {
    let mut config = bridge_config(side, dual_stack);
    config["ipMasq"] = json!(true);
    config["ipMasqBackend"] = json!(backend);
    config
}

pub(super) fn cases() -> Vec<Case> {
    let case = |name, config| Case {
        name,
        needs: &[],
        plugin: "bridge",
        config,
        prepare: prepare_leases,
        steps: vec![
            old("ADD", None),
            old("CHECK", None),
            old("DEL", None),
            new("STATUS"),
            new("GC"),
        ],
    };
    vec![
        case("bridge+masquerade iptables IPv4", |side| {
            config(side, "iptables", false)
        }),
        case("bridge+masquerade iptables dual-stack", |side| {
            config(side, "iptables", true)
        }),
        case("bridge+masquerade nftables IPv4", |side| {
            config(side, "nftables", false)
        }),
        case("bridge+masquerade nftables dual-stack", |side| {
            config(side, "nftables", true)
        }),
    ]
}
