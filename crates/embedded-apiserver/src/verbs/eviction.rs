//! Eviction: the deletion of a pod that asks the disruption budgets first.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::Method;
use kube::core::admission::Operation;
use serde_json::{Value, json};

use super::admission::{AdmissionPhase, admit};
use super::delete::{DeleteOptions, delete_with};
use super::{Answer, Call, input};
use crate::disruption::{allow, budgets, is_ready};
use crate::faults::{Fault, broken};
use crate::http::handle::internal;
use crate::http::request::Verb;
use crate::http::status::{ApiError, ApiResult};
use crate::server::Inner;
use crate::storage::{CommitError, Expect, Object, Write};

/// More evictions than this are not approved before the budget's status has caught up.
const MAX_DISRUPTED: usize = 2000;

pub(super) async fn evict(call: &Call<'_>, warnings: &mut Vec<String>) -> ApiResult<Answer> {
    if call.request.method != Method::POST {
        return Err(ApiError::method_not_allowed());
    }
    let mut eviction = read(call)?;
    let options = options(call, &eviction)?;
    admit(
        call,
        AdmissionPhase::Mutating,
        Operation::Create,
        Some(&mut eviction),
        None,
        warnings,
    )
    .await?;
    admit(
        call,
        AdmissionPhase::Validating,
        Operation::Create,
        Some(&mut eviction),
        None,
        warnings,
    )
    .await?;
    let pinned = options.revision.is_some();
    loop {
        let pod = call.current()?;
        let value = pod.value();
        let mut used = options.clone();
        let mut budget = String::new();
        if is_over(&value) {
            let phase = value["status"]["phase"].as_str();
            let enforce = !pod.terminating && phase == Some("Pending");
            if enforce && !pinned {
                used.revision = Some(pod.revision.to_string());
            }
        } else {
            match guard(call, &pod, &value, options.dry).await? {
                Guard::Free => {}
                Guard::Unhealthy(name) => {
                    used.revision = Some(pod.revision.to_string());
                    budget = name;
                }
                Guard::Refused(status) => return Ok(status),
            }
        }
        match remove(call, &used).await {
            Ok(()) => break,
            Err(error) if error.reason == "Conflict" && !pinned && used.revision.is_some() => {
                // Somebody changed the pod since it was looked at; a budget may see it differently now.
                if !budget.is_empty() {
                    return Err(busy(&budget));
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Answer::Plain {
        code: 201,
        value: json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
    })
}

fn read(call: &Call<'_>) -> ApiResult<Value> {
    let mut eviction = input::body(call)?;
    let text = |field: &str| eviction[field].as_str().unwrap_or_default().to_owned();
    let (kind, version) = (text("kind"), text("apiVersion"));
    if !matches!(version.as_str(), "policy/v1" | "policy/v1beta1" | "")
        || !matches!(kind.as_str(), "Eviction" | "")
    {
        let short = version.rsplit('/').next().unwrap_or_default();
        return Err(ApiError::bad_request(format!(
            "{kind} in version {short:?} cannot be handled as a Eviction: converting ({version}.{kind}) to (policy.Eviction): unknown \
             conversion"
        )));
    }
    if eviction["metadata"]["name"] != call.request.name.as_str() {
        return Err(ApiError::bad_request(
            "name in URL does not match name in Eviction object",
        ));
    }
    eviction["kind"] = "Eviction".into();
    eviction["apiVersion"] = "policy/v1".into();
    eviction["metadata"]["namespace"] = call.request.namespace.as_str().into();
    Ok(eviction)
}

fn options(call: &Call<'_>, eviction: &Value) -> ApiResult<DeleteOptions> {
    let given = eviction["deleteOptions"]["dryRun"].as_array();
    if let Some(given) = given.filter(|list| !list.is_empty() && call.request.query.dry_run())
        && *given != [json!("All")]
    {
        let inner: Vec<&str> = given.iter().filter_map(Value::as_str).collect();
        let message = format!(
            "Non-matching dry-run options in request and content: [All] and [{}]",
            inner.join(" ")
        );
        return Err(ApiError::new(500, "", message));
    }
    DeleteOptions::from_body(call.request, eviction["deleteOptions"].clone())
}

/// Pods that nobody counts on any more, or not yet.
fn is_over(pod: &Value) -> bool {
    matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed" | "Pending")
    ) || pod["metadata"]["deletionTimestamp"].is_string()
}

enum Guard {
    /// No budget minds, or the one that does has counted this eviction.
    Free,
    /// The pod is of no use to the budget of this name; it may go unless it changes.
    Unhealthy(String),
    /// An answer that is no error by its code.
    Refused(Answer),
}

/// Asks the budget that guards a pod.
async fn guard(call: &Call<'_>, pod: &Object, value: &Value, dry: bool) -> ApiResult<Guard> {
    let mut found = budgets(call.inner, &pod.namespace, value);
    if found.len() > 1 {
        let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        return Ok(Guard::Refused(Answer::Plain {
            code: 500,
            value: json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": 500}),
        }));
    }
    let Some(budget) = found.pop().filter(|_| !broken(Fault::IgnoredBudget)) else {
        return Ok(Guard::Free);
    };
    let number = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
    let name = budget["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if !is_ready(value) {
        let always = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
        let (current, desired) = (number("currentHealthy"), number("desiredHealthy"));
        if always || (current >= desired && desired > 0) {
            return Ok(Guard::Unhealthy(name));
        }
    }
    spend(call.inner, pod, budget, dry).await.map(|()| Guard::Free)
}

/// Takes one disruption from a budget, or tells why there is none.
/// Boxed, since its own write is a request like any other.
fn spend<'a>(
    inner: &'a Arc<Inner>,
    pod: &'a Object,
    mut budget: Value,
    dry: bool,
) -> BoxFuture<'a, ApiResult<()>> {
    Box::pin(async move {
        let name = budget["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let path = format!(
            "/apis/policy/v1/namespaces/{}/poddisruptionbudgets/{name}/status",
            pod.namespace
        );
        loop {
            check(&budget, &name)?;
            if dry {
                return Ok(());
            }
            let left = budget["status"]["disruptionsAllowed"].as_i64().unwrap_or(0) - 1;
            budget["status"]["disruptionsAllowed"] = left.into();
            budget["status"]["disruptedPods"][&*pod.name] = inner.now_text().into();
            if left == 0 {
                allow(&mut budget, &inner.now_text());
            }
            match internal(inner, "kube-apiserver", Method::PUT, &path, Some(budget)).await {
                Err(error) if error.reason == "Conflict" => {}
                result => return result,
            }
            let key = crate::storage::object_key(&pod.namespace, &name);
            budget = inner
                .read(&crate::disruption::resource(), &key)
                .ok_or_else(|| ApiError::not_found(&crate::disruption::resource(), &name))?;
        }
    })
}

fn too_many(retry: u64, cause: String) -> ApiError {
    let mut details = json!({"causes": [{"reason": "DisruptionBudget", "message": cause}]});
    if retry > 0 {
        details["retryAfterSeconds"] = retry.into();
    }
    ApiError {
        details: Some(details),
        ..ApiError::new(
            429,
            "TooManyRequests",
            "Cannot evict pod as it would violate the pod's disruption budget.",
        )
    }
}

fn busy(name: &str) -> ApiError {
    too_many(
        10,
        format!("The disruption budget {name} is still being processed by the server."),
    )
}

/// Whether a budget has a disruption left.
fn check(budget: &Value, name: &str) -> ApiResult<()> {
    let status = &budget["status"];
    let number = |field: &str| status[field].as_i64().unwrap_or(0);
    if number("observedGeneration") < budget["metadata"]["generation"].as_i64().unwrap_or(0) {
        return Err(busy(name));
    }
    let gr = crate::storage::GroupResource::new("policy", "poddisruptionbudget");
    if number("disruptionsAllowed") < 0 {
        return Err(ApiError::forbidden(
            &gr,
            name,
            "pdb disruptions allowed is negative",
        ));
    }
    if status["disruptedPods"]
        .as_object()
        .map_or(0, serde_json::Map::len)
        > MAX_DISRUPTED
    {
        let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
        return Err(ApiError::forbidden(&gr, name, why));
    }
    if number("disruptionsAllowed") > 0 {
        return Ok(());
    }
    let conditions = status["conditions"].as_array();
    let denied = conditions
        .into_iter()
        .flatten()
        .find(|c| c["type"] == "DisruptionAllowed" && c["status"] == "False" && c["message"] != "");
    let (current, desired) = (number("currentHealthy"), number("desiredHealthy"));
    let text = |c: &Value, field: &str| c[field].as_str().unwrap_or_default().to_owned();
    let why = match denied {
        Some(c) if c["reason"] == "SyncFailed" => format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {}",
            text(c, "message")
        ),
        _ if current <= desired => {
            format!("The disruption budget {name} needs {desired} healthy pods and has {current} currently")
        }
        Some(c) => format!(
            "The disruption budget {name} does not allow evicting pods currently ({}): {}",
            text(c, "reason"),
            text(c, "message")
        ),
        None => format!("The disruption budget {name} does not allow evicting pods currently"),
    };
    Err(too_many(0, why))
}

/// Marks the pod as evicted and deletes it; admission of deletions is not asked.
async fn remove(call: &Call<'_>, options: &DeleteOptions) -> ApiResult<()> {
    let mut options = options.clone();
    if !options.dry {
        let pod = call.current()?;
        options.check(call, &pod)?;
        let marked = mark(call, &pod).await?;
        if options.revision.is_some() {
            options.revision = Some(marked.to_string());
        }
    }
    let mut request = call.request.clone();
    request.subresource.clear();
    request.verb = Verb::Delete;
    let deletion = Call {
        inner: call.inner,
        request: &request,
        served: call.served,
    };
    delete_with(&deletion, &options, None).await.map(|_| ())
}

/// Notes in the pod's conditions why it goes; tells its revision.
async fn mark(call: &Call<'_>, pod: &Object) -> ApiResult<u64> {
    let mut value = pod.value();
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
        "lastProbeTime": null, "lastTransitionTime": call.inner.now_text(),
    });
    let mut conditions = value["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    if conditions
        .iter()
        .any(|c| c["type"] == "DisruptionTarget" && c["status"] == "True")
    {
        return Ok(pod.revision);
    }
    conditions.retain(|c| c["type"] != "DisruptionTarget");
    conditions.push(condition);
    value["status"]["conditions"] = conditions.into();
    let write = Write {
        resource: call.served.resource.store.clone(),
        key: pod.key(),
        expect: Expect::Revision(pod.revision),
        value,
        delete: false,
    };
    match call.inner.commit(write).await {
        Ok(object) => Ok(object.revision),
        Err(CommitError::Engine(error)) => Err(ApiError::internal(error)),
        Err(_) => Err(super::write::modified(call, &pod.name)),
    }
}
