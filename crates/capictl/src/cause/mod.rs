//! Finds the one thing that keeps a cluster from being well, and what to do about it. Pure.
//!
//! The tree is walked in the order in which a cluster comes up; the first object that is not well and has no unwell
//! child is the cause. What waits for others (a worker for the control plane, a summary for its parts) thus never hides
//! what it waits for. First comes what keeps the Cluster from being Available; if nothing does, what keeps a part of it
//! from being as it should; then what acts beside it. `own` reads one object, `next` says what to do.

mod next;
mod own;
#[cfg(test)]
mod tests;

use std::fmt;

use jiff::Timestamp;

use crate::{
    inventory::{Condition, Inventory, Object, Reference},
    tree::{Item, Node},
};

/// What is wrong with a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// `Kind namespace/name` of the object at fault.
    pub object: String,
    /// What is wrong, in the words of its controller.
    pub what: String,
    /// Since when, if known.
    pub since: Option<Timestamp>,
    /// What to do next.
    pub next: String,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.what)
    }
}

/// A walk through a tree.
#[derive(Clone, Copy)]
struct Walk<'a> {
    inventory: &'a Inventory,
    search: Search,
    /// The workload cluster cannot be asked.
    disconnected: bool,
}

/// What is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Search {
    /// What keeps the Cluster from being Available: what is well is not looked into.
    Blocking,
    /// Whatever is stuck or broken, though enough others are well.
    Anything,
}

/// The cause, or `None` when everything is well.
pub fn find(inventory: &Inventory, node: &Node<'_>) -> Option<Cause> {
    let walk = |search, disconnected| Walk {
        inventory,
        search,
        disconnected,
    };
    let Item::Object(cluster) = &node.item else {
        return walk(Search::Blocking, false).at(node);
    };
    let disconnected = unreachable(cluster).is_some();
    walk(Search::Blocking, disconnected)
        .at(node)
        .or_else(|| walk(Search::Anything, disconnected).at(node))
        .or_else(|| beside(inventory, cluster))
        .or_else(|| {
            (!is_well(cluster))
                .then(|| own::whatever(inventory, cluster))
                .flatten()
        })
}

impl Walk<'_> {
    fn at(self, node: &Node<'_>) -> Option<Cause> {
        let object = match &node.item {
            Item::Object(object) => *object,
            Item::Folded(_) => return None,
            Item::Heading(_) => return node.children.iter().find_map(|child| self.at(child)),
            Item::Missing(reference, field) => return Some(missing(self.inventory, reference, field)),
        };
        if let Some(paused) = object.condition("Paused").filter(|c| c.status == "True") {
            return Some(cause(object, &paused, next::unpause(object)));
        }
        let sums_up = matches!(
            object.kind.as_str(),
            "Cluster" | "KubeadmControlPlane" | "MachineDeployment" | "MachineSet" | "MachinePool"
        );
        if is_well(object) && (self.search == Search::Blocking || !sums_up) {
            return None;
        }
        // What belongs to an object that is being deleted may be gone already.
        let there = |child: &&Node<'_>| !(object.is_deleting() && matches!(child.item, Item::Missing(..)));
        let workers = |child: &&Node<'_>| matches!(child.item, Item::Heading(_));
        let (last, before): (Vec<_>, Vec<_>) = node.children.iter().filter(there).partition(workers);
        // A deleting parent waits for its children, but a child that is merely being deleted with it is not at fault.
        let below = before.into_iter().find_map(|child| match &child.item {
            Item::Missing(reference, _) if was_provisioned(object) => {
                Some(lost(self.inventory, object, reference))
            }
            _ => self.at(child),
        });
        below
            .or_else(|| unreachable(object))
            .or_else(|| last.into_iter().find_map(|child| self.at(child)))
            .or_else(|| match self.search {
                Search::Anything if sums_up && is_well(object) => own::stuck(self.inventory, object),
                _ => own::own(self.inventory, object, self.disconnected),
            })
    }
}

/// A MachineSet has no condition for all of it: its Machines may be ready while others cannot be made.
fn is_well(object: &Object) -> bool {
    let lacks_machines =
        object.kind == "MachineSet" && object.condition("ScalingUp").is_some_and(|c| c.status == "True");
    object.headline().is_some_and(|c| c.status == "True") && !object.is_deleting() && !lacks_machines
}

/// A cluster that has been reached before and cannot be now: what depends on it is not known, but not at fault.
fn unreachable(cluster: &Object) -> Option<Cause> {
    let was_reached = cluster.kind == "Cluster"
        && cluster
            .condition("ControlPlaneInitialized")
            .is_some_and(|c| c.status == "True");
    let probe = cluster.condition("RemoteConnectionProbe");
    let probe = probe.filter(|c| was_reached && c.status != "True" && !cluster.is_deleting())?;
    let next = next::step(&Inventory::default(), cluster, &probe);
    Some(cause(cluster, &probe, next))
}

fn missing(inventory: &Inventory, reference: &Reference, field: &str) -> Cause {
    let field = field.replace('/', ".").trim_start_matches('.').to_owned();
    let Reference { group, kind, name } = reference;
    let (what, next) = match inventory.knows(reference) {
        true => (
            format!("does not exist, but {field} refers to it"),
            format!("create the {kind} {name} in the same namespace, or correct the reference"),
        ),
        false => (
            format!("its kind is not known to the API server, but {field} refers to it"),
            format!("install the provider that serves {kind}.{group}, or correct the reference"),
        ),
    };
    Cause {
        object: format!("{kind} {name}"),
        what,
        since: None,
        next,
    }
}

/// Whether a Machine has had everything that it refers to.
fn was_provisioned(object: &Object) -> bool {
    let provisioned = object.at("/status/initialization/infrastructureProvisioned");
    object.kind == "Machine" && provisioned == Some(&true.into())
}

/// A part of a machine that cannot come back.
fn lost(inventory: &Inventory, machine: &Object, reference: &Reference) -> Cause {
    Cause {
        next: format!("delete the Machine {}: its owner replaces it", machine.name()),
        what: format!("does not exist any more, but Machine {} needs it", machine.name()),
        ..missing(inventory, reference, "")
    }
}

/// What acts on the cluster without being part of it.
fn beside(inventory: &Inventory, cluster: &Object) -> Option<Cause> {
    let name = cluster.name();
    let checks = inventory
        .of_kind("MachineHealthCheck")
        .filter(|check| check.text("/spec/clusterName") == Some(&name));
    let sets = inventory
        .of_kind("ClusterResourceSet")
        .filter(|set| selects(set, cluster));
    let mut others = checks.chain(sets).filter(|o| !o.is_deleting());
    others.find_map(|object| {
        let conditions = object.conditions();
        let unwell = conditions.iter().find(|c| {
            matches!(c.type_.as_str(), "RemediationAllowed" | "ResourcesApplied") && c.status == "False"
        })?;
        Some(cause(object, unwell, next::step(inventory, object, unwell)))
    })
}

/// Whether the `matchLabels` of a ClusterResourceSet name this Cluster.
fn selects(set: &Object, cluster: &Object) -> bool {
    let wanted = set
        .at("/spec/clusterSelector/matchLabels")
        .and_then(|l| l.as_object());
    let mut wanted = wanted.into_iter().flatten();
    wanted.all(|(key, value)| cluster.label(key) == value.as_str())
}

fn cause(object: &Object, condition: &Condition, next: String) -> Cause {
    let mut what = format!("{} is {}", condition.type_, condition.status);
    if !condition.reason.is_empty() && condition.reason != condition.type_ {
        what += &format!(" ({})", condition.reason);
    }
    let message = condition
        .message
        .split('\n')
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    if !message.is_empty() {
        what += &format!(": {}", message.trim_start_matches("* "));
    }
    Cause {
        object: object.described(),
        what,
        since: condition.since,
        next,
    }
}
