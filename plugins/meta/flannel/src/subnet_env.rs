//! Reads `subnet.env`, in which the flannel daemon writes the subnets of this node.

#[cfg(test)]
mod tests;

use anyhow::{anyhow, bail};
use cni_core::quote::quote;
use cni_core::{Cidr, Code, Error, errno};
use std::fs;
use std::io;
use std::path::Path;

/// The networks and the node's subnets of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubnetEnv {
    /// `FLANNEL_NETWORK`: the IPv4 networks of all nodes.
    pub networks: Vec<Cidr>,
    /// `FLANNEL_SUBNET`: the node's subnet.
    pub subnet: Option<Cidr>,
    /// `FLANNEL_IPV6_NETWORK`.
    pub ipv6_networks: Vec<Cidr>,
    /// `FLANNEL_IPV6_SUBNET`.
    pub ipv6_subnet: Option<Cidr>,
    /// `FLANNEL_MTU`: the MTU between nodes, in bytes.
    pub mtu: u32,
    /// `FLANNEL_IPMASQ`: the daemon masquerades.
    pub ip_masq: bool,
}

impl SubnetEnv {
    /// Reads the file.
    ///
    /// # Errors
    /// Code 11 while the daemon has not written it, or not all of it; else the malformed
    /// line.
    pub fn load(path: &Path) -> anyhow::Result<SubnetEnv> {
        let message = |cause: String| {
            format!(
                "failed to load flannel 'subnet.env' file: {cause}. Check the flannel pod log \
                 for this node."
            )
        };
        let not_yet = |cause| Error::new(Code::TRY_AGAIN_LATER, message(cause));
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(e) => {
                let cause = format!("open {}: {}", path.display(), errno::of(&e));
                return Err(match e.kind() {
                    io::ErrorKind::NotFound => not_yet(cause).into(),
                    _ => anyhow!(message(cause)),
                });
            }
        };
        let (subnets, missing) = SubnetEnv::parse(&String::from_utf8_lossy(&text))
            .map_err(|e| anyhow!(message(format!("{}: {e:#}", path.display()))))?;
        if !missing.is_empty() {
            let cause = format!("{} is missing {}", path.display(), missing.join(", "));
            return Err(not_yet(cause).into());
        }
        Ok(subnets)
    }

    /// Parses lines of `KEY=value`. Blanks and quotes have no meaning, unknown keys are
    /// ignored. Also returns the names of missing keys.
    fn parse(text: &str) -> anyhow::Result<(SubnetEnv, Vec<&'static str>)> {
        let mut subnets = SubnetEnv::default();
        let (mut has_mtu, mut has_ip_masq) = (false, false);
        for line in text.lines() {
            let (key, value) = match line.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (line, None),
            };
            let value = || value.ok_or_else(|| anyhow!("{key} has no value; write {key}=…"));
            match key {
                "FLANNEL_NETWORK" => subnets.networks = networks(key, value()?, true)?,
                "FLANNEL_IPV6_NETWORK" => subnets.ipv6_networks = networks(key, value()?, false)?,
                "FLANNEL_SUBNET" => subnets.subnet = Some(network(key, value()?, true)?),
                "FLANNEL_IPV6_SUBNET" => subnets.ipv6_subnet = Some(network(key, value()?, false)?),
                "FLANNEL_MTU" => {
                    let value = value()?;
                    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
                    let mtu = value.parse().ok().filter(|_| digits);
                    subnets.mtu = mtu
                        .ok_or_else(|| anyhow!("{key}: {} is no number of bytes", quote(value)))?;
                    has_mtu = true;
                }
                "FLANNEL_IPMASQ" => {
                    subnets.ip_masq = value()? == "true";
                    has_ip_masq = true;
                }
                _ => {}
            }
        }
        let mut missing = Vec::new();
        if subnets.networks.is_empty() && subnets.ipv6_networks.is_empty() {
            missing.extend(["FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK"]);
        }
        if subnets.subnet.is_none() && subnets.ipv6_subnet.is_none() {
            missing.extend(["FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"]);
        }
        if !has_mtu {
            missing.push("FLANNEL_MTU");
        }
        if !has_ip_masq {
            missing.push("FLANNEL_IPMASQ");
        }
        if missing.is_empty() {
            subnets.each_family_is_whole()?;
        }
        Ok((subnets, missing))
    }

    /// Refuses a network without a subnet, and a subnet without a network.
    fn each_family_is_whole(&self) -> anyhow::Result<()> {
        for (network, networks, subnet, is_subnet) in [
            (
                "FLANNEL_NETWORK",
                &self.networks,
                "FLANNEL_SUBNET",
                self.subnet,
            ),
            (
                "FLANNEL_IPV6_NETWORK",
                &self.ipv6_networks,
                "FLANNEL_IPV6_SUBNET",
                self.ipv6_subnet,
            ),
        ] {
            match (networks.is_empty(), is_subnet.is_none()) {
                (false, true) => bail!("has {network} without {subnet}"),
                (true, false) => bail!("has {subnet} without {network}"),
                _ => {}
            }
        }
        Ok(())
    }
}

/// A CIDR, reduced to its network.
fn network(key: &str, text: &str, is_ipv4: bool) -> anyhow::Result<Cidr> {
    let cidr: Cidr = text.parse().map_err(|e| anyhow!("{key}: {e}"))?;
    if cidr.is_ipv4() != is_ipv4 {
        bail!("{key}: {text} is of the other address family");
    }
    Ok(cidr.masked())
}

/// A comma-separated list, each item once.
fn networks(key: &str, text: &str, is_ipv4: bool) -> anyhow::Result<Vec<Cidr>> {
    let mut list = Vec::new();
    for text in text.split(',') {
        let cidr = network(key, text, is_ipv4)?;
        if !list.contains(&cidr) {
            list.push(cidr);
        }
    }
    Ok(list)
}
