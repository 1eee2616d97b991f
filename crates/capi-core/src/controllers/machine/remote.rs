//! Reads and writes in the workload cluster that only a deletion needs: pods, volumes, evictions. Everything is read
//! live: it changes all the time and matters only while a Machine goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use capi_runtime::{Error, Key, WorkloadClient, describe};
use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{Namespace, Node, PersistentVolume, Pod},
    storage::v1::VolumeAttachment,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, EvictParams, ListParams},
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::drain::{
    evictions::{Evictions, Outcome, cause},
    rules, volumes,
};

/// For how long one reconcile evicts.
const BUDGET: Duration = Duration::from_secs(10);

/// A failed request to a workload cluster.
pub fn failed<K: Resource<DynamicType = ()>>(verb: &'static str, name: &str, source: kube::Error) -> Error {
    Error::Api {
        verb,
        kind: K::kind(&()).into_owned(),
        key: Key::new("", name),
        source,
    }
}

fn is_missing(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// All objects of a kind; none if the API server does not serve it.
async fn all<K>(client: &Client, about: &str) -> Result<Vec<K>, Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    match Api::<K>::all(client.clone()).list(&ListParams::default()).await {
        Ok(list) => Ok(list.items),
        Err(error) if is_missing(&error) => Ok(Vec::new()),
        Err(source) => Err(failed::<K>("list", about, source)),
    }
}

/// What the drain of a Node looks at.
pub async fn pods(workload: &WorkloadClient, node: &str, namespaces: bool) -> Result<rules::View, Error> {
    let client = workload.client();
    let params = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let pods = Api::<Pod>::all(client.clone()).list(&params).await;
    let mut view = rules::View {
        pods: pods.map_err(|source| failed::<Pod>("list", node, source))?.items,
        ..rules::View::default()
    };
    view.pods.sort_by_key(|p| (p.namespace(), p.name_any()));
    let owners: BTreeSet<(String, String)> = view.pods.iter().filter_map(rules::daemon_set_of).collect();
    for (namespace, name) in owners {
        let sets = Api::<DaemonSet>::namespaced(client.clone(), &namespace);
        match sets.get_metadata_opt(&name).await {
            Ok(None) => {}
            Ok(Some(_)) => {
                view.daemon_sets.insert((namespace, name));
            }
            Err(source) => return Err(failed::<DaemonSet>("get", &name, source)),
        }
    }
    if namespaces {
        let all = all::<Namespace>(&client, node).await?;
        view.namespaces = all
            .into_iter()
            .map(|n| (n.name_any(), n.metadata.labels.unwrap_or_default()))
            .collect::<BTreeMap<_, _>>();
    }
    Ok(view)
}

/// What is attached to a Node.
pub async fn volumes(workload: &WorkloadClient, node: &Node) -> Result<volumes::View, Error> {
    let (client, name) = (workload.client(), node.name_any());
    let attachments = all::<VolumeAttachment>(&client, &name).await?;
    let attachments: BTreeSet<String> = attachments
        .into_iter()
        .filter(|a| a.spec.node_name == name && a.status.as_ref().is_some_and(|s| s.attached))
        .filter_map(|a| a.spec.source.persistent_volume_name)
        .collect();
    let volumes = match attachments.is_empty() && volumes::on_node(node).is_empty() {
        true => Vec::new(),
        false => all::<PersistentVolume>(&client, &name).await?,
    };
    Ok(volumes::View { attachments, volumes })
}

/// Evicts the pods of a round. What is refused is part of the outcome.
pub async fn evict(client: &Client, round: &Evictions) -> Outcome {
    let mut outcome = Outcome::default();
    let started = Instant::now();
    for pod in &round.now {
        if started.elapsed() >= BUDGET {
            let late = format!(
                "eviction timeout of {}s reached, eviction will be retried",
                BUDGET.as_secs()
            );
            outcome.refuse(late, pod);
            continue;
        }
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let params = EvictParams {
            delete_options: round.grace.map(|seconds| DeleteParams {
                grace_period_seconds: Some(seconds),
                ..DeleteParams::default()
            }),
            ..EvictParams::default()
        };
        match Api::<Pod>::namespaced(client.clone(), &namespace)
            .evict(&name, &params)
            .await
        {
            Ok(_) => outcome.leaving.push(format!("{namespace}/{name}")),
            Err(error) if is_missing(&error) => {}
            Err(kube::Error::Api(status)) => outcome.refuse(cause(&status), pod),
            Err(error) => outcome.refuse(describe(&error), pod),
        }
    }
    outcome
}
