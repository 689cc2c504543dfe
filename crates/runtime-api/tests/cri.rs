//! The CRI client against a real containerd.

use std::fs;
use std::time::Duration;

use runtime_api::messages::{PodSandboxConfig, PodSandboxMetadata};
use runtime_api::{Cri, Error, Sandbox};
use testkit::runtime::Runtime;
use testkit::{Host, patience};

const NETWORK: &str = r#"{"cniVersion": "1.0.0", "name": "pods", "plugins": [
    {"type": "ptp", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.9.0.0/24"}]]}}]}"#;

#[test]
fn a_sandbox_lives_from_run_to_remove() {
    let host = Host::new();
    fs::create_dir(host.dir().join("net.d")).unwrap();
    host.write("net.d/10-pods.conflist", NETWORK);
    let containerd = Runtime::containerd(&host);
    // As kubelet writes it.
    let socket = format!("unix://{}", containerd.socket().display());
    let cri = Cri::new(socket.as_ref(), Duration::from_secs(30) * patience()).unwrap();
    let version = cri.version().unwrap();
    assert_eq!(
        (version.name.as_str(), version.api.as_str()),
        ("containerd", "v1")
    );
    assert_eq!(cri.sandboxes().unwrap(), []);
    let config = PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: "web-0".into(),
            namespace: "default".into(),
            uid: "1".into(),
            attempt: 0,
        }),
        ..PodSandboxConfig::default()
    };
    let id = cri
        .run(config)
        .unwrap_or_else(|err| panic!("{err}\n{}", containerd.log()));
    let mut expected = Sandbox {
        id: id.clone(),
        name: "web-0".into(),
        namespace: "default".into(),
        is_ready: true,
    };
    assert_eq!(cri.sandboxes().unwrap(), [expected.clone()]);
    let status = cri.status(&id).unwrap();
    assert_eq!(status.addresses, ["10.9.0.2"]);
    assert!(
        status
            .netns
            .expect("containerd says it")
            .starts_with("/var/run/netns")
    );
    cri.stop(&id).unwrap();
    expected.is_ready = false;
    assert_eq!(cri.sandboxes().unwrap(), [expected]);
    cri.remove(&id).unwrap();
    cri.remove(&id).unwrap();
    assert_eq!(cri.sandboxes().unwrap(), []);
    let gone = cri.status(&id).unwrap_err();
    assert!(matches!(gone, Error::Refused { status: 5, .. }), "{gone}");
    assert!(gone.to_string().contains("not found"), "{gone}");
}
