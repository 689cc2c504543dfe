use super::*;
use cni_core::{Command, Version};
use proptest::prelude::*;
use serde_json::{Value, json};

fn load(conf: Value) -> Result<Config, String> {
    let call = Call {
        command: Command::Add,
        container_id: "c1".into(),
        netns: "/run/netns/c1".into(),
        if_name: "eth0".into(),
        args: Default::default(),
        path: Default::default(),
        netns_override: false,
        stdin: Vec::new(),
        conf,
        name: "net".into(),
        version: Version::CURRENT,
        bundle: Default::default(),
    };
    Config::load(&call).map_err(|e| format!("{e:#}"))
}

#[test]
fn latencies() {
    assert_eq!(latency("25ms").unwrap(), crate::token_bucket::LATENCY);
    assert_eq!(latency("1us").unwrap(), 1.0);
    assert_eq!(latency("60s").unwrap(), 60_000_000.0);
    for text in [
        "", "ms", "25", "25 ms", "25m", "0s", "60001ms", "+5ms", "٣ms", "25msms",
    ] {
        // A plus is Rust's to read, and means no harm.
        assert_eq!(latency(text).is_ok(), text == "+5ms", "{text}");
    }
}

#[test]
fn the_largest_bucket() {
    let rate = 8_000_000_000_000u64;
    let config = load(json!({"ingressRate": rate, "burst": "auto"})).unwrap();
    assert_eq!(config.ingress.map(|tbf| tbf.rate), Some(rate / 8));
    assert!(config.egress.is_none() && !config.is_idle());
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!(0)),
        any::<u64>().prop_map(|n| json!(n)),
        (0..64u32, any::<u64>()).prop_map(|(bits, n)| json!(n >> bits)),
    ]
}

/// Anything at all.
fn junk() -> impl Strategy<Value = Value> {
    prop_oneof![
        number(),
        any::<i64>().prop_map(|n| json!(n)),
        any::<f64>().prop_map(|n| json!(n)),
        any::<bool>().prop_map(|b| json!(b)),
        "[a-z0-9./:]{0,12}".prop_map(|text| json!(text)),
        Just(json!("auto")),
        Just(json!([])),
        Just(json!(["10.0.0.0/8", "fd00::/7"])),
        Just(json!({})),
    ]
}

const KEYS: [&str; 10] = [
    "ingressRate",
    "ingressBurst",
    "egressRate",
    "egressBurst",
    "latency",
    "burst",
    "queue",
    "shapedSubnets",
    "unshapedSubnets",
    "runtimeConfig",
];

fn object() -> impl Strategy<Value = Value> {
    let member = (prop::sample::select(&KEYS[..]), junk());
    let members = prop::collection::vec(member, 0..8);
    let text = |(key, value): (&str, Value)| (key.to_owned(), value);
    members.prop_map(move |all| Value::Object(all.into_iter().map(text).collect()))
}

proptest! {
    /// Whatever is taken can be had from a kernel, and a rate that is taken is the one
    /// that was asked for.
    #[test]
    fn rates_and_bursts(rate in number(), burst in number(), auto: bool) {
        let mut conf = json!({"egressRate": rate, "egressBurst": burst});
        if auto {
            conf["burst"] = json!("auto");
        }
        let (bits, burst) = (rate.as_u64().unwrap_or(0), burst.as_u64().unwrap_or(0));
        match load(conf) {
            Ok(config) => {
                prop_assert_eq!(config.egress.map_or(0, |tbf| tbf.rate), bits / 8);
                prop_assert_eq!(config.is_idle(), bits == 0 && burst == 0);
                if let Some(tbf) = config.egress {
                    prop_assert!(passes_anything(&tbf));
                    prop_assert!(bits >= 8 && (burst > 0 || auto));
                }
            }
            Err(error) => {
                prop_assert!(error.contains("egressRate") || error.contains("egressBurst"));
            }
        }
    }

    #[test]
    fn nothing_panics(mut conf in object(), entry in object(), nested: bool) {
        if nested {
            conf["runtimeConfig"] = json!({"bandwidth": entry});
        }
        if let Ok(config) = load(conf) {
            let buckets = [config.ingress, config.egress];
            prop_assert!(buckets.iter().flatten().all(passes_anything));
        }
    }

    #[test]
    fn latency_reads_anything(text in "\\PC{0,12}") {
        let _ = latency(&text);
    }
}
