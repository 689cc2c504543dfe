//! What a plugin cannot do once its configuration is read (`Documentation/confinement.md`).
//!
//! The executable is built with a plugin framework that makes attempts to escape right before the verb, as told by
//! `CNI_TEST_ESCAPE`. Whether the verb then succeeds does not matter: tests of the plugins show that what they need
//! is left.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use serde_json::{Value, json};
use testkit::{Container, Host, Invocation, Node, Plugin, bin_dir, merge, needs};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cni-plugins");

/// Attempts that the missing capabilities prevent.
const BY_CAPABILITIES: &[&str] = &[
    "chroot=/",
    "device=/run/testkit/device",
    "groups",
    "packets",
];

/// Attempts that Landlock prevents, and the version of it that does.
const BY_LANDLOCK: &[(&str, u32)] = &[
    ("read=/etc/passwd", 1),
    ("read=/proc/self/environ", 1),
    ("write=/run/testkit/new", 1),
    ("write=/var/lib/cni/elsewhere", 1),
    ("write=/proc/sys/kernel/panic_on_oops", 1),
    ("mkdir=/run/testkit/directory", 1),
    ("remove=/run/testkit/victim", 1),
    ("execute=/bin/true", 1),
    ("mount=/run/lock", 1),
    ("connect=127.0.0.1:9", 4),
    ("signal", 6),
];

/// How far a call is confined.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Degree {
    /// It executes nothing.
    Full,
    /// It opens namespaces of others, which Landlock has no rule for.
    WithoutLandlock,
    /// It executes programs.
    Executing,
}

struct Bench {
    _host: Host,
    container: Container,
    dir: PathBuf,
}

impl Bench {
    fn new() -> Bench {
        let host = Host::new();
        let dir = host.dir().join("plugins");
        fs::create_dir(&dir).expect("make a directory");
        fs::copy(PROGRAM, dir.join("cni-plugins")).expect("copy the executable");
        for name in names() {
            symlink("cni-plugins", dir.join(name)).expect("make a link");
        }
        // Without them the directories above would be open to what creates them.
        for used in ["/run/cni", "/var/lib/cni/networks/net"] {
            fs::create_dir_all(used).expect("make a directory");
        }
        let container = host.container("c1");
        Bench {
            _host: host,
            container,
            dir,
        }
    }

    fn call(&self, verb: &str, config: Value) -> Invocation {
        let base = json!({"cniVersion": "1.1.0", "name": "net", "cni.dev/valid-attachments": []});
        let config = merge(base, &config);
        let name = config["type"].as_str().expect("a type");
        let call = Plugin::in_dir(&self.dir, name).command(verb);
        call.container(&self.container)
            .config(&config)
            .env("CNI_LOG", "debug")
    }

    /// Makes the attempts with a call.
    #[track_caller]
    fn attempt(&self, call: Invocation) -> Attempts {
        fs::write("/run/testkit/victim", "").expect("write a file");
        for made in [
            "/run/testkit/device",
            "/run/testkit/new",
            "/var/lib/cni/elsewhere",
        ] {
            let _ = fs::remove_file(made);
        }
        let _ = fs::remove_dir("/run/testkit/directory");
        let attempts: Vec<&str> = BY_LANDLOCK
            .iter()
            .map(|(attempt, _)| *attempt)
            .chain(BY_CAPABILITIES.iter().copied())
            .chain(["ptrace"])
            .collect();
        let run = call.env("CNI_TEST_ESCAPE", attempts.join(" ")).run();
        let text = run.stderr_text();
        let outcomes: BTreeMap<String, String> = attempts
            .iter()
            .filter_map(|attempt| {
                let line = text.lines().find_map(|line| line.strip_prefix(attempt))?;
                Some(((*attempt).to_owned(), line.trim().to_owned()))
            })
            .collect();
        assert_eq!(outcomes.len(), attempts.len(), "{}", run.report());
        let version = text.split("] confined by Landlock, version ").nth(1);
        let version = version.and_then(|text| text.split_whitespace().next()?.parse().ok());
        Attempts {
            outcomes,
            landlock: version.unwrap_or(0),
            tried_landlock: text.contains("confined by Landlock"),
        }
    }

    #[track_caller]
    fn assert_confined(&self, degree: Degree, what: &str, call: Invocation) {
        let made = self.attempt(call);
        let report = format!("{what}: {:?}", made.outcomes);
        assert_eq!(made.tried_landlock, degree == Degree::Full, "{report}");
        for attempt in BY_CAPABILITIES {
            assert!(made.is_refused(attempt), "{attempt} of {report}");
        }
        for (attempt, since) in BY_LANDLOCK {
            let expected = made.landlock >= *since;
            assert_eq!(made.is_refused(attempt), expected, "{attempt} of {report}");
        }
        // What counts for ptrace are the permitted capabilities, which one that executes programs keeps.
        assert_eq!(
            made.is_refused("ptrace"),
            degree == Degree::Full,
            "{report}"
        );
    }
}

struct Attempts {
    outcomes: BTreeMap<String, String>,
    /// The version of Landlock that confined the plugin, or 0.
    landlock: u32,
    tried_landlock: bool,
}

impl Attempts {
    fn is_refused(&self, attempt: &str) -> bool {
        ["permission denied", "operation not permitted"].contains(&self.outcomes[attempt].as_str())
    }
}

/// The names of the plugins that are released.
fn names() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    let entries = |class| fs::read_dir(root.join(class)).expect("a directory");
    let all = ["main", "meta", "ipam"].into_iter().flat_map(entries);
    all.map(|entry| {
        let name = entry.expect("an entry").file_name();
        name.into_string().expect("a name")
    })
    .collect()
}

const HOST_LOCAL: &str = "10.7.0.0/24";

fn ipam() -> Value {
    json!({"type": "host-local", "subnet": HOST_LOCAL})
}

#[test]
fn a_plugin_that_executes_nothing_reaches_its_own_files_only() {
    let bench = Bench::new();
    for name in names() {
        let degree = match name.as_str() {
            "firewall" | "flannel" | "portmap" => Degree::Executing,
            _ => Degree::Full,
        };
        for verb in ["ADD", "CHECK", "DEL", "STATUS"] {
            let what = format!("{verb} of {name}");
            bench.assert_confined(degree, &what, bench.call(verb, json!({"type": name})));
        }
    }
    for config in [
        // The delegate runs in the same process.
        json!({"type": "bridge", "ipam": ipam()}),
        json!({"type": "firewall", "backend": "nftables"}),
        json!({"type": "portmap", "backend": "nftables"}),
    ] {
        bench.assert_confined(
            Degree::Full,
            &config.to_string(),
            bench.call("ADD", config.clone()),
        );
    }
}

#[test]
fn a_plugin_that_may_execute_programs_has_no_capabilities_but_its_own() {
    let bench = Bench::new();
    for config in [
        json!({"type": "bridge", "ipam": {"type": "dhcp2"}}),
        json!({"type": "bridge", "ipMasq": true}),
        json!({"type": "ptp", "ipMasq": true, "ipam": ipam()}),
        json!({"type": "tap", "selinuxContext": "system_u:system_r:container_t:s0"}),
        json!({"type": "portmap", "backend": "iptables"}),
    ] {
        let what = config.to_string();
        bench.assert_confined(Degree::Executing, &what, bench.call("ADD", config));
    }
    let separate = bench
        .call("ADD", json!({"type": "bridge", "ipam": ipam()}))
        .path(bin_dir());
    bench.assert_confined(Degree::Executing, "an executable of its own", separate);
    for plugin in ["bridge", "ptp"] {
        let gc = bench.call("GC", json!({"type": plugin}));
        bench.assert_confined(Degree::Executing, plugin, gc);
    }
    let gc = bench.call("GC", json!({"type": "host-device"}));
    bench.assert_confined(Degree::WithoutLandlock, "GC of host-device", gc);
}

#[test]
fn confinement_can_be_turned_off() {
    let bench = Bench::new();
    for name in names() {
        let call = bench
            .call("ADD", json!({"type": name}))
            .env("CNI_CONFINE", "off");
        let made = bench.attempt(call);
        let attempts = BY_LANDLOCK.iter().map(|(attempt, _)| attempt);
        for attempt in attempts.chain(BY_CAPABILITIES).chain(&["ptrace"]) {
            assert!(
                !made.is_refused(attempt),
                "{name}: {attempt} of {:?}",
                made.outcomes
            );
        }
    }
}

#[test]
fn a_process_without_capabilities_is_no_failure() {
    let bench = Bench::new();
    let ipam = json!({"type": "static", "addresses": [{"address": "10.7.0.2/24"}]});
    let config = json!({"cniVersion": "1.1.0", "name": "net", "type": "any", "ipam": ipam});
    let program = bench.dir.join("static");
    let call = Plugin::in_dir("/usr/bin", "setpriv")
        .command("ADD")
        .arguments(&[
            "--inh-caps=-all",
            "--bounding-set=-all",
            program.to_str().expect("a path"),
        ])
        .container(&bench.container)
        .config(&config)
        .env("CNI_LOG", "debug");
    let run = call.run().expect_ok();
    assert_eq!(run.json()["ips"][0]["address"], "10.7.0.2/24");
    assert!(
        run.stderr_text()
            .contains("confined by capabilities: 0x0 is left")
    );
}

/// On a kernel that has modules at all.
#[test]
fn no_module_can_be_loaded() {
    needs(&["modules"]);
    let bench = Bench::new();
    let load = |switch: &str| {
        let call = bench.call("STATUS", json!({"type": "portmap"}));
        let run = call
            .env("CNI_TEST_ESCAPE", "module")
            .env("CNI_CONFINE", switch)
            .run();
        let text = run.stderr_text();
        let outcome = text.lines().find_map(|line| line.strip_prefix("module "));
        outcome
            .unwrap_or_else(|| panic!("{}", run.report()))
            .to_owned()
    };
    assert_eq!(load("on"), "operation not permitted");
    // An empty file is no module.
    assert_eq!(load("off"), "exec format error");
}

/// A process with all capabilities in the container's namespace.
struct Process(Child);

impl Process {
    fn start(container: &Container) -> Process {
        let mut command = Command::new("nsenter");
        let netns = format!("--net={}", container.netns().display());
        let child = command.args([&netns, "sleep", "60"]).spawn();
        Process(child.expect("start a process"))
    }

    fn netns(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Neither may a confined process look into another one, nor one without `CAP_SYS_PTRACE` into one with all capabilities.
#[test]
fn the_namespace_may_be_that_of_a_process() {
    let bench = Bench::new();
    let process = Process::start(&bench.container);
    let own = fs::read_link("/proc/self/ns/net").expect("a namespace");
    while fs::read_link(process.netns()).is_ok_and(|netns| netns == own) {
        std::thread::yield_now();
    }
    let call = |verb: &str, config: &Value| {
        let call = bench.call(verb, config.clone());
        call.netns(process.netns()).ifname("eth0")
    };
    let bridge = json!({"type": "bridge", "bridge": "cni0", "isGateway": true, "ipam": ipam()});
    let masquerading = merge(bridge.clone(), &json!({"ipMasq": true}));
    for config in [bridge, masquerading] {
        let added = call("ADD", &config).run().expect_ok();
        let config = merge(config, &json!({"prevResult": added.json()}));
        call("CHECK", &config).run().expect_ok();
        for chained in [
            json!({"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.arp_filter": "1"}}),
            json!({"type": "sbr"}),
            json!({"type": "bandwidth", "ingressRate": 1_000_000, "ingressBurst": 1_000_000}),
            json!({"type": "portmap", "backend": "nftables", "snat": true}),
        ] {
            let chained = merge(chained, &json!({"prevResult": added.json()}));
            call("ADD", &chained).run().expect_ok();
            call("DEL", &chained).run().expect_ok();
        }
        assert!(bench.container.link("eth0").is_some());
        call("DEL", &config).run().expect_ok();
        assert!(bench.container.link("eth0").is_none());
    }
}
