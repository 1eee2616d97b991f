//! What kube-controller-manager does about identities, as far as clients see it: a ServiceAccount `default` and the root
//! certificate in every namespace, tokens in Secrets, aggregated roles, and certificates for those who ask.
//!
//! One task follows the store's changes and acts through ordinary requests. It never polls, and it runs only on servers
//! that were given a policy, keys or a certificate authority.

use std::pin::Pin;
use std::sync::{Arc, Weak};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use super::{rbac, service_account};
use crate::csr;
use crate::http::handle::internal;
use crate::server::{Inner, namespaces};
use crate::storage::{Change, ChangeKind, GroupResource, Object, object_key};

const ROOT_CA: &str = "kube-root-ca.crt";
const TOKEN_TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

fn core(resource: &str) -> GroupResource {
    GroupResource::new("", resource)
}

/// Starts the task, if there is anything to do on this server; it ends with the server. What is there already is looked
/// at first.
pub(crate) fn start(inner: &Arc<Inner>) {
    let auth = &inner.auth;
    if auth.issuer.is_none() && auth.authority.is_none() && !auth.is_enforced() {
        return;
    }
    let mut feed = inner.store.feed();
    let (weak, shutdown) = (Arc::downgrade(inner), inner.shutdown.clone());
    let mut waiting = Vec::new();
    for resource in [namespaces(), core("secrets"), csr::resource()] {
        waiting.extend(
            inner
                .store
                .list(&resource, "")
                .0
                .into_iter()
                .map(|object| (resource.clone(), object)),
        );
    }
    tokio::spawn(async move {
        for (resource, object) in waiting {
            let Some(inner) = weak.upgrade() else { return };
            look(&inner, &resource, &object).await;
        }
        loop {
            let change = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                change = feed.recv() => change,
            };
            let Some(change) = change else { return };
            if note(&weak, &change).await.is_none() {
                return;
            }
        }
    });
}

/// Reacts to one change; `None` when the server is gone.
async fn note(weak: &Weak<Inner>, change: &Change) -> Option<()> {
    let (resource, object) = (&change.resource, &change.object);
    let group = &*resource.group;
    if !matches!(group, "" | rbac::GROUP | csr::GROUP) {
        return Some(());
    }
    let inner = weak.upgrade()?;
    if group == rbac::GROUP {
        if &*resource.resource == "clusterroles" && inner.auth.is_enforced() {
            rbac::aggregate::sync(&inner).await;
        }
        return Some(());
    }
    match (change.kind, &*resource.resource) {
        (ChangeKind::Deleted, "serviceaccounts") => {
            delete_tokens(&inner, object).await;
            namespace(&inner, &object.namespace).await;
        }
        (ChangeKind::Deleted, "configmaps") | (ChangeKind::Modified, "configmaps") => {
            if &*object.name == ROOT_CA {
                namespace(&inner, &object.namespace).await;
            }
        }
        (ChangeKind::Deleted, _) => {}
        _ => look(&inner, resource, object).await,
    }
    Some(())
}

/// Does what an object that is there needs.
async fn look(inner: &Arc<Inner>, resource: &GroupResource, object: &Object) {
    match (&*resource.group, &*resource.resource) {
        ("", "namespaces") => namespace(inner, &object.name).await,
        ("", "secrets") => token(inner, object).await,
        (csr::GROUP, _) => csr::controller::look(inner, &object.name).await,
        _ => {}
    }
}

async fn create(inner: &Arc<Inner>, agent: &str, path: &str, body: Value) {
    // Somebody was faster, or the namespace is going; both are fine.
    if let Err(error) = internal(inner, agent, Method::POST, path, Some(body)).await {
        tracing::debug!(path, error = error.message, "an object was not created");
    }
}

/// As [`namespace`], for those who are themselves part of a write.
pub(crate) fn furnish<'a>(
    inner: &'a Arc<Inner>,
    name: &'a str,
) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
    Box::pin(namespace(inner, name))
}

/// Gives a namespace what every namespace has.
async fn namespace(inner: &Arc<Inner>, name: &str) {
    let living = inner
        .store
        .get(&namespaces(), name)
        .is_some_and(|namespace| !namespace.terminating);
    if !living {
        return;
    }
    let base = format!("/api/v1/namespaces/{name}");
    let accounts = inner.auth.issuer.is_some();
    if accounts
        && inner
            .store
            .get(&core("serviceaccounts"), &object_key(name, "default"))
            .is_none()
    {
        let body = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        create(
            inner,
            "service-account-controller",
            &format!("{base}/serviceaccounts"),
            body,
        )
        .await;
    }
    let Some(authority) = &inner.auth.authority else {
        return;
    };
    let data = json!({"ca.crt": authority.certificate_pem()});
    const AGENT: &str = "root-ca-cert-publisher";
    match inner.read(&core("configmaps"), &object_key(name, ROOT_CA)) {
        None => {
            let description = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints \
                               such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
                               distributions of Kubernetes clusters.";
            let body = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "data": data,
                "metadata": {"name": ROOT_CA, "annotations": {"kubernetes.io/description": description}},
            });
            create(inner, AGENT, &format!("{base}/configmaps"), body).await;
        }
        Some(stored) if stored["data"] != data => {
            let mut changed = stored;
            changed["data"] = data;
            if let Some(map) = changed.as_object_mut() {
                map.remove("binaryData");
            }
            let path = format!("{base}/configmaps/{ROOT_CA}");
            let _ = internal(inner, AGENT, Method::PUT, &path, Some(changed)).await;
        }
        Some(_) => {}
    }
}

/// The account that a Secret of tokens names, if that is there under the right uid.
fn account_of(inner: &Inner, secret: &Value) -> Option<Arc<Object>> {
    let metadata = &secret["metadata"];
    let text = |key: &str| metadata["annotations"][key].as_str().unwrap_or_default();
    let namespace = metadata["namespace"].as_str().unwrap_or_default();
    let account = inner.store.get(
        &core("serviceaccounts"),
        &object_key(namespace, text(ACCOUNT_NAME)),
    )?;
    let uid = text(ACCOUNT_UID);
    (uid.is_empty() || *uid == *account.uid).then_some(account)
}

const TOKENS: &str = "tokens-controller";

/// Fills a Secret of tokens, or deletes one whose account is not there.
async fn token(inner: &Arc<Inner>, object: &Object) {
    let Some(issuer) = &inner.auth.issuer else { return };
    let secret = object.value();
    if secret["type"] != TOKEN_TYPE || object.terminating {
        return;
    }
    let path = format!("/api/v1/namespaces/{}/secrets/{}", object.namespace, object.name);
    let Some(account) = account_of(inner, &secret) else {
        let options = json!({"preconditions": {"uid": &*object.uid}});
        let _ = internal(inner, TOKENS, Method::DELETE, &path, Some(options)).await;
        return;
    };
    let Some(changed) = filled(inner, issuer, &account, &secret) else {
        return;
    };
    // It carries the version that was looked at: a conflict means that a newer one comes by.
    let _ = internal(inner, TOKENS, Method::PUT, &path, Some(changed)).await;
}

/// A Secret of tokens with all that belongs there; `None` if nothing is missing.
fn filled(
    inner: &Inner,
    issuer: &service_account::Issuer,
    account: &Object,
    secret: &Value,
) -> Option<Value> {
    let present = |key: &str| secret["data"][key].as_str().is_some_and(|text| !text.is_empty());
    let root = inner
        .auth
        .authority
        .as_ref()
        .map(|ca| STANDARD.encode(ca.certificate_pem()));
    let root = root.filter(|root| secret["data"]["ca.crt"] != root.as_str());
    if present("token") && present("namespace") && root.is_none() {
        return None;
    }
    let mut changed = secret.clone();
    if !changed["data"].is_object() {
        changed["data"] = json!({});
    }
    if let Some(root) = root {
        changed["data"]["ca.crt"] = root.into();
    }
    if !present("namespace") {
        changed["data"]["namespace"] = STANDARD.encode(&*account.namespace).into();
    }
    if !present("token") {
        let name = secret["metadata"]["name"].as_str().unwrap_or_default();
        let claims = service_account::legacy_claims(account, name);
        match issuer.sign(claims, true) {
            Ok(token) => changed["data"]["token"] = STANDARD.encode(token).into(),
            Err(error) => tracing::warn!(%error, "a token could not be signed"),
        }
    }
    changed["metadata"]["annotations"][ACCOUNT_NAME] = (*account.name).into();
    changed["metadata"]["annotations"][ACCOUNT_UID] = (*account.uid).into();
    Some(changed)
}

/// Deletes the tokens of an account that is gone.
async fn delete_tokens(inner: &Arc<Inner>, account: &Object) {
    if inner.auth.issuer.is_none() {
        return;
    }
    for secret in inner.store.list(&core("secrets"), &account.namespace).0 {
        let value = secret.value();
        let annotations = &value["metadata"]["annotations"];
        if value["type"] == TOKEN_TYPE && annotations[ACCOUNT_NAME] == *account.name {
            token(inner, &secret).await;
        }
    }
}
