//! The objects of a provider as they are installed: variables replaced, in the namespace and with the labels that clusterctl
//! gives them. Pure.

use std::collections::BTreeSet;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{
    envsubst::Template,
    repository::{ProviderId, Release},
};

/// On everything that is installed.
pub const INSTALLED: &str = "clusterctl.cluster.x-k8s.io";
/// Says which provider an object belongs to.
pub const PROVIDER: &str = "cluster.x-k8s.io/provider";

/// A provider ready to be installed.
#[derive(Clone, Debug)]
pub struct Components {
    /// Which provider.
    pub provider: ProviderId,
    /// Its version.
    pub version: String,
    /// Where it runs.
    pub namespace: String,
    /// Its objects in the order of installation.
    pub objects: Vec<Value>,
}

impl Components {
    /// The objects of a release, with the values of variables from `value`, in its own namespace or another.
    pub fn of(
        release: &Release,
        namespace: Option<&str>,
        value: &dyn Fn(&str) -> Option<String>,
    ) -> anyhow::Result<Self> {
        let what = || format!("components of {} {}", release.provider, release.version);
        let text = Template::parse(release.components()?)
            .and_then(|template| template.render(value))
            .with_context(what)?;
        let mut objects = documents(&text).with_context(what)?;
        let own = own_namespace(&objects).with_context(|| format!("{} have no Namespace", what()))?;
        if let Some(wanted) = namespace {
            for object in &mut objects {
                move_to(object, &own, wanted);
            }
        }
        for object in &mut objects {
            object["metadata"]["labels"][INSTALLED] = json!("");
            object["metadata"]["labels"][PROVIDER] = json!(release.provider.label());
        }
        objects.sort_by_key(rank);
        Ok(Self {
            provider: release.provider.clone(),
            version: release.version.clone(),
            namespace: namespace.map_or(own, str::to_owned),
            objects,
        })
    }

    /// The images of its containers.
    pub fn images(&self) -> BTreeSet<String> {
        let pods = self
            .objects
            .iter()
            .filter_map(|object| object.pointer("/spec/template/spec"));
        let containers =
            pods.flat_map(|pod| ["containers", "initContainers"].map(|list| pod[list].as_array()));
        containers
            .flatten()
            .flatten()
            .filter_map(|container| container["image"].as_str())
            .map(str::to_owned)
            .collect()
    }

    /// Names of definitions that break the rule `<plural>.<group>` by which references are followed, unless they say
    /// that they know.
    pub fn misnamed_definitions(&self) -> Vec<String> {
        let definitions = self
            .objects
            .iter()
            .filter(|object| object["kind"] == "CustomResourceDefinition");
        let text = |object: &Value, pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        definitions
            .filter(|object| {
                let excused =
                    "/metadata/annotations/clusterctl.cluster.x-k8s.io~1skip-crd-name-preflight-check";
                let expected = capi_api::contract::crd_name(
                    &text(object, "/spec/group"),
                    &text(object, "/spec/names/kind"),
                );
                text(object, "/metadata/name") != expected && object.pointer(excused).is_none()
            })
            .map(|object| text(object, "/metadata/name"))
            .collect()
    }
}

/// The documents of a YAML text that are not empty.
pub fn documents(text: &str) -> anyhow::Result<Vec<Value>> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)?;
    Ok(documents
        .into_iter()
        .filter(|document| !document.is_null())
        .collect())
}

/// Objects as YAML documents.
pub fn to_yaml(objects: &[Value]) -> anyhow::Result<String> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: true };
    let texts: Result<Vec<String>, _> = objects
        .iter()
        .map(|object| serde_saphyr::to_string_with_options(object, options.clone()))
        .collect();
    Ok(texts.context("cannot write the objects as YAML")?.join("---\n"))
}

fn own_namespace(objects: &[Value]) -> Option<String> {
    let namespace = objects.iter().find(|object| object["kind"] == "Namespace");
    let name = namespace.and_then(|object| object.pointer("/metadata/name"));
    name.and_then(Value::as_str).map(str::to_owned)
}

/// What others need comes first; webhooks come last, so that nothing is refused meanwhile.
fn rank(object: &Value) -> u8 {
    match object["kind"].as_str().unwrap_or_default() {
        "Namespace" => 0,
        "CustomResourceDefinition" => 1,
        "ServiceAccount" => 2,
        "ClusterRole" | "Role" => 3,
        "ClusterRoleBinding" | "RoleBinding" => 4,
        "Deployment" => 6,
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => 7,
        _ => 5,
    }
}

/// Puts an object into another namespace, and everything in it that names the namespace.
fn move_to(object: &mut Value, own: &str, wanted: &str) {
    let replace = |place: Option<&mut Value>| {
        if let Some(place) = place.filter(|place| **place == own) {
            *place = json!(wanted);
        }
    };
    match object["kind"].as_str().unwrap_or_default() {
        "Namespace" => replace(object.pointer_mut("/metadata/name")),
        "CustomResourceDefinition" => {
            replace(object.pointer_mut("/spec/conversion/webhook/clientConfig/service/namespace"));
        }
        "ClusterRoleBinding" | "RoleBinding" => {
            for subject in object["subjects"].as_array_mut().into_iter().flatten() {
                replace(subject.pointer_mut("/namespace"));
            }
        }
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
            for webhook in object["webhooks"].as_array_mut().into_iter().flatten() {
                replace(webhook.pointer_mut("/clientConfig/service/namespace"));
            }
        }
        _ => {}
    }
    // Every namespaced object of a provider lives where it runs.
    if object.pointer("/metadata/namespace").is_some() {
        object["metadata"]["namespace"] = json!(wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_moves_with_the_namespace() {
        let mut objects = vec![
            json!({"kind": "Namespace", "metadata": {"name": "a"}}),
            json!({"kind": "Deployment", "metadata": {"namespace": "a"}}),
            json!({"kind": "ClusterRoleBinding", "metadata": {}, "subjects": [{"namespace": "a"}, {"namespace": "other"}]}),
            json!({"kind": "MutatingWebhookConfiguration", "metadata": {}, "webhooks": [{"clientConfig": {"service": {"namespace": "a"}}}]}),
            json!({"kind": "CustomResourceDefinition", "metadata": {}, "spec": {"conversion": {"webhook": {"clientConfig": {"service": {"namespace": "a"}}}}}}),
        ];
        for object in &mut objects {
            move_to(object, "a", "b");
        }
        let text = serde_json::to_string(&objects).unwrap();
        assert!(!text.contains(r#""a""#) && text.contains("other"), "{text}");
    }

    #[test]
    fn what_others_need_is_installed_first() {
        let mut kinds = [
            "ValidatingWebhookConfiguration",
            "Deployment",
            "Service",
            "Role",
            "CustomResourceDefinition",
            "Namespace",
        ];
        kinds.sort_by_key(|kind| rank(&json!({"kind": kind})));
        assert_eq!(kinds[..3], ["Namespace", "CustomResourceDefinition", "Role"]);
        assert_eq!(kinds[4..], ["Deployment", "ValidatingWebhookConfiguration"]);
    }
}
