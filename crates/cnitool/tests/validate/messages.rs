//! The messages about the files in `tests/broken`, in full.

/// Name of a file, and the messages about it: line, column and text.
pub(crate) const MESSAGES: [(&str, &[&str]); 60] = [
    (
        "01-comment.conflist",
        &[r#"2:3: error: JSON has no comments, remove it, or write a key "_comment""#],
    ),
    (
        "02-trailing-comma.conflist",
        &["5:102: error: there is a comma after the last element, remove it"],
    ),
    (
        "03-missing-comma.conflist",
        &[r#"2:24: error: a comma is missing, write "," before this"#],
    ),
    (
        "04-byte-order-mark.conflist",
        &["1:1: error: the file begins with a byte order mark, save it as UTF-8 without BOM"],
    ),
    (
        "05-cut-off.conflist",
        &[r#"5:5: error: the object has no end, write "}" where it ends"#],
    ),
    (
        "06-yaml.conflist",
        &[
            r#"1:1: error: this is not JSON, write a network list, which begins with "{"; YAML is not read"#,
        ],
    ),
    (
        "07-typographic-quotes.conflist",
        &[r#"2:3: error: typographic quotes do not delimit strings, write ""#],
    ),
    (
        "08-single-quotes.conflist",
        &[r#"3:11: error: strings are in double quotes, write ""#],
    ),
    (
        "09-tab-in-text.conflist",
        &[r#"5:38: error: there is a tab or line break in a text, write "\t" or "\n""#],
    ),
    (
        "10-empty.conflist",
        &["1:1: error: the file is empty, write a network list"],
    ),
    (
        "11-list-in-conf.conf",
        &[
            "1:1: error: a network list in a file with this suffix is read as the configuration of one plugin, rename the file to .conflist",
        ],
    ),
    (
        "12-plugin-in-conflist.conflist",
        &[
            r#"1:1: error: the file is called a network list, and is the configuration of one plugin, write it into a list "plugins", or rename the file to .conf"#,
        ],
    ),
    (
        "13-other-suffix.yaml",
        &[
            "1:1: warning: runtimes do not read files with this suffix, rename the file to .conflist or .conf",
        ],
    ),
    (
        "14-version-two-parts.conflist",
        &[
            r#"2:17: error: cniVersion "1.0" is not supported (/cniVersion), write "1.0.0"; the values are "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0" and "1.1.0""#,
        ],
    ),
    (
        "15-version-unknown.conflist",
        &[
            r#"2:17: error: cniVersion "0.5.0" is not supported (/cniVersion), write "0.1.0"; the values are "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0" and "1.1.0""#,
        ],
    ),
    (
        "16-version-number.conflist",
        &[r#"2:17: error: expected a string, got 1.0 (/cniVersion), write "1.0""#],
    ),
    (
        "17-name-missing.conflist",
        &[r#"1:1: error: the file has no "name", add "name""#],
    ),
    (
        "18-name-blank.conflist",
        &[
            r#"3:11: error: name "my pods" is not valid (/name), write letters, digits, "_", "." and "-", beginning with a letter or digit"#,
        ],
    ),
    (
        "19-plugins-capital.conflist",
        &[
            r#"1:1: error: the network list has no plugins, write "plugins" in lower case: the case of keys counts here"#,
            r#"4:3: warning: a network list has no key "Plugins" (/Plugins), write "plugins""#,
        ],
    ),
    (
        "20-no-plugins.conflist",
        &["4:14: error: plugins is empty (/plugins), add a plugin"],
    ),
    (
        "21-type-missing.conflist",
        &[r#"5:5: error: element 0 of plugins has no "type" (/plugins/0), add "type""#],
    ),
    (
        "22-type-misspelled.conflist",
        &[
            r#"5:15: warning: macvaln is not a plugin of this set (/plugins/0/type), write "macvlan" if that is meant"#,
        ],
    ),
    (
        "23-type-path.conflist",
        &[
            r#"5:15: error: type "/opt/cni/bin/bridge" is not valid (/plugins/0/type), write the name of the file, without its directory"#,
        ],
    ),
    (
        "24-key-misspelled.conflist",
        &[r#"7:7: warning: bridge has no key "isGatway" (/plugins/0/isGatway), write "isGateway""#],
    ),
    (
        "25-key-unknown.conflist",
        &[
            r#"7:7: warning: bridge has no key "allowInternet" (/plugins/0/allowInternet), remove it, since it has no effect"#,
        ],
    ),
    (
        "26-key-twice.conflist",
        &[
            r#"8:7: warning: the key occurs twice, first as "mtu"; the last one is used (/plugins/0/MTU), remove one of them"#,
        ],
    ),
    (
        "27-boolean-text.conflist",
        &[
            r#"7:22: error: expected true or false, got "true" (/plugins/0/hairpinMode), write true"#,
        ],
    ),
    (
        "28-number-text.conflist",
        &[r#"7:14: error: expected an integer or "auto", got "1500" (/plugins/0/mtu), write 1500"#],
    ),
    (
        "29-mtu-range.conflist",
        &["7:14: error: mtu 70000 is out of range (/plugins/0/mtu), write 68 to 65535"],
    ),
    (
        "30-vlan-range.conflist",
        &["7:15: error: vlan 4095 is out of range (/plugins/0/vlan), write 0 to 4094"],
    ),
    (
        "31-mode-unknown.conflist",
        &[
            r#"5:52: error: mode "bridged" is not supported (/plugins/0/mode), write "bridge"; the values are "bridge", "private", "vepa" and "passthru""#,
        ],
    ),
    (
        "32-policy-unknown.conflist",
        &[
            r#"6:44: error: ingressPolicy "isolate" is not supported (/plugins/1/ingressPolicy), write "isolated"; the values are "open", "same-bridge" and "isolated""#,
        ],
    ),
    (
        "33-backend-unknown.conflist",
        &[
            r#"6:38: error: backend "nft" is not supported (/plugins/1/backend), write "nftables"; the values are "iptables", "firewalld" and "nftables""#,
        ],
    ),
    (
        "34-hairpin-and-promiscuous.conflist",
        &[
            "5:5: error: hairpinMode and promiscMode cannot be combined (/plugins/0), remove hairpinMode or promiscMode",
        ],
    ),
    (
        "35-vlan-without-master.conflist",
        &[r#"5:5: error: element 0 of plugins has no "master" (/plugins/0), add "master""#],
    ),
    (
        "36-ranges-not-nested.conflist",
        &[
            "7:50: error: expected an array, got an object (/plugins/0/ipam/ranges/0), write [[{ … }]]: a list of range sets, each of which is a list of ranges",
        ],
    ),
    (
        "37-subnet-host-bits.conflist",
        &[
            r#"7:63: error: subnet 10.1.0.1/16 is an address within a network (/plugins/0/ipam/ranges/0/0/subnet), write "10.1.0.0/16""#,
        ],
    ),
    (
        "38-subnet-no-prefix.conflist",
        &[
            r#"7:49: error: subnet "10.1.0.0" is not an address with a prefix length (/plugins/0/ipam/subnet), write its prefix length, for example "10.1.0.0/24""#,
        ],
    ),
    (
        "39-subnet-too-small.conflist",
        &[
            "7:49: error: subnet 10.1.0.4/31 is too small to allocate from (/plugins/0/ipam/subnet), write a prefix length of at most 30",
        ],
    ),
    (
        "40-range-outside.conflist",
        &[
            "7:78: error: rangeStart 10.1.1.10 is not in the subnet 10.1.0.0/24 (/plugins/0/ipam/rangeStart), write an address between 10.1.0.0 and 10.1.0.255",
        ],
    ),
    (
        "41-range-reversed.conflist",
        &[
            "7:104: error: rangeEnd 10.1.0.100 is before rangeStart 10.1.0.200 (/plugins/0/ipam/rangeEnd), exchange the two",
        ],
    ),
    (
        "42-gateway-outside.conflist",
        &[
            "7:75: warning: gateway 10.1.1.1 is not in the subnet 10.1.0.0/24 (/plugins/0/ipam/gateway), write an address between 10.1.0.0 and 10.1.0.255",
        ],
    ),
    (
        "43-ranges-overlap.conflist",
        &[
            "7:88: error: 10.1.2.0/24 and 10.1.0.0/16 of /plugins/0/ipam/subnet overlap (/plugins/0/ipam/ranges/0/0/subnet), write another subnet, or ranges that do not overlap",
        ],
    ),
    (
        "44-address-no-prefix.conflist",
        &[
            r#"7:62: error: address "10.1.0.5" is not an address with a prefix length (/plugins/0/ipam/addresses/0/address), write its prefix length, for example "10.1.0.5/24""#,
        ],
    ),
    (
        "45-route-key.conflist",
        &[
            r#"7:91: error: element 0 of routes has no "dst" (/plugins/0/ipam/routes/0), add "dst""#,
            r#"7:93: warning: element 0 of routes has no key "to" (/plugins/0/ipam/routes/0/to), write "dst""#,
        ],
    ),
    (
        "46-no-addresses.conflist",
        &[
            r#"7:15: error: host-local has no addresses to allocate (/plugins/0/ipam), add "ranges": [[{ "subnet": "10.1.0.0/16" }]]"#,
        ],
    ),
    (
        "47-no-ipam.conflist",
        &[
            r#"5:5: warning: containers get no addresses without ipam (/plugins/0), add "ipam": { "type": "host-local", … }, unless it is to be layer 2 only"#,
        ],
    ),
    (
        "48-ipam-in-list.conflist",
        &[
            r#"6:15: error: host-local is an IPAM plugin, which creates no interface (/plugins/1/type), write "ipam": { "type": "host-local", … } in the plugin that creates the interface"#,
        ],
    ),
    (
        "49-ipam-is-no-ipam.conflist",
        &[
            r#"7:25: error: portmap is not an IPAM plugin (/plugins/0/ipam/type), write "host-local", "static" or "dhcp""#,
        ],
    ),
    (
        "50-portmap-first.conflist",
        &[
            "5:15: error: portmap runs before bridge, and needs its result (/plugins/0/type), move it behind bridge",
        ],
    ),
    (
        "51-two-interfaces.conflist",
        &[
            "6:15: error: bridge has already created the interface that macvlan would create (/plugins/1/type), make two networks of them, or remove bridge or macvlan",
        ],
    ),
    (
        "52-portmap-no-capability.conflist",
        &[
            r#"6:5: warning: portmap maps no ports without the capability portMappings (/plugins/1), add "capabilities": { "portMappings": true }"#,
        ],
    ),
    (
        "53-capability-case.conflist",
        &[
            r#"6:66: warning: runtimes know no capability "portmappings"; the case counts (/plugins/1/capabilities/portmappings), write "portMappings""#,
        ],
    ),
    (
        "54-masquerade-no-gateway.conflist",
        &[
            r#"7:17: warning: ipMasq has no effect while the bridge is not the gateway of the containers (/plugins/0/ipMasq), add "isGateway": true, or remove ipMasq"#,
        ],
    ),
    (
        "55-masquerade-no-route.conflist",
        &[
            r#"8:17: warning: containers get no default route, so that they reach no network to masquerade for (/plugins/0/ipMasq), write isDefaultGateway for isGateway, or add "routes": [{ "dst": "0.0.0.0/0" }] to ipam"#,
        ],
    ),
    (
        "56-burst-missing.conflist",
        &[
            r#"6:5: error: ingressRate needs ingressBurst, which is missing (/plugins/1), add "ingressBurst""#,
        ],
    ),
    (
        "57-sysctl-number.conflist",
        &[
            r#"6:59: error: expected a string, got 500 (/plugins/1/sysctl/net.core.somaxconn), write "500""#,
        ],
    ),
    (
        "58-sysctl-of-host.conflist",
        &[
            r#"6:37: error: sysctl "kernel.shmmax" is not valid (/plugins/1/sysctl), write a name below "net": all others belong to the host"#,
        ],
    ),
    (
        "59-firewall-old-version.conflist",
        &[
            r#"6:15: error: firewall does not support version 0.3.1 of the specification (/plugins/1/type), set cniVersion to "1.0.0", or at least to "0.4.0""#,
        ],
    ),
    (
        "60-nameservers-text.conflist",
        &[
            r#"7:31: error: expected an array, got "10.0.0.53" (/plugins/0/dns/nameservers), write ["10.0.0.53"]"#,
        ],
    ),
];
