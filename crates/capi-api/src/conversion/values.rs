//! Single values on their way between versions. `None` is a value that the other version leaves out.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use super::Around;

/// Seconds of a Go duration, without fraction, at most what an int32 holds. What is no duration is left out.
pub(super) fn seconds(value: &Value) -> Option<Value> {
    let text = value.as_str()?;
    let duration: SignedDuration = match text {
        "0" => SignedDuration::ZERO,
        _ => text.parse().ok()?,
    };
    let whole = duration.as_secs();
    Some(i32::try_from(whole).unwrap_or(i32::MAX).into())
}

/// Seconds as Go writes a duration: `1h0m0s`, `10m0s`, `5s`.
pub(super) fn duration(value: &Value) -> Option<Value> {
    let whole = value.as_i64()?;
    let (sign, rest) = if whole < 0 { ("-", -whole) } else { ("", whole) };
    let (hours, minutes, seconds) = (rest / 3600, rest / 60 % 60, rest % 60);
    let text = match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, _) => format!("{sign}{minutes}m{seconds}s"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}s"),
    };
    Some(text.into())
}

/// Nothing for what could not be told from nothing.
pub(super) fn optional(value: Value) -> Option<Value> {
    let nothing = matches!(&value, Value::Bool(false)) || value == json!(0) || value == json!("");
    (!nothing).then_some(value)
}

/// Group, kind and name of an object reference.
pub(super) fn reference_up(value: &Value) -> Option<Value> {
    let api_version = value["apiVersion"].as_str().unwrap_or_default();
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    picked([
        ("apiGroup", group),
        ("kind", value["kind"].as_str().unwrap_or_default()),
        ("name", value["name"].as_str().unwrap_or_default()),
    ])
}

/// An object reference. Where nobody knows the version that the provider serves, it is v1beta1: the way back drops it again,
/// and a reader who cannot see a cluster because somebody removed a definition is worse off.
pub(super) fn reference_down(value: &Value, around: &Around<'_>) -> Option<Value> {
    let group = value["apiGroup"].as_str().unwrap_or_default();
    let kind = value["kind"].as_str().unwrap_or_default();
    let name = value["name"].as_str().unwrap_or_default();
    let version = (around.version)(group, kind).unwrap_or_else(|| "v1beta1".to_owned());
    let api_version = match group {
        "" => String::new(),
        _ => format!("{group}/{version}"),
    };
    let empty = kind.is_empty() && name.is_empty() && group.is_empty();
    let namespace = if empty { "" } else { around.namespace };
    picked([
        ("apiVersion", &api_version),
        ("kind", kind),
        ("name", name),
        ("namespace", namespace),
    ])
}

/// apiVersion, kind and name of an object reference.
pub(super) fn template_reference_up(value: &Value) -> Option<Value> {
    let field = |name: &str| value[name].as_str().unwrap_or_default();
    picked([
        ("apiVersion", field("apiVersion")),
        ("kind", field("kind")),
        ("name", field("name")),
    ])
}

/// The same with the namespace of the object.
pub(super) fn template_reference_down(value: &Value, around: &Around<'_>) -> Option<Value> {
    let mut reference = template_reference_up(value)?;
    if !around.namespace.is_empty() {
        reference["namespace"] = around.namespace.into();
    }
    Some(reference)
}

/// The name of a Node, as the only field.
pub(super) fn node_reference_up(value: &Value) -> Option<Value> {
    picked([("name", value["name"].as_str().unwrap_or_default())])
}

/// An object reference to a Node.
pub(super) fn node_reference_down(value: &Value) -> Option<Value> {
    let name = value["name"].as_str()?;
    Some(json!({ "apiVersion": "v1", "kind": "Node", "name": name }))
}

fn picked<const N: usize>(fields: [(&str, &str); N]) -> Option<Value> {
    let fields: Map<String, Value> = fields
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(name, text)| (name.to_owned(), text.into()))
        .collect();
    (!fields.is_empty()).then_some(Value::Object(fields))
}

/// A map as a list of names and values, sorted by name.
pub(super) fn arguments_up(value: &Value) -> Option<Value> {
    let sorted: BTreeMap<&String, &Value> = value.as_object()?.iter().collect();
    let list: Vec<Value> = sorted
        .into_iter()
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    (!list.is_empty()).then_some(list.into())
}

/// The list as a map; of a name that is there twice the last value counts.
pub(super) fn arguments_down(value: &Value) -> Option<Value> {
    let map: Map<String, Value> = value
        .as_array()?
        .iter()
        .filter_map(|item| Some((item["name"].as_str()?.to_owned(), item["value"].clone())))
        .collect();
    (!map.is_empty()).then_some(map.into())
}

/// A map of failure domains as a list, sorted by name.
pub(super) fn failure_domains_up(value: &Value) -> Option<Value> {
    let sorted: BTreeMap<&String, &Value> = value.as_object()?.iter().collect();
    let list: Vec<Value> = sorted
        .into_iter()
        .map(|(name, domain)| {
            let mut domain = domain.as_object().cloned().unwrap_or_default();
            domain.insert("name".to_owned(), name.as_str().into());
            domain.into()
        })
        .collect();
    (!list.is_empty()).then_some(list.into())
}

/// The list as a map.
pub(super) fn failure_domains_down(value: &Value) -> Option<Value> {
    let map: Map<String, Value> = value
        .as_array()?
        .iter()
        .filter_map(|domain| {
            let mut domain = domain.as_object()?.clone();
            let name = domain.remove("name")?.as_str()?.to_owned();
            Some((name, domain.into()))
        })
        .collect();
    (!map.is_empty()).then_some(map.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_become_seconds_and_come_back_as_go_writes_them() {
        for (text, whole, back) in [
            ("10m", 600, "10m0s"),
            ("1h30m", 5400, "1h30m0s"),
            ("90s", 90, "1m30s"),
            ("0s", 0, "0s"),
            ("0", 0, "0s"),
            ("1.9s", 1, "1s"),
            ("1h0m0s", 3600, "1h0m0s"),
            ("300ms", 0, "0s"),
            ("2540400h", i32::MAX, "596523h14m7s"),
        ] {
            let up = seconds(&json!(text));
            assert_eq!(up, Some(json!(whole)), "{text}");
            assert_eq!(duration(&json!(whole)), Some(json!(back)));
        }
        assert_eq!(seconds(&json!("soon")), None);
    }

    #[test]
    fn references_lose_their_version_and_get_it_back() {
        let around = Around {
            namespace: "ns",
            version: &|_, kind| (kind == "A").then(|| "v1".to_owned()),
        };
        let old =
            json!({ "apiVersion": "x.dev/v3", "kind": "A", "name": "a", "namespace": "other", "uid": "1" });
        let new = json!({ "apiGroup": "x.dev", "kind": "A", "name": "a" });
        assert_eq!(reference_up(&old).as_ref(), Some(&new));
        let back = json!({ "apiVersion": "x.dev/v1", "kind": "A", "name": "a", "namespace": "ns" });
        assert_eq!(reference_down(&new, &around), Some(back));
        let unknown = json!({ "apiGroup": "x.dev", "kind": "B", "name": "a" });
        assert_eq!(
            reference_down(&unknown, &around).map(|r| r["apiVersion"].clone()),
            Some(json!("x.dev/v1beta1"))
        );
        assert_eq!(reference_up(&json!({})), None);
        assert_eq!(reference_down(&json!({}), &around), None);
    }

    #[test]
    fn the_last_of_two_arguments_of_a_name_counts() {
        let list = json!([{ "name": "v", "value": "1" }, { "name": "a", "value": "x" }, { "name": "v", "value": "2" }]);
        let map = json!({ "v": "2", "a": "x" });
        assert_eq!(arguments_down(&list).as_ref(), Some(&map));
        let sorted = json!([{ "name": "a", "value": "x" }, { "name": "v", "value": "2" }]);
        assert_eq!(arguments_up(&map), Some(sorted));
    }
}
