//! Defaults of pods and of the templates of pods.

use serde_json::{Value, json};

use super::path::{each, present, set, set_number, set_text};

/// Defaults of a pod.
pub(super) fn default_pod(pod: &mut Value) {
    let spec = &mut pod["spec"];
    default_spec(spec);
    for list in ["initContainers", "containers"] {
        for container in each(spec, list) {
            let limits = container["resources"]["limits"].as_object().cloned();
            for (name, limit) in limits.into_iter().flatten() {
                set(&mut container["resources"]["requests"], &name, limit);
            }
        }
    }
    set(spec, "enableServiceLinks", true);
    tolerate(spec);
    set(spec, "priority", 0);
    set(spec, "preemptionPolicy", "PreemptLowerPriority");
    let account = spec["serviceAccountName"].as_str().unwrap_or_default();
    let account = if account.is_empty() {
        spec["serviceAccount"].as_str().unwrap_or("default").to_owned()
    } else {
        account.to_owned()
    };
    set_text(spec, "serviceAccountName", &account);
    spec["serviceAccount"] = account.into();
}

/// The tolerations that admission gives to every pod.
fn tolerate(spec: &mut Value) {
    let mut tolerations = spec["tolerations"].as_array().cloned().unwrap_or_default();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let covers = |t: &Value| {
            let effect = t["effect"].as_str().unwrap_or_default();
            (t["key"] == key || t["key"].as_str().unwrap_or_default().is_empty())
                && matches!(effect, "" | "NoExecute")
        };
        if !tolerations.iter().any(covers) {
            tolerations.push(
                json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}),
            );
        }
    }
    spec["tolerations"] = tolerations.into();
}

/// Defaults of a pod template's or a pod's `spec`.
pub(super) fn default_spec(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    set_text(spec, "dnsPolicy", "ClusterFirst");
    set_text(spec, "restartPolicy", "Always");
    set(spec, "securityContext", json!({}));
    set(spec, "terminationGracePeriodSeconds", 30);
    set_text(spec, "schedulerName", "default-scheduler");
    let host = spec["hostNetwork"] == true;
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in each(spec, list) {
            default_container(container, host);
        }
    }
    for volume in each(spec, "volumes") {
        default_volume(volume);
    }
    // Both names of the account are always the same.
    if let Some(account) = spec.get("serviceAccountName").cloned() {
        set(spec, "serviceAccount", account);
    }
}

/// The tag of an image; `latest` where there is none.
fn is_latest(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or_default();
    match (name.contains('@'), name.rsplit_once(':')) {
        (true, _) => false,
        (false, Some((_, tag))) => tag == "latest",
        (false, None) => true,
    }
}

fn default_container(container: &mut Value, host_network: bool) {
    let latest = is_latest(container["image"].as_str().unwrap_or_default());
    set_text(
        container,
        "imagePullPolicy",
        if latest { "Always" } else { "IfNotPresent" },
    );
    set_text(container, "terminationMessagePath", "/dev/termination-log");
    set_text(container, "terminationMessagePolicy", "File");
    set(container, "resources", json!({}));
    for port in each(container, "ports") {
        set_text(port, "protocol", "TCP");
        if host_network && let Some(number) = port["containerPort"].as_i64() {
            set_number(port, "hostPort", number);
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = present(container, probe) {
            set_number(probe, "timeoutSeconds", 1);
            set_number(probe, "periodSeconds", 10);
            set_number(probe, "successThreshold", 1);
            set_number(probe, "failureThreshold", 3);
            default_handler(probe);
            if let Some(grpc) = present(probe, "grpc") {
                set(grpc, "service", "");
            }
        }
    }
    if let Some(lifecycle) = present(container, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(hook) = present(lifecycle, hook) {
                default_handler(hook);
            }
        }
    }
    for variable in each(container, "env") {
        if let Some(field) = present(&mut variable["valueFrom"], "fieldRef") {
            set_text(field, "apiVersion", "v1");
        }
        if variable["valueFrom"].is_null()
            && let Some(map) = variable.as_object_mut()
        {
            map.remove("valueFrom");
        }
    }
}

fn default_handler(handler: &mut Value) {
    if let Some(get) = present(handler, "httpGet") {
        set_text(get, "path", "/");
        set_text(get, "scheme", "HTTP");
    }
}

/// The permissions of files in volumes: 0644.
const MODE: i64 = 0o644;

fn default_volume(volume: &mut Value) {
    let bare = volume
        .as_object()
        .is_some_and(|map| map.keys().all(|key| key == "name"));
    if bare {
        volume["emptyDir"] = json!({});
    }
    for kind in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = present(volume, kind) {
            set(source, "defaultMode", MODE);
        }
    }
    if let Some(source) = present(volume, "hostPath") {
        set(source, "type", "");
    }
    if let Some(api) = present(volume, "downwardAPI") {
        default_items(api);
    }
    if let Some(projected) = present(volume, "projected") {
        for source in each(projected, "sources") {
            if let Some(token) = present(source, "serviceAccountToken") {
                set(token, "expirationSeconds", 3600);
            }
            if let Some(api) = present(source, "downwardAPI") {
                default_items(api);
            }
        }
    }
}

fn default_items(source: &mut Value) {
    for item in each(source, "items") {
        if let Some(field) = present(item, "fieldRef") {
            set_text(field, "apiVersion", "v1");
        }
    }
}

/// The service class that resources give a pod.
pub(crate) fn quality(spec: &Value) -> &'static str {
    let containers = ["initContainers", "containers"]
        .iter()
        .flat_map(|list| spec[*list].as_array().into_iter().flatten());
    let (mut any, mut all) = (false, true);
    for container in containers {
        let resources = &container["resources"];
        let of = |kind: &str, name: &str| resources[kind].get(name).cloned();
        for name in ["cpu", "memory"] {
            let (request, limit) = (of("requests", name), of("limits", name));
            any |= request.is_some() || limit.is_some();
            all &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
