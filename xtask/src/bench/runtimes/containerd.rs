//! The section `RunPodSandbox`: pods of containerd with two host ports and limited bandwidth, beside pods of the host's
//! network.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use testkit::Host;
use testkit::runtime::{Runtime, use_plugins};

use super::{ANSWERS, NONE, Operation, report, sides, wait_for_kernel, with_nftables};
use crate::bench::measure::Call;
use crate::bench::report::Report;
use crate::bench::{Section, Setup};
use crate::{machine, project};

pub(in crate::bench) const SECTION: Section = Section {
    name: "RunPodSandbox",
    needs: &[machine::CONTAINERD, machine::RUNC, machine::BUSYBOX],
    measure,
};

/// Rounds of a full and of a quick run.
const ROUNDS: (usize, usize) = (25, 3);

fn measure(setup: &Setup<'_>) -> Result<Report> {
    let rounds = setup.rounds(ROUNDS);
    let mut operations = ["RunPodSandbox", "StopPodSandbox"].map(Operation::new);
    {
        let host = Host::try_new().context("cannot create a private host")?;
        let mut sides = sides(setup, &host)?;
        sides.sort_by_key(|(side, _)| *side == ANSWERS);
        let pods = Pods::new(&host, &list(), setup)?;
        pods.rounds(&sides, rounds, &mut operations)?;
    }
    let host = Host::try_new().context("cannot create a private host")?;
    let pods = Pods::new(&host, &with_nftables(&list()), setup)?;
    let mut others = ["", ""].map(Operation::new);
    let side = "ours, nftables";
    pods.rounds(&[(side, project::bin())], rounds, &mut others)?;
    for (operation, other) in operations.iter_mut().zip(others) {
        operation.take(side, other);
    }
    let notes = format!(
        "Medians of {rounds} rounds, containerd 1.6; *none* is a pod in the host's network. \"{side}\" has a containerd \
         of its own, not in turns with the others."
    );
    Ok(report(SECTION.name, notes, &operations))
}

/// The network of a Kubernetes node.
fn list() -> Value {
    json!({"cniVersion": "0.4.0", "name": "pods", "plugins": [
        {"type": "bridge", "bridge": "cni0", "isGateway": true, "isDefaultGateway": true, "ipMasq": true,
         "hairpinMode": true, "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.9.0.0/24"}]]}},
        {"type": "portmap", "capabilities": {"portMappings": true}},
        {"type": "bandwidth", "capabilities": {"bandwidth": true}},
        {"type": "firewall"},
        {"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}},
    ]})
}

/// A containerd with one network.
struct Pods<'a> {
    host: &'a Host,
    containerd: Runtime,
    program: &'a Path,
}

impl<'a> Pods<'a> {
    fn new(host: &'a Host, list: &Value, setup: &'a Setup<'_>) -> Result<Pods<'a>> {
        let networks = host.dir().join("net.d");
        fs::create_dir_all(&networks).context("a directory")?;
        fs::write(networks.join("10-pods.conflist"), list.to_string()).context("a list")?;
        use_plugins(host, &project::bin());
        Ok(Pods {
            host,
            containerd: Runtime::containerd(host),
            program: &setup.tools.sandbox,
        })
    }

    /// Runs pods of all sides in turns.
    fn rounds(
        &self,
        sides: &[(&'static str, std::path::PathBuf)],
        rounds: usize,
        operations: &mut [Operation; 2],
    ) -> Result<()> {
        // The first round creates bridge and chains.
        for round in 0..=rounds {
            let without = (NONE, project::bin());
            for (side, dir) in [&without].into_iter().chain(sides) {
                use_plugins(self.host, dir);
                let times = self.pod(*side != NONE).with_context(|| {
                    format!("{side}; containerd logged:\n{}", self.containerd.log())
                })?;
                if round > 0 {
                    for (operation, ms) in operations.iter_mut().zip(times) {
                        operation.put(side, ms);
                    }
                }
                wait_for_kernel(self.host)?;
            }
        }
        Ok(())
    }

    /// Runs and stops a pod. Returns the milliseconds of both.
    fn pod(&self, has_network: bool) -> Result<[f64; 2]> {
        let network = if has_network { "pod" } else { "node" };
        let socket = self.containerd.socket().display().to_string();
        let arguments = vec![socket, network.to_owned()];
        let call = Call::plain(self.program, arguments, self.host.dir());
        call.time()?;
        let output = call.output();
        let times: Vec<f64> = output
            .split_whitespace()
            .filter_map(|ms| ms.parse().ok())
            .collect();
        match times.try_into() {
            Ok(times) => Ok(times),
            Err(_) => bail!("{} printed {output:?}", self.program.display()),
        }
    }
}
