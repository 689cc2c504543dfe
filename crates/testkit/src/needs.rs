//! Kernel features that a test cannot do without.

use crate::{Host, Node};

/// Ends the test if the running kernel lacks one of `features`: kinds of links (`vlan`, `ipvlan`, `dummy`,
/// `vrf`) and of queues (`fq_codel`, `fq`).
///
/// # Panics
///
/// When one is missing: the test is then to be run on another kernel.
pub fn needs(features: &[&str]) {
    let host = Host::new();
    for feature in features {
        if matches!(*feature, "fq_codel" | "fq") {
            if let Err(error) =
                host.try_command(&["tc", "qdisc", "add", "dev", "lo", "root", feature])
            {
                panic!("needs UML: this kernel lacks {feature}: {error}");
            }
            continue;
        }
        let mut argv = vec!["ip", "link", "add", "probe0"];
        if matches!(*feature, "vlan" | "ipvlan") {
            host.command(&["ip", "link", "add", "parent0", "type", "veth"]);
            argv.extend(["link", "parent0"]);
        }
        argv.extend(["type", feature]);
        argv.extend(match *feature {
            "vlan" => ["id", "5"].as_slice(),
            "vrf" => ["table", "5"].as_slice(),
            _ => [].as_slice(),
        });
        if let Err(error) = host.try_command(&argv) {
            panic!("needs UML: this kernel lacks {feature}: {error}");
        }
        host.command(&["ip", "link", "del", "probe0"]);
    }
}
