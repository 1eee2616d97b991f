//! What `kubeadm init` leaves in a cluster: ConfigMaps, add-ons and access rules.

mod access;
mod addons;

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::objects::Writer;
use crate::error::Error;

/// What kubeadm knows when it writes them.
#[derive(Debug, Clone, PartialEq)]
pub struct InitFacts<'a> {
    /// The ClusterConfiguration document of the bootstrap data; `None` after a restart that lost it.
    pub configuration: Option<&'a Value>,
    /// Phases left out.
    pub skip_phases: &'a [String],
    /// The Cluster's name.
    pub cluster: &'a str,
    /// The machine's Kubernetes version, with the leading `v`.
    pub version: &'a str,
    /// `host:port` of the API.
    pub endpoint: &'a str,
    /// The cluster CA's certificate, PEM.
    pub authority: &'a str,
}

impl InitFacts<'_> {
    fn skips(&self, phase: &str, disabled: &str) -> bool {
        let parent = phase.split('/').next().unwrap_or(phase);
        self.skip_phases
            .iter()
            .any(|skipped| skipped == phase || skipped == parent)
            || self.configuration.and_then(|c| c.pointer(disabled)) == Some(&Value::Bool(true))
    }

    fn text(&self, pointer: &str) -> Option<&str> {
        self.configuration?
            .pointer(pointer)?
            .as_str()
            .filter(|text| !text.is_empty())
    }

    fn repository(&self) -> &str {
        self.text("/imageRepository").unwrap_or("registry.k8s.io")
    }
}

/// Creates everything that does not exist yet; kubeadm-config, by which others see that the cluster is initialised, last.
pub async fn create(writer: &Writer, facts: &InitFacts<'_>) -> Result<(), Error> {
    access::create(writer).await?;
    config_map(
        writer,
        "kube-public",
        "cluster-info",
        json!({ "kubeconfig": cluster_info(facts)? }),
    )
    .await?;
    config_map(
        writer,
        "kube-system",
        "kubelet-config",
        json!({ "kubelet": yaml(&kubelet_configuration(facts))? }),
    )
    .await?;
    if !facts.skips("addon/coredns", "/dns/disabled") {
        addons::coredns(writer, facts).await?;
    }
    if !facts.skips("addon/kube-proxy", "/proxy/disabled") {
        addons::kube_proxy(writer, facts).await?;
    }
    let configuration = yaml(&cluster_configuration(facts))?;
    config_map(
        writer,
        "kube-system",
        "kubeadm-config",
        json!({ "ClusterConfiguration": configuration }),
    )
    .await
}

async fn config_map(writer: &Writer, namespace: &str, name: &str, data: Value) -> Result<(), Error> {
    let object = json!({ "metadata": { "name": name, "namespace": namespace }, "data": data });
    writer.create_in::<ConfigMap>(namespace, object).await
}

/// The document as kubeadm stores it: with its defaults.
fn cluster_configuration(facts: &InitFacts<'_>) -> Value {
    let minimal = json!({ "apiVersion": "kubeadm.k8s.io/v1beta4", "controlPlaneEndpoint": facts.endpoint });
    let mut document = facts.configuration.cloned().unwrap_or(minimal);
    let v1beta3 = document["apiVersion"] == "kubeadm.k8s.io/v1beta3";
    document["kind"] = json!("ClusterConfiguration");
    let mut default = |field: &str, value: Value| {
        if document.get(field).is_none_or(Value::is_null) {
            document[field] = value;
        }
    };
    default("kubernetesVersion", json!(facts.version));
    default("clusterName", json!(facts.cluster));
    default("certificatesDir", json!(super::guest::kubeadm::CERTIFICATES_DIR));
    default("imageRepository", json!("registry.k8s.io"));
    for component in ["apiServer", "controllerManager", "scheduler", "dns"] {
        default(component, json!({}));
    }
    default("networking", json!({}));
    default("etcd", json!({}));
    if !v1beta3 {
        default("proxy", json!({}));
        default("encryptionAlgorithm", json!("RSA-2048"));
        default("certificateValidityPeriod", json!("8760h0m0s"));
        default("caCertificateValidityPeriod", json!("87600h0m0s"));
    }
    let nested = |parent: &mut Value, field: &str, value: &str| {
        if parent
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .is_empty()
        {
            parent[field] = json!(value);
        }
    };
    nested(&mut document["networking"], "dnsDomain", "cluster.local");
    nested(&mut document["networking"], "serviceSubnet", "10.96.0.0/12");
    if document["etcd"].get("external").is_none_or(Value::is_null) {
        if document["etcd"].get("local").is_none_or(Value::is_null) {
            document["etcd"]["local"] = json!({});
        }
        nested(&mut document["etcd"]["local"], "dataDir", "/var/lib/etcd");
    }
    document
}

fn cluster_info(facts: &InitFacts<'_>) -> Result<String, Error> {
    let cluster = json!({
        "server": format!("https://{}", facts.endpoint),
        "certificate-authority-data": STANDARD.encode(facts.authority),
    });
    yaml(&json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "", "cluster": cluster }],
        "contexts": null,
        "current-context": "",
        "preferences": {},
        "users": null,
    }))
}

fn kubelet_configuration(facts: &InitFacts<'_>) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "systemd",
        "clusterDomain": facts.text("/networking/dnsDomain").unwrap_or("cluster.local"),
        "rotateCertificates": true,
        "staticPodPath": "/etc/kubernetes/manifests",
    })
}

fn yaml(document: &Value) -> Result<String, Error> {
    serde_saphyr::to_string(document).map_err(|error| Error::Document {
        what: "a configuration of kubeadm",
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(configuration: Option<&Value>) -> InitFacts<'_> {
        InitFacts {
            configuration,
            skip_phases: &[],
            cluster: "c1",
            version: "v1.35.0",
            endpoint: "127.0.0.1:20000",
            authority: "ca",
        }
    }

    #[test]
    fn the_stored_configuration_has_kubeadms_defaults_and_keeps_what_was_given() {
        let given = json!({
            "apiVersion": "kubeadm.k8s.io/v1beta4", "etcd": {}, "networking": {"podSubnet": "10.0.0.0/8"},
            "kubernetesVersion": "v1.35.0", "clusterName": "own", "controlPlaneEndpoint": "127.0.0.1:20000",
        });
        let stored = cluster_configuration(&facts(Some(&given)));
        assert_eq!(stored["clusterName"], "own");
        assert_eq!(stored["etcd"]["local"]["dataDir"], "/var/lib/etcd");
        assert_eq!(
            stored["networking"],
            json!({"podSubnet": "10.0.0.0/8", "dnsDomain": "cluster.local", "serviceSubnet": "10.96.0.0/12"})
        );
        assert_eq!(stored["encryptionAlgorithm"], "RSA-2048");

        let old = cluster_configuration(&facts(Some(
            &json!({"apiVersion": "kubeadm.k8s.io/v1beta3", "etcd": {"external": {}}}),
        )));
        assert_eq!((old.get("proxy"), old["etcd"].get("local")), (None, None));

        let lost = cluster_configuration(&facts(None));
        assert_eq!(
            (&lost["controlPlaneEndpoint"], &lost["kubernetesVersion"]),
            (&json!("127.0.0.1:20000"), &json!("v1.35.0"))
        );
    }

    #[test]
    fn add_ons_are_skipped_by_phase_or_field() {
        let disabled = json!({"dns": {"disabled": true}});
        assert!(facts(Some(&disabled)).skips("addon/coredns", "/dns/disabled"));
        assert!(!facts(Some(&disabled)).skips("addon/kube-proxy", "/proxy/disabled"));
        let phases = ["addon".to_owned()];
        assert!(
            InitFacts {
                skip_phases: &phases,
                ..facts(None)
            }
            .skips("addon/kube-proxy", "/proxy/disabled")
        );
    }
}
