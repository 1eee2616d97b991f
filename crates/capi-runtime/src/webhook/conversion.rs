//! Conversion of objects between the versions of their kind, as functions and as the answer to a ConversionReview.
//!
//! A provider says for each kind how a version becomes the stored one and back: by plain functions on JSON
//! ([`Conversion`]) or by tables ([`capi_api::conversion`]), which may lose what the other version cannot say. What they lose is kept in the annotation
//! `cluster.x-k8s.io/conversion-data`, the whole object of the version it came from, and put back on the way home: only
//! what is lost and only where nobody changed anything since, so that an old annotation never undoes a newer write.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use capi_api::{
    annotations::CONVERSION_DATA,
    conversion::{self, Around, Field, Nothings},
    crd::{self, Shipped},
};
use parking_lot::RwLock;
use serde_json::{Map, Value, json};

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

/// How the objects of a kind are converted.
#[derive(Clone, Debug)]
enum Way {
    Code(Conversion),
    Tables(&'static conversion::Kind, Arc<Schemas>),
}

/// Makes the definitions of a provider's kinds.
pub type Definitions = fn() -> Result<Vec<Shipped>, crd::Error>;

/// What the schemas of v1beta2 say about values that say nothing; read once, when they are needed.
#[derive(Debug)]
struct Schemas {
    definitions: Definitions,
    nothings: OnceLock<BTreeMap<String, Nothings>>,
}

impl Schemas {
    fn nothings(&self, kind: &conversion::Kind) -> Nothings {
        let all = self.nothings.get_or_init(|| {
            // That a provider's definitions can be made is tested; without them the conversion is less tidy.
            let shipped = (self.definitions)().unwrap_or_default();
            shipped.iter().filter_map(nothings_of).collect()
        });
        all.get(kind.kind).cloned().unwrap_or_default()
    }
}

fn nothings_of(shipped: &Shipped) -> Option<(String, Nothings)> {
    let spec = &shipped.definition.spec;
    let stored = spec.versions.iter().find(|version| version.storage)?;
    let schema = stored.schema.as_ref()?.open_api_v3_schema.as_ref()?;
    let schema = serde_json::to_value(schema).ok()?;
    Some((spec.names.kind.clone(), Nothings::of(&schema)))
}

/// One step from a version to another.
enum Step {
    Code(Convert),
    Up(&'static [Field], Nothings),
    Down(&'static [Field]),
}

impl Way {
    fn definition(&self) -> String {
        match self {
            Self::Code(conversion) => conversion.definition(),
            Self::Tables(kind, _) => format!("{}.{}", kind.plural, kind.group),
        }
    }

    fn hub(&self) -> &str {
        match self {
            Self::Code(conversion) => conversion.hub,
            Self::Tables(..) => "v1beta2",
        }
    }

    /// Whether what the stored version has no word for is kept in stored objects too. Cluster API's own kinds never did,
    /// and their stored objects stay free of it.
    fn keeps_in_hub(&self) -> bool {
        matches!(self, Self::Code(_))
    }

    /// The steps to the stored version and from it.
    fn spoke(&self, version: &str) -> Result<(Step, Step), String> {
        let (kind, found) = match self {
            Self::Code(conversion) => {
                let spoke = conversion.spokes.iter().find(|spoke| spoke.version == version);
                let steps = spoke.map(|spoke| (Step::Code(spoke.to_hub), Step::Code(spoke.from_hub)));
                (conversion.kind, steps)
            }
            Self::Tables(kind, schemas) => {
                let found = kind.versions.iter().find(|(name, _)| *name == version);
                let steps =
                    found.map(|(_, table)| (Step::Up(table, schemas.nothings(kind)), Step::Down(table)));
                (kind.kind, steps)
            }
        };
        found.ok_or_else(|| format!("{kind} has no version {version}"))
    }

    /// The steps that lead from one version to another, through the stored one.
    fn path(&self, from: &str, to: &str) -> Result<Vec<Step>, String> {
        let mut path = Vec::new();
        if from != self.hub() {
            path.push(self.spoke(from)?.0);
        }
        if to != self.hub() {
            path.push(self.spoke(to)?.1);
        }
        Ok(path)
    }
}

impl Step {
    fn take(&self, mut object: Value, around: &Around<'_>) -> Result<Value, String> {
        let fields = object.as_object_mut();
        match (self, fields) {
            (Self::Code(convert), _) => return convert(object),
            (Self::Up(table, nothings), Some(fields)) => {
                conversion::up(table, fields);
                nothings.take_out(&mut object);
            }
            (Self::Down(table), Some(fields)) => conversion::down(table, fields, around),
            (_, None) => return Err("an object is wanted".to_owned()),
        }
        Ok(object)
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
        let schemas = Arc::new(Schemas {
            definitions,
            nothings: OnceLock::new(),
        });
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

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn along<'a>(
    api_version: &'a str,
    path: &'a [Step],
    around: &'a Around<'a>,
) -> impl Fn(Value) -> Result<Value, String> + 'a {
    move |mut object| {
        for step in path {
            object = step.take(object, around)?;
        }
        object["apiVersion"] = api_version.into();
        Ok(object)
    }
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

/// `converted` with what the way loses. `kept` is the object as it was in this version, `lossy` what comes back of it
/// when it goes the way and returns: where that is what came now, nobody changed anything, and what was kept is right.
fn restored(kept: &Value, lossy: &Value, converted: &Value) -> Value {
    if lossy == converted {
        return kept.clone();
    }
    match (kept, lossy, converted) {
        (Value::Object(kept), Value::Object(lossy), Value::Object(converted)) => {
            let mut fields = Map::new();
            let further = kept.keys().filter(|key| !converted.contains_key(*key));
            for key in converted.keys().chain(further) {
                let field = match (kept.get(key), lossy.get(key), converted.get(key)) {
                    (kept, lossy, converted) if lossy == converted => kept.cloned(),
                    (Some(kept), Some(lossy), Some(converted)) => Some(restored(kept, lossy, converted)),
                    (_, _, converted) => converted.cloned(),
                };
                fields.extend(field.map(|field| (key.clone(), field)));
            }
            Value::Object(fields)
        }
        (Value::Array(kept), Value::Array(lossy), Value::Array(converted)) if kept.len() == lossy.len() => {
            let item = |(index, item): (usize, &Value)| match counterpart(lossy, converted, index, item) {
                Some(at) => restored(&kept[at], &lossy[at], item),
                None => item.clone(),
            };
            converted.iter().enumerate().map(item).collect()
        }
        _ => converted.clone(),
    }
}

/// Which of the former items an item is: the same one, one of that name, or the one in its place.
fn counterpart(former: &[Value], present: &[Value], index: usize, item: &Value) -> Option<usize> {
    if let Some(same) = former.iter().position(|former| former == item) {
        return Some(same);
    }
    for key in ["name", "type", "key", "id"] {
        if item[key].is_string() {
            return former.iter().position(|former| former[key] == item[key]);
        }
    }
    (former.len() == present.len() && !former.is_empty()).then_some(index)
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
    fn items_are_known_by_name_or_place() {
        let kept = json!([{ "name": "a", "lost": 1 }, { "name": "b", "lost": 2 }]);
        let lossy = json!([{ "name": "a" }, { "name": "b" }]);
        let converted = json!([{ "name": "b" }, { "name": "c" }, { "name": "a", "more": true }]);
        assert_eq!(
            restored(&kept, &lossy, &converted),
            json!([{ "name": "b", "lost": 2 }, { "name": "c" }, { "name": "a", "more": true, "lost": 1 }])
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
}
