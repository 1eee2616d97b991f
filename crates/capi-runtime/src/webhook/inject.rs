//! Keeps the authority's certificate in the webhook configurations and in the definitions whose objects are converted,
//! also after somebody applied a manifest without it.

use std::sync::Arc;

use k8s_openapi::{
    ByteString,
    api::admissionregistration::v1::{
        MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{
    error::describe,
    external::Definition,
    key::{Key, Kind},
    manager::Shared,
    store::Stores,
};

/// A kind of webhook configuration.
pub(super) trait Configuration: Kind {
    /// Name and client configuration of each webhook.
    fn webhooks(&self) -> Vec<(&str, &WebhookClientConfig)>;
}

impl Configuration for MutatingWebhookConfiguration {
    fn webhooks(&self) -> Vec<(&str, &WebhookClientConfig)> {
        self.webhooks
            .iter()
            .flatten()
            .map(|webhook| (webhook.name.as_str(), &webhook.client_config))
            .collect()
    }
}

impl Configuration for ValidatingWebhookConfiguration {
    fn webhooks(&self) -> Vec<(&str, &WebhookClientConfig)> {
        self.webhooks
            .iter()
            .flatten()
            .map(|webhook| (webhook.name.as_str(), &webhook.client_config))
            .collect()
    }
}

/// Wakes `changed` whenever one of the named configurations changes.
pub(super) fn follow<C: Configuration>(stores: &Stores, names: &[String], changed: &Arc<Notify>) {
    if names.is_empty() {
        return;
    }
    let (names, changed) = (names.to_vec(), changed.clone());
    stores.declare::<C>().on_change(true, move |delta| {
        if names.contains(&delta.key.name) {
            changed.notify_one();
        }
    });
}

/// Brings the named configurations up to date; true if all are.
pub(super) async fn inject<C: Configuration>(shared: &Shared, names: &[String], bundle: &str) -> bool {
    if names.is_empty() {
        return true;
    }
    let store = shared.stores.declare::<C>();
    let mut complete = true;
    for name in names {
        let Some(found) = store.get(&Key::new("", name.clone())) else {
            continue;
        };
        let Some(patch) = patch(&found.webhooks(), bundle) else {
            continue;
        };
        let Ok(patch) = serde_json::from_value::<json_patch::Patch>(patch) else {
            continue;
        };
        let kind = C::kind(&());
        let api: Api<C> = Api::all(shared.client.clone());
        let result = api
            .patch(name, &PatchParams::default(), &Patch::Json::<()>(patch))
            .await;
        let outcome = if result.is_ok() { "success" } else { "error" };
        shared.metrics.wrote(&kind, "patch", outcome);
        match result {
            Ok(_) => tracing::info!(%kind, name, "certificate authority injected"),
            Err(error) => {
                complete = false;
                tracing::warn!(%kind, name, error = %describe(&error), "certificate authority cannot be injected yet");
            }
        }
    }
    complete
}

/// Wakes `changed` whenever one of the named definitions changes.
pub(super) fn follow_definitions(stores: &Stores, names: &[String], changed: &Arc<Notify>) {
    if names.is_empty() {
        return;
    }
    let (names, changed) = (names.to_vec(), changed.clone());
    stores.declare::<Definition>().on_change(true, move |delta| {
        if names.contains(&delta.key.name) {
            changed.notify_one();
        }
    });
}

/// Brings the named definitions up to date; true if all are. They are read one by one: the watch has their metadata only.
pub(super) async fn inject_definitions(shared: &Shared, names: &[String], bundle: &str) -> bool {
    let api: Api<CustomResourceDefinition> = Api::all(shared.client.clone());
    let mut complete = true;
    for name in names {
        let found = match api.get_opt(name).await {
            Ok(found) => found,
            Err(error) => {
                complete = false;
                tracing::warn!(name, error = %describe(&error), "a definition cannot be read");
                continue;
            }
        };
        let conversion = found.and_then(|found| found.spec.conversion);
        let client = conversion
            .and_then(|conversion| conversion.webhook)
            .and_then(|webhook| webhook.client_config);
        let wanted = ByteString(bundle.as_bytes().to_vec());
        if client.is_none_or(|client| client.ca_bundle.as_ref() == Some(&wanted)) {
            continue;
        }
        let patch =
            json!({ "spec": { "conversion": { "webhook": { "clientConfig": { "caBundle": wanted } } } } });
        let result = api
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        let outcome = if result.is_ok() { "success" } else { "error" };
        shared.metrics.wrote("CustomResourceDefinition", "patch", outcome);
        if let Err(error) = result {
            complete = false;
            tracing::warn!(name, error = %describe(&error), "certificate authority cannot be injected yet");
        }
    }
    complete
}

/// The JSON patch that gives every webhook the bundle; none if all have it. Each step tests the name, so that a
/// reordered list is not damaged.
fn patch(webhooks: &[(&str, &WebhookClientConfig)], bundle: &str) -> Option<Value> {
    let wanted = ByteString(bundle.as_bytes().to_vec());
    let mut steps = Vec::new();
    for (position, (name, client)) in webhooks.iter().enumerate() {
        if client.ca_bundle.as_ref() != Some(&wanted) {
            steps.push(json!({"op": "test", "path": format!("/webhooks/{position}/name"), "value": name}));
            let path = format!("/webhooks/{position}/clientConfig/caBundle");
            steps.push(json!({"op": "add", "path": path, "value": wanted}));
        }
    }
    (!steps.is_empty()).then_some(Value::Array(steps))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_webhooks_without_the_bundle_are_patched() {
        let without = WebhookClientConfig::default();
        let with = WebhookClientConfig {
            ca_bundle: Some(ByteString(b"ca".to_vec())),
            ..WebhookClientConfig::default()
        };
        assert_eq!(patch(&[("a", &with)], "ca"), None);
        assert_eq!(
            patch(&[("a", &with), ("b", &without)], "ca"),
            Some(json!([
                {"op": "test", "path": "/webhooks/1/name", "value": "b"},
                {"op": "add", "path": "/webhooks/1/clientConfig/caBundle", "value": "Y2E="},
            ]))
        );
    }
}
