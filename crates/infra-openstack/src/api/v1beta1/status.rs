//! What the status of clusters and machines has in common between the versions: conditions, and whether all is done.

use capi_api::conditions::reasons::NO_REASON_REPORTED;
use serde_json::{Value, json};

use super::{Fields, items};

/// What the older version says apart from conditions. That something is ready is how it says that it is provisioned.
pub(super) fn to_hub(status: &mut Fields) {
    for name in ["failureReason", "failureMessage"] {
        status.remove(name);
    }
    if status.remove("ready") == Some(Value::Bool(true)) {
        status.insert("initialization".to_owned(), json!({ "provisioned": true }));
    }
    conditions_to_hub(status);
}

/// Says whether the older version calls the object ready: what is provisioned stays so, whatever else happens to it.
pub(super) fn from_hub(status: &mut Fields) -> bool {
    let provisioned = status
        .get("initialization")
        .is_some_and(|done| done["provisioned"] == true);
    let says =
        |condition: &Fields, name: &str, text: &str| condition.get(name).is_some_and(|value| value == text);
    let ready = items(status, "conditions")
        .any(|condition| says(condition, "type", "Ready") && says(condition, "status", "True"));
    conditions_from_hub(status);
    ready || provisioned
}

/// The newer version has no severity, and demands reason and message.
pub(super) fn conditions_to_hub(status: &mut Fields) {
    for condition in items(status, "conditions") {
        condition.remove("severity");
        for (name, usual) in [("reason", NO_REASON_REPORTED), ("message", "")] {
            condition.entry(name).or_insert_with(|| usual.into());
        }
    }
}

pub(super) fn conditions_from_hub(status: &mut Fields) {
    for condition in items(status, "conditions") {
        condition.remove("observedGeneration");
        for (name, usual) in [("reason", NO_REASON_REPORTED), ("message", "")] {
            if condition.get(name).is_some_and(|value| value == usual) {
                condition.remove(name);
            }
        }
    }
}
