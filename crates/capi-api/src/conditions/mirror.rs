//! A condition taken over from another object, of an own kind or of a foreign one.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::core::DynamicObject;
use serde_json::Value;

use super::{Draft, Status, reasons};

/// `source` under the name `target`; where it does not exist, `fallback`, and without one "not yet reported".
pub fn mirror(source: Option<&Condition>, source_type: &str, target: &str, fallback: Option<Draft>) -> Draft {
    match (source, fallback) {
        (Some(source), _) => Draft {
            type_: target.to_owned(),
            ..Draft::of(source)
        },
        (None, Some(fallback)) => Draft {
            type_: target.to_owned(),
            ..fallback
        },
        (None, None) => Draft::is_unknown(
            target,
            reasons::NOT_YET_REPORTED,
            format!("Condition {source_type} not yet reported"),
        ),
    }
}

/// The conditions of a foreign object, whichever of the three shapes it has: `status.conditions` of Kubernetes' type,
/// the same under `status.v1beta2`, or Cluster API's older type (without a reason where it is true).
///
/// The error is a sentence for the condition message.
pub fn all_of_foreign(object: &DynamicObject) -> Result<Vec<Condition>, String> {
    let status = &object.data["status"];
    let list = [&status["v1beta2"]["conditions"], &status["conditions"]]
        .into_iter()
        .find_map(Value::as_array);
    list.into_iter()
        .flatten()
        .filter(|c| c.is_object())
        .map(read)
        .collect()
}

fn read(value: &Value) -> Result<Condition, String> {
    let text = |field: &str| value[field].as_str().unwrap_or_default();
    let type_ = text("type");
    if type_.is_empty() {
        return Err("type must be set for all conditions".to_owned());
    }
    let status = text("status");
    if status.is_empty() {
        return Err(format!("status must be set for the {type_} condition"));
    }
    if Status::of(status).as_str() != status {
        return Err(format!(
            "status for the {type_} condition must be one of False, True, Unknown"
        ));
    }
    let time = match text("lastTransitionTime") {
        "" => Timestamp::UNIX_EPOCH,
        text => text
            .parse()
            .map_err(|_| format!("lastTransitionTime {text:?} of the {type_} condition is not a time"))?,
    };
    let reason = text("reason");
    Ok(Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: if reason.is_empty() {
            reasons::NO_REASON_REPORTED.to_owned()
        } else {
            reason.to_owned()
        },
        message: text("message").to_owned(),
        observed_generation: value["observedGeneration"].as_i64(),
        last_transition_time: Time(time),
    })
}

#[cfg(test)]
mod tests {
    use kube::core::ApiResource;
    use serde_json::json;

    use super::*;

    fn foreign(status: Value) -> DynamicObject {
        let resource = ApiResource::erase::<k8s_openapi::api::core::v1::Node>(&());
        DynamicObject::new("x", &resource).data(json!({ "status": status }))
    }

    #[test]
    fn a_mirror_keeps_everything_but_the_name() {
        let object = foreign(
            json!({"conditions": [{"type": "Ready", "status": "False", "reason": "Booting",
            "message": "VM boots", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}),
        );
        let all = all_of_foreign(&object).unwrap();
        let draft = mirror(all.first(), "Ready", "InfrastructureReady", None);
        let time = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(
            draft,
            Draft::is_false("InfrastructureReady", "Booting", "VM boots").since(time)
        );
    }

    #[test]
    fn without_a_source_the_fallback_counts_then_not_yet_reported() {
        let fallback = Draft::is_true("Ready", "Ready", "");
        assert_eq!(
            mirror(None, "Ready", "InfrastructureReady", Some(fallback)).type_,
            "InfrastructureReady"
        );
        let draft = mirror(None, "Ready", "InfrastructureReady", None);
        assert_eq!(
            (draft.status, draft.message.as_str()),
            (Status::Unknown, "Condition Ready not yet reported")
        );
    }

    #[test]
    fn the_newer_shape_beside_the_older_one_wins() {
        let object = foreign(json!({
            "v1beta2": {"conditions": [{"type": "Ready", "status": "True", "reason": "New"}]},
            "conditions": [{"type": "Ready", "status": "False"}]}));
        assert_eq!(all_of_foreign(&object).unwrap()[0].reason, "New");
        let object = foreign(json!({"conditions": [{"type": "Ready", "status": "True"}]}));
        assert_eq!(all_of_foreign(&object).unwrap()[0].reason, "NoReasonReported");
    }

    #[test]
    fn a_malformed_condition_is_named() {
        let cases = [
            (json!([{"status": "True"}]), "type must be set for all conditions"),
            (
                json!([{"type": "Ready"}]),
                "status must be set for the Ready condition",
            ),
            (
                json!([{"type": "Ready", "status": "yes"}]),
                "status for the Ready condition must be one of False, True, Unknown",
            ),
        ];
        for (conditions, message) in cases {
            assert_eq!(
                all_of_foreign(&foreign(json!({"conditions": conditions}))).unwrap_err(),
                message
            );
        }
        assert!(all_of_foreign(&foreign(json!({}))).unwrap().is_empty());
    }
}
