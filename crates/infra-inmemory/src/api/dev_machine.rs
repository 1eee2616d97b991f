//! DevMachine: the infrastructure of a Machine.

use capi_api::{core::v1beta2::MachineAddress, crd::schemas};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{DevDeprecatedStatus, DevInitializationStatus};

/// What a DevMachine should be.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "infrastructure.cluster.x-k8s.io",
    version = "v1beta2",
    kind = "DevMachine",
    doc = "The simulated infrastructure of a Machine.",
    plural = "devmachines",
    namespaced,
    status = "DevMachineStatus",
    derive = "Default",
    derive = "PartialEq",
    category = "cluster-api",
    printcolumn(
        name = "Cluster",
        type_ = "string",
        json_path = ".metadata.labels['cluster\\.x-k8s\\.io/cluster-name']"
    ),
    printcolumn(
        name = "Provider ID",
        type_ = "string",
        json_path = ".spec.providerID",
        priority = 10
    ),
    printcolumn(
        name = "Failure domain",
        type_ = "string",
        json_path = ".status.failureDomain"
    ),
    printcolumn(
        name = "IP",
        type_ = "string",
        json_path = ".status.addresses[?(@.type==\"InternalIP\")].address",
        priority = 10
    ),
    printcolumn(
        name = "Paused",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Paused\")].status",
        priority = 10
    ),
    printcolumn(
        name = "Provisioned",
        type_ = "string",
        json_path = ".status.initialization.provisioned"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct DevMachineSpec {
    /// `in-memory://<name>` once the machine runs; set by this provider.
    #[serde(rename = "providerID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub provider_id: Option<String>,
    /// What the machine is made of.
    pub backend: DevMachineBackendSpec,
}

capi_api::spec_may_be_absent!(DevMachineSpec);

/// What a machine is made of; `inMemory` wins if both are set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DevMachineBackendSpec {
    /// A container. Accepted, but this provider does not run any and says so in a condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker: Option<DockerMachineBackendSpec>,
    /// An object in this provider's memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_memory: Option<InMemoryMachineBackendSpec>,
}

/// Settings of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DockerMachineBackendSpec {
    /// Not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_image: Option<String>,
    /// Not used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre_load_images: Vec<String>,
    /// Not used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_mounts: Vec<DockerMount>,
    /// Not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap_timeout: Option<String>,
}

/// A folder of the host in a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DockerMount {
    /// Not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_path: Option<String>,
    /// Not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<String>,
    /// Not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}

/// How long the parts of a simulated machine take to start; a part that is left out starts at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InMemoryMachineBackendSpec {
    /// The virtual machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<InMemoryComponent>,
    /// Becoming a node, counted from the machine's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<InMemoryComponent>,
    /// The API server of a control-plane machine, counted from the node's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_server: Option<InMemoryComponent>,
    /// The etcd member of a control-plane machine, counted from the node's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<InMemoryComponent>,
}

/// A part of a simulated machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InMemoryComponent {
    /// How long it takes to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioning: Option<CommonProvisioningSettings>,
}

/// How long something takes to start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommonProvisioningSettings {
    /// A Go duration such as `10s`.
    pub startup_duration: String,
    /// A decimal number: the duration is lengthened by a random part of at most this multiple of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_jitter: Option<String>,
}

/// What a DevMachine is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DevMachineStatus {
    /// How far the machine has come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::conditions")]
    pub conditions: Vec<Condition>,
    /// What the contract reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initialization: Option<DevInitializationStatus>,
    /// Always empty in memory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<MachineAddress>,
    /// The failure domain that the Machine asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub failure_domain: Option<String>,
    /// Conditions in their old form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<DevDeprecatedStatus>,
}
