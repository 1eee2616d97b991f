//! Applies a manifest of any kinds, as `kubectl apply --server-side` does.

use anyhow::{Context as _, anyhow, bail};
use capi_runtime::describe;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::{DynamicObject, GroupVersionKind},
    discovery::{ApiCapabilities, Scope},
};
use serde_json::Value;

use crate::quickstart::Subject;

/// The documents of a manifest.
pub fn parse(text: &str, origin: &str) -> anyhow::Result<Vec<DynamicObject>> {
    // `0644` is an octal number to every Kubernetes tool.
    let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| anyhow!("{origin} is not valid YAML: {error}"))?;
    let mut objects = Vec::new();
    for (i, document) in documents.into_iter().enumerate().filter(|(_, d)| !d.is_null()) {
        let object: DynamicObject = serde_json::from_value(document)
            .with_context(|| format!("{origin}: document {} is not a Kubernetes object", i + 1))?;
        if object.types.is_none() || object.metadata.name.is_none() {
            bail!(
                "{origin}: document {} lacks apiVersion, kind or metadata.name",
                i + 1
            );
        }
        objects.push(object);
    }
    if objects.is_empty() {
        bail!("{origin} holds no objects");
    }
    Ok(objects)
}

/// Whether there is a Cluster among them.
pub fn has_cluster(objects: &[DynamicObject]) -> bool {
    let mut kinds = objects.iter().filter_map(|object| object.types.as_ref());
    kinds.any(|types| types.kind == "Cluster")
}

/// Applies the objects in their order and returns the Clusters among them.
pub async fn apply(client: &Client, objects: Vec<DynamicObject>) -> anyhow::Result<Vec<Subject>> {
    let mut clusters = Vec::new();
    for object in objects {
        let name = object.metadata.name.clone().unwrap_or_default();
        let kind = object.types.as_ref().map(|t| t.kind.clone()).unwrap_or_default();
        let namespace = apply_one(client, object)
            .await
            .with_context(|| format!("cannot apply {kind} {name}"))?;
        if kind == "Cluster" {
            clusters.push(Subject { namespace, name });
        }
    }
    Ok(clusters)
}

async fn apply_one(client: &Client, mut object: DynamicObject) -> anyhow::Result<String> {
    let types = object.types.clone().unwrap_or_default();
    let gvk = GroupVersionKind::try_from(&types).context("its apiVersion or kind is malformed")?;
    let (resource, capabilities): (_, ApiCapabilities) = kube::discovery::pinned_kind(client, &gvk)
        .await
        .map_err(|error| match error {
            kube::Error::Discovery(_) => anyhow!("no provider serves {}.{}", gvk.kind, gvk.api_version()),
            error => anyhow!(describe(&error)),
        })?;
    let namespace = object
        .metadata
        .namespace
        .clone()
        .unwrap_or_else(|| "default".to_owned());
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Namespaced => {
            object.metadata.namespace = Some(namespace.clone());
            Api::namespaced_with(client.clone(), &namespace, &resource)
        }
        Scope::Cluster => Api::all_with(client.clone(), &resource),
    };
    let name = object.metadata.name.clone().unwrap_or_default();
    let params = PatchParams::apply("capictl").force();
    let applied = api.patch(&name, &params, &Patch::Apply(&object)).await;
    applied.map_err(|error| anyhow!(describe(&error)))?;
    Ok(namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_in_order_and_empty_ones_skipped() {
        let text = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: b}\n";
        let names: Vec<_> = parse(text, "x")
            .unwrap()
            .into_iter()
            .map(|o| o.metadata.name.unwrap())
            .collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn errors_name_the_file_and_the_document() {
        for (text, expected) in [
            ("a: b: c", "x.yaml is not valid YAML: "),
            ("a: [b\n c", "x.yaml is not valid YAML: "),
            ("kind: Pod", "x.yaml: document 1"),
            ("", "x.yaml holds no objects"),
            (
                "apiVersion: v1\nkind: Pod\nmetadata: {}",
                "x.yaml: document 1 lacks",
            ),
        ] {
            let error = format!("{:#}", parse(text, "x.yaml").unwrap_err());
            assert!(error.starts_with(expected) && !error.contains('\n'), "{error}");
        }
    }
}
