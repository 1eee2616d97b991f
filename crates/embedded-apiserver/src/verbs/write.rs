//! What every write goes through once the new object is known: strategy, admission, validation, ownership, commit.

use kube::core::admission::Operation;
use serde_json::Value;

use super::admission::{AdmissionPhase, admit};
use super::{Answer, Call, builtin, convert, meta};
use crate::auth::rbac::{self, escalation};
use crate::csr;
use crate::faults::{Fault, broken};
use crate::fieldmanager::{self, Writer};
use crate::http::status::{ApiError, ApiResult};
use crate::registry::builtin::Builtin;
use crate::schema::{self, FieldError, validate_custom_resource};
use crate::storage::{CommitError, Expect, Object, Write};

/// The part of an object that a request may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Main,
    /// The replicas of the main resource.
    Scale,
    Status,
    /// `spec.finalizers` of namespaces.
    Finalize,
    /// Approval of certificate signing requests.
    Approval,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::Scale => "scale",
            Self::Status => "status",
            Self::Finalize => "finalize",
            Self::Approval => "approval",
        }
    }
}

/// A write of this request is refused: the text of a conflict.
pub(crate) fn modified(call: &Call<'_>, name: &str) -> ApiError {
    ApiError::conflict(call.gr(), name, crate::http::status::MODIFIED)
}

fn move_field(new: &mut Value, old: &Value, field: &str) {
    match old.get(field) {
        Some(value) => new[field] = value.clone(),
        None => {
            if let Some(map) = new.as_object_mut() {
                map.remove(field);
            }
        }
    }
}

/// Whether those who report the status may label the object as well.
fn reports(call: &Call<'_>) -> bool {
    let kinds = ["pods", "nodes", "namespaces", "services", "persistentvolumes"];
    !call.served.resource.is_custom() && kinds.contains(&&*call.gr().resource)
}

/// Puts back what the part may not change.
pub(crate) fn protect(call: &Call<'_>, part: Part, old: &Value, new: &mut Value) {
    let resource = &call.served.resource;
    match part {
        Part::Main | Part::Scale => {
            if call.version().status && !broken(Fault::OpenStatus) {
                move_field(new, old, "status");
            }
            if resource.is("certificates.k8s.io", "certificatesigningrequests") {
                move_field(new, old, "spec");
            }
            if resource.is("", "namespaces") {
                move_field(new, old, "spec");
            }
        }
        Part::Status | Part::Approval if resource.is(csr::GROUP, "certificatesigningrequests") => {
            csr::strategy::protect(part, old, new, &call.inner.now_text());
        }
        Part::Status | Part::Approval => {
            let mut result = old.clone();
            move_field(&mut result, new, "status");
            // Kubelets and the like label what they report about; of all other objects only the status can change here.
            let reports = reports(call);
            let kept: &[&str] = match (resource.is_custom(), reports) {
                (true, _) => &["managedFields"],
                (false, false) => &["managedFields", "annotations", "finalizers"],
                (false, true) => &["managedFields", "annotations", "finalizers", "labels"],
            };
            for field in kept {
                meta::put(&mut result, field, new["metadata"][*field].clone());
            }
            *new = result;
        }
        Part::Finalize => move_field(new, old, "status"),
    }
}

/// The paths that a part of a resource owns nothing of, for field management.
fn reset_fields(call: &Call<'_>, part: Part) -> &'static [&'static [&'static str]] {
    let is_csr = call.served.resource.is(csr::GROUP, "certificatesigningrequests");
    match part {
        Part::Main if is_csr => &[&["spec"], &["status"]],
        Part::Status if is_csr => &[&["spec"], &["status", "conditions"]],
        Part::Approval if is_csr => &[&["spec"], &["status", "certificate"]],
        Part::Main if call.version().status => &[&["status"]],
        Part::Status if call.served.resource.is_custom() => &[&["spec"], &["metadata"]],
        Part::Status if reports(call) => &[&["spec"]],
        Part::Status => &[&["spec"], &["metadata", "labels"]],
        _ => &[],
    }
}

/// The name under which a request's fields are recorded.
pub(crate) fn manager(call: &Call<'_>) -> String {
    match call.request.query.get("fieldManager") {
        _ if broken(Fault::WrongManager) => "somebody".to_owned(),
        "" => fieldmanager::default_manager(&call.request.user_agent),
        manager => manager.to_owned(),
    }
}

/// Calls `act` with the writer of this request.
pub(crate) fn with_writer<T>(
    call: &Call<'_>,
    part: Part,
    act: impl FnOnce(&Writer<'_>, &[&[&str]]) -> T,
) -> T {
    let (manager, api_version) = (manager(call), call.served.api_version());
    let writer = Writer {
        manager: &manager,
        api_version: &api_version,
        subresource: part.name(),
        now: call.inner.now(),
    };
    act(&writer, reset_fields(call, part))
}

/// Records who owns which field after an update; `applied` writes have done it already.
pub(crate) fn own(call: &Call<'_>, part: Part, old: Option<&Value>, new: &mut Value) {
    if !call.inner.options.managed_fields {
        return meta::put(new, "managedFields", Value::Null);
    }
    with_writer(call, part, |writer, reset| {
        fieldmanager::record_update(&call.version().types, old, new, writer, reset)
    });
    if part == Part::Scale
        && let Some(entries) = new["metadata"]["managedFields"].as_array_mut()
    {
        // Upstream records no time for the scale subresource, which also makes these entries the first.
        entries.sort_by_key(|entry| entry["subresource"] != "scale");
        for entry in entries.iter_mut().filter(|entry| entry["subresource"] == "scale") {
            entry.as_object_mut().map(|entry| entry.remove("time"));
        }
    }
}

/// Checks an object that is about to be stored.
pub(crate) fn validate(call: &Call<'_>, part: Part, old: Option<&Value>, new: &Value) -> ApiResult<()> {
    let resource = &call.served.resource;
    let mut errors = match old {
        None => meta::validate_create(resource, new),
        Some(old) => meta::validate_update(resource, old, new),
    };
    let checked = if part == Part::Status {
        schema::Part::Status
    } else {
        schema::Part::Whole
    };
    if let (Some(schema), Some(rules)) = (&call.version().schema, &call.version().rules) {
        // Rules are not evaluated on what is incomplete.
        let incomplete = errors.iter().any(|e| e.kind == schema::ErrorKind::Required) && !rules.is_empty();
        if incomplete {
            errors.extend(schema.validate(new, old));
            let detail = "some validation rules were not checked because the object was invalid; correct the existing errors to \
                          complete validation";
            errors.push(FieldError::invalid("<nil>", Value::Null, detail));
        } else {
            errors.extend(validate_custom_resource(schema, rules, new, old, checked));
        }
    }
    if let Some(paths) = call.version().scale.as_ref().filter(|_| resource.is_custom()) {
        let fields = schema::ScaleFields {
            spec_replicas: &paths.spec,
            status_replicas: &paths.status,
            label_selector: paths.selector.as_deref(),
        };
        errors.extend(schema::validate_scale(&fields, new, part == Part::Status));
    }
    if !broken(Fault::UncheckedKinds) {
        errors.extend(builtin::validate(call, old, new));
    }
    errors.extend(rbac::validate::validate(resource, old, new));
    errors.extend(csr::validate::validate(resource, part, old, new));
    let name = match meta::text(new, "name") {
        "" => meta::text(new, "generateName"),
        name => name,
    };
    match errors.is_empty() {
        true => Ok(()),
        false => Err(ApiError::invalid(resource, name, &errors)),
    }
}

/// Stores a new object.
pub(crate) async fn insert(call: &Call<'_>, value: Value) -> ApiResult<Answer> {
    let key = crate::storage::object_key(meta::text(&value, "namespace"), meta::text(&value, "name"));
    let name = meta::text(&value, "name").to_owned();
    if call.request.query.dry_run() && !broken(Fault::StoredDryRun) {
        return match call.inner.store.get(&call.served.resource.store, &key) {
            Some(_) => Err(ApiError::already_exists(call.gr(), &name)),
            None => Ok(Answer::Preview {
                code: 201,
                value: convert::as_stored(call.inner, call.served, value).await?,
            }),
        };
    }
    let value = convert::to_storage(call.inner, call.served, value).await?;
    let write = Write {
        resource: call.served.resource.store.clone(),
        key,
        expect: Expect::Absent,
        value,
        delete: false,
    };
    match call.inner.commit(write).await {
        Ok(object) => {
            if *call.gr().resource == *"events" && !call.served.resource.is_custom() {
                call.inner.expiry.note(call.inner, &object).await;
            }
            Ok(Answer::Object { code: 201, object })
        }
        Err(CommitError::Engine(error)) => Err(ApiError::internal(error)),
        Err(_) => Err(ApiError::already_exists(call.gr(), &name)),
    }
}

/// How a replacement ended.
pub(crate) enum Replaced {
    Done(Answer),
    /// Somebody else was faster; look again.
    Raced,
}

/// Takes a replacement for `current` through all rules and stores it, unless it changes nothing.
pub(crate) async fn replace(
    call: &Call<'_>,
    part: Part,
    current: &Object,
    old: Value,
    mut new: Value,
    applied: bool,
    warnings: &mut Vec<String>,
) -> ApiResult<Replaced> {
    let pinned = !matches!(meta::text(&new, "resourceVersion"), "" | "0");
    meta::carry_over(call, current, &old, &mut new)?;
    builtin::default(call, &mut new);
    if !applied {
        own(call, part, Some(&old), &mut new);
    }
    protect(call, part, &old, &mut new);
    builtin::prepare_update(call, Some(&old), &mut new);
    admit(
        call,
        AdmissionPhase::Mutating,
        Operation::Update,
        Some(&mut new),
        Some(&old),
        warnings,
    )
    .await?;
    meta::carry_over(call, current, &old, &mut new)?;
    protect(call, part, &old, &mut new);
    builtin::prepare_update(call, Some(&old), &mut new);
    if part == Part::Main {
        escalation::check(call, Some(&old), &new)?;
    }
    if call.served.resource.is_custom() {
        meta::warn_finalizers(Some(&old), &new, warnings);
    }
    let has_generation = call.served.resource.has_generation();
    if has_generation
        && !broken(Fault::StuckGeneration)
        && meta::changes_generation(call.version(), &old, &new)
    {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
        meta::put(&mut new, "generation", (generation + 1).into());
    }
    builtin::allocate(call, Some(&old), &mut new)?;
    validate(call, part, Some(&old), &new)?;
    csr::admission::check(call, part, Some(&old), &new)?;
    meta::put(
        &mut new,
        "resourceVersion",
        old["metadata"]["resourceVersion"].clone(),
    );
    admit(
        call,
        AdmissionPhase::Validating,
        Operation::Update,
        Some(&mut new.clone()),
        Some(&old),
        warnings,
    )
    .await?;
    let dry = call.request.query.dry_run() && !broken(Fault::StoredDryRun);
    let delete = is_finished(call, &new);
    if new == old && !delete && !dry {
        let unchanged = call.inner.store.get(&call.served.resource.store, &current.key());
        return Ok(
            match unchanged.filter(|object| object.revision == current.revision) {
                Some(object) => Replaced::Done(Answer::Object { code: 200, object }),
                None => Replaced::Raced,
            },
        );
    }
    if dry {
        return Ok(Replaced::Done(Answer::Preview {
            code: 200,
            value: convert::as_stored(call.inner, call.served, new).await?,
        }));
    }
    let value = convert::to_storage(call.inner, call.served, new).await?;
    let expect = Expect::Revision(current.revision);
    let write = Write {
        resource: call.served.resource.store.clone(),
        key: current.key(),
        expect,
        value,
        delete,
    };
    match call.inner.commit(write).await {
        Ok(object) => Ok(Replaced::Done(Answer::Object { code: 200, object })),
        Err(CommitError::Engine(error)) => Err(ApiError::internal(error)),
        Err(_) if pinned => Err(modified(call, &current.name)),
        Err(_) => Ok(Replaced::Raced),
    }
}

/// Whether nothing holds a terminating object any longer.
fn is_finished(call: &Call<'_>, new: &Value) -> bool {
    let empty = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    let kept_by_spec = call.served.resource.is("", "namespaces") && !empty(&new["spec"]["finalizers"]);
    !meta::text(new, "deletionTimestamp").is_empty() && empty(&new["metadata"]["finalizers"]) && !kept_by_spec
}

/// Whether a write to an absent object creates it.
pub(crate) fn upserts(call: &Call<'_>) -> bool {
    call.served
        .resource
        .builtin()
        .is_some_and(|row| row.has(Builtin::UPSERT))
}
