//! The roles and bindings that every server with a policy starts with, from a table that kube-apiserver's own fill.
//!
//! They are put right again at each start: what is missing is added, what was added by others stays. An annotation
//! (`autoupdate: "false"`) leaves an object alone.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::rules::{self, Rule};
use super::{GROUP, aggregate};
use crate::http::handle::internal;
use crate::http::status::ApiResult;
use crate::server::Inner;
use crate::storage::{GroupResource, object_key};

const TABLE: &str = include_str!("policy.table");
const AGENT: &str = "kube-apiserver";
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const AGGREGATE: &str = "rbac.authorization.k8s.io/aggregate-to-";

fn list(text: &str) -> Vec<String> {
    text.split(',')
        .map(|entry| entry.trim_start_matches('_').to_owned())
        .collect()
}

fn head(line: &str) -> Value {
    let mut words = line.split(' ');
    let (kind, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut object = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": kind,
        "metadata": {
            "annotations": {AUTOUPDATE: "true"}, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}, "name": name,
        },
    });
    if let Some((namespace, name)) = name.split_once('/') {
        object["metadata"]["namespace"] = namespace.into();
        object["metadata"]["name"] = name.into();
    }
    for role in words {
        object["metadata"]["labels"][format!("{AGGREGATE}{role}")] = "true".into();
    }
    object
}

fn push(object: &mut Value, field: &str, entry: Value) {
    match object[field].as_array_mut() {
        Some(list) => list.push(entry),
        None => object[field] = json!([entry]),
    }
}

fn subject(text: &str) -> Value {
    let (kind, name) = text.split_once('/').unwrap_or_default();
    match (kind, name.split_once('/')) {
        ("ServiceAccount", Some((namespace, name))) => {
            json!({"kind": kind, "name": name, "namespace": namespace})
        }
        _ => json!({"apiGroup": GROUP, "kind": kind, "name": name}),
    }
}

fn line(object: &mut Value, line: &str) {
    match line.split(' ').collect::<Vec<_>>()[..] {
        ["+", role] => {
            let selector = json!({"matchLabels": {format!("{AGGREGATE}{role}"): "true"}});
            push(&mut object["aggregationRule"], "clusterRoleSelectors", selector);
        }
        ["=", role] => {
            let (kind, name) = role.split_once('/').unwrap_or_default();
            object["roleRef"] = json!({"apiGroup": GROUP, "kind": kind, "name": name});
        }
        ["<", who] => push(object, "subjects", subject(who)),
        ["url", verbs, paths] => {
            let rule = Rule {
                verbs: list(verbs),
                urls: list(paths),
                ..Rule::default()
            };
            push(object, "rules", rule.value());
        }
        [verbs, groups, resources, ref names @ ..] => {
            let rule = Rule {
                verbs: list(verbs),
                groups: list(groups),
                resources: list(resources),
                names: names.first().map(|names| list(names)).unwrap_or_default(),
                ..Rule::default()
            };
            push(object, "rules", rule.value());
        }
        _ => {}
    }
}

/// The objects of the table.
fn objects() -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    for text in TABLE
        .lines()
        .filter(|text| !text.starts_with('#') && !text.is_empty())
    {
        match (text.strip_prefix(' '), all.last_mut()) {
            (Some(rest), Some(object)) => line(object, rest),
            _ => all.push(head(text)),
        }
    }
    all
}

/// A stored object with what it lacks; `None` if it lacks nothing or wants to be left alone.
fn completed(stored: &Value, wanted: &Value) -> Option<Value> {
    let mut new = stored.clone();
    if stored["metadata"]["annotations"][AUTOUPDATE] == "false" || stored["roleRef"] != wanted["roleRef"] {
        return None;
    }
    for field in ["labels", "annotations"] {
        for (key, value) in wanted["metadata"][field].as_object().into_iter().flatten() {
            if stored["metadata"][field].get(key).is_none() {
                new["metadata"][field][key.as_str()] = value.clone();
            }
        }
    }
    if wanted["aggregationRule"].is_null() {
        for rule in rules::missing(&rules::of_role(stored), &rules::of_role(wanted)) {
            push(&mut new, "rules", rule.value());
        }
    } else {
        new["aggregationRule"] = wanted["aggregationRule"].clone();
    }
    for subject in wanted["subjects"].as_array().into_iter().flatten() {
        if !stored["subjects"]
            .as_array()
            .is_some_and(|all| all.contains(subject))
        {
            push(&mut new, "subjects", subject.clone());
        }
    }
    (new != *stored).then_some(new)
}

/// Creates what is missing, and fills in the aggregated roles.
pub(crate) async fn create(inner: &Arc<Inner>) -> ApiResult<()> {
    for wanted in objects() {
        let text = |field: &str| wanted["metadata"][field].as_str().unwrap_or_default();
        let (namespace, name) = (text("namespace"), text("name"));
        let plural = format!("{}s", wanted["kind"].as_str().unwrap_or_default().to_lowercase());
        let folder = match namespace {
            "" => format!("/apis/{GROUP}/v1/{plural}"),
            namespace => format!("/apis/{GROUP}/v1/namespaces/{namespace}/{plural}"),
        };
        match inner.read(&GroupResource::new(GROUP, &plural), &object_key(namespace, name)) {
            None => internal(inner, AGENT, Method::POST, &folder, Some(wanted)).await?,
            Some(stored) => {
                if let Some(new) = completed(&stored, &wanted) {
                    internal(inner, AGENT, Method::PUT, &format!("{folder}/{name}"), Some(new)).await?;
                }
            }
        }
    }
    // Roles may aggregate aggregated ones: three levels (view, edit, admin) are complete after as many rounds.
    for _ in 0..3 {
        aggregate::sync(inner).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_whole() {
        let all = objects();
        let of = |kind: &str| all.iter().filter(|object| object["kind"] == kind).count();
        assert_eq!(
            [
                of("ClusterRole"),
                of("ClusterRoleBinding"),
                of("Role"),
                of("RoleBinding")
            ],
            [69, 50, 7, 7]
        );
        let named = |name: &str| {
            all.iter()
                .find(|object| object["metadata"]["name"] == name)
                .unwrap()
        };
        assert_eq!(
            named("cluster-admin")["rules"],
            json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}])
        );
        assert!(named("admin")["aggregationRule"].is_object() && named("admin")["rules"].is_null());
        assert!(
            all.iter()
                .filter(|o| o["kind"].as_str().unwrap().ends_with("Binding"))
                .all(|o| o["roleRef"].is_object())
        );
    }

    #[test]
    fn only_what_is_lacking_is_added() {
        let wanted = objects()
            .into_iter()
            .find(|o| o["metadata"]["name"] == "system:discovery" && o["kind"] == "ClusterRole")
            .unwrap();
        assert_eq!(completed(&wanted, &wanted), None);
        let mut less = wanted.clone();
        less["rules"] = json!([{"verbs": ["list"], "apiGroups": ["x"], "resources": ["y"]}]);
        let more = completed(&less, &wanted).unwrap();
        assert!(rules::missing(&rules::of_role(&more), &rules::of_role(&wanted)).is_empty());
        assert_eq!(more["rules"][0], less["rules"][0]);
        less["metadata"]["annotations"][AUTOUPDATE] = "false".into();
        assert_eq!(completed(&less, &wanted), None);
    }
}
