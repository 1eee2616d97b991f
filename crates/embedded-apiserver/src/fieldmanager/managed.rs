//! `metadata.managedFields` as entries in memory: reading, writing, ordering, the limit on their number.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::set::Set;

/// More updaters than this are merged into one, oldest first.
const MOST_UPDATERS: usize = 10;
const MERGED_UPDATERS: &str = "ancient-changes";

/// Who owns fields: everything of an entry but its fields and time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) manager: String,
    pub(super) applied: bool,
    /// Part of the identity of updaters only: an applier keeps its identity when it changes the version.
    pub(super) api_version: String,
    pub(super) subresource: String,
}

impl Identity {
    fn key(&self) -> (&str, bool, &str, &str) {
        let version = if self.applied {
            ""
        } else {
            self.api_version.as_str()
        };
        (&self.manager, self.applied, version, &self.subresource)
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        self.key() == other.key()
    }

    /// As conflict messages show it.
    pub(super) fn show(&self) -> String {
        let mut text = crate::schema::quote(&self.manager);
        if !self.subresource.is_empty() {
            text.push_str(&format!(
                " with subresource {}",
                crate::schema::quote(&self.subresource)
            ));
        }
        if !self.applied {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

/// One entry.
#[derive(Clone, Debug)]
pub(super) struct Managed {
    pub(super) identity: Identity,
    pub(super) fields: Set,
    pub(super) time: Option<String>,
}

/// All entries of an object, in no particular order.
pub(super) type Entries = Vec<Managed>;

/// Reads managedFields; None when an entry is malformed.
pub(super) fn read(object: &Value) -> Option<Entries> {
    let Some(list) = object.pointer("/metadata/managedFields") else {
        return Some(Vec::new());
    };
    if list.is_null() {
        return Some(Vec::new());
    }
    list.as_array()?.iter().map(read_entry).collect()
}

fn read_entry(entry: &Value) -> Option<Managed> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
    let applied = match text("operation") {
        "Apply" => true,
        "Update" => false,
        _ => return None,
    };
    if text("apiVersion").is_empty() || text("fieldsType") != "FieldsV1" {
        return None;
    }
    let fields = match entry.get("fieldsV1") {
        None | Some(Value::Null) => Set::default(),
        Some(fields) => Set::from_json(fields)?,
    };
    let identity = Identity {
        manager: text("manager").to_owned(),
        applied,
        api_version: text("apiVersion").to_owned(),
        subresource: text("subresource").to_owned(),
    };
    Some(Managed {
        identity,
        fields,
        time: entry.get("time").and_then(Value::as_str).map(str::to_owned),
    })
}

/// Whether managedFields asks for a reset: an empty list, or one empty entry.
pub(super) fn is_reset(object: &Value) -> bool {
    match object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
    {
        Some([]) => true,
        Some([only]) => only
            .as_object()
            .is_some_and(|entry| entry.values().all(Value::is_null)),
        _ => false,
    }
}

/// Writes managedFields in the order of the real server; without entries the field goes.
pub(super) fn write(object: &mut Value, mut entries: Entries) {
    let Some(metadata) = object
        .as_object_mut()
        .map(|o| o.entry("metadata").or_insert_with(|| json!({})))
    else {
        return;
    };
    let Some(metadata) = metadata.as_object_mut() else {
        return;
    };
    if entries.is_empty() {
        metadata.remove("managedFields");
        return;
    }
    entries.sort_by_cached_key(|entry| {
        let i = &entry.identity;
        (
            !i.applied,
            seconds(entry),
            i.manager.clone(),
            i.api_version.clone(),
            i.subresource.clone(),
        )
    });
    let list: Vec<Value> = entries.into_iter().map(write_entry).collect();
    metadata.insert("managedFields".to_owned(), Value::Array(list));
}

fn seconds(entry: &Managed) -> i64 {
    entry
        .time
        .as_deref()
        .and_then(|t| t.parse::<Timestamp>().ok())
        .map_or(0, |t| t.as_second())
}

fn write_entry(entry: Managed) -> Value {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    put("manager", entry.identity.manager.into());
    put(
        "operation",
        if entry.identity.applied { "Apply" } else { "Update" }.into(),
    );
    put("apiVersion", entry.identity.api_version.into());
    if let Some(time) = entry.time {
        put("time", time.into());
    }
    put("fieldsType", "FieldsV1".into());
    put("fieldsV1", entry.fields.to_json());
    if !entry.identity.subresource.is_empty() {
        put("subresource", entry.identity.subresource.into());
    }
    Value::Object(out)
}

/// Gives entries that only got a new time their old time back.
pub(super) fn keep_times(old: &Value, new: &mut Value) {
    let (Some(before), Some(mut after)) = (read(old), read(new)) else {
        return;
    };
    for entry in &mut after {
        let known = before
            .iter()
            .find(|known| known.identity == entry.identity && known.fields == entry.fields);
        if let Some(known) = known {
            entry.time.clone_from(&known.time);
        }
    }
    write(new, after);
}

/// Removes managedFields from an object.
pub(super) fn strip(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

/// Merges the oldest updaters of each version when there are too many.
pub(super) fn cap(entries: &mut Entries) {
    let mut updaters: Vec<Identity> = entries
        .iter()
        .filter(|e| !e.identity.applied)
        .map(|e| e.identity.clone())
        .collect();
    if updaters.len() <= MOST_UPDATERS {
        return;
    }
    updaters.sort_by_cached_key(|identity| {
        let time = entries
            .iter()
            .find(|e| e.identity == *identity)
            .map_or(0, seconds);
        (time, identity.clone())
    });
    let mut count = updaters.len();
    let mut firsts: Vec<Identity> = Vec::new();
    for identity in updaters {
        if count <= MOST_UPDATERS {
            break;
        }
        let Some(first) = firsts
            .iter()
            .find(|f| f.api_version == identity.api_version)
            .cloned()
        else {
            firsts.push(identity);
            continue;
        };
        let bucket = Identity {
            manager: MERGED_UPDATERS.to_owned(),
            applied: false,
            api_version: identity.api_version.clone(),
            subresource: String::new(),
        };
        let Some(place) = entries.iter().position(|e| e.identity == identity) else {
            continue;
        };
        let merged = entries.remove(place);
        if !entries.iter().any(|e| e.identity == bucket)
            && let Some(entry) = entries.iter_mut().find(|e| e.identity == first)
        {
            entry.identity = bucket.clone();
        }
        if let Some(entry) = entries.iter_mut().find(|e| e.identity == bucket) {
            entry.fields = entry.fields.union(&merged.fields);
            entry.time = merged.time;
        }
        count -= 1;
    }
}

/// A time as managedFields has it: whole seconds, UTC.
pub(super) fn time_text(now: Timestamp) -> String {
    let whole = Timestamp::from_second(now.as_second()).unwrap_or(now);
    whole.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
