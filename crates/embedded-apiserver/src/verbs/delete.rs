//! Delete and deletecollection: preconditions, finalizers, propagation.

use std::sync::Arc;

use kube::core::admission::Operation;
use serde_json::{Value, json};

use super::admission::{AdmissionPhase, admit};
use super::get::Selection;
use super::{Answer, Call, Page, convert, meta};
use crate::faults::{Fault, broken};
use crate::http::request::Request;
use crate::http::status::{ApiError, ApiResult, success};
use crate::protobuf;
use crate::registry::builtin::Builtin;
use crate::schema::FieldError;
use crate::server::{definitions, namespaces};
use crate::storage::{CommitError, Expect, GroupResource, Object, Write};

/// The finalizer by which the garbage collector deletes dependents before the owner goes.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer by which the garbage collector frees dependents before the owner goes.
pub(crate) const ORPHAN: &str = "orphan";
/// The finalizer by which custom resources go before their definition.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// What a delete request asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeleteOptions {
    pub uid: Option<String>,
    pub revision: Option<String>,
    /// `Background`, `Foreground`, `Orphan` or empty.
    propagation: String,
    pub dry: bool,
}

/// The body of a delete request; null when there is none.
fn given(request: &Request) -> ApiResult<Value> {
    let body = &request.body;
    let value = match request.content_type.as_str() {
        _ if body.is_empty() => return Ok(Value::Null),
        protobuf::CONTENT_TYPE => return protobuf::read(body).map_err(ApiError::bad_request),
        "application/yaml" => super::input::yaml(body).map_err(ApiError::bad_request)?,
        "" | "application/json" => serde_json::from_str(&String::from_utf8_lossy(body)).map_err(|error| {
            let why = format!("couldn't get version/kind; json parse error: {error}");
            ApiError::bad_request(why)
        })?,
        _ => {
            return Err(ApiError::unsupported_media_type(&[
                "application/json",
                "application/yaml",
                protobuf::CONTENT_TYPE,
            ]));
        }
    };
    typed(&value)?;
    Ok(value)
}

/// Fields of the options have their types.
fn typed(options: &Value) -> ApiResult<()> {
    let unfit = |what: &str| {
        let why = format!("json: cannot unmarshal value into Go struct field DeleteOptions.{what}");
        Err(ApiError::bad_request(why))
    };
    if !options.is_object() && !options.is_null() {
        return Err(ApiError::bad_request(
            "couldn't get version/kind; json parse error: json: cannot unmarshal value into Go value of type struct",
        ));
    }
    let may_be = |value: &Value, right: fn(&Value) -> bool| value.is_null() || right(value);
    for name in ["kind", "apiVersion", "propagationPolicy"] {
        if !may_be(&options[name], Value::is_string) {
            return unfit(name);
        }
    }
    if !may_be(&options["gracePeriodSeconds"], Value::is_i64) {
        return unfit("gracePeriodSeconds");
    }
    if !may_be(&options["orphanDependents"], Value::is_boolean) {
        return unfit("orphanDependents");
    }
    let preconditions = &options["preconditions"];
    let texts = |name: &str| may_be(&preconditions[name], Value::is_string);
    if !may_be(preconditions, Value::is_object) || !texts("uid") || !texts("resourceVersion") {
        return unfit("preconditions");
    }
    let dry = &options["dryRun"];
    let all_texts = dry
        .as_array()
        .is_none_or(|list| list.iter().all(Value::is_string));
    match may_be(dry, Value::is_array) && all_texts {
        true => Ok(()),
        false => unfit("dryRun"),
    }
}

/// The options of a delete request as they were given, and whether it is a dry run.
pub(crate) fn delete_options(request: &Request) -> ApiResult<(Value, bool)> {
    let mut body = given(request)?;
    let options = DeleteOptions::read(request)?;
    if !body.is_object() {
        body = json!({});
    }
    if !options.propagation.is_empty() {
        body["propagationPolicy"] = options.propagation.as_str().into();
    }
    Ok((body, options.dry))
}

impl DeleteOptions {
    pub fn read(request: &Request) -> ApiResult<Self> {
        Self::from_body(request, given(request)?)
    }

    /// Reads the options that stand in a body, or else in the request's query.
    pub fn from_body(request: &Request, body: Value) -> ApiResult<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let query = &request.query;
        let mut propagation =
            text(&body["propagationPolicy"]).unwrap_or_else(|| query.get("propagationPolicy").to_owned());
        let orphans = body["orphanDependents"].as_bool().or_else(|| {
            query
                .has("orphanDependents")
                .then(|| query.flag("orphanDependents"))
        });
        if let (Some(orphans), true) = (orphans, propagation.is_empty()) {
            propagation = if orphans { "Orphan" } else { "Background" }.to_owned();
        }
        if !matches!(propagation.as_str(), "" | "Background" | "Foreground" | "Orphan") {
            let supported = ["Foreground", "Background", "Orphan", "nil"];
            let error = FieldError::not_supported("propagationPolicy", propagation, &supported);
            return Err(ApiError::invalid_options("DeleteOptions", &[error]));
        }
        let dry = query.dry_run()
            || body["dryRun"]
                .as_array()
                .is_some_and(|list| list.contains(&json!("All")));
        Ok(Self {
            uid: text(&body["preconditions"]["uid"]),
            revision: text(&body["preconditions"]["resourceVersion"]),
            propagation,
            dry,
        })
    }

    pub fn check(&self, call: &Call<'_>, object: &Object) -> ApiResult<()> {
        if broken(Fault::IgnoredPreconditions) {
            return Ok(());
        }
        // Upstream names the kind here, where it names the resource elsewhere.
        let about = GroupResource::new(&call.gr().group, &call.served.resource.kind);
        if let Some(uid) = self.uid.as_ref().filter(|uid| ***uid != *object.uid) {
            let why = format!(
                "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted \
                 and then recreated",
                object.uid
            );
            return Err(ApiError::conflict(&about, &object.name, &why));
        }
        if let Some(revision) = self
            .revision
            .as_ref()
            .filter(|revision| **revision != object.revision.to_string())
        {
            let why = format!(
                "the ResourceVersion in the precondition ({revision}) does not match the ResourceVersion in record ({}). The \
                 object might have been modified",
                object.revision
            );
            return Err(ApiError::conflict(&about, &object.name, &why));
        }
        Ok(())
    }

    /// The finalizers that the object has after the request.
    fn finalizers(&self, call: &Call<'_>, object: &Object) -> Vec<String> {
        let mut finalizers: Vec<String> = object.finalizers.iter().map(|f| f.to_string()).collect();
        let wanted = match self.propagation.as_str() {
            _ if broken(Fault::IgnoredPropagation) => None,
            "Foreground" => Some(FOREGROUND),
            "Orphan" => Some(ORPHAN),
            _ => None,
        };
        if !self.propagation.is_empty() {
            finalizers.retain(|f| f != FOREGROUND && f != ORPHAN || Some(f.as_str()) == wanted);
        }
        let cleanup = (*call.gr() == definitions()).then_some(CLEANUP);
        for finalizer in wanted.into_iter().chain(cleanup.filter(|_| !object.terminating)) {
            if !finalizers.iter().any(|f| f == finalizer) {
                finalizers.push(finalizer.to_owned());
            }
        }
        finalizers
    }
}

pub(super) async fn delete(call: &Call<'_>, warnings: &mut Vec<String>) -> ApiResult<Answer> {
    let options = DeleteOptions::read(call.request)?;
    delete_with(call, &options, Some(warnings)).await
}

/// Deletes the object that the path names; without `warnings` admission was asked already.
pub(super) async fn delete_with(
    call: &Call<'_>,
    options: &DeleteOptions,
    mut warnings: Option<&mut Vec<String>>,
) -> ApiResult<Answer> {
    let name = call.request.name.as_str();
    if *call.gr() == namespaces() && matches!(name, "default" | "kube-system" | "kube-public") {
        return Err(ApiError::forbidden(
            call.gr(),
            name,
            "this namespace may not be deleted",
        ));
    }
    loop {
        let object = call.current()?;
        options.check(call, &object)?;
        if let Some(answer) = delete_once(call, &object, options, warnings.as_deref_mut()).await? {
            return Ok(answer);
        }
        if options.revision.is_some() {
            return Err(super::write::modified(call, name));
        }
    }
}

/// Deletes this version of an object, or marks it; `None` when it changed meanwhile.
async fn delete_once(
    call: &Call<'_>,
    object: &Arc<Object>,
    options: &DeleteOptions,
    warnings: Option<&mut Vec<String>>,
) -> ApiResult<Option<Answer>> {
    let old = convert::value(call.inner, call.served, object).await?;
    if let Some(warnings) = warnings {
        for phase in [AdmissionPhase::Mutating, AdmissionPhase::Validating] {
            admit(call, phase, Operation::Delete, None, Some(&old), warnings).await?;
        }
    }
    let finalizers = options.finalizers(call, object);
    let namespace = *call.gr() == namespaces();
    let kept_by_spec = namespace
        && old["spec"]["finalizers"]
            .as_array()
            .is_some_and(|list| !list.is_empty());
    let delete = finalizers.is_empty() && !kept_by_spec || broken(Fault::LostFinalizer);
    let mut new = old.clone();
    if !delete {
        mark(call, object, &mut new, &finalizers);
        if new == old {
            return Ok(Some(Answer::Object {
                code: 200,
                object: object.clone(),
            }));
        }
    }
    if options.dry {
        return Ok(Some(match delete {
            true if returns_deleted(call) => Answer::Preview {
                code: 200,
                value: old,
            },
            true => Answer::Status(success(call.gr(), &object.name, &object.uid)),
            false => Answer::Preview {
                code: 200,
                value: new,
            },
        }));
    }
    let value = convert::to_storage(call.inner, call.served, new).await?;
    let expect = Expect::Revision(object.revision);
    let write = Write {
        resource: call.served.resource.store.clone(),
        key: object.key(),
        expect,
        value,
        delete,
    };
    match call.inner.commit(write).await {
        Ok(object) if delete && returns_deleted(call) => Ok(Some(Answer::Object { code: 200, object })),
        Ok(_) if delete => Ok(Some(Answer::Status(success(
            call.gr(),
            &object.name,
            &object.uid,
        )))),
        Ok(object) => Ok(Some(Answer::Object { code: 200, object })),
        Err(CommitError::Engine(error)) => Err(ApiError::internal(error)),
        Err(_) => Ok(None),
    }
}

/// Whether a deletion that is complete is answered with the object rather than a status.
fn returns_deleted(call: &Call<'_>) -> bool {
    let row = call.served.resource.builtin();
    row.is_some_and(|row| row.has(Builtin::RETURNS_DELETED))
}

/// Marks an object that something still holds.
fn mark(call: &Call<'_>, object: &Object, new: &mut Value, finalizers: &[String]) {
    meta::put(new, "finalizers", finalizers.into());
    if object.terminating {
        return;
    }
    let now = call.inner.now_text();
    meta::put(new, "deletionTimestamp", now.as_str().into());
    // These two have deletions of their own, which know no grace.
    if *call.gr() != namespaces() && *call.gr() != definitions() {
        meta::put(new, "deletionGracePeriodSeconds", 0.into());
        if let Some(generation) = new["metadata"]["generation"].as_i64() {
            meta::put(new, "generation", (generation + 1).into());
        }
    }
    if *call.gr() == namespaces() {
        new["status"]["phase"] = "Terminating".into();
    }
    if *call.gr() == definitions() {
        let condition = json!({
            "type": "Terminating", "status": "True", "lastTransitionTime": now, "reason": "InstanceDeletionPending",
            "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        });
        if let Some(conditions) = new["status"]["conditions"].as_array_mut() {
            conditions.retain(|c| c["type"] != "Terminating");
            conditions.push(condition);
        }
    }
}

pub(super) async fn delete_collection(call: &Call<'_>, warnings: &mut Vec<String>) -> ApiResult<Answer> {
    let options = DeleteOptions::read(call.request)?;
    let selection = Selection::read(call)?;
    let (objects, _) = call
        .inner
        .store
        .list(&call.served.resource.store, &call.request.namespace);
    let objects = selection.filter(call, objects).await?;
    let mut deleted = Vec::new();
    for object in objects {
        let mut request = call.request.clone();
        request.name = object.name.to_string();
        let one = Call {
            inner: call.inner,
            request: &request,
            served: call.served,
        };
        loop {
            let Ok(object) = one.current() else { break };
            options.check(&one, &object)?;
            if delete_once(&one, &object, &options, Some(warnings))
                .await?
                .is_some()
            {
                deleted.push(object);
                break;
            }
        }
    }
    Ok(Answer::List(Page {
        objects: deleted,
        revision: call.inner.store.revision(),
        next: None,
        remaining: None,
    }))
}
