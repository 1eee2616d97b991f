//! The smallest infrastructure, bootstrap and control plane providers, and the machines' kubelets.

use std::time::Duration;

use capi_api::core::v1beta2::{Cluster, Machine};
use k8s_openapi::api::core::v1::{Node, Secret};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::foreign_api;

/// Looks at everything ten times a second until told to stop.
pub fn spawn(management: Client, workload: Client, stop: CancellationToken) {
    tokio::spawn(async move {
        while !stop.is_cancelled() {
            let provider = Provider {
                management: management.clone(),
                workload: workload.clone(),
            };
            provider.clusters().await;
            provider.control_planes().await;
            provider.configs().await;
            provider.machines().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
}

struct Provider {
    management: Client,
    workload: Client,
}

fn ready(type_: &str) -> Value {
    json!([{ "type": type_, "status": "True", "reason": type_, "lastTransitionTime": "2026-01-01T00:00:00Z" }])
}

impl Provider {
    async fn list(&self, kind: &str) -> Vec<DynamicObject> {
        let all = foreign_api(self.management.clone(), kind)
            .list(&ListParams::default())
            .await
            .unwrap();
        all.items
            .into_iter()
            .filter(|o| o.metadata.deletion_timestamp.is_none())
            .collect()
    }

    async fn patch(&self, kind: &str, name: &str, patch: Value) {
        let api = foreign_api(self.management.clone(), kind);
        let _ = api
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
    }

    async fn patch_status(&self, kind: &str, name: &str, status: Value) {
        let api = foreign_api(self.management.clone(), kind);
        let patch = Patch::Merge(json!({ "status": status }));
        let _ = api.patch_status(name, &PatchParams::default(), &patch).await;
    }

    async fn cluster(&self) -> Option<Cluster> {
        Api::namespaced(self.management.clone(), "default")
            .get_opt("c")
            .await
            .unwrap()
    }

    async fn machine_of(&self, object: &DynamicObject) -> Option<Machine> {
        let owner = object
            .owner_references()
            .iter()
            .find(|o| o.kind == "Machine" && o.controller == Some(true))?;
        Api::namespaced(self.management.clone(), "default")
            .get_opt(&owner.name)
            .await
            .unwrap()
    }

    async fn clusters(&self) {
        for object in self.list("FakeCluster").await {
            let name = object.name_any();
            if object.owner_references().is_empty() || object.data["status"].is_object() {
                continue;
            }
            let endpoint = json!({ "controlPlaneEndpoint": { "host": "10.0.0.1", "port": 6443 } });
            self.patch("FakeCluster", &name, json!({ "spec": endpoint }))
                .await;
            let status = json!({ "initialization": { "provisioned": true }, "conditions": ready("Ready"),
                "failureDomains": [{ "name": "b" }, { "name": "a", "controlPlane": true }] });
            self.patch_status("FakeCluster", &name, status).await;
        }
    }

    async fn control_planes(&self) {
        for object in self.list("FakeControlPlane").await {
            let name = object.name_any();
            let provisioned = async {
                let status = self.cluster().await?.status?;
                status.initialization?.infrastructure_provisioned
            };
            let version = object.data["spec"]["version"].clone();
            if object.data["status"]["version"] == version || provisioned.await != Some(true) {
                continue;
            }
            let secret: Secret = serde_json::from_value(json!({
                "metadata": { "name": format!("{name}-kubeconfig"), "namespace": "default",
                    "labels": { "cluster.x-k8s.io/cluster-name": name } },
                "type": "cluster.x-k8s.io/secret", "stringData": { "value": "unused" },
            }))
            .unwrap();
            let secrets: Api<Secret> = Api::namespaced(self.management.clone(), "default");
            let _ = secrets.create(&PostParams::default(), &secret).await;
            let status = json!({ "initialization": { "controlPlaneInitialized": true }, "externalManagedControlPlane": true,
                "version": version, "versions": [{ "version": version }], "conditions": ready("Available") });
            self.patch_status("FakeControlPlane", &name, status).await;
        }
    }

    async fn configs(&self) {
        for object in self.list("FakeConfig").await {
            if object.data["status"].is_object() || self.machine_of(&object).await.is_none() {
                continue;
            }
            let name = object.name_any();
            let status = json!({ "initialization": { "dataSecretCreated": true }, "dataSecretName": name,
                "conditions": ready("Ready") });
            self.patch_status("FakeConfig", &name, status).await;
        }
    }

    async fn machines(&self) {
        for object in self.list("FakeMachine").await {
            let name = object.name_any();
            let Some(machine) = self.machine_of(&object).await else {
                continue;
            };
            if machine.spec.bootstrap.data_secret_name.is_none() {
                continue;
            }
            let id = format!("fake:///{name}");
            if !object.data["status"].is_object() {
                tokio::time::sleep(Duration::from_secs(1)).await;
                self.patch("FakeMachine", &name, json!({ "spec": { "providerID": id } }))
                    .await;
                let status = json!({ "initialization": { "provisioned": true }, "conditions": ready("Ready"),
                    "addresses": [{ "type": "InternalIP", "address": "10.0.0.2" }] });
                self.patch_status("FakeMachine", &name, status).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
                self.kubelet(&name, &id, machine.spec.version.as_deref().unwrap_or_default())
                    .await;
            }
        }
    }

    async fn kubelet(&self, name: &str, id: &str, version: &str) {
        let nodes: Api<Node> = Api::all(self.workload.clone());
        let node: Node = serde_json::from_value(json!({
            "metadata": { "name": name },
            "spec": { "providerID": id,
                "taints": [{ "key": "node.cluster.x-k8s.io/uninitialized", "effect": "NoSchedule" }] },
        }))
        .unwrap();
        let _ = nodes.create(&PostParams::default(), &node).await;
        let condition = |type_: &str, status: &str| json!({ "type": type_, "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z" });
        let info = json!({ "kubeletVersion": version, "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "",
            "kernelVersion": "", "kubeProxyVersion": "", "machineID": "", "operatingSystem": "linux", "osImage": "",
            "systemUUID": "" });
        let status = json!({ "nodeInfo": info, "conditions": [condition("Ready", "True"), condition("MemoryPressure", "False"),
            condition("DiskPressure", "False"), condition("PIDPressure", "False")] });
        let patch = Patch::Merge(json!({ "status": status }));
        let _ = nodes.patch_status(name, &PatchParams::default(), &patch).await;
    }
}
