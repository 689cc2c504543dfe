//! Messages of the CRI, as far as they are used here: field numbers and types are those of `runtime.v1` in Kubernetes'
//! `api.proto`. Unknown fields of answers are skipped.

use std::collections::HashMap;

use prost::Message;

/// `VersionRequest`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct VersionRequest {
    #[prost(string, tag = "1")]
    pub(crate) version: String,
}

/// `VersionResponse`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct VersionResponse {
    #[prost(string, tag = "2")]
    pub(crate) runtime_name: String,
    #[prost(string, tag = "3")]
    pub(crate) runtime_version: String,
    #[prost(string, tag = "4")]
    pub(crate) runtime_api_version: String,
}

/// `ListPodSandboxRequest` without a filter: sandboxes in any state.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ListPodSandboxRequest {}

/// `ListPodSandboxResponse`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ListPodSandboxResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) items: Vec<PodSandbox>,
}

/// `PodSandbox`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PodSandbox {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) metadata: Option<PodSandboxMetadata>,
    /// `PodSandboxState`: 0 is ready, 1 is not.
    #[prost(int32, tag = "3")]
    pub(crate) state: i32,
}

/// `PodSandboxMetadata`: what identifies a pod.
#[derive(Clone, PartialEq, Message)]
pub struct PodSandboxMetadata {
    /// Name of the pod.
    #[prost(string, tag = "1")]
    pub name: String,
    /// UID of the pod.
    #[prost(string, tag = "2")]
    pub uid: String,
    /// Namespace of the pod.
    #[prost(string, tag = "3")]
    pub namespace: String,
    /// How often a sandbox has been created for this pod.
    #[prost(uint32, tag = "4")]
    pub attempt: u32,
}

/// `PodSandboxStatusRequest`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PodSandboxStatusRequest {
    #[prost(string, tag = "1")]
    pub(crate) pod_sandbox_id: String,
    #[prost(bool, tag = "2")]
    pub(crate) verbose: bool,
}

/// `PodSandboxStatusResponse`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PodSandboxStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) status: Option<PodSandboxStatus>,
    #[prost(map = "string, string", tag = "2")]
    pub(crate) info: HashMap<String, String>,
}

/// `PodSandboxStatus`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PodSandboxStatus {
    #[prost(message, optional, tag = "5")]
    pub(crate) network: Option<PodSandboxNetworkStatus>,
}

/// `PodSandboxNetworkStatus`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PodSandboxNetworkStatus {
    #[prost(string, tag = "1")]
    pub(crate) ip: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) additional_ips: Vec<PodIp>,
}

/// `PodIP`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PodIp {
    #[prost(string, tag = "1")]
    pub(crate) ip: String,
}

/// `RunPodSandboxRequest`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RunPodSandboxRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) config: Option<PodSandboxConfig>,
}

/// `PodSandboxConfig`: the sandbox to run.
#[derive(Clone, PartialEq, Message)]
pub struct PodSandboxConfig {
    /// What identifies the pod.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<PodSandboxMetadata>,
    /// Ports of the host that are forwarded to the pod.
    #[prost(message, repeated, tag = "5")]
    pub port_mappings: Vec<PortMapping>,
    /// Labels.
    #[prost(map = "string, string", tag = "6")]
    pub labels: HashMap<String, String>,
    /// Annotations, such as `kubernetes.io/ingress-bandwidth`.
    #[prost(map = "string, string", tag = "7")]
    pub annotations: HashMap<String, String>,
    /// Settings of Linux.
    #[prost(message, optional, tag = "8")]
    pub linux: Option<LinuxPodSandboxConfig>,
}

/// `LinuxPodSandboxConfig`
#[derive(Clone, PartialEq, Message)]
pub struct LinuxPodSandboxConfig {
    /// The control group below which the pod's is created.
    #[prost(string, tag = "1")]
    pub cgroup_parent: String,
    /// Settings of isolation.
    #[prost(message, optional, tag = "2")]
    pub security_context: Option<LinuxSandboxSecurityContext>,
}

/// `LinuxSandboxSecurityContext`
#[derive(Clone, PartialEq, Message)]
pub struct LinuxSandboxSecurityContext {
    /// Whose namespaces the sandbox has.
    #[prost(message, optional, tag = "1")]
    pub namespace_options: Option<NamespaceOption>,
}

/// `NamespaceOption`
#[derive(Clone, PartialEq, Message)]
pub struct NamespaceOption {
    /// `NamespaceMode` of the network: 0 is the pod's own, 2 the host's.
    #[prost(int32, tag = "1")]
    pub network: i32,
}

/// `PortMapping`
#[derive(Clone, PartialEq, Message)]
pub struct PortMapping {
    /// `Protocol`: 0 is TCP, 1 UDP, 2 SCTP.
    #[prost(int32, tag = "1")]
    pub protocol: i32,
    /// Port in the pod.
    #[prost(int32, tag = "2")]
    pub container_port: i32,
    /// Port of the host.
    #[prost(int32, tag = "3")]
    pub host_port: i32,
    /// Address of the host, empty for all.
    #[prost(string, tag = "4")]
    pub host_ip: String,
}

/// `RunPodSandboxResponse`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RunPodSandboxResponse {
    #[prost(string, tag = "1")]
    pub(crate) pod_sandbox_id: String,
}

/// `StopPodSandboxRequest`, and `RemovePodSandboxRequest`, which has the same form.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PodSandboxId {
    #[prost(string, tag = "1")]
    pub(crate) pod_sandbox_id: String,
}

/// An answer without fields.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Empty {}
