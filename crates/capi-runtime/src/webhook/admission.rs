//! Finds the rules of a kind and applies them to a request.

use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc};

use async_trait::async_trait;
use futures::FutureExt;
use kube::{
    Api, Client,
    api::DynamicObject,
    core::{
        ApiResource, GroupVersionKind, Status,
        admission::{AdmissionRequest, AdmissionResponse, Operation as ApiOperation},
        response::{StatusCause, StatusDetails, StatusSummary},
    },
};
use parking_lot::RwLock;
use seams::SharedClock;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Defaulter, FieldError, Operation, Request, Validator, Verdict};
use crate::{
    key::{Kind, KindId},
    patch::merge_diff,
    store::{StoreNotReady, Stores},
};

/// The kind that the scale subresource of every kind takes.
const SCALE: &str = "Scale";

/// A kind with admission rules, as needed for webhook configurations and paths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AdmittedKind {
    /// The API group.
    pub group: String,
    /// The version the rules are written for.
    pub version: String,
    /// The kind.
    pub kind: String,
    /// The resource (plural).
    pub plural: String,
    /// True if there is a defaulter.
    pub defaults: bool,
    /// True if there is a validator.
    pub validates: bool,
    /// True if the validator also judges a change of replicas through the scale subresource.
    pub judges_scale: bool,
    /// True if the validator also judges deletions.
    pub judges_deletion: bool,
}

impl AdmittedKind {
    /// The path of its defaulter or validator, as upstream's servers name them.
    pub fn path(&self, verb: &str) -> String {
        format!(
            "/{verb}-{}-{}-{}",
            self.group.replace('.', "-"),
            self.version,
            self.kind.to_lowercase()
        )
    }
}

/// All admission rules of a process, callable.
#[derive(Clone)]
pub struct Admission {
    rules: Arc<RwLock<BTreeMap<KindId, Entry>>>,
    stores: Stores,
    client: Client,
    clock: SharedClock,
}

#[derive(Clone)]
struct Entry {
    kind: AdmittedKind,
    defaulter: Option<Arc<dyn AnyDefaulter>>,
    validator: Option<Arc<dyn AnyValidator>>,
}

#[async_trait]
trait AnyDefaulter: Send + Sync {
    /// Returns what the defaults change, as a JSON merge patch.
    async fn default(
        &self,
        request: &Request,
        old: Option<&Value>,
        object: &Value,
    ) -> Result<Option<Value>, String>;
}

#[async_trait]
trait AnyValidator: Send + Sync {
    async fn validate(
        &self,
        request: &Request,
        old: Option<&Value>,
        new: Option<&Value>,
    ) -> Result<Verdict, String>;
}

struct Typed<K, T>(T, std::marker::PhantomData<fn() -> K>);

#[async_trait]
impl<K: Kind, T: Defaulter<K>> AnyDefaulter for Typed<K, T> {
    async fn default(
        &self,
        request: &Request,
        old: Option<&Value>,
        object: &Value,
    ) -> Result<Option<Value>, String> {
        let old: Option<K> = old.map(decode).transpose()?;
        let mut object: K = decode(object)?;
        // Compared as our type writes it, so that fields it does not know are no difference.
        let before = serde_json::to_value(&object).map_err(|error| error.to_string())?;
        self.0.default(request, old.as_ref(), &mut object).await?;
        let after = serde_json::to_value(object).map_err(|error| error.to_string())?;
        Ok(merge_diff(&before, &after))
    }
}

#[async_trait]
impl<K: Kind, T: Validator<K>> AnyValidator for Typed<K, T> {
    async fn validate(
        &self,
        request: &Request,
        old: Option<&Value>,
        new: Option<&Value>,
    ) -> Result<Verdict, String> {
        let old: Option<K> = old.map(decode).transpose()?;
        let new: Option<K> = new.map(decode).transpose()?;
        Ok(match (old, new) {
            (Some(old), Some(new)) => self.0.update(request, &old, &new).await,
            (None, Some(new)) => self.0.create(request, &new).await,
            (Some(old), None) => self.0.delete(request, &old).await,
            (None, None) => Verdict::allow(),
        })
    }
}

fn decode<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|error| error.to_string())
}

impl Admission {
    pub(crate) fn new(stores: Stores, client: Client, clock: SharedClock) -> Self {
        Self {
            rules: Arc::default(),
            stores,
            client,
            clock,
        }
    }

    pub(crate) fn set_defaulter<K: Kind>(&self, defaulter: impl Defaulter<K>) {
        self.change::<K>(|entry| {
            entry.kind.defaults = true;
            entry.defaulter = Some(Arc::new(Typed::<K, _>(defaulter, std::marker::PhantomData)));
        });
    }

    pub(crate) fn set_validator<K: Kind>(&self, validator: impl Validator<K>) {
        self.change::<K>(|entry| {
            entry.kind.validates = true;
            entry.kind.judges_scale = validator.judges_scale();
            entry.kind.judges_deletion = validator.judges_deletion();
            entry.validator = Some(Arc::new(Typed::<K, _>(validator, std::marker::PhantomData)));
        });
    }

    fn change<K: Kind>(&self, change: impl FnOnce(&mut Entry)) {
        let mut rules = self.rules.write();
        let entry = rules.entry(KindId::of::<K>()).or_insert_with(|| Entry {
            kind: AdmittedKind {
                group: K::group(&()).into_owned(),
                version: K::version(&()).into_owned(),
                kind: K::kind(&()).into_owned(),
                plural: K::plural(&()).into_owned(),
                defaults: false,
                validates: false,
                judges_scale: false,
                judges_deletion: false,
            },
            defaulter: None,
            validator: None,
        });
        change(entry);
    }

    /// The kinds with rules, sorted.
    pub fn kinds(&self) -> Vec<AdmittedKind> {
        self.rules
            .read()
            .values()
            .map(|entry| entry.kind.clone())
            .collect()
    }

    /// Whether there is a rule for this kind of object: (defaults, validates).
    pub fn handles(&self, group: &str, kind: &str) -> (bool, bool) {
        let id = KindId {
            group: group.to_owned(),
            kind: kind.to_owned(),
        };
        self.rules.read().get(&id).map_or((false, false), |entry| {
            (entry.kind.defaults, entry.kind.validates)
        })
    }

    /// Defaults the object of a request; the answer carries a JSON patch if anything changed.
    pub async fn mutate(&self, request: &AdmissionRequest<DynamicObject>) -> AdmissionResponse {
        let response = AdmissionResponse::from(request);
        let Some(defaulter) = self.entry(request).and_then(|entry| entry.defaulter) else {
            return response;
        };
        let (old, Some(object)) = (json(request.old_object.as_ref()), json(request.object.as_ref())) else {
            return response;
        };
        let context = self.request(request);
        let changes = match caught(
            403,
            "Forbidden",
            defaulter.default(&context, old.as_ref(), &object),
        )
        .await
        {
            Ok(Some(changes)) => changes,
            Ok(None) => return response,
            Err((code, reason, message)) => return refuse(response, code, reason, message, None),
        };
        match response.clone().with_patch(json_patch(&object, &changes)) {
            Ok(patched) => patched,
            Err(error) => refuse(response, 500, "InternalError", error.to_string(), None),
        }
    }

    /// Judges a request.
    pub async fn validate(&self, request: &AdmissionRequest<DynamicObject>) -> AdmissionResponse {
        let mut response = AdmissionResponse::from(request);
        let Some((kind, validator)) = self
            .entry(request)
            .and_then(|entry| Some((entry.kind, entry.validator?)))
        else {
            return response;
        };
        let (old, new) = if request.kind.kind == SCALE {
            match self.scaled(request, &kind).await {
                Ok(change) => change,
                Err(error) => return refuse(response, 500, "InternalError", error.to_string(), None),
            }
        } else {
            let new = json(request.object.as_ref()).filter(|_| request.operation != ApiOperation::Delete);
            (json(request.old_object.as_ref()), new)
        };
        let context = self.request(request);
        let judged = validator.validate(&context, old.as_ref(), new.as_ref());
        let verdict = match caught(400, "BadRequest", judged).await {
            Ok(verdict) => verdict,
            Err((code, reason, message)) => return refuse(response, code, reason, message, None),
        };
        response.warnings = (!verdict.warnings.is_empty()).then_some(verdict.warnings);
        if let Some(reason) = verdict.forbidden {
            return refuse(response, 403, "Forbidden", reason, None);
        }
        if verdict.errors.is_empty() {
            return response;
        }
        let (name, details) = (&request.name, details(&kind, &request.name, &verdict.errors));
        let subject = format!("{}.{} {name:?} is invalid", kind.kind, kind.group);
        let texts: Vec<String> = verdict.errors.iter().map(ToString::to_string).collect();
        let message = match &texts[..] {
            [one] => format!("{subject}: {one}"),
            many => format!("{subject}: [{}]", many.join(", ")),
        };
        refuse(response, 422, "Invalid", message, Some(details))
    }

    /// What a request to the scale subresource does to the object itself. It brings only the replicas, so the object is
    /// read; it may be gone, and then nothing is changed.
    async fn scaled(
        &self,
        request: &AdmissionRequest<DynamicObject>,
        kind: &AdmittedKind,
    ) -> Result<(Option<Value>, Option<Value>), kube::Error> {
        let gvk = GroupVersionKind::gvk(&kind.group, &kind.version, &kind.kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, &kind.plural);
        let namespace = request.namespace.as_deref().unwrap_or_default();
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let old = json(api.get_opt(&request.name).await?.as_ref());
        let replicas = request
            .object
            .as_ref()
            .and_then(|o| o.data.pointer("/spec/replicas"));
        let new = old.clone().map(|mut new| {
            new["spec"]["replicas"] = replicas.cloned().unwrap_or_else(|| 0.into());
            new
        });
        Ok((old, new))
    }

    fn entry(&self, request: &AdmissionRequest<DynamicObject>) -> Option<Entry> {
        if request.kind.kind == SCALE {
            let rules = self.rules.read();
            let scaled = &request.resource;
            return rules
                .values()
                .find(|e| {
                    e.kind.judges_scale && e.kind.group == scaled.group && e.kind.plural == scaled.resource
                })
                .cloned();
        }
        let id = KindId {
            group: request.kind.group.clone(),
            kind: request.kind.kind.clone(),
        };
        self.rules.read().get(&id).cloned()
    }

    fn request(&self, request: &AdmissionRequest<DynamicObject>) -> Request {
        Request {
            operation: match request.operation {
                ApiOperation::Create => Operation::Create,
                ApiOperation::Delete => Operation::Delete,
                _ => Operation::Update,
            },
            subresource: request.sub_resource.clone().unwrap_or_default(),
            user: request.user_info.username.clone().unwrap_or_default(),
            dry_run: request.dry_run,
            now: self.clock.now(),
            stores: self.stores.clone(),
            client: self.client.clone(),
        }
    }
}

/// Awaits a rule. One that panics, or asks for a store that is not filled yet, refuses its request and nothing more.
async fn caught<T>(
    code: u16,
    reason: &'static str,
    rule: impl Future<Output = Result<T, String>>,
) -> Result<T, (u16, &'static str, String)> {
    match AssertUnwindSafe(rule).catch_unwind().await {
        Ok(result) => result.map_err(|text| (code, reason, text)),
        Err(panic) if panic.is::<StoreNotReady>() => Err((
            503,
            "ServiceUnavailable",
            "the manager is starting; try again".to_owned(),
        )),
        Err(_) => Err((
            500,
            "InternalError",
            "the admission rule is broken; see the manager's log".to_owned(),
        )),
    }
}

/// The JSON patch that does to `object` what the merge patch `changes` says.
fn json_patch(object: &Value, changes: &Value) -> json_patch::Patch {
    let mut wanted = object.clone();
    json_patch::merge(&mut wanted, changes);
    json_patch::diff(object, &wanted)
}

fn json(object: Option<&DynamicObject>) -> Option<Value> {
    object.and_then(|object| serde_json::to_value(object).ok())
}

fn details(kind: &AdmittedKind, name: &str, errors: &[FieldError]) -> StatusDetails {
    StatusDetails {
        name: name.to_owned(),
        group: kind.group.clone(),
        kind: kind.kind.clone(),
        uid: String::new(),
        causes: errors
            .iter()
            .map(|error| StatusCause {
                reason: error.cause().to_owned(),
                message: error
                    .to_string()
                    .split_once(": ")
                    .map_or(String::new(), |(_, rest)| rest.to_owned()),
                field: error.field.clone(),
            })
            .collect(),
        retry_after_seconds: 0,
    }
}

fn refuse(
    mut response: AdmissionResponse,
    code: u16,
    reason: &str,
    message: String,
    details: Option<StatusDetails>,
) -> AdmissionResponse {
    response.allowed = false;
    response.result = Status {
        status: Some(StatusSummary::Failure),
        code,
        message,
        reason: reason.to_owned(),
        details,
        metadata: None,
    };
    response
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_patch_becomes_a_json_patch_that_leaves_unknown_fields_alone() {
        for (object, changes, expected) in [
            (
                json!({"spec": {"unknown": true}}),
                json!({"spec": {"replicas": 1}}),
                json!([{"op": "add", "path": "/spec/replicas", "value": 1}]),
            ),
            (
                json!({"spec": {"version": "1.30"}}),
                json!({"spec": {"version": "v1.30"}}),
                json!([{"op": "replace", "path": "/spec/version", "value": "v1.30"}]),
            ),
            (
                json!({"spec": {"a": 1}}),
                json!({"spec": {"a": null}}),
                json!([{"op": "remove", "path": "/spec/a"}]),
            ),
        ] {
            assert_eq!(
                serde_json::to_value(json_patch(&object, &changes)).unwrap(),
                expected
            );
        }
    }
}
