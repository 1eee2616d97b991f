//! One request before its webhooks: which of them it concerns, what they are asked, what their answers mean.

use kube::core::admission::Operation;
use serde_json::{Map, Value, json};

use super::config::Hook;
use super::matching::{self, Asked};
use super::review::{self, Subject, Verdict};
use crate::http::request::{Request, Verb};
use crate::http::status::{ApiError, ApiResult};
use crate::registry::Served;
use crate::server::namespaces;
use crate::verbs::Call;

/// Everything about a request that is the same for all webhooks.
pub(super) struct Matter<'a> {
    pub(super) call: &'a Call<'a>,
    pub(super) operation: &'static str,
    pub(super) name: String,
    /// The namespace; for namespaces their own name.
    pub(super) namespace: String,
    pub(super) dry_run: bool,
    pub(super) user: Value,
    pub(super) options: Value,
    /// Other served versions of the same resource.
    pub(super) others: Vec<&'a str>,
}

pub(super) fn operation_name(operation: &Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

/// Configurations of admission are never sent to webhooks, which could otherwise lock themselves in.
pub(super) fn is_exempt(call: &Call<'_>) -> bool {
    let gr = call.gr();
    &*gr.group == "admissionregistration.k8s.io"
}

impl<'a> Matter<'a> {
    pub(super) fn new(
        call: &'a Call<'a>,
        operation: &Operation,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> ApiResult<Self> {
        let request = call.request;
        let given = object.or(old).and_then(|v| v["metadata"]["name"].as_str());
        let name = match request.name.as_str() {
            "" => given.unwrap_or_default(),
            name => name,
        }
        .to_owned();
        let is_namespace = *call.gr() == namespaces();
        let (options, dry_run) = options(request, operation, object.is_some() && old.is_none())?;
        let resource = &call.served.resource;
        Ok(Self {
            operation: operation_name(operation),
            namespace: if is_namespace {
                name.clone()
            } else {
                request.namespace.clone()
            },
            name,
            dry_run,
            user: request.user.info(),
            options,
            others: resource
                .versions
                .iter()
                .filter(|v| v.served && v.name != call.version().name)
                .map(|v| v.name.as_str())
                .collect(),
            call,
        })
    }

    pub(super) fn asked(&'a self) -> Asked<'a> {
        let gr = self.call.gr();
        Asked {
            operation: self.operation,
            group: &gr.group,
            version: &self.call.version().name,
            resource: &gr.resource,
            subresource: &self.call.request.subresource,
            namespace: &self.namespace,
        }
    }

    /// Group, version and kind of what is sent for a version of the resource.
    pub(super) fn kind(&'a self, version: &'a str) -> (&'a str, &'a str, &'a str) {
        match self.call.request.subresource.as_str() {
            "scale" => ("autoscaling", "v1", "Scale"),
            "eviction" => ("policy", "v1", "Eviction"),
            _ => (&self.call.gr().group, version, &self.call.served.resource.kind),
        }
    }

    pub(super) fn subject(&'a self, version: &'a str) -> Subject<'a> {
        let gr = self.call.gr();
        let own = &self.call.version().name;
        Subject {
            operation: self.operation,
            group: &gr.group,
            resource: &gr.resource,
            subresource: &self.call.request.subresource,
            kind: self.kind(version),
            request_kind: self.kind(own),
            version,
            request_version: own,
            namespace: &self.namespace,
            name: &self.name,
            user: &self.user,
            dry_run: self.dry_run,
            options: &self.options,
        }
    }

    pub(super) fn served(&self, version: &str) -> Option<Served> {
        let resource = &self.call.served.resource;
        let index = resource.versions.iter().position(|v| v.name == version)?;
        Some(Served {
            resource: resource.clone(),
            version: index,
        })
    }

    /// The labels of the namespace that a selector looks at.
    pub(super) fn namespace_labels(&self, object: Option<&Value>) -> ApiResult<Map<String, Value>> {
        let labels = |value: &Value| {
            value["metadata"]["labels"]
                .as_object()
                .cloned()
                .unwrap_or_default()
        };
        let own = *self.call.gr() == namespaces() && self.call.request.subresource.is_empty();
        if let (true, Some(object), true) = (own, object, self.operation != "DELETE") {
            return Ok(labels(object));
        }
        self.call
            .inner
            .read(&namespaces(), &self.namespace)
            .map(|namespace| labels(&namespace))
            .ok_or_else(|| ApiError::not_found(&namespaces(), &self.namespace))
    }

    /// The version to call a hook with, if it is to be called at all; conditions are not asked yet.
    pub(super) fn version_for(
        &'a self,
        hook: &Hook,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> ApiResult<Option<&'a str>> {
        let asked = self.asked();
        let in_namespace = matching::namespace(hook, &asked, || self.namespace_labels(object));
        if matches!(in_namespace, Ok(false)) {
            return Ok(None);
        }
        let selected = matching::object(hook, object, old);
        if matches!(selected, Ok(false)) {
            return Ok(None);
        }
        let Some(version) = matching::version(hook, &asked, &self.others) else {
            return Ok(None);
        };
        in_namespace?;
        selected?;
        Ok(Some(version))
    }

    /// Whether the hook's conditions hold.
    pub(super) fn wants(
        &self,
        hook: &Hook,
        version: &str,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> ApiResult<bool> {
        if hook.conditions.is_empty() {
            return Ok(true);
        }
        let mut request = review::request(&self.subject(version), "", None, None);
        if let Some(map) = request.as_object_mut() {
            for field in ["uid", "object", "oldObject"] {
                map.remove(field);
            }
        }
        let null = Value::Null;
        let values = [
            ("object", object.unwrap_or(&null)),
            ("oldObject", old.unwrap_or(&null)),
            ("request", &request),
        ];
        matching::conditions(hook, &values)
            .map_err(|why| ApiError::forbidden(self.call.gr(), &self.name, &why))
    }

    /// Calls a hook.
    pub(super) async fn ask(
        &self,
        hook: &Hook,
        mutating: bool,
        version: &str,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<Verdict, Failure> {
        if self.dry_run && !hook.harmless {
            return Err(Failure::Refused(ApiError::bad_request(format!(
                "admission webhook {:?} does not support dry run",
                hook.name
            ))));
        }
        let called = |why: String| Failure::Called(format!("failed calling webhook {:?}: {why}", hook.name));
        let Some(review_version) = hook.review else {
            return Err(called(
                "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)"
                    .to_owned(),
            ));
        };
        let inner = self.call.inner;
        let uid = seams::uuid(&*inner.randomness);
        let body = review::review(
            review_version,
            review::request(&self.subject(version), &uid, object, old),
        );
        let hooks = &inner.webhooks;
        let answer = hooks
            .connections
            .post(inner, hooks.services.as_ref(), &hook.client, &body, hook.timeout)
            .await
            .map_err(|why| called(format!("failed to call webhook: {why}")))?;
        review::check_kind(review_version, "admission.k8s.io", "AdmissionReview", &answer)
            .map_err(|why| called(format!("failed to call webhook: {why}")))?;
        let verdict = review::verdict(review_version, mutating, &uid, &answer);
        verdict.map_err(|why| called(format!("received invalid webhook response: {why}")))
    }
}

/// Why a hook gave no permission.
pub(super) enum Failure {
    /// It could not be asked; the failure policy decides.
    Called(String),
    /// The request cannot go on.
    Refused(ApiError),
}

/// The options of a request as objects, and whether it is a dry run.
pub(super) fn options(request: &Request, operation: &Operation, creates: bool) -> ApiResult<(Value, bool)> {
    let query = &request.query;
    let mut options = json!({"apiVersion": "meta.k8s.io/v1"});
    let kind = match (operation, request.verb) {
        (Operation::Delete, _) => "DeleteOptions",
        (_, Verb::Create) => "CreateOptions",
        _ if creates => "CreateOptions",
        _ => "UpdateOptions",
    };
    options["kind"] = kind.into();
    if kind == "DeleteOptions" {
        let (given, dry) = crate::verbs::delete_options(request)?;
        for (field, value) in given.as_object().into_iter().flatten() {
            if !value.is_null() && !matches!(field.as_str(), "kind" | "apiVersion") {
                options[field.as_str()] = value.clone();
            }
        }
        if dry {
            options["dryRun"] = json!(["All"]);
        }
        return Ok((options, dry));
    }
    for field in ["fieldManager", "fieldValidation"] {
        if !query.get(field).is_empty() {
            options[field] = query.get(field).into();
        }
    }
    if query.dry_run() {
        options["dryRun"] = json!(["All"]);
    }
    Ok((options, query.dry_run()))
}

/// A refusal as the client sees it.
pub(super) fn denial(hook: &Hook, result: &Value) -> ApiError {
    let text = |field: &str| result[field].as_str().unwrap_or_default();
    let denied = format!("admission webhook {:?} denied the request", hook.name);
    let message = match (text("message"), text("reason")) {
        ("", "") => format!("{denied} without explanation"),
        ("", reason) => format!("{denied}: {reason}"),
        (message, _) => format!("{denied}: {message}"),
    };
    let code = result["code"].as_u64().unwrap_or(0).max(400) as u16;
    let mut error = ApiError::new(code, "", message);
    error.reason = text("reason").to_owned().into();
    error.details = result.get("details").filter(|d| d.is_object()).cloned();
    error
}

/// Takes an answer, or what stands for it by the failure policy: `None` when the hook is to be passed over.
pub(super) fn settle(
    hook: &Hook,
    asked: Result<Verdict, Failure>,
    warnings: &mut Vec<String>,
) -> ApiResult<Option<Verdict>> {
    match asked {
        Ok(verdict) => {
            warnings.extend(verdict.warnings.iter().cloned());
            match verdict.allowed {
                true => Ok(Some(verdict)),
                false => Err(denial(hook, &verdict.result)),
            }
        }
        Err(Failure::Refused(error)) => Err(error),
        Err(Failure::Called(why)) if hook.fails_open => {
            tracing::warn!(hook = hook.id, %why, "failed calling webhook, failing open");
            Ok(None)
        }
        Err(Failure::Called(why)) => Err(ApiError::internal(why)),
    }
}
