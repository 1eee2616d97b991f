//! A namespace that is being deleted: everything in it goes, then its own finalizer.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use crate::http::handle::internal;
use crate::server::{Inner, namespaces};

const AGENT: &str = "namespace-controller";

fn condition(kind: &str, problem: bool, reason: &str, message: String, now: &str) -> Value {
    json!({
        "type": kind, "status": if problem { "True" } else { "False" }, "lastTransitionTime": now,
        "reason": reason, "message": message,
    })
}

/// Deletes what is in the namespace, or finishes the deletion when nothing is left.
pub(super) async fn clean_up(inner: &Arc<Inner>, name: &str) {
    let registry = inner.registry.load_full();
    let mut remaining: Vec<(String, usize)> = Vec::new();
    let mut finalizers = std::collections::BTreeMap::<String, usize>::new();
    // Both groups of events show one store; it is emptied once.
    for resource in registry.all().filter(|r| r.namespaced && r.gr == r.store) {
        let Some(version) = resource.preferred() else {
            continue;
        };
        let path = match resource.gr.group.is_empty() {
            true => format!("/api/{}/namespaces/{name}/{}", version.name, resource.gr.resource),
            false => format!(
                "/apis/{}/{}/namespaces/{name}/{}",
                resource.gr.group, version.name, resource.gr.resource
            ),
        };
        let objects = inner.store.list(&resource.store, name).0;
        if objects.iter().any(|object| !object.terminating)
            && internal(inner, AGENT, Method::DELETE, &path, None).await.is_err()
        {
            continue;
        }
        let left = inner.store.list(&resource.store, name).0;
        if !left.is_empty() {
            remaining.push((resource.gr.to_string(), left.len()));
        }
        for finalizer in left.iter().flat_map(|object| object.finalizers.iter()) {
            *finalizers.entry(finalizer.to_string()).or_default() += 1;
        }
    }
    let Some(mut namespace) = inner.read(&namespaces(), name) else {
        return;
    };
    if remaining.is_empty() {
        namespace["spec"]["finalizers"] = json!([]);
        if let Some(metadata) = namespace["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
        // A failure means that the namespace changed or is gone; its next change brings us back.
        let _ = internal(
            inner,
            AGENT,
            Method::PUT,
            &format!("/api/v1/namespaces/{name}/finalize"),
            Some(namespace),
        )
        .await;
        return;
    }
    report(inner, name, &namespace, &remaining, &finalizers).await;
}

/// Tells in the namespace's conditions what is still there.
async fn report(
    inner: &Arc<Inner>,
    name: &str,
    namespace: &Value,
    remaining: &[(String, usize)],
    finalizers: &std::collections::BTreeMap<String, usize>,
) {
    let now = inner.now_text();
    let list = |items: Vec<String>| items.join(", ");
    let content = list(
        remaining
            .iter()
            .map(|(gr, count)| format!("{gr} has {count} resource instances"))
            .collect(),
    );
    let held = list(
        finalizers
            .iter()
            .map(|(finalizer, count)| format!("{finalizer} in {count} resource instances"))
            .collect(),
    );
    let mut conditions = vec![
        condition(
            "NamespaceDeletionDiscoveryFailure",
            false,
            "ResourcesDiscovered",
            "All resources successfully discovered".into(),
            &now,
        ),
        condition(
            "NamespaceDeletionGroupVersionParsingFailure",
            false,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".into(),
            &now,
        ),
        condition(
            "NamespaceDeletionContentFailure",
            false,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization".into(),
            &now,
        ),
        condition(
            "NamespaceContentRemaining",
            true,
            "SomeResourcesRemain",
            format!("Some resources are remaining: {content}"),
            &now,
        ),
    ];
    conditions.push(match held.is_empty() {
        true => condition(
            "NamespaceFinalizersRemaining",
            false,
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished".into(),
            &now,
        ),
        false => condition(
            "NamespaceFinalizersRemaining",
            true,
            "SomeFinalizersRemain",
            format!("Some content in the namespace has finalizers remaining: {held}"),
            &now,
        ),
    });
    let old = namespace["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    for condition in &mut conditions {
        let before = old
            .iter()
            .find(|c| c["type"] == condition["type"] && c["status"] == condition["status"]);
        if let Some(before) = before {
            condition["lastTransitionTime"] = before["lastTransitionTime"].clone();
        }
    }
    if old != conditions {
        let body = json!({"status": {"conditions": conditions}});
        let _ = internal(
            inner,
            AGENT,
            Method::PATCH,
            &format!("/api/v1/namespaces/{name}/status"),
            Some(body),
        )
        .await;
    }
}
