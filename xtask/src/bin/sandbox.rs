//! Runs, stops and removes a pod sandbox through the CRI, and prints the milliseconds of the first two.
//!
//! `sandbox SOCKET pod` runs one with two host ports and limited bandwidth, `sandbox SOCKET node` one in the host's
//! network.
#![allow(clippy::print_stdout, reason = "the measurement is the output")]

use std::error::Error;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use runtime_api::Cri;
use runtime_api::messages::{
    LinuxPodSandboxConfig, LinuxSandboxSecurityContext, NamespaceOption, PodSandboxConfig,
    PodSandboxMetadata, PortMapping,
};

/// `NamespaceMode.NODE`
const NODE: i32 = 2;

/// How long a request may take.
const LIMIT: Duration = Duration::from_secs(60);

/// The time between start and stop, in which the kernel finishes what ADD has left to it.
const LIFE: Duration = Duration::from_millis(300);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [socket, network] = arguments.as_slice() else {
        return Err("usage: sandbox SOCKET pod|node".into());
    };
    let cri = Cri::new(Path::new(socket), LIMIT)?;
    // The connection is not part of the measurement.
    cri.version()?;
    let started = Instant::now();
    let id = cri.run(pod(network == "node"))?;
    let run = started.elapsed();
    sleep(LIFE);
    let started = Instant::now();
    cri.stop(&id)?;
    let stop = started.elapsed();
    cri.remove(&id)?;
    println!("{} {}", milliseconds(run), milliseconds(stop));
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn pod(is_hosts: bool) -> PodSandboxConfig {
    let name = format!("bench-{}", std::process::id());
    let port = |container_port, host_port| PortMapping {
        container_port,
        host_port,
        ..PortMapping::default()
    };
    let bandwidth = ["ingress", "egress"].map(|direction| {
        (
            format!("kubernetes.io/{direction}-bandwidth"),
            "100M".to_owned(),
        )
    });
    let options = NamespaceOption {
        network: if is_hosts { NODE } else { 0 },
    };
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: name.clone(),
            uid: name,
            namespace: "default".into(),
            attempt: 0,
        }),
        port_mappings: match is_hosts {
            true => Vec::new(),
            false => vec![port(80, 8001), port(81, 8002)],
        },
        annotations: bandwidth.into(),
        linux: Some(LinuxPodSandboxConfig {
            security_context: Some(LinuxSandboxSecurityContext {
                namespace_options: Some(options),
            }),
            ..LinuxPodSandboxConfig::default()
        }),
        ..PodSandboxConfig::default()
    }
}
