//! What there is: API groups, versions and resources, the server's version and health, OpenAPI documents.

mod aggregated;
mod lists;
mod openapi;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ETAG, HeaderValue};
use http::{Method, Response};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::http::body::ApiBody;
use crate::http::negotiate::Encoding;
use crate::http::request::{Request, Target};
use crate::http::respond;
use crate::http::status::{ApiError, ApiResult};
use crate::server::Inner;

/// The Kubernetes version whose behaviour this server has.
const VERSION: (&str, &str, &str) = ("1", "36", "v1.36.0");

/// The form of OpenAPI v2 that older clients ask for; kubectl falls back to it for kinds that nobody knows.
const PROTOBUF_V2: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Answers a path that is no resource.
pub(crate) fn answer(inner: &Arc<Inner>, request: &Request) -> ApiResult<Response<ApiBody>> {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return Err(match request.target {
            Target::Other | Target::Resource => ApiError::page_not_found(),
            _ => ApiError::method_not_allowed(),
        });
    }
    if !request.accept.is_served() && !matches!(request.target, Target::Other) {
        return Err(ApiError::not_acceptable());
    }
    let registry = inner.registry.load();
    let encoding = request
        .accept
        .choose()
        .map_or(Encoding::Json, |output| output.encoding);
    let value = match &request.target {
        Target::CoreVersions | Target::Groups if request.accept.aggregated_discovery().is_some() => {
            return Ok(aggregated::answer(&registry, request));
        }
        Target::CoreVersions => lists::core_versions(),
        Target::Groups => lists::groups(&registry),
        Target::Group(group) => lists::group(&registry, group).ok_or_else(ApiError::page_not_found)?,
        Target::Version { group, version } => {
            lists::resources(&registry, group, version).ok_or_else(ApiError::page_not_found)?
        }
        Target::Other | Target::Resource => return other(inner, request),
    };
    Ok(respond::value(200, &value, encoding))
}

fn text(body: &'static str) -> Response<ApiBody> {
    respond::bytes(
        200,
        "text/plain; charset=utf-8",
        Bytes::from_static(body.as_bytes()),
    )
}

fn other(inner: &Arc<Inner>, request: &Request) -> ApiResult<Response<ApiBody>> {
    let path = request.path.trim_end_matches('/');
    match path {
        "/healthz" | "/livez" | "/readyz" => return Ok(text("ok")),
        "/version" => {
            let (major, minor, git) = VERSION;
            let version = json!({
                "major": major, "minor": minor, "gitVersion": git, "gitCommit": "", "gitTreeState": "clean",
                "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc", "platform": "linux/amd64",
                "emulationMajor": major, "emulationMinor": minor, "minCompatibilityMajor": major, "minCompatibilityMinor": "35",
            });
            return Ok(respond::value(200, &version, Encoding::Json));
        }
        "" => {
            let paths = [
                "/api",
                "/api/v1",
                "/apis",
                "/healthz",
                "/livez",
                "/openapi/v2",
                "/openapi/v3",
                "/readyz",
                "/version",
            ];
            return Ok(respond::value(200, &json!({"paths": paths}), Encoding::Json));
        }
        _ => {}
    }
    if ["/healthz/", "/livez/", "/readyz/"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
    {
        return Ok(text("ok"));
    }
    let registry = inner.registry.load();
    match path {
        "/openapi/v2" if request.accept.wants(PROTOBUF_V2) => {
            Ok(tagged(request, PROTOBUF_V2, openapi::V2_EMPTY))
        }
        "/openapi/v2" => Ok(tagged(request, "application/json", openapi::v2(inner, &registry))),
        "/openapi/v3" => Ok(respond::value(
            200,
            &openapi::v3_index(inner, &registry),
            Encoding::Json,
        )),
        _ => {
            let rest = path
                .strip_prefix("/openapi/v3/")
                .ok_or_else(ApiError::page_not_found)?;
            let document = openapi::v3(inner, &registry, rest).ok_or_else(ApiError::no_such_path)?;
            Ok(tagged(request, "application/json", document))
        }
    }
}

/// A short hash of a document, for ETags.
fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect()
}

/// A document with an ETag; empty when the client has it already.
fn tagged(request: &Request, content_type: &'static str, document: impl Into<Bytes>) -> Response<ApiBody> {
    let document = document.into();
    let tag = format!("\"{}\"", hash(&document));
    let known = request.if_none_match == tag;
    let mut response = match known {
        true => respond::bytes(304, content_type, Bytes::new()),
        false => respond::bytes(200, content_type, document),
    };
    if let Ok(value) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, value);
    }
    response
        .headers_mut()
        .insert(http::header::VARY, HeaderValue::from_static("Accept"));
    response
}
