//! The ClusterResourceSetBinding controller: a binding goes with its Cluster.

use async_trait::async_trait;
use capi_api::{addons::v1beta2::ClusterResourceSetBinding, annotations, core::v1beta2::Cluster};
use capi_runtime::{Context, Controller, Failure, Key, Manager, Next, Reconciler, Stores, meta};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;

/// Reconciles ClusterResourceSetBindings.
#[derive(Debug, Default)]
pub struct ClusterResourceSetBindingReconciler;

#[async_trait]
impl Reconciler for ClusterResourceSetBindingReconciler {
    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Next, Failure> {
        let Some(binding) = ctx.get::<ClusterResourceSetBinding>(key) else {
            return Ok(Next::Done);
        };
        if meta::has_paused_annotation(&binding.metadata) {
            return Ok(Next::Done);
        }
        let cluster = ctx.get::<Cluster>(&key.sibling(binding.spec.cluster_name.clone()));
        if is_over(cluster.as_deref()) {
            ctx.delete(&*binding).await?;
            return Ok(Next::Done);
        }
        ctx.patch(&*binding, &migrated(&binding)).await?;
        Ok(Next::Done)
    }
}

/// Whether nothing is applied to a Cluster any more: it is gone or on its way out. A Cluster with a topology is so only
/// once its hooks agree.
fn is_over(cluster: Option<&Cluster>) -> bool {
    cluster.is_none_or(|cluster| {
        let agreed =
            cluster.spec.topology.is_none() || cluster.annotations().contains_key(annotations::OK_TO_DELETE);
        cluster.metadata.deletion_timestamp.is_some() && agreed
    })
}

/// Bindings of long ago were owned by their Cluster; the field says the same.
fn migrated(binding: &ClusterResourceSetBinding) -> ClusterResourceSetBinding {
    let mut after = binding.clone();
    let cluster = OwnerReference {
        api_version: "cluster.x-k8s.io/v1beta2".to_owned(),
        kind: "Cluster".to_owned(),
        name: binding.spec.cluster_name.clone(),
        ..OwnerReference::default()
    };
    meta::remove_owner(&mut after.metadata, &cluster);
    after
}

/// Registers the controller.
pub fn register(manager: &mut Manager) {
    let controller = Controller::<ClusterResourceSetBinding>::new(
        "clusterresourcesetbinding",
        ClusterResourceSetBindingReconciler,
    )
    .watches::<Cluster>(of_cluster);
    manager.register(controller);
}

fn of_cluster(cluster: &Cluster, stores: &Stores) -> Vec<Key> {
    let key = Key::of(cluster);
    let binding = stores.get::<ClusterResourceSetBinding>().get(&key);
    binding.map(|_| key).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_binding_goes_with_its_cluster_but_not_before_the_hooks_agree() {
        let over = |change: Value| {
            let mut value = json!({"metadata": {"name": "c"}, "spec": {}});
            for (section, fields) in change.as_object().unwrap() {
                for (key, field) in fields.as_object().unwrap() {
                    value[section][key] = field.clone();
                }
            }
            let cluster: Cluster = serde_json::from_value(value).unwrap();
            is_over(Some(&cluster))
        };
        let deleting = "2026-01-01T00:00:00Z";
        let topology = json!({"classRef": {"name": "k"}, "version": "v1.36.0"});
        assert!(is_over(None));
        assert!(!over(json!({})));
        assert!(over(json!({"metadata": {"deletionTimestamp": deleting}})));
        assert!(!over(
            json!({"metadata": {"deletionTimestamp": deleting}, "spec": {"topology": topology}})
        ));
        assert!(over(
            json!({"metadata": {"deletionTimestamp": deleting, "annotations": {annotations::OK_TO_DELETE: ""}},
            "spec": {"topology": topology}})
        ));
    }

    #[test]
    fn the_owner_of_former_versions_goes() {
        let binding: ClusterResourceSetBinding = serde_json::from_value(json!({
            "metadata": {"name": "c", "ownerReferences": [
                {"apiVersion": "cluster.x-k8s.io/v1beta1", "kind": "Cluster", "name": "c", "uid": "1"},
                {"apiVersion": "addons.cluster.x-k8s.io/v1beta2", "kind": "ClusterResourceSet", "name": "s", "uid": "2"}]},
            "spec": {"clusterName": "c"}}))
        .unwrap();
        let owners: Vec<String> = migrated(&binding)
            .owner_references()
            .iter()
            .map(|o| o.kind.clone())
            .collect();
        assert_eq!(owners, ["ClusterResourceSet"]);
    }
}
