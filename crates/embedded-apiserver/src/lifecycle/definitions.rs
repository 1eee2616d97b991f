//! A custom resource definition that is being deleted: its objects go first.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use crate::http::handle::internal;
use crate::registry::crd;
use crate::server::{Inner, definitions};
use crate::storage::Object;
use crate::verbs::CLEANUP;

const AGENT: &str = "crd-finalizer";

/// Deletes the objects of a definition, or lets the definition go when there are none.
pub(super) async fn clean_up(inner: &Arc<Inner>, name: &str) {
    let Some(definition) = inner
        .store
        .get(&definitions(), name)
        .filter(|d| d.has_finalizer(CLEANUP))
    else {
        return;
    };
    let value = definition.value();
    let gr = crd::gr(&value);
    let resource = inner.registry.load().by_name(&gr);
    if let Some(resource) = resource
        && let Some(version) = resource.preferred()
    {
        let base = format!("/apis/{}/{}", gr.group, version.name);
        let waiting = |o: &&Arc<Object>| !o.terminating;
        for object in inner.store.list(&gr, "").0.iter().filter(waiting) {
            let path = match object.namespace.is_empty() {
                true => format!("{base}/{}/{}", gr.resource, object.name),
                false => format!(
                    "{base}/namespaces/{}/{}/{}",
                    object.namespace, gr.resource, object.name
                ),
            };
            // Gone already is as good.
            let _ = internal(inner, AGENT, Method::DELETE, &path, None).await;
        }
    }
    if inner.store.list(&gr, "").0.is_empty() {
        let kept: Vec<Value> = definition
            .finalizers
            .iter()
            .filter(|f| &***f != CLEANUP)
            .map(|f| f.to_string().into())
            .collect();
        let body = json!({"metadata": {"finalizers": kept}});
        let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
        let _ = internal(inner, AGENT, Method::PATCH, &path, Some(body)).await;
    }
}
