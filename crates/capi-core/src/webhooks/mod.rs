//! Defaults and validation of the core kinds: pure functions, one file a kind, and their registration.
//!
//! The controllers call the same defaults ([`machine_set::default_in_place`] and its kin), so that objects that came
//! past the webhook work too.

pub mod cluster;
pub mod cluster_resource_set;
pub mod cluster_resource_set_binding;
pub mod machine;
pub mod machine_deployment;
pub mod machine_drain_rule;
pub mod machine_health_check;
pub mod machine_pool;
pub mod machine_set;
mod rules;

use async_trait::async_trait;
use capi_api::{
    addons::v1beta2::{ClusterResourceSet, ClusterResourceSetBinding},
    core::v1beta2::{
        Cluster, Machine, MachineDeployment, MachineDrainRule, MachineHealthCheck, MachinePool, MachineSet,
        MachineTaint,
    },
};
use capi_runtime::{
    Manager,
    webhook::{Defaulter, FieldError, Request, Validator, Verdict},
};

/// Registers defaults and validation of all kinds of this provider.
pub fn register(manager: &mut Manager) {
    let rules = Rules {
        taints: manager.feature("MachineTaintPropagation", false),
    };
    manager.webhook::<Cluster>(rules, rules);
    manager.webhook::<Machine>(rules, rules);
    manager.webhook::<MachineSet>(rules, rules);
    manager.webhook::<MachineDeployment>(rules, rules);
    manager.webhook::<MachinePool>(rules, rules);
    manager.webhook::<MachineDrainRule>(rules, rules);
    manager.webhook::<MachineHealthCheck>(rules, rules);
    manager.webhook::<ClusterResourceSet>(rules, rules);
    manager.webhook::<ClusterResourceSetBinding>(rules, rules);
}

/// The rules of this module as an admission plug-in.
#[derive(Clone, Copy)]
struct Rules {
    /// Whether taints of Machines are carried to Nodes.
    taints: bool,
}

impl Rules {
    /// What is wrong with taints where they are not carried out; `path` is where they stand.
    fn gate(&self, taints: Option<(&[MachineTaint], &str)>) -> Option<FieldError> {
        let (taints, path) = taints?;
        let detail =
            "taints are not allowed to be set when the feature gate MachineTaintPropagation is disabled";
        (!self.taints && !taints.is_empty()).then(|| FieldError::forbidden(path, detail))
    }
}

/// The verdict about a change. What was wrong before and is not touched is no reason to refuse it: rules grow stricter,
/// and an object that was stored before must still be changed elsewhere, for example to lose its finalizers.
fn of_update(errors: Vec<FieldError>, before: &[FieldError]) -> Verdict {
    let (stored, new): (Vec<_>, Vec<_>) = errors.into_iter().partition(|error| before.contains(error));
    stored.iter().fold(Verdict::of(new), |verdict, error| {
        verdict.warn(format!("{error} (stored like this before; please correct it)"))
    })
}

macro_rules! admit {
    ($kind:ty, $rules:ident) => {
        admit!($kind, $rules, |_| None);
    };
    ($kind:ty, $rules:ident, $taints:expr) => {
        impl Rules {
            fn $rules(&self, new: &$kind, old: Option<&$kind>) -> Vec<FieldError> {
                let taints: fn(&$kind) -> Option<(&[MachineTaint], &str)> = $taints;
                let mut errors = $rules::validate(new, old);
                errors.extend(self.gate(taints(new)));
                errors
            }
        }

        #[async_trait]
        impl Defaulter<$kind> for Rules {
            async fn default(
                &self,
                _: &Request,
                old: Option<&$kind>,
                object: &mut $kind,
            ) -> Result<(), String> {
                $rules::default(object, old);
                Ok(())
            }
        }

        #[async_trait]
        impl Validator<$kind> for Rules {
            async fn create(&self, _: &Request, new: &$kind) -> Verdict {
                Verdict::of(self.$rules(new, None))
            }

            async fn update(&self, _: &Request, old: &$kind, new: &$kind) -> Verdict {
                // The new one has its defaults; what was stored before there were any is compared as if it had them.
                let mut stored = old.clone();
                $rules::default(&mut stored, Some(old));
                of_update(self.$rules(new, Some(old)), &self.$rules(&stored, None))
            }
        }
    };
}

admit!(Cluster, cluster);
admit!(Machine, machine, |m| Some((&m.spec.taints, "spec.taints")));
admit!(MachineSet, machine_set, |m| Some((
    &m.spec.template.spec.taints,
    "spec.template.spec.taints"
)));
admit!(MachineDeployment, machine_deployment, |m| Some((
    &m.spec.template.spec.taints,
    "spec.template.spec.taints"
)));
admit!(MachinePool, machine_pool);
admit!(MachineDrainRule, machine_drain_rule);
admit!(MachineHealthCheck, machine_health_check);
admit!(ClusterResourceSet, cluster_resource_set);
admit!(ClusterResourceSetBinding, cluster_resource_set_binding);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_wrong_before_is_a_warning_and_what_is_new_an_error() {
        let error = |field: &str| FieldError::invalid(field, "x", "is wrong");
        let verdict = of_update(vec![error("a"), error("b")], &[error("a"), error("c")]);
        assert_eq!(verdict.errors, [error("b")]);
        assert_eq!(verdict.warnings.len(), 1);
        assert!(
            verdict.warnings[0].starts_with("a: Invalid value"),
            "{:?}",
            verdict.warnings
        );
    }

    #[test]
    fn taints_are_refused_where_nobody_carries_them() {
        let taint = serde_json::json!({"key": "k", "effect": "NoSchedule", "propagation": "Always"});
        let machine: Machine = serde_json::from_value(serde_json::json!({"metadata": {"name": "m"},
            "spec": {"clusterName": "c", "bootstrap": {"dataSecretName": "s"}, "taints": [taint],
                "infrastructureRef": {"apiGroup": "g", "kind": "K", "name": "n"}}}))
        .unwrap();
        let fields = |taints: bool| -> Vec<String> {
            let errors = Rules { taints }.machine(&machine, None);
            errors.into_iter().map(|e| e.field).collect()
        };
        assert_eq!(fields(false), ["spec.taints"]);
        assert!(fields(true).is_empty());
    }
}
