//! Cluster roles that are made up of others, which they select by label.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::rules::{self, Rule};
use super::{GROUP, Policy};
use crate::http::handle::internal;
use crate::selector::LabelSelector;
use crate::server::Inner;

const AGENT: &str = "clusterrole-aggregation-controller";

/// The rules that a role shall have, if it aggregates; `roles` are all cluster roles by name.
fn wanted(role: &Value, roles: &[Value]) -> Option<Vec<Rule>> {
    let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array()?;
    let mut all: Vec<Rule> = Vec::new();
    for selector in selectors {
        let selector = LabelSelector::from_object(selector).ok()?;
        let chosen = roles.iter().filter(|other| {
            other["metadata"]["name"] != role["metadata"]["name"]
                && selector.matches(other["metadata"]["labels"].as_object())
        });
        for rule in chosen.flat_map(rules::of_role) {
            if !all.contains(&rule) {
                all.push(rule);
            }
        }
    }
    Some(all)
}

/// Brings all aggregated roles up to date; roles that aggregate aggregated ones need a second round, which the change of
/// the first one causes.
pub(crate) async fn sync(inner: &Arc<Inner>) {
    let [resource, ..] = Policy::resources();
    let roles: Vec<Value> = inner
        .store
        .list(&resource, "")
        .0
        .iter()
        .map(|object| object.value())
        .collect();
    for role in &roles {
        let Some(wanted) = wanted(role, &roles) else {
            continue;
        };
        if wanted == rules::of_role(role) {
            continue;
        }
        let name = role["metadata"]["name"].as_str().unwrap_or_default();
        let rules: Vec<Value> = wanted.iter().map(Rule::value).collect();
        let body = json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules,
        });
        let path = format!("/apis/{GROUP}/v1/clusterroles/{name}?fieldManager={AGENT}&force=true");
        // The change that was in the way brings us back.
        if let Err(error) = internal(inner, AGENT, Method::PATCH, &path, Some(body)).await {
            tracing::debug!(
                role = name,
                error = error.message,
                "a cluster role could not be aggregated"
            );
        }
    }
}
