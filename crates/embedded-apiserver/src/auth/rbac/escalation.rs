//! Nobody grants what they do not have: checks on writes of roles and bindings.
//!
//! Who may `escalate` a role or `bind` it is excepted, and so is `system:masters`.

use serde_json::Value;

use super::{GROUP, RoleRef, rules};
use crate::auth::attributes::Attributes;
use crate::auth::user::MASTERS;
use crate::auth::{aggregate_text, quote, quote_list};
use crate::faults::{Fault, broken};
use crate::http::status::{ApiError, ApiResult};
use crate::verbs::Call;
use rules::Rule;

/// Whether a write changes nothing but what the garbage collector needs to change.
fn only_collects(old: &Value, new: &Value) -> bool {
    let bare = |value: &Value| {
        let mut value = value.clone();
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in ["ownerReferences", "finalizers", "managedFields", "selfLink"] {
                metadata.remove(field);
            }
        }
        value
    };
    bare(old) == bare(new)
}

fn allowed(call: &Call<'_>, verb: &str, resource: &str, namespace: &str, name: &str) -> bool {
    let asked = Attributes::on(&call.request.user, verb, GROUP, resource);
    call.inner.auth.allows(&asked.within(namespace).named(name))
}

/// Whether the user holds all of `wanted` in the namespace of the request.
fn confirm(call: &Call<'_>, wanted: &[Rule]) -> Result<(), String> {
    let user = &call.request.user;
    let (owned, errors) = call
        .inner
        .auth
        .rules_of(user, &call.request.namespace, Some(&call.gr().resource));
    let missing = rules::missing(&owned, wanted);
    if missing.is_empty() || broken(Fault::Escalation) {
        return Ok(());
    }
    let mut message = format!(
        "user {} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        quote(&user.name),
        quote_list(&user.groups),
        rules::lines(missing).join("\n")
    );
    if !errors.is_empty() {
        message.push_str(&format!("; resolution errors: [{}]", aggregate_text(&errors)));
    }
    Err(message)
}

fn everything() -> [Rule; 2] {
    let all = || vec!["*".to_owned()];
    [
        Rule {
            verbs: all(),
            groups: all(),
            resources: all(),
            ..Rule::default()
        },
        Rule {
            verbs: all(),
            urls: all(),
            ..Rule::default()
        },
    ]
}

fn aggregates(role: &Value) -> bool {
    let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array();
    selectors.is_some_and(|selectors| !selectors.is_empty())
}

/// The answer to one who binds a role that is not there.
fn unknown(call: &Call<'_>, role: &RoleRef) -> ApiError {
    match role.kind.as_str() {
        // Upstream names the resource that is written, not that of the role.
        "ClusterRole" | "Role" => ApiError::not_found(call.gr(), &role.name),
        other => ApiError::new(
            500,
            "",
            format!("unsupported role reference kind: {}", quote(other)),
        ),
    }
}

/// Refuses a write of a role or binding that would grant more than its writer has.
pub(crate) fn check(call: &Call<'_>, old: Option<&Value>, new: &Value) -> ApiResult<()> {
    let resource = &call.served.resource;
    if &*resource.gr.group != GROUP
        || resource.is_custom()
        || !call.inner.auth.is_enforced()
        || call.request.user.is_in(MASTERS)
        || old.is_some_and(|old| only_collects(old, new))
    {
        return Ok(());
    }
    let request = call.request;
    let name = new["metadata"]["name"].as_str().unwrap_or_default();
    let refuse = |why: String| ApiError::forbidden(&resource.gr, name, &why);
    match &*resource.gr.resource {
        kind @ ("roles" | "clusterroles") => {
            if allowed(call, "escalate", kind, &request.namespace, &request.name) {
                return Ok(());
            }
            confirm(call, &rules::of_role(new)).map_err(refuse)?;
            if aggregates(new) || old.is_some_and(aggregates) {
                let why = "must have cluster-admin privileges to use the aggregationRule";
                confirm(call, &everything()).map_err(|_| refuse(why.to_owned()))?;
            }
            Ok(())
        }
        _ => {
            let role = RoleRef::of(new);
            let roles = match role.kind.as_str() {
                "ClusterRole" => "clusterroles",
                "Role" => "roles",
                _ => "",
            };
            let asked = Attributes::on(&request.user, "bind", &role.group, roles)
                .within(&request.namespace)
                .named(&role.name);
            if !roles.is_empty() && call.inner.auth.allows(&asked) {
                return Ok(());
            }
            let granted = call.inner.auth.rules_of_role(&role, &request.namespace);
            confirm(call, &granted.ok_or_else(|| unknown(call, &role))?).map_err(refuse)
        }
    }
}
