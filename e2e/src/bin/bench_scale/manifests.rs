//! The objects of one cluster, as a user would apply them, with upstream's simulated delays.

use serde_json::{Value, json};

/// The namespace of everything.
pub const NAMESPACE: &str = "default";

const VERSION: &str = "v1.35.0";

/// The name of cluster number `number`.
pub fn name(number: usize) -> String {
    format!("scale-{number:05}")
}

fn part(duration: &str) -> Value {
    json!({ "provisioning": { "startupDuration": duration, "startupJitter": "0.2" } })
}

fn object(group: &str, kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": format!("{group}.cluster.x-k8s.io/v1beta2").trim_start_matches('.'),
        "kind": kind,
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": spec,
    })
}

fn reference(group: &str, kind: &str, name: &str) -> Value {
    json!({ "apiGroup": format!("{group}.cluster.x-k8s.io"), "kind": kind, "name": name })
}

/// All objects of a cluster with `machines` machines, one of which is the control plane. The Cluster comes last: what it
/// refers to is there when the controllers see it.
pub fn cluster(name: &str, machines: usize) -> Vec<Value> {
    let control_plane = format!("{name}-cp");
    let registration =
        json!({ "nodeRegistration": { "criSocket": "unix:///run/containerd/containerd.sock" } });
    let mut objects = vec![
        object(
            "infrastructure",
            "DevCluster",
            name,
            json!({ "backend": { "inMemory": {} } }),
        ),
        object(
            "infrastructure",
            "DevMachineTemplate",
            &control_plane,
            json!({ "template": { "spec": { "backend": { "inMemory": {
                "vm": part("10s"), "node": part("2s"), "apiServer": part("2s"), "etcd": part("2s"),
            } } } } }),
        ),
        object(
            "controlplane",
            "KubeadmControlPlane",
            &control_plane,
            json!({
                "replicas": 1,
                "version": VERSION,
                "kubeadmConfigSpec": {
                    "clusterConfiguration": { "apiServer": { "certSANs": ["localhost", "127.0.0.1"] } },
                    "initConfiguration": registration,
                    "joinConfiguration": registration,
                },
                "machineTemplate": { "spec": {
                    "infrastructureRef": reference("infrastructure", "DevMachineTemplate", &control_plane),
                } },
            }),
        ),
    ];
    if machines > 1 {
        objects.extend(workers(name, machines - 1, &registration));
    }
    let mut cluster = object(
        "",
        "Cluster",
        name,
        json!({
            "clusterNetwork": {
                "pods": { "cidrBlocks": ["192.168.0.0/16"] },
                "services": { "cidrBlocks": ["10.128.0.0/12"] },
                "serviceDomain": "cluster.local",
            },
            "controlPlaneRef": reference("controlplane", "KubeadmControlPlane", &control_plane),
            "infrastructureRef": reference("infrastructure", "DevCluster", name),
        }),
    );
    cluster["apiVersion"] = "cluster.x-k8s.io/v1beta2".into();
    objects.push(cluster);
    objects
}

fn workers(name: &str, replicas: usize, registration: &Value) -> Vec<Value> {
    let set = format!("{name}-md");
    let labels = json!({ "cluster.x-k8s.io/cluster-name": name, "cluster.x-k8s.io/deployment-name": set });
    let mut deployment = object(
        "",
        "MachineDeployment",
        &set,
        json!({
            "clusterName": name,
            "replicas": replicas,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "clusterName": name,
                    "version": VERSION,
                    "bootstrap": { "configRef": reference("bootstrap", "KubeadmConfigTemplate", &set) },
                    "infrastructureRef": reference("infrastructure", "DevMachineTemplate", &set),
                },
            },
        }),
    );
    deployment["apiVersion"] = "cluster.x-k8s.io/v1beta2".into();
    vec![
        object(
            "bootstrap",
            "KubeadmConfigTemplate",
            &set,
            json!({ "template": { "spec": { "joinConfiguration": registration } } }),
        ),
        object(
            "infrastructure",
            "DevMachineTemplate",
            &set,
            json!({ "template": { "spec": { "backend": { "inMemory": { "vm": part("10s"), "node": part("2s") } } } } }),
        ),
        deployment,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_has_what_its_machines_need() {
        let kinds = |machines| {
            let objects = cluster("c", machines);
            let text = |o: &Value| {
                format!(
                    "{} {}",
                    o["apiVersion"].as_str().unwrap(),
                    o["kind"].as_str().unwrap()
                )
            };
            objects.iter().map(text).collect::<Vec<_>>()
        };
        assert_eq!(
            kinds(1),
            [
                "infrastructure.cluster.x-k8s.io/v1beta2 DevCluster",
                "infrastructure.cluster.x-k8s.io/v1beta2 DevMachineTemplate",
                "controlplane.cluster.x-k8s.io/v1beta2 KubeadmControlPlane",
                "cluster.x-k8s.io/v1beta2 Cluster",
            ]
        );
        assert_eq!(kinds(3).len(), 7);
        assert_eq!(cluster("c", 3)[5]["spec"]["replicas"], 2);
    }
}
