use super::*;
use proptest::prelude::*;

const GOOD: &str = "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.17.1/24\n\
                    FLANNEL_MTU=1472\nFLANNEL_IPMASQ=true\n";

fn parse(text: &str) -> Result<(SubnetEnv, String), String> {
    let parsed = SubnetEnv::parse(text).map_err(|e| format!("{e:#}"));
    parsed.map(|(subnets, missing)| (subnets, missing.join(", ")))
}

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

#[test]
fn what_the_daemon_writes() {
    let (subnets, missing) = parse(GOOD).unwrap();
    let expected = SubnetEnv {
        networks: vec![cidr("10.1.0.0/16")],
        subnet: Some(cidr("10.1.17.0/24")),
        mtu: 1472,
        ip_masq: true,
        ..SubnetEnv::default()
    };
    assert_eq!((subnets, missing.as_str()), (expected, ""));
}

#[test]
fn both_families_and_what_is_not_flannels() {
    let text = "# comment\n\nFLANNEL_NETWORK=10.1.0.5/16,10.2.0.0/16,10.1.9.9/16\n\
                FLANNEL_SUBNET=10.1.17.1/24\nFLANNEL_IPV6_NETWORK=fc00::/48\n\
                FLANNEL_IPV6_SUBNET=fc00:0:0:1::1/64\nOTHER=1=2\nEMPTY\n\
                FLANNEL_MTU=1450\nFLANNEL_IPMASQ=TRUE";
    let (subnets, missing) = parse(text).unwrap();
    assert_eq!(missing, "");
    assert_eq!(subnets.networks, [cidr("10.1.0.0/16"), cidr("10.2.0.0/16")]);
    assert_eq!(subnets.ipv6_networks, [cidr("fc00::/48")]);
    assert_eq!(subnets.ipv6_subnet, Some(cidr("fc00:0:0:1::/64")));
    assert!(!subnets.ip_masq);
}

#[test]
fn what_is_missing() {
    let all = "FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK, FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET, \
               FLANNEL_MTU, FLANNEL_IPMASQ";
    assert_eq!(parse("").unwrap().1, all);
    let without = |key: &str| {
        let kept: Vec<&str> = GOOD.lines().filter(|line| !line.starts_with(key)).collect();
        parse(&kept.join("\n")).unwrap().1
    };
    assert_eq!(
        without("FLANNEL_NETWORK"),
        "FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK"
    );
    assert_eq!(
        without("FLANNEL_SUBNET"),
        "FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET"
    );
    assert_eq!(without("FLANNEL_MTU"), "FLANNEL_MTU");
    assert_eq!(without("FLANNEL_IPMASQ"), "FLANNEL_IPMASQ");
}

#[test]
fn what_is_wrong() {
    for (line, words) in [
        ("FLANNEL_NETWORK", "FLANNEL_NETWORK has no value"),
        ("FLANNEL_IPMASQ", "FLANNEL_IPMASQ has no value"),
        (
            "FLANNEL_NETWORK=",
            "FLANNEL_NETWORK: invalid CIDR address: ",
        ),
        (
            "FLANNEL_NETWORK=10.1.0.0/16,",
            "FLANNEL_NETWORK: invalid CIDR address: ",
        ),
        (
            "FLANNEL_SUBNET=10.1.0.0",
            "FLANNEL_SUBNET: invalid CIDR address: 10.1.0.0",
        ),
        (
            "FLANNEL_SUBNET=fc00::/64",
            "FLANNEL_SUBNET: fc00::/64 is of the other",
        ),
        (
            "FLANNEL_IPV6_SUBNET=10.0.0.0/8",
            "FLANNEL_IPV6_SUBNET: 10.0.0.0/8 is of the other",
        ),
        ("FLANNEL_MTU=", "FLANNEL_MTU: \"\" is no number"),
        ("FLANNEL_MTU=+1450", "FLANNEL_MTU: \"+1450\" is no number"),
        ("FLANNEL_MTU=1450 ", "FLANNEL_MTU: \"1450 \" is no number"),
        (
            "FLANNEL_MTU=4294967296",
            "FLANNEL_MTU: \"4294967296\" is no number",
        ),
        (
            "FLANNEL_IPV6_NETWORK=fc00::/48",
            "FLANNEL_IPV6_NETWORK without FLANNEL_IPV6_SUBNET",
        ),
        (
            "FLANNEL_IPV6_SUBNET=fc00::/64",
            "FLANNEL_IPV6_SUBNET without FLANNEL_IPV6_NETWORK",
        ),
    ] {
        let error = parse(&format!("{GOOD}{line}")).unwrap_err();
        assert!(error.contains(words), "{line}: {error}");
    }
}

proptest! {
    #[test]
    fn nothing_panics(text in "(FLANNEL_(IPV6_)?(NETWORK|SUBNET|MTU|IPMASQ)?=?[0-9a-f.:/,]{0,20}\n){0,6}\\PC*") {
        let _ = parse(&text);
    }

    #[test]
    fn subnets_are_networks(a: u32, prefix in 0..=32u8, mtu: u32) {
        let text = format!("{}/{prefix}", std::net::Ipv4Addr::from(a));
        let lines = format!(
            "FLANNEL_NETWORK={text}\nFLANNEL_SUBNET={text}\nFLANNEL_MTU={mtu}\nFLANNEL_IPMASQ=false"
        );
        let (subnets, missing) = parse(&lines).unwrap();
        prop_assert_eq!(missing, "");
        prop_assert_eq!(subnets.subnet, Some(cidr(&text).masked()));
        prop_assert_eq!(subnets.networks, vec![cidr(&text).masked()]);
        prop_assert_eq!(subnets.mtu, mtu);
    }
}
