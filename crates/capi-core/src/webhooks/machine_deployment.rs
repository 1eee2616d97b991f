//! MachineDeployments.

use capi_api::{
    core::v1beta2::{
        MachineDeployment, MachineDeploymentRolloutStrategy, MachineDeploymentRolloutStrategyType,
        MachineSetDeletionOrder,
    },
    labels,
    names::is_label_value,
};
use capi_runtime::webhook::FieldError;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::{machine_set::check_naming, rules};

/// Fills in what the user left open.
pub fn default(deployment: &mut MachineDeployment, old: Option<&MachineDeployment>) {
    let cluster = deployment.spec.cluster_name.clone();
    rules::default_cluster_label(deployment, &cluster);
    if deployment.spec.replicas.is_none() {
        let replicas = rules::default_replicas(deployment.annotations(), old.map(|o| o.spec.replicas));
        deployment.spec.replicas = Some(replicas);
    }
    let name = deployment.name_any();
    let spec = &mut deployment.spec;
    spec.deletion
        .get_or_insert_default()
        .order
        .get_or_insert(MachineSetDeletionOrder::Random);
    rules::default_selector(
        &mut spec.selector,
        &mut spec.template,
        (labels::DEPLOYMENT_NAME, &name),
        &cluster,
    );
    rules::default_version(&mut spec.template.spec.version);
    default_strategy(
        spec.rollout
            .get_or_insert_default()
            .strategy
            .get_or_insert_default(),
    );
}

fn default_strategy(strategy: &mut MachineDeploymentRolloutStrategy) {
    if strategy.type_ == MachineDeploymentRolloutStrategyType::RollingUpdate {
        let rolling = strategy.rolling_update.get_or_insert_default();
        rolling.max_surge.get_or_insert(IntOrString::Int(1));
        rolling.max_unavailable.get_or_insert(IntOrString::Int(0));
    }
}

/// The defaults for an object that came past the webhook.
pub fn default_in_place(deployment: &mut MachineDeployment) {
    if deployment.metadata.deletion_timestamp.is_none() {
        default(deployment, None);
    }
}

/// What is wrong with a MachineDeployment.
pub fn validate(new: &MachineDeployment, old: Option<&MachineDeployment>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if new.metadata.deletion_timestamp.is_some() {
        return errors;
    }
    let name = new.name_any();
    if !is_label_value(&name) {
        let detail = "must be a valid label value: at most 63 letters, digits, '-', '_' or '.'";
        errors.push(FieldError::invalid("metadata.name", &name, detail));
    }
    let spec = &new.spec;
    rules::check_cluster_name(
        &spec.cluster_name,
        old.map(|o| o.spec.cluster_name.as_str()),
        &mut errors,
    );
    rules::check_template(&spec.selector, &spec.template, &spec.cluster_name, &mut errors);
    if let Some(template) = spec.machine_naming.as_ref().and_then(|n| n.template.as_deref()) {
        check_naming(template, &mut errors);
    }
    rules::check_autoscaler_limits(new.annotations(), &mut errors);
    rules::check_skipped_preflight_checks(new, &mut errors);
    check_strategy(new, &mut errors);
    if let Some(limit) = spec.remediation.as_ref().and_then(|r| r.max_in_flight.as_ref()) {
        check_number(limit, "spec.remediation.maxInFlight", &mut errors);
    }
    errors
}

fn check_strategy(deployment: &MachineDeployment, errors: &mut Vec<FieldError>) {
    const PATH: &str = "spec.rollout.strategy.rollingUpdate";
    let strategy = deployment.spec.rollout.as_ref().and_then(|r| r.strategy.as_ref());
    let Some(rolling) = strategy.and_then(|s| s.rolling_update.as_ref()) else {
        return;
    };
    let mut zeros = 0;
    for (value, field) in [
        (&rolling.max_surge, "maxSurge"),
        (&rolling.max_unavailable, "maxUnavailable"),
    ] {
        if let Some(value) = value {
            check_number(value, &format!("{PATH}.{field}"), errors);
            zeros += i32::from(is_zero(value));
        }
    }
    if zeros == 2 {
        let detail = "cannot be 0 when maxSurge is 0: nothing could ever be replaced";
        errors.push(FieldError::invalid(
            format!("{PATH}.maxUnavailable"),
            &rolling.max_unavailable,
            detail,
        ));
    }
}

fn is_zero(value: &IntOrString) -> bool {
    match value {
        IntOrString::Int(number) => *number == 0,
        IntOrString::String(text) => text.trim_end_matches('%').parse::<i32>() == Ok(0),
    }
}

/// A number, or a percentage.
fn check_number(value: &IntOrString, field: &str, errors: &mut Vec<FieldError>) {
    let good = match value {
        IntOrString::Int(number) => *number >= 0,
        IntOrString::String(text) => text
            .strip_suffix('%')
            .is_some_and(|number| number.parse::<u32>().is_ok()),
    };
    if !good {
        errors.push(FieldError::invalid(
            field,
            value,
            "must be either a non-negative integer or a percentage",
        ));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn deployment(change: Value) -> MachineDeployment {
        let mut spec = json!({"clusterName": "c", "selector": {}, "template": {"spec": {"clusterName": "c",
            "bootstrap": {"dataSecretName": "s"}, "infrastructureRef": {"apiGroup": "g", "kind": "K", "name": "n"}}}});
        for (key, value) in change.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value(json!({"metadata": {"name": "md"}, "spec": spec})).unwrap()
    }

    #[test]
    fn a_bare_deployment_rolls_by_surging() {
        let mut md = deployment(json!({}));
        default(&mut md, None);
        let rolling = md
            .spec
            .rollout
            .clone()
            .unwrap()
            .strategy
            .unwrap()
            .rolling_update
            .unwrap();
        assert_eq!(rolling.max_surge, Some(IntOrString::Int(1)));
        assert_eq!(rolling.max_unavailable, Some(IntOrString::Int(0)));
        assert_eq!(
            crate::selector::text(&md.spec.selector),
            "cluster.x-k8s.io/cluster-name=c,cluster.x-k8s.io/deployment-name=md"
        );
        assert!(validate(&md, None).is_empty());
    }

    #[test]
    fn a_strategy_that_can_never_move_is_refused() {
        let with = |surge: Value, unavailable: Value| {
            let md = deployment(json!({"rollout": {"strategy": {"type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}}}));
            validate(&md, None).len()
        };
        assert_eq!(with(json!(0), json!(1)), 0);
        assert_eq!(with(json!("25%"), json!("0%")), 0);
        assert_eq!(with(json!(0), json!("0%")), 1);
        assert_eq!(with(json!("a lot"), json!(1)), 1);
    }
}
