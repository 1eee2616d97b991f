//! One request from head to tail: read, do, answer, tell the audit.

use std::sync::Arc;

use http::Response;

use crate::discovery;
use crate::faults::{Fault, broken};
use crate::http::audit::AuditEvent;
use crate::http::body::ApiBody;
use crate::http::request::{Request, Target};
use crate::http::respond;
use crate::http::status::ApiError;
use crate::server::Inner;
use crate::verbs;

/// Answers one request. Never fails: failures are answers too.
pub(crate) async fn handle(inner: &Arc<Inner>, request: Request, path_and_query: &str) -> Response<ApiBody> {
    let response = match request.target {
        _ if let Err(error) = request.query.deadline() => respond::error(&error, &request),
        Target::Resource => resource(inner, &request).await,
        _ => discovery::answer(inner, &request).unwrap_or_else(|error| respond::error(&error, &request)),
    };
    audit(inner, &request, path_and_query, response.status().as_u16());
    response
}

async fn resource(inner: &Arc<Inner>, request: &Request) -> Response<ApiBody> {
    let registry = inner.registry.load();
    let found = registry.find(&request.group, &request.version, &request.resource);
    let output = match (&found, request.accept.choose()) {
        (None, _) if !registry.answers_for(&request.group) => {
            return respond::error(&ApiError::page_not_found(), request);
        }
        (None, _) => return respond::error(&ApiError::no_such_path(), request),
        (Some(served), Ok(output)) if served.resource.is_custom() || request.accept.is_served() => output,
        (Some(_), Ok(_)) => return respond::error(&ApiError::not_acceptable(), request),
        (Some(_), Err(error)) => return respond::error(&error, request),
    };
    drop(registry);
    let mut warnings = Vec::new();
    let answer = verbs::dispatch(inner, request, &output, &mut warnings).await;
    let mut response = match answer {
        Ok((served, answer)) => match respond::answer(inner, request, &served, &output, answer).await {
            Ok(response) => response,
            Err(error) => respond::error(&error, request),
        },
        Err(error) => respond::error(&error, request),
    };
    if !broken(Fault::LostWarnings) {
        respond::warn(&mut response, &warnings);
    }
    response
}

pub(crate) fn audit(inner: &Inner, request: &Request, path: &str, code: u16) {
    let Some(audit) = &inner.audit else { return };
    let verb = match request.target {
        Target::Resource => request.verb.as_str().to_owned(),
        _ => request.method.as_str().to_lowercase(),
    };
    audit.observe(&AuditEvent {
        verb,
        path: path.to_owned(),
        group: request.group.clone(),
        resource: request.resource.clone(),
        namespace: request.namespace.clone(),
        name: request.name.clone(),
        subresource: request.subresource.clone(),
        user: request.user.name.clone(),
        user_agent: request.user_agent.clone(),
        content_type: request.content_type.clone(),
        body: request.body.clone(),
        code,
    });
}

/// Does a request of the server's own controllers; it is admitted and audited like any other. A patch that names its field
/// manager is an apply.
pub(crate) async fn internal(
    inner: &Arc<Inner>,
    agent: &str,
    method: http::Method,
    uri: &str,
    body: Option<serde_json::Value>,
) -> Result<(), ApiError> {
    let builder = http::Request::builder()
        .method(method)
        .uri(uri)
        .header(http::header::USER_AGENT, agent);
    let patches = builder.method_ref() == Some(&http::Method::PATCH);
    let content_type = match patches {
        true if uri.contains("fieldManager=") => "application/apply-patch+yaml",
        true => "application/merge-patch+json",
        false => "application/json",
    };
    let built = builder
        .header(http::header::CONTENT_TYPE, content_type)
        .body(())
        .map_err(ApiError::internal)?;
    let body = body.map(|b| b.to_string().into()).unwrap_or_default();
    let user = crate::auth::User::new(&format!("system:{agent}"), &[crate::auth::user::MASTERS]);
    let (parts, ()) = built.into_parts();
    let request = Request::read(&parts, body, user);
    let mut warnings = Vec::new();
    let result = verbs::dispatch(
        inner,
        &request,
        &crate::http::negotiate::Output::json(),
        &mut warnings,
    )
    .await;
    audit(
        inner,
        &request,
        uri,
        result
            .as_ref()
            .map_or_else(|e| e.code, |(_, answer)| answer.code()),
    );
    result.map(|_| ())
}
