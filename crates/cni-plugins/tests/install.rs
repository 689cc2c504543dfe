//! The installer: what it changes and what it leaves alone, on full and read-only file systems, beside other installers,
//! and killed at any moment.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use testkit::trace::{Kill, Victim, trace};
use testkit::{Host, Node, Plugin};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cni-plugins");

/// Two versions of the executable, which differ in their content only, and a directory to install them in.
struct Stage {
    host: Host,
    one: PathBuf,
    two: PathBuf,
    dest: PathBuf,
}

impl Stage {
    fn new() -> Stage {
        let host = Host::new();
        let one = host.dir().join("one");
        // Debug information is most of the file.
        let stripped = Command::new("strip")
            .arg("-o")
            .arg(&one)
            .arg(PROGRAM)
            .status();
        assert!(stripped.expect("run strip").success());
        let two = host.dir().join("two");
        let mut bytes = fs::read(&one).expect("read the executable");
        bytes.extend_from_slice(b"another version");
        fs::write(&two, bytes).expect("write a version");
        fs::set_permissions(&two, Permissions::from_mode(0o755)).expect("make it executable");
        let dest = host.dir().join("opt/cni/bin");
        Stage {
            host,
            one,
            two,
            dest,
        }
    }

    fn tool(&self, program: &Path, verb: &str, options: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .arg(verb)
            .arg("--dest")
            .arg(&self.dest)
            .args(options);
        command
    }

    /// Runs a command that must succeed, and returns what it says.
    #[track_caller]
    fn run(&self, program: &Path, verb: &str, options: &[&str]) -> String {
        said(
            self.tool(program, verb, options)
                .output()
                .expect("run the tool"),
        )
    }

    #[track_caller]
    fn install(&self, program: &Path, options: &[&str]) -> String {
        self.run(program, "install", options)
    }

    fn names(&self) -> BTreeSet<String> {
        names_in(&self.dest)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.dest.join(name)).expect("read an installed file")
    }

    /// Demands that all plugins are installed and are this version.
    #[track_caller]
    fn assert_all(&self, version: &Path) {
        let expected = fs::read(version).expect("read a version");
        let mut names = self.names();
        assert!(names.remove(".cni-plugins"), "no store in {names:?}");
        assert_eq!(names, all());
        let mut seen = BTreeSet::new();
        for name in all() {
            let path = self.dest.join(&name);
            if seen.insert(path.metadata().expect("a file").ino()) {
                assert!(self.read(&name) == expected, "{name} is another version");
            }
        }
    }
}

/// The names that are installed.
fn all() -> BTreeSet<String> {
    let list = Command::new(PROGRAM)
        .env_clear()
        .arg("list")
        .output()
        .expect("run the tool");
    let list = said(list);
    list.lines()
        .chain(["cni-plugins"])
        .map(String::from)
        .collect()
}

fn names_in(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).expect("read a directory");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    entries
        .map(|entry| name(entry).to_string_lossy().into_owned())
        .collect()
}

#[track_caller]
fn said(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[track_caller]
fn refused(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).expect("UTF-8")
}

fn count(report: &str, what: &str) -> usize {
    report.lines().filter(|line| line.contains(what)).count()
}

#[test]
fn installs_every_plugin_once_and_uninstalls() {
    let stage = Stage::new();
    let report = stage.install(&stage.one, &[]);
    assert_eq!(count(&report, ": installed "), all().len(), "{report}");
    stage.assert_all(&stage.one);
    let bridge = fs::symlink_metadata(stage.dest.join("bridge")).expect("a file");
    assert!(bridge.is_file());
    assert_eq!(bridge.mode() & 0o7777, 0o755);
    // One file, with all names and the one in the store.
    let links = u64::try_from(all().len() + 1).expect("small");
    assert_eq!(bridge.nlink(), links);
    Plugin::in_dir(&stage.dest, "bridge").version().expect_ok();

    let again = stage.install(&stage.one, &["--update", "--replace-foreign"]);
    assert!(again.contains("nothing to do"), "{again}");
    assert_eq!(count(&again, ": up to date"), all().len());
    let same = fs::symlink_metadata(stage.dest.join("bridge")).expect("a file");
    assert_eq!(
        (same.ino(), same.ctime_nsec()),
        (bridge.ino(), bridge.ctime_nsec())
    );

    // The installed tool can remove itself.
    stage.run(&stage.dest.join("cni-plugins"), "uninstall", &[]);
    assert_eq!(stage.names(), BTreeSet::new());
    let nothing = stage
        .tool(&stage.one, "uninstall", &[])
        .output()
        .expect("run the tool");
    assert!(refused(nothing).contains("nothing was installed"));
}

#[test]
fn updates_on_demand_and_rolls_back() {
    let stage = Stage::new();
    stage.install(&stage.one, &["--skip", "vlan"]);
    let report = stage.install(&stage.two, &["--skip", "vlan"]);
    assert!(report.contains("bridge: left at "), "{report}");
    assert!(report.contains("nothing to do"), "{report}");

    // A plugin that runs goes on, and its file is not busy.
    let mut running = Plugin::in_dir(&stage.dest, "static")
        .command("ADD")
        .env("CNI_CONTAINERID", "c");
    running = running
        .env("CNI_NETNS", "/nowhere")
        .env("CNI_IFNAME", "eth0");
    let mut sleeper = Command::new(stage.dest.join("static"))
        .env_clear()
        .envs([("CNI_COMMAND", "STATUS"), ("CNI_PATH", "/nowhere")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start a plugin");
    let report = stage.install(&stage.two, &["--update"]);
    assert_eq!(count(&report, ": replaced "), all().len() - 1, "{report}");
    assert!(report.contains("vlan: installed "), "{report}");
    stage.assert_all(&stage.two);
    drop(sleeper.stdin.take());
    let answer = sleeper.wait_with_output().expect("wait for the plugin");
    assert!(String::from_utf8_lossy(&answer.stdout).contains("error unmarshall network config"));
    running.stdin("{}").run().expect_error(7);

    let report = stage.run(&stage.two, "rollback", &[]);
    assert!(report.contains("vlan: removed"), "{report}");
    let before = names_in(&stage.dest);
    assert!(!before.contains("vlan"));
    assert!(stage.read("bridge") == fs::read(&stage.one).expect("read a version"));
    // Rolling back again redoes the change.
    stage.run(&stage.two, "rollback", &[]);
    stage.assert_all(&stage.two);
    // Only what can be restored is kept: two versions and the manifest.
    assert_eq!(names_in(&stage.dest.join(".cni-plugins")).len(), 3);
}

#[test]
fn foreign_files_are_replaced_only_on_demand_and_come_back() {
    let stage = Stage::new();
    fs::create_dir_all(stage.dest.join("tap")).expect("make a directory");
    symlink("/usr/lib/cni/ptp", stage.dest.join("ptp")).expect("make a link");
    let foreign = stage.dest.join("bridge");
    fs::write(&foreign, "#!/bin/sh\necho foreign\n").expect("write a file");
    fs::set_permissions(&foreign, Permissions::from_mode(0o4711)).expect("set the mode");
    fs::write(stage.dest.join("calico"), "").expect("write a file");
    let original = foreign.metadata().expect("a file");
    let is_original = || {
        let now = foreign.metadata().expect("a file");
        (now.ino(), now.mode()) == (original.ino(), original.mode())
    };

    let report = stage.install(&stage.one, &["--update"]);
    assert!(
        report.contains("bridge: left alone, since this program did not install it"),
        "{report}"
    );
    assert!(is_original());
    let report = stage.install(&stage.one, &["--replace-foreign"]);
    assert!(
        report.contains("bridge: replaced a foreign file"),
        "{report}"
    );
    for special in ["tap", "ptp"] {
        let left = format!("{special}: left alone, since it is not a regular file");
        assert!(report.contains(&left), "{report}");
    }
    Plugin::in_dir(&stage.dest, "bridge").version().expect_ok();
    stage.run(&stage.one, "rollback", &[]);
    assert!(is_original());
    stage.run(&stage.one, "rollback", &[]);
    Plugin::in_dir(&stage.dest, "bridge").version().expect_ok();
    stage.install(&stage.two, &["--update"]);
    // Whatever was replaced by others meanwhile is theirs.
    fs::remove_file(stage.dest.join("vrf")).expect("remove a file");
    fs::write(stage.dest.join("vrf"), "theirs").expect("write a file");
    let report = stage.run(&stage.two, "uninstall", &[]);
    assert!(
        report.contains("bridge: restored the foreign file"),
        "{report}"
    );
    assert!(report.contains("vrf: left alone"), "{report}");
    assert!(is_original());
    let left = ["bridge", "calico", "ptp", "tap", "vrf"].map(String::from);
    assert_eq!(stage.names(), BTreeSet::from(left));
}

#[test]
fn the_switches_of_other_images_are_understood() {
    let stage = Stage::new();
    let run = |program: &Path, skip: &str, update: &str| {
        let mut tool = stage.tool(program, "install", &["--update"]);
        tool.env("SKIP_CNI_BINARIES", skip)
            .env("UPDATE_CNI_BINARIES", update);
        said(tool.output().expect("run the tool"))
    };
    fs::create_dir_all(&stage.dest).expect("make a directory");
    fs::write(stage.dest.join("ptp"), "foreign").expect("write a file");
    let report = run(&stage.one, "bridge, flannel,weave", "");
    assert!(
        report.contains("weave: cannot be skipped: there is no such plugin"),
        "{report}"
    );
    for skipped in ["bridge", "flannel"] {
        assert!(report.contains(&format!("{skipped}: skipped")), "{report}");
        assert!(!stage.dest.join(skipped).exists());
    }
    assert_eq!(stage.read("ptp"), b"foreign");
    let report = run(&stage.two, "", "false");
    assert!(report.contains("vlan: left at "), "{report}");
    assert_eq!(stage.read("ptp"), b"foreign");
    run(&stage.two, "", "true");
    stage.assert_all(&stage.two);
}

#[test]
fn selinux_labels_are_kept() {
    const LABEL: &str = "system_u:object_r:container_runtime_exec_t:s0";
    let stage = Stage::new();
    let label = |name: &str| {
        let path = stage.dest.join(name);
        let path = path.to_str().expect("UTF-8");
        stage.host.command(&[
            "getfattr",
            "--absolute-names",
            "--only-values",
            "-n",
            "security.selinux",
            path,
        ])
    };
    fs::create_dir_all(&stage.dest).expect("make a directory");
    let bridge = stage.dest.join("bridge");
    fs::write(&bridge, "foreign").expect("write a file");
    let path = bridge.to_str().expect("UTF-8");
    stage
        .host
        .command(&["setfattr", "-n", "security.selinux", "-v", LABEL, path]);
    stage.install(&stage.one, &["--replace-foreign"]);
    stage.assert_all(&stage.one);
    assert_eq!(label("bridge"), LABEL);
    stage.install(&stage.two, &["--update"]);
    assert_eq!(label("vlan"), LABEL);
    stage.run(&stage.two, "uninstall", &[]);
    assert_eq!(label("bridge"), LABEL);
}

#[test]
fn a_file_system_without_hard_links_gets_copies() {
    let stage = Stage::new();
    let without_links = |verb: &str, program: &Path, options: &[&str]| {
        let mut command = Command::new("strace");
        command.args([
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "inject=link,linkat:error=EPERM",
            "--",
        ]);
        command
            .arg(program)
            .arg(verb)
            .arg("--dest")
            .arg(&stage.dest)
            .args(options);
        said(command.output().expect("run strace"))
    };
    fs::create_dir_all(&stage.dest).expect("make a directory");
    fs::write(stage.dest.join("bridge"), "foreign").expect("write a file");
    without_links("install", &stage.one, &["--replace-foreign"]);
    stage.assert_all(&stage.one);
    assert_eq!(
        stage.dest.join("vlan").metadata().expect("a file").nlink(),
        1
    );
    Plugin::in_dir(&stage.dest, "vlan").version().expect_ok();
    without_links("install", &stage.two, &["--update"]);
    stage.assert_all(&stage.two);
    without_links("rollback", &stage.two, &[]);
    stage.assert_all(&stage.one);
    without_links("uninstall", &stage.two, &[]);
    assert_eq!(stage.read("bridge"), b"foreign");
}

#[test]
fn a_read_only_directory_is_an_error() {
    let stage = Stage::new();
    stage.install(&stage.one, &[]);
    stage.host.make_read_only(&stage.dest);
    let output = stage
        .tool(&stage.two, "install", &["--update"])
        .output()
        .expect("run the tool");
    let error = refused(output);
    assert!(error.contains("read-only file system"), "{error}");
    assert!(
        error.contains(stage.dest.to_str().expect("UTF-8")),
        "{error}"
    );
    stage.assert_all(&stage.one);
}

#[test]
fn a_full_file_system_is_left_as_it_was() {
    let stage = Stage::new();
    let size = stage.one.metadata().expect("a file").len();
    fs::create_dir_all(&stage.dest).expect("make a directory");
    stage
        .host
        .mount_tmpfs(&stage.dest, &format!("size={}", size + (1 << 20)));
    stage.install(&stage.one, &[]);
    let store = names_in(&stage.dest.join(".cni-plugins"));
    let output = stage
        .tool(&stage.two, "install", &["--update"])
        .output()
        .expect("run the tool");
    let error = refused(output);
    assert!(error.contains("no space left on device"), "{error}");
    stage.assert_all(&stage.one);
    assert_eq!(names_in(&stage.dest.join(".cni-plugins")), store);
    Plugin::in_dir(&stage.dest, "bridge").version().expect_ok();
}

#[test]
fn concurrent_installers_take_turns() {
    let stage = Stage::new();
    let running: Vec<_> = (0..8)
        .map(|n| {
            let program = if n % 2 == 0 { &stage.one } else { &stage.two };
            let mut tool = stage.tool(program, "install", &["--update"]);
            let tool = tool.stdout(Stdio::piped()).stderr(Stdio::piped());
            tool.spawn().expect("start the tool")
        })
        .collect();
    for child in running {
        said(child.wait_with_output().expect("wait for the tool"));
    }
    let last = if stage.read("bridge") == fs::read(&stage.one).expect("read a version") {
        &stage.one
    } else {
        &stage.two
    };
    stage.assert_all(last);
}

/// Killed before any of its changes, the installer leaves plugins that work, old or new, and the next one completes what it
/// began, as one change that can be rolled back.
#[test]
fn killed_at_any_moment_every_plugin_works() {
    /// All of the first steps; later ones repeat for each name.
    const DENSE: usize = 24;
    const STRIDE: usize = 16;
    let stage = Stage::new();
    let traced = |kill: Option<Kill>| {
        let _ = fs::remove_dir_all(&stage.dest);
        stage.install(&stage.one, &[]);
        let mut tool = stage.tool(&stage.two, "install", &["--update"]);
        let tool = tool.stdout(Stdio::null()).stderr(Stdio::null());
        trace(tool, kill, Duration::from_secs(60), |_| {}).expect("trace the installer")
    };
    let changes = traced(None).changes.into_iter().enumerate();
    let chosen = changes.filter(|(number, _)| *number < DENSE || number % STRIDE == 0);
    let chosen: Vec<_> = chosen.collect();
    assert!(chosen.len() > DENSE, "{chosen:?}");
    for (_, (at, what)) in chosen {
        let victim = Victim::All;
        assert!(traced(Some(Kill { at, victim })).is_killed, "{what}");
        for name in &all() {
            let content = stage.read(name);
            assert!(
                [&stage.one, &stage.two]
                    .iter()
                    .any(|version| content == fs::read(version).expect("read a version")),
                "killed before {at:?}, {what}: {name} is damaged"
            );
        }
        Plugin::in_dir(&stage.dest, "bridge").version().expect_ok();
        stage.install(&stage.two, &["--update"]);
        stage.assert_all(&stage.two);
        stage.run(&stage.two, "rollback", &[]);
        stage.assert_all(&stage.one);
    }
}
