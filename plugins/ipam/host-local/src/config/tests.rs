use super::*;
use proptest::prelude::{Strategy, *};
use serde_json::{Value, json};

fn read(conf: Value) -> Result<Config, String> {
    read_with(conf, Version::CURRENT, "")
}

fn read_with(conf: Value, version: Version, args: &str) -> Result<Config, String> {
    Config::new(&conf, "net", version, args).map_err(|error| format!("{error:#}"))
}

fn sets(config: &Config) -> String {
    config
        .sets
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

fn requested(config: &Config) -> String {
    config
        .requested
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn ranges_of_the_runtime_precede_those_of_ipam() {
    let config = read(json!({
        "RuntimeConfig": {"IPRANGES": [[{"subnet": "10.1.0.0/24"}]]},
        "ipam": {
            "ranges": [[{"subnet": "10.3.0.0/24"}, {"subnet": "10.4.0.0/24"}], [{"subnet": "fd00::/64"}]],
            "Subnet": "10.2.0.0/24", "rangeStart": "10.2.0.5", "rangeEnd": "", "gateway": null,
        },
    }))
    .unwrap();
    assert_eq!(
        sets(&config),
        "10.1.0.1-10.1.0.254 10.2.0.5-10.2.0.254 \
         10.3.0.1-10.3.0.254,10.4.0.1-10.4.0.254 fd00::1-fd00::ffff:ffff:ffff:ffff"
    );
    assert_eq!(config.directory, PathBuf::from("/var/lib/cni/networks/net"));
    assert_eq!(config.resolv_conf, None);
}

#[test]
fn legacy_keys_without_a_subnet_are_ignored() {
    let config =
        read(json!({"ipam": {"rangeStart": "10.0.0.1", "ranges": [[{"subnet": "10.3.0.0/24"}]]}}));
    assert_eq!(sets(&config.unwrap()), "10.3.0.1-10.3.0.254");
    assert!(
        read(json!({"ipam": {"name": "x"}}))
            .unwrap()
            .sets
            .is_empty()
    );
}

#[test]
fn reads_the_other_keys() {
    let config = read(json!({"ipam": {
        "type": "host-local", "dataDir": "rel/dir", "resolvConf": "/etc/resolv.conf",
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.1.2.3/8", "gw": "10.0.0.1", "mtu": 1400}],
        "unknown": {"x": [1]},
    }, "dns": 7, "prevResult": 7}))
    .unwrap();
    assert_eq!(config.directory, PathBuf::from("rel/dir/net"));
    assert_eq!(config.resolv_conf, Some(PathBuf::from("/etc/resolv.conf")));
    assert_eq!(config.routes.len(), 2);
    assert_eq!(config.routes[1].dst.to_string(), "10.1.2.3/8");
}

#[test]
fn requested_addresses_of_all_sources_are_merged() {
    let conf = json!({
        "args": {"cni": {"ips": ["10.0.0.3/16", "::ffff:10.0.0.4"]}},
        "runtimeConfig": {"ips": ["10.0.0.5", "10.0.0.3", "2001:DB8::1"]},
        "ipam": {},
    });
    let config = read_with(
        conf.clone(),
        Version::CURRENT,
        "IP=10.0.0.9/8;IgnoreUnknown=1;K=v",
    );
    assert_eq!(
        requested(&config.unwrap()),
        "10.0.0.9 10.0.0.3 10.0.0.4 10.0.0.5 2001:db8::1"
    );
    let config = read_with(conf, Version::CURRENT, "IP=");
    assert_eq!(
        requested(&config.unwrap()),
        "10.0.0.3 10.0.0.4 10.0.0.5 2001:db8::1"
    );
}

#[test]
fn malformed_requested_addresses_are_refused() {
    let args = |args: &str| read_with(json!({"ipam": {}}), Version::CURRENT, args).unwrap_err();
    assert_eq!(args("K=v"), r#"ARGS: unknown args ["K=v"]"#);
    assert_eq!(args("IP=1.1.1.1;"), r#"ARGS: invalid pair """#);
    assert_eq!(
        args("IP=1.1.1.1,1.1.1.2"),
        r#"ARGS: error parsing value of pair "IP=1.1.1.1,1.1.1.2": invalid IP address 1.1.1.1,1.1.1.2"#
    );
    let ips = |ips: Value| {
        let conf = json!({"ipam": {}, "args": {"cni": {"ips": ips}}});
        read(conf).unwrap_err()
    };
    assert_eq!(
        ips(json!([""])),
        "cannot understand ip: IP <nil> not v4 nor v6"
    );
    assert_eq!(
        ips(json!(["1.1.1.1", null])),
        "args.cni.ips[1]: null is no IP address"
    );
    assert_eq!(ips(json!(["x"])), "args.cni.ips[0]: invalid IP address x");
    assert_eq!(
        ips(json!(["1.1.1.1/33"])),
        "args.cni.ips[0]: invalid IP address 1.1.1.1/33"
    );
    assert!(ips(json!([7])).starts_with("args.cni.ips[0]: "));
}

#[test]
fn errors_name_the_key() {
    let range = |range: Value| json!({"ipam": {"ranges": [[{"subnet": "10.0.0.0/24"}], [range]]}});
    for (conf, expected) in [
        (json!({}), "IPAM config missing 'ipam' key"),
        (json!({"ipam": null}), "IPAM config missing 'ipam' key"),
        (json!({"ipam": []}), "ipam: expected an object, got array"),
        (
            json!({"ipam": {"dataDir": 1}}),
            "ipam.dataDir: expected a string, got number",
        ),
        (
            json!({"ipam": {"ranges": {}}}),
            "ipam.ranges: expected an array, got object",
        ),
        (
            json!({"ipam": {"ranges": [{}]}}),
            "ipam.ranges[0]: expected an array, got object",
        ),
        (
            json!({"ipam": {"ranges": [[]]}}),
            "invalid range set 0: empty range set",
        ),
        (
            json!({"ipam": {"ranges": [null]}}),
            "invalid range set 0: empty range set",
        ),
        (
            json!({"ipam": {"ranges": [[null]]}}),
            "invalid range set 0: IP <nil> not v4 nor v6",
        ),
        (
            json!({"ipam": {"ranges": [[{}]]}}),
            "invalid range set 0: IP <nil> not v4 nor v6",
        ),
        (
            json!({"ipam": {"subnet": "10.0.0.0"}}),
            "ipam.subnet: invalid CIDR address: 10.0.0.0",
        ),
        (
            json!({"ipam": {"subnet": ""}}),
            "ipam.subnet: invalid CIDR address: ",
        ),
        (
            json!({"ipam": {"subnet": "10.0.0.0/24", "gateway": "x"}}),
            "ipam.gateway: invalid IP address: x",
        ),
        (
            range(json!({"subnet": 7})),
            "ipam.ranges[1][0].subnet: expected a string, got number",
        ),
        (
            range(json!({"subnet": "10.0.1.0/31"})),
            "invalid range set 1: Network 10.0.1.0/31 too small to allocate from",
        ),
        (
            range(json!({"subnet": "::ffff:10.0.1.0/120"})),
            "invalid range set 1: IPNet IP and Mask version mismatch",
        ),
        (
            range(json!({"subnet": "10.0.0.0/8"})),
            "range set 0 overlaps with 1",
        ),
    ] {
        assert_eq!(read(conf.clone()).unwrap_err(), expected, "{conf}");
    }
}

#[test]
fn versions_before_0_3_0_allow_one_set_per_family() {
    let four = json!([[{"subnet": "10.0.0.0/24"}], [{"subnet": "10.0.0.0/24"}]]);
    let six = json!([[{"subnet": "fd00::/64"}], [{"subnet": "fd01::/64"}]]);
    let dual = json!([[{"subnet": "10.0.0.0/24"}], [{"subnet": "fd01::/64"}]]);
    for (version, ranges, expected) in [
        (
            Version::V0_2_0,
            &four,
            "CNI version 0.2.0 does not support more than 1 address per family",
        ),
        (
            Version::V0_1_0,
            &six,
            "CNI version 0.1.0 does not support more than 1 address per family",
        ),
        (Version::V0_3_0, &four, "range set 0 overlaps with 1"),
        (Version::V0_3_0, &six, ""),
        (Version::V0_2_0, &dual, ""),
    ] {
        let error = read_with(json!({"ipam": {"ranges": ranges}}), version, "").err();
        assert_eq!(error.unwrap_or_default(), expected);
    }
}

/// Returns values of the types that the keys take, valid and invalid.
fn any_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        any::<String>(),
        "[0-9a-f.:/]{0,24}",
        "(10\\.0\\.0|255\\.255\\.255)\\.[0-9]{1,3}(/[0-9]{1,2})?",
        "(fd00|::ffff)::?[0-9a-f]{0,4}(/[0-9]{1,3})?",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    let keys = proptest::sample::select(vec![
        "ipam",
        "ranges",
        "subnet",
        "rangeStart",
        "rangeEnd",
        "gateway",
        "routes",
        "dst",
        "gw",
        "dataDir",
        "resolvConf",
        "runtimeConfig",
        "ipRanges",
        "ips",
        "args",
        "cni",
        "x",
    ]);
    leaf.prop_recursive(6, 64, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((keys.clone(), inner), 0..4).prop_map(|members| members
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_read_or_refused(conf in any_value(), args: String) {
        let _ = read_with(conf, Version::V0_2_0, &args);
    }

    #[test]
    fn any_ranges_are_read_or_refused(ranges in any_value(), ips in any_value(), args in "IP=.*") {
        let conf = json!({
            "ipam": {"ranges": [[ranges.clone()], ranges.clone()], "subnet": ranges.clone()},
            "runtimeConfig": {"ipRanges": ranges, "ips": ips.clone()},
            "args": {"cni": {"ips": ips}},
        });
        let _ = read_with(conf, Version::CURRENT, &args);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        if let Ok(conf) = json::parse(&bytes) {
            let _ = read(conf);
        }
    }
}
