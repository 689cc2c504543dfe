//! A change of rules or routes and its undo.

use anyhow::anyhow;
use plugin_kit::detailed;
use rtnl::{Exclusivity, Handle, RawRoute, Request, RouteSpec, RuleSpec};

/// A change, with what its undo needs.
pub(crate) enum Step {
    /// Adds a missing rule.
    Rule(RuleSpec),
    /// Adds a missing default route.
    Default(RouteSpec),
    /// Adds a route to a table; the route it replaces.
    Copy(RawRoute, Exclusivity, Option<RawRoute>),
    /// Adds a source hint; the route it replaces.
    Hint(RouteSpec, Option<RawRoute>),
    /// Deletes a route; whether other routes with its key came before it.
    Remove(RawRoute, bool),
}

impl Step {
    fn request(&self) -> Request<'static> {
        match self {
            Step::Rule(rule) => Request::add_rule(rule),
            Step::Default(route) => Request::add_route(route, Exclusivity::Exclusive),
            Step::Copy(copy, exclusivity, _) => Request::add_raw_route(copy, *exclusivity),
            Step::Hint(route, _) => Request::add_route(route, Exclusivity::Replace),
            Step::Remove(copy, _) => Request::del_raw_route(copy),
        }
    }

    /// The requests that undo the change.
    fn undo(&self) -> Vec<Request<'static>> {
        let restore = |replaced: &Option<RawRoute>| {
            replaced
                .as_ref()
                .map(|copy| Request::add_raw_route(copy, Exclusivity::Shared))
        };
        match self {
            Step::Rule(rule) => vec![Request::del_rule(rule)],
            Step::Default(route) => vec![Request::del_route(route)],
            Step::Copy(copy, _, replaced) => {
                let delete = Request::del_raw_route(copy);
                [delete].into_iter().chain(restore(replaced)).collect()
            }
            Step::Hint(route, replaced) => {
                let delete = Request::del_route(route);
                [delete].into_iter().chain(restore(replaced)).collect()
            }
            Step::Remove(copy, behind) => vec![restored(copy, *behind)],
        }
    }

    fn failure(&self) -> String {
        match self {
            Step::Rule(_) => "Failed to add rule".into(),
            Step::Default(route) => {
                let gateway = route.gateway.map(|gateway| gateway.to_string());
                format!(
                    "Failed to add default route to {}",
                    gateway.unwrap_or_default()
                )
            }
            Step::Copy(..) => "Failed to readd route".into(),
            Step::Hint(route, _) => format!(
                "Failed to add source hint for {}/{}",
                route.dst, route.prefix
            ),
            Step::Remove(..) => "Failed to delete route".into(),
        }
    }
}

/// The request that restores a deleted route, after other routes with its key if
/// `behind`.
pub(crate) fn restored(copy: &RawRoute, behind: bool) -> Request<'static> {
    let place = match behind {
        true => Exclusivity::Behind,
        false => Exclusivity::Shared,
    };
    Request::add_raw_route(copy, place)
}

/// Executes `steps` in order, in one batch.
///
/// # Errors
/// The first error of the kernel; the kernel executes the other steps nevertheless.
pub(crate) fn run(handle: &Handle, steps: &[Step]) -> anyhow::Result<()> {
    if steps.is_empty() {
        return Ok(());
    }
    let requests = steps.iter().map(Step::request).collect();
    let mut outcome = Ok(());
    for (step, reply) in steps.iter().zip(handle.batch(requests)) {
        if let (true, Err(e)) = (outcome.is_ok(), reply) {
            outcome = Err(detailed(format!("{}: {e}", step.failure()), e.what()));
        }
    }
    outcome
}

/// Undoes `steps`, some of which may not have been executed.
///
/// # Errors
/// The first error of the kernel; the other steps are undone nevertheless.
pub(crate) fn undo(handle: &Handle, steps: &[Step]) -> anyhow::Result<()> {
    let requests: Vec<_> = steps.iter().rev().flat_map(Step::undo).collect();
    if requests.is_empty() {
        return Ok(());
    }
    // Missing and existing objects belong to steps that were not executed.
    let replies = handle.batch(requests);
    for reply in replies {
        if let Err(e) = reply
            && !e.is_not_found()
            && !e.is_exists()
        {
            return Err(anyhow!("failed to undo: {e}"));
        }
    }
    Ok(())
}
