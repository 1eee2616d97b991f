//! What to do about a cause.

use crate::inventory::{Condition, Inventory, Object};

/// What to do about a condition of an object.
pub(super) fn step(inventory: &Inventory, object: &Object, condition: &Condition) -> String {
    let waits = [
        "Waiting",
        "Provisioning",
        "NotYetReported",
        "Draining",
        "Deleting",
    ]
    .iter()
    .any(|p| condition.reason.starts_with(p));
    let (kind, name, namespace) = (object.kind.to_lowercase(), object.name(), object.namespace());
    let look = format!("kubectl describe {kind} {name} -n {namespace}");
    let message = condition.message.as_str();
    if let Some(step) = remediation(inventory, object) {
        return step;
    }
    match (condition.type_.as_str(), condition.reason.as_str()) {
        ("RemoteConnectionProbe", _) => format!(
            "check that the workload cluster's API server answers at spec.controlPlaneEndpoint and that the Secret {name}-kubeconfig leads there"
        ),
        (_, "ConnectionDown" | "ProbeFailed") => {
            "check that the workload cluster's API server answers at spec.controlPlaneEndpoint".to_owned()
        }
        ("CertificatesAvailable", _) => {
            format!("restore the Secrets that are named, for example from a backup; {look} tells more")
        }
        (_, "WaitingForPreDrainHook" | "WaitingForPreTerminateHook") => {
            "whoever set the hook removes its annotation when he is done; ask him".to_owned()
        }
        (_, "DrainingNode") => {
            "make room for the Pods that are named, or relax their PodDisruptionBudget; spec.deletion.nodeDrainTimeoutSeconds bounds the wait".to_owned()
        }
        (_, "WaitingForVolumeDetach") => {
            "check that the CSI driver detaches the volumes; spec.deletion.nodeVolumeDetachTimeoutSeconds bounds the wait".to_owned()
        }
        ("Deleting", _) => {
            "wait; deletion goes on by itself unless the message names something to remove".to_owned()
        }
        (_, "BootstrapFailed") => {
            "correct what is named, then delete the Machine: the one that replaces it gets new bootstrap data".to_owned()
        }
        (_, "InternalError") if message.starts_with("spec.") => format!(
            "correct the field that is named where the {} came from, then delete its Machine",
            object.kind
        ),
        ("ResourcesApplied", _) => format!("create what is missing, or take it out of spec.resources of the {} {name}", object.kind),
        _ if message.contains("; create") || message.contains("; correct") => {
            "do what the message says; the rest goes on by itself".to_owned()
        }
        _ if message.contains("does not exist") && !message.contains("CustomResourceDefinition") => format!(
            "create what is missing, or correct the reference to it in the {}",
            object.kind
        ),
        _ if message.contains("CustomResourceDefinition") => "install the provider that is missing, or correct the reference".to_owned(),
        _ if message.contains("denied the request") && message.contains(" is invalid: ") => {
            format!("correct the field that is named, in the {} {name}", object.kind)
        }
        _ if message.contains("blocked because") => "remove what is named as the obstacle".to_owned(),
        (_, "NotReady" | "NotProvisioned" | "NotAvailable" | "NotInitialized") => {
            format!("wait; if it does not pass, {look}")
        }
        _ if waits => format!("wait; if it does not pass, {look}"),
        _ => look,
    }
}

/// Why nobody replaces a broken Machine although a health check has found it.
fn remediation(inventory: &Inventory, machine: &Object) -> Option<String> {
    let found = machine
        .condition("HealthCheckSucceeded")
        .is_some_and(|c| c.status == "False");
    if machine.kind != "Machine" {
        return None;
    }
    if let Some(owner) = machine
        .condition("OwnerRemediated")
        .filter(|c| found && c.status == "False")
    {
        return match owner.reason.as_str() {
            "CannotBeRemediated" | "RemediationDeferred" => Some(format!(
                "repair it: it is not replaced because {}",
                owner.message.replace('\n', " ").trim_start_matches("* ")
            )),
            _ => Some("wait; it is being replaced".to_owned()),
        };
    }
    let mut checks = inventory.of_kind("MachineHealthCheck");
    let refuses = checks.find_map(|check| {
        let allowed = check.condition("RemediationAllowed")?;
        let same = check.text("/spec/clusterName") == machine.text("/spec/clusterName");
        (same && allowed.status == "False").then(|| (check.name(), allowed.message))
    });
    let ready = machine.headline().is_some_and(|c| c.status == "True");
    let (name, why) = refuses.filter(|_| !ready)?;
    Some(format!(
        "repair it: the MachineHealthCheck {name} replaces nothing while {}",
        why.replace('\n', " ")
    ))
}

/// How to resume a paused object.
pub(super) fn unpause(object: &Object) -> String {
    let (namespace, name) = (object.namespace(), object.name());
    if object.kind == "Cluster" && object.at("/spec/paused") == Some(&true.into()) {
        return format!(
            "kubectl patch cluster {name} -n {namespace} --type merge -p '{{\"spec\":{{\"paused\":false}}}}'"
        );
    }
    format!(
        "remove the annotation cluster.x-k8s.io/paused from the {} {name} or set spec.paused of its Cluster to false",
        object.kind
    )
}
