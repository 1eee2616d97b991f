//! The replica counters and versions of a Cluster's control plane and workers.

use capi_api::{
    contract,
    core::v1beta2::{Cluster, ClusterControlPlaneStatus, Machine, WorkersStatus},
    labels,
};
use capi_runtime::meta;
use kube::ResourceExt;

use super::{observe::World, plan::status};
use crate::{
    foreign::Foreign,
    machines::{self, add},
};

/// Writes the counters into the Cluster's status.
pub fn set(world: &World, cluster: &mut Cluster) {
    let old = world
        .cluster
        .status
        .as_ref()
        .and_then(|s| s.control_plane.clone())
        .unwrap_or_default();
    let control_plane = control_plane(world, old);
    let workers = workers(world);
    let status = status(cluster);
    status.control_plane = Some(control_plane);
    status.workers = Some(workers);
}

/// By the control plane object if there is a reference to one, otherwise by the Machines. A counter that the object
/// stopped reporting stays what it was.
fn control_plane(world: &World, old: ClusterControlPlaneStatus) -> ClusterControlPlaneStatus {
    let upgrade_plan = old.upgrade_plan.clone();
    match &world.control_plane {
        Foreign::Unset if world.cluster.spec.topology.is_none() => {
            let machines: Vec<_> = world
                .machines
                .iter()
                .filter(|m| machines::is_control_plane(m))
                .cloned()
                .collect();
            let count = machines::count(&machines);
            let some = |n: i32| Some(n).filter(|n| *n > 0);
            ClusterControlPlaneStatus {
                desired_replicas: some(count.replicas),
                replicas: some(count.replicas),
                ready_replicas: some(count.ready),
                available_replicas: some(count.available),
                up_to_date_replicas: some(count.up_to_date),
                versions: machines::status_versions(&machines),
                upgrade_plan,
            }
        }
        Foreign::Found(found) => {
            let object = contract::ControlPlane::new(&found.object, found.contract);
            ClusterControlPlaneStatus {
                desired_replicas: object.replicas().ok().flatten().or(old.desired_replicas),
                replicas: object.status_replicas().ok().flatten().or(old.replicas),
                ready_replicas: object.ready_replicas().ok().flatten().or(old.ready_replicas),
                available_replicas: object
                    .available_replicas()
                    .ok()
                    .flatten()
                    .map(|available| available.max(0))
                    .or(old.available_replicas),
                up_to_date_replicas: object
                    .up_to_date_replicas()
                    .ok()
                    .flatten()
                    .or(old.up_to_date_replicas),
                versions: object
                    .status_versions()
                    .map(|all| {
                        all.into_iter()
                            .filter(|_| found.object.data["status"]["versions"].is_array())
                            .collect()
                    })
                    .unwrap_or(old.versions),
                upgrade_plan,
            }
        }
        Foreign::Unset | Foreign::Missing => ClusterControlPlaneStatus {
            upgrade_plan,
            ..Default::default()
        },
        Foreign::Unreadable(_) => old,
    }
}

/// Summed over MachinePools, MachineDeployments, and the MachineSets and Machines that belong to the Cluster directly.
fn workers(world: &World) -> WorkersStatus {
    let uid = world.cluster.uid().unwrap_or_default();
    let upgrade_plan = world
        .cluster
        .status
        .as_ref()
        .and_then(|s| s.workers.as_ref())
        .map(|w| w.upgrade_plan.clone());
    let mut sum = WorkersStatus {
        upgrade_plan: upgrade_plan.unwrap_or_default(),
        ..Default::default()
    };
    let mut versions = Vec::new();
    macro_rules! sum_up {
        ($objects:expr) => {
            for object in $objects {
                let status = object.status.clone().unwrap_or_default();
                sum.desired_replicas = add(sum.desired_replicas, object.spec.replicas);
                sum.replicas = add(sum.replicas, status.replicas);
                sum.ready_replicas = add(sum.ready_replicas, status.ready_replicas);
                sum.available_replicas = add(sum.available_replicas, status.available_replicas);
                sum.up_to_date_replicas = add(sum.up_to_date_replicas, status.up_to_date_replicas);
                versions.extend(status.versions);
            }
        };
    }
    sum_up!(&world.pools);
    sum_up!(&world.deployments);
    sum_up!(
        world
            .sets
            .iter()
            .filter(|set| meta::is_owned_by(&set.metadata, &uid))
    );

    let standalone = |m: &Machine| {
        let pooled = m.labels().contains_key(labels::POOL_NAME);
        !machines::is_control_plane(m) && !pooled && meta::is_owned_by(&m.metadata, &uid)
    };
    let standalone: Vec<_> = world.machines.iter().filter(|m| standalone(m)).cloned().collect();
    if !standalone.is_empty() {
        let count = machines::count(&standalone);
        sum.desired_replicas = add(sum.desired_replicas, Some(count.replicas));
        sum.replicas = add(sum.replicas, Some(count.replicas));
        sum.ready_replicas = add(sum.ready_replicas, Some(count.ready));
        sum.available_replicas = add(sum.available_replicas, Some(count.available));
        sum.up_to_date_replicas = add(sum.up_to_date_replicas, Some(count.up_to_date));
        versions.extend(machines::status_versions(&standalone));
    }
    sum.versions = machines::aggregate_versions(versions);
    sum
}
