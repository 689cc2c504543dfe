//! Kernel features that tests require, and deferral of tests to another kernel.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, exit};
use std::sync::{Mutex, PoisonError};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

/// Environment variable with the path of the file to which tests that need another kernel append a [`Deferred`], one
/// per line.
pub const DEFER: &str = "CNI_TEST_DEFER";

/// Environment variable with the path of the file in which the tests of a run share the results of probes, one line per
/// feature: its name, a tab, and why the kernel lacks it (nothing if it has it).
pub const FEATURES_FILE: &str = "CNI_TEST_FEATURES";

/// Environment variable with the kind of the kernel, [`UML`] or [`EMULATED`], if it is not the machine's own.
pub const KERNEL: &str = "CNI_TEST_KERNEL";

/// User Mode Linux, where tests may change the machine's own network.
pub const UML: &str = "uml";

/// A kernel on an emulated processor.
pub const EMULATED: &str = "emulated";

/// A network device with a driver: when its namespace is deleted, it returns to the initial namespace.
const PHYSICAL_DEVICE: &str = "physical-device";

/// A kernel that was booted with `ipv6.disable=1` and supports no IPv6 addresses, routes and rules.
const NO_IPV6: &str = "no-ipv6";

/// The features that a test may require, and commands that succeed in an empty network namespace if the kernel has the
/// feature.
const FEATURES: &[(&str, &[&str])] = &[
    (
        // A kernel without it accepts the option and ignores it.
        "bridge-vlan-filtering",
        &[
            "ip link add br0 type bridge vlan_filtering 1",
            "bridge vlan add dev br0 vid 5 self",
        ],
    ),
    ("dummy", &["ip link add d0 type dummy"]),
    ("fq", &["tc qdisc add dev lo root fq"]),
    ("fq_codel", &["tc qdisc add dev lo root fq_codel"]),
    ("ifb", &["ip link add i0 type ifb"]),
    (
        "ipvlan",
        &[
            "ip link add p0 type veth",
            "ip link add i0 link p0 type ipvlan",
        ],
    ),
    (
        "matchall",
        &[
            "tc qdisc add dev lo ingress",
            "tc filter add dev lo ingress matchall action drop",
        ],
    ),
    ("modules", &["test -e /proc/modules"]),
    ("netkit", &["ip link add n0 type netkit"]),
    (NO_IPV6, &["test ! -e /proc/net/if_inet6"]),
    (
        "vlan",
        &[
            "ip link add p0 type veth",
            "ip link add v0 link p0 type vlan id 5",
        ],
    ),
    ("vrf", &["ip link add v0 type vrf table 5"]),
];

/// Declares, at the start of a test, the kernel features that it requires: `vlan`, `ipvlan`, `dummy`, `vrf`,
/// `netkit`, `ifb` (kinds of links), `fq`, `fq_codel` (queues), `bridge-vlan-filtering`, `matchall` (the packet
/// classifier), `modules` (a kernel that can load modules), `no-ipv6` (a kernel booted with `ipv6.disable=1`), and `physical-device` (see
/// [`physical_device`]).
///
/// Returns if the kernel has all of them. Otherwise the test ends: under `cargo xtask test`, which sets [`DEFER`], it
/// is recorded in that file and run again on another kernel. A feature is probed in a temporary network namespace, once
/// per process, or once per run if [`FEATURES_FILE`] is set.
///
/// # Panics
///
/// If the kernel lacks a feature and [`DEFER`] is not set, and for an unknown feature.
#[track_caller]
pub fn needs(features: &[&str]) {
    let lacking: Vec<(&str, String)> = features
        .iter()
        .filter_map(|feature| Some((*feature, lacks(feature)?)))
        .collect();
    if lacking.is_empty() {
        return;
    }
    let Some(file) = env::var_os(DEFER) else {
        let why: Vec<String> = lacking
            .iter()
            .map(|(f, why)| format!("{f}: {why}"))
            .collect();
        panic!(
            "this kernel lacks what the test needs; run it with cargo xtask test, which has another\n{}",
            why.join("\n")
        );
    };
    let deferred = Deferred::this(lacking.iter().map(|(f, _)| (*f).to_owned()).collect());
    if let Err(err) = deferred.append(Path::new(&file)) {
        panic!(
            "cannot note in {} that the test needs another kernel: {err}",
            file.display()
        );
    }
    if is_alone() {
        exit(0);
    }
    // Other tests of this process continue. The runner reports a failure, which xtask corrects from the file.
    resume_unwind(Box::new("needs another kernel"));
}

/// The name of a network device that outlives its namespace and that the test may move. The test must require it with
/// `needs(&["physical-device"])`; no other test then runs on the machine.
///
/// # Panics
///
/// When there is none.
#[track_caller]
pub fn physical_device() -> String {
    find_physical_device().unwrap_or_else(|why| panic!("{why}"))
}

fn find_physical_device() -> Result<String, String> {
    // On other machines, devices are in use.
    if kernel().as_deref() != Some(UML) {
        return Err("this machine's own network devices are not the test's to move".into());
    }
    let devices = fs::read_dir("/sys/class/net").map_err(|err| format!("/sys/class/net: {err}"))?;
    devices
        .flatten()
        .find(|device| device.path().join("device").exists())
        .and_then(|device| device.file_name().into_string().ok())
        .ok_or_else(|| "no network device here has a driver".into())
}

/// The factor for time limits: greater than 1 on a slow machine.
pub fn patience() -> u32 {
    match kernel().as_deref() {
        Some(UML) => 5,
        Some(EMULATED) => 10,
        _ => 1,
    }
}

fn kernel() -> Option<String> {
    env::var(KERNEL).ok()
}

/// Whether `feature` is one of those that [`needs`] knows.
pub fn is_feature(feature: &str) -> bool {
    feature == PHYSICAL_DEVICE || FEATURES.iter().any(|(name, _)| *name == feature)
}

/// Whether the running kernel has `feature`, one of those that [`needs`] knows.
///
/// # Panics
///
/// For an unknown feature.
#[track_caller]
pub fn has(feature: &str) -> bool {
    lacks(feature).is_none()
}

/// Why the running kernel lacks `feature`, `None` if it has it.
#[track_caller]
fn lacks(feature: &str) -> Option<String> {
    static KNOWN: Mutex<BTreeMap<String, Option<String>>> = Mutex::new(BTreeMap::new());
    // The only panic while the lock is held is for an unknown feature, which leaves the map unchanged.
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if known.is_empty() {
        known.extend(read_features());
    }
    if let Some(answer) = known.get(feature) {
        return answer.clone();
    }
    let answer = if feature == PHYSICAL_DEVICE {
        find_physical_device().err()
    } else {
        let Some((_, commands)) = FEATURES.iter().find(|(name, _)| *name == feature) else {
            panic!(
                "no way is known to tell whether a kernel has {feature:?}; see crates/testkit/src/needs.rs"
            );
        };
        try_out(commands)
    };
    share_feature(feature, answer.as_deref());
    known.insert(feature.to_owned(), answer.clone());
    answer
}

/// The features that other tests have probed, see [`FEATURES_FILE`].
fn read_features() -> Vec<(String, Option<String>)> {
    let text = env::var_os(FEATURES_FILE).and_then(|file| fs::read_to_string(file).ok());
    let text = text.unwrap_or_default();
    // Another test is still writing a line without its end.
    let lines = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    lines
        .filter_map(|line| line.trim_end_matches('\n').split_once('\t'))
        .map(|(feature, why)| {
            (
                feature.to_owned(),
                (!why.is_empty()).then(|| why.to_owned()),
            )
        })
        .collect()
}

fn share_feature(feature: &str, why: Option<&str>) {
    let line = format!(
        "{feature}\t{}\n",
        why.unwrap_or_default().replace('\n', " ")
    );
    // A failure only means that other tests probe again.
    let _ = env::var_os(FEATURES_FILE).map(|file| append(Path::new(&file), &line));
}

/// Appends a line to a file. Several processes may do so at once.
fn append(file: &Path, line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    file.write_all(line.as_bytes())
}

/// Runs `commands` one after the other in a new network namespace. Returns the error of the first that fails.
fn try_out(commands: &'static [&'static str]) -> Option<String> {
    // The namespace and everything in it ends with the thread.
    let thread = thread::spawn(move || {
        if let Err(err) = unshare(CloneFlags::CLONE_NEWNET) {
            return Some(format!("cannot make a network namespace: {err}; root may"));
        }
        commands.iter().find_map(|command| failure(command))
    });
    thread.join().expect("the probing thread does not panic")
}

fn failure(command: &str) -> Option<String> {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap_or_default())
        .args(words)
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Some(format!("{command}: {}", said.trim()))
        }
        Err(err) => Some(format!("{command}: {err}")),
    }
}

/// Whether this process runs a single test, as under nextest and in User Mode Linux.
fn is_alone() -> bool {
    env::var_os("NEXTEST_EXECUTION_MODE").is_some_and(|mode| mode == "process-per-test")
}

/// A test that needs another kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deferred {
    /// The name of the test program: nextest's binary ID, else the file name without hash.
    pub binary: String,
    /// The test program.
    pub program: PathBuf,
    /// The name of the test in the program.
    pub test: String,
    /// The working directory, which is that of the package.
    pub dir: PathBuf,
    /// The features that the kernel lacks.
    pub missing: Vec<String>,
}

impl Deferred {
    /// The test that is running on the calling thread.
    fn this(missing: Vec<String>) -> Deferred {
        let program = env::current_exe().unwrap_or_default();
        let named = env::args()
            .skip(1)
            .find(|argument| !argument.starts_with('-'));
        let thread = || thread::current().name().map(str::to_owned);
        Deferred {
            binary: env::var("NEXTEST_BINARY_ID").unwrap_or_else(|_| program_name(&program)),
            test: if is_alone() { named } else { thread() }.unwrap_or_default(),
            dir: env::current_dir().unwrap_or_default(),
            program,
            missing,
        }
    }

    /// The name that test runners print: `binary test`.
    pub fn name(&self) -> String {
        format!("{} {}", self.binary, self.test)
    }

    /// Whether no other test may run on the machine at the same time.
    pub fn is_exclusive(&self) -> bool {
        self.lacks(PHYSICAL_DEVICE)
    }

    /// Whether it requires a kernel that was booted without IPv6.
    pub fn is_without_ipv6(&self) -> bool {
        self.lacks(NO_IPV6)
    }

    fn lacks(&self, feature: &str) -> bool {
        self.missing.iter().any(|missing| missing == feature)
    }

    /// The line that represents it in a file.
    pub fn to_line(&self) -> String {
        let line = json!({
            "binary": self.binary, "program": self.program, "test": self.test, "dir": self.dir,
            "missing": self.missing,
        });
        format!("{line}\n")
    }

    fn append(&self, file: &Path) -> io::Result<()> {
        append(file, &self.to_line())
    }

    /// Parses the text of a file.
    ///
    /// # Errors
    ///
    /// Contains the invalid line.
    pub fn read_all(text: &str) -> Result<Vec<Deferred>, String> {
        let lines = text.lines().filter(|line| !line.is_empty());
        let read = |line: &str| {
            Deferred::from_line(line).ok_or_else(|| format!("not a deferred test: {line}"))
        };
        lines.map(read).collect()
    }

    fn from_line(line: &str) -> Option<Deferred> {
        let line: Value = serde_json::from_str(line).ok()?;
        let text = |key: &str| Some(line[key].as_str()?.to_owned());
        let missing = line["missing"].as_array()?.iter();
        Some(Deferred {
            binary: text("binary")?,
            program: text("program")?.into(),
            test: text("test").filter(|test| !test.is_empty())?,
            dir: text("dir")?.into(),
            missing: missing
                .map(|f| Some(f.as_str()?.to_owned()))
                .collect::<Option<_>>()?,
        })
    }
}

/// `vlan` of `target/debug/deps/vlan-0123456789abcdef`.
fn program_name(program: &Path) -> String {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    name.rsplit_once('-')
        .map_or(&*name, |(stem, _hash)| stem)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deferred() -> Deferred {
        Deferred {
            binary: "cni-vlan::vlan".into(),
            program: "/target/debug/deps/vlan-0123".into(),
            test: "check::a b".into(),
            dir: "/project/plugins/main/vlan".into(),
            missing: vec!["vlan".into(), PHYSICAL_DEVICE.into()],
        }
    }

    #[test]
    fn written_records_can_be_read() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        for _ in 0..2 {
            deferred().append(file.path()).expect("appended");
        }
        let text = fs::read_to_string(file.path()).expect("the file");
        assert_eq!(Deferred::read_all(&text), Ok(vec![deferred(), deferred()]));
        assert!(deferred().is_exclusive());
        assert_eq!(deferred().name(), "cni-vlan::vlan check::a b");
    }

    #[test]
    fn invalid_records_are_refused() {
        for line in [
            "{",
            "{}",
            "[]",
            "text",
            r#"{"binary":"a","program":"b","test":"","dir":"d","missing":[]}"#,
        ] {
            let error = Deferred::read_all(line).expect_err(line);
            assert!(error.contains(line), "{error}");
        }
    }

    #[test]
    fn the_running_test_knows_its_name() {
        let this = Deferred::this(Vec::new());
        assert_eq!(this.test, "needs::tests::the_running_test_knows_its_name");
        assert!(this.program.is_file(), "{this:?}");
        assert!(this.binary.starts_with("testkit"), "{this:?}");
    }

    #[test]
    fn probes_tell_existing_from_missing_features() {
        assert_eq!(
            try_out(&["ip link add p0 type veth", "ip link show p0"]),
            None
        );
        // It was deleted with its namespace.
        assert!(try_out(&["ip link show p0"]).is_some());
        let why = try_out(&["ip link set lo up", "ip link add x type no-such-kind"]);
        assert!(why.is_some_and(|why| why.starts_with("ip link add x type")));
        let why = try_out(&["/no/such/program"]);
        assert!(why.is_some_and(|why| why.starts_with("/no/such/program: ")));
    }

    #[test]
    #[should_panic(expected = "no way is known to tell whether a kernel has \"flux\"")]
    fn an_unknown_feature_panics() {
        needs(&["flux"]);
    }
}
