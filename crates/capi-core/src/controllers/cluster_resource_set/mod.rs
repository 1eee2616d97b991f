//! The ClusterResourceSet controller: applies what ConfigMaps and Secrets hold to the clusters that a
//! ClusterResourceSet selects, once or whenever it changes.
//!
//! ConfigMaps and Secrets are watched by their metadata; their content is read when some cluster needs it. What was
//! applied to a cluster is noted in the ClusterResourceSetBinding of its name, which
//! [`cluster_resource_set_binding`](super::cluster_resource_set_binding) removes with the cluster.

mod act;
mod apply;
pub mod content;
pub mod observe;
pub mod plan;

#[cfg(test)]
mod tests;

use async_trait::async_trait;
use capi_api::{
    addons::v1beta2::{ClusterResourceSet, ClusterResourceSetBinding, ClusterResourceSetResourceKind},
    core::v1beta2::Cluster,
    finalizers,
};
use capi_runtime::{
    Context, Controller, Failure, Key, Kind, Manager, Next, Reconciler, Stores, meta, owners_of_kind,
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    ResourceExt,
    core::{ObjectMeta, PartialObjectMeta},
};

use self::observe::{Memory, selects};

/// Reconciles ClusterResourceSets.
#[derive(Debug, Default)]
pub struct ClusterResourceSetReconciler {
    memory: Memory,
}

#[async_trait]
impl Reconciler for ClusterResourceSetReconciler {
    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Next, Failure> {
        let Some(set) = ctx.get::<ClusterResourceSet>(key) else {
            return Ok(Next::Done);
        };
        let deleting = set.metadata.deletion_timestamp.is_some();
        if !deleting
            && ctx
                .ensure_finalizer(&*set, finalizers::CLUSTER_RESOURCE_SET)
                .await?
        {
            return Ok(Next::Done);
        }
        // A paused Cluster gets its resources nevertheless: they are not part of it.
        if meta::has_paused_annotation(&set.metadata) {
            ctx.stop_if_paused(false, &*set).await?;
            return Ok(Next::Done);
        }
        let world = observe::observe(ctx, set, &self.memory).await?;
        if world.is_deleting() {
            act::delete(ctx, &world).await?;
            return Ok(Next::Done);
        }
        let plan = plan::plan(&world);
        act::act(ctx, &world, plan).await?;
        Ok(Next::Done)
    }
}

/// Registers the controller.
pub fn register(manager: &mut Manager) {
    manager.trim::<PartialObjectMeta<ConfigMap>>(|object| bare(&mut object.metadata));
    manager.trim::<PartialObjectMeta<Secret>>(|object| bare(&mut object.metadata));
    let controller =
        Controller::<ClusterResourceSet>::new("clusterresourceset", ClusterResourceSetReconciler::default())
            .concurrency(10)
            .watches_changes::<Cluster>(by_cluster)
            .watches_owned::<ClusterResourceSetBinding>()
            .watches::<PartialObjectMeta<ConfigMap>>(|object, stores| {
                by_resource(object, ClusterResourceSetResourceKind::ConfigMap, stores)
            })
            .watches::<PartialObjectMeta<Secret>>(|object, stores| {
                by_resource(object, ClusterResourceSetResourceKind::Secret, stores)
            })
            .connects_workloads_by(by_connection);
    manager.register(controller);
}

/// There can be many ConfigMaps and Secrets, and few of them are of interest.
fn bare(metadata: &mut ObjectMeta) {
    metadata.annotations = None;
    metadata.labels = None;
}

/// The ClusterResourceSets that select a Cluster or did so before.
fn by_cluster(old: Option<&Cluster>, new: Option<&Cluster>, stores: &Stores) -> Vec<Key> {
    let read = |cluster: &Cluster| {
        let deleting = cluster.metadata.deletion_timestamp.is_some();
        (deleting, cluster.metadata.labels.clone())
    };
    if old.map(read) == new.map(read) {
        return Vec::new();
    }
    let mut keys: Vec<Key> = [old, new]
        .into_iter()
        .flatten()
        .flat_map(|cluster| selecting(cluster, stores))
        .collect();
    keys.sort();
    keys.dedup();
    keys
}

fn selecting(cluster: &Cluster, stores: &Stores) -> Vec<Key> {
    stores
        .get::<ClusterResourceSet>()
        .list(cluster.namespace().as_deref())
        .iter()
        .filter(|set| selects(set, cluster.metadata.labels.as_ref()))
        .map(|set| Key::of(&**set))
        .collect()
}

fn by_connection(cluster: &Key, stores: &Stores) -> Vec<Key> {
    let cluster = stores.get::<Cluster>().get(cluster);
    cluster.map_or_else(Vec::new, |cluster| selecting(&cluster, stores))
}

/// The ClusterResourceSets that own a ConfigMap or Secret; if none does, those that name it.
fn by_resource<K: Kind>(object: &K, kind: ClusterResourceSetResourceKind, stores: &Stores) -> Vec<Key> {
    let mut keys = owners_of_kind::<ClusterResourceSet>(object.meta());
    let name = object.meta().name.clone().unwrap_or_default();
    let names = |set: &ClusterResourceSet| {
        let mut resources = set.spec.resources.iter();
        resources.any(|r| r.kind == kind && r.name == name)
    };
    let all = stores
        .get::<ClusterResourceSet>()
        .list(object.meta().namespace.as_deref());
    keys.extend(all.iter().filter(|set| names(set)).map(|set| Key::of(&**set)));
    keys.sort();
    keys.dedup();
    keys
}
