//! All Cluster API objects of a namespace, read once, and the few fields that every kind shares.
//!
//! Works for kinds that this program was not built with: they are found through their CRDs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt as _,
    api::ListParams,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;

/// One object of any kind.
#[derive(Debug, Clone)]
pub struct Object {
    /// API group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// The object itself.
    pub object: DynamicObject,
}

/// A condition as far as it matters here; `since` is its last transition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Type.
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Reason, may be empty.
    pub reason: String,
    /// Message, may be empty.
    pub message: String,
    /// Last transition.
    pub since: Option<Timestamp>,
}

impl Object {
    /// The name.
    pub fn name(&self) -> String {
        self.object.name_any()
    }

    /// The namespace, empty for cluster-scoped objects.
    pub fn namespace(&self) -> String {
        self.object.namespace().unwrap_or_default()
    }

    /// `Kind namespace/name`.
    pub fn described(&self) -> String {
        format!("{} {}/{}", self.kind, self.namespace(), self.name())
    }

    /// The value at a JSON pointer.
    pub fn at(&self, pointer: &str) -> Option<&Value> {
        self.object.data.pointer(pointer)
    }

    /// The string at a JSON pointer.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.at(pointer).and_then(Value::as_str)
    }

    /// The number at a JSON pointer.
    pub fn number(&self, pointer: &str) -> Option<i64> {
        self.at(pointer).and_then(Value::as_i64)
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.object.labels().get(key).map(String::as_str)
    }

    /// The conditions in `status.conditions`, in the order in which they are written.
    pub fn conditions(&self) -> Vec<Condition> {
        let text = |c: &Value, key: &str| c.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let list = self.at("/status/conditions").and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .map(|c| Condition {
                type_: text(c, "type"),
                status: text(c, "status"),
                reason: text(c, "reason"),
                message: text(c, "message"),
                since: text(c, "lastTransitionTime").parse().ok(),
            })
            .collect()
    }

    /// The condition of a type.
    pub fn condition(&self, type_: &str) -> Option<Condition> {
        self.conditions().into_iter().find(|c| c.type_ == type_)
    }

    /// Of a Cluster: whether it is Available and has all machines that it wants, available and up to date. A control plane
    /// is Available as soon as one of its machines serves, so Available alone says less.
    pub fn is_complete_cluster(&self) -> bool {
        let all_there = |part: &str| {
            let count = |field: &str| self.number(&format!("/status/{part}/{field}"));
            let desired = count("desiredReplicas");
            ["replicas", "availableReplicas", "upToDateReplicas"]
                .into_iter()
                .all(|field| count(field) == desired)
        };
        self.condition("Available").is_some_and(|c| c.status == "True")
            && all_there("controlPlane")
            && all_there("workers")
    }

    /// The condition that sums the object up: `Available` where the kind has it, else `Ready`.
    pub fn headline(&self) -> Option<Condition> {
        // A Machine has both; its Available only adds minReadySeconds, so Ready says more while it is not there.
        let order = match self.kind.as_str() {
            "Machine" => ["Ready", "Available"],
            "MachineSet" => ["MachinesReady", "Ready"],
            _ => ["Available", "Ready"],
        };
        order.into_iter().find_map(|type_| self.condition(type_))
    }

    /// Whether the object is being deleted.
    pub fn is_deleting(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }

    /// When the object was created.
    pub fn created(&self) -> Option<Timestamp> {
        self.object.metadata.creation_timestamp.as_ref().map(|t| t.0)
    }

    /// Whether `owner` is among the owner references.
    pub fn is_owned_by(&self, owner: &Object) -> bool {
        let uid = owner.object.metadata.uid.as_deref();
        uid.is_some()
            && self
                .object
                .owner_references()
                .iter()
                .any(|o| Some(o.uid.as_str()) == uid)
    }
}

/// The kinds of Cluster API that an API server knows.
#[derive(Debug, Clone)]
pub struct Kinds {
    kinds: Vec<(GroupVersionKind, ApiResource)>,
    /// Which provider a kind (`kind.group`) belongs to, as its CRD's label tells.
    providers: Arc<BTreeMap<String, String>>,
    /// The kinds (`kind.group`) whose CRD names no version that implements the contract.
    unlabelled: Arc<BTreeSet<String>>,
}

impl Kinds {
    /// Asks the API server for its CustomResourceDefinitions.
    pub async fn discover(client: &Client) -> anyhow::Result<Self> {
        let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
        let crds = crds
            .list(&ListParams::default())
            .await
            .context("cannot list the CustomResourceDefinitions")?;
        let mut kinds = Vec::new();
        let mut providers = BTreeMap::new();
        let mut unlabelled = BTreeSet::new();
        for crd in crds.items.iter().filter(|crd| belongs_to_cluster_api(crd)) {
            let names = &crd.spec.names;
            if let Some(provider) = crd.labels().get("cluster.x-k8s.io/provider") {
                providers.insert(format!("{}.{}", names.kind, crd.spec.group), provider.clone());
            }
            let contract = ["cluster.x-k8s.io/v1beta1", "cluster.x-k8s.io/v1beta2"];
            if !contract.iter().any(|label| crd.labels().contains_key(*label)) {
                unlabelled.insert(format!("{}.{}", names.kind, crd.spec.group));
            }
            let Some(version) = crd.spec.versions.iter().find(|v| v.storage) else {
                continue;
            };
            let gvk = GroupVersionKind::gvk(&crd.spec.group, &version.name, &names.kind);
            let resource = ApiResource::from_gvk_with_plural(&gvk, &names.plural);
            kinds.push((gvk, resource));
        }
        Ok(Self {
            kinds,
            providers: Arc::new(providers),
            unlabelled: Arc::new(unlabelled),
        })
    }

    /// Reads every object of these kinds in a namespace.
    pub async fn read(&self, client: &Client, namespace: &str) -> anyhow::Result<Inventory> {
        let mut objects = Vec::new();
        for (gvk, resource) in &self.kinds {
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
            let list = api.list(&ListParams::default()).await;
            let list = list
                .with_context(|| format!("cannot list the {} in namespace {namespace}", resource.plural))?;
            let found = list.items.into_iter();
            objects.extend(found.map(|object| Object {
                group: gvk.group.clone(),
                kind: gvk.kind.clone(),
                object,
            }));
        }
        let kinds = self
            .kinds
            .iter()
            .map(|(gvk, _)| (gvk.group.clone(), gvk.kind.clone()));
        Ok(Inventory {
            objects,
            providers: self.providers.clone(),
            kinds: Some(Arc::new(kinds.collect())),
            unlabelled: self.unlabelled.clone(),
            warnings: Arc::new(warnings(client, namespace).await?),
        })
    }
}

/// The objects of a namespace.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    objects: Vec<Object>,
    providers: Arc<BTreeMap<String, String>>,
    /// Group and kind of everything that was asked for; none if that is not known.
    kinds: Option<Arc<BTreeSet<(String, String)>>>,
    unlabelled: Arc<BTreeSet<String>>,
    /// The last warning about each object, by its uid.
    warnings: Arc<BTreeMap<String, String>>,
}

/// A reference of the v1beta2 form, as found in a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// API group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
}

impl Reference {
    /// Reads the reference at a JSON pointer of an object.
    pub fn at(object: &Object, pointer: &str) -> Option<Self> {
        let value = object.at(pointer)?;
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            group: text("apiGroup").unwrap_or_default(),
            kind: text("kind")?,
            name: text("name")?,
        })
    }
}

impl Inventory {
    /// An inventory of objects at hand.
    pub fn new(objects: Vec<Object>) -> Self {
        Self {
            objects,
            providers: Arc::default(),
            kinds: None,
            unlabelled: Arc::default(),
            warnings: Arc::default(),
        }
    }

    /// All objects of a kind, by name.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Object> {
        self.objects.iter().filter(move |o| o.kind == kind)
    }

    /// The object that a reference names.
    pub fn find(&self, reference: &Reference) -> Option<&Object> {
        self.objects
            .iter()
            .find(|o| o.group == reference.group && o.kind == reference.kind && o.name() == reference.name)
    }

    /// The Cluster of a name.
    pub fn cluster(&self, name: &str) -> Option<&Object> {
        self.of_kind("Cluster").find(|o| o.name() == name)
    }

    /// Whether the API server knows the kind of a reference, as far as can be told.
    pub fn knows(&self, reference: &Reference) -> bool {
        let kind = (reference.group.clone(), reference.kind.clone());
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind))
    }

    /// Whether the kind of an object lacks the label by which references to it are followed.
    pub fn lacks_contract(&self, object: &Object) -> bool {
        self.unlabelled
            .contains(&format!("{}.{}", object.kind, object.group))
    }

    /// The last warning that somebody gave about an object.
    pub fn warning_about(&self, object: &Object) -> Option<&str> {
        let uid = object.object.metadata.uid.as_deref()?;
        self.warnings.get(uid).map(String::as_str)
    }

    /// The provider that reconciles the kind of an object, if its CRD says so.
    pub fn provider_of(&self, object: &Object) -> Option<&str> {
        self.providers
            .get(&format!("{}.{}", object.kind, object.group))
            .map(String::as_str)
    }
}

/// The last warning about each object, by its uid.
async fn warnings(client: &Client, namespace: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let events = api.list(&ListParams::default()).await;
    let mut events = events
        .with_context(|| format!("cannot list the Events in namespace {namespace}"))?
        .items;
    events.retain(|event| event.type_.as_deref() == Some("Warning"));
    let when = |event: &Event| {
        let again = event.series.as_ref().map(|series| series.last_observed_time.0);
        again.or(event.event_time.as_ref().map(|time| time.0))
    };
    events.sort_by_key(when);
    let about = |event: Event| Some((event.regarding?.uid?, event.note?));
    Ok(events.into_iter().filter_map(about).collect())
}

fn belongs_to_cluster_api(crd: &CustomResourceDefinition) -> bool {
    let ours = crd.spec.group.ends_with("cluster.x-k8s.io")
        || crd.labels().contains_key("cluster.x-k8s.io/provider");
    // Templates and classes have no state that could be a cause, and there may be many.
    ours && crd.spec.scope == "Namespaced" && !crd.spec.names.kind.ends_with("Template")
}

#[cfg(test)]
pub(crate) mod samples {
    //! Builds objects for the tests of this crate.

    use serde_json::json;

    use super::*;

    /// An object from JSON without `apiVersion`.
    pub(crate) fn object(group: &str, kind: &str, name: &str, data: Value) -> Object {
        let mut object = DynamicObject::new(
            name,
            &ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1beta2", kind)),
        )
        .within("default")
        .data(data);
        object.metadata.uid = Some(format!("uid-{kind}-{name}"));
        object.metadata.finalizers = Some(vec!["held".to_owned()]);
        Object {
            group: group.to_owned(),
            kind: kind.to_owned(),
            object,
        }
    }

    /// A condition.
    pub(crate) fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({"type": type_, "status": status, "reason": reason, "message": message,
               "lastTransitionTime": "2026-01-01T00:00:00Z"})
    }

    /// Makes `owner` an owner of `object`.
    pub(crate) fn owned(mut object: Object, owner: &Object) -> Object {
        let reference = json!([{"apiVersion": "v1", "kind": owner.kind, "name": owner.name(),
                                "uid": owner.object.metadata.uid, "controller": true}]);
        object.object.metadata.owner_references = serde_json::from_value(reference).unwrap();
        object
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::samples::{condition, object};

    #[test]
    fn a_cluster_is_complete_when_it_is_available_with_every_machine_that_it_wants() {
        let counts = |desired: i32, replicas: i32, available: i32| {
            json!({
                "desiredReplicas": desired, "replicas": replicas,
                "availableReplicas": available, "upToDateReplicas": replicas})
        };
        let cases = [
            ("True", counts(3, 3, 3), counts(2, 2, 2), true),
            ("False", counts(3, 3, 3), counts(2, 2, 2), false),
            ("True", counts(3, 1, 1), counts(2, 2, 2), false),
            ("True", counts(3, 3, 3), counts(2, 2, 1), false),
            ("True", counts(3, 4, 3), counts(2, 2, 2), false),
            ("True", json!({}), json!({}), true),
        ];
        for (status, control_plane, workers, expected) in cases {
            let data = json!({"status": {
                "conditions": [condition("Available", status, "", "")],
                "controlPlane": control_plane, "workers": workers}});
            let cluster = object("cluster.x-k8s.io", "Cluster", "c", data);
            assert_eq!(
                cluster.is_complete_cluster(),
                expected,
                "{:?}",
                cluster.object.data
            );
        }
    }
}
