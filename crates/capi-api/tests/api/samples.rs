//! Sample objects survive being read and written.

use std::{fs, path::PathBuf};

use capi_api::{
    addons::v1beta2::{ClusterResourceSet, ClusterResourceSetBinding},
    bootstrap::v1beta2::{KubeadmConfig, KubeadmConfigTemplate},
    clusterctl::v1alpha3::{Metadata, Provider, ProviderType},
    controlplane::v1beta2::{KubeadmControlPlane, KubeadmControlPlaneTemplate},
    core::v1beta2::{
        Cluster, ClusterClass, Machine, MachineDeployment, MachineDrainRule, MachineHealthCheck, MachinePool,
        MachineSet,
    },
    ipam::v1beta2::{IPAddress, IPAddressClaim},
    runtime::v1beta2::ExtensionConfig,
};
use kube::CustomResourceExt;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

fn sample(file: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap()
}

fn survives<K: CustomResourceExt + DeserializeOwned + Serialize>(file: &str) {
    let before = sample(file);
    assert_eq!(before["kind"], json!(K::api_resource().kind), "{file}");
    let object: K = serde_json::from_value(before.clone()).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert_eq!(serde_json::to_value(&object).unwrap(), before, "{file}");
}

#[test]
fn samples_of_every_kind_survive_being_read_and_written() {
    survives::<Cluster>("cluster.yaml");
    survives::<ClusterClass>("cluster_class.yaml");
    survives::<ClusterResourceSet>("cluster_resource_set.yaml");
    survives::<ClusterResourceSetBinding>("cluster_resource_set_binding.yaml");
    survives::<ExtensionConfig>("extension_config.yaml");
    survives::<IPAddress>("ip_address.yaml");
    survives::<IPAddressClaim>("ip_address_claim.yaml");
    survives::<KubeadmConfig>("kubeadm_config.yaml");
    survives::<KubeadmConfigTemplate>("kubeadm_config_template.yaml");
    survives::<KubeadmControlPlane>("kubeadm_control_plane.yaml");
    survives::<KubeadmControlPlaneTemplate>("kubeadm_control_plane_template.yaml");
    survives::<Machine>("machine.yaml");
    survives::<MachineDeployment>("machine_deployment.yaml");
    survives::<MachineDrainRule>("machine_drain_rule.yaml");
    survives::<MachineHealthCheck>("machine_health_check.yaml");
    survives::<MachinePool>("machine_pool.yaml");
    survives::<MachineSet>("machine_set.yaml");
    survives::<Metadata>("metadata.yaml");
    survives::<Provider>("provider.yaml");
}

#[test]
fn a_kubeadm_config_without_a_spec_can_be_read() {
    let object = json!({ "apiVersion": "bootstrap.cluster.x-k8s.io/v1beta2", "kind": "KubeadmConfig", "metadata": {} });
    let config: KubeadmConfig = serde_json::from_value(object).unwrap();
    assert_eq!(config, KubeadmConfig::default());
}

#[test]
fn a_cluster_without_a_spec_is_refused() {
    let object = json!({ "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "metadata": {} });
    assert!(serde_json::from_value::<Cluster>(object).is_err());
}

#[test]
fn provider_types_are_parsed_from_their_names() {
    let provider: Provider = serde_json::from_value(sample("provider.yaml")).unwrap();
    assert_eq!(provider.spec.provider_type(), Some(ProviderType::Core));
    assert_eq!(ProviderType::parse("Nonsense"), None);
    assert_eq!(ProviderType::Ipam.to_string(), "IPAMProvider");
}
