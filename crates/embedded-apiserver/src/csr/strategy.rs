//! Which fields of a signing request a write may change.

use serde_json::{Value, json};

use crate::auth::User;
use crate::verbs::Part;

/// The state of a new request: who asked is what the server knows, and nothing is approved.
pub(crate) fn prepare_create(user: &User, value: &mut Value) {
    let Some(spec) = value["spec"].as_object_mut() else {
        return;
    };
    for field in ["username", "uid", "groups", "extra"] {
        spec.remove(field);
    }
    let info = user.info();
    for (field, known) in info.as_object().into_iter().flatten() {
        spec.insert(field.clone(), known.clone());
    }
    value["status"] = json!({});
}

fn conditions(value: &Value) -> Vec<Value> {
    value["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

/// Keeps the conditions of a type as they were, unless some came or went (which is an error later).
fn preserve(kind: &str, old: &[Value], new: &mut [Value]) {
    let before: Vec<&Value> = old.iter().filter(|condition| condition["type"] == kind).collect();
    let mut now: Vec<&mut Value> = new
        .iter_mut()
        .filter(|condition| condition["type"] == kind)
        .collect();
    if before.len() == now.len() {
        for (now, before) in now.iter_mut().zip(before) {
            **now = before.clone();
        }
    }
}

fn stamp(old: &[Value], new: &mut [Value], now: &str) {
    for condition in new {
        if !condition["lastUpdateTime"].is_string() {
            condition["lastUpdateTime"] = now.into();
        }
        if !condition["lastTransitionTime"].is_string() {
            let same = old.iter().find(|before| {
                before["type"] == condition["type"]
                    && before["status"] == condition["status"]
                    && before["lastTransitionTime"].is_string()
            });
            condition["lastTransitionTime"] =
                same.map_or(now.into(), |same| same["lastTransitionTime"].clone());
        }
    }
}

/// Puts back what a write of a subresource may not change.
pub(crate) fn protect(part: Part, old: &Value, new: &mut Value, now: &str) {
    new["spec"] = old["spec"].clone();
    let before = conditions(old);
    let mut after = conditions(new);
    if part == Part::Status {
        preserve("Approved", &before, &mut after);
        preserve("Denied", &before, &mut after);
    }
    stamp(&before, &mut after, now);
    if part == Part::Approval {
        new["status"] = old["status"].clone();
    }
    if !new["status"].is_object() {
        new["status"] = json!({});
    }
    if let Some(status) = new["status"].as_object_mut() {
        match after.is_empty() {
            true => status.remove("conditions"),
            false => status.insert("conditions".to_owned(), after.into()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn approval_changes_conditions_and_status_changes_the_rest() {
        let old = json!({"spec": {"signerName": "a/b"}, "status": {"certificate": "Yw==",
            "conditions": [{"type": "Approved", "status": "True", "lastUpdateTime": "t0", "lastTransitionTime": "t0"}]}});
        let new = json!({"spec": {"signerName": "c/d"}, "status": {"certificate": "ZA==",
            "conditions": [{"type": "Approved", "status": "True", "reason": "x"}, {"type": "Failed", "status": "True"}]}});
        let mut approved = new.clone();
        protect(Part::Approval, &old, &mut approved, "t1");
        assert_eq!(approved["spec"], old["spec"]);
        assert_eq!(approved["status"]["certificate"], "Yw==");
        assert_eq!(
            approved["status"]["conditions"][0],
            json!({"type": "Approved", "status": "True", "reason": "x", "lastUpdateTime": "t1", "lastTransitionTime": "t0"})
        );
        let mut signed = new.clone();
        protect(Part::Status, &old, &mut signed, "t1");
        assert_eq!(signed["status"]["certificate"], "ZA==");
        assert_eq!(signed["status"]["conditions"][0], old["status"]["conditions"][0]);
        assert_eq!(signed["status"]["conditions"][1]["lastTransitionTime"], "t1");
    }

    #[test]
    fn who_asks_is_not_for_the_asker_to_say() {
        let mut value = json!({"spec": {"username": "root", "groups": ["system:masters"]}, "status": {"certificate": "Yw=="}});
        prepare_create(&User::new("jane", &[]), &mut value);
        assert_eq!(
            value,
            json!({"spec": {"username": "jane", "groups": ["system:authenticated"]}, "status": {}})
        );
    }
}
