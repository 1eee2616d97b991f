//! Reviews: questions about users and permissions that are answered and not stored.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::attributes::Attributes;
use super::{User, authenticate_token};
use crate::http::status::{ApiError, ApiResult};
use crate::schema::FieldError;
use crate::selector::{FieldSelector, LabelSelector};
use crate::verbs::Call;

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn texts(value: &Value) -> Vec<String> {
    let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// Answers a review.
pub(crate) fn answer(call: &Call<'_>, mut review: Value) -> ApiResult<Value> {
    let status = match &*call.gr().resource {
        "selfsubjectreviews" => {
            let stamp = json!({"creationTimestamp": call.inner.now_text()});
            review["metadata"] = stamp;
            json!({"userInfo": call.request.user.info()})
        }
        "tokenreviews" => token(call, &review)?,
        "selfsubjectrulesreviews" => {
            let status = rules(call, &review)?;
            // What was asked is not repeated.
            review["metadata"] = json!({});
            review["spec"] = json!({});
            status
        }
        "selfsubjectaccessreviews" => {
            validate(&review, false, false)?;
            access(call, &review["spec"], &call.request.user)
        }
        "localsubjectaccessreviews" => {
            validate(&review, true, true)?;
            local(call, &review)?;
            access(call, &review["spec"], &subject(&review["spec"]))
        }
        _ => {
            validate(&review, false, true)?;
            access(call, &review["spec"], &subject(&review["spec"]))
        }
    };
    review["status"] = status;
    Ok(review)
}

fn token(call: &Call<'_>, review: &Value) -> ApiResult<Value> {
    let text = text(&review["spec"], "token");
    if text.is_empty() {
        return Err(ApiError::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    Ok(
        match authenticate_token(call.inner, text, &texts(&review["spec"]["audiences"])) {
            Ok(found) => {
                let mut status = json!({"authenticated": true, "user": found.user.info()});
                if !found.audiences.is_empty() {
                    status["audiences"] = json!(found.audiences);
                }
                status
            }
            Err(error) => json!({"error": error, "user": {}}),
        },
    )
}

fn rules(call: &Call<'_>, review: &Value) -> ApiResult<Value> {
    let namespace = text(&review["spec"], "namespace");
    if namespace.is_empty() {
        return Err(ApiError::bad_request("no namespace on request"));
    }
    if !call.inner.auth.is_enforced() {
        return Ok(json!({
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": false,
        }));
    }
    let (rules, errors) = call.inner.auth.rules_of(&call.request.user, namespace, None);
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    for rule in rules {
        if !rule.resources.is_empty() {
            let mut shown = rule.value();
            if let Some(map) = shown.as_object_mut() {
                map.remove("nonResourceURLs");
            }
            resources.push(shown);
        }
        if !rule.urls.is_empty() {
            paths.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.urls}));
        }
    }
    let mut status = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false});
    if !errors.is_empty() {
        status["evaluationError"] = super::aggregate_text(&errors).into();
    }
    Ok(status)
}

/// The user whom a review asks about.
fn subject(spec: &Value) -> User {
    let extra = spec["extra"].as_object().into_iter().flatten();
    User {
        name: text(spec, "user").to_owned(),
        uid: text(spec, "uid").to_owned(),
        groups: texts(&spec["groups"]),
        extra: extra
            .map(|(key, values)| (key.clone(), texts(values)))
            .collect::<BTreeMap<_, _>>(),
    }
}

fn access(call: &Call<'_>, spec: &Value, user: &User) -> Value {
    let (on, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let asked = match on.is_object() {
        true => {
            let mut asked = Attributes::on(user, text(on, "verb"), text(on, "group"), text(on, "resource"))
                .within(text(on, "namespace"))
                .named(text(on, "name"));
            asked.subresource = text(on, "subresource").into();
            asked
        }
        false => Attributes::path(user, text(path, "verb"), text(path, "path")),
    };
    let decision = call.inner.auth.decide(&asked);
    let mut status = Map::from_iter([("allowed".to_owned(), decision.allowed.into())]);
    if !decision.reason.is_empty() {
        status.insert("reason".to_owned(), decision.reason.into());
    }
    let ignored: Vec<String> = ["fieldSelector", "labelSelector"]
        .into_iter()
        .filter(|field| !is_readable(field, &on[*field]))
        .map(|field| format!("spec.resourceAttributes.{field} ignored due to parse error"))
        .collect();
    if !ignored.is_empty() {
        status.insert("evaluationError".to_owned(), ignored.join("; ").into());
    }
    Value::Object(status)
}

/// Whether a selector can be understood; roles do not know selectors, so nothing else depends on it.
fn is_readable(field: &str, selector: &Value) -> bool {
    let raw = text(selector, "rawSelector");
    match field {
        "fieldSelector" => FieldSelector::parse(raw).is_ok(),
        _ => LabelSelector::parse(raw).is_ok(),
    }
}

/// The bad request of a local review that asks about another namespace.
fn local(call: &Call<'_>, review: &Value) -> ApiResult<()> {
    let namespace = &call.request.namespace;
    match text(&review["metadata"], "namespace") == namespace {
        true => Ok(()),
        false => Err(ApiError::bad_request(format!(
            "spec.resourceAttributes.namespace must match namespace: {namespace}"
        ))),
    }
}

/// The attributes of a path, printed as upstream's own type.
fn path_text(spec: &Value) -> Value {
    let path = &spec["nonResourceAttributes"];
    json!({"Path": text(path, "path"), "Verb": text(path, "verb")})
}

fn validate(review: &Value, is_local: bool, names_subject: bool) -> ApiResult<()> {
    let spec = &review["spec"];
    let (on, path) = (
        spec["resourceAttributes"].is_object(),
        spec["nonResourceAttributes"].is_object(),
    );
    let mut errors = Vec::new();
    if on && path {
        let value = path_text(spec);
        let detail = "cannot be specified in combination with resourceAttributes";
        errors.push(FieldError::invalid("spec.nonResourceAttributes", value, detail));
    }
    if !on && !path {
        let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        errors.push(FieldError::invalid(
            "spec.resourceAttributes",
            Value::Null,
            detail,
        ));
    }
    if names_subject && text(spec, "user").is_empty() && texts(&spec["groups"]).is_empty() {
        let detail = "at least one of user or group must be specified";
        errors.push(FieldError::invalid("spec.user", "", detail));
    }
    for field in ["fieldSelector", "labelSelector"] {
        selector(&spec["resourceAttributes"][field], field, &mut errors);
    }
    let mut metadata = review["metadata"].as_object().cloned().unwrap_or_default();
    metadata.remove("managedFields");
    if is_local {
        metadata.remove("namespace");
    }
    metadata.retain(|_, value| !value.is_null());
    if !metadata.is_empty() {
        let detail = if is_local {
            "must be empty except for namespace"
        } else {
            "must be empty"
        };
        errors.push(FieldError::invalid(
            "metadata",
            review["metadata"].clone(),
            detail,
        ));
    }
    if is_local {
        let own = text(&review["metadata"], "namespace");
        let asked = text(&spec["resourceAttributes"], "namespace");
        if on && asked != own {
            let path = "spec.resourceAttributes.namespace";
            errors.push(FieldError::invalid(path, asked, "must match metadata.namespace"));
        }
        if path {
            let value = path_text(spec);
            let detail = "disallowed on this kind of request";
            errors.push(FieldError::invalid("spec.nonResourceAttributes", value, detail));
        }
    }
    match errors.is_empty() {
        true => Ok(()),
        // Upstream does not know the kind here.
        false => Err(ApiError::invalid_named("", "authorization.k8s.io", "", &errors)),
    }
}

fn selector(selector: &Value, field: &str, errors: &mut Vec<FieldError>) {
    if !selector.is_object() {
        return;
    }
    let path = format!("spec.resourceAttributes.{field}");
    let raw = text(selector, "rawSelector");
    let listed = selector["requirements"]
        .as_array()
        .is_some_and(|list| !list.is_empty());
    if !raw.is_empty() && listed {
        let detail = "may not specified at the same time as requirements";
        errors.push(FieldError::invalid(format!("{path}.rawSelector"), raw, detail));
    }
    if raw.is_empty() && !listed {
        let detail = format!("when {path} is specified, requirements or rawSelector is required");
        errors.push(FieldError::required(format!("{path}.requirements"), detail));
    }
}
