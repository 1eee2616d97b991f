//! The subresource `serviceaccounts/token`: somebody asks for a token.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::claims::{self, Bound};
use crate::fieldmanager::{self, TypeSchema, Writer};
use crate::http::request::Verb;
use crate::http::status::{ApiError, ApiResult};
use crate::schema::FieldError;
use crate::server::time_text;
use crate::storage::{GroupResource, Object, object_key};
use crate::verbs::{self, Answer, Call};

const GROUP: &str = "authentication.k8s.io";
const KIND: &str = "TokenRequest";
const SHORTEST: i64 = 10 * 60;
const LONGEST: i64 = 1 << 32;
const DEFAULT: i64 = 60 * 60;
/// What pods ask for; such tokens live on for a year, and only warn before.
const OF_PODS: i64 = 60 * 60 + 7;
const EXTENDED: i64 = 365 * 24 * 60 * 60;

fn invalid(name: &str, errors: &[FieldError]) -> ApiError {
    ApiError::invalid_named(KIND, GROUP, name, errors)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn gone(kind: &str, name: &str) -> ApiError {
    ApiError::not_found(&GroupResource::new("", kind), name)
}

/// The body of a request, decoded: kind and place are checked, the expiration is filled in, its writer is noted.
fn decode(call: &Call<'_>) -> ApiResult<Value> {
    let mut body = verbs::body(call)?;
    let (version, kind) = (text(&body, "apiVersion"), text(&body, "kind"));
    let own = format!("{GROUP}/v1");
    if (!version.is_empty() && version != own) || (!kind.is_empty() && kind != KIND) {
        let sent = version.rsplit('/').next().unwrap_or_default();
        return Err(ApiError::bad_request(format!(
            "{kind} in version {sent:?} cannot be handled as a {KIND}: no kind {kind:?} is registered for version {version:?} in \
             scheme \"pkg/runtime/scheme.go:111\""
        )));
    }
    let namespace = text(&body["metadata"], "namespace");
    if !namespace.is_empty() && namespace != call.request.namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    body["apiVersion"] = own.as_str().into();
    body["kind"] = KIND.into();
    for part in ["metadata", "spec"] {
        if !body[part].is_object() {
            body[part] = json!({});
        }
    }
    if body["spec"]["expirationSeconds"].is_null() {
        body["spec"]["expirationSeconds"] = DEFAULT.into();
    }
    if call.inner.options.managed_fields
        && let Some(types) = TypeSchema::builtin(GROUP, "v1", KIND)
    {
        let manager = verbs::manager(call);
        let writer = Writer {
            manager: &manager,
            api_version: &own,
            subresource: "token",
            now: call.inner.now(),
        };
        fieldmanager::record_update(&types, None, &mut body, &writer, &[]);
    }
    Ok(body)
}

/// Fills in what the request leaves out.
fn complete(call: &Call<'_>, account: &Object, audiences: &[String], body: &mut Value) -> ApiResult<()> {
    let name = &call.request.name;
    let sent = text(&body["metadata"], "name");
    if !sent.is_empty() && *sent != *account.name {
        let detail = "must match the service account name if specified";
        return Err(invalid(
            name,
            &[FieldError::invalid("metadata.name", sent, detail)],
        ));
    }
    let uid = text(&body["metadata"], "uid");
    if !uid.is_empty() && *uid != *account.uid {
        let why = format!(
            "the UID in the token request ({uid}) does not match the UID of the service account ({})",
            account.uid
        );
        return Err(ApiError::conflict(&GroupResource::new(GROUP, KIND), name, &why));
    }
    body["metadata"]["name"] = (*account.name).into();
    body["metadata"]["namespace"] = (*account.namespace).into();
    body["metadata"]["uid"] = (*account.uid).into();
    body["metadata"]["creationTimestamp"] = call.inner.now_text().into();
    if body["spec"]["audiences"].as_array().is_none_or(Vec::is_empty) {
        body["spec"]["audiences"] = json!(audiences);
    }
    if body["spec"].get("boundObjectRef").is_none() {
        body["spec"]["boundObjectRef"] = Value::Null;
    }
    Ok(())
}

fn validate(body: &Value) -> ApiResult<()> {
    let seconds = body["spec"]["expirationSeconds"].as_i64().unwrap_or_default();
    let detail = match seconds {
        ..SHORTEST => "may not specify a duration less than 10 minutes",
        SHORTEST..=LONGEST => return Ok(()),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let error = FieldError::invalid("spec.expirationSeconds", seconds, detail);
    Err(invalid("", &[error]))
}

/// Finds what the token shall be bound to.
fn bind(call: &Call<'_>, reference: &Value) -> ApiResult<Bound> {
    let mut bound = Bound::default();
    if !reference.is_object() {
        return Ok(bound);
    }
    let (kind, name, api_version) = (
        text(reference, "kind"),
        text(reference, "name"),
        text(reference, "apiVersion"),
    );
    let namespace = call.request.namespace.as_str();
    let get = |resource: &str, namespace: &str, name: &str| {
        let gr = GroupResource::new("", resource);
        call.inner.store.get(&gr, &object_key(namespace, name))
    };
    let pair = |object: &Object| Some((object.name.to_string(), object.uid.to_string()));
    let core = !api_version.contains('/');
    let uid = match kind {
        "Pod" if core => {
            let pod = get("pods", namespace, name).ok_or_else(|| gone("pods", name))?;
            let spec = &pod.value()["spec"];
            if text(spec, "serviceAccountName") != call.request.name {
                return Err(ApiError::bad_request(format!(
                    "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                    call.request.name
                )));
            }
            bound.pod = pair(&pod);
            let node = text(spec, "nodeName");
            if !node.is_empty() {
                let found = get("nodes", "", node);
                bound.node = match found {
                    Some(node) => pair(&node),
                    None => Some((node.to_owned(), String::new())),
                };
            }
            pod.uid.clone()
        }
        "Node" if core => {
            let node = get("nodes", "", name).ok_or_else(|| gone("nodes", name))?;
            bound.node = pair(&node);
            node.uid.clone()
        }
        "Secret" if core => {
            let secret = get("secrets", namespace, name).ok_or_else(|| gone("secrets", name))?;
            bound.secret = pair(&secret);
            secret.uid.clone()
        }
        _ => {
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            return Err(ApiError::bad_request(format!(
                "cannot bind token to object of type {group}/{version}, Kind={kind}"
            )));
        }
    };
    let wanted = text(reference, "uid");
    if !wanted.is_empty() && *wanted != *uid {
        let why = format!(
            "the UID in the bound object reference ({wanted}) does not match the UID in record. The object might have been \
             deleted and then recreated"
        );
        return Err(ApiError::conflict(&GroupResource::new("", kind), name, &why));
    }
    Ok(bound)
}

/// Answers a request for a token.
pub(crate) fn create(call: &Call<'_>) -> ApiResult<Answer> {
    if call.request.verb != Verb::Create {
        return Err(ApiError::method_not_allowed());
    }
    let (inner, name) = (call.inner, &call.request.name);
    let issuer = inner.auth.issuer.as_ref().ok_or_else(ApiError::no_such_path)?;
    let mut body = decode(call)?;
    let account = call.current()?;
    complete(call, &account, issuer.audiences(), &mut body)?;
    validate(&body)?;
    let bound = bind(call, &body["spec"]["boundObjectRef"])?;
    let audiences: Vec<String> = body["spec"]["audiences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let seconds = body["spec"]["expirationSeconds"].as_i64().unwrap_or(DEFAULT);
    let own = audiences
        .iter()
        .all(|audience| issuer.audiences().contains(audience));
    let (lives, warns) = match bound.pod.is_some() && seconds == OF_PODS && own {
        true => (EXTENDED, Some(seconds)),
        false => (seconds, None),
    };
    let id = seams::uuid(&*inner.randomness);
    let now = inner.now();
    let claims = claims::new(&account, &bound, &audiences, &id, now, lives, warns);
    let token = issuer
        .sign(claims, false)
        .map_err(|error| ApiError::internal(format!("failed to generate token: {error}")))?;
    let expires = now
        .checked_add(SignedDuration::from_secs(seconds))
        .map_err(|error| ApiError::internal(format!("{name}: {error}")))?;
    body["status"] = json!({"expirationTimestamp": time_text(expires), "token": token});
    Ok(Answer::Plain {
        code: 201,
        value: body,
    })
}
