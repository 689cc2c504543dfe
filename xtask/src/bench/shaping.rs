//! The case `bandwidth shaping`: the rate of a flow compared with the configured rate.
//!
//! A TCP connection between a container and its host sends as fast as possible, in each direction. The bytes that
//! arrive are counted for some seconds, after the bucket is empty. This is not a test, because the rate is lower on a
//! busy machine.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, Plugin};

use super::report::Report;
use super::targets::Target;
use super::{Section, Setup};

pub(super) const SECTION: Section = Section {
    name: "bandwidth shaping",
    needs: &[],
    measure,
};

/// Configured rates in bits per second, with bursts of 100 ms.
const RATES: [u64; 3] = [20_000_000, 100_000_000, 400_000_000];

/// The allowed deviation of a flow from its rate, in percent.
const TOLERANCE: f64 = 15.0;

/// The bytes of a full Ethernet frame, which the kernel counts, for each of its TCP payload.
const OVERHEAD: f64 = 1514.0 / 1448.0;

/// The time until the bucket is empty and TCP has reached its rate.
const WARM_UP: Duration = Duration::from_millis(700);

const HOST: &str = "10.99.0.1";
const CONTAINER: &str = "10.99.0.2";

/// A measured flow.
struct Flow {
    side: &'static str,
    direction: &'static str,
    /// Bits per second.
    wanted: u64,
    /// Bits per second, headers included.
    measured: f64,
}

impl Flow {
    /// The deviation in percent.
    fn off(&self) -> f64 {
        (self.measured / self.wanted as f64 - 1.0) * 100.0
    }

    fn cells(&self) -> Vec<String> {
        let megabits = |bits: f64| format!("{:.1}", bits / 1e6);
        vec![
            self.direction.to_owned(),
            megabits(self.wanted as f64),
            self.side.to_owned(),
            megabits(self.measured),
            format!("{:+.1} %", self.off()),
        ]
    }

    fn to_json(&self) -> Value {
        json!({
            "side": self.side, "direction": self.direction, "wanted_bits": self.wanted,
            "measured_bits": self.measured.round()
        })
    }
}

/// Measures all rates with the binary of each side's directory.
fn measure(setup: &Setup<'_>) -> Result<Report> {
    let time = Duration::from_secs(if setup.quick { 1 } else { 4 });
    let mut flows = Vec::new();
    for wanted in RATES {
        for (side, dir) in setup.sides() {
            if !dir.join("bandwidth").is_file() {
                continue;
            }
            let shaped = Shaped::new(&Plugin::in_dir(dir, "bandwidth"), wanted)?;
            for direction in ["to the container", "from the container"] {
                let measured = shaped
                    .flow(direction, time)
                    .with_context(|| direction.to_owned())?;
                flows.push(Flow {
                    side,
                    direction,
                    wanted,
                    measured,
                });
            }
        }
    }
    let head = ["flow", "wanted Mbit/s", "shaped by", "is Mbit/s", "off"];
    let mut report = Report::new(SECTION.name, &head, flows.iter().map(Flow::cells).collect());
    report.notes = format!("One TCP flow over {time:?} each.");
    report.data = flows.iter().map(Flow::to_json).collect();
    report.targets = judge(&flows).into_iter().collect();
    Ok(report)
}

/// A host with one container that is shaped in both directions.
struct Shaped {
    container: Container,
    host: Host,
}

impl Shaped {
    fn new(plugin: &Plugin, rate: u64) -> Result<Shaped> {
        let host = Host::try_new().context("cannot create a private host")?;
        let container = testkit::wire(&host, "veth1", "c1", &[&format!("{CONTAINER}/24")]);
        host.try_command(&["ip", "addr", "add", &format!("{HOST}/24"), "dev", "veth1"])
            .map_err(|err| anyhow!(err))?;
        let burst = rate / 10;
        let config = json!({
            "cniVersion": "1.0.0", "name": "shaping", "type": "bandwidth",
            "ingressRate": rate, "ingressBurst": burst, "egressRate": rate, "egressBurst": burst,
            "prevResult": {
                "cniVersion": "1.0.0",
                "interfaces": [{"name": "veth1"}, {"name": "eth0", "sandbox": container.netns()}],
            },
        });
        let run = plugin.add(&container, &config);
        if !run.is_ok() {
            bail!("{}", run.report());
        }
        Ok(Shaped { container, host })
    }

    /// Bits per second that arrive.
    fn flow(&self, direction: &str, time: Duration) -> Result<f64> {
        // A socket stays in the namespace in which it was created.
        let listen = |at: &str| TcpListener::bind((at, 0));
        let connect = |to: SocketAddr| TcpStream::connect_timeout(&to, Duration::from_secs(5));
        let to_container = direction == "to the container";
        let listener = match to_container {
            true => self.container.enter(|| listen(CONTAINER)),
            false => self.host.enter(|| listen(HOST)),
        }?;
        let address = listener.local_addr()?;
        let mut sender = match to_container {
            true => self.host.enter(|| connect(address)),
            false => self.container.enter(|| connect(address)),
        }?;
        let (receiver, _) = listener.accept()?;
        // Ends when the receiver is closed.
        let sending = thread::spawn(move || {
            let data = [0; 65_536];
            while sender.write_all(&data).is_ok() {}
        });
        let bytes = count(receiver, time)?;
        // A panic of the thread has been printed.
        let _ = sending.join();
        Ok(bytes * 8.0 * OVERHEAD)
    }
}

/// Bytes per second that arrive at `stream` in `time`.
fn count(mut stream: TcpStream, time: Duration) -> std::io::Result<f64> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut buffer = vec![0; 1 << 20];
    let mut read_until = |deadline: Instant| {
        let mut bytes = 0;
        while Instant::now() < deadline {
            match stream.read(&mut buffer)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                more => bytes += more,
            }
        }
        Ok::<usize, std::io::Error>(bytes)
    };
    read_until(Instant::now() + WARM_UP)?;
    let started = Instant::now();
    let bytes = read_until(started + time)?;
    Ok(bytes as f64 / started.elapsed().as_secs_f64())
}

/// Compares our worst flow with the tolerance.
fn judge(flows: &[Flow]) -> Option<Target> {
    let ours = flows.iter().filter(|flow| flow.side == "ours");
    let worst = ours.max_by(|a, b| a.off().abs().total_cmp(&b.off().abs()))?;
    Some(Target {
        what: SECTION.name.into(),
        wanted: format!("within {TOLERANCE} % of the rate"),
        is: format!("{:+.1} % at worst", worst.off()),
        met: worst.off().abs() <= TOLERANCE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_flow_is_judged() {
        let flow = |side, measured| Flow {
            side,
            direction: "to the container",
            wanted: 100,
            measured,
        };
        assert!(judge(&[]).is_none());
        let flows = [flow("ours", 95.0), flow("ours", 114.0), flow("peer", 300.0)];
        let target = judge(&flows).unwrap();
        assert!(
            target.met && target.is.starts_with("+14.0 %"),
            "{}",
            target.is
        );
        assert!(!judge(&[flow("ours", 84.0)]).unwrap().met);
        assert_eq!(flows[2].cells()[4], "+200.0 %");
    }
}
