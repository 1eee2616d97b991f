//! The decision about one object, and the requests that carry it out.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::graph::{Graph, Id};
use crate::http::handle::internal;
use crate::server::Inner;
use crate::storage::{Object, OwnerReference, object_key};
use crate::verbs::{FOREGROUND, ORPHAN};

const AGENT: &str = "generic-garbage-collector";

/// How an owner is, seen from a dependent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Solid,
    /// Gone, or another object has its name.
    Absent,
    /// It waits for its dependents before it goes.
    Waiting,
}

/// Looks at one object and does what has to be done about it.
pub(super) async fn examine(inner: &Arc<Inner>, graph: &Graph, id: &Id) {
    let Some(object) = inner.store.get(&id.resource, &id.key).filter(|o| o.uid == id.uid) else {
        return;
    };
    if object.terminating {
        if object.has_finalizer(ORPHAN) {
            orphan(inner, graph, id, &object).await;
        } else if object.has_finalizer(FOREGROUND) {
            foreground(inner, graph, id, &object).await;
        }
        return;
    }
    if object.owners.is_empty() {
        return;
    }
    let states: Vec<State> = object
        .owners
        .iter()
        .map(|owner| state(inner, owner, &object))
        .collect();
    let has = |state: State| states.contains(&state);
    if has(State::Solid) {
        if has(State::Absent) || has(State::Waiting) {
            let solid = object
                .owners
                .iter()
                .zip(&states)
                .filter(|(_, s)| **s == State::Solid)
                .map(|(o, _)| &*o.uid);
            keep_owners(inner, id, &object, &solid.collect::<Vec<_>>()).await;
        }
        return;
    }
    // Dependents of an owner that waits are deleted in the foreground too, if somebody depends on them in turn.
    let policy = match has(State::Waiting) && !graph.dependents(&id.uid).is_empty() {
        true => "Foreground",
        false if object.has_finalizer(ORPHAN) => "Orphan",
        false if object.has_finalizer(FOREGROUND) => "Foreground",
        false => "Background",
    };
    delete(inner, id, &object, policy).await;
}

fn state(inner: &Inner, owner: &OwnerReference, dependent: &Object) -> State {
    let (group, version) = owner
        .api_version
        .split_once('/')
        .unwrap_or(("", &owner.api_version));
    let Some(resource) = inner.registry.load().by_kind(group, version, &owner.kind) else {
        // A kind that is not known may come back; nothing is deleted on a guess.
        return State::Solid;
    };
    let namespace = if resource.namespaced {
        &*dependent.namespace
    } else {
        ""
    };
    match inner
        .store
        .get(&resource.store, &object_key(namespace, &owner.name))
    {
        Some(found) if found.uid == owner.uid => match found.terminating && found.has_finalizer(FOREGROUND) {
            true => State::Waiting,
            false => State::Solid,
        },
        _ => State::Absent,
    }
}

fn path(inner: &Inner, id: &Id, object: &Object) -> Option<String> {
    let resource = inner.registry.load().by_name(&id.resource)?;
    let version = &resource.preferred()?.name;
    let base = match id.resource.group.is_empty() {
        true => format!("/api/{version}"),
        false => format!("/apis/{}/{version}", id.resource.group),
    };
    Some(match object.namespace.is_empty() {
        true => format!("{base}/{}/{}", id.resource.resource, object.name),
        false => format!(
            "{base}/namespaces/{}/{}/{}",
            object.namespace, id.resource.resource, object.name
        ),
    })
}

/// Requests carry the uid or version they are about: a failure means that the object changed, which brings it back here.
async fn send(inner: &Arc<Inner>, id: &Id, object: &Object, method: Method, body: Value) {
    if let Some(path) = path(inner, id, object)
        && let Err(error) = internal(inner, AGENT, method, &path, Some(body)).await
    {
        tracing::debug!(object = %path, error = %error.message, "garbage collection will look again");
    }
}

async fn delete(inner: &Arc<Inner>, id: &Id, object: &Object, policy: &str) {
    let preconditions = json!({"uid": &*object.uid, "resourceVersion": object.revision.to_string()});
    let body = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions, "propagationPolicy": policy});
    send(inner, id, object, Method::DELETE, body).await;
}

async fn patch_metadata(inner: &Arc<Inner>, id: &Id, object: &Object, field: &str, value: Value) {
    let body = json!({"metadata": {"uid": &*object.uid, "resourceVersion": object.revision.to_string(), field: value}});
    send(inner, id, object, Method::PATCH, body).await;
}

/// Reduces the owner references to those with a uid in `keep`.
async fn keep_owners(inner: &Arc<Inner>, id: &Id, object: &Object, keep: &[&str]) {
    let value = object.value();
    let owners = value["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten();
    let kept: Vec<Value> = owners
        .filter(|o| keep.contains(&o["uid"].as_str().unwrap_or_default()))
        .cloned()
        .collect();
    patch_metadata(inner, id, object, "ownerReferences", kept.into()).await;
}

async fn drop_finalizer(inner: &Arc<Inner>, id: &Id, object: &Object, finalizer: &str) {
    let kept: Vec<Value> = object
        .finalizers
        .iter()
        .filter(|f| &***f != finalizer)
        .map(|f| f.to_string().into())
        .collect();
    patch_metadata(inner, id, object, "finalizers", kept.into()).await;
}

/// Frees the dependents, then lets the owner go.
async fn orphan(inner: &Arc<Inner>, graph: &Graph, id: &Id, owner: &Object) {
    for dependent in graph.dependents(&id.uid) {
        if let Some(object) = inner
            .store
            .get(&dependent.resource, &dependent.key)
            .filter(|o| o.uid == dependent.uid)
        {
            let others: Vec<&str> = object
                .owners
                .iter()
                .map(|o| &*o.uid)
                .filter(|uid| *uid != &*owner.uid)
                .collect();
            keep_owners(inner, &dependent, &object, &others).await;
        }
    }
    drop_finalizer(inner, id, owner, ORPHAN).await;
}

/// Deletes the dependents; the owner goes when none is left that blocks it.
async fn foreground(inner: &Arc<Inner>, graph: &Graph, id: &Id, owner: &Object) {
    let mut blocked = false;
    for dependent in graph.dependents(&id.uid) {
        let Some(object) = inner
            .store
            .get(&dependent.resource, &dependent.key)
            .filter(|o| o.uid == dependent.uid)
        else {
            continue;
        };
        if !object.terminating {
            Box::pin(examine(inner, graph, &dependent)).await;
        }
        let blocks = |o: &Object| {
            o.owners
                .iter()
                .any(|r| r.uid == owner.uid && r.blocks_owner_deletion)
        };
        let left = inner
            .store
            .get(&dependent.resource, &dependent.key)
            .filter(|o| o.uid == dependent.uid);
        blocked |= left.is_some_and(|o| blocks(&o));
    }
    if !blocked {
        drop_finalizer(inner, id, owner, FOREGROUND).await;
    }
}
