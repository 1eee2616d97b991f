//! What is installed in a management cluster: the inventory of providers, and writing or deleting objects of any kind.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, bail};
use capi_api::clusterctl::v1alpha3::Provider;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
    discovery::{ApiCapabilities, Scope},
};
use serde_json::{Value, json};

use crate::{
    components::{Components, INSTALLED, PROVIDER},
    repository::{Kind, ProviderId},
};

/// As whom objects are applied.
const FIELD_MANAGER: &str = "capictl";
const POLL: Duration = Duration::from_millis(200);
/// How long definitions may take until they are served.
const ESTABLISHED: Duration = Duration::from_secs(60);

/// A provider of the inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Which provider.
    pub provider: ProviderId,
    /// Its version.
    pub version: String,
    /// Where it runs.
    pub namespace: String,
}

/// A management cluster.
pub struct Installation {
    client: Client,
    /// Resources by API version and kind.
    known: BTreeMap<(String, String), (ApiResource, bool)>,
}

impl Installation {
    /// Of this API server.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            known: BTreeMap::new(),
        }
    }

    /// The providers that are installed completely, in the order of installation. Without inventory there are none.
    pub async fn inventory(&self) -> anyhow::Result<Vec<Installed>> {
        let api: Api<Provider> = Api::all(self.client.clone());
        let listed = match api.list(&ListParams::default()).await {
            Ok(listed) => listed.items,
            Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
            Err(error) => return Err(error).context("cannot list the installed providers"),
        };
        let mut found = Vec::new();
        for item in listed {
            let kind = item.spec.provider_type().and_then(|type_| Kind::of_type(&type_));
            let name = item.spec.provider_name.clone();
            let (Some(kind), Some(name)) = (kind, name) else {
                continue;
            };
            found.push(Installed {
                provider: ProviderId::new(kind, name),
                version: item.spec.version.clone().unwrap_or_default(),
                namespace: item.namespace().unwrap_or_default(),
            });
        }
        found.sort_by(|a, b| a.provider.cmp(&b.provider));
        Ok(found)
    }

    /// Brings the definition of the inventory up.
    pub async fn prepare(&mut self) -> anyhow::Result<()> {
        let definitions = capi_api::crd::crds()?
            .into_iter()
            .filter(|shipped| shipped.provider == "capictl");
        for shipped in definitions {
            let object = serde_json::to_value(&shipped.definition)?;
            self.apply(&object).await?;
            self.wait_established(&shipped.definition.name_any()).await?;
        }
        Ok(())
    }

    /// Applies the objects of a provider. May be repeated after it was broken off anywhere.
    pub async fn install(&mut self, components: &Components) -> anyhow::Result<()> {
        let definition = |object: &&Value| object["kind"] == "CustomResourceDefinition";
        let (first, rest): (Vec<&Value>, Vec<&Value>) = components
            .objects
            .iter()
            .partition(|object| definition(object) || object["kind"] == "Namespace");
        for object in &first {
            self.apply(object).await?;
        }
        for object in first.into_iter().filter(definition) {
            self.wait_established(
                object
                    .pointer("/metadata/name")
                    .and_then(Value::as_str)
                    .unwrap_or_default(),
            )
            .await?;
        }
        for object in rest {
            self.apply(object).await?;
        }
        Ok(())
    }

    /// Notes in the inventory that a provider is installed.
    pub async fn note(&mut self, components: &Components) -> anyhow::Result<()> {
        let label = components.provider.label();
        self.apply(&json!({
            "apiVersion": "clusterctl.cluster.x-k8s.io/v1alpha3", "kind": "Provider",
            "metadata": {
                "name": label, "namespace": components.namespace,
                "labels": {INSTALLED: "", PROVIDER: label, "clusterctl.cluster.x-k8s.io/core": "inventory"},
            },
            "providerName": components.provider.name, "type": components.provider.kind.type_().as_str(),
            "version": components.version,
        }))
        .await
    }

    /// Waits until the Deployments of a provider are available.
    pub async fn wait_available(&mut self, components: &Components, limit: Duration) -> anyhow::Result<()> {
        let deployments = components
            .objects
            .iter()
            .filter(|object| object["kind"] == "Deployment");
        for deployment in deployments {
            let name = deployment
                .pointer("/metadata/name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let api = self.api_of(deployment).await?;
            let available = async {
                loop {
                    let found = api
                        .get(name)
                        .await
                        .with_context(|| format!("cannot get Deployment {name}"))?;
                    if is_available(&found.data, found.metadata.generation) {
                        return anyhow::Ok(());
                    }
                    tokio::time::sleep(POLL).await;
                }
            };
            match tokio::time::timeout(limit, available).await {
                Ok(result) => result?,
                Err(_) => bail!(
                    "Deployment {name} is not available after {} s; kubectl -n {} describe deployment {name} may tell why",
                    limit.as_secs(),
                    components.namespace
                ),
            }
        }
        Ok(())
    }

    /// Deletes a provider: its objects in its namespace and of the cluster; definitions and namespace on request.
    pub async fn delete(
        &mut self,
        installed: &Installed,
        definitions: bool,
        namespace: bool,
    ) -> anyhow::Result<()> {
        let label = installed.provider.label();
        let selected = ListParams::default().labels(&format!("{PROVIDER}={label},{INSTALLED}"));
        let crds: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let mut names = Vec::new();
        if definitions {
            for crd in crds
                .list(&selected)
                .await
                .context("cannot list the definitions")?
            {
                self.check_unused(&crd).await?;
                names.push(crd.name_any());
            }
        }
        for (api_version, kind) in DELETED {
            let types = json!({"apiVersion": api_version, "kind": kind, "metadata": {"namespace": installed.namespace}});
            let api = self.api_of(&types).await?;
            for object in api
                .list(&selected)
                .await
                .with_context(|| format!("cannot list objects of kind {kind}"))?
            {
                delete(&api, kind, &object.name_any()).await?;
            }
        }
        for name in names {
            delete(&crds, "CustomResourceDefinition", &name).await?;
        }
        if namespace {
            let api: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(self.client.clone());
            delete(&api, "Namespace", &installed.namespace).await?;
        }
        let api: Api<Provider> = Api::namespaced(self.client.clone(), &installed.namespace);
        delete(&api, "Provider", &label).await
    }

    /// Refuses to delete a definition while there are objects of its kind: they would go with it, without cleaning up.
    async fn check_unused(&self, crd: &CustomResourceDefinition) -> anyhow::Result<()> {
        let Some(version) = crd.spec.versions.iter().find(|version| version.storage) else {
            return Ok(());
        };
        let names = &crd.spec.names;
        let gvk = GroupVersionKind::gvk(&crd.spec.group, &version.name, &names.kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, &names.plural);
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        let found = api.list(&ListParams::default().limit(1)).await;
        let found = found.with_context(|| format!("cannot list the {}", names.plural))?;
        match found.items.first() {
            Some(object) => bail!(
                "the definition of {} is still in use, by {}/{} for one; delete these objects first",
                names.kind,
                object.namespace().unwrap_or_default(),
                object.name_any()
            ),
            None => Ok(()),
        }
    }

    /// Applies an object of any kind.
    async fn apply(&mut self, object: &Value) -> anyhow::Result<()> {
        let name = object
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let kind = object["kind"].as_str().unwrap_or_default();
        let api = self.api_of(object).await?;
        let params = PatchParams::apply(FIELD_MANAGER).force();
        api.patch(name, &params, &Patch::Apply(object))
            .await
            .with_context(|| format!("cannot apply {kind} {name}"))?;
        Ok(())
    }

    /// Where objects of this kind are, in the namespace of this one if they live in namespaces.
    async fn api_of(&mut self, object: &Value) -> anyhow::Result<Api<DynamicObject>> {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let key = (text("/apiVersion"), text("/kind"));
        if !self.known.contains_key(&key) {
            let (group, version) = key.0.split_once('/').unwrap_or(("", &key.0));
            let gvk = GroupVersionKind::gvk(group, version, &key.1);
            let (resource, capabilities): (_, ApiCapabilities) =
                kube::discovery::pinned_kind(&self.client, &gvk)
                    .await
                    .with_context(|| format!("the API server does not know {} {}", key.0, key.1))?;
            self.known
                .insert(key.clone(), (resource, capabilities.scope == Scope::Namespaced));
        }
        let (resource, namespaced) = &self.known[&key];
        Ok(match namespaced {
            true => Api::namespaced_with(self.client.clone(), &text("/metadata/namespace"), resource),
            false => Api::all_with(self.client.clone(), resource),
        })
    }

    async fn wait_established(&self, name: &str) -> anyhow::Result<()> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let established = async {
            loop {
                let found = api
                    .get(name)
                    .await
                    .with_context(|| format!("cannot get CustomResourceDefinition {name}"))?;
                let conditions = found
                    .status
                    .and_then(|status| status.conditions)
                    .unwrap_or_default();
                if conditions
                    .iter()
                    .any(|condition| condition.type_ == "Established" && condition.status == "True")
                {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(POLL / 4).await;
            }
        };
        match tokio::time::timeout(ESTABLISHED, established).await {
            Ok(result) => result,
            Err(_) => bail!(
                "CustomResourceDefinition {name} is not served after {} s",
                ESTABLISHED.as_secs()
            ),
        }
    }
}

/// Kinds of objects that providers consist of, in the order in which they go: who could refuse writes first.
const DELETED: [(&str, &str); 12] = [
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
    ),
    ("apps/v1", "Deployment"),
    ("policy/v1", "PodDisruptionBudget"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("v1", "ServiceAccount"),
];

/// Deletes an object; that it is gone is fine.
async fn delete<K>(api: &Api<K>, kind: &str, name: &str) -> anyhow::Result<()>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    match api.delete(name, &DeleteParams::background()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot delete {kind} {name}")),
    }
}

/// Whether a Deployment has rolled out as its spec says, and is available.
fn is_available(deployment: &Value, generation: Option<i64>) -> bool {
    let number = |pointer: &str| deployment.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let wanted = deployment
        .pointer("/spec/replicas")
        .and_then(Value::as_i64)
        .unwrap_or(1);
    generation.is_none_or(|generation| number("/status/observedGeneration") >= generation)
        && number("/status/updatedReplicas") >= wanted
        && number("/status/availableReplicas") >= wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_is_available_when_all_that_is_wanted_is() {
        let status = |observed: i64, updated: i64, available: i64| {
            json!({"spec": {"replicas": 2}, "status": {
                "observedGeneration": observed, "updatedReplicas": updated, "availableReplicas": available}})
        };
        for (deployment, expected) in [
            (status(2, 2, 2), true),
            (status(1, 2, 2), false),
            (status(2, 1, 2), false),
            (status(2, 2, 1), false),
            (
                json!({"spec": {"replicas": 0}, "status": {"observedGeneration": 2}}),
                true,
            ),
        ] {
            assert_eq!(is_available(&deployment, Some(2)), expected, "{deployment}");
        }
    }
}
