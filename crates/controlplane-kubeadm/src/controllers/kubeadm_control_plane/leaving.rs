//! How a Machine leaves a control plane that stays: its etcd member is taken out before its infrastructure goes, whoever
//! deleted it. Pure.

use capi_api::annotations;
use kube::ResourceExt;

use super::{
    plan::{Action, Plan, leadership_candidates},
    world::{MachineView, World},
};
use crate::workload::quorum;

/// The hook of a Machine that is deleted while the control plane stays.
pub fn plan_hooks(world: &World, plan: &mut Plan) {
    let mut deleting: Vec<&MachineView> = world.machines.iter().filter(|view| view.deleting()).collect();
    deleting.sort_by_key(|view| {
        let deleted = view.machine.metadata.deletion_timestamp.as_ref();
        (deleted.map(|time| time.0), view.name())
    });
    // One at a time: each removal changes what the quorum is.
    let Some(view) = deleting.first() else { return };
    let has_hook = |view: &MachineView| {
        let annotations = view.machine.annotations();
        annotations.contains_key(annotations::KCP_PRE_TERMINATE_HOOK)
    };
    if let Some(going) = deleting.iter().find(|view| !has_hook(view)) {
        plan.waits.push(format!("Machine {} to be gone", going.name()));
        return;
    }
    let others = view.machine.annotations().keys().any(|key| {
        key.starts_with(annotations::PRE_TERMINATE_HOOK_PREFIX) && key != annotations::KCP_PRE_TERMINATE_HOOK
    });
    if others {
        plan.waits
            .push(format!("other pre-terminate hooks of Machine {}", view.name()));
        return;
    }
    if !reached_pre_terminate(view) {
        plan.waits.push(format!("Machine {} to be drained", view.name()));
        return;
    }
    if world.etcd_is_managed() && world.initialized() && world.machines.len() > 1 {
        let Ok(actions) = take_member_out(world, view).map_err(|why| plan.etcd_notes.push(why)) else {
            return;
        };
        plan.actions.extend(actions);
    }
    plan.actions.push(Action::RemoveHook(view.name()));
}

/// What takes the member of a Machine out of etcd; an error says why it must stay for now.
fn take_member_out(world: &World, view: &MachineView) -> Result<Vec<Action>, String> {
    let name = view.name();
    // It never got far enough to have a member.
    let Some(node) = world.member_name(view) else {
        return Ok(Vec::new());
    };
    let cannot = |why: &str| format!("Machine {name} cannot leave the etcd cluster: {why}");
    let etcd = world.etcd().ok_or_else(|| cannot("etcd cannot be asked"))?;
    let members = etcd.members.as_ref().map_err(|why| cannot(why))?;
    let Some(member) = members.iter().find(|member| member.name == node) else {
        return Ok(Vec::new());
    };
    let healthy = etcd.healthy();
    quorum::check_removal(members, member.id, |member| healthy.contains(&member.name))
        .map_err(|error| cannot(&error.to_string()))?;
    Ok(vec![
        forward_leadership(world, view),
        Action::RemoveEtcdMember(name),
    ])
}

/// Hands the leadership over, if this Machine has it. A member that is well must do so before it leaves; of one that is
/// not, the others take it over by themselves.
pub fn forward_leadership(world: &World, view: &MachineView) -> Action {
    let member = world.member_name(view);
    let well = world
        .etcd()
        .zip(member)
        .is_some_and(|(etcd, member)| etcd.healthy().contains(&member));
    Action::ForwardLeadership {
        from: view.name(),
        to: leadership_candidates(world, view),
        insist: well,
    }
}

/// The Machine controller has finished draining and asks for the hooks.
fn reached_pre_terminate(view: &MachineView) -> bool {
    let conditions = view
        .machine
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    conditions.iter().any(|condition| {
        condition.type_ == capi_api::conditions::types::DELETING
            && condition.status == "True"
            && condition.reason == capi_api::conditions::reasons::WAITING_FOR_PRE_TERMINATE_HOOK
    })
}
