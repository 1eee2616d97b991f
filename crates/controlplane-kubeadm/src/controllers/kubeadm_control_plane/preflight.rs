//! What must hold before a Machine is added or taken away. Pure.

use capi_api::conditions::{get_in, types};

use super::{
    certificates,
    world::{MachineView, World},
};

/// What stands in the way, as lines for conditions, and in detail for the event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Lines without bullets, in a fixed order.
    pub lines: Vec<&'static str>,
    /// Single observations.
    pub details: Vec<String>,
    /// Something is wrong; otherwise a Machine is merely on its way, up or out.
    pub alarming: bool,
}

impl Findings {
    /// Nothing stands in the way.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// Checks everything; the Machine `exempt` (the one that is to go) may be unhealthy.
pub fn check(world: &World, exempt: Option<&str>) -> Findings {
    let mut findings = Findings::default();
    if certificates::problem(world).is_some() {
        findings.lines.push("cluster certificates are missing or unknown");
        findings
            .details
            .push("Cluster certificates are missing or incomplete".to_owned());
        findings.alarming = true;
    }
    if world.machines.iter().any(MachineView::deleting) {
        findings
            .lines
            .push("waiting for a control plane Machine to complete deletion");
        let names: Vec<String> = world
            .machines
            .iter()
            .filter(|view| view.deleting())
            .map(MachineView::name)
            .collect();
        findings
            .details
            .push(format!("Machine deletion in progress: {}", names.join(", ")));
        return findings;
    }
    let mut components = vec![
        types::API_SERVER_POD_HEALTHY,
        types::CONTROLLER_MANAGER_POD_HEALTHY,
        types::SCHEDULER_POD_HEALTHY,
    ];
    if world.etcd_is_managed() {
        components.push(types::ETCD_POD_HEALTHY);
    }
    let (mut failing, mut etcd_failing, mut provisioning) = (Vec::new(), Vec::new(), 0);
    for view in world
        .machines
        .iter()
        .filter(|view| exempt != Some(view.name().as_str()))
    {
        if view.node_name().is_none() {
            provisioning += 1;
            failing.push(format!(
                "Machine {} does not have a corresponding Node yet (Machine.status.nodeRef not set)",
                view.name()
            ));
            continue;
        }
        failing.extend(components.iter().filter_map(|type_| finding(view, type_)));
        if world.etcd_is_managed() {
            etcd_failing.extend(finding(view, types::ETCD_MEMBER_HEALTHY));
        }
    }
    findings.alarming |= failing.len() + etcd_failing.len() > provisioning;
    if !failing.is_empty() {
        findings
            .lines
            .push("waiting for control plane components to become healthy");
        findings.details.append(&mut failing);
    }
    if !etcd_failing.is_empty() {
        findings.lines.push("waiting for etcd cluster to become healthy");
        findings.details.append(&mut etcd_failing);
    }
    findings
}

fn finding(view: &MachineView, type_: &str) -> Option<String> {
    let name = view.name();
    let conditions = view
        .machine
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let Some(condition) = get_in(conditions, type_) else {
        return Some(format!("Machine {name} does not have {type_} condition"));
    };
    match condition.status.as_str() {
        "True" => None,
        "False" => Some(format!(
            "Machine {name} reports {type_} condition is false ({})",
            condition.message
        )),
        _ => Some(format!(
            "Machine {name} reports {type_} condition is unknown ({})",
            condition.message
        )),
    }
}
