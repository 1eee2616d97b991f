//! Admission: plugins that may change or refuse a write before it is stored.
//!
//! Mutating plugins run first and see the object after defaulting; validating plugins see what will be stored.
//! Plugins are functions in this process; after those of a phase the webhooks of that phase are asked (`webhooks`).

use async_trait::async_trait;
use k8s_openapi::api::authentication::v1::UserInfo;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, Operation};
use kube::core::{DynamicObject, GroupVersionKind, GroupVersionResource, TypeMeta};
use serde_json::Value;

use super::{Call, convert, scale};
use crate::faults::{Fault, broken};
use crate::http::status::{ApiError, ApiResult};
use crate::registry::ScalePaths;
use crate::webhooks;

/// When a plugin is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdmissionPhase {
    /// The plugin may answer with a JSON patch.
    Mutating,
    /// The plugin only allows or denies.
    Validating,
}

/// A plugin.
#[async_trait]
pub trait Admission: Send + Sync + 'static {
    /// The name shown when the plugin denies a request, like that of a webhook.
    fn name(&self) -> String {
        "embedded".to_owned()
    }

    /// Whether the plugin wants to be asked about this kind of request; asked before the request is built.
    fn handles(
        &self,
        phase: AdmissionPhase,
        operation: &Operation,
        group: &str,
        version: &str,
        resource: &str,
    ) -> bool;

    /// Decides about one request.
    async fn admit(
        &self,
        phase: AdmissionPhase,
        request: AdmissionRequest<DynamicObject>,
    ) -> AdmissionResponse;
}

fn dynamic(value: Option<&Value>) -> ApiResult<Option<DynamicObject>> {
    value
        .map(|v| serde_json::from_value(v.clone()))
        .transpose()
        .map_err(ApiError::internal)
}

fn review(
    call: &Call<'_>,
    operation: &Operation,
    object: Option<&Value>,
    old: Option<&Value>,
) -> ApiResult<AdmissionRequest<DynamicObject>> {
    let (request, resource) = (call.request, &call.served.resource);
    let kind = GroupVersionKind::gvk(&resource.gr.group, &request.version, &resource.kind);
    let gvr = GroupVersionResource::gvr(&resource.gr.group, &request.version, &resource.gr.resource);
    let name = object
        .or(old)
        .and_then(|v| v["metadata"]["name"].as_str())
        .unwrap_or(&request.name);
    let subresource = (!request.subresource.is_empty()).then(|| request.subresource.clone());
    Ok(AdmissionRequest {
        types: TypeMeta {
            api_version: "admission.k8s.io/v1".into(),
            kind: "AdmissionReview".into(),
        },
        uid: seams::uuid(&*call.inner.randomness),
        kind: kind.clone(),
        resource: gvr.clone(),
        sub_resource: subresource.clone(),
        request_kind: Some(kind),
        request_resource: Some(gvr),
        request_sub_resource: subresource,
        name: name.to_owned(),
        namespace: (!request.namespace.is_empty()).then(|| request.namespace.clone()),
        operation: operation.clone(),
        user_info: UserInfo {
            username: Some(request.user.name.clone()),
            groups: Some(request.user.groups.clone()),
            uid: Some(request.user.uid.clone()).filter(|uid| !uid.is_empty()),
            extra: Some(request.user.extra.clone()).filter(|extra| !extra.is_empty()),
        },
        object: dynamic(object)?,
        old_object: dynamic(old)?,
        dry_run: request.query.dry_run(),
        options: None,
    })
}

fn denial(name: &str, response: &AdmissionResponse) -> ApiError {
    let result = serde_json::to_value(&response.result).unwrap_or_default();
    let message = match result["message"].as_str().unwrap_or_default() {
        "" => format!("admission webhook {name:?} denied the request without explanation"),
        message => format!("admission webhook {name:?} denied the request: {message}"),
    };
    let code = result["code"]
        .as_u64()
        .map(|c| c as u16)
        .filter(|c| *c >= 400)
        .unwrap_or(403);
    let reason = match code {
        400 => "BadRequest",
        409 => "Conflict",
        422 => "Invalid",
        _ => "Forbidden",
    };
    ApiError {
        details: result.get("details").filter(|d| d.is_object()).cloned(),
        ..ApiError::new(code, reason, message)
    }
}

/// Asks the plugins of one phase; mutating ones change `object`.
pub(crate) async fn admit(
    call: &Call<'_>,
    phase: AdmissionPhase,
    operation: Operation,
    mut object: Option<&mut Value>,
    old: Option<&Value>,
    warnings: &mut Vec<String>,
) -> ApiResult<()> {
    let (request, resource) = (call.request, &call.served.resource.gr);
    let path = match request.subresource.as_str() {
        "" => resource.resource.to_string(),
        subresource => format!("{}/{subresource}", resource.resource),
    };
    for plugin in &call.inner.admission {
        if !plugin.handles(phase, &operation, &resource.group, &request.version, &path) {
            continue;
        }
        let review = review(call, &operation, object.as_deref(), old)?;
        let response = plugin.admit(phase, review).await;
        warnings.extend(response.warnings.iter().flatten().cloned());
        if !response.allowed {
            return Err(denial(&plugin.name(), &response));
        }
        if let (AdmissionPhase::Mutating, Some(patch), Some(object)) =
            (phase, &response.patch, object.as_deref_mut())
        {
            let patch: json_patch::Patch = serde_json::from_slice(patch).map_err(ApiError::internal)?;
            json_patch::patch(object, &patch).map_err(ApiError::internal)?;
            convert::normalize(call.served, object);
        }
    }
    if broken(Fault::SkippedAdmission) {
        return Ok(());
    }
    if let Some(paths) = call
        .version()
        .scale
        .as_ref()
        .filter(|_| request.subresource == "scale")
    {
        return admit_scale(call, phase, &operation, paths, object, old, warnings).await;
    }
    match phase {
        AdmissionPhase::Mutating => webhooks::mutate(call, &operation, object, old, warnings).await,
        AdmissionPhase::Validating => {
            webhooks::validate(call, &operation, object.as_deref(), old, warnings).await
        }
    }
}

/// Webhooks see the scale of an object that is scaled, and may change nothing else.
async fn admit_scale(
    call: &Call<'_>,
    phase: AdmissionPhase,
    operation: &Operation,
    paths: &ScalePaths,
    object: Option<&mut Value>,
    old: Option<&Value>,
    warnings: &mut Vec<String>,
) -> ApiResult<()> {
    let (Some(object), Some(old)) = (object, old) else {
        return Ok(());
    };
    let (mut new, old) = (scale::scale_of(paths, object), scale::scale_of(paths, old));
    if phase == AdmissionPhase::Validating {
        return webhooks::validate(call, operation, Some(&new), Some(&old), warnings).await;
    }
    let before = new.clone();
    webhooks::mutate(call, operation, Some(&mut new), Some(&old), warnings).await?;
    if new["spec"] != before["spec"] {
        let replicas = new["spec"].get("replicas").cloned().unwrap_or_else(|| 0.into());
        scale::set(object, &paths.spec, replicas);
    }
    Ok(())
}
