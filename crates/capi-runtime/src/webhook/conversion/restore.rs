//! Puts back what the way through another version has lost: what was kept, what comes back of it unchanged, and what came now
//! are merged.

use serde_json::{Map, Value};

/// `converted` with what the way loses. `kept` is the object as it was in this version, `lossy` what comes back of it
/// when it goes the way and returns: where that is what came now, nobody changed anything, and what was kept is right.
pub(super) fn restored(kept: &Value, lossy: &Value, converted: &Value) -> Value {
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
    use serde_json::json;

    use super::*;

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
}
