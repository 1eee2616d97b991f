//! What one object says about itself, and which of it counts.

use super::{Cause, cause, next};
use crate::inventory::{Condition, Inventory, Object};

/// What the object reports. Nothing if it only reports what follows from something else; while the workload cluster is
/// `disconnected`, that is everything that is not known.
pub(super) fn own(inventory: &Inventory, object: &Object, disconnected: bool) -> Option<Cause> {
    if let Some(cause) = deleting(inventory, object) {
        return Some(cause);
    }
    let conditions = object.conditions();
    let parts = || {
        conditions
            .iter()
            .filter(|c| is_unwell(c) && !is_summary(c) && !is_progress(&c.type_))
    };
    let unknown = |c: &&Condition| is_disconnected(c) || disconnected && c.status == "Unknown";
    let follows = |c: &&Condition| unknown(c) || waits_for_another(c, &conditions);
    // False says more than Unknown, and what has a message says more than what has none.
    let worst = parts()
        .filter(|c| !follows(c))
        .min_by_key(|c| (c.status == "Unknown", c.message.is_empty()));
    let blocked = conditions.iter().find(|c| is_blocked(c));
    let worst = match worst {
        Some(c) if c.message.is_empty() || is_refused(c, blocked) => blocked.or(worst),
        _ => worst,
    };
    if worst.is_none() && parts().any(|c| unknown(&c)) {
        return None;
    }
    let worst = worst
        .or(blocked)
        .or_else(|| conditions.iter().find(|c| is_progress(&c.type_) && is_unwell(c)))
        .or_else(|| conditions.iter().find(|c| is_unwell(c)));
    match worst {
        Some(condition) => {
            let found = |said: &Condition| cause(object, condition, next::step(inventory, object, said));
            // Progress, or no message at all: a warning may know more.
            let vague =
                condition.message.is_empty() || is_progress(&condition.type_) && !is_blocked(condition);
            Some(match inventory.warning_about(object).filter(|_| vague) {
                Some(warning) => {
                    let found = found(&Condition {
                        message: warning.to_owned(),
                        ..condition.clone()
                    });
                    Cause {
                        what: format!("{}; the last warning about it: {warning}", found.what),
                        ..found
                    }
                }
                None => found(condition),
            })
        }
        None => silent(inventory, object),
    }
}

/// Whether something cannot be there because somebody refuses it.
fn is_refused(condition: &Condition, blocked: Option<&Condition>) -> bool {
    condition.type_ == "CertificatesAvailable" && blocked.is_some_and(|b| b.message.contains("Secret"))
}

/// What an object that is well enough as a whole is stuck with.
pub(super) fn stuck(inventory: &Inventory, object: &Object) -> Option<Cause> {
    if let Some(cause) = deleting(inventory, object) {
        return Some(cause);
    }
    let conditions = object.conditions();
    let blocked = conditions.iter().find(|c| is_blocked(c))?;
    Some(cause(object, blocked, next::step(inventory, object, blocked)))
}

/// The first thing that is not well, whatever it follows from.
pub(super) fn whatever(inventory: &Inventory, object: &Object) -> Option<Cause> {
    let conditions = object.conditions();
    let unwell = conditions.iter().find(|c| is_unwell(c))?;
    Some(cause(object, unwell, next::step(inventory, object, unwell)))
}

fn deleting(inventory: &Inventory, object: &Object) -> Option<Cause> {
    if !object.is_deleting() {
        return None;
    }
    let finalizers = object.object.metadata.finalizers.iter().flatten();
    let (own, foreign): (Vec<_>, Vec<_>) = finalizers.partition(|f| is_of_cluster_api(f));
    if own.is_empty() && !foreign.is_empty() {
        let names: Vec<_> = foreign.into_iter().map(String::as_str).collect();
        return Some(Cause {
            object: object.described(),
            what: format!(
                "is being deleted, but the finalizer {} is still set",
                names.join(", ")
            ),
            since: object.object.metadata.deletion_timestamp.as_ref().map(|t| t.0),
            next: "find out who sets it and what that waits for; Cluster API has nothing left to do here"
                .to_owned(),
        });
    }
    let deleting = object.condition("Deleting").filter(|c| c.status == "True")?;
    let next = next::step(inventory, object, &deleting);
    Some(cause(object, &deleting, next))
}

fn is_of_cluster_api(finalizer: &str) -> bool {
    let group = finalizer.split('/').next().unwrap_or_default();
    group.ends_with("cluster.x-k8s.io") || matches!(finalizer, "foregroundDeletion" | "orphan")
}

fn is_unwell(condition: &Condition) -> bool {
    match is_progress(&condition.type_) || matches!(condition.type_.as_str(), "Deleting" | "Paused") {
        true => condition.status == "True",
        false => condition.status != "True",
    }
}

fn is_summary(condition: &Condition) -> bool {
    matches!(condition.type_.as_str(), "Ready" | "Available" | "UpToDate")
}

fn is_progress(type_: &str) -> bool {
    matches!(
        type_,
        "ScalingUp" | "ScalingDown" | "RollingOut" | "Remediating" | "Updating"
    )
}

/// Progress that something stands in the way of.
fn is_blocked(condition: &Condition) -> bool {
    is_progress(&condition.type_)
        && condition.status == "True"
        && condition.message.contains("blocked because")
}

/// Not known, since the workload cluster cannot be asked.
fn is_disconnected(condition: &Condition) -> bool {
    matches!(condition.reason.as_str(), "ConnectionDown" | "ProbeFailed")
}

/// Whether the reason names another condition of the object that is not well either, as `WaitingForVMProvisioned` does.
fn waits_for_another(condition: &Condition, all: &[Condition]) -> bool {
    let awaited = condition.reason.strip_prefix("WaitingFor");
    all.iter()
        .any(|other| Some(other.type_.as_str()) == awaited && is_unwell(other))
}

/// Nobody has said anything about the object: most often its provider is not running. An infrastructure object may have
/// no conditions but Paused: there the contract's flag speaks.
fn silent(inventory: &Inventory, object: &Object) -> Option<Cause> {
    let provisioned = object.at("/status/initialization/provisioned");
    if object.headline().is_some() || provisioned == Some(&true.into()) {
        return None;
    }
    if inventory.lacks_contract(object) {
        let kind = format!("{}.{}", object.kind, object.group);
        return Some(Cause {
            object: object.described(),
            what: format!(
                "the CustomResourceDefinition of {kind} lacks the label cluster.x-k8s.io/v1beta2 that names the version implementing the contract"
            ),
            since: object.created(),
            next: format!("install a version of the provider of {kind} that fulfils the contract"),
        });
    }
    let provider = inventory.provider_of(object).unwrap_or("its provider");
    let reported = !object.conditions().is_empty() || object.at("/status").is_some();
    let what = match reported {
        true => "is not provisioned yet",
        false => "no controller has reported on it yet",
    };
    Some(Cause {
        object: object.described(),
        what: what.to_owned(),
        since: object.created(),
        next: format!("check that {provider} is installed and running, and look at its log"),
    })
}
