//! The plugins of the executable beside those with executables of their own.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testkit::{Container, Host, Invocation, Node, Plugin, bin_dir};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cni-plugins");

/// The names of the plugins that are released.
fn names() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    let dirs = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).expect("a directory");
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect()
    };
    let classes = dirs(&root);
    let plugins = classes
        .iter()
        .filter(|class| !class.ends_with("windows") && !class.ends_with("debug"))
        .flat_map(|class| dirs(class));
    let name = |dir: PathBuf| {
        dir.file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned()
    };
    plugins.map(name).collect()
}

/// Creates a directory with a copy of the executable, and a link to it for each plugin.
fn linked(host: &Host, name: &str) -> PathBuf {
    let dir = host.dir().join(name);
    fs::create_dir(&dir).expect("make a directory");
    fs::copy(PROGRAM, dir.join("cni-plugins")).expect("copy the executable");
    for name in names() {
        symlink("cni-plugins", dir.join(name)).expect("make a link");
    }
    dir
}

fn bridged() -> Value {
    json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "cni0",
        "isDefaultGateway": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.7.0.0/24"}], [{"subnet": "fd00:7::/64"}]]}
    })
}

/// Every plugin of the repository acts by the name of a link, by a name with a prefix, and as the first argument, and
/// is the same as its own executable.
#[test]
fn every_plugin_acts_by_name() {
    let host = Host::new();
    let dir = linked(&host, "all");
    for name in names() {
        let expected = Plugin::new(&name).command("").run();
        let prefixed = format!("buildkit-cni-{name}");
        symlink("cni-plugins", dir.join(&prefixed)).expect("make a link");
        for link in [&name, &prefixed] {
            let plugin = Plugin::in_dir(&dir, link);
            let about = plugin.command("").run().expect_ok();
            assert_eq!(about.stderr_text(), expected.stderr_text());
            assert_eq!(
                plugin.version().expect_ok().json(),
                Plugin::new(&name).version().expect_ok().json()
            );
        }
        let by_argument = std::process::Command::new(PROGRAM)
            .arg(&name)
            .env_clear()
            .output()
            .expect("run it");
        assert!(by_argument.status.success());
        assert_eq!(by_argument.stderr, expected.stderr);
    }
}

/// The prefixes in use: BuildKit's and OpenShift Virtualization's. The longest plugin name counts.
#[test]
fn names_may_have_a_prefix() {
    let host = Host::new();
    let dir = linked(&host, "all");
    for (link, plugin) in [
        ("buildkit-cni-bridge", "bridge"),
        ("buildkit-cni-host-local", "host-local"),
        ("cnv-tuning", "tuning"),
        ("a-vlan-host-device", "host-device"),
    ] {
        symlink("cni-plugins", dir.join(link)).expect("make a link");
        let about = Plugin::in_dir(&dir, link).command("").run().expect_ok();
        let expected = format!("CNI {plugin} plugin ");
        assert!(
            about.stderr_text().starts_with(&expected),
            "{link}: {}",
            about.report()
        );
    }
    for link in ["mybridge", "bridge2", "device", "bridge-"] {
        symlink("cni-plugins", dir.join(link)).expect("make a link");
        let error = Plugin::in_dir(&dir, link).version().expect_error(4);
        assert_eq!(error.msg, format!("{link} is the name of no plugin"));
        error.mentions("host-local");
    }
}

/// Calls the plugin of the bundle and the separate one, each with its own directory as `CNI_PATH`.
struct Pair {
    host: Host,
    bundled: PathBuf,
}

impl Pair {
    fn new() -> Pair {
        let host = Host::new();
        let bundled = linked(&host, "all");
        let subnet = "FLANNEL_NETWORK=10.7.0.0/16\nFLANNEL_SUBNET=10.7.1.1/24\n\
                      FLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
        fs::create_dir("/run/flannel").expect("make a directory");
        fs::write("/run/flannel/subnet.env", subnet).expect("write the subnet file");
        Pair { host, bundled }
    }

    fn both(
        &self,
        plugin: &str,
        verb: &str,
        prepare: impl Fn(Invocation) -> Invocation,
    ) -> [Output; 2] {
        [self.bundled.clone(), bin_dir()].map(|dir| {
            let run = prepare(Plugin::in_dir(&dir, plugin).command(verb)).run();
            let text = run.stdout_text().replace(&dir.display().to_string(), "DIR");
            Output {
                is_ok: run.is_ok(),
                stdout: text,
                stderr: run.stderr_text(),
            }
        })
    }
}

#[derive(Debug, PartialEq)]
struct Output {
    is_ok: bool,
    stdout: String,
    stderr: String,
}

/// Errors have the same code, text and details, whether they come from the plugin, from its delegate in the same process,
/// or from a delegate's delegate.
#[test]
fn errors_are_the_same() {
    let pair = Pair::new();
    let container = pair.host.container("c1");
    let with = |change: Value| testkit::merge(bridged(), &change);
    let cases = [
        (
            "bridge",
            with(json!({"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.7.0.0"}]]}})),
        ),
        (
            "bridge",
            with(json!({"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.7.0.0/31"}]]}})),
        ),
        (
            "bridge",
            with(json!({"ipam": {"type": "host-local", "ranges": 7}})),
        ),
        ("bridge", with(json!({"ipam": {"type": "nowhere"}}))),
        ("bridge", with(json!({"ipam": {"type": "cni-plugins"}}))),
        ("bridge", with(json!({"cniVersion": "9.0.0"}))),
        (
            "ptp",
            with(
                json!({"type": "ptp", "ipam": {"type": "static", "addresses": [{"address": "10.0.0.1"}]}}),
            ),
        ),
        (
            "flannel",
            json!({
                "cniVersion": "1.1.0", "name": "net", "type": "flannel",
                "delegate": {"type": "bridge", "vlan": -1}
            }),
        ),
        (
            "flannel",
            json!({
                "cniVersion": "1.1.0", "name": "net", "type": "flannel",
                "delegate": {"type": "bridge"}, "ipam": {"routes": [{"dst": "10.0.0.0/8", "gw": "x"}]}
            }),
        ),
    ];
    for (plugin, conf) in cases {
        for verb in ["ADD", "STATUS", "CHECK"] {
            let [bundled, separate] = pair.both(plugin, verb, |call| {
                call.container(&container).config(&conf)
            });
            assert!(!bundled.is_ok || verb == "STATUS", "{bundled:?}");
            if conf["ipam"]["type"] == "cni-plugins" {
                // Only the bundle has that file, and it is no plugin.
                assert!(bundled.stdout.contains("is the name of no plugin"));
                continue;
            }
            assert_eq!(bundled, separate, "{plugin} {verb} {conf}");
        }
    }
}

/// The whole life of an attachment, through `flannel` as well, gives the same results.
#[test]
fn results_are_the_same() {
    let pair = Pair::new();
    let flannel = json!({"cniVersion": "1.1.0", "name": "net", "type": "flannel"});
    for (plugin, conf, gateway) in [
        ("bridge", bridged(), "10.7.0.1"),
        ("flannel", flannel, "10.7.1.1"),
    ] {
        let results = [pair.bundled.clone(), bin_dir()].map(|dir| {
            let plugin = Plugin::in_dir(&dir, plugin);
            let container = pair.host.container("c1");
            let before = pair.host.snapshot();
            let added = plugin.add(&container, &conf).expect_ok();
            container.ping(gateway);
            plugin.check(&container, &added.with_prev()).expect_ok();
            plugin.status(&conf).expect_ok();
            plugin.gc(&keep(&conf, &container)).expect_ok();
            container.ping(gateway);
            plugin.del(&container, &added.with_prev()).expect_ok();
            plugin.del(&container, &added.with_prev()).expect_ok();
            pair.host.command(&[
                "ip",
                "link",
                "del",
                added.json()["interfaces"][0]["name"]
                    .as_str()
                    .expect("a bridge"),
            ]);
            let left = pair.host.snapshot();
            for dir in ["net", "cni-flannel"] {
                let _ = fs::remove_dir_all(format!("/var/lib/cni/networks/{dir}"));
            }
            (
                same_everywhere(added.json()),
                before
                    .without("/var/lib/cni")
                    .diff(&left.without("/var/lib/cni")),
            )
        });
        assert_eq!(results[0], results[1], "{plugin}");
    }
}

fn keep(conf: &Value, container: &Container) -> Value {
    let mut conf = conf.clone();
    conf["cni.dev/valid-attachments"] = json!([{"containerID": container.id(), "ifname": "eth0"}]);
    conf
}

/// Removes generated names and addresses from a result.
fn same_everywhere(mut result: Value) -> Value {
    for interface in result["interfaces"].as_array_mut().into_iter().flatten() {
        interface["mac"] = Value::Null;
        if interface["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("veth"))
        {
            interface["name"] = json!("veth");
        }
    }
    result
}

/// Delegates run in the process of their caller, although nothing in `CNI_PATH` can be executed; but only if the file
/// there is the executable itself.
#[test]
fn delegates_of_the_same_file_are_not_executed() {
    let host = Host::new();
    let dir = linked(&host, "all");
    let path = host.dir().join("noexec");
    fs::create_dir(&path).expect("make a directory");
    let (from, to) = (dir.to_str().expect("UTF-8"), path.to_str().expect("UTF-8"));
    host.command(&["mount", "--bind", from, to]);
    host.command(&["mount", "-o", "remount,bind,noexec", to]);
    let container = host.container("c1");
    let bridge = Plugin::in_dir(&dir, "bridge");
    let call = |verb: &str| bridge.command(verb).container(&container).path(&path);
    let added = call("ADD").config(&bridged()).run().expect_ok();
    container.ping("10.7.0.1");
    call("CHECK").config(&added.with_prev()).run().expect_ok();
    call("DEL").config(&added.with_prev()).run().expect_ok();

    // The same bytes in another file are another program.
    host.unmount(&path);
    fs::copy(PROGRAM, path.join("host-local")).expect("copy the executable");
    fs::set_permissions(
        path.join("host-local"),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .expect("take the permission");
    let error = call("ADD").config(&bridged()).run().expect_error(0);
    error.mentions("permission denied");
}

/// A delegate that waits for longer than it may ends the process with an error object, and DEL removes what there is.
#[test]
fn delegates_have_a_deadline() {
    let host = Host::new();
    let dir = linked(&host, "all");
    let container = host.container("c1");
    let networks = Path::new("/var/lib/cni/networks/net");
    fs::create_dir_all(networks).expect("make a directory");
    let lock = fs::File::create(networks.join("lock")).expect("make the lock file");
    lock.lock().expect("take the lock");
    let bridge = Plugin::in_dir(&dir, "bridge");
    let call = |verb: &str| {
        let call = bridge.command(verb).container(&container);
        call.config(&bridged())
            .env("CNI_TEST_DELEGATE_MILLIS", "300")
    };
    let error = call("ADD").run().expect_error(999);
    assert_eq!(
        error.msg,
        "the host-local plugin had not finished after 1 s"
    );
    drop(lock);
    call("DEL").run().expect_ok();
    assert!(container.link("eth0").is_none());
}
