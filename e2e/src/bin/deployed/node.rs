//! The node that the pods are bound to. It must exist and live: endpoints of pods elsewhere are not published, and pods of a
//! dead node are evicted.

use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, Pod},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

const NAME: &str = "here";
/// Much less than after what the node counts as dead.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Makes the node and says that it is ready.
pub async fn register(client: &Client) -> anyhow::Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let params = PatchParams::apply("deployed").force();
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NAME}});
    nodes
        .patch(NAME, &params, &Patch::Apply(node))
        .await
        .context("make the node")?;
    beat(client).await
}

/// Keeps it alive.
pub async fn keep(client: Client) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        if let Err(error) = beat(&client).await {
            tracing::warn!("{error:#}");
        }
    }
}

async fn beat(client: &Client) -> anyhow::Result<()> {
    use seams::Clock as _;
    let now = seams::SystemClock.now();
    let second = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let ready = json!({
        "type": "Ready", "status": "True", "reason": "Here", "message": "",
        "lastHeartbeatTime": second, "lastTransitionTime": second,
    });
    let status = json!({"status": {"conditions": [ready]}});
    let nodes: Api<Node> = Api::all(client.clone());
    let patched = nodes
        .patch_status(NAME, &PatchParams::default(), &Patch::Strategic(status))
        .await;
    patched.context("the node's status")?;
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    let renewed = now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME},
        "spec": {"holderIdentity": NAME, "leaseDurationSeconds": 40, "renewTime": renewed},
    });
    let params = PatchParams::apply("deployed").force();
    leases
        .patch(NAME, &params, &Patch::Apply(lease))
        .await
        .context("the node's Lease")?;
    Ok(())
}

/// Binds a pod to the node, as a scheduler does.
pub async fn bind(client: &Client, pod: &Pod) -> anyhow::Result<()> {
    if pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()) {
        return Ok(());
    }
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name, "namespace": namespace},
        "target": {"apiVersion": "v1", "kind": "Node", "name": NAME},
    });
    let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let bound: Result<serde_json::Value, _> = api
        .create_subresource("binding", &name, &PostParams::default(), &binding)
        .await;
    bound.with_context(|| format!("bind pod {namespace}/{name}"))?;
    Ok(())
}
