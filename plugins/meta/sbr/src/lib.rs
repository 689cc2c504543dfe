//! The sbr plugin: source-based routing. Rules make packets from the addresses of the
//! interface look up routing tables of their own instead of the main table.

mod address;
mod check;
mod config;
mod delete;
mod plan;
mod record;
mod step;
mod tables;

pub use config::Config;

use address::Address;
use anyhow::{Context, bail};
use cni_core::confine::Needs;
use cni_core::{AddResult, Call, Plugin};
use plan::Plan;
use plugin_kit::{Container, Undo, chain, state, status};
use record::Record;
use rtnl::Link;
use tables::Tables;

/// The plugin.
#[derive(Debug)]
pub struct Sbr;

impl Plugin for Sbr {
    fn name(&self) -> &'static str {
        "sbr"
    }

    fn needs(&self, _: &Call) -> Option<Needs> {
        Some(Needs::network().write("/run/cni"))
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call)?;
        let result = previous(call)?;
        let addresses = addresses(call, &config, &result)?;
        let container = Container::open(call)?;
        let _lock = chain::lock(&container)?;
        let link = find(&container, call)?;
        let tables = Tables::read(&container.rtnl, link.index)?;

        let file = record::file(call);
        let earlier: Option<Record> = file.read();
        // The record of another interface with the same name is stale.
        let known = earlier.clone().filter(|known| known.index == link.index);
        let known = known.unwrap_or_else(|| match config.table {
            Some(_) => Record::default(),
            None => {
                let rules = addresses.iter();
                let rules = rules.filter_map(|a| Some((a.ip(), tables.own_table(a)?)));
                Record::of_tables(&tables, link.index, rules.collect(), &result)
            }
        });
        let plan = Plan::new(&config, &tables, &addresses, &link, known)?;
        let mut undo = Undo::new();
        undo.push("restore the record", || Ok(file.restore(earlier.as_ref())?));
        file.write(&plan.record)?;
        for steps in [&plan.fill, &plan.clear] {
            // If one step fails, the kernel has executed others.
            undo.push("restore rules and routes", || {
                step::undo(&container.rtnl, steps)
            });
            step::run(&container.rtnl, steps)?;
        }
        undo.disarm();
        Ok(result)
    }

    fn del(&self, call: &Call) -> anyhow::Result<()> {
        let file = record::file(call);
        // Without the namespace, rules and routes are gone, too.
        if let Some(container) = Container::open_for_del(call)? {
            let _lock = chain::lock(&container)?;
            let record: Option<Record> = file.read();
            delete::run(call, &container, record.as_ref())?;
        }
        Ok(file.remove()?)
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load(call)?;
        let addresses = addresses(call, &config, &previous(call)?)?;
        let container = Container::open(call)?;
        let link = find(&container, call)?;
        let record: Option<Record> = record::file(call).read();
        let record = record.filter(|record| record.index == link.index);
        check::run(&container, &config, &link, &addresses, record.as_ref())
    }

    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        match call.valid_attachments()? {
            Some(valid) => {
                let valid = state::owners(&call.name, &valid);
                Ok(record::STORE.collect(&call.name, &valid)?)
            }
            None => Ok(()),
        }
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        Config::load(call)?;
        // A kernel may have no rules. The host's tables may be large, so they are not read.
        let trial = status::trial_container()?;
        let read = Tables::read(&trial.rtnl, 0);
        let way_out = "use a kernel with CONFIG_IP_MULTIPLE_TABLES";
        read.map(drop)
            .map_err(|e| status::not_available_unless(e, way_out))
    }
}

/// The result of the previous plugin.
fn previous(call: &Call) -> anyhow::Result<AddResult> {
    call.prev_result()?
        .context("This plugin must be called as chained plugin")
}

/// The addresses of the interface in `result`, with their gateways.
fn addresses(call: &Call, config: &Config, result: &AddResult) -> anyhow::Result<Vec<Address>> {
    let addresses = Address::all(call, result, &config.gateways);
    if addresses.is_empty() {
        bail!("No IP addresses supplied on interface: {}", call.if_name);
    }
    Ok(addresses)
}

/// The interface in the container.
fn find(container: &Container, call: &Call) -> anyhow::Result<Link> {
    let link = container.rtnl.link_by_name(&call.if_name);
    link.with_context(|| format!("Cannot find network interface {}", call.if_name))
}
