//! Asking the webhooks: mutating ones one after the other, validating ones beside each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::core::admission::Operation;
use serde_json::{Map, Value, json};

use super::config::Hook;
use super::matching::{self, Asked};
use super::review::{self, Subject, Verdict};
use crate::http::request::{Request, Verb};
use crate::http::status::{ApiError, ApiResult};
use crate::patch;
use crate::registry::Served;
use crate::server::namespaces;
use crate::verbs::{Call, convert};

/// Everything about a request that is the same for all webhooks.
struct Matter<'a> {
    call: &'a Call<'a>,
    operation: &'static str,
    name: String,
    /// The namespace; for namespaces their own name.
    namespace: String,
    dry_run: bool,
    user: Value,
    options: Value,
    /// Other served versions of the same resource.
    others: Vec<&'a str>,
}

fn operation_name(operation: &Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

/// Configurations of admission are never sent to webhooks, which could otherwise lock themselves in.
fn is_exempt(call: &Call<'_>) -> bool {
    let gr = call.gr();
    &*gr.group == "admissionregistration.k8s.io"
}

impl<'a> Matter<'a> {
    fn new(
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

    fn asked(&'a self) -> Asked<'a> {
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
    fn kind(&'a self, version: &'a str) -> (&'a str, &'a str, &'a str) {
        match self.call.request.subresource.as_str() {
            "scale" => ("autoscaling", "v1", "Scale"),
            "eviction" => ("policy", "v1", "Eviction"),
            _ => (&self.call.gr().group, version, &self.call.served.resource.kind),
        }
    }

    fn subject(&'a self, version: &'a str) -> Subject<'a> {
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

    fn served(&self, version: &str) -> Option<Served> {
        let resource = &self.call.served.resource;
        let index = resource.versions.iter().position(|v| v.name == version)?;
        Some(Served {
            resource: resource.clone(),
            version: index,
        })
    }

    /// The labels of the namespace that a selector looks at.
    fn namespace_labels(&self, object: Option<&Value>) -> ApiResult<Map<String, Value>> {
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
    fn version_for(
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
    fn wants(
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
    async fn ask(
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
enum Failure {
    /// It could not be asked; the failure policy decides.
    Called(String),
    /// The request cannot go on.
    Refused(ApiError),
}

/// The options of a request as objects, and whether it is a dry run.
fn options(request: &Request, operation: &Operation, creates: bool) -> ApiResult<(Value, bool)> {
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
fn denial(hook: &Hook, result: &Value) -> ApiError {
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
fn settle(
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

/// The object on its way through the mutating hooks, in the version that the last of them wanted.
struct Moving<'a> {
    matter: &'a Matter<'a>,
    version: String,
    object: Option<Value>,
    old: Option<Value>,
}

impl Moving<'_> {
    async fn to(&mut self, version: &str) -> ApiResult<()> {
        if version == self.version {
            return Ok(());
        }
        for value in [&mut self.object, &mut self.old].into_iter().flatten() {
            *value = change_version(self.matter, value.take(), version).await?;
        }
        self.version = version.to_owned();
        Ok(())
    }

    /// Applies a hook's patch; tells whether anything changed.
    fn patch(&mut self, hook: &Hook, patch: &[u8]) -> ApiResult<bool> {
        let parsed: Value = serde_json::from_slice(patch).unwrap_or_default();
        if parsed.as_array().is_some_and(Vec::is_empty) {
            return Ok(false);
        }
        let Some(object) = &mut self.object else {
            return Err(ApiError::internal(format!(
                "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
                hook.name
            )));
        };
        let mut patched = patch::json_patch(object, patch).map_err(ApiError::internal)?;
        if let Some(served) = self
            .matter
            .served(&self.version)
            .filter(|_| self.matter.call.request.subresource != "scale")
        {
            convert::normalize(&served, &mut patched);
        }
        let changed = patched != *object;
        *object = patched;
        Ok(changed)
    }
}

async fn change_version(matter: &Matter<'_>, value: Value, version: &str) -> ApiResult<Value> {
    // What is sent for these has a kind of its own, in one version.
    if matches!(matter.call.request.subresource.as_str(), "scale" | "eviction") {
        return Ok(value);
    }
    let served = matter.served(version).ok_or_else(|| {
        ApiError::internal(format!(
            "unable to convert to {}/{version}: unknown kind",
            matter.call.gr().group
        ))
    })?;
    convert::between(matter.call.inner, &served, value)
        .await
        .map_err(|error| ApiError::internal(error.message))
}

/// Asks the mutating webhooks; they change `object`.
pub(crate) async fn mutate(
    call: &Call<'_>,
    operation: &Operation,
    object: Option<&mut Value>,
    old: Option<&Value>,
    warnings: &mut Vec<String>,
) -> ApiResult<()> {
    let hooks = call.inner.webhooks.hooks(call.inner, true);
    if hooks.is_empty() || is_exempt(call) {
        return Ok(());
    }
    let matter = Matter::new(call, operation, object.as_deref(), old)?;
    let mut moving = Moving {
        matter: &matter,
        version: call.version().name.clone(),
        object: object.as_deref().cloned(),
        old: old.cloned(),
    };
    let mut changed = false;
    // Hooks that want to be asked again when a later one changes something, and those for which that happened.
    let (mut asked, mut again) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..2 {
        for hook in hooks.iter() {
            let (object, old) = (moving.object.as_ref(), moving.old.as_ref());
            let Some(version) = matter.version_for(hook, object, old)? else {
                continue;
            };
            if round == 1 && !again.contains(&hook.id) {
                continue;
            }
            moving.to(version).await?;
            let (object, old) = (moving.object.as_ref(), moving.old.as_ref());
            if !matter.wants(hook, version, object, old)? {
                continue;
            }
            let outcome = matter.ask(hook, true, version, object, old).await;
            let verdict = settle(hook, outcome, warnings)?;
            if let Some(verdict) = verdict.filter(|verdict| !verdict.patch.is_empty()) {
                match decodable(hook, &verdict) {
                    Ok(()) if moving.patch(hook, &verdict.patch)? => {
                        changed = true;
                        again.append(&mut asked);
                    }
                    Ok(()) => {}
                    Err(why) => {
                        settle(hook, Err(Failure::Called(why)), warnings)?;
                    }
                }
            }
            if hook.reinvoked {
                asked.insert(hook.id.clone());
            }
        }
        if again.is_empty() {
            break;
        }
    }
    if let (true, Some(object)) = (changed, object) {
        moving.to(&call.version().name).await?;
        *object = moving.object.take().unwrap_or_default();
    }
    Ok(())
}

fn decodable(hook: &Hook, verdict: &Verdict) -> Result<(), String> {
    let why = match serde_json::from_slice::<Value>(&verdict.patch) {
        // An empty patch is of no type.
        Ok(Value::Array(steps)) if steps.is_empty() || verdict.patch_type == "JSONPatch" => return Ok(()),
        Ok(Value::Array(_)) => format!("unsupported patch type {:?}", verdict.patch_type),
        Ok(other) => format!(
            "received undecodable patch in webhook response: json: cannot unmarshal {} into Go value of type jsonpatch.Patch",
            patch::go_kind(&other)
        ),
        Err(error) => format!("received undecodable patch in webhook response: {error}"),
    };
    Err(format!("failed calling webhook {:?}: {why}", hook.name))
}

/// Asks the validating webhooks.
pub(crate) async fn validate(
    call: &Call<'_>,
    operation: &Operation,
    object: Option<&Value>,
    old: Option<&Value>,
    warnings: &mut Vec<String>,
) -> ApiResult<()> {
    let hooks = call.inner.webhooks.hooks(call.inner, false);
    if hooks.is_empty() || is_exempt(call) {
        return Ok(());
    }
    let matter = Matter::new(call, operation, object, old)?;
    let own = call.version().name.as_str();
    // What the hooks see, by version.
    let mut seen: BTreeMap<&str, (Option<Value>, Option<Value>)> = BTreeMap::new();
    seen.insert(own, (object.cloned(), old.cloned()));
    let mut relevant: Vec<(Arc<Hook>, &str)> = Vec::new();
    for hook in hooks.iter() {
        let Some(version) = matter.version_for(hook, object, old)? else {
            continue;
        };
        if !seen.contains_key(version) {
            let mut moving = Moving {
                matter: &matter,
                version: own.to_owned(),
                object: object.cloned(),
                old: old.cloned(),
            };
            moving.to(version).await?;
            seen.insert(version, (moving.object, moving.old));
        }
        let (object, old) = &seen[version];
        if matter.wants(hook, version, object.as_ref(), old.as_ref())? {
            relevant.push((hook.clone(), version));
        }
    }
    let calls = relevant.iter().map(|(hook, version)| {
        let (object, old) = &seen[version];
        matter.ask(hook, false, version, object.as_ref(), old.as_ref())
    });
    let outcomes = futures::future::join_all(calls).await;
    let mut first = Ok(());
    for ((hook, _), outcome) in relevant.iter().zip(outcomes) {
        let settled = settle(hook, outcome, warnings).map(|_| ());
        if first.is_ok() {
            first = settled;
        }
    }
    first
}
