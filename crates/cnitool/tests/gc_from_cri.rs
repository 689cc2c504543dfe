//! `cnitool gc --from-cri` against a real containerd.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use runtime_api::Cri;
use runtime_api::messages::{PodSandboxConfig, PodSandboxMetadata, PortMapping};
use serde_json::{Value, json};
use support::{Setup, path};
use testkit::runtime::Runtime;
use testkit::{Container, Node as _, Plugin, Service, patience};

/// The network of the pods, in a version that containerd 1.6 accepts or in one with GC.
fn list(version: &str) -> Value {
    json!({"cniVersion": version, "name": "pods", "plugins": [
        {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
         "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.9.0.0/24"}]]}},
        {"type": "portmap", "capabilities": {"portMappings": true}},
    ]})
}

/// A host whose containerd knows some pods, and a directory of networks for cnitool.
struct Pods {
    setup: Setup,
    containerd: Runtime,
    cri: Cri,
}

impl Pods {
    fn new(version: &str) -> Pods {
        let setup = Setup::new();
        let networks = setup.host.dir().join("pods.d");
        fs::create_dir(&networks).expect("a directory");
        fs::write(networks.join("10-pods.conflist"), list(version).to_string()).expect("a file");
        setup.write("10-pods.conflist", &list("1.0.0"));
        let containerd = Runtime::containerd(&setup.host);
        let cri = Cri::new(containerd.socket(), Duration::from_secs(30) * patience());
        let cri = cri.expect("sockets");
        Pods {
            setup,
            containerd,
            cri,
        }
    }

    /// Runs a pod. Returns its ID.
    fn run(&self, name: &str, host_port: i32) -> String {
        let run = self.cri.run(pod(name, host_port));
        run.unwrap_or_else(|err| panic!("{err}\n{}", self.containerd.log()))
    }

    fn address(&self, id: &str) -> String {
        self.cri.status(id).expect("the pod").addresses.remove(0)
    }

    fn netns(&self, id: &str) -> PathBuf {
        self.cri
            .status(id)
            .expect("the pod")
            .netns
            .expect("containerd says it")
    }

    /// Kills a pod and removes all that containerd knows of it.
    fn forget(&self, id: &str) {
        let ctr = |command: &str| self.containerd.run(&format!("ctr -n k8s.io {command}"));
        ctr(&format!("tasks kill --signal KILL {id}"));
        // The CRI deletes a task that has ended.
        let end = Instant::now() + Duration::from_secs(30) * patience();
        while ctr("tasks list --quiet").contains(id) {
            assert!(Instant::now() < end, "the task is not deleted");
            thread::sleep(Duration::from_millis(20));
        }
        ctr(&format!("containers rm {id}"));
        self.containerd.restart("KILL");
    }

    fn call(&self, arguments: &[&str]) -> testkit::Run {
        let socket = self.containerd.socket().to_str().expect("UTF-8");
        let all: Vec<&str> = ["gc", "--from-cri", socket]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        let call = self.setup.call(&all);
        call.env("NETCONFPATH", self.setup.host.dir().join("pods.d"))
            .run()
    }
}

fn pod(name: &str, host_port: i32) -> PodSandboxConfig {
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: name.into(),
            uid: name.into(),
            namespace: "default".into(),
            attempt: 0,
        }),
        port_mappings: vec![PortMapping {
            container_port: 80,
            host_port,
            ..PortMapping::default()
        }],
        ..PodSandboxConfig::default()
    }
}

fn lease(address: &str) -> PathBuf {
    Path::new("/var/lib/cni/networks/pods").join(address)
}

fn rules(pods: &Pods) -> String {
    pods.setup.host.command(&["nft", "list", "ruleset"])
}

#[test]
fn what_is_left_of_forgotten_pods_is_collected_and_nothing_else() {
    let pods = Pods::new("1.1.0");
    let (living, forgotten) = (pods.run("living", 8081), pods.run("forgotten", 8082));
    let (netns, address) = (pods.netns(&forgotten), pods.address(&forgotten));
    // Another runtime's, in the same network and cache.
    let other = pods.setup.host.container("podman");
    pods.setup.run(&["add", "pods", path(&other)]).expect_ok();
    // Not even in the cache: a runtime that was killed during ADD.
    let lost = pods.setup.host.container("lost");
    let plugin = &list("1.1.0")["plugins"][0];
    let mut config = plugin.clone();
    config["cniVersion"] = "1.1.0".into();
    config["name"] = "pods".into();
    Plugin::new("bridge").add(&lost, &config).expect_ok();
    assert!(lease("10.9.0.5").exists());
    pods.forget(&forgotten);

    let before = pods.setup.host.snapshot();
    let young = pods.call(&[]).expect_ok().stdout_text();
    assert!(
        young.contains(&format!(
            "keep pods {forgotten} eth0 of pod default/forgotten: younger than 300 s"
        )),
        "{young}"
    );
    let dry = pods.call(&["--min-age", "0"]).expect_ok().stdout_text();
    assert!(
        dry.contains(&format!(
            "collect pods {forgotten} eth0 of pod default/forgotten\n"
        )),
        "{dry}"
    );
    assert!(
        dry.contains(&format!(
            "collect cni-loopback {forgotten} lo of pod default/forgotten\n"
        )),
        "{dry}"
    );
    assert!(dry.contains(" eth0: not made by a CRI runtime\n"), "{dry}");
    assert!(
        dry.contains("lists sandboxes: 1\n") && !dry.contains(&living),
        "{dry}"
    );
    before.assert_same(&pods.setup.host.snapshot());

    let done = pods
        .call(&["--min-age", "0", "--execute", "--plugins"])
        .expect_ok()
        .stdout_text();
    assert!(done.ends_with("collected attachments: 2\n"), "{done}");
    assert!(!lease(&address).exists(), "the lease of the forgotten pod");
    assert!(!netns.exists(), "its namespace");
    let rules = rules(&pods);
    assert!(!rules.contains("8082") && rules.contains("8081"), "{rules}");
    let cached = pods.setup.host.command(&["ls", "/var/lib/cni/results"]);
    assert!(
        !cached.contains(&forgotten) && cached.contains(&living),
        "{cached}"
    );
    // The living are untouched.
    pods.setup.host.ping(&pods.address(&living));
    other.ping("10.9.0.1");
    let again = pods
        .call(&["--min-age", "0", "--yes", "--plugins", "pods"])
        .expect_ok()
        .stdout_text();
    assert!(again.ends_with("collected attachments: 0\n"), "{again}");
    pods.cri.remove(&living).unwrap();
    assert!(!lease("10.9.0.2").exists(), "containerd can remove it");
}

/// Attaches a container as a CRI runtime would, without one. Returns its ID.
fn attach(pods: &Pods, container: &Container) -> String {
    let id = container_id(pods, container);
    let args = format!(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=x;K8S_POD_INFRA_CONTAINER_ID={id}"
    );
    let call = pods.setup.call(&["add", "pods", path(container)]);
    call.env("CNI_ARGS", args).run().expect_ok();
    id
}

/// The ID that cnitool gives a container.
fn container_id(pods: &Pods, container: &Container) -> String {
    let sum = pods.setup.host.command(&[
        "sh",
        "-c",
        "printf %s \"$1\" | sha512sum",
        "sh",
        path(container),
    ]);
    format!("cnitool-{}", &sum[..20])
}

#[test]
fn in_doubt_nothing_is_collected() {
    let pods = Pods::new("1.1.0");
    let host = &pods.setup.host;
    let (used, lost) = (host.container("used"), host.container("lost"));
    let id = attach(&pods, &used);
    let collect = || {
        pods.call(&["--min-age", "0", "--execute", "--plugins"])
            .expect_ok()
            .stdout_text()
    };
    // A process is in the namespace: the pod of a runtime that was not asked.
    let process = used.enter(|| Service::start(&["sleep", "600"]));
    let reason = format!(
        "keep pods {id} eth0 of pod default/x: process {} is in",
        process.pid()
    );
    // A child of ADD, which closes a socket, may still be there.
    let end = Instant::now() + Duration::from_secs(10) * patience();
    loop {
        let kept = collect();
        if kept.contains(&reason) {
            break;
        }
        assert!(
            kept.contains("being made") && Instant::now() < end,
            "{kept}"
        );
        thread::sleep(Duration::from_millis(50));
    }
    used.ping("10.9.0.1");
    drop(process);
    // The plugins of an attachment run, which is in no cache yet.
    let mut bridge = list("1.1.0")["plugins"][0].clone();
    bridge["cniVersion"] = "1.1.0".into();
    bridge["name"] = "pods".into();
    Plugin::new("bridge").add(&lost, &bridge).expect_ok();
    let adding = [
        "CNI_COMMAND=ADD",
        "CNI_CONTAINERID=lost",
        "CNI_IFNAME=eth0",
        "sleep",
        "600",
    ];
    let words: Vec<&str> = ["env"].into_iter().chain(adding).collect();
    let adding = Service::start(&words);
    host.write("pods.d/10-pods.conflist", with_gc_disabled().to_string());
    assert!(collect().contains(&format!(
        "keep pods {id} eth0 of pod default/x: the network has disableGC"
    )));
    host.write("pods.d/10-pods.conflist", list("1.1.0").to_string());
    // The runtime does not answer.
    let before = host.snapshot();
    let wrong = pods
        .setup
        .call(&["gc", "--from-cri", "unix:///run/none.sock", "--execute"])
        .run();
    assert_eq!(wrong.status.code(), Some(1));
    let stderr = wrong.stderr_text();
    assert!(
        stderr.contains(
            "cannot connect to the runtime's socket /run/none.sock: no such file or directory"
        ),
        "{stderr}"
    );
    before.assert_same(&host.snapshot());
    // Now the first is beyond doubt, and the second still being made.
    assert!(collect().contains(&format!("collect pods {id} eth0")));
    assert!(lease("10.9.0.3").exists() && !lease("10.9.0.2").exists());
    lost.ping("10.9.0.1");
    drop(adding);
    collect();
    assert!(!lease("10.9.0.3").exists());
}

fn with_gc_disabled() -> Value {
    let mut list = list("1.1.0");
    list["disableGC"] = true.into();
    list
}

#[test]
fn pods_that_start_meanwhile_are_kept() {
    let pods = Pods::new("1.1.0");
    let done = AtomicBool::new(false);
    let (ids, runs) = thread::scope(|scope| {
        let cri = &pods.cri;
        let starting = scope.spawn(|| {
            let run = |number| {
                cri.run(pod(&format!("pod{number}"), 9000 + number))
                    .expect("a pod")
            };
            let ids: Vec<String> = (0..4).map(run).collect();
            done.store(true, Ordering::Relaxed);
            ids
        });
        let mut runs = Vec::new();
        while !done.load(Ordering::Relaxed) {
            runs.push(pods.call(&["--execute"]).expect_ok().stdout_text());
        }
        (starting.join().expect("pods run"), runs)
    });
    for run in &runs {
        assert!(run.ends_with("collected attachments: 0\n"), "{run}");
    }
    for id in &ids {
        let address = pods.address(id);
        assert!(lease(&address).exists(), "{address}");
        pods.setup.host.ping(&address);
    }
}
