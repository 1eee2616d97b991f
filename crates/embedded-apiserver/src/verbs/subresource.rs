//! Which subresources a resource has, and who answers them.

use super::write::Part;
use super::{Answer, Call, eviction, get, patch, scale, update};
use crate::auth::service_account::request as token_request;
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
        "token" if declared => token_request::create(call),
        "eviction" if declared => eviction::evict(call, warnings).await,
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
