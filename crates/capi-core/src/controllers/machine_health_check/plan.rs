//! What to do about the Machines of a MachineHealthCheck, and what to say about it. Pure.

use std::sync::Arc;

use capi_api::{
    conditions::{
        self, Draft, get, reasons, types,
        v1beta1::{self, Severity},
    },
    contract::{NewClone, Template},
    core::v1beta2::{Machine, MachineHealthCheck},
};
use capi_runtime::{Event, Next, meta};
use jiff::Timestamp;
use kube::{
    ResourceExt,
    core::{ApiResource, DynamicObject},
};

use super::{
    health::{self, Illness, Verdict},
    observe::{Connection, NodeView, Target, World},
    short_circuit::{self, Allowance, Counts},
};
use crate::{
    controllers::cluster::plan::label_cluster,
    foreign::{Foreign, Found},
    machines,
    plan::{Step, look_at},
};

pub(super) const OLD_TEMPLATE_AVAILABLE: &str = "ExternalRemediationTemplateAvailable";
pub(super) const OLD_TEMPLATE_NOT_FOUND: &str = "ExternalRemediationTemplateNotFound";
pub(super) const OLD_REQUEST_AVAILABLE: &str = "ExternalRemediationRequestAvailable";
pub(super) const OLD_REQUEST_CREATION_FAILED: &str = "ExternalRemediationRequestCreationFailed";

/// A remediation request to be made.
#[derive(Clone, Debug)]
pub struct NewRequest {
    /// The Machine as it is.
    pub machine: Arc<Machine>,
    /// The Machine as it is marked before the request is made.
    pub marked: Box<Machine>,
    /// The request.
    pub object: Box<DynamicObject>,
    /// Its resource.
    pub resource: ApiResource,
}

/// Something a MachineHealthCheck's reconcile does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Writes the verdict to a Machine; the event tells of it.
    Mark(Arc<Machine>, Box<Machine>, Option<Event>),
    /// Asks somebody outside to remediate.
    Request(NewRequest),
    /// Takes that back.
    Withdraw(Found),
}

/// Everything a reconcile will do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In this order; steps of different Machines do not depend on each other.
    pub steps: Vec<Step<Action>>,
    /// The MachineHealthCheck as it should be.
    pub check: MachineHealthCheck,
    /// About the MachineHealthCheck, to be told at the end.
    pub events: Vec<Event>,
    /// About Machines, likewise.
    pub machine_events: Vec<(Arc<Machine>, Event)>,
    /// When to look again without an event.
    pub next: Next,
}

/// Plans a reconcile.
pub fn plan(world: &World, now: Timestamp) -> Plan {
    let mut plan = Plan {
        steps: Vec::new(),
        check: (*world.check).clone(),
        events: Vec::new(),
        machine_events: Vec::new(),
        next: Next::Done,
    };
    let cluster = plan.check.spec.cluster_name.clone();
    label_cluster(&mut plan.check, &cluster);
    meta::ensure_owner(&mut plan.check.metadata, meta::owner_reference(&*world.cluster));
    crate::pause::runs(&mut plan.check, now);
    if let Connection::Down(why) = &world.connection {
        // Without a look at the Nodes nothing is judged; what was said of the Machines stays.
        let draft = Draft::is_unknown(types::REMEDIATION_ALLOWED, reasons::CONNECTION_DOWN, why.clone());
        conditions::set(&mut plan.check, draft, now);
        return plan;
    }
    let verdicts: Vec<(&Target, Verdict)> = world
        .targets
        .iter()
        .map(|target| (target, health::judge(world, target, now)))
        .collect();
    let count = |of: fn(&Verdict) -> bool| verdicts.iter().filter(|(_, v)| of(v)).count() as i32;
    let counts = Counts {
        expected: verdicts.len() as i32,
        healthy: count(|v| *v == Verdict::Healthy),
        unhealthy: count(|v| matches!(v, Verdict::Unhealthy(_))),
    };
    let allowed = allowance(world, counts, &mut plan, now);
    for (target, verdict) in &verdicts {
        match verdict {
            Verdict::Unhealthy(illness) => unhealthy(world, target, illness, allowed, &mut plan, now),
            Verdict::Healthy => healthy(target, &mut plan, now),
            Verdict::Suspicious(at) => suspicious(target, *at, &mut plan, now),
            Verdict::Untold => {}
        }
    }
    template_condition(world, allowed && counts.unhealthy > 0, &mut plan, now);
    plan
}

/// Sets counters and conditions; returns whether anything may be remediated.
fn allowance(world: &World, counts: Counts, plan: &mut Plan, now: Timestamp) -> bool {
    let limits = plan
        .check
        .spec
        .remediation
        .as_ref()
        .and_then(|r| r.trigger_if.as_ref());
    let allowance = short_circuit::judge(limits, counts);
    let check = &mut plan.check;
    let generation = check.metadata.generation;
    let status = check.status.get_or_insert_default();
    status.expected_machines = Some(counts.expected);
    status.current_healthy = Some(counts.healthy);
    status.targets = world.targets.iter().map(|t| t.machine.name_any()).collect();
    let (allowed, draft, old) = match allowance {
        Allowance::Allowed(more) => {
            status.remediations_allowed = Some(more);
            status.observed_generation = generation;
            let draft = Draft::is_true(types::REMEDIATION_ALLOWED, reasons::REMEDIATION_ALLOWED, "");
            (true, draft, v1beta1::is_true(types::REMEDIATION_ALLOWED))
        }
        Allowance::Refused(why) => {
            status.remediations_allowed = Some(0);
            status.observed_generation = generation;
            if counts.unhealthy > 0 {
                plan.events
                    .push(Event::warning("RemediationRestricted", why.clone()));
            }
            refused(reasons::TOO_MANY_UNHEALTHY, why)
        }
        Allowance::Unreadable(why) => {
            status.remediations_allowed = Some(0);
            refused(reasons::INTERNAL_ERROR, why)
        }
    };
    conditions::set(check, draft, now);
    v1beta1::set(check, old, now);
    allowed
}

fn refused(reason: &str, why: String) -> (bool, Draft, v1beta1::V1Beta1Condition) {
    let old = v1beta1::is_false(types::REMEDIATION_ALLOWED, reason, Severity::Warning, why.clone());
    (
        false,
        Draft::is_false(types::REMEDIATION_ALLOWED, reason, why),
        old,
    )
}

/// Marks an unhealthy Machine and, if allowed, asks for its remediation.
fn unhealthy(
    world: &World,
    target: &Target,
    illness: &Illness,
    allowed: bool,
    plan: &mut Plan,
    now: Timestamp,
) {
    let machine = &target.machine;
    let mut marked = (**machine).clone();
    let draft = Draft::is_false(
        types::HEALTH_CHECK_SUCCEEDED,
        illness.reason,
        illness.message.clone(),
    );
    conditions::set(&mut marked, draft, now);
    let old = v1beta1::is_false(
        types::HEALTH_CHECK_SUCCEEDED,
        illness.old_reason,
        Severity::Warning,
        illness.old_message.clone(),
    );
    v1beta1::set(&mut marked, old, now);
    let mut request = None;
    if allowed && world.template_ref().is_some() {
        request = external(world, target, &mut marked, now);
    } else if allowed && !machines::is_deleting(machine) {
        ask_owner(&mut marked, now);
    }
    if marked != **machine {
        let name = machine.name_any();
        let event = Event::normal(
            "MachineMarkedUnhealthy",
            format!(
                "Machine {}/{name} has been marked as unhealthy by {}/{}",
                machine.namespace().unwrap_or_default(),
                machine.namespace().unwrap_or_default(),
                world.check.name_any()
            ),
        );
        let why = format!("Machine {name}: {}", illness.message);
        let event = allowed.then_some(event);
        let action = Action::Mark(machine.clone(), Box::new(marked.clone()), event);
        plan.steps.push(Step::new(action, why));
    }
    if let Some((object, resource)) = request {
        let why = format!("Machine {} is to be remediated from outside", machine.name_any());
        let request = NewRequest {
            machine: machine.clone(),
            marked: Box::new(marked),
            object,
            resource,
        };
        plan.steps.push(Step::new(Action::Request(request), why));
    }
}

/// The owner is asked once. From then on the condition is the owner's, until it says that it has remediated.
fn ask_owner(machine: &mut Machine, now: Timestamp) {
    if get(machine, types::OWNER_REMEDIATED).is_none_or(|c| c.status == "True") {
        let draft = Draft::is_false(
            types::OWNER_REMEDIATED,
            reasons::WAITING_FOR_REMEDIATION,
            "Waiting for remediation",
        );
        conditions::set(machine, draft, now);
    }
    if v1beta1::get(machine, types::OWNER_REMEDIATED).is_none_or(|c| c.status == "True") {
        let old = v1beta1::is_false(
            types::OWNER_REMEDIATED,
            reasons::WAITING_FOR_REMEDIATION,
            Severity::Warning,
            "",
        );
        v1beta1::set(machine, old, now);
    }
}

/// The remediation request to be made, if there is none; what happens then is the business of whoever serves it.
fn external(
    world: &World,
    target: &Target,
    marked: &mut Machine,
    now: Timestamp,
) -> Option<(Box<DynamicObject>, ApiResource)> {
    if target.request.is_some() {
        if get(marked, types::EXTERNALLY_REMEDIATED).is_none() {
            conditions::set(marked, waits_for_remediation(), now);
        }
        return None;
    }
    if machines::is_deleting(marked) {
        return None;
    }
    let reference = world.template_ref()?;
    let namespace = marked.namespace().unwrap_or_default();
    let missing = |more: &str| {
        let text = format!(
            "Error retrieving remediation template {} {namespace}/{}{more}",
            reference.kind, reference.name
        );
        Draft::is_false(
            types::EXTERNALLY_REMEDIATED,
            reasons::REMEDIATION_TEMPLATE_NOT_FOUND,
            text,
        )
    };
    let template = match &world.template {
        Foreign::Found(template) => template,
        Foreign::Unreadable(why) => {
            conditions::set(marked, missing(&format!(": {why}")), now);
            return None;
        }
        Foreign::Unset | Foreign::Missing => {
            conditions::set(marked, missing(""), now);
            return None;
        }
    };
    let clone = NewClone {
        name: marked.name_any(),
        namespace: namespace.clone(),
        cluster: marked.spec.cluster_name.clone(),
        owner: Some(meta::owner_reference(&*target.machine)),
        ..NewClone::default()
    };
    match Template::new(&template.object).cloned(clone) {
        Ok(object) => {
            // A creation that failed is said until one succeeds.
            let failed = get(marked, types::EXTERNALLY_REMEDIATED)
                .is_some_and(|c| c.reason == reasons::REMEDIATION_REQUEST_CREATION_FAILED);
            if !failed {
                conditions::set(marked, waits_for_remediation(), now);
            }
            Some((Box::new(object), Template::cloned_resource(&template.resource)))
        }
        Err(error) => {
            conditions::set(marked, creation_failed(&error.to_string()), now);
            None
        }
    }
}

/// The condition of a Machine for which a request has been made.
pub fn waits_for_remediation() -> Draft {
    Draft::is_false(types::EXTERNALLY_REMEDIATED, reasons::WAITING_FOR_REMEDIATION, "")
}

/// The condition of a Machine for which no request could be made.
pub fn creation_failed(why: &str) -> Draft {
    Draft::is_false(
        types::EXTERNALLY_REMEDIATED,
        reasons::REMEDIATION_REQUEST_CREATION_FAILED,
        why,
    )
}

/// Says that a Machine is healthy and takes back what was asked of somebody outside.
fn healthy(target: &Target, plan: &mut Plan, now: Timestamp) {
    let machine = &target.machine;
    let name = machine.name_any();
    if let Some(request) = target.request.as_ref().filter(|r| !r.is_deleting()) {
        let why = format!("Machine {name} is healthy again");
        plan.steps.push(Step::new(Action::Withdraw(request.clone()), why));
    }
    let mut marked = (**machine).clone();
    let draft = Draft::is_true(types::HEALTH_CHECK_SUCCEEDED, reasons::HEALTH_CHECK_SUCCEEDED, "");
    conditions::set(&mut marked, draft, now);
    v1beta1::set(&mut marked, v1beta1::is_true(types::HEALTH_CHECK_SUCCEEDED), now);
    if marked != **machine {
        let why = format!("Machine {name} is healthy");
        let action = Action::Mark(machine.clone(), Box::new(marked), None);
        plan.steps.push(Step::new(action, why));
    }
}

fn suspicious(target: &Target, at: Timestamp, plan: &mut Plan, now: Timestamp) {
    plan.next = plan.next.earliest(look_at(at, now));
    let node = match &target.node {
        NodeView::Found(node) => node.name_any(),
        NodeView::Gone(name) => name.clone(),
        // Every Machine starts without a Node: that is no news.
        NodeView::Unset | NodeView::Hidden => return,
    };
    let machine = &target.machine;
    let text = format!(
        "Machine {}/{} (Node {node}) is failing machine health check rules and it is likely to go unhealthy",
        machine.namespace().unwrap_or_default(),
        machine.name_any(),
    );
    plan.machine_events
        .push((machine.clone(), Event::normal("DetectedUnhealthy", text)));
}

/// The older condition about the template: said when it is missed, and taken back when it is there again.
fn template_condition(world: &World, needed: bool, plan: &mut Plan, now: Timestamp) {
    let Some(reference) = world.template_ref() else {
        return;
    };
    let why = match &world.template {
        Foreign::Found(_) => {
            if v1beta1::get(&plan.check, OLD_TEMPLATE_AVAILABLE).is_some() {
                v1beta1::set(&mut plan.check, v1beta1::is_true(OLD_TEMPLATE_AVAILABLE), now);
            }
            return;
        }
        Foreign::Unreadable(why) => why.clone(),
        Foreign::Unset | Foreign::Missing => {
            format!("{} {} does not exist", reference.kind, reference.name)
        }
    };
    if needed {
        let old = v1beta1::is_false(
            OLD_TEMPLATE_AVAILABLE,
            OLD_TEMPLATE_NOT_FOUND,
            Severity::Error,
            why,
        );
        v1beta1::set(&mut plan.check, old, now);
    }
}
