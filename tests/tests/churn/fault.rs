//! ADD of a chain in which something goes wrong.

use std::path::Path;
use std::thread;
use std::time::Duration;

use blackbox::chain::Chain;
use serde_json::{Value, json};
use testkit::{Invocation, Run};

use crate::network;
use crate::random::Random;
use crate::results::Results;

/// Longest time after which a plugin is killed, in microseconds: about the duration of a call.
const KILL_WITHIN: usize = 6_000;

/// What goes wrong with an ADD.
pub(crate) enum Fault {
    None,
    /// The plugin at this position is killed after so many microseconds.
    Killed(usize, usize),
    /// The plugin at this position is missing.
    Missing(usize),
    /// The IPAM plugin is missing.
    NoIpam,
}

impl Fault {
    /// Returns the kill of one of so many plugins.
    pub(crate) fn kill(plugins: usize, random: &mut Random) -> Fault {
        Fault::Killed(random.below(plugins), random.below(KILL_WITHIN))
    }
}

/// Runs ADD of each plugin. The error is the call that failed by itself; `None` if the fault was made here.
pub(crate) fn add(
    chain: &Chain,
    netns: &Path,
    fault: &Fault,
    results: &Results,
) -> Result<Value, Option<Box<Run>>> {
    let mut chain = chain.clone();
    if matches!(fault, Fault::NoIpam) {
        chain.plugins[0]["ipam"] = json!({"type": "missing"});
    }
    let mut result = Value::Null;
    for position in 0..chain.plugins.len() {
        let call = chain.calls("ADD", netns, &result).remove(position);
        let call = call.deadline(network::LONGEST);
        let run = match *fault {
            Fault::Missing(at) if at == position => {
                results.count("chain with a missing plugin");
                return Err(None);
            }
            Fault::Killed(at, time) if at == position => kill_after(call, time),
            _ => call.run(),
        };
        results.count("ADD of a plugin");
        let is_killed = matches!(fault, Fault::Killed(at, _) if *at == position);
        if run.status.code().is_none() || is_killed && !run.is_ok() {
            results.count("chain with a killed plugin");
            return Err(None);
        }
        if !run.is_ok() && matches!(fault, Fault::NoIpam) {
            results.count("chain without its IPAM plugin");
            return Err(None);
        }
        if !run.is_ok() {
            return Err(Some(Box::new(run)));
        }
        result = run.json();
    }
    Ok(result)
}

/// Starts a plugin and kills it, and its children, at a random time.
pub(crate) fn kill(call: Invocation, random: &mut Random) {
    kill_after(call, random.below(KILL_WITHIN));
}

fn kill_after(call: Invocation, microseconds: usize) -> Run {
    let mut running = call.start();
    thread::sleep(Duration::from_micros(u64::try_from(microseconds).unwrap()));
    running.kill();
    running.wait()
}
