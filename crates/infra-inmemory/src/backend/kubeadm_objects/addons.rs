//! The add-ons that kubeadm installs: CoreDNS and kube-proxy. Nothing runs them; others change their images.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    core::v1::{Service, ServiceAccount},
};
use serde_json::{Value, json};

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
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1 } },
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": coredns_pod(&image) },
        },
    });
    writer.create_in::<Deployment>("kube-system", deployment).await?;
    let mut service = json!({
        "metadata": {
            "name": "kube-dns", "namespace": "kube-system",
            "labels": { "k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS" },
            "annotations": { "prometheus.io/port": "9153", "prometheus.io/scrape": "true" },
        },
        "spec": {
            "selector": labels,
            "ports": [
                { "name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53 },
                { "name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53 },
                { "name": "metrics", "port": 9153, "protocol": "TCP", "targetPort": 9153 },
            ],
        },
    });
    if let Some(address) = dns_address(facts.text("/networking/serviceSubnet").unwrap_or("10.96.0.0/12")) {
        service["spec"]["clusterIP"] = address.to_string().into();
    }
    writer.create_in::<Service>("kube-system", service).await
}

fn coredns_pod(image: &str) -> Value {
    let http = |path: &str, port: u16| json!({ "path": path, "port": port, "scheme": "HTTP" });
    json!({
        "serviceAccountName": "coredns",
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "Default",
        "nodeSelector": { "kubernetes.io/os": "linux" },
        "tolerations": [
            { "key": "CriticalAddonsOnly", "operator": "Exists" },
            { "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule" },
        ],
        "containers": [{
            "name": "coredns",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "args": ["-conf", "/etc/coredns/Corefile"],
            "resources": { "limits": { "memory": "170Mi" }, "requests": { "cpu": "100m", "memory": "70Mi" } },
            "ports": [
                { "containerPort": 53, "name": "dns", "protocol": "UDP" },
                { "containerPort": 53, "name": "dns-tcp", "protocol": "TCP" },
                { "containerPort": 9153, "name": "metrics", "protocol": "TCP" },
            ],
            "livenessProbe": { "httpGet": http("/health", 8080), "initialDelaySeconds": 60, "timeoutSeconds": 5 },
            "readinessProbe": { "httpGet": http("/ready", 8181) },
            "volumeMounts": [{ "name": "config-volume", "mountPath": "/etc/coredns", "readOnly": true }],
        }],
        "volumes": [{
            "name": "config-volume",
            "configMap": { "name": "coredns", "items": [{ "key": "Corefile", "path": "Corefile" }] },
        }],
    })
}

/// The address of the DNS service: the tenth of the first service network.
fn dns_address(subnets: &str) -> Option<IpAddr> {
    let (network, _) = subnets.split(',').next()?.trim().split_once('/')?;
    Some(match network.parse::<IpAddr>().ok()? {
        IpAddr::V4(first) => Ipv4Addr::from(u32::from(first).checked_add(10)?).into(),
        IpAddr::V6(first) => Ipv6Addr::from(u128::from(first).checked_add(10)?).into(),
    })
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
    let configuration = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": { "kubeconfig": "/var/lib/kube-proxy/kubeconfig.conf" },
        "clusterCIDR": facts.text("/networking/podSubnet").unwrap_or_default(),
    });
    let service_account = "/var/run/secrets/kubernetes.io/serviceaccount";
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "default", "cluster": {
            "certificate-authority": format!("{service_account}/ca.crt"),
            "server": format!("https://{}", facts.endpoint),
        } }],
        "contexts": [{ "name": "default", "context": { "cluster": "default", "namespace": "default", "user": "default" } }],
        "current-context": "default",
        "users": [{ "name": "default", "user": { "tokenFile": format!("{service_account}/token") } }],
    });
    let data = json!({ "config.conf": yaml(&configuration)?, "kubeconfig.conf": yaml(&kubeconfig)? });
    config_map(writer, "kube-system", "kube-proxy", data).await?;
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
            "updateStrategy": { "type": "RollingUpdate" },
            "template": { "metadata": { "labels": labels }, "spec": kube_proxy_pod(&image) },
        },
    });
    writer.create_in::<DaemonSet>("kube-system", daemon_set).await
}

fn kube_proxy_pod(image: &str) -> Value {
    json!({
        "serviceAccountName": "kube-proxy",
        "priorityClassName": "system-node-critical",
        "hostNetwork": true,
        "nodeSelector": { "kubernetes.io/os": "linux" },
        "tolerations": [{ "operator": "Exists" }],
        "containers": [{
            "name": "kube-proxy",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": [
                "/usr/local/bin/kube-proxy",
                "--config=/var/lib/kube-proxy/config.conf",
                "--hostname-override=$(NODE_NAME)",
            ],
            "env": [{ "name": "NODE_NAME", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } }],
            "securityContext": { "privileged": true },
            "volumeMounts": [
                { "name": "kube-proxy", "mountPath": "/var/lib/kube-proxy" },
                { "name": "xtables-lock", "mountPath": "/run/xtables.lock" },
                { "name": "lib-modules", "mountPath": "/lib/modules", "readOnly": true },
            ],
        }],
        "volumes": [
            { "name": "kube-proxy", "configMap": { "name": "kube-proxy" } },
            { "name": "xtables-lock", "hostPath": { "path": "/run/xtables.lock", "type": "FileOrCreate" } },
            { "name": "lib-modules", "hostPath": { "path": "/lib/modules" } },
        ],
    })
}

async fn account(writer: &Writer, name: &str) -> Result<(), Error> {
    let object = json!({ "metadata": { "name": name, "namespace": "kube-system" } });
    writer.create_in::<ServiceAccount>("kube-system", object).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dns_service_has_the_tenth_address() {
        for (subnets, want) in [
            ("10.96.0.0/12", Some("10.96.0.10")),
            ("10.128.0.0/12,fd00::/108", Some("10.128.0.10")),
            ("fd00::/108", Some("fd00::a")),
            ("nonsense", None),
        ] {
            assert_eq!(
                dns_address(subnets).map(|address| address.to_string()).as_deref(),
                want,
                "{subnets}"
            );
        }
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
