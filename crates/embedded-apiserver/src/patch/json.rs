//! JSON patch, with the leniencies and texts of the library that kube-apiserver uses: a `replace` may add a field, a
//! null field counts as missing, negative indices count from the end.

use serde_json::{Map, Value};

use super::{PatchError, go_kind, unreadable};

const MOST_OPERATIONS: usize = 10_000;

/// Applies a patch document to an object.
pub(super) fn apply(object: &Value, patch: &[u8]) -> Result<Value, PatchError> {
    let patch: Value = serde_json::from_slice(patch).map_err(|e| unreadable(patch, &e))?;
    let operations = match patch {
        Value::Array(operations) => operations,
        Value::Null => Vec::new(),
        other => {
            return Err(PatchError::BadRequest(format!(
                "error decoding patch: json: cannot unmarshal {} into Go value of type []handlers.jsonPatchOp",
                go_kind(&other)
            )));
        }
    };
    if operations.len() > MOST_OPERATIONS {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    operations.iter().try_for_each(typed)?;
    let mut document = object.clone();
    for operation in &operations {
        let Value::Object(operation) = operation else {
            continue;
        };
        step(&mut document, operation).map_err(PatchError::Unprocessable)?;
    }
    Ok(document)
}

/// Operations are decoded before the first is done.
fn typed(operation: &Value) -> Result<(), PatchError> {
    let Value::Object(fields) = operation else {
        return Err(PatchError::BadRequest(format!(
            "error decoding patch: json: cannot unmarshal {} into Go value of type handlers.jsonPatchOp",
            go_kind(operation)
        )));
    };
    for name in ["op", "from", "path"] {
        if let Some(wrong) = fields
            .get(name)
            .filter(|value| !value.is_string() && !value.is_null())
        {
            return Err(PatchError::BadRequest(format!(
                "error decoding patch: json: cannot unmarshal {} into Go struct field jsonPatchOp.{name} of type string",
                go_kind(wrong)
            )));
        }
    }
    Ok(())
}

fn step(document: &mut Value, operation: &Map<String, Value>) -> Result<(), String> {
    let text = |key: &str| operation.get(key).and_then(Value::as_str);
    let kind = text("op").unwrap_or("unknown");
    let value = || operation.get("value").cloned().unwrap_or(Value::Null);
    let path = || {
        text("path").ok_or_else(|| match kind {
            "add" | "remove" | "copy" => format!("{kind} operation failed to decode path: missing value"),
            _ => {
                format!("{kind} operation failed to decode path: operation missing path field: missing value")
            }
        })
    };
    let from = || {
        text("from").ok_or_else(|| {
            format!("{kind} operation failed to decode from: operation, missing from field: missing value")
        })
    };
    match kind {
        "add" => {
            let path = path()?;
            let (parent, key) = find(document, path).ok_or_else(|| {
                format!("add operation does not apply: doc is missing path: \"{path}\": missing value")
            })?;
            add(parent, &key, value()).map_err(|e| format!("error in add for path: '{path}': {e}"))
        }
        "remove" => {
            let path = path()?;
            let (parent, key) = find(document, path).ok_or_else(|| {
                format!("remove operation does not apply: doc is missing path: \"{path}\": missing value")
            })?;
            remove(parent, &key).map_err(|e| format!("error in remove for path: '{path}': {e}"))
        }
        "replace" => replace(document, path()?, value()),
        "test" => test(document, path()?, &value()),
        "move" => {
            let from = from()?;
            let missing =
                || format!("move operation does not apply: doc is missing from path: {from}: missing value");
            let (parent, key) = find(document, from).ok_or_else(missing)?;
            let in_move = |e: String| format!("error in move for path: '{key}': {e}");
            let moved = get(parent, &key).map_err(in_move)?.unwrap_or(Value::Null);
            remove(parent, &key).map_err(in_move)?;
            let path = path()?;
            let (parent, key) = find(document, path).ok_or_else(|| {
                format!(
                    "move operation does not apply: doc is missing destination path: {path}: missing value"
                )
            })?;
            add(parent, &key, moved).map_err(|e| format!("error in move for path: '{path}': {e}"))
        }
        "copy" => {
            let from = from()?;
            let missing =
                || format!("copy operation does not apply: doc is missing from path: {from}: missing value");
            let (parent, key) = find(document, from).ok_or_else(missing)?;
            let copied = get(parent, &key).map_err(|e| format!("error in copy for from: '{from}': {e}"))?;
            let path = path()?;
            let (parent, key) = find(document, path).ok_or_else(|| {
                format!(
                    "copy operation does not apply: doc is missing destination path: {path}: missing value"
                )
            })?;
            add(parent, &key, copied.unwrap_or(Value::Null))
                .map_err(|e| format!("error while adding value during copy: {e}"))
        }
        other => Err(format!("Unexpected kind: {other}")),
    }
}

fn replace(document: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        if !value.is_object() && !value.is_array() {
            return Err("replace operation value must be object or array: %!w(<nil>)".to_owned());
        }
        *document = value;
        return Ok(());
    }
    let (parent, key) = find(document, path).ok_or_else(|| {
        format!("replace operation does not apply: doc is missing path: {path}: missing value")
    })?;
    get(parent, &key).map_err(|_| {
        format!("replace operation does not apply: doc is missing key: {path}: missing value")
    })?;
    match parent {
        Value::Object(map) => {
            map.insert(key, value);
        }
        Value::Array(list) => {
            let place = index(&key, list.len())?;
            if let Some(slot) = list.get_mut(place) {
                *slot = value;
            }
        }
        _ => {}
    }
    Ok(())
}

fn test(document: &mut Value, path: &str, expected: &Value) -> Result<(), String> {
    let failed = || format!("testing value {path} failed: test failed");
    if path.is_empty() {
        return if document == expected {
            Ok(())
        } else {
            Err(failed())
        };
    }
    let (parent, key) = find(document, path)
        .ok_or_else(|| format!("test operation does not apply: is missing path: {path}: missing value"))?;
    let found = get(parent, &key).map_err(|e| format!("error in test for path: '{path}': {e}"))?;
    if found.unwrap_or(Value::Null) == *expected {
        Ok(())
    } else {
        Err(failed())
    }
}

/// The container of the last step of a pointer, and that step.
fn find<'a>(document: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let mut steps = path
        .split('/')
        .skip(1)
        .map(|step| step.replace("~1", "/").replace("~0", "~"));
    let mut key = steps.next()?;
    let mut place = document;
    for next in steps {
        place = match place {
            Value::Object(map) => map.get_mut(&key)?,
            Value::Array(list) => {
                let index = index(&key, list.len()).ok()?;
                list.get_mut(index)?
            }
            _ => return None,
        };
        key = next;
    }
    (place.is_object() || place.is_array()).then_some((place, key))
}

fn out_of_range(index: i64) -> String {
    format!("Unable to access invalid index: {index}: invalid index referenced")
}

fn number(key: &str) -> Result<i64, String> {
    key.parse::<i64>().map_err(|_| {
        format!(
            "strconv.Atoi: parsing {}: invalid syntax",
            crate::schema::quote(key)
        )
    })
}

/// An index into a list of that length; negative ones count from the end.
fn index(key: &str, length: usize) -> Result<usize, String> {
    let wanted = number(key)?;
    let place = if wanted < 0 {
        wanted.saturating_add(length as i64)
    } else {
        wanted
    };
    usize::try_from(place)
        .ok()
        .filter(|place| *place < length)
        .ok_or_else(|| out_of_range(wanted))
}

fn get(parent: &Value, key: &str) -> Result<Option<Value>, String> {
    match parent {
        Value::Object(map) => Ok(map.get(key).cloned()),
        Value::Array(list) => index(key, list.len()).map(|place| list.get(place).cloned()),
        _ => Ok(None),
    }
}

fn add(parent: &mut Value, key: &str, value: Value) -> Result<(), String> {
    match parent {
        Value::Object(map) => {
            map.insert(key.to_owned(), value);
            Ok(())
        }
        Value::Array(list) if key == "-" => {
            list.push(value);
            Ok(())
        }
        Value::Array(list) => {
            let wanted =
                number(key).map_err(|e| format!("value was not a proper array index: '{key}': {e}"))?;
            let place = if wanted < 0 {
                wanted.saturating_add(list.len() as i64 + 1)
            } else {
                wanted
            };
            match usize::try_from(place).ok().filter(|place| *place <= list.len()) {
                Some(place) => {
                    list.insert(place, value);
                    Ok(())
                }
                None => Err(out_of_range(wanted)),
            }
        }
        _ => Ok(()),
    }
}

fn remove(parent: &mut Value, key: &str) -> Result<(), String> {
    match parent {
        Value::Object(map) => match map.remove(key) {
            Some(_) => Ok(()),
            None => Err(format!("Unable to remove nonexistent key: {key}: missing value")),
        },
        Value::Array(list) => {
            let place = index(key, list.len())?;
            list.remove(place);
            Ok(())
        }
        _ => Ok(()),
    }
}
