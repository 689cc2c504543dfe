//! The rules in the kernel.

use serde_json::json;
use testkit::{Host, Node};

use crate::common::{config, portmap};

/// As upstream's, except for the masquerade rules.
const DEFAULT: &str = r#"table ip cni_hostport {
	comment "CNI portmap plugin"
	chain hostports {
		tcp dport 8080 dnat to 10.1.0.2:80 comment "c1"
		ip daddr 192.0.2.1 udp dport 53 dnat to 10.1.0.2:5353 comment "c1"
		sctp dport 9000 dnat to 10.1.0.2:9001 comment "c1"
	}

	chain hostip_hostports {
	}

	chain hostports_all {
		jump hostip_hostports
		jump hostports
	}

	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		fib daddr type local jump hostports_all
	}

	chain output {
		type nat hook output priority -100; policy accept;
		fib daddr type local jump hostports_all
	}

	chain masquerading {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 10.1.0.0/24 ip daddr 10.1.0.2 ct status dnat masquerade comment "c1"
		ip saddr 127.0.0.1 ip daddr 10.1.0.2 masquerade comment "c1"
	}
}
table ip6 cni_hostport {
	comment "CNI portmap plugin"
	chain hostports {
		tcp dport 8080 dnat to [fd00:1::2]:80 comment "c1"
		ip6 daddr 2001:db8::1 udp dport 53 dnat to [fd00:1::2]:5353 comment "c1"
		sctp dport 9000 dnat to [fd00:1::2]:9001 comment "c1"
	}

	chain hostip_hostports {
	}

	chain hostports_all {
		jump hostip_hostports
		jump hostports
	}

	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		fib daddr type local jump hostports_all
	}

	chain output {
		type nat hook output priority -100; policy accept;
		fib daddr type local jump hostports_all
	}

	chain masquerading {
		type nat hook postrouting priority srcnat; policy accept;
		ip6 saddr fd00:1::/64 ip6 daddr fd00:1::2 ct status dnat masquerade comment "c1"
	}
}
"#;

fn mappings() -> serde_json::Value {
    json!([
        {"hostPort": 8080, "containerPort": 80, "protocol": "TCP"},
        {"hostPort": 53, "containerPort": 5353, "protocol": "udp", "hostIP": "192.0.2.1"},
        {"hostPort": 53, "containerPort": 5353, "protocol": "udp", "hostIP": "2001:db8::1"},
        {"hostPort": 9000, "containerPort": 9001, "protocol": "sctp"},
    ])
}

#[test]
fn nftables_rules_are_those_of_upstream() {
    let host = Host::new();
    let container = host.container("c1");
    let config = config(&container, &mappings(), &json!({"backend": "nftables"}));
    portmap().add(&container, &config).expect_ok();
    let rules = || host.command(&["nft", "list", "ruleset"]);
    assert_eq!(rules(), DEFAULT);
    portmap().del(&container, &config).expect_ok();
    let empty: Vec<&str> = DEFAULT
        .lines()
        .filter(|line| !line.contains("\"c1\""))
        .collect();
    assert_eq!(rules().lines().collect::<Vec<_>>(), empty);
    portmap().add(&container, &config).expect_ok();
    assert_eq!(rules(), DEFAULT);
}

#[test]
fn masquerade_rules_and_conditions_are_as_configured() {
    let host = Host::new();
    let container = host.container("c1");
    let add = |extra: serde_json::Value| {
        let config = config(&container, &mappings(), &extra);
        portmap().add(&container, &config).expect_ok();
        let rules = host.command(&["nft", "list", "ruleset"]);
        portmap().del(&container, &config).expect_ok();
        rules
    };
    let rules = add(json!({"backend": "nftables", "snat": false}));
    assert!(!rules.contains("masquerad"), "{rules}");
    let rules = add(json!({"backend": "nftables", "masqAll": true}));
    for rule in [
        "ip daddr 10.1.0.2 ct status dnat masquerade comment \"c1\"",
        "ip6 daddr fd00:1::2 ct status dnat masquerade comment \"c1\"",
    ] {
        assert!(rules.contains(rule), "{rules}");
    }
    let conditions = json!({
        "backend": "nftables",
        "conditionsV4": ["ip", "saddr", "!=", "198.51.100.0/24"],
        "conditionsV6": ["iifname != \"ens2\""],
    });
    let rules = add(conditions);
    for rule in [
        "ip saddr != 198.51.100.0/24 tcp dport 8080 dnat to 10.1.0.2:80 comment \"c1\"",
        "iifname != \"ens2\" tcp dport 8080 dnat to [fd00:1::2]:80 comment \"c1\"",
        "\t\tfib daddr type local jump hostports_all",
    ] {
        assert!(rules.contains(rule), "{rules}");
    }
}

/// Base chains of upstream 1.6 to 1.8 map packets to other machines, too.
#[test]
fn any_verb_replaces_base_chains_of_old_versions() {
    const OLD: &str = "
        add table ip cni_hostport
        add chain ip cni_hostport hostports
        add chain ip cni_hostport hostip_hostports
        add chain ip cni_hostport prerouting { type nat hook prerouting priority -100 ; }
        flush chain ip cni_hostport prerouting
        add rule ip cni_hostport prerouting jump hostip_hostports
        add rule ip cni_hostport prerouting jump hostports
        add chain ip cni_hostport output { type nat hook output priority -100 ; }
        flush chain ip cni_hostport output
        add rule ip cni_hostport output jump hostip_hostports
        add rule ip cni_hostport output fib daddr type local jump hostports
        add rule ip cni_hostport hostports tcp dport 8080 dnat to 10.1.0.2:80 comment \"c1\"
        add rule ip cni_hostport hostip_hostports ip daddr 192.0.2.1 udp dport 53 dnat to 10.1.0.2:53 comment \"c1\"
        add rule ip cni_hostport hostip_hostports ip daddr 192.0.2.1 udp dport 54 dnat to 10.1.0.9:53 comment \"c9\"
    ";
    for verb in ["ADD", "DEL", "GC"] {
        let host = Host::new();
        let container = host.container("c1");
        let script = host.write("old.nft", OLD);
        host.command(&["nft", "-f", script.to_str().unwrap()]);
        let mut config = config(&container, &mappings(), &json!({"backend": "nftables"}));
        config["cniVersion"] = "1.1.0".into();
        config["prevResult"]["cniVersion"] = "1.1.0".into();
        config["cni.dev/valid-attachments"] = json!([]);
        let call = portmap().command(verb);
        let call = if verb == "GC" {
            call
        } else {
            call.container(&container)
        };
        call.config(&config).run().expect_ok();
        let rules = host.command(&["nft", "list", "table", "ip", "cni_hostport"]);
        let jumps: Vec<&str> = rules
            .lines()
            .map(str::trim)
            .filter(|line| line.contains("jump"))
            .collect();
        let mut expected = vec!["fib daddr type local jump hostports_all"; 2];
        expected.extend(["jump hostip_hostports", "jump hostports"]);
        let mut sorted = jumps.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected, "{verb}\n{rules}");
        assert!(rules.contains("10.1.0.9:53"), "{rules}");
        if verb == "DEL" {
            assert!(!rules.contains("10.1.0.2"), "{rules}");
        }
    }
}
