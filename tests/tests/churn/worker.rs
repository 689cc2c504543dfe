//! A worker: attaches, checks and detaches the containers of its own.

use std::fs::File;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use blackbox::chain::Chain;
use nix::sched::{CloneFlags, setns};
use serde_json::Value;
use testkit::{Run, reach};

use crate::fault::{self, Fault};
use crate::network::{self, Network};
use crate::random::Random;
use crate::results::Results;

/// Time in which the gateway must answer on a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// An attached container.
struct Attached<'a> {
    network: &'a Network,
    chain: Chain,
    result: Value,
}

/// A worker.
pub(crate) struct Worker<'a> {
    number: usize,
    /// Whether it leaves out faults, lost attachments, and the tests of connectivity.
    is_calm: bool,
    paths: &'a [&'a Path],
    slots: Vec<Option<Attached<'a>>>,
    networks: &'a [Network],
    results: &'a Results,
    random: Random,
    next_id: usize,
}

impl<'a> Worker<'a> {
    /// Returns a worker with the containers that have these namespaces.
    pub(crate) fn new(
        number: usize,
        paths: &'a [&'a Path],
        networks: &'a [Network],
        results: &'a Results,
        random: Random,
    ) -> Worker<'a> {
        Worker {
            number,
            is_calm: false,
            paths,
            slots: paths.iter().map(|_| None).collect(),
            networks,
            results,
            random,
            next_id: 0,
        }
    }

    /// Returns it without faults, lost attachments, and tests of connectivity.
    pub(crate) fn calm(self) -> Worker<'a> {
        Worker {
            is_calm: true,
            ..self
        }
    }

    /// Does one thing at random.
    pub(crate) fn step(&mut self) {
        let slot = self.random.below(self.slots.len());
        match self.slots[slot].take() {
            None => self.add(slot),
            Some(attached) if self.random.per_cent(40) => {
                self.check(slot, &attached);
                self.slots[slot] = Some(attached);
            }
            Some(attached) if self.loses(&attached) => {
                self.lose(slot, attached);
            }
            Some(attached) => self.del(slot, attached),
        }
    }

    /// Detaches everything.
    pub(crate) fn finish(mut self) {
        for slot in 0..self.slots.len() {
            if let Some(attached) = self.slots[slot].take() {
                self.del(slot, attached);
            }
        }
    }

    fn loses(&mut self, attached: &Attached) -> bool {
        !self.is_calm && attached.network.is_collectable && self.random.per_cent(15)
    }

    fn fault(&mut self, plugins: usize) -> Fault {
        if self.is_calm {
            return Fault::None;
        }
        let position = self.random.below(plugins);
        match self.random.below(10) {
            0 | 1 => Fault::kill(plugins, &mut self.random),
            2 => Fault::Missing(position),
            3 => Fault::NoIpam,
            _ => Fault::None,
        }
    }

    /// Returns one at random; to a calm worker all in turn, since calls per second are only comparable if they are of the
    /// same plugins.
    fn next_network(&mut self) -> &'a Network {
        let number = if self.is_calm {
            self.number + self.next_id
        } else {
            self.random.below(self.networks.len())
        };
        &self.networks[number % self.networks.len()]
    }

    fn add(&mut self, slot: usize) {
        let network = self.next_network();
        let mut chain = network.chain.clone();
        chain.container_id = format!("w{}-{}", self.number, self.next_id);
        self.next_id += 1;
        if let Some(portmap) = chain
            .plugins
            .iter_mut()
            .find(|one| one["type"] == "portmap")
        {
            let port = 20_000 + self.number * self.slots.len() + slot;
            portmap["runtimeConfig"]["portMappings"][0]["hostPort"] = port.into();
        }
        let fault = self.fault(chain.plugins.len());
        network.register(&chain.container_id);
        let busy = network.busy.read().unwrap();
        let outcome = fault::add(&chain, self.paths[slot], &fault, self.results);
        let attached = Attached {
            network,
            chain,
            result: outcome.clone().unwrap_or_default(),
        };
        match outcome {
            Ok(result) => {
                drop(busy);
                self.results.count("ADD of a chain");
                if let Some(other) = network.hold(&attached.chain.container_id, &result) {
                    let text = format!("{result} is held by {other}, too");
                    self.results.unexplained(text);
                }
                self.reach(slot, network);
                self.slots[slot] = Some(attached);
            }
            Err(failed) => {
                if let Some(run) = failed {
                    self.explain(network, &run);
                }
                self.run_del(slot, &attached, "DEL after a failed ADD");
                network.forget(&attached.chain.container_id);
            }
        }
    }

    fn explain(&self, network: &Network, run: &Run) {
        match network.expects(run) {
            Some(what) => self.results.count(what),
            None => self.results.unexplained(format!("ADD\n{}", run.report())),
        }
    }

    fn check(&self, slot: usize, attached: &Attached) {
        let busy = attached.network.busy.read().unwrap();
        for call in attached
            .chain
            .calls("CHECK", self.paths[slot], &attached.result)
        {
            let run = call.deadline(network::LONGEST).run();
            self.results.count("CHECK of a plugin");
            if !run.is_ok() {
                match attached.network.expects(&run) {
                    Some(what) => self.results.count(what),
                    None => self.results.unexplained(format!("CHECK\n{}", run.report())),
                }
            }
        }
        drop(busy);
        self.results.count("CHECK of a chain");
        self.reach(slot, attached.network);
    }

    fn del(&mut self, slot: usize, attached: Attached) {
        let busy = attached.network.busy.read().unwrap();
        attached.network.release(&attached.result);
        if !self.is_calm && self.random.per_cent(15) {
            let mut calls = attached
                .chain
                .calls("DEL", self.paths[slot], &attached.result);
            let call = calls.remove(self.random.below(calls.len()));
            fault::kill(call, &mut self.random);
            self.results.count("DEL that was killed");
        }
        self.run_del(slot, &attached, "DEL of a chain");
        attached.network.forget(&attached.chain.container_id);
        drop(busy);
    }

    /// Runs DEL of every plugin, which must succeed.
    fn run_del(&self, slot: usize, attached: &Attached, what: &'static str) {
        for call in attached
            .chain
            .calls("DEL", self.paths[slot], &attached.result)
        {
            attached.network.until_done(call, "DEL", self.results);
            self.results.count("DEL of a plugin");
        }
        self.results.count(what);
    }

    /// Forgets an attachment without DEL. Its links go with the container.
    fn lose(&self, slot: usize, attached: Attached) {
        let _busy = attached.network.busy.read().unwrap();
        attached.network.release(&attached.result);
        let status = self.inside(slot, || {
            Command::new("ip").args(["link", "del", "eth0"]).status()
        });
        assert!(
            status.unwrap().success(),
            "eth0 of {}",
            attached.chain.container_id
        );
        attached.network.forget(&attached.chain.container_id);
        self.results.count("attachment without DEL");
    }

    fn reach(&self, slot: usize, network: &Network) {
        if self.is_calm {
            return;
        }
        for gateway in &network.gateways {
            let gateway: IpAddr = *gateway;
            if !self.inside(slot, || reach(gateway, ANSWER_WITHIN)) {
                let text = format!(
                    "{gateway} does not answer in {}",
                    self.paths[slot].display()
                );
                self.results.unexplained(text);
            }
        }
    }

    /// Runs `f` in the container's network namespace.
    fn inside<T: Send>(&self, slot: usize, f: impl FnOnce() -> T + Send) -> T {
        let netns = File::open(self.paths[slot]).unwrap();
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&netns, CloneFlags::CLONE_NEWNET).unwrap();
                f()
            });
            thread.join().unwrap()
        })
    }
}
