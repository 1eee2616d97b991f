//! Whose changes wake a cluster: those of everything that was made for it. Pure.

use crate::cloud::watch::{Collection, Interest};

use super::world::World;

/// What the cluster depends on now.
pub fn of(world: &World) -> Vec<Interest> {
    let revision = |revision: Option<i64>| revision.map(|revision| revision.to_string());
    let mut interests = Vec::new();
    let mut rests = |collection, id: &str, seen| interests.push(Interest::resting(collection, id, seen));
    if world.manages_network() {
        if let Some(network) = &world.network {
            rests(
                Collection::Networks,
                &network.id,
                revision(network.revision_number),
            );
        }
        if let Some(router) = &world.router {
            rests(Collection::Routers, &router.id, revision(router.revision_number));
        }
    }
    for group in world.groups.values() {
        rests(
            Collection::SecurityGroups,
            &group.id,
            revision(group.revision_number),
        );
    }
    if let Some(ip) = &world.floating_ip {
        rests(Collection::FloatingIps, &ip.id, revision(ip.revision_number));
    }
    if let Some(balancer) = &world.balancer {
        let itself = &balancer.itself;
        interests.push(match itself.provisioning_status.as_str() {
            status @ ("ACTIVE" | "ERROR") => {
                Interest::resting(Collection::LoadBalancers, &itself.id, Some(status.to_owned()))
            }
            status => Interest::waiting(Collection::LoadBalancers, &itself.id, status),
        });
    }
    interests
}
