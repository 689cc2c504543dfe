//! The flannel plugin: makes the configuration of another plugin, `bridge` unless told
//! otherwise, from the subnet that the flannel daemon has leased for this node, and
//! has that one do the work.

mod config;
mod delegate;
mod state;
mod subnet_env;

pub use config::Config;
pub use subnet_env::SubnetEnv;

use anyhow::{Context, anyhow, bail};
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

    /// What the delegate is given is written down before, so that DEL can give it the
    /// same. It stays if the delegate fails: whether that one has left something behind
    /// is not known, and DEL is to reach it.
    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call).context("failed to load flannel netconf file")?;
        let subnets = SubnetEnv::load(&config.subnet_file)?;
        let delegate = Delegate::generate(call, &config, Some(&subnets))?;
        // Without these two no delegate can do anything, and nothing is to be kept.
        has_netns(call)?;
        invoke::find(call, &delegate.kind).context("failed to delegate add")?;
        let state = State::of(call, &config.data_dir);
        state.write(&delegate.text())?;
        delegate_add(&delegate.call(call), &delegate.kind).context("failed to delegate add")
    }

    /// By what ADD has written down, and nothing else: the daemon may be gone, and its
    /// file with it. The state goes when the delegate has succeeded.
    fn del(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load_for_del(call);
        let state = State::of(call, &config.data_dir);
        let delegate = match state.read()? {
            Stored::Nothing => return Ok(()),
            Stored::Delegate(delegate) => delegate,
            Stored::Corrupt => {
                // Better than to leave all that ADD has made.
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

    /// The delegate first: if it fails, the state is there for another DEL or GC.
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
        invoke::find(call, &delegate.kind).map_err(|e| not_available(anyhow!(e)))?;
        delegate.run(call, Command::Status)
    }
}

/// Refuses what every delegate would.
fn has_netns(call: &Call) -> anyhow::Result<()> {
    let netns = call.open_netns();
    netns.with_context(|| format!("failed to open netns {}", quote(call.sandbox())))?;
    Ok(())
}

/// STATUS: says that no ADD could succeed, and why.
fn not_available(why: anyhow::Error) -> anyhow::Error {
    Error::new(Code::PLUGIN_NOT_AVAILABLE, format!("{why:#}")).into()
}
