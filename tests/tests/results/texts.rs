//! Texts of results in three forms: before 0.3.0, before 1.0.0, from 1.0.0 on.

/// The network of the README.
pub(crate) const README: [&str; 3] = [
    r#"{
    "cniVersion": "<version>",
    "ip4": {
        "ip": "10.22.0.2/16",
        "gateway": "10.22.0.1",
        "routes": [
            {
                "dst": "0.0.0.0/0"
            }
        ]
    },
    "dns": {}
}"#,
    r#"{
    "cniVersion": "<version>",
    "interfaces": [
        {
            "name": "cni0",
            "mac": "<bridge mac>"
        },
        {
            "name": "<veth>",
            "mac": "<veth mac>"
        },
        {
            "name": "eth0",
            "mac": "<mac>",
            "sandbox": "<netns>"
        }
    ],
    "ips": [
        {
            "version": "4",
            "interface": 2,
            "address": "10.22.0.2/16",
            "gateway": "10.22.0.1"
        }
    ],
    "routes": [
        {
            "dst": "0.0.0.0/0"
        }
    ],
    "dns": {}
}"#,
    r#"{
    "cniVersion": "<version>",
    "interfaces": [
        {
            "mac": "<bridge mac>",
            "name": "cni0"
        },
        {
            "mac": "<veth mac>",
            "name": "<veth>"
        },
        {
            "mac": "<mac>",
            "name": "eth0",
            "sandbox": "<netns>"
        }
    ],
    "ips": [
        {
            "address": "10.22.0.2/16",
            "gateway": "10.22.0.1",
            "interface": 2
        }
    ],
    "routes": [
        {
            "dst": "0.0.0.0/0"
        }
    ]
}"#,
];

/// A network with both address families.
pub(crate) const DUAL_STACK: [&str; 3] = [
    r#"{
    "cniVersion": "<version>",
    "ip4": {
        "ip": "10.23.0.2/16",
        "gateway": "10.23.0.1",
        "routes": [
            {
                "dst": "0.0.0.0/0",
                "gw": "10.23.0.1"
            }
        ]
    },
    "ip6": {
        "ip": "fd00:23::2/64",
        "gateway": "fd00:23::1",
        "routes": [
            {
                "dst": "::/0",
                "gw": "fd00:23::1"
            }
        ]
    },
    "dns": {}
}"#,
    r#"{
    "cniVersion": "<version>",
    "interfaces": [
        {
            "name": "cni0",
            "mac": "<bridge mac>"
        },
        {
            "name": "<veth>",
            "mac": "<veth mac>"
        },
        {
            "name": "eth0",
            "mac": "<mac>",
            "sandbox": "<netns>"
        }
    ],
    "ips": [
        {
            "version": "4",
            "interface": 2,
            "address": "10.23.0.2/16",
            "gateway": "10.23.0.1"
        },
        {
            "version": "6",
            "interface": 2,
            "address": "fd00:23::2/64",
            "gateway": "fd00:23::1"
        }
    ],
    "routes": [
        {
            "dst": "0.0.0.0/0",
            "gw": "10.23.0.1"
        },
        {
            "dst": "::/0",
            "gw": "fd00:23::1"
        }
    ],
    "dns": {}
}"#,
    r#"{
    "cniVersion": "<version>",
    "interfaces": [
        {
            "mac": "<bridge mac>",
            "name": "cni0"
        },
        {
            "mac": "<veth mac>",
            "name": "<veth>"
        },
        {
            "mac": "<mac>",
            "name": "eth0",
            "sandbox": "<netns>"
        }
    ],
    "ips": [
        {
            "address": "10.23.0.2/16",
            "gateway": "10.23.0.1",
            "interface": 2
        },
        {
            "address": "fd00:23::2/64",
            "gateway": "fd00:23::1",
            "interface": 2
        }
    ],
    "routes": [
        {
            "dst": "0.0.0.0/0",
            "gw": "10.23.0.1"
        },
        {
            "dst": "::/0",
            "gw": "fd00:23::1"
        }
    ]
}"#,
];

/// Every member of routes and DNS, from host-local.
pub(crate) const EVERYTHING: [&str; 3] = [
    r#"{
    "cniVersion": "<version>",
    "ip4": {
        "ip": "10.24.0.9/24",
        "gateway": "10.24.0.254",
        "routes": [
            {
                "dst": "192.0.2.7/24",
                "gw": "10.24.0.253"
            },
            {
                "dst": "198.51.100.0/24"
            }
        ]
    },
    "dns": {
        "nameservers": [
            "192.0.2.53",
            "2001:db8::53"
        ],
        "domain": "example.com",
        "search": [
            "a.example.com",
            "b.example.com",
            "c.example.com"
        ],
        "options": [
            "ndots:2",
            "edns0"
        ]
    }
}"#,
    r#"{
    "cniVersion": "<version>",
    "ips": [
        {
            "version": "4",
            "address": "10.24.0.9/24",
            "gateway": "10.24.0.254"
        }
    ],
    "routes": [
        {
            "dst": "192.0.2.7/24",
            "gw": "10.24.0.253",
            "mtu": 1400,
            "advmss": 1360,
            "priority": 7,
            "table": 0,
            "scope": 0
        },
        {
            "dst": "198.51.100.0/24"
        }
    ],
    "dns": {
        "nameservers": [
            "192.0.2.53",
            "2001:db8::53"
        ],
        "domain": "example.com",
        "search": [
            "a.example.com",
            "b.example.com",
            "c.example.com"
        ],
        "options": [
            "ndots:2",
            "edns0"
        ]
    }
}"#,
    r#"{
    "cniVersion": "<version>",
    "dns": {
        "domain": "example.com",
        "nameservers": [
            "192.0.2.53",
            "2001:db8::53"
        ],
        "options": [
            "ndots:2",
            "edns0"
        ],
        "search": [
            "a.example.com",
            "b.example.com",
            "c.example.com"
        ]
    },
    "ips": [
        {
            "address": "10.24.0.9/24",
            "gateway": "10.24.0.254"
        }
    ],
    "routes": [
        {
            "advmss": 1360,
            "dst": "192.0.2.7/24",
            "gw": "10.24.0.253",
            "mtu": 1400,
            "priority": 7,
            "scope": 0,
            "table": 0
        },
        {
            "dst": "198.51.100.0/24"
        }
    ]
}"#,
];

/// `lo` of a container.
pub(crate) const LOOPBACK: [&str; 3] = [
    r#"{
    "cniVersion": "<version>",
    "ip4": {
        "ip": "127.0.0.1/8"
    },
    "ip6": {
        "ip": "::1/128"
    },
    "dns": {}
}"#,
    r#"{
    "cniVersion": "<version>",
    "interfaces": [
        {
            "name": "lo",
            "mac": "00:00:00:00:00:00",
            "sandbox": "<netns>"
        }
    ],
    "ips": [
        {
            "version": "4",
            "interface": 0,
            "address": "127.0.0.1/8"
        },
        {
            "version": "6",
            "interface": 0,
            "address": "::1/128"
        }
    ],
    "dns": {}
}"#,
    r#"{
    "cniVersion": "<version>",
    "interfaces": [
        {
            "mac": "00:00:00:00:00:00",
            "name": "lo",
            "sandbox": "<netns>"
        }
    ],
    "ips": [
        {
            "address": "127.0.0.1/8",
            "interface": 0
        },
        {
            "address": "::1/128",
            "interface": 0
        }
    ]
}"#,
];
