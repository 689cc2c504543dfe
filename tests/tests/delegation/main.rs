//! Interface plugins whose IPAM plugin is a script: errors and results of delegates, delegates that hang or die, and
//! that nothing is left behind.

mod answers;
mod limits;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use blackbox::{answer, networks, state};
use serde_json::{Value, json};
use testkit::{Container, ErrorReply, Host, Invocation, Plugin, bin_dir};

/// The plugins that delegate. `flannel` runs `bridge`, which runs the script.
const PLUGINS: [&str; 3] = ["bridge", "ptp", "flannel"];

/// An IPAM plugin that succeeds.
const GOOD: &str = r#"cat >/dev/null
[ "$CNI_COMMAND" = ADD ] || exit 0
echo '{"cniVersion":"1.0.0","ips":[{"address":"10.40.0.2/24","gateway":"10.40.0.1"}]}'"#;

/// A host with a script as IPAM plugin.
struct Stage {
    host: Host,
    container: Container,
    plugins: PathBuf,
    plugin: &'static str,
}

impl Stage {
    fn new(script: &str) -> Stage {
        Stage::of("bridge", script)
    }

    /// Creates a host where `script` is the IPAM plugin of `plugin`. The verb of each call is recorded first.
    fn of(plugin: &'static str, script: &str) -> Stage {
        let host = Host::new();
        let plugins = host.dir().join("plugins");
        fs::create_dir(&plugins).expect("make a directory");
        let calls = host.dir().join("calls");
        fs::create_dir(&calls).expect("make a directory");
        let program = plugins.join("scripted");
        let text = format!(
            "#!/bin/sh\nn=$(ls {dir} | wc -l)\necho $CNI_COMMAND >{dir}/$n\n{script}\n",
            dir = calls.display()
        );
        fs::write(&program, text).expect("write the script");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
            .expect("make it executable");
        if plugin == "flannel" {
            fs::create_dir("/run/flannel").expect("make a directory");
            let subnets = "FLANNEL_NETWORK=10.40.0.0/16\nFLANNEL_SUBNET=10.40.0.1/24\n\
                           FLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
            fs::write("/run/flannel/subnet.env", subnets).expect("write the subnet file");
        }
        let container = host.container("c1");
        Stage {
            host,
            container,
            plugins,
            plugin,
        }
    }

    fn config(&self) -> Value {
        let mut config = match self.plugin {
            "bridge" => networks::bridged("1.1.0", &[]),
            plugin => json!({"cniVersion": "1.1.0", "name": "net", "type": plugin}),
        };
        config["ipam"] = json!({"type": "scripted"});
        config
    }

    /// `CNI_PATH`
    fn path(&self) -> String {
        format!("{}:{}", self.plugins.display(), bin_dir().display())
    }

    fn call(&self, verb: &str) -> Invocation {
        let call = Plugin::new(self.plugin).command(verb).path(self.path());
        call.container(&self.container).config(&self.config())
    }

    /// The verbs with which the script was called, in order.
    fn verbs(&self) -> Vec<String> {
        let dir = self.host.dir().join("calls");
        let count = fs::read_dir(&dir).expect("read the calls").count();
        let read = |n| fs::read_to_string(dir.join(format!("{n}"))).expect("a call");
        (0..count).map(|n| read(n).trim().to_owned()).collect()
    }

    /// Demands that ADD fails with `code` and leaves the host as it was.
    #[track_caller]
    fn refused(&self, code: u64) -> ErrorReply {
        let before = state::of(&self.host);
        let error = answer::refusal(self.call("ADD").run(), code);
        before.assert_same(&state::of(&self.host));
        error
    }

    /// The script as errors name it.
    fn delegate(&self) -> String {
        format!("delegate: scripted ({}/scripted)", self.plugins.display())
    }
}
