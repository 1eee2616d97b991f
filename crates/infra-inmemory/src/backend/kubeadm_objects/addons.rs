//! The add-ons that kubeadm installs: CoreDNS and kube-proxy. Nothing runs them; others change their images.

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    core::v1::{Service, ServiceAccount},
};
use serde_json::json;

use super::{InitFacts, config_map, yaml};
use crate::{
    backend::{
        images::{coredns_tag, image_tag},
        objects::Writer,
    },
    error::Error,
};

/// The cluster's DNS server.
pub(super) async fn coredns(writer: &Writer, facts: &InitFacts<'_>) -> Result<(), Error> {
    let domain = facts.text("/networking/dnsDomain").unwrap_or("cluster.local");
    let repository = match facts.text("/dns/imageRepository") {
        Some(own) => own.to_owned(),
        None if facts.repository() == "registry.k8s.io" => "registry.k8s.io/coredns".to_owned(),
        None => facts.repository().to_owned(),
    };
    let image = format!(
        "{repository}/coredns:{}",
        facts
            .text("/dns/imageTag")
            .unwrap_or_else(|| coredns_tag(facts.version))
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

/// The agent that makes Services work, on every node.
pub(super) async fn kube_proxy(writer: &Writer, facts: &InitFacts<'_>) -> Result<(), Error> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
