//! Writes the objects of a resource to a workload cluster.
//!
//! `ApplyOnce` creates and leaves alone what exists. `Reconcile` also makes what exists like what is wanted, with a merge
//! patch computed from the live object: fields that others added go.

use std::collections::BTreeMap;

use capi_api::addons::v1beta2::ClusterResourceSetStrategy;
use capi_runtime::{describe, merge_diff};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind, TypeMeta},
    discovery::Scope,
};
use serde_json::Value;

/// As upstream's manager calls itself where it does not apply from the server's side.
const FIELD_MANAGER: &str = "manager";
/// Metadata that belongs to the API server.
const SERVER_OWNED: [&str; 9] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
    "namespace",
];

/// Applies objects to one workload cluster.
pub struct Applier {
    client: Client,
    strategy: ClusterResourceSetStrategy,
    /// What the cluster says of kinds.
    kinds: BTreeMap<(String, String), (ApiResource, Scope)>,
}

impl Applier {
    /// For one workload cluster.
    pub fn new(client: Client, strategy: ClusterResourceSetStrategy) -> Self {
        Self {
            client,
            strategy,
            kinds: BTreeMap::new(),
        }
    }

    /// Applies objects in their order; one that fails does not keep the others from being applied. Returns what went
    /// wrong.
    pub async fn apply(&mut self, objects: &[DynamicObject]) -> Vec<String> {
        let mut errors = Vec::new();
        for object in objects {
            if let Err(error) = self.apply_one(object.clone()).await {
                errors.push(error);
            }
        }
        errors
    }

    async fn apply_one(&mut self, mut object: DynamicObject) -> Result<(), String> {
        let types = object.types.clone().unwrap_or_default();
        let mut name = object.metadata.name.clone().unwrap_or_default();
        let (resource, scope) = self
            .kind(&types)
            .await
            .map_err(|why| format!("{} {name}: {why}", types.kind))?;
        let api: Api<DynamicObject> = match scope {
            Scope::Namespaced => {
                let namespace = object
                    .metadata
                    .namespace
                    .get_or_insert_with(|| "default".to_owned())
                    .clone();
                name = format!("{namespace}/{name}");
                Api::namespaced_with(self.client.clone(), &namespace, &resource)
            }
            Scope::Cluster => {
                object.metadata.namespace = None;
                Api::all_with(self.client.clone(), &resource)
            }
        };
        write(&api, &object, self.strategy)
            .await
            .map_err(|error| format!("{} {name}: {}", types.kind, describe(&error)))
    }

    async fn kind(&mut self, types: &TypeMeta) -> Result<(ApiResource, Scope), String> {
        let known = (types.api_version.clone(), types.kind.clone());
        if let Some(found) = self.kinds.get(&known) {
            return Ok(found.clone());
        }
        let kind = GroupVersionKind::try_from(types)
            .map_err(|_| format!("apiVersion {:?} is malformed", types.api_version))?;
        let (resource, capabilities) =
            kube::discovery::pinned_kind(&self.client, &kind)
                .await
                .map_err(|error| {
                    let what = format!("the cluster does not know {} {}", types.api_version, types.kind);
                    format!("{what}: {}", describe(&error))
                })?;
        let found = (resource, capabilities.scope);
        self.kinds.insert(known, found.clone());
        Ok(found)
    }
}

async fn write(
    api: &Api<DynamicObject>,
    object: &DynamicObject,
    strategy: ClusterResourceSetStrategy,
) -> Result<(), kube::Error> {
    let name = object.metadata.name.as_deref();
    if let (ClusterResourceSetStrategy::Reconcile, Some(name)) = (strategy, name)
        && let Some(live) = api.get_opt(name).await?
    {
        let Some(patch) = difference(&live, object) else {
            return Ok(());
        };
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        return api.patch(name, &params, &Patch::Merge(patch)).await.map(|_| ());
    }
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    match api.create(&params, object).await {
        // There already, by an earlier try or by somebody else.
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
        result => result.map(|_| ()),
    }
}

/// The merge patch that makes the live object like the wanted one; none if it is.
fn difference(live: &DynamicObject, wanted: &DynamicObject) -> Option<Value> {
    let plain = |object: &DynamicObject| {
        let mut value = serde_json::to_value(object).unwrap_or_default();
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in SERVER_OWNED {
                metadata.remove(field);
            }
        }
        value
    };
    let mut live = plain(live);
    let wanted = plain(wanted);
    // What a controller over there reports is not ours to take away.
    if wanted.get("status").is_none()
        && let Some(live) = live.as_object_mut()
    {
        live.remove("status");
    }
    merge_diff(&live, &wanted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_patch_takes_foreign_fields_away_but_not_what_belongs_to_the_server() {
        let live = object(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "namespace": "default", "uid": "u", "resourceVersion": "7",
                "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": {"foreign": "x"}},
            "data": {"k": "old", "extra": "y"}, "status": {"phase": "Fine"}}));
        let wanted = object(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
            "data": {"k": "new"}}),
        );
        assert_eq!(
            difference(&live, &wanted),
            Some(json!({"metadata": {"annotations": null}, "data": {"k": "new", "extra": null}}))
        );
        assert_eq!(difference(&live, &live), None);
    }
}
