//! Create, with generated names.

use kube::core::admission::Operation;
use serde_json::Value;

use super::admission::{AdmissionPhase, admit};
use super::{Answer, Call, builtin, input, meta, write};
use crate::auth::attributes::Attributes;
use crate::auth::rbac::escalation;
use crate::auth::service_account::pods;
use crate::csr;
use crate::faults::{Fault, broken};
use crate::http::request::Verb;
use crate::http::status::{ApiError, ApiResult};

/// How often a generated name is tried.
const ATTEMPTS: usize = 8;
/// The longest prefix that leaves room for the random suffix in a name of 63 characters.
const LONGEST_PREFIX: usize = 58;

pub(super) async fn create(call: &Call<'_>, warnings: &mut Vec<String>) -> ApiResult<Answer> {
    let value = input::object(call, warnings)?;
    create_value(call, value, false, warnings).await
}

/// Creates `value`; `applied` tells that its field ownership is recorded already.
pub(super) async fn create_value(
    call: &Call<'_>,
    mut value: Value,
    applied: bool,
    warnings: &mut Vec<String>,
) -> ApiResult<Answer> {
    meta::place(call, &mut value)?;
    // What is no number is not looked at.
    if meta::text(&value, "resourceVersion")
        .parse::<u64>()
        .is_ok_and(|version| version > 0)
    {
        return Err(ApiError::new(
            500,
            "",
            "resourceVersion should not be set on objects to be created",
        ));
    }
    // Mutating admission sees the object as it was sent: what the server sets comes after it.
    meta::wipe_new(&mut value);
    builtin::default(call, &mut value);
    if !applied {
        write::own(call, write::Part::Main, None, &mut value);
    }
    pods::admit(call, &mut value).await?;
    admit(
        call,
        AdmissionPhase::Mutating,
        Operation::Create,
        Some(&mut value),
        None,
        warnings,
    )
    .await?;
    escalation::check(call, None, &value)?;
    let generates = meta::text(&value, "name").is_empty() && !meta::text(&value, "generateName").is_empty();
    for attempt in 1.. {
        let mut candidate = value.clone();
        if generates {
            let prefix: String = meta::text(&value, "generateName")
                .chars()
                .take(LONGEST_PREFIX)
                .collect();
            let name = format!("{prefix}{}", seams::name_suffix(&*call.inner.randomness, 5));
            meta::put(&mut candidate, "name", name.into());
            builtin::default(call, &mut candidate);
        }
        match create_named(call, candidate, warnings).await {
            Err(error) if generates && error.reason == "AlreadyExists" && attempt < ATTEMPTS => {}
            result => return result,
        }
    }
    Err(ApiError::internal("no name was found"))
}

async fn create_named(call: &Call<'_>, mut value: Value, warnings: &mut Vec<String>) -> ApiResult<Answer> {
    meta::stamp_new(call, &mut value);
    builtin::prepare_create(call, &mut value);
    check_namespace(call, meta::text(&value, "name"))?;
    check_definition(call)?;
    if call.served.resource.is_custom() {
        meta::warn_finalizers(None, &value, warnings);
    }
    builtin::allocate(call, None, &mut value)?;
    write::validate(call, write::Part::Main, None, &value)?;
    csr::admission::check(call, write::Part::Main, None, &value)?;
    if call.request.verb != Verb::Create {
        // A write that finds nothing to change creates, which is another permission.
        let mut asked = Attributes::of(call.request, &call.request.user);
        asked.verb = "create".into();
        call.inner.auth.check(&asked)?;
    }
    admit(
        call,
        AdmissionPhase::Validating,
        Operation::Create,
        Some(&mut value.clone()),
        None,
        warnings,
    )
    .await?;
    write::insert(call, value).await
}

/// New objects need a namespace that exists and is not being emptied.
fn check_namespace(call: &Call<'_>, name: &str) -> ApiResult<()> {
    let namespace = &call.request.namespace;
    if namespace.is_empty() || broken(Fault::NoNamespaces) {
        return Ok(());
    }
    let namespaces = crate::server::namespaces();
    let found = call
        .inner
        .store
        .get(&namespaces, namespace)
        .ok_or_else(|| ApiError::not_found(&namespaces, namespace))?;
    if !found.terminating {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let cause = serde_json::json!({
        "reason": "NamespaceTerminating", "message": format!("namespace {namespace} is being terminated"), "field": "metadata.namespace",
    });
    Err(ApiError::forbidden(call.gr(), name, &why).with_causes(vec![cause]))
}

/// New custom resources need a definition that is not being deleted.
fn check_definition(call: &Call<'_>) -> ApiResult<()> {
    if !call.served.resource.is_custom() {
        return Ok(());
    }
    let definition = call
        .inner
        .store
        .get(&crate::server::definitions(), &call.gr().to_string());
    match definition.is_some_and(|d| d.terminating) {
        true => Err(ApiError::new(
            405,
            "MethodNotAllowed",
            "create not allowed while custom resource definition is terminating",
        )),
        false => Ok(()),
    }
}
