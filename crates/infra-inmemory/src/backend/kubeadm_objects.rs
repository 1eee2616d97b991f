//! What `kubeadm init` leaves in a cluster: ConfigMaps, add-ons and access rules.

use cluster_pki::Kubeconfig;
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    core::v1::{ConfigMap, Service, ServiceAccount},
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use serde_json::{Value, json};

use super::{node_objects::image_tag, objects::Writer};
use crate::error::Error;

/// The version of CoreDNS where the configuration does not name one.
const COREDNS_VERSION: &str = "v1.13.1";

const TOKEN_GROUP: &str = "system:bootstrappers:kubeadm:default-node-token";

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
    access_rules(writer).await?;
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
        coredns(writer, facts).await?;
    }
    if !facts.skips("addon/kube-proxy", "/proxy/disabled") {
        kube_proxy(writer, facts).await?;
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
    let server = format!("https://{}", facts.endpoint);
    let config = Kubeconfig {
        cluster_name: String::new(),
        user_name: String::new(),
        context_name: String::new(),
        server,
        certificate_authority: Some(facts.authority.to_owned()),
        client: None,
        token: None,
    };
    use base64::{Engine, engine::general_purpose::STANDARD};
    let authority = STANDARD.encode(config.certificate_authority.as_deref().unwrap_or_default());
    yaml(&json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "", "cluster": { "server": config.server, "certificate-authority-data": authority } }],
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

async fn coredns(writer: &Writer, facts: &InitFacts<'_>) -> Result<(), Error> {
    let domain = facts.text("/networking/dnsDomain").unwrap_or("cluster.local");
    let repository = match facts.text("/dns/imageRepository") {
        Some(own) => own.to_owned(),
        None if facts.repository() == "registry.k8s.io" => "registry.k8s.io/coredns".to_owned(),
        None => facts.repository().to_owned(),
    };
    let image = format!(
        "{repository}/coredns:{}",
        facts.text("/dns/imageTag").unwrap_or(COREDNS_VERSION)
    );
    config_map(
        writer,
        "kube-system",
        "coredns",
        json!({ "Corefile": corefile(domain) }),
    )
    .await?;
    account(writer, "coredns").await?;
    let labels = json!({ "k8s-app": "kube-dns" });
    let deployment = json!({
        "metadata": { "name": "coredns", "namespace": "kube-system", "labels": labels },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "serviceAccountName": "coredns",
                    "containers": [{
                        "name": "coredns",
                        "image": image,
                        "args": ["-conf", "/etc/coredns/Corefile"],
                        "volumeMounts": [{ "name": "config-volume", "mountPath": "/etc/coredns", "readOnly": true }],
                    }],
                    "volumes": [{
                        "name": "config-volume",
                        "configMap": { "name": "coredns", "items": [{ "key": "Corefile", "path": "Corefile" }] },
                    }],
                },
            },
        },
    });
    writer.create_in::<Deployment>("kube-system", deployment).await?;
    let service = json!({
        "metadata": {
            "name": "kube-dns", "namespace": "kube-system",
            "labels": { "k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS" },
        },
        "spec": {
            "selector": labels,
            "ports": [
                { "name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53 },
                { "name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53 },
            ],
        },
    });
    writer.create_in::<Service>("kube-system", service).await
}

/// The DNS server's configuration: answers for the cluster's domain, forwards the rest.
fn corefile(domain: &str) -> String {
    let plugins = [
        "errors",
        "health {\n       lameduck 5s\n    }",
        "ready",
        &format!(
            "kubernetes {domain} in-addr.arpa ip6.arpa {{\n       pods insecure\n       fallthrough in-addr.arpa ip6.arpa\n       ttl 30\n    }}"
        ),
        "prometheus :9153",
        "forward . /etc/resolv.conf {\n       max_concurrent 1000\n    }",
        "cache 30",
        "loop",
        "reload",
        "loadbalance",
    ];
    let lines: String = plugins.iter().map(|plugin| format!("    {plugin}\n")).collect();
    format!(".:53 {{\n{lines}}}\n")
}

async fn kube_proxy(writer: &Writer, facts: &InitFacts<'_>) -> Result<(), Error> {
    let configuration =
        json!({ "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration" });
    config_map(
        writer,
        "kube-system",
        "kube-proxy",
        json!({ "config.conf": yaml(&configuration)? }),
    )
    .await?;
    account(writer, "kube-proxy").await?;
    let labels = json!({ "k8s-app": "kube-proxy" });
    let image = format!("{}/kube-proxy:{}", facts.repository(), image_tag(facts.version));
    let daemon_set = json!({
        "metadata": {
            "name": "kube-proxy", "namespace": "kube-system",
            "labels": { "k8s-app": "kube-proxy", "component": "kube-proxy" },
        },
        "spec": {
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "serviceAccountName": "kube-proxy",
                    "hostNetwork": true,
                    "containers": [{ "name": "kube-proxy", "image": image }],
                },
            },
        },
    });
    writer.create_in::<DaemonSet>("kube-system", daemon_set).await
}

async fn account(writer: &Writer, name: &str) -> Result<(), Error> {
    let object = json!({ "metadata": { "name": name, "namespace": "kube-system" } });
    writer.create_in::<ServiceAccount>("kube-system", object).await
}

/// Bindings to ClusterRoles: binding, role, group.
const CLUSTER_BINDINGS: &[(&str, &str, &str)] = &[
    (
        "kubeadm:kubelet-bootstrap",
        "system:node-bootstrapper",
        TOKEN_GROUP,
    ),
    (
        "kubeadm:node-autoapprove-bootstrap",
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        TOKEN_GROUP,
    ),
    (
        "kubeadm:node-autoapprove-certificate-rotation",
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        "system:nodes",
    ),
    ("kubeadm:get-nodes", "kubeadm:get-nodes", TOKEN_GROUP),
    (
        "kubeadm:cluster-admins",
        "cluster-admin",
        "kubeadm:cluster-admins",
    ),
];

/// Roles that let groups read one ConfigMap: namespace, role and binding, ConfigMap, groups.
const READERS: &[(&str, &str, &str, &[&str])] = &[
    (
        "kube-public",
        "kubeadm:bootstrap-signer-clusterinfo",
        "cluster-info",
        &["system:unauthenticated"],
    ),
    (
        "kube-system",
        "kubeadm:nodes-kubeadm-config",
        "kubeadm-config",
        &[TOKEN_GROUP, "system:nodes"],
    ),
    (
        "kube-system",
        "kubeadm:kubelet-config",
        "kubelet-config",
        &[TOKEN_GROUP, "system:nodes"],
    ),
    ("kube-system", "kube-proxy", "kube-proxy", &[TOKEN_GROUP]),
];

async fn access_rules(writer: &Writer) -> Result<(), Error> {
    const API: &str = "rbac.authorization.k8s.io";
    let group = |name: &str| json!({ "apiGroup": API, "kind": "Group", "name": name });
    let role = json!({
        "metadata": { "name": "kubeadm:get-nodes" },
        "rules": [{ "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"] }],
    });
    writer.create_global::<ClusterRole>(role).await?;
    for (name, role, subject) in CLUSTER_BINDINGS {
        let binding = json!({
            "metadata": { "name": name },
            "roleRef": { "apiGroup": API, "kind": "ClusterRole", "name": role },
            "subjects": [group(subject)],
        });
        writer.create_global::<ClusterRoleBinding>(binding).await?;
    }
    let proxier = json!({
        "metadata": { "name": "kubeadm:node-proxier" },
        "roleRef": { "apiGroup": API, "kind": "ClusterRole", "name": "system:node-proxier" },
        "subjects": [{ "kind": "ServiceAccount", "name": "kube-proxy", "namespace": "kube-system" }],
    });
    writer.create_global::<ClusterRoleBinding>(proxier).await?;
    for (namespace, name, config_map, groups) in READERS {
        let metadata = json!({ "name": name, "namespace": namespace });
        let rules = json!([{
            "apiGroups": [""], "resources": ["configmaps"], "resourceNames": [config_map], "verbs": ["get"],
        }]);
        writer
            .create_in::<Role>(namespace, json!({ "metadata": metadata, "rules": rules }))
            .await?;
        let binding = json!({
            "metadata": metadata,
            "roleRef": { "apiGroup": API, "kind": "Role", "name": name },
            "subjects": groups.iter().map(|name| group(name)).collect::<Vec<_>>(),
        });
        writer.create_in::<RoleBinding>(namespace, binding).await?;
    }
    Ok(())
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

    #[test]
    fn the_corefile_is_one_block() {
        let text = corefile("cluster.local");
        assert!(
            text.starts_with(".:53 {\n    errors\n    health {\n       lameduck 5s\n    }\n    ready\n"),
            "{text}"
        );
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }
}
