//! Which subresources a resource has, and who answers them.

use http::Method;
use serde_json::{Value, json};

use super::write::Part;
use super::{Answer, Call, get, input, patch, scale, update};
use crate::http::request::Verb;
use crate::http::status::{ApiError, ApiResult};

pub(super) async fn dispatch(call: &Call<'_>, warnings: &mut Vec<String>) -> ApiResult<Answer> {
    let (version, resource) = (call.version(), &call.served.resource);
    let declared = resource
        .builtin()
        .is_some_and(|row| row.subresources.contains(&call.request.subresource.as_str()));
    match call.request.subresource.as_str() {
        "status" if version.status => part(call, Part::Status, warnings).await,
        "scale" if version.scale.is_some() => scale::dispatch(call, warnings).await,
        "finalize" if declared => part(call, Part::Finalize, warnings).await,
        "approval" if declared => part(call, Part::Approval, warnings).await,
        "eviction" if declared => evict(call).await,
        _ if resource.is_custom() => Err(call.not_found()),
        _ => Err(ApiError::no_such_path()),
    }
}

async fn part(call: &Call<'_>, part: Part, warnings: &mut Vec<String>) -> ApiResult<Answer> {
    match call.request.verb {
        Verb::Get => get::get(call),
        Verb::Update => update::update(call, part, warnings).await,
        Verb::Patch => patch::patch(call, part, warnings).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}

/// Evicts a pod: deletes it. Disruption budgets are not asked yet.
async fn evict(call: &Call<'_>) -> ApiResult<Answer> {
    if call.request.method != Method::POST {
        return Err(ApiError::method_not_allowed());
    }
    let eviction = input::body(call)?;
    let mut request = call.request.clone();
    request.subresource.clear();
    request.verb = Verb::Delete;
    request.content_type.clear();
    request.body = match &eviction["deleteOptions"] {
        Value::Null => json!({}).to_string().into(),
        options => options.to_string().into(),
    };
    let deletion = Call {
        inner: call.inner,
        request: &request,
        served: call.served,
    };
    super::delete::delete(&deletion).await?;
    Ok(Answer::Plain {
        code: 201,
        value: json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
    })
}
