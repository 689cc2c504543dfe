//! Calls of plugins with pipes and wrappers, and the processes and sockets that they leave.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{Container, Node, Plugin};

/// A bridge with masquerade by nftables: DEL deletes a link and rules.
pub(crate) fn masquerading() -> Value {
    json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "cni0", "isGateway": true,
        "ipMasq": true, "ipMasqBackend": "nftables",
        "ipam": {"type": "host-local", "subnet": "10.70.0.0/24"},
    })
}

/// Returns a command that runs DEL of `eth0` behind `wrapper`, which executes the program that follows its arguments.
/// Its standard output is a pipe.
pub(crate) fn del_behind(wrapper: &[&str], container: &Container, config: &Value) -> Command {
    let plugin = Plugin::new(config["type"].as_str().expect("a type"));
    let name = format!("config-{}", container.name());
    let file = Path::new("/run/testkit").join(name);
    fs::write(&file, config.to_string()).expect("write the configuration");
    let mut words = wrapper.iter().map(Path::new).chain([plugin.program()]);
    let mut command = Command::new(words.next().expect("a program"));
    command
        .args(words)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("CNI_COMMAND", "DEL")
        .env("CNI_PATH", plugin.program().parent().expect("a directory"))
        .env("CNI_CONTAINERID", container.id())
        .env("CNI_NETNS", container.netns())
        .env("CNI_IFNAME", "eth0")
        .stdin(fs::File::open(&file).expect("open the configuration"))
        .stdout(Stdio::piped());
    command
}

/// A process of `/proc`.
#[derive(Debug)]
pub(crate) struct Process {
    /// `R`, `S`, `D`, `Z` …
    pub(crate) state: char,
    pub(crate) parent: u32,
    /// The namespace; `None` for a zombie.
    netns: Option<PathBuf>,
}

/// Returns all processes that run `plugin`.
pub(crate) fn processes(plugin: &str) -> Vec<Process> {
    let read = |entry: fs::DirEntry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // pid (comm) state ppid …
        let (head, tail) = stat.rsplit_once(") ")?;
        let mut words = tail.split(' ');
        let process = Process {
            state: words.next()?.chars().next()?,
            parent: words.next()?.parse().ok()?,
            netns: fs::read_link(entry.path().join("ns/net")).ok(),
        };
        (head.split_once('(')?.1 == plugin).then_some(process)
    };
    let entries = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    entries.filter_map(read).collect()
}

/// Returns the processes that run `plugin` in the namespace of the calling thread.
pub(crate) fn processes_here(plugin: &str) -> Vec<Process> {
    let here = fs::read_link("/proc/thread-self/ns/net").expect("/proc is mounted");
    let mut all = processes(plugin);
    all.retain(|process| process.netns.as_ref() == Some(&here));
    all
}

/// Returns the number of netlink sockets of programs in the node's namespace.
fn sockets(node: &impl Node) -> usize {
    let table = node.enter(|| fs::read_to_string("/proc/thread-self/net/netlink"));
    let table = table.expect("read the table of netlink sockets");
    // The third column is the port: that of the kernel's own sockets is 0.
    let ports = table
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(2));
    ports.filter(|port| *port != "0").count()
}

/// Demands that no process of `plugin` and none of its sockets is left in the namespaces. A second is enough on a
/// machine that is not overloaded.
#[track_caller]
pub(crate) fn assert_nothing_left(plugin: &str, host: &impl Node, containers: &[Container]) {
    let left = || {
        let sockets_left = sockets(host) + containers.iter().map(sockets).sum::<usize>();
        (processes_here(plugin).len(), sockets_left)
    };
    let end = Instant::now() + Duration::from_secs(10);
    while left() != (0, 0) {
        assert!(
            Instant::now() < end,
            "{:?} processes and sockets are left after 10 s: {:?}",
            left(),
            processes_here(plugin)
        );
        thread::sleep(Duration::from_millis(20));
    }
}
