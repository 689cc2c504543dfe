//! The sbr plugin: source-based routing. Packets from the interface's addresses go by
//! tables of their own, whatever the main table says.

mod address;
mod check;
mod config;
mod plan;
mod record;
mod removal;
mod tables;

pub use config::Config;

use address::Address;
use anyhow::{Context, bail};
use cni_core::{AddResult, Call, Plugin};
use plan::Step;
use plugin_kit::{Container, Undo, chain, state};
use record::Record;
use rtnl::{Link, RouteSpec};
use tables::Tables;

/// The plugin.
#[derive(Debug)]
pub struct Sbr;

impl Plugin for Sbr {
    fn name(&self) -> &'static str {
        "sbr"
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
        // That of another interface is of no use.
        let known = earlier.clone().filter(|known| known.index == link.index);
        let known = known.unwrap_or_default();
        let plan = Plan::new(&config, &tables, &addresses, &link, known)?;
        let mut undo = Undo::new();
        undo.push("restore the record", || Ok(file.restore(earlier.as_ref())?));
        file.write(&plan.record)?;
        for steps in [&plan.fill, &plan.clear] {
            // Some of them may be done when another one is refused.
            undo.push("restore rules and routes", || {
                plan::undo(&container.rtnl, steps)
            });
            plan::run(&container.rtnl, steps)?;
        }
        undo.disarm();
        Ok(result)
    }

    fn del(&self, call: &Call) -> anyhow::Result<()> {
        let file = record::file(call);
        // Where the namespace is gone, so are rules and routes.
        if let Some(container) = Container::open_for_del(call)? {
            let _lock = chain::lock(&container)?;
            let record: Option<Record> = file.read();
            removal::undo(call, &container, record.as_ref())?;
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
        Config::load(call).map(drop)
    }
}

fn previous(call: &Call) -> anyhow::Result<AddResult> {
    call.prev_result()?
        .context("This plugin must be called as chained plugin")
}

fn addresses(call: &Call, config: &Config, result: &AddResult) -> anyhow::Result<Vec<Address>> {
    let addresses = Address::all(call, result, &config.gateways);
    if addresses.is_empty() {
        bail!("No IP addresses supplied on interface: {}", call.if_name);
    }
    Ok(addresses)
}

fn find(container: &Container, call: &Call) -> anyhow::Result<Link> {
    let link = container.rtnl.link_by_name(&call.if_name);
    link.with_context(|| format!("Cannot find network interface {}", call.if_name))
}

/// What an ADD is going to do.
struct Plan {
    /// First: rules, and routes into tables.
    fill: Vec<Step>,
    /// Then, when gateways need them no more: routes out of the main table.
    clear: Vec<Step>,
    /// What is kept of it.
    record: Record,
}

impl Plan {
    /// `known` is what an earlier ADD has kept.
    fn new(
        config: &Config,
        tables: &Tables,
        addresses: &[Address],
        link: &Link,
        known: Record,
    ) -> anyhow::Result<Plan> {
        let mut plan = Plan {
            fill: Vec::new(),
            clear: Vec::new(),
            record: known,
        };
        plan.record.index = link.index;
        if let Some(table) = config.table {
            for address in addresses {
                let rule = address.rule(table);
                if !tables.has_rule(&rule) {
                    plan.fill.push(Step::Rule(rule));
                }
                plan.record.add_rule(address.ip(), table);
            }
            return Ok(plan);
        }
        let mut routes = tables.movable();
        // What an earlier ADD has put there is no route of the network's.
        let old = plan.record.hints.iter();
        let old: Vec<RouteSpec> = old.map(|cidr| plan::hint(*cidr, link.index)).collect();
        routes.retain(|copy| !old.iter().any(|hint| plan::is_hint(copy.route(), hint)));
        for (address, table) in addresses.iter().zip(tables.choose(addresses)?) {
            let place = (link.index, table);
            plan.fill
                .extend(plan::fill(tables, address, addresses, &routes, place));
            plan.record.add_rule(address.ip(), table);
        }
        let hinted = config.add_source_hints.then(|| plan::hinted(addresses));
        let hints = hinted.as_ref().map(|hinted| {
            let hints = hinted.iter().map(|cidr| plan::hint(*cidr, link.index));
            hints.collect()
        });
        plan.clear = plan::clear(tables, &routes, hints);
        for cidr in hinted.into_iter().flatten() {
            if !plan.record.hints.contains(&cidr) {
                plan.record.hints.push(cidr);
            }
        }
        let routes = routes.into_iter();
        let routes = routes.map(|copy| (copy.clone(), tables.is_behind(&copy)));
        plan.record.add_routes(routes.collect());
        Ok(plan)
    }
}
