//! Objects of other providers as a reconcile sees them: found, missing or unreadable; and what is said about them in
//! conditions.

use std::sync::Arc;

use capi_api::{
    conditions::{Draft, Status, all_of_foreign, mirror, reasons},
    contract::ContractVersion,
    core::v1beta2::ContractVersionedObjectReference,
};
use capi_runtime::Context;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::{ApiResource, DynamicObject};

/// An object that exists.
#[derive(Clone, Debug)]
pub struct Found {
    /// The contract its kind fulfils.
    pub contract: ContractVersion,
    /// Its resource, to write to it.
    pub resource: ApiResource,
    /// The object.
    pub object: Arc<DynamicObject>,
}

impl Found {
    /// Whether it is being deleted.
    pub fn is_deleting(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }

    /// Its conditions; none if they cannot be read.
    pub fn conditions(&self) -> Vec<Condition> {
        all_of_foreign(&self.object).unwrap_or_default()
    }
}

/// What a reference leads to.
#[derive(Clone, Debug, Default)]
pub enum Foreign {
    /// There is no reference.
    #[default]
    Unset,
    /// The object.
    Found(Found),
    /// No such object.
    Missing,
    /// It cannot be told, for this reason.
    Unreadable(String),
}

impl Foreign {
    /// The object, if it exists.
    pub fn found(&self) -> Option<&Found> {
        match self {
            Self::Found(found) => Some(found),
            _ => None,
        }
    }

    /// Whether it is certain that the object does not exist.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }
}

/// Follows a reference. A failure to do so is part of the answer; `failures` collects it for the end of the reconcile.
pub async fn follow(
    ctx: &Context,
    namespace: &str,
    reference: Option<&ContractVersionedObjectReference>,
    failures: &mut Vec<capi_runtime::Error>,
) -> Foreign {
    let Some(reference) = reference.filter(|r| !r.name.is_empty()) else {
        return Foreign::Unset;
    };
    match ctx.external(namespace, reference).await {
        Ok(external) => match external.object {
            Some(object) => Foreign::Found(Found {
                contract: external.contract,
                resource: external.resource,
                object,
            }),
            None => Foreign::Missing,
        },
        Err(error) => {
            let text = error.to_string();
            failures.push(error);
            Foreign::Unreadable(text)
        }
    }
}

/// A condition that repeats what a foreign object says of itself.
#[derive(Clone, Debug)]
pub struct Repeated<'a> {
    /// The condition to write.
    pub target: &'a str,
    /// The foreign object's condition.
    pub source: &'a str,
    /// The kind in the reference.
    pub kind: &'a str,
    /// Whether the step it stands for has been taken.
    pub done: bool,
    /// The contract field behind `done`, under its current name.
    pub flag: &'a str,
    /// Reasons while it does not report the condition: if done and if not.
    pub reasons: (&'a str, &'a str),
    /// Whether the referring object is being deleted.
    pub deleting: bool,
    /// What a loss after `done` is called ("while the cluster still exists"); nothing if a loss is not told apart.
    pub lost: Option<&'a str>,
}

impl Repeated<'_> {
    /// The condition, seen `foreign`.
    pub fn of(&self, foreign: &Foreign) -> Draft {
        let missing = |reason, message: String| Draft::is_false(self.target, reason, message);
        match foreign {
            Foreign::Found(found) => self.of_found(found),
            Foreign::Unreadable(why) => Draft::is_unknown(self.target, reasons::INTERNAL_ERROR, why.clone()),
            Foreign::Unset | Foreign::Missing => match (self.done, self.deleting, self.lost) {
                (true, true, _) => {
                    missing(reasons::OBJECT_DELETED, format!("{} has been deleted", self.kind))
                }
                (true, false, Some(lost)) => missing(
                    reasons::OBJECT_DELETED,
                    format!("{} has been deleted while {lost}", self.kind),
                ),
                _ => missing(
                    reasons::OBJECT_DOES_NOT_EXIST,
                    format!("{} does not exist", self.kind),
                ),
            },
        }
    }

    fn of_found(&self, found: &Found) -> Draft {
        let all = match all_of_foreign(&found.object) {
            Ok(all) => all,
            Err(why) => return Draft::is_unknown(self.target, reasons::INVALID_CONDITION_REPORTED, why),
        };
        let source = all.iter().find(|c| c.type_ == self.source);
        let (reason, message) = match self.done {
            true => (self.reasons.0, String::new()),
            false => (self.reasons.1, format!("{} {} is false", self.kind, self.flag)),
        };
        let fallback = Draft::new(self.target, Status::from(self.done), reason, message);
        let mut draft = mirror(source, self.source, self.target, Some(fallback));
        if draft.status == Status::True && draft.reason == reasons::NO_REASON_REPORTED {
            draft.reason = self.reasons.0.to_owned();
        }
        draft
    }
}

/// A copy of `found` that may be changed and compared with the original.
pub fn draft_of(found: &Found) -> DynamicObject {
    (*found.object).clone()
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A foreign object of the current contract from its JSON.
    pub fn found(value: serde_json::Value) -> Foreign {
        let object: DynamicObject = serde_json::from_value(value).unwrap();
        let types = object.types.clone().unwrap();
        let (group, version) = types.api_version.split_once('/').unwrap();
        let plural = capi_api::names::plural(&types.kind.to_lowercase());
        let resource = ApiResource {
            group: group.into(),
            version: version.into(),
            api_version: types.api_version.clone(),
            kind: types.kind.clone(),
            plural,
        };
        Foreign::Found(Found {
            contract: ContractVersion::V1Beta2,
            resource,
            object: Arc::new(object),
        })
    }
}

#[cfg(test)]
mod tests {
    use capi_api::conditions::types;
    use serde_json::json;

    use super::{testing::found, *};

    fn rule(done: bool, deleting: bool, lost: Option<&'static str>) -> Repeated<'static> {
        Repeated {
            target: types::INFRASTRUCTURE_READY,
            source: types::READY,
            kind: "DevCluster",
            done,
            flag: "status.initialization.provisioned",
            reasons: (reasons::READY, reasons::NOT_READY),
            deleting,
            lost,
        }
    }

    fn foreign(conditions: serde_json::Value) -> Foreign {
        found(
            json!({"apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2", "kind": "DevCluster",
            "metadata": {"name": "c", "namespace": "ns"}, "status": {"conditions": conditions}}),
        )
    }

    #[test]
    fn a_missing_object_is_told_from_a_deleted_and_a_lost_one() {
        let cases = [
            (false, false, "ObjectDoesNotExist", "DevCluster does not exist"),
            (
                true,
                false,
                "ObjectDeleted",
                "DevCluster has been deleted while the cluster still exists",
            ),
            (true, true, "ObjectDeleted", "DevCluster has been deleted"),
            (false, true, "ObjectDoesNotExist", "DevCluster does not exist"),
        ];
        for (done, deleting, reason, message) in cases {
            let draft = rule(done, deleting, Some("the cluster still exists")).of(&Foreign::Missing);
            assert_eq!(
                (draft.status, &*draft.reason, &*draft.message),
                (Status::False, reason, message)
            );
        }
        assert_eq!(
            rule(true, false, None).of(&Foreign::Missing).reason,
            "ObjectDoesNotExist"
        );
    }

    #[test]
    fn without_the_condition_the_contract_field_speaks() {
        let draft = rule(false, false, None).of(&foreign(json!([])));
        assert_eq!(
            (draft.status, &*draft.reason, &*draft.message),
            (
                Status::False,
                "NotReady",
                "DevCluster status.initialization.provisioned is false"
            )
        );
        let draft = rule(true, false, None).of(&foreign(json!([])));
        assert_eq!(
            (draft.status, &*draft.reason, &*draft.message),
            (Status::True, "Ready", "")
        );
    }

    #[test]
    fn an_old_condition_without_a_reason_gets_one() {
        let draft = rule(true, false, None).of(&foreign(json!([{"type": "Ready", "status": "True"}])));
        assert_eq!((draft.status, &*draft.reason), (Status::True, "Ready"));
        let draft = rule(true, false, None).of(&foreign(json!([{"type": "Ready", "status": "perhaps"}])));
        assert_eq!(
            (draft.status, &*draft.reason),
            (Status::Unknown, "InvalidConditionReported")
        );
    }
}
