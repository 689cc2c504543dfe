use super::*;

fn spec(text: &str) -> RangeSpec {
    // "subnet start end gateway", with "-" for an absent one.
    let mut fields = text.split(' ');
    let subnet = fields.next().filter(|field| *field != "-").map(|field| {
        let cidr: Cidr = field.parse().unwrap();
        SubnetText {
            cidr,
            mapped: cidr.is_ipv4() && field.contains(':'),
        }
    });
    let mut ip = || {
        fields
            .next()
            .filter(|field| *field != "-")
            .map(|field| field.parse().unwrap())
    };
    RangeSpec {
        subnet,
        start: ip(),
        end: ip(),
        gateway: ip(),
    }
}

pub(super) fn set(texts: &[&str]) -> Result<RangeSet, String> {
    let specs: Vec<RangeSpec> = texts.iter().map(|text| spec(text)).collect();
    RangeSet::new(&specs).map_err(|error| error.to_string())
}

#[test]
fn missing_keys_have_defaults() {
    for (text, expected, gateway, capacity) in [
        ("10.1.2.0/24", "10.1.2.1-10.1.2.254", "10.1.2.1", 253),
        (
            "10.1.2.0/24 10.1.2.9",
            "10.1.2.9-10.1.2.254",
            "10.1.2.1",
            246,
        ),
        ("10.1.2.0/24 - 10.1.2.9", "10.1.2.1-10.1.2.9", "10.1.2.1", 8),
        (
            "10.1.2.0/24 10.1.2.0 10.1.2.255 10.9.9.9",
            "10.1.2.0-10.1.2.255",
            "10.9.9.9",
            256,
        ),
        (
            "10.1.2.0/24 10.1.2.255",
            "10.1.2.255-10.1.2.255",
            "10.1.2.1",
            1,
        ),
        (
            "10.1.2.0/24 10.1.2.1 10.1.2.1",
            "10.1.2.1-10.1.2.1",
            "10.1.2.1",
            0,
        ),
        ("10.1.2.4/30", "10.1.2.5-10.1.2.6", "10.1.2.5", 1),
        (
            "0.0.0.0/0",
            "0.0.0.1-255.255.255.254",
            "0.0.0.1",
            (1 << 32) - 3,
        ),
        (
            "255.255.255.252/30 - 255.255.255.255",
            "255.255.255.253-255.255.255.255",
            "255.255.255.253",
            2,
        ),
        (
            "2001:db8::/126",
            "2001:db8::1-2001:db8::3",
            "2001:db8::1",
            2,
        ),
        (
            "2001:db8::/64",
            "2001:db8::1-2001:db8::ffff:ffff:ffff:ffff",
            "2001:db8::1",
            (1 << 64) - 2,
        ),
        (
            "::1:0:0/112",
            "::1:0:1-::1:0:ffff",
            "::1:0:1",
            (1 << 16) - 2,
        ),
        (
            "::/0 ::",
            "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "::1",
            u128::MAX - 1,
        ),
    ] {
        let set = set(&[text]).unwrap();
        assert_eq!(set.to_string(), expected, "{text}");
        assert_eq!(set.ranges[0].gateway().to_string(), gateway, "{text}");
        assert_eq!(set.capacity(), capacity, "{text}");
    }
}

#[test]
fn refuses_what_upstream_refuses() {
    for (texts, expected) in [
        (&[][..], "empty range set"),
        (&["-"][..], "IP <nil> not v4 nor v6"),
        (
            &["10.1.2.0/31"],
            "Network 10.1.2.0/31 too small to allocate from",
        ),
        (
            &["10.1.2.1/32"],
            "Network 10.1.2.1/32 too small to allocate from",
        ),
        (
            &["2001:db8::/127"],
            "Network 2001:db8::/127 too small to allocate from",
        ),
        (
            &["::ffff:10.1.2.0/120"],
            "IPNet IP and Mask version mismatch",
        ),
        (
            &["10.1.2.1/24"],
            "Network has host bits set. For a subnet mask of length 24 the network address is 10.1.2.0",
        ),
        (
            &["10.1.2.0/24 10.1.3.1"],
            "RangeStart 10.1.3.1 not in network 10.1.2.0/24",
        ),
        (
            &["10.1.2.0/24 10.1.2.9 10.1.2.8"],
            "RangeStart 10.1.2.9 not in network 10.1.2.0/24",
        ),
        (
            &["10.1.2.0/24 2001:db8::1"],
            "RangeStart 2001:db8::1 not in network 10.1.2.0/24",
        ),
        (
            &["10.1.2.0/24 - 10.1.3.1"],
            "RangeEnd 10.1.3.1 not in network 10.1.2.0/24",
        ),
        (
            &["10.1.2.0/24 - 10.1.2.0"],
            "RangeEnd 10.1.2.0 not in network 10.1.2.0/24",
        ),
        (&["10.1.2.0/24", "2001:db8::/64"], "mixed address families"),
        (
            &["10.1.2.0/24", "10.2.0.0/24", "10.1.2.0/25"],
            "subnets 10.1.2.1-10.1.2.254 and 10.1.2.1-10.1.2.126 overlap",
        ),
        (
            &["10.1.2.0/24 - - fd00::1"],
            "gateway fd00::1 and network 10.1.2.0/24 are of different address families",
        ),
    ] {
        assert_eq!(set(texts).unwrap_err(), expected, "{texts:?}");
    }
}

#[test]
fn finds_overlaps() {
    let a = set(&["10.1.2.0/24 - 10.1.2.99"]).unwrap();
    assert!(!a.overlaps(&set(&["10.1.2.0/24 10.1.2.100"]).unwrap()));
    assert!(a.overlaps(&set(&["10.1.2.0/24 10.1.2.99"]).unwrap()));
    assert!(a.overlaps(&set(&["10.0.0.0/8"]).unwrap()));
    assert!(set(&["10.0.0.0/8"]).unwrap().overlaps(&a));
    assert!(!a.overlaps(&set(&["::/0 ::"]).unwrap()));
}

/// Returns the last number of each candidate.
fn walk(texts: &[&str], last: &str) -> String {
    let set = set(texts).unwrap();
    let last = (!last.is_empty()).then(|| last.parse().unwrap());
    let walk = set.walk(last).map(|ip| {
        assert!(set.contains(ip));
        ip.to_string().rsplit(['.', ':']).next().unwrap().to_owned()
    });
    walk.collect::<Vec<_>>().join(" ")
}

#[test]
fn walks_round_robin() {
    let one = &["10.1.2.0/29"][..];
    assert_eq!(walk(one, ""), "2 3 4 5 6");
    assert_eq!(walk(one, "10.1.2.4"), "5 6 2 3 4");
    assert_eq!(walk(one, "10.1.2.6"), "2 3 4 5 6");
    assert_eq!(walk(one, "10.1.2.1"), "2 3 4 5 6");
    assert_eq!(walk(one, "10.9.9.9"), "2 3 4 5 6");
    // After the end of a range comes the next range, not the start of the same one.
    let two = &[
        "10.1.2.0/29 10.1.2.3 10.1.2.4",
        "10.1.2.16/29 10.1.2.20 10.1.2.21 10.1.2.20",
    ];
    assert_eq!(walk(two, ""), "3 4 21");
    assert_eq!(walk(two, "10.1.2.4"), "21 3 4");
    assert_eq!(walk(two, "10.1.2.21"), "3 4 21");
    // A set with one address, and one with none.
    assert_eq!(walk(&["10.1.2.0/24 10.1.2.7 10.1.2.7"], "10.1.2.7"), "7");
    assert_eq!(walk(&["10.1.2.0/24 10.1.2.1 10.1.2.1"], ""), "");
    assert_eq!(walk(&["10.1.2.0/24 10.1.2.1 10.1.2.1"], "10.1.2.1"), "");
    // The last addresses of both families.
    assert_eq!(
        walk(&["255.255.255.252/30 - 255.255.255.255"], ""),
        "254 255"
    );
    let top = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126";
    assert_eq!(walk(&[top], ""), "fffe ffff");
    // An IPv6 address whose number would fit IPv4 stays IPv6.
    assert_eq!(walk(&["::1:0:0/126"], ""), "2 3");
}

proptest::proptest! {
    /// Every address but the gateway is a candidate once, whatever the last one was.
    #[test]
    fn walks_are_complete(start in 0u8..60, len in 0u8..60, gateway: u8, last: u8) {
        let text = format!("10.0.0.0/24 10.0.0.{start} 10.0.0.{} 10.0.0.{gateway}", start + len);
        let set = set(&[&text, "10.0.1.0/28"]).unwrap();
        let last = IpAddr::from([10, 0, 0, last]);
        let mut all: Vec<IpAddr> = set.walk(Some(last)).collect();
        if let Some(at) = all.iter().position(|ip| *ip == last) {
            assert_eq!(at, all.len() - 1);
        }
        all.sort();
        all.dedup();
        assert_eq!(all.len() as u128, set.capacity());
        assert!(!all.contains(&IpAddr::from([10, 0, 0, gateway])));
    }
}
