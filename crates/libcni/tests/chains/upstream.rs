//! Beside upstream's library, which runs the same plugins with the same requests.

use crate::rig::{Call, Rig};
use libcni::{Attachment, NetworkList, load_list};
use serde_json::{Value, json};
use std::fs;
use testkit::UpstreamLibrary;

/// Networks as runtimes write them, by name.
const NETWORKS: [&str; 8] = [
    "containerd-net",
    "crio",
    "bridge",
    "podman",
    "nomad",
    "cbr0",
    "kindnet",
    "multus-cni-network",
];

const CONTAINER: &str = "0f4fa0e1b1d24b5d8c8f4f0e1b1d24b5d8c8f4f0e1b1d24b5d8c8f4f0e1b1d24";

/// A rig with the runtimes' networks, and a recording plugin for each of their types.
fn rig() -> Rig {
    let rig = Rig::new();
    let networks = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/net.d");
    for entry in fs::read_dir(networks).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, rig.conf_dir().join(path.file_name().unwrap())).unwrap();
    }
    rig
}

/// Makes every plugin of a network answer with a result of the network's version.
fn make_plugins(rig: &Rig, list: &NetworkList) {
    for (i, plugin) in list.plugins.iter().enumerate() {
        let old = list.cni_version.starts_with("0.");
        let version = |family: &str| match old {
            true => json!({"version": family}),
            false => json!({}),
        };
        let mut ips = [
            json!({"address": format!("10.1.{i}.2/24"), "gateway": format!("10.1.{i}.1"), "interface": 1}),
            json!({"address": "fd00::2/64", "interface": 1}),
        ];
        for (ip, family) in ips.iter_mut().zip(["4", "6"]) {
            ip.as_object_mut()
                .unwrap()
                .extend(version(family).as_object().unwrap().clone());
        }
        let result = json!({
            "cniVersion": list.cni_version,
            "interfaces": [{"name": "cni0", "mac": "00:11:22:33:44:55"},
                           {"name": "eth0", "mac": "00:11:22:33:44:66", "sandbox": "/run/netns/c1"}],
            "ips": ips,
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}, {"dst": "::/0"}],
            "dns": {"nameservers": ["10.1.0.1"], "search": ["a.example"]},
        });
        rig.answering(&plugin.conf.kind, &result);
    }
}

/// The call of a runtime: arguments, and values for capabilities whether or not the network
/// has them. Their keys are sorted, as those of Go's maps are.
fn attachment() -> Attachment {
    let args = [
        ("IgnoreUnknown", "1"),
        ("K8S_POD_NAMESPACE", "default"),
        ("K8S_POD_NAME", "web-0"),
        ("K8S_POD_INFRA_CONTAINER_ID", CONTAINER),
    ];
    let values = json!({
        "portMappings": [{"containerPort": 80, "hostIP": "", "hostPort": 8080, "protocol": "tcp"}],
        "bandwidth": {"ingressBurst": 4_294_967_295_u64, "ingressRate": 1_000_000},
        "io.kubernetes.cri.pod-annotations": {"a": "1", "b": "<&>"},
    });
    Attachment {
        args: args.map(|(key, value)| (key.into(), value.into())).to_vec(),
        capability_args: values.as_object().unwrap().clone(),
        ..Attachment::new(CONTAINER, "/run/netns/c1", "eth0")
    }
}

/// The same call as a request to upstream's library.
fn request(rig: &Rig, verb: &str, network: &str) -> Value {
    let own = attachment();
    json!({
        "Verb": verb, "Dir": rig.conf_dir(), "Name": network, "Bin": [rig.bin()],
        "Cache": rig.path("cache"), "ContainerID": own.container_id, "NetNS": own.netns,
        "IfName": own.if_name, "Args": own.args, "CapabilityArgs": own.capability_args,
    })
}

/// What plugins see of a call. The order of keys in `prevResult` differs between versions of
/// upstream's library.
fn seen(calls: &[Call]) -> Vec<(String, Value, Vec<String>)> {
    let see = |call: &Call| {
        let env = call.env.as_object().unwrap();
        let mut cni: Vec<String> = env
            .iter()
            .filter(|(key, _)| key.starts_with("CNI_"))
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        cni.sort();
        (call.what(), call.conf(), cni)
    };
    calls.iter().map(see).collect()
}

fn cache_file(rig: &Rig, network: &str) -> String {
    let path = rig.results().join(format!("{network}-{CONTAINER}-eth0"));
    fs::read_to_string(path).unwrap()
}

/// The key that upstream's library writes since 1.2.
const NETNS: &str = r#""netns":"/run/netns/c1","#;

#[test]
fn networks_of_runtimes_load_run_and_cache_as_with_upstream() {
    let upstream = UpstreamLibrary::build();
    for network in NETWORKS {
        let rig = rig();
        let list = load_list(&rig.conf_dir(), network).unwrap();
        make_plugins(&rig, &list);

        let loaded = upstream.ask(&request(&rig, "load", network));
        assert_eq!(loaded["version"], list.cni_version, "{network}");
        let texts = list
            .plugins
            .iter()
            .map(|p| String::from_utf8_lossy(&p.bytes));
        assert_eq!(loaded["plugins"], json!(texts.collect::<Vec<_>>()));

        let theirs = upstream.ask(&request(&rig, "add", network));
        assert_eq!(theirs["error"], Value::Null, "{network}");
        let their_calls = seen(&rig.calls());
        let their_cache = cache_file(&rig, network);
        rig.take();

        let result = rig.cni().add(&list, &attachment()).unwrap().unwrap();
        let ours: Value = serde_json::from_str(&result.to_json().unwrap()).unwrap();
        assert_eq!(ours, theirs["result"], "{network}");
        assert_eq!(seen(&rig.calls()), their_calls, "{network}");
        let our_cache = cache_file(&rig, network);
        assert_eq!(our_cache.replace(NETNS, ""), their_cache, "{network}");
        rig.take();
    }
}

#[test]
fn each_library_uses_the_cache_of_the_other() {
    let upstream = UpstreamLibrary::build();
    for network in NETWORKS {
        let rig = rig();
        let list = load_list(&rig.conf_dir(), network).unwrap();
        make_plugins(&rig, &list);
        let (cni, attachment) = (rig.cni(), attachment());
        let has_check = list.cni_version.as_str() >= "0.4.0";

        // Ours adds, theirs goes on.
        let added = cni.add(&list, &attachment).unwrap().unwrap();
        let cached = upstream.ask(&request(&rig, "cached", network));
        let added: Value = serde_json::from_str(&added.to_json().unwrap()).unwrap();
        assert_eq!(cached["result"], added);
        assert_eq!(cached["args"], json!(attachment.args));
        rig.take();
        for verb in ["check", "del"] {
            let answer = upstream.ask(&request(&rig, verb, network));
            assert_eq!(
                answer["error"].is_null(),
                verb == "del" || has_check,
                "{answer}"
            );
        }
        let theirs = seen(&rig.calls());
        assert!(!theirs.is_empty());
        rig.take();

        // Theirs adds, ours goes on.
        upstream.ask(&request(&rig, "add", network));
        let result = cni.cached_result(&list, &attachment).unwrap().unwrap();
        let result: Value = serde_json::from_str(&result.to_json().unwrap()).unwrap();
        assert_eq!(result, added);
        let all = cni.cached_attachments(CONTAINER).unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].config, list.bytes);
        assert_eq!(all[0].attachment.args, attachment.args);
        rig.take();
        assert_eq!(cni.check(&list, &attachment).is_ok(), has_check);
        cni.del(&list, &attachment).unwrap();
        assert_eq!(seen(&rig.calls()), theirs, "{network}");
        assert_eq!(fs::read_dir(rig.results()).unwrap().count(), 0);
        rig.take();
    }
}
