//! Lets unprivileged processes of a container listen on low ports.

use std::fs;

use anyhow::{Context, ensure};
use cni_core::{AddResult, Call, Plugin, skel};

const SYSCTL: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

#[derive(serde::Deserialize)]
struct Config {
    #[serde(rename = "firstPort", default)]
    first_port: u16,
}

struct LowPorts;

impl Plugin for LowPorts {
    fn name(&self) -> &'static str {
        "low-ports"
    }
    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let Config { first_port } = call.config()?;
        let result = call
            .prev_result()?
            .context("low-ports must follow another plugin")?;
        call.open_netns()?
            .run(|| fs::write(SYSCTL, first_port.to_string()))??;
        Ok(result)
    }
    fn check(&self, call: &Call) -> anyhow::Result<()> {
        let Config { first_port } = call.config()?;
        let value = call.open_netns()?.run(|| fs::read_to_string(SYSCTL))??;
        ensure!(
            value.trim() == first_port.to_string(),
            "{SYSCTL} is {}",
            value.trim()
        );
        Ok(())
    }
    fn del(&self, _: &Call) -> anyhow::Result<()> {
        Ok(()) // The value goes with the namespace.
    }
    fn gc(&self, _: &Call) -> anyhow::Result<()> {
        Ok(())
    }
    fn status(&self, _: &Call) -> anyhow::Result<()> {
        fs::metadata(SYSCTL)
            .map(drop)
            .context("this kernel lacks the sysctl")
    }
}

fn main() -> std::process::ExitCode {
    skel::main(&LowPorts)
}
