//! The flannel plugin: generates the configuration of another plugin, by default
//! `bridge`, from the subnet that the flannel daemon has leased for this node, and
//! delegates to that plugin.

mod config;
mod delegate;
mod state;
mod subnet_env;

pub use config::Config;
pub use subnet_env::SubnetEnv;

use anyhow::{Context, bail};
use cni_core::confine::{Capability, Needs};
use cni_core::invoke::{self, delegate_add};
use cni_core::quote::quote;
use cni_core::{AddResult, Call, Code, Command, Error, Plugin};
use delegate::Delegate;
use state::{State, Stored};

/// The plugin.
#[derive(Debug)]
pub struct Flannel;

impl Plugin for Flannel {
    fn name(&self) -> &'static str {
        "flannel"
    }

    fn needs(&self, _: &Call) -> Option<Needs> {
        // The delegate may run in this process, and may be any plugin.
        let needs = Needs::network().capability(Capability::DacReadSearch);
        Some(needs.opening_namespaces().executing())
    }

    /// Records the configuration of the delegate first, so that DEL can use the same. The
    /// record stays if the delegate fails: it may have left something behind that DEL
    /// must remove.
    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call).context("failed to load flannel netconf file")?;
        let subnets = SubnetEnv::load(&config.subnet_file)?;
        let delegate = Delegate::generate(call, &config, Some(&subnets))?;
        // Without these two no delegate can do anything, so nothing is recorded.
        has_netns(call)?;
        invoke::find(call, &delegate.kind).context("failed to delegate add")?;
        let state = State::of(call, &config.data_dir);
        state.write(&delegate.text())?;
        delegate_add(&delegate.call(call), &delegate.kind).context("failed to delegate add")
    }

    /// Uses the configuration that ADD has recorded, because the daemon and its file may be
    /// gone. Removes the record when the delegate has succeeded.
    fn del(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load_for_del(call);
        let state = State::of(call, &config.data_dir);
        let delegate = match state.read()? {
            Stored::Nothing => return Ok(()),
            Stored::Delegate(delegate) => delegate,
            Stored::Corrupt => {
                // A new configuration reaches most of what ADD has created.
                let subnets = SubnetEnv::load(&config.subnet_file).ok();
                Delegate::generate(call, &config, subnets.as_ref())
                    .with_context(|| format!("{} cannot be read", state.describe()))?
            }
        };
        delegate
            .run(call, Command::Del)
            .context("failed to delegate del")?;
        state.remove()
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load(call)?;
        has_netns(call)?;
        let state = State::of(call, &config.data_dir);
        let Stored::Delegate(delegate) = state.read()? else {
            bail!(
                "{} does not hold the configuration of the attachment's delegate",
                state.describe()
            );
        };
        let delegate = delegate.with_prev_result(call);
        delegate
            .run(call, Command::Check)
            .context("failed to delegate check")
    }

    /// Calls the delegate first: if it fails, the records stay for another DEL or GC.
    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        let Some(valid) = call.valid_attachments()? else {
            return Ok(());
        };
        let config = Config::load(call)?;
        let subnets = SubnetEnv::load(&config.subnet_file).ok();
        let delegate = Delegate::generate(call, &config, subnets.as_ref())?.with_attachments(call);
        delegate
            .run(call, Command::Gc)
            .context("failed to delegate gc")?;
        state::collect(&config.data_dir, &call.name, &valid)
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load(call)?;
        let subnets = SubnetEnv::load(&config.subnet_file).map_err(not_available)?;
        let delegate = Delegate::generate(call, &config, Some(&subnets))?;
        invoke::find(call, &delegate.kind).map_err(|e| {
            Error::new(Code::PLUGIN_NOT_AVAILABLE, e.to_string())
                .with_details("install the plugin into one of the directories of CNI_PATH")
        })?;
        delegate.run(call, Command::Status)
    }
}

/// Refuses a call without a namespace, as every delegate would.
fn has_netns(call: &Call) -> anyhow::Result<()> {
    let netns = call.open_netns();
    netns.with_context(|| format!("failed to open netns {}", quote(call.sandbox())))?;
    Ok(())
}

/// The error of STATUS when no ADD can succeed.
fn not_available(why: anyhow::Error) -> anyhow::Error {
    Error::new(Code::PLUGIN_NOT_AVAILABLE, format!("{why:#}")).into()
}
