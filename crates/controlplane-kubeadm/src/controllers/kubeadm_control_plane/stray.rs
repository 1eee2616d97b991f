//! etcd members that belong to no Machine: left over from Machines that went without their member. Pure.
//!
//! One is removed at a time, and only if the members that are left keep their quorum.

use super::world::World;
use crate::workload::{
    etcd::{EtcdMember, EtcdView},
    quorum,
};

/// What is to be done about members without a Machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stray {
    /// There is none, or it is too early to tell.
    None,
    /// This one may go.
    Remove {
        /// Its identifier.
        id: u64,
        /// Its name; empty if it never started.
        name: String,
    },
    /// There is one, but it must stay.
    Keep(String),
}

/// The first member that belongs to no Machine.
pub fn find(world: &World) -> Stray {
    let Some(etcd) = world
        .etcd()
        .filter(|_| world.etcd_is_managed() && world.initialized())
    else {
        return Stray::None;
    };
    let Ok(members) = &etcd.members else {
        return Stray::None;
    };
    // A Machine on its way may have a member already, under a name that nobody can tell.
    let nodes: Option<Vec<&str>> = world.machines.iter().map(|view| view.node_name()).collect();
    let Some(nodes) = nodes.filter(|nodes| !nodes.is_empty() && world.unfinished.is_empty()) else {
        return Stray::None;
    };
    // While a Machine still waits for its member, a member without a name may be just that.
    let complete = nodes
        .iter()
        .all(|node| members.iter().any(|member| member.name == *node));
    let mut strays: Vec<&EtcdMember> = members
        .iter()
        .filter(|member| match member.name.as_str() {
            "" => complete,
            name => !nodes.contains(&name),
        })
        .collect();
    strays.sort_by_key(|member| (member.name.is_empty(), member.name.clone(), member.id));
    let Some(stray) = strays.first() else {
        return Stray::None;
    };
    match may_go(etcd, members, stray) {
        Ok(()) => Stray::Remove {
            id: stray.id,
            name: stray.name.clone(),
        },
        Err(why) => Stray::Keep(why),
    }
}

fn may_go(etcd: &EtcdView, members: &[EtcdMember], stray: &EtcdMember) -> Result<(), String> {
    let healthy = etcd.healthy();
    quorum::check_removal(members, stray.id, |member| healthy.contains(&member.name))
        .map_err(|error| error.to_string())
}
