//! What keeps objects from going away.

use e2e::{
    scenario::{self, SMALL},
    simulation::Simulation,
};
use k8s_openapi::api::{
    core::v1::{Node, Pod},
    policy::v1::PodDisruptionBudget,
    storage::v1::VolumeAttachment,
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{Case, case};

/// Takes one worker away from which something keeps its Machine; returns nothing, as any of them may be chosen.
async fn shrink(s: &Simulation, key: &str) -> Result<(), String> {
    scenario::create(s, SMALL, 3).await?;
    for machine in scenario::machines(&s.inventory(), false) {
        scenario::annotate(s, "Machine", &machine, key, Some("somebody")).await?;
    }
    scenario::scale_workers(s, 1).await
}

async fn on_every_worker_node(
    s: &Simulation,
    each: impl AsyncFn(&kube::Client, &str) -> Result<(), kube::Error>,
) -> Result<(), String> {
    scenario::create(s, SMALL, 3).await?;
    let client = scenario::workload(s).ok_or("no workload cluster")?;
    for machine in s.inventory().of_kind("Machine") {
        let node = machine.text("/status/nodeRef/name").unwrap_or_default();
        if !scenario::is_control_plane(machine) {
            each(&client, node).await.map_err(|e| e.to_string())?;
        }
    }
    scenario::scale_workers(s, 1).await
}

async fn pod(client: &kube::Client, node: &str) -> Result<(), kube::Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let pod = json!({"metadata": {"name": format!("web-{node}"), "labels": {"app": "web"}},
        "spec": {"nodeName": node, "containers": [{"name": "web", "image": "web"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    let pod = serde_json::from_value(pod).unwrap();
    let made = pods.create(&PostParams::default(), &pod).await?;
    let name = made.metadata.name.unwrap_or_default();
    let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
        .await
        .map(drop)
}

pub fn cases() -> Vec<Case> {
    vec![
        case("a PodDisruptionBudget keeps the drain from evicting a Pod", |s| {
            Box::pin(on_every_worker_node(s, async |client, node| {
                let budgets: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), "default");
                let budget = json!({"metadata": {"name": "web"},
                    "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "web"}}}});
                let budget = serde_json::from_value(budget).unwrap();
                match budgets.create(&PostParams::default(), &budget).await {
                    Err(kube::Error::Api(status)) if status.code == 409 => {}
                    other => drop(other?),
                }
                pod(client, node).await
            }))
        }),
        case(
            "a volume stays attached to the Node of a Machine that goes",
            |s| {
                Box::pin(on_every_worker_node(s, async |client, node| {
                    let nodes: Api<Node> = Api::all(client.clone());
                    let attached = json!({"status": {"volumesAttached": [{"name": "kubernetes.io/csi/x^v", "devicePath": ""}]}});
                    nodes
                        .patch_status(node, &PatchParams::default(), &Patch::Merge(attached))
                        .await?;
                    let attachments: Api<VolumeAttachment> = Api::all(client.clone());
                    let attachment = json!({"metadata": {"name": format!("v-{node}")},
                    "spec": {"attacher": "x", "nodeName": node, "source": {"persistentVolumeName": "v"}}});
                    let attachment = serde_json::from_value(attachment).unwrap();
                    attachments
                        .create(&PostParams::default(), &attachment)
                        .await
                        .map(drop)
                }))
            },
        ),
        case("a pre-drain hook is set on a Machine that goes", |s| {
            Box::pin(shrink(s, "pre-drain.delete.hook.machine.cluster.x-k8s.io/backup"))
        }),
        case("a pre-terminate hook is set on a Machine that goes", |s| {
            Box::pin(shrink(
                s,
                "pre-terminate.delete.hook.machine.cluster.x-k8s.io/backup",
            ))
        }),
        case("a foreign finalizer holds an infrastructure machine", |s| {
            Box::pin(async {
                scenario::create(s, SMALL, 3).await?;
                for machine in scenario::machines(&s.inventory(), false) {
                    let name = scenario::dev_machine(s, &machine)?;
                    let api = scenario::dynamic(s, "DevMachine");
                    let mut object = api.get(&name).await.map_err(|e| e.to_string())?;
                    object
                        .metadata
                        .finalizers
                        .get_or_insert_default()
                        .push("example.com/audit".to_owned());
                    api.replace(&name, &PostParams::default(), &object)
                        .await
                        .map_err(|e| e.to_string())?;
                }
                scenario::scale_workers(s, 1).await
            })
        }),
        case(
            "a foreign finalizer holds a Machine of a Cluster that is deleted",
            |s| {
                Box::pin(async {
                    scenario::create(s, SMALL, 3).await?;
                    let machine = scenario::first(s, false)?;
                    let api = scenario::dynamic(s, "Machine");
                    let mut object = api.get(&machine).await.map_err(|e| e.to_string())?;
                    object
                        .metadata
                        .finalizers
                        .get_or_insert_default()
                        .push("example.com/audit".to_owned());
                    api.replace(&machine, &PostParams::default(), &object)
                        .await
                        .map_err(|e| e.to_string())?;
                    scenario::delete_one(s, "Cluster", scenario::CLUSTER).await
                })
            },
        ),
    ]
}
