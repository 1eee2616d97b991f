//! How well each Machine is, by what was just seen and by what its conditions say. Pure.
//!
//! A condition counts as fulfilled only if both agree: what was written last may be old, and what is seen now may not have
//! been looked at by anybody else yet. So nothing dangerous is done on a view that is only half up to date.

use std::collections::BTreeMap;

use capi_api::conditions::{Draft, Status, types};
use jiff::{SignedDuration, Timestamp};

use super::{
    machine_conditions,
    world::{MachineView, World},
};
use crate::workload::{etcd::EtcdMember, quorum::Projection};

/// The health of all Machines of a world.
pub struct Health<'a> {
    world: &'a World,
    seen: BTreeMap<String, Vec<Draft>>,
}

impl<'a> Health<'a> {
    /// What can be said at `now`.
    pub fn of(world: &'a World, now: Timestamp) -> Self {
        let seen = world
            .machines
            .iter()
            .map(|view| {
                let drafts = machine_conditions::health(world, view, now, SignedDuration::ZERO);
                (view.name(), drafts)
            })
            .collect();
        Self { world, seen }
    }

    /// Whether a condition of a Machine is True.
    pub fn holds(&self, view: &MachineView, type_: &str) -> bool {
        let seen = self.seen.get(&view.name());
        let seen = seen.and_then(|drafts| drafts.iter().find(|draft| draft.type_ == type_));
        view.condition_is(type_, "True") && seen.is_none_or(|draft| draft.status == Status::True)
    }

    /// What was seen of a condition of a Machine, if it is one of those that are looked at.
    pub fn seen(&self, view: &MachineView, type_: &str) -> Option<&Draft> {
        let seen = self.seen.get(&view.name())?;
        seen.iter().find(|draft| draft.type_ == type_)
    }

    /// Whether everything on a Machine works that makes it a control plane of its own: its API server talks to the etcd
    /// beside it, the other components to that API server.
    pub fn components(&self, view: &MachineView) -> bool {
        let mut all = vec![
            types::API_SERVER_POD_HEALTHY,
            types::CONTROLLER_MANAGER_POD_HEALTHY,
            types::SCHEDULER_POD_HEALTHY,
        ];
        if self.world.etcd_is_managed() {
            all.push(types::ETCD_POD_HEALTHY);
        }
        all.into_iter().all(|type_| self.holds(view, type_))
    }

    /// Whether a control plane would still work somewhere without the Machine `removed`.
    pub fn components_without(&self, removed: Option<&str>) -> bool {
        self.world
            .machines
            .iter()
            .filter(|view| removed != Some(view.name().as_str()))
            .any(|view| self.components(view))
    }

    /// etcd without the member `removed`, and with another one if `added`; none if its members are not known.
    pub fn etcd_after(&self, removed: Option<&str>, added: bool) -> Option<Projection> {
        let members = self.world.etcd()?.members.as_ref().ok()?;
        if members.is_empty() {
            return None;
        }
        Some(Projection::of(members, removed, added, |member| {
            self.member_is_healthy(member)
        }))
    }

    /// A member without a Machine is judged by what it answers itself.
    fn member_is_healthy(&self, member: &EtcdMember) -> bool {
        let is_of = |view: &&MachineView| self.world.member_name(view).as_deref() == Some(&member.name);
        match self.world.machines.iter().find(is_of) {
            Some(view) if view.node_name().is_some() => self.holds(view, types::ETCD_MEMBER_HEALTHY),
            _ => {
                let etcd = self.world.etcd();
                etcd.is_some_and(|etcd| etcd.healthy().contains(&member.name))
            }
        }
    }
}
