//! Configurations of the reference plugins.
//!
//! Containers of the main plugins are in 10.7.0.0/16, those of plugins that own their segment also in fd00:7::/64. Other
//! main plugins have no IPv6 address, since ADD waits for duplicate address detection on links that leave the host.

use serde_json::{Value, json};

use super::{Class, Subject};

/// The address of the network beyond the host.
const BEYOND: &str = "10.7.0.1";

/// The description of a reference plugin, `None` for others.
pub(crate) fn builtin(plugin: &str) -> Option<Subject> {
    let subject = match plugin {
        "bridge" => gateway(plugin, &json!({"bridge": "cni0", "isDefaultGateway": true})),
        "ptp" => ptp(),
        "macvlan" => on_a_master(plugin, &json!({"mode": "bridge"})),
        "ipvlan" => on_a_master(plugin, &json!({"mode": "l2"})).needing("ipvlan"),
        "vlan" => vlan(),
        "dummy" => main(plugin, &json!({"ipam": v4()})).needing("dummy"),
        "tap" => main(plugin, &json!({"ipam": v4()})),
        "host-device" => host_device(),
        "loopback" => Subject {
            if_name: "lo".into(),
            repeatable: true,
            ..main(plugin, &json!({}))
        },
        "flannel" => flannel(),
        "host-local" => ipam(plugin, dual_stack()),
        "static" => Subject {
            repeatable: true,
            ..ipam(
                plugin,
                json!({"type": "static", "addresses": [{"address": "10.7.0.5/16", "gateway": BEYOND}]}),
            )
        },
        "dhcp" => dhcp(),
        _ => return chained(plugin),
    };
    Some(subject)
}

/// The plugins that run behind others.
fn chained(plugin: &str) -> Option<Subject> {
    let keys = match plugin {
        "portmap" => json!({
            "capabilities": {"portMappings": true},
            "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}
        }),
        "firewall" | "sbr" => json!({}),
        "bandwidth" => json!({
            "ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 8_000_000, "egressBurst": 800_000
        }),
        "tuning" => json!({"sysctl": {"net.core.somaxconn": "500"}}),
        "vrf" => json!({"vrfname": "blue"}),
        _ => return None,
    };
    let subject = Subject {
        class: Class::Chained,
        repeatable: true,
        ignores_netns: matches!(plugin, "portmap" | "firewall"),
        ..main(plugin, &keys)
    };
    Some(match plugin {
        "bandwidth" => subject.needing("ifb"),
        "vrf" => Subject {
            // The kernel adds this rule with the first VRF of a namespace, and keeps it.
            ignore: vec!["l3mdev".into()],
            ..subject.needing("vrf")
        },
        _ => subject,
    })
}

/// A plugin with these keys in its configuration.
fn main(plugin: &str, keys: &Value) -> Subject {
    let config = json!({"name": "conformance", "type": plugin});
    Subject {
        plugin: plugin.into(),
        config: testkit::merge(config, keys),
        class: Class::Main,
        if_name: "eth0".into(),
        versions: Vec::new(),
        repeatable: false,
        ignores_netns: false,
        exclusive: false,
        reaches: Vec::new(),
        connects: false,
        before: Vec::new(),
        container: Vec::new(),
        needs: Vec::new(),
        ignore: Vec::new(),
    }
}

/// A plugin whose gateway is the host, with both address families.
fn gateway(plugin: &str, keys: &Value) -> Subject {
    Subject {
        reaches: vec![BEYOND.into(), "fd00:7::1".into()],
        connects: true,
        ..main(plugin, &testkit::merge(json!({"ipam": dual_stack()}), keys))
    }
}

fn ptp() -> Subject {
    let mut subject = gateway("ptp", &json!({}));
    subject.config["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
    subject.connects = false;
    subject
}

/// A plugin with the master `up0`, whose peer is the network beyond the host.
fn on_a_master(plugin: &str, keys: &Value) -> Subject {
    let own = json!({"master": "up0", "ipam": v4()});
    Subject {
        reaches: vec![BEYOND.into()],
        connects: true,
        before: vec![
            "ip link add up0 type veth peer name down0".into(),
            "ip link set up0 addrgenmode none up".into(),
            format!("ip link set down0 addrgenmode none up && ip addr add {BEYOND}/16 dev down0"),
        ],
        ..main(plugin, &testkit::merge(own, keys))
    }
}

fn vlan() -> Subject {
    let mut subject = on_a_master("vlan", &json!({"vlanId": 5}));
    subject.connects = false;
    // The kernel has one link of an ID on a master.
    subject.exclusive = true;
    subject.before.push(format!(
        "ip addr flush dev down0 && ip link add down5 link down0 type vlan id 5 && ip link set down5 up && \
         ip addr add {BEYOND}/16 dev down5"
    ));
    subject.needing("vlan")
}

fn host_device() -> Subject {
    Subject {
        exclusive: true,
        reaches: vec![BEYOND.into()],
        before: vec![
            "ip link add dev0 type veth peer name far0".into(),
            format!("ip link set far0 addrgenmode none up && ip addr add {BEYOND}/16 dev far0"),
        ],
        // The kernel deletes a virtual device with the namespace.
        ignore: vec!["dev0".into(), "far0".into()],
        ..main("host-device", &json!({"device": "dev0", "ipam": v4()}))
    }
}

fn flannel() -> Subject {
    let file = "FLANNEL_NETWORK=10.7.0.0/16\\nFLANNEL_SUBNET=10.7.1.1/24\\n\
                FLANNEL_IPV6_NETWORK=fd00:7::/48\\nFLANNEL_IPV6_SUBNET=fd00:7:0:1::1/64\\n\
                FLANNEL_MTU=1450\\nFLANNEL_IPMASQ=false\\n";
    Subject {
        reaches: vec!["10.7.1.1".into(), "fd00:7:0:1::1".into()],
        connects: true,
        before: vec![format!(
            "mkdir /run/flannel && printf '{file}' >/run/flannel/subnet.env"
        )],
        ..main("flannel", &json!({"delegate": {"ipMasq": false}}))
    }
}

/// An IPAM plugin. The main plugin in its configuration is not executed.
fn ipam(plugin: &str, ipam: Value) -> Subject {
    let mut subject = main("bridge", &json!({"ipam": ipam}));
    subject.plugin = plugin.into();
    subject.class = Class::Ipam;
    subject
}

/// The daemon and a server on one segment with all containers.
fn dhcp() -> Subject {
    Subject {
        before: vec![
            "ip link add lan0 address 02:00:00:00:00:fe type bridge mcast_snooping 0".into(),
            format!("ip link set lan0 addrgenmode none up && ip addr add {BEYOND}/16 dev lan0"),
            "dnsmasq --keep-in-foreground --conf-file=/dev/null --user= --port=0 --no-ping --interface=lan0 \
             --dhcp-range=10.7.0.2,10.7.0.200 --dhcp-leasefile=/run/dnsmasq.leases --pid-file= >/dev/null 2>&1 &"
                .into(),
            "\"$PLUGINS/dhcp\" daemon >/dev/null 2>&1 & \
             until test -S /run/cni/dhcp.sock; do sleep 0.02; done"
                .into(),
        ],
        container: vec![
            "ip link add \"port$NUMBER\" type veth peer name \"$IFNAME\" netns \"$ID\"".into(),
            "ip link set \"port$NUMBER\" addrgenmode none master lan0 up".into(),
            "ip -n \"$ID\" link set \"$IFNAME\" up".into(),
        ],
        repeatable: true,
        ignore: ["port", "dnsmasq", "dhcp.sock"].map(String::from).to_vec(),
        ..ipam("dhcp", json!({"type": "dhcp"}))
    }
}

fn v4() -> Value {
    json!({"type": "host-local", "ranges": [[{"subnet": "10.7.0.0/16"}]]})
}

fn dual_stack() -> Value {
    json!({
        "type": "host-local",
        "ranges": [[{"subnet": "10.7.0.0/16"}], [{"subnet": "fd00:7::/64"}]]
    })
}

impl Subject {
    fn needing(mut self, feature: &str) -> Subject {
        self.needs.push(feature.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_descriptions_are_valid() {
        for plugin in [
            "bridge",
            "ptp",
            "macvlan",
            "ipvlan",
            "vlan",
            "dummy",
            "tap",
            "host-device",
            "loopback",
            "flannel",
            "host-local",
            "static",
            "dhcp",
            "portmap",
            "firewall",
            "bandwidth",
            "tuning",
            "sbr",
            "vrf",
        ] {
            let subject = builtin(plugin).expect(plugin);
            subject.validate().expect(plugin);
            assert_eq!(subject.plugin, plugin);
        }
        assert!(builtin("other").is_none());
    }
}
