//! From what a verb answers to bytes: objects, lists, tables, metadata only, streams, errors.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderValue, WARNING};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::faults::{Fault, broken};
use crate::http::body::ApiBody;
use crate::http::negotiate::{Encoding, Form, Output};
use crate::http::request::Request;
use crate::http::status::{ApiError, ApiResult};
use crate::registry::Served;
use crate::server::Inner;
use crate::storage::Object;
use crate::table::IncludeObject;
use crate::verbs::convert;
use crate::verbs::{Answer, Page};

/// A whole answer of one content type.
pub(crate) fn bytes(code: u16, content_type: &'static str, body: Bytes) -> Response<ApiBody> {
    let mut response = Response::new(ApiBody::from(body));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(
        http::header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    response
}

/// A value in the wanted encoding.
pub(crate) fn value(code: u16, value: &Value, encoding: Encoding) -> Response<ApiBody> {
    match encoding {
        Encoding::Json => bytes(
            code,
            "application/json",
            serde_json::to_vec(value).unwrap_or_default().into(),
        ),
        Encoding::Yaml => bytes(
            code,
            "application/yaml",
            serde_saphyr::to_string(value).unwrap_or_default().into(),
        ),
    }
}

/// An error as `metav1.Status`.
pub(crate) fn error(error: &ApiError, request: &Request) -> Response<ApiBody> {
    if error.plain {
        let text = Bytes::copy_from_slice(error.message.as_bytes());
        return bytes(error.code, "text/plain; charset=utf-8", text);
    }
    let encoding = request
        .accept
        .choose()
        .map_or(Encoding::Json, |output| output.encoding);
    let mut response = value(error.code, &error.to_value(), encoding);
    let retry = error
        .details
        .as_ref()
        .and_then(|d| d["retryAfterSeconds"].as_u64());
    if let Some(retry) = retry {
        response
            .headers_mut()
            .insert(http::header::RETRY_AFTER, HeaderValue::from(retry));
    }
    response
}

/// Adds one `Warning` header per text.
pub(crate) fn warn(response: &mut Response<ApiBody>, warnings: &[String]) {
    for text in warnings {
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(header) = HeaderValue::from_str(&format!("299 - \"{escaped}\"")) {
            response.headers_mut().append(WARNING, header);
        }
    }
}

/// Writes what a verb answered.
pub(crate) async fn answer(
    inner: &Arc<Inner>,
    request: &Request,
    served: &Served,
    output: &Output,
    answer: Answer,
) -> ApiResult<Response<ApiBody>> {
    match answer {
        Answer::Status(status) => Ok(value(200, &status, output.encoding)),
        Answer::Object { .. } | Answer::Preview { .. } if output.form.is_of_lists() => Err(ApiError::new(
            406,
            "NotAcceptable",
            "you requested PartialObjectMetadataList, but the requested object is not a list",
        )),
        Answer::List(_) if output.form.is_of_objects() => {
            let list = match served.resource.is_custom() {
                true => "*unstructured.UnstructuredList".to_owned(),
                false => {
                    let group = served.resource.gr.group.split('.').next().unwrap_or_default();
                    let package = if group.is_empty() { "core" } else { group };
                    format!("*{package}.{}", served.resource.list_kind)
                }
            };
            let message =
                format!("you requested PartialObjectMetadata, but the requested object is a list ({list})");
            Err(ApiError::new(406, "NotAcceptable", message))
        }
        Answer::Plain { code, value: plain } => Ok(value(code, &plain, output.encoding)),
        Answer::Preview { code, value: object } => {
            let include =
                IncludeObject::parse(request.query.get("includeObject")).map_err(ApiError::bad_request)?;
            let shaped = shape(inner, served, &output.form, &object, include, true);
            Ok(value(code, &shaped, output.encoding))
        }
        Answer::Object { code, object } => one(inner, request, served, output, code, &object).await,
        Answer::List(page) => list(inner, request, served, output, page).await,
        Answer::Stream(stream) => {
            let mut response = Response::new(ApiBody::Stream(stream));
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Ok(response)
        }
    }
}

async fn one(
    inner: &Arc<Inner>,
    request: &Request,
    served: &Served,
    output: &Output,
    code: u16,
    object: &Arc<Object>,
) -> ApiResult<Response<ApiBody>> {
    if *output == Output::json() {
        return Ok(bytes(
            code,
            "application/json",
            convert::text(inner, served, object).await?,
        ));
    }
    let object = convert::value(inner, served, object).await?;
    let include = IncludeObject::parse(request.query.get("includeObject")).map_err(ApiError::bad_request)?;
    Ok(value(
        code,
        &shape(inner, served, &output.form, &object, include, true),
        output.encoding,
    ))
}

/// An object in the wanted form.
pub(crate) fn shape(
    inner: &Inner,
    served: &Served,
    form: &Form,
    object: &Value,
    include: IncludeObject,
    headers: bool,
) -> Value {
    match form {
        Form::Object => object.clone(),
        Form::Metadata(version, _) => metadata_only(object, version),
        Form::Table(version) => {
            let list_metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            served
                .version()
                .columns
                .render(&[object], &list_metadata, inner.now(), include, version, headers)
        }
    }
}

fn metadata_only(object: &Value, version: &str) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": object["metadata"]})
}

async fn list(
    inner: &Arc<Inner>,
    request: &Request,
    served: &Served,
    output: &Output,
    mut page: Page,
) -> ApiResult<Response<ApiBody>> {
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    if served.resource.is_custom() && output.form == Form::Object {
        metadata["continue"] = "".into();
    }
    if let Some(next) = page.next {
        metadata["continue"] = next.into();
    }
    if let Some(remaining) = page.remaining {
        metadata["remainingItemCount"] = remaining.into();
    }
    if broken(Fault::StaleList) {
        page.objects.pop();
    }
    let (api_version, kind) = (served.api_version(), &served.resource.list_kind);
    if *output == Output::json() {
        let mut body =
            BytesMut::with_capacity(256 + page.objects.iter().map(|o| o.json.len() + 1).sum::<usize>());
        let head = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata}).to_string();
        body.put_slice(head.trim_end_matches('}').as_bytes());
        // The head ended with the metadata's own brace as well.
        body.put_slice(b"},\"items\":[");
        for (index, text) in convert::texts(inner, served, &page.objects)
            .await?
            .iter()
            .enumerate()
        {
            if index > 0 {
                body.put_u8(b',');
            }
            body.put_slice(text);
        }
        body.put_slice(b"]}");
        return Ok(bytes(200, "application/json", body.freeze()));
    }
    let items = convert::values(inner, served, &page.objects).await?;
    let whole = match &output.form {
        Form::Object => {
            json!({"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items})
        }
        Form::Metadata(version, _) => {
            let items: Vec<Value> = items.iter().map(|item| metadata_only(item, version)).collect();
            json!({"kind": "PartialObjectMetadataList", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata, "items": items})
        }
        Form::Table(version) => {
            let include =
                IncludeObject::parse(request.query.get("includeObject")).map_err(ApiError::bad_request)?;
            let items: Vec<&Value> = items.iter().collect();
            served
                .version()
                .columns
                .render(&items, &metadata, inner.now(), include, version, true)
        }
    };
    Ok(value(200, &whole, output.encoding))
}
