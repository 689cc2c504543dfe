//! A directory with scripted plugins, configurations and a cache.

use libcni::{Attachment, Cni, NetworkList, PluginResult};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Everything that a test's calls touch, removed with it.
pub(crate) struct Rig {
    dir: TempDir,
}

/// A call that a scripted plugin has received.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The plugin's name, and its environment.
    pub(crate) env: Value,
    /// Its standard input, unchanged.
    pub(crate) stdin: Vec<u8>,
}

impl Call {
    /// Returns `<verb> <plugin>`.
    pub(crate) fn what(&self) -> String {
        let text = |key: &str| self.env[key].as_str().unwrap_or_default();
        format!("{} {}", text("CNI_COMMAND"), text("PLUGIN"))
    }

    pub(crate) fn conf(&self) -> Value {
        serde_json::from_slice(&self.stdin).unwrap()
    }
}

impl Rig {
    pub(crate) fn new() -> Rig {
        let rig = Rig {
            dir: tempfile::tempdir().unwrap(),
        };
        for dir in [rig.bin(), rig.conf_dir(), rig.calls_dir()] {
            fs::create_dir(dir).unwrap();
        }
        rig
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn bin(&self) -> PathBuf {
        self.path("bin")
    }

    pub(crate) fn conf_dir(&self) -> PathBuf {
        self.path("net.d")
    }

    fn calls_dir(&self) -> PathBuf {
        self.path("calls")
    }

    /// The directory of cache files.
    pub(crate) fn results(&self) -> PathBuf {
        self.path("cache/results")
    }

    pub(crate) fn cni(&self) -> Cni {
        Cni::new([self.bin()]).cache_dir(self.path("cache"))
    }

    /// Writes a shell script as a plugin.
    pub(crate) fn script(&self, name: &str, body: &str) {
        let path = self.bin().join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// Writes a plugin that records its calls and does `body`, which begins with nothing read
    /// from standard input: that is in the file `$stdin`.
    pub(crate) fn plugin(&self, name: &str, body: &str) {
        let calls = self.calls_dir();
        let calls = calls.display();
        self.script(
            name,
            &format!(
                "stdin=$(mktemp {calls}/XXXXXXXX.tmp); cat >$stdin\n\
                 n=$(ls {calls} | grep -c env); env >{calls}/$(printf %03d $n).env\n\
                 echo PLUGIN={name} >>{calls}/$(printf %03d $n).env\n\
                 cp $stdin {calls}/$(printf %03d $n).stdin\n{body}"
            ),
        );
    }

    /// Writes a plugin that answers ADD with `result` and succeeds.
    pub(crate) fn answering(&self, name: &str, result: &Value) {
        let body = format!("[ $CNI_COMMAND = ADD ] && cat <<'END'\n{result}\nEND\nexit 0");
        self.plugin(name, &body);
    }

    /// The calls so far, in order.
    pub(crate) fn calls(&self) -> Vec<Call> {
        let call = |number: usize| {
            let file = |kind: &str| self.calls_dir().join(format!("{number:03}.{kind}"));
            let env = fs::read_to_string(file("env")).ok()?;
            let pairs = env.lines().filter_map(|line| line.split_once('='));
            let env = pairs.map(|(key, value)| (key.to_owned(), json!(value)));
            Some(Call {
                env: Value::Object(env.collect()),
                stdin: fs::read(file("stdin")).unwrap(),
            })
        };
        (0..).map_while(call).collect()
    }

    /// `<verb> <plugin>` of each call since the last time.
    pub(crate) fn take(&self) -> Vec<String> {
        let calls = self.calls().iter().map(Call::what).collect();
        fs::remove_dir_all(self.calls_dir()).unwrap();
        fs::create_dir(self.calls_dir()).unwrap();
        calls
    }

    /// Writes a file into the configuration directory.
    pub(crate) fn conf(&self, name: &str, text: &str) -> PathBuf {
        let path = self.conf_dir().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

/// A list of these plugins.
pub(crate) fn list(version: &str, plugins: &[&str]) -> NetworkList {
    let plugins: Vec<Value> = plugins.iter().map(|kind| json!({"type": kind})).collect();
    parsed(&json!({"cniVersion": version, "name": "net", "plugins": plugins}))
}

pub(crate) fn parsed(list: &Value) -> NetworkList {
    NetworkList::from_bytes(list.to_string().as_bytes()).unwrap()
}

pub(crate) fn attachment() -> Attachment {
    Attachment::new("c1", "/run/netns/c1", "eth0")
}

/// A result of 1.x with one address.
pub(crate) fn result(version: &str, address: &str) -> Value {
    json!({"cniVersion": version, "ips": [{"address": address}]})
}

/// The addresses of a result.
pub(crate) fn addresses(result: Option<PluginResult>) -> Vec<String> {
    let ips = result.map(|result| result.result.ips).unwrap_or_default();
    ips.iter().map(|ip| ip.address.to_string()).collect()
}

/// The mode of a file, without its kind.
pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}
