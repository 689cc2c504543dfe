//! The case `bandwidth shaping`: whether a flow is held to the rate that was asked for.
//!
//! A TCP connection between a container and its host, as fast as it goes, in each direction. What comes out at the
//! other end is counted for some seconds, after the bucket has run empty. This is no test: a machine that is busy
//! with other things lets through less.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{Container, Host, Node, Plugin};

use super::table;
use super::targets::Target;
use crate::Outcome;

/// The name on the command line.
pub(crate) const NAME: &str = "bandwidth shaping";

/// What is asked for, in bits per second, with bursts of 100 ms.
const RATES: [u64; 3] = [20_000_000, 100_000_000, 400_000_000];

/// How far a flow may be from its rate, in percent.
const TOLERANCE: f64 = 15.0;

/// The bytes of a full Ethernet frame, which the kernel counts, for each of its TCP payload.
const OVERHEAD: f64 = 1514.0 / 1448.0;

/// Enough for the bucket to run empty, and for TCP to find its pace.
const WARM_UP: Duration = Duration::from_millis(700);

/// A measured flow.
pub(crate) struct Flow {
    side: &'static str,
    direction: &'static str,
    /// Bits per second.
    wanted: u64,
    /// Bits per second, headers included.
    measured: f64,
}

impl Flow {
    /// How far off, in percent.
    fn off(&self) -> f64 {
        (self.measured / self.wanted as f64 - 1.0) * 100.0
    }

    fn is_held(&self) -> bool {
        self.off().abs() <= TOLERANCE
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "side": self.side, "direction": self.direction, "wanted_bits": self.wanted,
            "measured_bits": self.measured.round()
        })
    }
}

/// Measures all rates, with our binary of `dir` and with the peer's.
pub(crate) fn measure(dir: &Path, peer: Option<&Path>, quick: bool) -> Outcome<Vec<Flow>> {
    let time = Duration::from_secs(if quick { 1 } else { 4 });
    let mut flows = Vec::new();
    for rate in RATES {
        for (side, dir) in [("ours", Some(dir)), ("peer", peer)] {
            let Some(dir) = dir.filter(|dir| dir.join("bandwidth").is_file()) else {
                continue;
            };
            let shaped = Shaped::new(&Plugin::in_dir(dir, "bandwidth"), rate)?;
            for direction in ["to the container", "from the container"] {
                let measured = shaped.flow(direction, time)?;
                flows.push(Flow {
                    side,
                    direction,
                    wanted: rate,
                    measured,
                });
            }
        }
    }
    Ok(flows)
}

/// A container on a host of its own, both directions shaped.
struct Shaped {
    container: Container,
    host: Host,
}

const HOST: &str = "10.99.0.1";
const CONTAINER: &str = "10.99.0.2";

impl Shaped {
    fn new(plugin: &Plugin, rate: u64) -> Outcome<Shaped> {
        let host = Host::try_new().map_err(|err| format!("cannot make a private host: {err}"))?;
        let container = testkit::wire(&host, "veth1", "c1", &[&format!("{CONTAINER}/24")]);
        host.try_command(&["ip", "addr", "add", &format!("{HOST}/24"), "dev", "veth1"])?;
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
            return Err(run.report());
        }
        Ok(Shaped { container, host })
    }

    /// Bits per second that arrive.
    fn flow(&self, direction: &str, time: Duration) -> Outcome<f64> {
        let failed = |what: &str| {
            let what = format!("{NAME} {direction}: {what}");
            move |err: std::io::Error| format!("{what}: {err}")
        };
        // A socket stays in the namespace that it was made in.
        let listen = |at: &str| TcpListener::bind((at, 0));
        let connect = |to: SocketAddr| TcpStream::connect_timeout(&to, Duration::from_secs(5));
        let is_ingress = direction == "to the container";
        let listener = match is_ingress {
            true => self.container.enter(|| listen(CONTAINER)),
            false => self.host.enter(|| listen(HOST)),
        }
        .map_err(failed("listen"))?;
        let address = listener.local_addr().map_err(failed("listen"))?;
        let mut sender = match is_ingress {
            true => self.host.enter(|| connect(address)),
            false => self.container.enter(|| connect(address)),
        }
        .map_err(failed("connect"))?;
        let (receiver, _) = listener.accept().map_err(failed("accept"))?;
        // Ends when the receiver is closed.
        let sending = thread::spawn(move || {
            let data = [0; 65_536];
            while sender.write_all(&data).is_ok() {}
        });
        let bytes = count(receiver, time).map_err(failed("receive"))?;
        // A panic in there would have been told.
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

/// The flows as a table.
pub(crate) fn shown(flows: &[Flow]) -> String {
    let megabits = |bits: f64| format!("{:.1}", bits / 1e6);
    let rows: Vec<Vec<String>> = flows
        .iter()
        .map(|flow| {
            vec![
                flow.direction.to_owned(),
                megabits(flow.wanted as f64),
                flow.side.to_owned(),
                megabits(flow.measured),
                format!("{:+.1} %", flow.off()),
            ]
        })
        .collect();
    let head = ["flow", "wanted Mbit/s", "shaped by", "is Mbit/s", "off"];
    table::table(&head, &rows)
}

/// The one worst held of ours, judged.
pub(crate) fn judge(flows: &[Flow]) -> Option<Target> {
    let ours = flows.iter().filter(|flow| flow.side == "ours");
    let worst = ours.max_by(|a, b| a.off().abs().total_cmp(&b.off().abs()))?;
    Some(Target {
        what: NAME.into(),
        wanted: format!("within {TOLERANCE} % of the rate"),
        is: format!("{:+.1} % at worst", worst.off()),
        met: worst.is_held(),
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
        assert!(shown(&flows).contains("+200.0 %"));
    }
}
