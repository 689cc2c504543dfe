//! A side of the comparison: ours, the peer, or the floor.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testkit::{Container, Host, Node};

use super::cases::Case;
use crate::commands;

/// The container, names and directory of one side in the shared host.
pub(crate) struct Side {
    /// `ours`, `peer` or `floor`; part of the names of everything that is created.
    pub(crate) tag: &'static str,
    /// Distinguishes the addresses of the sides.
    number: u8,
    /// The number of objects that the case's preparation creates.
    count: u32,
    /// The container that is attached and detached.
    pub(crate) container: Container,
    /// A directory for files.
    pub(crate) scratch: PathBuf,
}

impl Side {
    /// Runs the case's preparation.
    pub(crate) fn new(host: &Host, case: &Case, tag: &'static str, number: u8) -> Result<Side> {
        let scratch = host.dir().join(tag);
        fs::create_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
        let side = Side {
            tag,
            number,
            count: case.count,
            container: host
                .try_container(tag)
                .with_context(|| format!("container {tag}"))?,
            scratch,
        };
        let mut shell = Command::new("sh");
        shell.args(["-ec", case.prepare]).envs(side.variables());
        commands::read(&mut shell).with_context(|| format!("prepare {} for {tag}", case.name))?;
        Ok(side)
    }

    /// The variables of configurations, scripts and the floor's operations. Longer names come first.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let (tag, n) = (self.tag, self.number);
        let range = |subnet: String| json!([{ "subnet": subnet }]);
        let (v4, v6) = (format!("10.{n}.0.0/16"), format!("fd00:{n}::/64"));
        let ipv4 = json!({"type": "host-local", "ranges": [range(v4.clone())]});
        let dual = json!({"type": "host-local", "ranges": [range(v4), range(v6)]});
        let netns = self.container.netns().display().to_string();
        let nftables = if tag == "peer" {
            "iptables"
        } else {
            "nftables"
        };
        vec![
            // A result in the form of `bridge` or `ptp`, with interfaces that exist.
            (
                "attached",
                self.previous(&format!("veth-{tag}")).to_string(),
            ),
            // A result for plugins that only read addresses.
            ("previous", self.previous("").to_string()),
            ("nftables", nftables.into()),
            ("network", self.network()),
            ("bridge", format!("br-{tag}")),
            ("leases", self.leases()),
            ("netns", netns),
            ("dual", dual.to_string()),
            ("ipv4", ipv4.to_string()),
            ("link", format!("up-{tag}")),
            ("veth", format!("veth-{tag}")),
            ("count", self.count.to_string()),
            ("tag", tag.into()),
            ("n", n.to_string()),
        ]
    }

    /// Returns `text` with the variables replaced by their values.
    pub(crate) fn fill(&self, text: &str) -> String {
        let variables = self.variables().into_iter();
        variables.fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("${name}"), &value)
        })
    }

    /// The configuration of a plugin.
    pub(crate) fn config(&self, plugin: &str, keys: &str, version: &str) -> Result<Value> {
        let mut config: Value = serde_json::from_str(&self.fill(keys))
            .with_context(|| format!("configuration of {plugin}"))?;
        config["cniVersion"] = version.into();
        config["name"] = self.network().into();
        config["type"] = plugin.into();
        Ok(config)
    }

    fn previous(&self, veth: &str) -> Value {
        let n = self.number;
        let eth0 = json!({"name": "eth0", "sandbox": self.container.netns()});
        let host: Vec<Value> = (!veth.is_empty())
            .then(|| json!({"name": veth}))
            .into_iter()
            .collect();
        let index = host.len();
        let interfaces: Vec<Value> = host.into_iter().chain([eth0]).collect();
        json!({
            "cniVersion": "1.0.0", "interfaces": interfaces, "routes": [{"dst": "0.0.0.0/0"}], "dns": {},
            "ips": [{"address": format!("10.{n}.0.2/16"), "gateway": format!("10.{n}.0.1"), "interface": index}],
        })
    }

    fn network(&self) -> String {
        format!("net-{}", self.tag)
    }

    fn leases(&self) -> String {
        format!("/var/lib/cni/networks/{}", self.network())
    }

    /// Deletes what this case leaves on the host.
    pub(crate) fn clean(&self, host: &Host) -> Result<()> {
        // Only some cases have a bridge.
        let _ = host.try_command(&["ip", "link", "del", &format!("br-{}", self.tag)]);
        match fs::remove_dir_all(self.leases()) {
            Err(err) if err.kind() != std::io::ErrorKind::NotFound => {
                Err(err).context(self.leases())
            }
            _ => Ok(()),
        }
    }
}
