//! The sample plugin: the parts of a chained plugin, to copy from. It passes on what the plugins before it created.

mod config;

pub use config::{Config, RuntimeConfig};

use anyhow::{Context, bail};
use cni_core::{AddResult, Call, Command, Plugin, invoke};

/// The plugin.
#[derive(Debug)]
pub struct Sample;

impl Plugin for Sample {
    fn name(&self) -> &'static str {
        "sample"
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        Config::load(call)?;
        let result = container_result(call)?;
        let _netns = call.open_netns()?;
        // Here the plugin does its work, inside by `netns.run`. A step that fails must undo the ones before it.
        Ok(result)
    }

    fn del(&self, call: &Call) -> anyhow::Result<()> {
        // DEL comes without namespace and without prevResult, too, and a second time. What is gone is no error.
        Config::load(call)?;
        Ok(())
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        Config::load(call)?;
        // Here the plugin compares what exists with what ADD created.
        container_result(call)?;
        Ok(())
    }

    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        // Without a list nothing may be collected.
        let Some(_valid) = call.valid_attachments()? else {
            return Ok(());
        };
        // Here the plugin deletes what belongs to attachments that are not in the list.
        Ok(())
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        Config::load(call)?;
        match call.ipam_type() {
            Some(ipam) => invoke::delegate(call, &ipam, Command::Status),
            None => Ok(()),
        }
    }
}

/// Returns the result of the plugins before this one, which must contain an address of the container.
fn container_result(call: &Call) -> anyhow::Result<AddResult> {
    let result = call
        .prev_result()?
        .context("must be called as chained plugin")?;
    if result.ips.is_empty() {
        bail!("got no container IPs");
    }
    Ok(result)
}
