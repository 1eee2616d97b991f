//! Conversion of objects between the versions of their kind, as functions and as the answer to a ConversionReview.
//!
//! A provider says for each kind how a version becomes the stored one and back: by plain functions on JSON
//! ([`Conversion`]) or by tables ([`capi_api::conversion`]), which may lose what the other version cannot say. What they lose
//! is kept in the annotation `cluster.x-k8s.io/conversion-data`, the whole object of the version it came from, and put back
//! on the way home: only what is lost and only where nobody changed anything since, so that an old annotation never undoes
//! a newer write.

mod restore;
mod way;

use std::{collections::BTreeMap, sync::Arc};

use capi_api::{
    annotations::CONVERSION_DATA,
    conversion::{self, Around},
};
use parking_lot::RwLock;
use serde_json::{Value, json};

use restore::restored;
pub use way::Definitions;
use way::{Schemas, Way, along};

/// Turns an object of one version into one of another; `apiVersion` and `metadata` are taken care of by the caller.
pub type Convert = fn(Value) -> Result<Value, String>;

/// How a version that is not stored becomes the stored one, and back.
#[derive(Clone, Copy, Debug)]
pub struct Spoke {
    /// The version.
    pub version: &'static str,
    /// To the stored version.
    pub to_hub: Convert,
    /// From the stored version.
    pub from_hub: Convert,
}

/// The versions of a kind.
#[derive(Clone, Debug)]
pub struct Conversion {
    /// The API group.
    pub group: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// The resource (plural).
    pub plural: &'static str,
    /// The stored version.
    pub hub: &'static str,
    /// The others.
    pub spokes: Vec<Spoke>,
}

impl Conversion {
    /// The name of the definition.
    pub fn definition(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }
}

/// Tells the version of a kind (group, kind) that its provider serves for the contract.
type Lookup = Arc<dyn Fn(&str, &str) -> Option<String> + Send + Sync>;

/// All conversions of a process, callable.
#[derive(Clone, Default)]
pub struct Conversions {
    kinds: Arc<RwLock<BTreeMap<(String, String), Way>>>,
    versions: Arc<RwLock<Option<Lookup>>>,
}

impl std::fmt::Debug for Conversions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Conversions")
            .field("kinds", &self.kinds)
            .finish_non_exhaustive()
    }
}

impl Conversions {
    /// Adds a kind.
    pub fn add(&self, conversion: Conversion) {
        let key = (conversion.group.to_owned(), conversion.kind.to_owned());
        self.kinds.write().insert(key, Way::Code(conversion));
    }

    /// Adds kinds that are converted by tables. `definitions` makes their definitions; it is called when the first object is
    /// converted.
    pub fn add_tables(&self, kinds: &'static [conversion::Kind], definitions: Definitions) {
        let schemas = Arc::new(Schemas::of(definitions));
        let mut all = self.kinds.write();
        for kind in kinds {
            let way = Way::Tables(kind, schemas.clone());
            all.insert((kind.group.to_owned(), kind.kind.to_owned()), way);
        }
    }

    /// Says where the versions of referenced kinds are found; references of older versions name them.
    pub fn look_up_versions(&self, lookup: Lookup) {
        *self.versions.write() = Some(lookup);
    }

    /// The names of the definitions whose objects are converted, sorted.
    pub fn definitions(&self) -> Vec<String> {
        self.kinds.read().values().map(Way::definition).collect()
    }

    /// An object in another version (`group/version`).
    pub fn convert(&self, mut object: Value, desired: &str) -> Result<Value, String> {
        let kind = text(&object["kind"]);
        let present = text(&object["apiVersion"]);
        if present == desired {
            return Ok(object);
        }
        check(&object)?;
        let (group, from) = present.split_once('/').unwrap_or(("", &present));
        let (of_desired, to) = desired.split_once('/').unwrap_or(("", desired));
        if group != of_desired {
            return Err(format!("{kind} of {group} cannot become one of {of_desired}"));
        }
        let way = self.kinds.read().get(&(group.to_owned(), kind.clone())).cloned();
        let way = way.ok_or_else(|| format!("{kind} of {group} is not converted here"))?;
        let (there, back) = (way.path(from, to)?, way.path(to, from)?);
        let lookup = self.versions.read().clone();
        let version = |group: &str, kind: &str| lookup.as_ref().and_then(|lookup| lookup(group, kind));
        let namespace = text(&object["metadata"]["namespace"]);
        let around = Around {
            namespace: &namespace,
            version: &version,
        };
        let home = along(desired, &there, &around);
        let away = along(&present, &back, &around);

        let kept = take_kept(&mut object);
        let metadata = object
            .as_object_mut()
            .and_then(|fields| fields.remove("metadata"));
        let mut converted = home(object.clone())?;
        if let Some(kept) = kept.filter(|kept| kept["apiVersion"].is_null() || kept["apiVersion"] == desired)
            // What is kept and cannot be understood is of no use.
            && let Ok(lossy) = away(kept.clone()).and_then(&home)
        {
            let mut whole = restored(&kept, &lossy, &converted);
            whole["apiVersion"] = desired.into();
            whole["kind"] = kind.as_str().into();
            // What was kept may only add what the other version does not see. A field that was kept for the sake of another one
            // that is gone would be seen.
            if lossy == converted || away(whole.clone())? == away(converted.clone())? {
                converted = whole;
            }
        }
        let complete = (to == way.hub() && !way.keeps_in_hub()) || away(converted.clone())? == object;
        if let Some(metadata) = metadata {
            converted["metadata"] = metadata;
        }
        if !complete {
            converted["metadata"]["annotations"][CONVERSION_DATA] = object.to_string().into();
        }
        Ok(converted)
    }

    /// The answer to a ConversionReview.
    pub fn review(&self, review: &Value) -> Value {
        let request = &review["request"];
        let desired = text(&request["desiredAPIVersion"]);
        let objects = request["objects"].as_array().cloned().unwrap_or_default();
        let converted: Result<Vec<Value>, String> = objects
            .into_iter()
            .map(|object| self.convert(object, &desired))
            .collect();
        let mut response = json!({ "uid": request["uid"] });
        match converted {
            Ok(objects) => {
                response["convertedObjects"] = objects.into();
                response["result"] = json!({ "status": "Success" });
            }
            Err(message) => response["result"] = json!({ "status": "Failure", "message": message }),
        }
        json!({ "apiVersion": review["apiVersion"], "kind": review["kind"], "response": response })
    }
}

/// Anybody can call the webhook: what is no object is refused before anything relies on it.
fn check(object: &Value) -> Result<(), String> {
    let metadata = &object["metadata"];
    for (name, part) in [
        ("metadata", metadata),
        ("metadata.annotations", &metadata["annotations"]),
    ] {
        if !part.is_object() && !part.is_null() {
            return Err(format!("{name} is {part}, not an object"));
        }
    }
    match object.is_object() {
        true => Ok(()),
        false => Err("an object is wanted".to_owned()),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Takes the annotation off an object, and reads it.
fn take_kept(object: &mut Value) -> Option<Value> {
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    let annotations = metadata.get_mut("annotations")?.as_object_mut()?;
    let kept = annotations.remove(CONVERSION_DATA)?;
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    let mut kept: Value = serde_json::from_str(kept.as_str()?).ok()?;
    kept.as_object_mut()?.remove("metadata");
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `old` says `off`, and knows `colour`; `new` says `on`, and knows `size`.
    fn to_new(mut object: Value) -> Result<Value, String> {
        let spec = object["spec"].as_object_mut().ok_or("no spec")?;
        spec.remove("colour");
        if let Some(off) = spec.remove("off") {
            spec.insert("on".into(), (off != true).into());
        }
        Ok(object)
    }

    fn to_old(mut object: Value) -> Result<Value, String> {
        let spec = object["spec"].as_object_mut().ok_or("no spec")?;
        spec.remove("size");
        if let Some(on) = spec.remove("on") {
            spec.insert("off".into(), (on != true).into());
        }
        Ok(object)
    }

    fn conversions() -> Conversions {
        let conversions = Conversions::default();
        conversions.add(Conversion {
            group: "g",
            kind: "Lamp",
            plural: "lamps",
            hub: "new",
            spokes: vec![Spoke {
                version: "old",
                to_hub: to_new,
                from_hub: to_old,
            }],
        });
        conversions
    }

    fn lamp(version: &str, spec: Value) -> Value {
        json!({ "apiVersion": format!("g/{version}"), "kind": "Lamp", "metadata": { "name": "l" }, "spec": spec })
    }

    #[test]
    fn what_a_version_cannot_say_comes_back() {
        let conversions = conversions();
        for (from, to, spec) in [
            ("old", "new", json!({ "off": true, "colour": "red" })),
            ("new", "old", json!({ "on": true, "size": 3 })),
            ("old", "new", json!({ "off": false })),
        ] {
            let before = lamp(from, spec);
            let there = conversions.convert(before.clone(), &format!("g/{to}")).unwrap();
            assert_eq!(there["apiVersion"], format!("g/{to}"));
            let back = conversions.convert(there, &format!("g/{from}")).unwrap();
            assert_eq!(back, before);
        }
    }

    #[test]
    fn only_what_is_lost_is_kept() {
        let plain = conversions()
            .convert(lamp("old", json!({ "off": true })), "g/new")
            .unwrap();
        assert_eq!(plain, lamp("new", json!({ "on": false })));
    }

    #[test]
    fn what_was_kept_does_not_undo_a_newer_write() {
        let conversions = conversions();
        let before = lamp("old", json!({ "off": true, "colour": "red" }));
        let mut stored = conversions.convert(before, "g/new").unwrap();
        stored["spec"]["on"] = true.into();
        stored["spec"]["size"] = 5.into();
        let read = conversions.convert(stored.clone(), "g/old").unwrap();
        assert_eq!(read["spec"], json!({ "off": false, "colour": "red" }));
        assert_eq!(
            conversions.convert(read, "g/new").unwrap()["spec"],
            stored["spec"]
        );
    }

    #[test]
    fn reviews_are_answered_whole_or_not_at_all() {
        let review = |objects: Value| {
            conversions().review(
                &json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
                "request": { "uid": "u", "desiredAPIVersion": "g/new", "objects": objects } }),
            )
        };
        let good = review(json!([lamp("old", json!({})), lamp("new", json!({}))]));
        assert_eq!(good["response"]["uid"], "u");
        assert_eq!(good["response"]["result"]["status"], "Success");
        assert_eq!(good["response"]["convertedObjects"].as_array().unwrap().len(), 2);
        let bad = review(json!([lamp("old", json!({})), lamp("older", json!({}))]));
        assert_eq!(bad["response"]["result"]["status"], "Failure");
        assert_eq!(bad["response"]["result"]["message"], "Lamp has no version older");
        assert!(bad["response"]["convertedObjects"].is_null());
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let mut odd = lamp("old", json!({}));
        odd["metadata"] = "mine".into();
        let refused = conversions().convert(odd, "g/new").unwrap_err();
        assert_eq!(refused, "metadata is \"mine\", not an object");
        let mut odd = lamp("old", json!({}));
        odd["metadata"]["annotations"] = json!([1]);
        assert!(conversions().convert(odd, "g/new").is_err());
        assert!(conversions().convert(json!("lamp"), "g/new").is_err());
    }
}
