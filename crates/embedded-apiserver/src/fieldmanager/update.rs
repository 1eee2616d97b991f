//! Ownership after a write: who loses fields, who gains them, and what an apply may not take.

use serde_json::{Map, Value};

use super::compare::{Comparison, compare, same};
use super::managed::{self, Entries, Identity, Managed};
use super::merge::merge;
use super::set::{Set, show};
use super::typed::{field_set, remove, validate};
use super::{ApplyError, Conflict, Writer};
use crate::schema::types::{Ref, TypeSchema};

/// Fields that no manager owns.
const STRIPPED: [&[&str]; 12] = [
    &["apiVersion"],
    &["kind"],
    &["metadata"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "creationTimestamp"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "clusterName"],
    &["metadata", "generation"],
    &["metadata", "managedFields"],
    &["metadata", "resourceVersion"],
];

/// Name under which fields from before the first apply are owned.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
const KUBECTL: &str = "kubectl";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

fn identity(writer: &Writer<'_>, manager: &str, applied: bool) -> Identity {
    Identity {
        manager: if manager.is_empty() {
            "unknown".to_owned()
        } else {
            manager.to_owned()
        },
        applied,
        api_version: writer.api_version.to_owned(),
        subresource: writer.subresource.to_owned(),
    }
}

fn has_uid(object: Option<&Value>) -> bool {
    object
        .and_then(|o| o.pointer("/metadata/uid"))
        .and_then(Value::as_str)
        .is_some_and(|uid| !uid.is_empty())
}

/// Everyone but the writer loses what changed. Returns the fields each of them conflicts on when nothing may be taken.
fn others(
    entries: &mut Entries,
    writer: Option<&Identity>,
    changes: &Comparison,
    force: bool,
) -> Result<(), Vec<(Identity, Set)>> {
    let touched = changes.modified.union(&changes.added);
    let mut conflicts = Vec::new();
    for entry in entries
        .iter()
        .filter(|e| writer.is_none_or(|w| !w.is(&e.identity)))
    {
        let conflict = entry.fields.intersection(&touched);
        if !conflict.is_empty() {
            conflicts.push((entry.identity.clone(), conflict));
        }
    }
    if !force && !conflicts.is_empty() {
        return Err(conflicts);
    }
    for entry in entries
        .iter_mut()
        .filter(|e| writer.is_none_or(|w| !w.is(&e.identity)))
    {
        entry.fields = entry.fields.difference(&touched).difference(&changes.removed);
    }
    entries.retain(|entry| !entry.fields.is_empty());
    Ok(())
}

/// Gives the changes of an update to its manager.
pub(super) fn update(
    types: &Ref,
    entries: &mut Entries,
    live: &Value,
    new: &Value,
    writer: &Writer<'_>,
    manager: &str,
    reset: &Set,
) -> Result<(), String> {
    let changes = compare(types, live, new)?.without(reset);
    // The writer's own older entry loses fields like any other; what it changed comes back with the new set.
    let _ = others(entries, None, &changes, true);
    let gained = changes.modified.union(&changes.added).recursive_difference(reset);
    let gained = gained.difference(&Set::of_fields(&STRIPPED));
    if gained.is_empty() {
        managed::cap(entries);
        return Ok(());
    }
    let identity = identity(writer, manager, false);
    let time = Some(managed::time_text(writer.now));
    match entries.iter_mut().find(|entry| entry.identity.is(&identity)) {
        Some(entry) => {
            entry.fields = entry.fields.union(&gained);
            entry.time = time;
        }
        None => entries.push(Managed {
            identity,
            fields: gained,
            time,
        }),
    }
    managed::cap(entries);
    Ok(())
}

/// See [`super::record_update`].
pub(super) fn record(
    types: &TypeSchema,
    old: Option<&Value>,
    new: &mut Value,
    writer: &Writer<'_>,
    reset: &[&[&str]],
) {
    let live_entries = || old.and_then(managed::read).unwrap_or_default();
    let mut entries = if !writer.subresource.is_empty() {
        live_entries()
    } else if managed::is_reset(new) {
        Vec::new()
    } else {
        match managed::read(new) {
            Some(entries) if !entries.is_empty() => entries,
            _ => live_entries(),
        }
    };
    managed::strip(new);
    if !validate(&types.root, new, true).is_empty() {
        // What does not fit its type (schemas leave such gaps) cannot be tracked.
        return;
    }
    if entries.is_empty() && has_uid(old) {
        // Nothing was tracked: tracking starts with a create or an apply.
        return;
    }
    let mut live = old.cloned().unwrap_or_else(|| Value::Object(Map::new()));
    managed::strip(&mut live);
    let mut complete = new.clone();
    types.fill_structs(&mut live);
    types.fill_structs(&mut complete);
    if update(
        &types.root,
        &mut entries,
        &live,
        &complete,
        writer,
        writer.manager,
        &Set::of_fields(reset),
    )
    .is_ok()
    {
        managed::write(new, entries);
    }
}

/// See [`super::apply`].
pub(super) fn apply(
    types: &TypeSchema,
    live: Option<&Value>,
    applied: &Value,
    writer: &Writer<'_>,
    force: bool,
    reset: &[&[&str]],
) -> Result<Value, ApplyError> {
    check_request(applied, writer)?;
    let reset = Set::of_fields(reset);
    let mut base = match live {
        Some(live) => live.clone(),
        None => Value::Object(Map::new()),
    };
    let mut entries = managed::read(&base)
        .ok_or_else(|| ApplyError::Internal("failed to decode managed fields: malformed entry".to_owned()))?;
    managed::strip(&mut base);
    if live.is_none() {
        // A new object has a type from the start, and the structs that are always there.
        copy_type(applied, &mut base);
    }
    let untouched = base.clone();
    types.fill_structs(&mut base);
    if entries.is_empty() && live.is_some() {
        let mut empty = Value::Object(Map::new());
        copy_type(applied, &mut empty);
        types.fill_structs(&mut empty);
        update(
            &types.root,
            &mut entries,
            &empty,
            &base,
            writer,
            BEFORE_FIRST_APPLY,
            &reset,
        )
        .map_err(|e| ApplyError::Internal(format!("failed to create manager for existing fields: {e}")))?;
    }
    let attempt = |force: bool| merged(types, &base, applied, entries.clone(), writer, force, &reset);
    let (object, entries, changed) = match attempt(force) {
        Err(Failure::Conflicts(conflicts)) if writer.manager == KUBECTL => {
            match client_side_owned(types, &base, writer) {
                Some(allowed) => {
                    let left: Vec<_> = conflicts
                        .into_iter()
                        .map(|(i, s)| (i, s.difference(&allowed)))
                        .collect();
                    if left.iter().all(|(_, set)| set.is_empty()) {
                        attempt(true)
                    } else {
                        Err(Failure::Conflicts(left))
                    }
                }
                None => Err(Failure::Conflicts(conflicts)),
            }
        }
        result => result,
    }
    .map_err(Failure::into_error)?;
    let mut object = if changed || live.is_none() {
        object
    } else {
        untouched
    };
    if writer.manager == KUBECTL {
        refresh_last_applied(&mut object, applied);
    }
    managed::write(&mut object, entries);
    Ok(object)
}

fn check_request(applied: &Value, writer: &Writer<'_>) -> Result<(), ApplyError> {
    let version = applied
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if version != writer.api_version {
        return Err(ApplyError::BadRequest(format!(
            "Incorrect version specified in apply patch. Specified patch version: {version}, expected: {}",
            writer.api_version
        )));
    }
    if applied
        .pointer("/metadata/managedFields")
        .is_some_and(|fields| !fields.is_null())
    {
        return Err(ApplyError::BadRequest(
            "metadata.managedFields must be nil".to_owned(),
        ));
    }
    Ok(())
}

fn copy_type(from: &Value, to: &mut Value) {
    if let Some(object) = to.as_object_mut() {
        for key in ["apiVersion", "kind"] {
            if let Some(value) = from.get(key) {
                object.insert(key.to_owned(), value.clone());
            }
        }
    }
}

enum Failure {
    Conflicts(Vec<(Identity, Set)>),
    Error(ApplyError),
}

impl Failure {
    fn into_error(self) -> ApplyError {
        match self {
            Self::Error(error) => error,
            Self::Conflicts(sets) => {
                let mut conflicts: Vec<Conflict> = Vec::new();
                for (identity, set) in sets {
                    let manager = identity.show();
                    conflicts.extend(set.paths().into_iter().map(|path| Conflict {
                        manager: manager.clone(),
                        field: path.iter().map(|element| show(element)).collect(),
                    }));
                }
                conflicts.sort_by(|a, b| a.manager.cmp(&b.manager));
                ApplyError::Conflicts(conflicts)
            }
        }
    }
}

/// The merge itself: new object, new owners, and whether anything changed.
fn merged(
    types: &TypeSchema,
    base: &Value,
    applied: &Value,
    mut entries: Entries,
    writer: &Writer<'_>,
    force: bool,
    reset: &Set,
) -> Result<(Value, Entries, bool), Failure> {
    let internal = |text: String| Failure::Error(ApplyError::Internal(text));
    let root = &types.root;
    let errors = validate(root, applied, false);
    if !errors.is_empty() {
        let text = match errors.as_slice() {
            [one] => one.clone(),
            many => format!("errors:\n  {}", many.join("\n  ")),
        };
        return Err(internal(format!(
            "failed to create typed patch object ({}): {text}",
            describe(applied, writer)
        )));
    }
    let result = merge(root, Some(base), Some(applied))
        .map_err(|e| internal(format!("failed to merge config: {e}")))?;
    let mut result = result.unwrap_or_else(|| Value::Object(Map::new()));
    let me = identity(writer, writer.manager, true);
    let last = entries.iter().find(|e| e.identity.is(&me)).cloned();
    let set = field_set(root, applied).recursive_difference(reset);
    entries.retain(|e| !e.identity.is(&me));
    let time = last.as_ref().and_then(|entry| entry.time.clone());
    entries.push(Managed {
        identity: me.clone(),
        fields: set,
        time,
    });
    if let Some(last) = last.filter(|last| !last.fields.is_empty()) {
        result = prune(root, &result, &entries, &last.fields);
    }
    let changes = compare(root, base, &result).map_err(internal)?.without(reset);
    others(&mut entries, Some(&me), &changes, force).map_err(Failure::Conflicts)?;
    let changed = !same(base, &result);
    let stripped = Set::of_fields(&STRIPPED);
    if let Some(entry) = entries.iter_mut().find(|e| e.identity.is(&me)) {
        entry.fields = entry.fields.difference(&stripped);
        if changed {
            entry.time = Some(managed::time_text(writer.now));
        }
    }
    entries.retain(|e| !e.fields.is_empty());
    Ok((result, entries, changed))
}

/// `namespace/name; group/version, Kind=kind`.
fn describe(object: &Value, writer: &Writer<'_>) -> String {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let version = if writer.api_version.contains('/') {
        writer.api_version.to_owned()
    } else {
        format!("/{}", writer.api_version)
    };
    format!(
        "{}/{}; {version}, Kind={}",
        text("/metadata/namespace"),
        text("/metadata/name"),
        text("/kind")
    )
}

/// Removes what the applier owned and no longer applies, unless someone else owns it too or it holds something of others.
fn prune(root: &Ref, merged: &Value, entries: &Entries, last: &Set) -> Value {
    let empty = || Value::Object(Map::new());
    let named = |set: &Set| set.with_named_fields(root);
    let last = named(last);
    let pruned = remove(root, merged, &last).unwrap_or_else(empty);
    let managed = entries
        .iter()
        .fold(Set::default(), |all, entry| all.union(&entry.fields));
    let merged_set = named(&field_set(root, merged));
    // What others own comes back.
    let keep = named(&field_set(root, &pruned)).union(&named(&managed));
    let pruned = remove(root, merged, &merged_set.difference(&keep)).unwrap_or_else(empty);
    // And so does what was removed only because something around it was.
    let pruned_set = named(&field_set(root, &pruned));
    remove(
        root,
        merged,
        &merged_set.difference(&pruned_set).intersection(&last),
    )
    .unwrap_or_else(empty)
}

/// Fields that client-side apply left as they are: kubectl may take those without force.
fn client_side_owned(types: &TypeSchema, live: &Value, writer: &Writer<'_>) -> Option<Set> {
    let text = live
        .get("metadata")?
        .get("annotations")?
        .get(LAST_APPLIED)?
        .as_str()?;
    let last: Value = serde_json::from_str(text).ok()?;
    if last.get("apiVersion").and_then(Value::as_str) != Some(writer.api_version) {
        return None;
    }
    let changes = compare(&types.root, &last, live).ok()?;
    let set = field_set(&types.root, &last);
    Some(
        set.difference(&changes.modified)
            .difference(&changes.added)
            .difference(&changes.removed),
    )
}

/// Keeps the annotation of client-side apply in step, where there is one.
fn refresh_last_applied(object: &mut Value, applied: &Value) {
    let Some(annotations) = object
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    let Some(annotation) = annotations
        .get_mut(LAST_APPLIED)
        .filter(|v| v.as_str().is_some_and(|s| !s.is_empty()))
    else {
        return;
    };
    let mut copy = applied.clone();
    if let Some(inner) = copy
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        inner.remove(LAST_APPLIED);
    }
    *annotation = Value::from(format!("{}\n", crate::schema::go_json(&copy)));
}
