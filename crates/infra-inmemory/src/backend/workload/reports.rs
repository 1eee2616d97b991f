//! Which of a machine's processes run, and what the cluster's objects say about them: brought in line with the machine's
//! faults, as often as needed.

use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, Pod},
};

use super::Workload;
use crate::{
    backend::{
        node_objects::{Health, lease_renewal, node_patches},
        objects::Part,
        static_pods::{API_SERVER, CONTROLLER_MANAGER, ETCD, PodState, SCHEDULER, pod_name, pod_patch},
    },
    error::Error,
    faults::{EtcdFault, MachineFaults, NodeFault},
};

/// What was started on a machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::backend) struct Started {
    /// Its etcd member.
    pub etcd: bool,
    /// Its API server with scheduler and controller manager.
    pub api_server: bool,
}

fn health_of(faults: &MachineFaults) -> Health {
    match faults.node {
        Some(NodeFault::NotReady) => Health::NotReady,
        Some(NodeFault::Unknown) => Health::Unknown,
        Some(NodeFault::NeverJoins) | None => Health::Ready,
    }
}

impl Workload {
    /// Lets exactly those processes of a node run that its faults leave, and the endpoint be open if any serves.
    pub async fn settle_processes(
        &self,
        node: &str,
        started: Started,
        faults: &MachineFaults,
    ) -> Result<(), Error> {
        if started.etcd {
            let mut etcd = self.shared.etcd.lock();
            match faults.etcd {
                None => etcd.resume(node),
                Some(EtcdFault::Down) => etcd.stop(node),
                Some(EtcdFault::Lost) => etcd.lose(node),
            }
        }
        if started.api_server {
            let mut state = self.shared.state.lock();
            match faults.api_server_down {
                true => state.api_servers.remove(node),
                false => state.api_servers.insert(node.to_owned()),
            };
        }
        self.shared.settle_door().await
    }

    /// Lets Node and static pods say what is true; nothing is written that is said already.
    pub async fn report(&self, node: &str, started: Started, faults: &MachineFaults) -> Result<(), Error> {
        let health = health_of(faults);
        self.report_node(node, health).await?;
        let state = |crashes: bool| match (health, crashes) {
            (Health::Unknown, _) => PodState::Unreachable,
            (_, true) => PodState::Crashing,
            (_, false) => PodState::Running,
        };
        if started.etcd {
            self.report_pod(ETCD, node, state(faults.etcd.is_some())).await?;
        }
        if started.api_server {
            // An API server without the etcd member beside it does not stay up either.
            let crashes = faults.api_server_down || (started.etcd && faults.etcd.is_some());
            self.report_pod(API_SERVER, node, state(crashes)).await?;
            for component in [SCHEDULER, CONTROLLER_MANAGER] {
                self.report_pod(component, node, state(false)).await?;
            }
        }
        Ok(())
    }

    /// Says that nothing is known of a Node whose machine is gone.
    pub(super) async fn report_gone(&self, node: &str) -> Result<(), Error> {
        self.report_node(node, Health::Unknown).await?;
        for component in [ETCD, API_SERVER, SCHEDULER, CONTROLLER_MANAGER] {
            self.report_pod(component, node, PodState::Unreachable).await?;
        }
        Ok(())
    }

    async fn report_node(&self, name: &str, health: Health) -> Result<(), Error> {
        let Some(node) = self.writer.get_global::<Node>(name).await? else {
            return Ok(());
        };
        let now = self.shared.tools.clock.now();
        let (spec, status) = node_patches(&node, health, now);
        if let Some(patch) = spec {
            self.writer
                .patch_global::<Node>(name, Part::Object, patch)
                .await?;
        }
        if let Some(patch) = status {
            self.writer
                .patch_global::<Node>(name, Part::Status, patch)
                .await?;
            if health != Health::Unknown {
                let renewal = lease_renewal(now);
                self.writer
                    .patch_in::<Lease>("kube-node-lease", name, Part::Object, renewal)
                    .await?;
            }
        }
        Ok(())
    }

    async fn report_pod(&self, component: &str, node: &str, state: PodState) -> Result<(), Error> {
        let name = pod_name(component, node);
        let Some(pod) = self.writer.get_in::<Pod>("kube-system", &name).await? else {
            return Ok(());
        };
        match pod_patch(component, &pod, state, self.shared.tools.clock.now()) {
            Some(patch) => {
                self.writer
                    .patch_in::<Pod>("kube-system", &name, Part::Status, patch)
                    .await
            }
            None => Ok(()),
        }
    }
}
