//! Client of the Container Runtime Interface, `runtime.v1`: what kubelet asks of containerd (1.6 and later) and CRI-O.

mod grpc;
pub mod messages;

use std::path::{Path, PathBuf};
use std::time::Duration;

use prost::Message;
use serde::Deserialize;

use crate::Error;
use crate::connection::Endpoint;
use messages::{
    Empty, ListPodSandboxRequest, ListPodSandboxResponse, PodSandboxConfig, PodSandboxId,
    PodSandboxStatusRequest, PodSandboxStatusResponse, RunPodSandboxRequest, RunPodSandboxResponse,
    VersionRequest, VersionResponse,
};

/// A runtime that serves the CRI.
#[derive(Debug)]
pub struct Cri(Endpoint);

/// What a runtime says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its name, such as `containerd`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of the interface.
    pub api: String,
}

/// A pod sandbox that the runtime knows. Its ID is the `CNI_CONTAINERID` of its attachments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// ID of the sandbox.
    pub id: String,
    /// Name of the pod.
    pub name: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Whether it runs. One that has stopped keeps its ID until it is removed.
    pub is_ready: bool,
}

/// The network of a pod sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SandboxStatus {
    /// Addresses of the pod.
    pub addresses: Vec<String>,
    /// Path of its network namespace; none if the runtime does not say it, or the pod uses the host's.
    pub netns: Option<PathBuf>,
}

impl Cri {
    /// Returns a client for the runtime at `socket`, such as `/run/containerd/containerd.sock`, in the form of kubelet's
    /// option as well: `unix:///run/crio/crio.sock`. `limit` is the time limit of each request.
    ///
    /// # Errors
    /// When sockets cannot be polled. The socket is opened by requests.
    pub fn new(socket: &Path, limit: Duration) -> Result<Cri, Error> {
        let socket = match socket
            .to_str()
            .and_then(|text| text.strip_prefix("unix://"))
        {
            Some(path) => Path::new(path),
            None => socket,
        };
        Ok(Cri(Endpoint::new(socket, limit)?))
    }

    /// Returns name and version of the runtime.
    ///
    /// # Errors
    /// As all methods: when the runtime cannot be reached, does not answer in time, or refuses.
    pub fn version(&self) -> Result<Version, Error> {
        let request = VersionRequest {
            version: "v1".to_owned(),
        };
        let version: VersionResponse = self.call("Version", &request)?;
        Ok(Version {
            name: version.runtime_name,
            version: version.runtime_version,
            api: version.runtime_api_version,
        })
    }

    /// Lists all sandboxes, whatever their state.
    ///
    /// # Errors
    /// As [`Cri::version`]; [`Error::Malformed`] if a sandbox has no ID.
    pub fn sandboxes(&self) -> Result<Vec<Sandbox>, Error> {
        let list: ListPodSandboxResponse =
            self.call("ListPodSandbox", &ListPodSandboxRequest::default())?;
        let sandbox = |item: messages::PodSandbox| {
            let metadata = item.metadata.unwrap_or_default();
            if item.id.is_empty() {
                return Err(Error::Malformed {
                    request: "ListPodSandbox".to_owned(),
                    cause: format!("the sandbox of pod {} has no ID", metadata.name),
                });
            }
            Ok(Sandbox {
                id: item.id,
                name: metadata.name,
                namespace: metadata.namespace,
                is_ready: item.state == 0,
            })
        };
        list.items.into_iter().map(sandbox).collect()
    }

    /// Returns addresses and network namespace of a sandbox.
    ///
    /// # Errors
    /// As [`Cri::version`]; gRPC's status 5 if there is no such sandbox (any more).
    pub fn status(&self, id: &str) -> Result<SandboxStatus, Error> {
        let request = PodSandboxStatusRequest {
            pod_sandbox_id: id.to_owned(),
            verbose: true,
        };
        let response: PodSandboxStatusResponse = self.call("PodSandboxStatus", &request)?;
        let network = response.status.and_then(|status| status.network);
        let network = network.unwrap_or_default();
        let all =
            std::iter::once(network.ip).chain(network.additional_ips.into_iter().map(|a| a.ip));
        let netns = response.info.get("info").and_then(|info| netns(info));
        Ok(SandboxStatus {
            addresses: all.filter(|address| !address.is_empty()).collect(),
            netns,
        })
    }

    /// Runs a sandbox and returns its ID.
    ///
    /// # Errors
    /// As [`Cri::version`].
    pub fn run(&self, config: PodSandboxConfig) -> Result<String, Error> {
        let request = RunPodSandboxRequest {
            config: Some(config),
        };
        let response: RunPodSandboxResponse = self.call("RunPodSandbox", &request)?;
        Ok(response.pod_sandbox_id)
    }

    /// Stops a sandbox, which detaches it from its networks.
    ///
    /// # Errors
    /// As [`Cri::version`].
    pub fn stop(&self, id: &str) -> Result<(), Error> {
        self.end("StopPodSandbox", id)
    }

    /// Removes a sandbox, which is stopped if it runs.
    ///
    /// # Errors
    /// As [`Cri::version`].
    pub fn remove(&self, id: &str) -> Result<(), Error> {
        self.end("RemovePodSandbox", id)
    }

    fn end(&self, method: &str, id: &str) -> Result<(), Error> {
        let request = PodSandboxId {
            pod_sandbox_id: id.to_owned(),
        };
        let Empty {} = self.call(method, &request)?;
        Ok(())
    }

    fn call<T: Message + Default>(&self, method: &str, request: &impl Message) -> Result<T, Error> {
        grpc::call(
            &self.0,
            &format!("/runtime.v1.RuntimeService/{method}"),
            request,
        )
    }
}

/// The part that is of interest of what containerd and CRI-O add to a verbose status.
#[derive(Deserialize)]
struct Info {
    #[serde(rename = "runtimeSpec")]
    spec: Option<Spec>,
}

/// The OCI runtime's configuration of the sandbox.
#[derive(Deserialize)]
struct Spec {
    linux: Option<Linux>,
}

#[derive(Deserialize)]
struct Linux {
    #[serde(default)]
    namespaces: Vec<Namespace>,
}

#[derive(Deserialize)]
struct Namespace {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    path: PathBuf,
}

/// Returns the path of the network namespace in a sandbox's verbose information.
fn netns(info: &str) -> Option<PathBuf> {
    let info: Info = serde_json::from_str(info).ok()?;
    let mut namespaces = info.spec?.linux?.namespaces.into_iter();
    let found = namespaces.find(|namespace| namespace.kind == "network");
    found
        .map(|namespace| namespace.path)
        .filter(|path| !path.as_os_str().is_empty())
}
