//! DHCP servers of the distribution, each in a namespace of its own on one segment, and captures of their packets.

use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket, sockopt,
};
use serde_json::{Value, json};

use crate::{Container, Host, Node, Service, patience};

/// The bridge of the host that is the segment.
pub const LAN: &str = "lan0";

/// Adds the segment [`LAN`], a bridge, to the host.
#[track_caller]
pub fn lan(host: &Host) {
    host.ip_batch(&[
        &format!("link add {LAN} type bridge mcast_snooping 0"),
        &format!("link set {LAN} addrgenmode none up"),
    ]);
}

/// Creates a container whose `eth0`, with `addresses`, is on the segment by the host's link `<name>`.
///
/// Its link-local address is usable at once: duplicate address detection is off.
#[track_caller]
pub fn node(host: &Host, name: &str, addresses: &[&str]) -> Container {
    let node = host.container(name);
    node.set_sysctl("net/ipv6/conf/default/accept_dad", "0");
    connect(host, &node, addresses);
    node
}

/// Gives a container an `eth0`, with `addresses`, on the segment by a link of the host with the container's name.
#[track_caller]
pub fn connect(host: &Host, node: &Container, addresses: &[&str]) {
    let name = node.name();
    host.ip_batch(&[
        &format!("link add {name} type veth peer name eth0 netns {name}"),
        &format!("link set {name} addrgenmode none master {LAN} up"),
    ]);
    let add = |address: &&str| format!("addr add {address} dev eth0");
    let mut commands: Vec<String> = addresses.iter().map(add).collect();
    commands.extend(["lo", "eth0"].map(|link| format!("link set {link} up")));
    node.ip_batch(&commands.iter().map(String::as_str).collect::<Vec<_>>());
}

/// What a server hands out. Times are in seconds.
#[derive(Clone, Debug)]
pub struct Pool {
    /// First and last address.
    pub first: String,
    /// The last address.
    pub last: String,
    /// The default router of IPv4 clients.
    pub router: Option<String>,
    /// The lease time, or valid lifetime.
    pub lease: u32,
    /// T1.
    pub renew: u32,
    /// T2.
    pub rebind: u32,
}

impl Pool {
    /// A pool whose leases last 8 s, with T1 after 2 s and T2 after 4 s: a whole life passes in a test.
    pub fn short(first: &str, last: &str) -> Pool {
        Pool {
            first: first.into(),
            last: last.into(),
            router: None,
            lease: 8,
            renew: 2,
            rebind: 4,
        }
    }

    fn subnet(&self) -> String {
        match self.first.rsplit_once('.') {
            Some((network, _)) => format!("{network}.0"),
            None => format!("{}::", self.first.split("::").next().unwrap_or_default()),
        }
    }
}

/// Programs of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// dnsmasq. Its leases last two minutes or more.
    Dnsmasq,
    /// dhcpd of ISC.
    Isc,
    /// Kea.
    Kea,
}

/// A running server, which is killed when this value is dropped.
pub struct Server {
    log: PathBuf,
    _service: Service,
}

impl Server {
    /// Starts a server for `eth0` of `node`, and waits until it is ready. IPv4 or IPv6 by the pool; `extra` are more
    /// options of dnsmasq, statements of dhcpd's configuration, or a JSON object to be merged into Kea's.
    ///
    /// Servers with the same `state` share the leases, one after the other.
    ///
    /// # Panics
    ///
    /// When the server is not ready in time, with its log.
    #[track_caller]
    pub fn start(
        host: &Host,
        program: Program,
        node: &Container,
        state: &str,
        pool: &Pool,
        extra: &str,
    ) -> Server {
        await_addresses(node);
        let dir = host.dir().join(state);
        fs::create_dir_all(&dir).expect("create a directory");
        let (command, ready) = match program {
            Program::Dnsmasq => dnsmasq(&dir, pool, extra),
            Program::Isc => isc(&dir, pool, extra),
            Program::Kea => kea(&dir, pool, extra),
        };
        let log = dir.join(format!("{}.log", node.name()));
        let shell = format!("exec {command} >{} 2>&1", log.display());
        let service = node.enter(|| Service::start(&["sh", "-c", &shell]));
        let server = Server {
            log,
            _service: service,
        };
        server.wait_for(ready);
        server
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the log contains `text`.
    ///
    /// # Panics
    ///
    /// When that takes more than 30 seconds.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let end = Instant::now() + Duration::from_secs(30) * patience();
        while !self.log().contains(text) {
            let log = self.log();
            assert!(Instant::now() < end, "no {text:?} in the log\n{log}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Waits until all addresses of a node can be used: a server that starts earlier does not listen on some.
fn await_addresses(node: &Container) {
    let end = Instant::now() + Duration::from_secs(30) * patience();
    while !node.ip("-6 addr show dev eth0 tentative").trim().is_empty() {
        assert!(Instant::now() < end, "{}: tentative addresses", node.name());
        thread::sleep(Duration::from_millis(20));
    }
}

/// Copies a program into `dir`: AppArmor's profiles, which forbid other paths than usual, go by the program's path.
fn unconfined(dir: &Path, program: &str) -> String {
    let copy = dir.join(program);
    if !copy.exists() {
        let original = Path::new("/usr/sbin").join(program);
        fs::copy(&original, &copy)
            .unwrap_or_else(|err| panic!("{}: {err}; is it installed?", original.display()));
    }
    copy.display().to_string()
}

fn dnsmasq(dir: &Path, pool: &Pool, extra: &str) -> (String, &'static str) {
    let Pool { first, last, .. } = pool;
    let lease = pool.lease.max(120);
    let program = unconfined(dir, "dnsmasq");
    let dir = dir.display();
    let mut command = format!(
        "{program} --keep-in-foreground --conf-file=/dev/null --user=root --pid-file= --no-resolv --no-hosts \
         --port=0 --interface=eth0 --log-facility=- --log-dhcp --dhcp-authoritative --no-ping \
         --dhcp-leasefile={dir}/leases --dhcp-range={first},{last},{lease} {extra}"
    );
    if first.contains('.') {
        command += &format!(
            " --dhcp-option=option:T1,{} --dhcp-option=option:T2,{}",
            pool.renew, pool.rebind
        );
        command += &match &pool.router {
            Some(router) => format!(" --dhcp-option=option:router,{router}"),
            None => " --dhcp-option=option:router".to_owned(),
        };
    }
    (command, "started, version")
}

fn isc(dir: &Path, pool: &Pool, extra: &str) -> (String, &'static str) {
    let router = pool.router.as_ref();
    let router = router.map_or(String::new(), |router| format!("option routers {router};"));
    let configuration = format!(
        "authoritative; ping-check false; one-lease-per-client true;\n\
         default-lease-time {lease}; min-lease-time {lease}; max-lease-time {lease};\n\
         option dhcp-renewal-time {renew}; option dhcp-rebinding-time {rebind};\n{extra}\n\
         subnet {subnet} netmask 255.255.255.0 {{ range {first} {last}; {router} }}\n",
        lease = pool.lease,
        renew = pool.renew,
        rebind = pool.rebind,
        subnet = pool.subnet(),
        first = pool.first,
        last = pool.last,
    );
    let program = unconfined(dir, "dhcpd");
    fs::write(dir.join("dhcpd.conf"), configuration).expect("write the configuration");
    let leases = dir.join("leases");
    fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(&leases)
        .expect("create a file of leases");
    let dir = dir.display();
    let command = format!("{program} -4 -f -d --no-pid -cf {dir}/dhcpd.conf -lf {dir}/leases eth0");
    (command, "Server starting service")
}

fn kea(dir: &Path, pool: &Pool, extra: &str) -> (String, &'static str) {
    let (key, name, ready) = match pool.first.contains('.') {
        true => ("Dhcp4", "kea-dhcp4", "DHCP4_STARTED"),
        false => ("Dhcp6", "kea-dhcp6", "DHCP6_STARTED"),
    };
    let mut subnet = json!({
        "subnet": format!("{}/{}", pool.subnet(), if key == "Dhcp4" { 24 } else { 64 }),
        "pools": [{"pool": format!("{} - {}", pool.first, pool.last)}],
    });
    let mut server = json!({
        "interfaces-config": {"interfaces": ["eth0"]},
        "lease-database": {"type": "memfile", "persist": true, "lfc-interval": 0, "name": dir.join("leases")},
        "valid-lifetime": pool.lease, "renew-timer": pool.renew, "rebind-timer": pool.rebind,
        "loggers": [{"name": name, "severity": "INFO", "output_options": [{"output": "stdout"}]}],
    });
    if key == "Dhcp4" {
        server["authoritative"] = true.into();
        if let Some(router) = &pool.router {
            subnet["option-data"] = json!([{"name": "routers", "data": router}]);
        }
    } else {
        subnet["interface"] = "eth0".into();
        server["preferred-lifetime"] = (pool.lease - 1).into();
        server["server-id"] = json!({"type": "LL", "persist": false});
    }
    let list = if key == "Dhcp4" { "subnet4" } else { "subnet6" };
    server[list] = json!([subnet]);
    let extra: Value = serde_json::from_str(extra).unwrap_or(json!({}));
    let server = crate::merge(server, &extra);
    let program = unconfined(dir, name);
    fs::write(dir.join("kea.json"), json!({key: server}).to_string()).expect("a configuration");
    let dir = dir.display();
    let command =
        format!("env KEA_PIDFILE_DIR={dir} KEA_LOCKFILE_DIR={dir} {program} -c {dir}/kea.json");
    (command, ready)
}

/// The packets of a node's interfaces, both directions, from its creation on.
pub struct Capture(OwnedFd);

/// A captured UDP datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Destination address of the frame.
    pub to_mac: [u8; 6],
    /// Source address of the frame.
    pub from_mac: [u8; 6],
    /// Source address and port.
    pub from: std::net::SocketAddr,
    /// Destination address and port.
    pub to: std::net::SocketAddr,
    /// The UDP payload.
    pub payload: Vec<u8>,
}

impl Capture {
    /// Begins to capture.
    ///
    /// # Panics
    ///
    /// Without the right to open packet sockets.
    #[track_caller]
    pub fn on(node: &impl Node) -> Capture {
        let open = || {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let protocol = SockProtocol::EthAll;
            socket(AddressFamily::Packet, SockType::Raw, flags, protocol)
        };
        let socket = node.enter(open).expect("a packet socket");
        // Nothing is lost while the test does something else.
        setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20)).expect("a large buffer");
        Capture(socket)
    }

    /// Takes the frames captured since the last call.
    pub fn frames(&self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut buffer = vec![0; 65536];
        while let Ok(length) = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            frames.push(buffer[..length].to_vec());
        }
        frames
    }

    /// Takes the UDP datagrams captured since the last call; other frames are dropped.
    pub fn datagrams(&self) -> Vec<Datagram> {
        self.frames().iter().filter_map(|f| datagram(f)).collect()
    }
}

/// The UDP datagram in an Ethernet frame.
fn datagram(frame: &[u8]) -> Option<Datagram> {
    let octets = |packet: &[u8], at: usize| {
        packet
            .get(at..at + 4)?
            .try_into()
            .ok()
            .map(|a: [u8; 4]| a.into())
    };
    let six = |packet: &[u8], at: usize| {
        packet
            .get(at..at + 16)?
            .try_into()
            .ok()
            .map(|a: [u8; 16]| a.into())
    };
    let packet = frame.get(14..)?;
    let (from, to, udp): (std::net::IpAddr, std::net::IpAddr, &[u8]) = match frame.get(12..14)? {
        [0x08, 0x00] if packet.get(9) == Some(&17) => {
            let header = usize::from(packet[0] & 15) * 4;
            (
                octets(packet, 12)?,
                octets(packet, 16)?,
                packet.get(header..)?,
            )
        }
        [0x86, 0xdd] if packet.get(6) == Some(&17) => {
            (six(packet, 8)?, six(packet, 24)?, packet.get(40..)?)
        }
        _ => return None,
    };
    let number = |at: usize| {
        udp.get(at..at + 2)
            .map(|b| u16::from_be_bytes([b[0], b[1]]))
    };
    let length = usize::from(number(4)?);
    Some(Datagram {
        to_mac: frame[..6].try_into().ok()?,
        from_mac: frame[6..12].try_into().ok()?,
        from: (from, number(0)?).into(),
        to: (to, number(2)?).into(),
        payload: udp.get(8..length)?.to_vec(),
    })
}
