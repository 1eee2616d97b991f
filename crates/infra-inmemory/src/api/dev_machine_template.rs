//! DevMachineTemplate: what Machine owners make DevMachines from.

use capi_api::core::v1beta2::ObjectMeta;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{common::ResourceList, dev_machine::DevMachineSpec};

/// What a DevMachineTemplate holds.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "infrastructure.cluster.x-k8s.io",
    version = "v1beta2",
    kind = "DevMachineTemplate",
    doc = "What DevMachines are made from.",
    plural = "devmachinetemplates",
    namespaced,
    status = "DevMachineTemplateStatus",
    derive = "Default",
    derive = "PartialEq",
    category = "cluster-api",
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct DevMachineTemplateSpec {
    /// The DevMachine to be.
    pub template: DevMachineTemplateResource,
}

capi_api::spec_may_be_absent!(DevMachineTemplateSpec);

/// A DevMachine to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DevMachineTemplateResource {
    /// Its labels and annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<ObjectMeta>,
    /// Its spec.
    pub spec: DevMachineSpec,
}

/// What is known of machines made from the template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DevMachineTemplateStatus {
    /// Their size. Simulated machines have none, so it is never written.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    #[schemars(schema_with = "super::common::resource_list")]
    pub capacity: ResourceList,
}
