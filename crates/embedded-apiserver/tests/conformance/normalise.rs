//! Makes answers comparable: what must differ between servers and runs is taken out or named.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value, json};

/// One answer, reduced to what must be equal on all servers.
pub fn answer(
    status: u16,
    warnings: &[String],
    body: &Value,
    names: &[(String, String)],
    only: &[String],
) -> Value {
    let mut body = body.clone();
    // Bookmarks come when the server likes; only the end of the initial events has its place.
    if let Value::Array(events) = &mut body {
        let free = |event: &Value| {
            event["type"] == "BOOKMARK"
                && event.get("version").is_none()
                && event["object"]["metadata"]["annotations"].is_null()
        };
        events.retain(|event| !free(event));
    }
    if body["kind"] == "Status" {
        body = failure(&body);
    }
    scrub(&mut body);
    let mut text = body.to_string();
    for (name, value) in names.iter().filter(|(_, value)| !value.is_empty()) {
        text = text.replace(value, &format!("{{{name}}}"));
    }
    let text = volatile(&text);
    let mut body: Value = serde_json::from_str(&text).unwrap();
    if !only.is_empty() && status < 400 {
        let mut kept = Map::new();
        for pointer in only {
            kept.insert(
                pointer.clone(),
                body.pointer(pointer).cloned().unwrap_or(Value::Null),
            );
        }
        body = Value::Object(kept);
    }
    let mut out = json!({"code": status, "body": body});
    if !warnings.is_empty() {
        let mut warnings = warnings.to_vec();
        warnings.sort();
        out["warnings"] = json!(warnings);
    }
    out
}

/// An object, reduced in the same way.
pub fn object(object: &Value) -> Value {
    let mut object = object.clone();
    scrub(&mut object);
    serde_json::from_str(&volatile(&object.to_string())).unwrap()
}

/// Versions differ between servers, but none may go back: that of a bookmark or a list is at least that of what was told
/// before it. Notes in the answer when one does.
pub fn check_versions(body: &mut Value, last_seen: &str, path: &str) {
    let number = |value: &Value| value.as_str().and_then(|text| text.parse::<u64>().ok());
    let seen: u64 = last_seen.parse().unwrap_or(0);
    if let Value::Array(events) = body {
        let mut told = 0;
        for event in events {
            let version = number(&event["object"]["metadata"]["resourceVersion"]).unwrap_or(0);
            // A watch from a version on may be told less than was seen, but never less than it told itself.
            if event["type"] == "BOOKMARK" && (version < told || version == 0) {
                event["version"] = json!("older than what was told");
            }
            told = told.max(version);
        }
        return;
    }
    let lists = body["items"].is_array() && !path.contains("resourceVersion=") && !path.contains("continue=");
    if lists && number(&body["metadata"]["resourceVersion"]).is_some_and(|version| version < seen) {
        body["version"] = json!("older than the last write");
    }
}

/// Names what differs from run to run inside texts.
fn volatile(text: &str) -> String {
    const PATTERNS: [(&str, &str); 9] = [
        (r"kube-api-access-[a-z0-9]{5}", "kube-api-access-{suffix}"),
        (r"record \([0-9]+\)", "record (rv)"),
        (
            r"too old resource version: [0-9]+ \([0-9]+\)",
            "too old resource version: (rv)",
        ),
        (r"eyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", "{token}"),
        (r"LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0[A-Za-z0-9+/=]+", "{certificate}"),
        (r"X509SHA256=[0-9a-f]{64}", "X509SHA256={hash}"),
        (
            r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "{uid}",
        ),
        (
            r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z",
            "{time}",
        ),
        (r#"\\*"resourceVersion\\*":\\*"[0-9]+\\*",?"#, ""),
    ];
    // Compiling them takes much longer than using them.
    static COMPILED: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        PATTERNS
            .map(|(pattern, name)| (Regex::new(pattern).unwrap(), name))
            .into()
    });
    COMPILED.iter().fold(text.to_owned(), |text, (pattern, name)| {
        pattern.replace_all(&text, *name).into_owned()
    })
}

/// The parts of a Status that clients read. The order of several causes is random on the real server.
fn failure(status: &Value) -> Value {
    let mut causes = status["details"]["causes"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    causes.sort_by_key(ToString::to_string);
    let mut message = status["message"].as_str().unwrap_or_default().to_owned();
    if causes.len() > 1
        && let Some((head, tail)) = message.split_once(" is invalid: ")
    {
        let all = causes.iter().all(|cause| {
            let text = cause["message"].as_str().unwrap_or_default();
            tail.contains(text)
        });
        message = format!("{head} is invalid: {}", if all { "{all causes}" } else { tail });
    }
    if causes.len() > 1 && message.starts_with("Apply failed with") {
        message = message.split(':').next().unwrap_or_default().to_owned();
    }
    const YAML: &str = "error decoding YAML: error converting YAML to JSON";
    if message.starts_with(YAML) {
        message = YAML.to_owned();
    }
    json!({
        "status": status["status"], "reason": status["reason"], "message": message, "causes": causes,
        "kind": status["details"]["kind"], "group": status["details"]["group"], "name": status["details"]["name"],
    })
}

/// Takes out identities and times.
fn scrub(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for key in ["uid", "resourceVersion", "creationTimestamp", "selfLink"] {
                map.remove(key);
            }
            if map.contains_key("fieldsV1") && map.contains_key("time") {
                map.insert("time".to_owned(), json!("{time}"));
            }
            if let Some(Value::Array(entries)) = map.get_mut("managedFields") {
                // Entries are ordered by second, which is chance here; and the real server's own controllers write too.
                entries.retain(|entry| entry["manager"] != "kube-controller-manager");
                entries.sort_by_key(|e| {
                    (
                        e["operation"].to_string(),
                        e["manager"].to_string(),
                        e["subresource"].to_string(),
                    )
                });
            }
            // Rules that come from several bindings come in no order.
            for key in ["resourceRules", "nonResourceRules"] {
                if let Some(Value::Array(rules)) = map.get_mut(key) {
                    rules.sort_by_key(ToString::to_string);
                }
            }
            if map.get("kind") == Some(&json!("Table")) {
                table(map);
            }
            // Whether an unset time is written as null or left out is nobody's contract.
            map.retain(|key, value| {
                !(value.is_null() && (key.ends_with("Time") || key.ends_with("Timestamp")))
            });
            map.values_mut().for_each(scrub);
        }
        Value::Array(list) => list.iter_mut().for_each(scrub),
        _ => {}
    }
}

/// Ages and creation times differ, and the wording of column descriptions is nobody's contract.
fn table(map: &mut Map<String, Value>) {
    let columns = map
        .get("columnDefinitions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for column in map
        .get_mut("columnDefinitions")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(column) = column.as_object_mut() {
            column.remove("description");
        }
    }
    for row in map
        .get_mut("rows")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        for (i, cell) in row["cells"].as_array_mut().into_iter().flatten().enumerate() {
            let name = columns
                .get(i)
                .map_or("", |c| c["name"].as_str().unwrap_or_default());
            if matches!(name, "Age" | "Created At" | "Last Seen" | "First Seen") && cell.is_string() {
                *cell = json!("{age}");
            }
        }
    }
}
