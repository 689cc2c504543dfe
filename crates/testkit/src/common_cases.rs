//! Test cases and helpers shared by the black-box tests of several plugins.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::host::{Container, Host};
use crate::node::Node;
use crate::plugin::{Plugin, bin_dir};
use crate::run::Invocation;
use crate::snapshot::Snapshot;

/// Returns `base` with the keys of `extra` added or replaced; a key that is `null` in `extra` is removed.
///
/// # Panics
///
/// When `extra` is not an object.
#[track_caller]
#[must_use]
pub fn merge(mut base: Value, extra: &Value) -> Value {
    for (key, value) in extra.as_object().expect("an object of keys to add") {
        if value.is_null()
            && let Some(object) = base.as_object_mut()
        {
            object.remove(key);
        } else {
            base[key] = value.clone();
        }
    }
    base
}

/// Returns the blocks of JSON on a page of the documentation, in their order.
///
/// # Panics
///
/// When a block is not JSON.
#[track_caller]
#[must_use]
pub fn examples(page: &str) -> Vec<Value> {
    let blocks = page.split("```json\n").skip(1);
    let texts = blocks.filter_map(|rest| rest.split("```").next());
    texts
        .map(|text| serde_json::from_str(text).unwrap_or_else(|err| panic!("{err}\n{text}")))
        .collect()
}

/// Returns the entry of `plugin` in a network list, or the example itself if it is a single configuration.
fn own_entry<'e>(example: &'e Value, plugin: &Plugin) -> &'e Value {
    let name = plugin.program().file_name().and_then(|name| name.to_str());
    let entries = example["plugins"].as_array().into_iter().flatten();
    let mut own = entries.filter(|entry| entry["type"].as_str() == name);
    own.next().unwrap_or(example)
}

/// Runs every example of a plugin's page: the plugin's entry in a network list, or its configuration. STATUS, ADD,
/// CHECK, DEL and GC must succeed and leave the links of the container as they were. The page must have `at_least`
/// this many examples.
///
/// `prepare` creates what an example requires, and may change the example. It returns the container, and a value to
/// keep until the end.
///
/// # Panics
///
/// When one fails.
#[track_caller]
pub fn examples_work<T>(
    plugin: &Plugin,
    page: &str,
    at_least: usize,
    prepare: impl Fn(&mut Value) -> (Container, T),
) {
    let examples = examples(page);
    assert!(examples.len() >= at_least, "{} examples", examples.len());
    for example in examples {
        let mut config = own_entry(&example, plugin).clone();
        // As a runtime does with one plugin of a list.
        config["cniVersion"] = "1.1.0".into();
        config["name"] = "example".into();
        let (container, _rest) = prepare(&mut config);
        let before = container.link_names();
        plugin.status(&config).expect_ok();
        let run = plugin.add(&container, &config).expect_ok();
        plugin.check(&container, &run.with_prev()).expect_ok();
        plugin.del(&container, &run.with_prev()).expect_ok();
        config["cni.dev/valid-attachments"] = json!([]);
        plugin.gc(&config).expect_ok();
        assert_eq!(container.link_names(), before);
    }
}

/// The addresses that host-local has allocated in `network`, sorted.
#[must_use]
pub fn leases(network: &str) -> Vec<String> {
    let directory = fs::read_dir(format!("/var/lib/cni/networks/{network}"));
    let mut leases: Vec<String> = directory
        .into_iter()
        .flatten()
        .flatten()
        .map(|file| file.file_name().to_string_lossy().replace('_', ":"))
        .filter(|name| name.parse::<std::net::IpAddr>().is_ok())
        .collect();
    leases.sort();
    leases
}

/// The state that a failed ADD must not change: everything but the last reserved address of host-local.
#[must_use]
pub fn state(host: &Host) -> Snapshot {
    host.snapshot().without("last_reserved_ip")
}

/// An IPAM plugin that is a shell script, next to the real plugins.
pub struct ScriptedIpam<'h> {
    host: &'h Host,
}

/// The `ipam.type` of a [`ScriptedIpam`].
pub const SCRIPTED: &str = "scripted";

impl<'h> ScriptedIpam<'h> {
    /// Creates one whose ADD runs the shell commands `on_add`; the other verbs succeed silently. `$IN` is the standard
    /// input.
    #[track_caller]
    pub fn new(host: &'h Host, on_add: &str) -> Self {
        let script = format!(
            "#!/bin/sh\nIN={dir}/stdin\ncat > $IN\necho \"$CNI_COMMAND\" >> {dir}/calls\n\
             if [ \"$CNI_COMMAND\" = ADD ]; then\n:\n{on_add}\nfi\n",
            dir = host.dir().display()
        );
        let path = host.write(SCRIPTED, script);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .unwrap_or_else(|err| panic!("make {} executable: {err}", path.display()));
        ScriptedIpam { host }
    }

    /// Creates one whose ADD prints `result`.
    #[track_caller]
    pub fn answering(host: &'h Host, result: &Value) -> Self {
        Self::new(host, &format!("cat <<'EOF'\n{result}\nEOF"))
    }

    /// Returns a call of `plugin` with this IPAM plugin in `CNI_PATH`.
    pub fn command(&self, plugin: &Plugin, verb: &str) -> Invocation {
        let path = format!("{}:{}", self.host.dir().display(), bin_dir().display());
        plugin.command(verb).path(path)
    }

    /// The verbs with which it was called, in order.
    pub fn calls(&self) -> Vec<String> {
        let log = fs::read_to_string(self.host.dir().join("calls")).unwrap_or_default();
        log.lines().map(String::from).collect()
    }
}

/// Makes each modifying request of `add` to the kernel fail in turn, and demands that the ADD leaves no link, address,
/// route or lease anywhere. In the end ADD and DEL succeed. Returns the number of requests.
///
/// The binary must have been built with the feature `fault-injection` of `rtnl`.
///
/// # Panics
///
/// When something is left behind, or a failure is not reported.
#[track_caller]
pub fn fail_each_request(host: &Host, add: impl Fn() -> Invocation) -> u32 {
    let del = || add().env("CNI_COMMAND", "DEL").run().expect_ok();
    // The first use creates the state directories.
    add().run().expect_ok();
    del();
    let before = state(host);
    let count = fail_each_request_of_first(host, &add);
    del();
    before.assert_same(&state(host));
    count
}

/// The same for the first ADD on a host, which also creates what outlives DEL, such as a bridge. No DEL follows.
///
/// # Panics
///
/// When something is left behind, or a failure is not reported.
#[track_caller]
pub fn fail_each_request_of_first(host: &Host, add: impl Fn() -> Invocation) -> u32 {
    let before = state(host);
    let counter = host.dir().join("requests");
    for number in 1.. {
        let run = add()
            .env("RTNL_FAIL_AT", number.to_string())
            .env("RTNL_COUNT", &counter)
            .env("CNI_TEST_WRITABLE", host.dir())
            .run();
        let count: u32 = fs::read_to_string(&counter)
            .ok()
            .and_then(|text| text.parse().ok())
            .expect("the binary counts its requests when built by cargo test");
        fs::remove_file(&counter).expect("the counter was just read");
        if run.is_ok() {
            // ADD makes fewer requests than that.
            assert!(
                count < number && number > 1,
                "{count} requests, {number} failed"
            );
            return count;
        }
        let report = run.report();
        run.expect_error(999).mentions("input/output error");
        // The kernel finishes some deletions in the background.
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut diff = before.diff(&state(host));
        while !diff.is_empty() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
            diff = before.diff(&state(host));
        }
        assert!(
            diff.is_empty(),
            "request {number} failed and left\n{diff}\n{report}"
        );
    }
    unreachable!("some request is the last")
}

/// Creates a link `name` of the host whose peer is `eth0`, with `addresses`, of the container `outside`: the network
/// outside of the host. Both ends are up.
#[track_caller]
pub fn wire(host: &Host, name: &str, outside: &str, addresses: &[&str]) -> Container {
    let container = host.container(outside);
    host.ip_batch(&[
        &format!("link add {name} type veth peer name eth0 netns {outside}"),
        // No link-local address, which the kernel would add some time later, between two snapshots.
        &format!("link set {name} addrgenmode none up"),
    ]);
    let add = |address: &&str| format!("addr add {address} dev eth0 nodad");
    let mut commands: Vec<String> = addresses.iter().map(add).collect();
    commands.extend(["lo", "eth0"].map(|link| format!("link set {link} up")));
    container.ip_batch(&commands.iter().map(String::as_str).collect::<Vec<_>>());
    container
}

/// All versions of the specification, oldest first.
pub const VERSIONS: [&str; 7] = [
    "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
];

/// Returns an `ipam` of host-local with a range and a default route of each family. The first addresses are 10.1.0.10
/// and fd00:1::10, the gateways 10.1.0.1 and fd00:1::1.
#[must_use]
pub fn dual_stack() -> Value {
    json!({
        "type": "host-local",
        "ranges": [
            [{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10"}],
            [{"subnet": "fd00:1::/64", "rangeStart": "fd00:1::10"}],
        ],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "fd00:1::1"}],
    })
}
