//! The DevCluster controller: gives each Cluster a simulated workload cluster and an address for it.
//!
//! Watches DevClusters, their Clusters (for pausing) and the Secrets of cluster CAs (a new CA means a new server
//! certificate). Writes the DevCluster; and the cluster's kubeconfig when this process has got another address.

mod plan;

use std::collections::BTreeSet;

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use capi_api::{
    annotations::MANAGED_BY,
    conditions,
    core::v1beta2::Cluster,
    labels::CLUSTER_NAME,
    secrets::{Purpose, VALUE_KEY},
};
use capi_runtime::{Context, Controller, Failure, Key, Next, Reconciler, Stores, meta, owners_of_kind};
use cluster_pki::Kubeconfig;
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;

use self::plan::{Observed, Plan, plan};
use super::{is_paused, secrets, taken_in_charge};
use crate::{
    api::{DEV_CLUSTER_FINALIZER, DevCluster},
    backend::{Endpoint, World},
    error::Error,
    faults,
};

/// The controller, ready to be registered.
pub fn controller(world: World) -> Controller<DevCluster> {
    Controller::<DevCluster>::new("devcluster", DevClusterReconciler { world })
        .watches_changes::<Cluster>(|old, new, _| {
            let paused =
                |cluster: Option<&Cluster>| cluster.map(|cluster| cluster.spec.paused.unwrap_or_default());
            match paused(old) == paused(new) {
                true => Vec::new(),
                false => new.and_then(infrastructure_of).into_iter().collect(),
            }
        })
        .watches_changes::<Secret>(|old, new, stores| match (old, new) {
            (Some(old), Some(new)) if old.data != new.data => cluster_of_authority(new, stores),
            _ => Vec::new(),
        })
}

/// The DevCluster of a Cluster.
pub(crate) fn infrastructure_of(cluster: &Cluster) -> Option<Key> {
    let reference = cluster
        .spec
        .infrastructure_ref
        .as_ref()
        .filter(|reference| reference.kind == "DevCluster")?;
    Some(Key::of(cluster).sibling(reference.name.clone()))
}

fn cluster_of_authority(secret: &Secret, stores: &Stores) -> Vec<Key> {
    let key = Key::of(secret);
    let name = secret
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(CLUSTER_NAME));
    name.filter(|name| Purpose::ClusterCa.name_for(name) == key.name)
        .and_then(|name| stores.get::<Cluster>().get(&key.sibling(name.clone())))
        .and_then(|cluster| infrastructure_of(&cluster))
        .into_iter()
        .collect()
}

struct DevClusterReconciler {
    world: World,
}

#[async_trait]
impl Reconciler for DevClusterReconciler {
    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Next, Failure> {
        let Some(dev_cluster) = ctx.get::<DevCluster>(key) else {
            return Ok(Next::Done);
        };
        if dev_cluster
            .metadata
            .annotations
            .as_ref()
            .is_some_and(|found| found.contains_key(MANAGED_BY))
        {
            return Ok(Next::Done);
        }
        let owner = owners_of_kind::<Cluster>(&dev_cluster.metadata)
            .into_iter()
            .next();
        let cluster = owner.as_ref().and_then(|owner| ctx.get::<Cluster>(owner));
        let cluster_paused = cluster
            .as_ref()
            .is_some_and(|cluster| cluster.spec.paused.unwrap_or_default());
        if is_paused(cluster_paused, &*dev_cluster) {
            ctx.stop_if_paused(cluster_paused, &*dev_cluster).await?;
            return Ok(Next::Done);
        }
        if meta::is_deleting(&dev_cluster.metadata) {
            if !meta::has_finalizer(&dev_cluster.metadata, DEV_CLUSTER_FINALIZER) {
                return Ok(Next::Done);
            }
            if let Some(owner) = &owner {
                self.world.delete_cluster(owner).await;
            }
            ctx.remove_finalizer(&*dev_cluster, DEV_CLUSTER_FINALIZER).await?;
            return Ok(Next::Done);
        }
        // The Cluster sets the owner reference; that brings us back.
        let Some(cluster) = cluster else {
            return Ok(Next::Done);
        };
        let observed = Observed {
            dev_cluster: (*dev_cluster).clone(),
            cluster: Key::of(&*cluster),
            host: self.world.host().to_owned(),
        };
        self.act(ctx, &observed, plan(&observed)).await?;
        Ok(Next::Done)
    }
}

impl DevClusterReconciler {
    async fn act(&self, ctx: &Context, observed: &Observed, plan: Plan) -> Result<(), Error> {
        let (before, cluster) = (&observed.dev_cluster, &observed.cluster);
        match plan {
            Plan::Unsupported(draft) => {
                let mut after = taken_in_charge(before, DEV_CLUSTER_FINALIZER, ctx.now());
                conditions::set(&mut after, draft, ctx.now());
                ctx.patch(before, &after).await?;
            }
            Plan::Provision {
                wanted_port,
                host,
                moved,
                switches,
            } => {
                let others = ctx.store::<DevCluster>().list(None);
                let taken: BTreeSet<u16> = others.iter().filter_map(|other| plan::port(other)).collect();
                let reserved = self.world.reserve(cluster, wanted_port, &taken)?;
                let endpoint = Endpoint {
                    host,
                    port: reserved.port,
                };
                // Nothing is made that nobody would clean up.
                let claimed = plan::claimed(before.clone(), cluster, &endpoint);
                ctx.patch(before, &claimed).await?;
                self.world.ensure_cluster(cluster, &endpoint).await?;
                self.world.set_cluster_faults(cluster, switches.faults).await?;
                if moved {
                    redirect_kubeconfig(ctx, cluster, &endpoint).await?;
                }
                if self.world.cluster(cluster).is_some_and(|view| view.serving)
                    && let Ok(authority) = secrets::authority(ctx, cluster, Purpose::ClusterCa).await?
                {
                    self.world.use_authority(cluster, &authority)?;
                }
                let mut after = taken_in_charge(&claimed, DEV_CLUSTER_FINALIZER, ctx.now());
                match faults::cluster_condition(&switches) {
                    Some(draft) => conditions::set(&mut after, draft, ctx.now()),
                    None => conditions::remove(&mut after, faults::CONDITION),
                };
                ctx.patch(&claimed, &plan::provisioned(after)).await?;
            }
        }
        Ok(())
    }
}

/// Points the cluster's kubeconfig at this process after that got another address.
async fn redirect_kubeconfig(ctx: &Context, cluster: &Key, endpoint: &Endpoint) -> Result<(), Error> {
    let key = cluster.sibling(Purpose::Kubeconfig.name_for(&cluster.name));
    let Some(secret) = secrets::read(ctx, &key).await? else {
        return Ok(());
    };
    let Some(text) = secrets::text(&secret, VALUE_KEY) else {
        return Ok(());
    };
    let unusable = |source| Error::Certificate {
        what: format!("Secret {key}"),
        source,
    };
    let server = Kubeconfig::server_url(&endpoint.host, endpoint.port);
    let kubeconfig = Kubeconfig::parse(&text).map_err(unusable)?;
    if kubeconfig.server == server {
        return Ok(());
    }
    let yaml = Kubeconfig { server, ..kubeconfig }.to_yaml().map_err(unusable)?;
    ctx.merge_patch::<Secret>(&key, None, &json!({ "data": { VALUE_KEY: BASE64.encode(yaml) } }))
        .await?;
    Ok(())
}
