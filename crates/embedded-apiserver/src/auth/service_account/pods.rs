//! Every pod has a service account: pods name one that is there, get its pull secrets, and mount a token of it.
//!
//! Only on servers that make tokens; elsewhere pods are left as they are.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::auth::controllers;
use crate::http::status::{ApiError, ApiResult};
use crate::server::namespaces;
use crate::storage::{GroupResource, Object, object_key};
use crate::verbs::Call;

const VOLUME: &str = "kube-api-access-";
const PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Pods that a kubelet runs by itself have no account.
const MIRROR: &str = "kubernetes.io/config.mirror";

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// Gives a new pod what follows from its account, or refuses it.
pub(crate) async fn admit(call: &Call<'_>, pod: &mut Value) -> ApiResult<()> {
    let inner = call.inner;
    if !call.served.resource.is("", "pods")
        || !call.request.subresource.is_empty()
        || inner.auth.issuer.is_none()
        || !pod["metadata"]["annotations"][MIRROR].is_null()
    {
        return Ok(());
    }
    let namespace = call.request.namespace.as_str();
    let found = inner.store.get(&namespaces(), namespace);
    if found.is_none_or(|namespace| namespace.terminating) {
        // That is refused later, for this reason.
        return Ok(());
    }
    let name = match text(&pod["spec"], "serviceAccountName") {
        "" => "default".to_owned(),
        name => name.to_owned(),
    };
    let account = account(call, pod, namespace, &name).await?.value();
    pod["spec"]["serviceAccountName"] = name.as_str().into();
    pod["spec"]["serviceAccount"] = name.into();
    let wanted = [&pod["spec"], &account]
        .iter()
        .find_map(|from| from["automountServiceAccountToken"].as_bool());
    if wanted.unwrap_or(true) {
        let suffix = || seams::name_suffix(&*inner.randomness, 5);
        mount(&mut pod["spec"], suffix);
    }
    let secrets = &account["imagePullSecrets"];
    let has_own = pod["spec"]["imagePullSecrets"]
        .as_array()
        .is_some_and(|list| !list.is_empty());
    if !has_own && secrets.as_array().is_some_and(|list| !list.is_empty()) {
        pod["spec"]["imagePullSecrets"] = secrets.clone();
    }
    Ok(())
}

async fn account(call: &Call<'_>, pod: &Value, namespace: &str, name: &str) -> ApiResult<Arc<Object>> {
    let get = || {
        let accounts = GroupResource::new("", "serviceaccounts");
        call.inner.store.get(&accounts, &object_key(namespace, name))
    };
    if get().is_none() && name == "default" {
        // The namespace is so young that its controller has not had its turn.
        controllers::furnish(call.inner, namespace).await;
    }
    get().ok_or_else(|| {
        let pod = match text(&pod["metadata"], "name") {
            "" => text(&pod["metadata"], "generateName"),
            name => name,
        };
        let why = format!(
            "error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found"
        );
        ApiError::forbidden(call.gr(), pod, &why)
    })
}

/// Mounts a token into each container that has nothing at its place.
fn mount(spec: &mut Value, suffix: impl FnOnce() -> String) {
    let volumes = spec["volumes"].as_array().into_iter().flatten();
    let present = volumes
        .map(|volume| text(volume, "name"))
        .find(|name| name.starts_with(VOLUME));
    let has_volume = present.is_some();
    let volume = present.map_or_else(|| format!("{VOLUME}{}", suffix()), str::to_owned);
    let entry = json!({"name": volume, "readOnly": true, "mountPath": PATH});
    let mut needed = false;
    for list in ["initContainers", "containers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let mounts = container["volumeMounts"].as_array();
            if mounts
                .into_iter()
                .flatten()
                .any(|mount| mount["mountPath"] == PATH)
            {
                continue;
            }
            needed = true;
            match container.get_mut("volumeMounts").and_then(Value::as_array_mut) {
                Some(mounts) => mounts.push(entry.clone()),
                None => container["volumeMounts"] = json!([entry]),
            }
        }
    }
    if has_volume || !needed {
        return;
    }
    let source = json!({"name": volume, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}});
    match spec.get_mut("volumes").and_then(Value::as_array_mut) {
        Some(volumes) => volumes.push(source),
        None => spec["volumes"] = json!([source]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_that_mount_something_there_are_left_alone() {
        let mut spec = json!({"containers": [{"name": "a"}, {"name": "b", "volumeMounts": [{"name": "x", "mountPath": PATH}]}]});
        mount(&mut spec, || "abcde".to_owned());
        assert_eq!(
            spec["containers"][0]["volumeMounts"][0]["name"],
            "kube-api-access-abcde"
        );
        assert_eq!(spec["containers"][1]["volumeMounts"].as_array().unwrap().len(), 1);
        assert_eq!(spec["volumes"].as_array().unwrap().len(), 1);
        let before = spec.clone();
        mount(&mut spec, || "other".to_owned());
        assert_eq!(spec, before);
    }
}
