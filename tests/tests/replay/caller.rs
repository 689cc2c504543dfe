//! A runtime as plugins see it.

use std::fs;
use std::path::{Path, PathBuf};

use blackbox::answer;
use serde_json::{Value, json};
use testkit::{Container, Host, Plugin, UpstreamLibrary, bin_dir, merge};

/// The networks that runtimes write, which libcni's tests load as well.
const NETWORKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/libcni/tests/net.d");

/// A runtime's use of upstream's library.
pub(crate) struct Caller {
    library: UpstreamLibrary,
    networks: PathBuf,
    /// Its environment, which plugins inherit.
    environment: Value,
    /// The directory in which results are cached.
    cache: &'static str,
}

/// An attachment as a runtime describes it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) netns: String,
    pub(crate) if_name: &'static str,
    /// `CNI_ARGS`, in this order.
    pub(crate) args: Vec<(&'static str, String)>,
    /// Values of capabilities, whether or not the network has them.
    pub(crate) capabilities: Value,
}

impl Caller {
    /// A runtime with these variables besides `PATH`, which caches results in `cache`. It knows the networks of runtimes.
    pub(crate) fn new(host: &Host, variables: &Value, cache: &'static str) -> Caller {
        let networks = host.dir().join("net.d");
        fs::create_dir(&networks).unwrap();
        for entry in fs::read_dir(NETWORKS).unwrap().flatten() {
            fs::copy(entry.path(), networks.join(entry.file_name())).unwrap();
        }
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        Caller {
            library: UpstreamLibrary::build(),
            networks,
            environment: merge(json!({ "PATH": path }), variables),
            cache,
        }
    }

    /// Reads the network in this file.
    pub(crate) fn network(&self, file: &str) -> Value {
        let text = fs::read(self.networks.join(file)).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// Writes a network.
    pub(crate) fn write(&self, file: &str, network: &Value) {
        fs::write(self.networks.join(file), network.to_string()).unwrap();
    }

    /// Calls a verb of the network `name`; an error is the library's text.
    pub(crate) fn ask(&self, verb: &str, name: &str, call: &Call) -> Result<Value, String> {
        let answer = self.library.ask(&json!({
            "Verb": verb, "Name": name, "Dir": self.networks, "Bin": [bin_dir()], "Cache": self.cache,
            "ContainerID": call.id, "NetNS": call.netns, "IfName": call.if_name, "Args": call.args,
            "CapabilityArgs": call.capabilities, "Env": self.environment,
        }));
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["result"].clone()),
        }
    }

    #[track_caller]
    fn expect(&self, verb: &str, name: &str, call: &Call) -> Value {
        let answer = self.ask(verb, name, call);
        answer.unwrap_or_else(|err| panic!("{verb} of {name}: {err}\n{call:?}"))
    }

    /// Runs ADD and returns the result.
    #[track_caller]
    pub(crate) fn add(&self, name: &str, call: &Call) -> Value {
        self.expect("add", name, call)
    }

    /// Runs CHECK with the cached result.
    #[track_caller]
    pub(crate) fn check(&self, name: &str, call: &Call) {
        self.expect("check", name, call);
    }

    /// Runs DEL with the cached result, if any.
    #[track_caller]
    pub(crate) fn del(&self, name: &str, call: &Call) {
        self.expect("del", name, call);
    }

    /// Asks each plugin of a network for its versions, with `dummy` in all variables.
    #[track_caller]
    pub(crate) fn validate(&self, name: &str, call: &Call) {
        self.expect("validate", name, call);
    }

    /// The file in which the library caches the result.
    pub(crate) fn cached(&self, name: &str, call: &Call) -> PathBuf {
        let file = format!("{name}-{}-{}", call.id, call.if_name);
        Path::new(self.cache).join("results").join(file)
    }

    /// Runs STATUS, or GC with these valid attachments, of each plugin of a list, as newer versions of the library do: with
    /// the variables of attachments set to nothing.
    #[track_caller]
    pub(crate) fn for_all(&self, verb: &str, list: &Value, valid: &[&Call]) {
        let valid = valid.iter().map(|call| (&call.id, call.if_name));
        let valid: Value = valid
            .map(|(id, name)| json!({"containerID": id, "ifname": name}))
            .collect();
        for plugin in list["plugins"].as_array().unwrap() {
            let mut config = plugin.clone();
            config["cniVersion"] = "1.1.0".into();
            config["name"] = list["name"].clone();
            if verb == "GC" {
                config["cni.dev/valid-attachments"] = valid.clone();
                config["cni.dev/attachments"] = valid.clone();
            }
            let plugin = Plugin::new(plugin["type"].as_str().unwrap());
            let mut call = plugin.command(verb).config(&config);
            for (key, value) in self.environment.as_object().unwrap() {
                // The library sets those.
                if !key.starts_with("CNI_") {
                    call = call.env(key, value.as_str().unwrap());
                }
            }
            answer::silent(call.id("").netns("").ifname("").args("").run());
        }
    }
}

impl Call {
    /// The same after the runtime has lost the path of the namespace.
    pub(crate) fn without_netns(&self) -> Call {
        Call {
            netns: String::new(),
            ..self.clone()
        }
    }
}

/// `CNI_ARGS` of a Kubernetes pod in the order of CRI-O, with `IgnoreUnknown` as the caller spells it.
pub(crate) fn pod_args(ignore: &str, id: &str) -> Vec<(&'static str, String)> {
    let args = [
        ("IgnoreUnknown", ignore),
        ("K8S_POD_NAMESPACE", "default"),
        ("K8S_POD_NAME", "web-0"),
        ("K8S_POD_INFRA_CONTAINER_ID", id),
        ("K8S_POD_UID", "3f9b2f0e-6f7e-4c0a-9a55-0c7b2d9f1a11"),
    ];
    args.map(|(key, value)| (key, value.to_owned())).to_vec()
}

/// An ID of 64 hexadecimal digits.
pub(crate) fn hex_id(seed: u8) -> String {
    format!("{seed:02x}9f1c3b5d7e").repeat(6)[..64].to_owned()
}

/// The path of a namespace as runtimes write it on most distributions: `/var/run` is a link to `/run`.
pub(crate) fn var_run(container: &Container) -> String {
    format!("/var{}", container.netns().display())
}

/// The addresses in a result.
pub(crate) fn addresses(result: &Value) -> Vec<&str> {
    let ips = result["ips"].as_array().into_iter().flatten();
    ips.filter_map(|ip| ip["address"].as_str()).collect()
}
