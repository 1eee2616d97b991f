//! What is done to etcd and noted about remediations: the part of acting that touches the quorum.

use capi_api::annotations;

use super::{act::Act, observe, world::World};
use crate::{
    Error,
    workload::etcd::{EtcdCluster, Leaving},
};

impl Act<'_> {
    pub(super) async fn forward_leadership(
        &self,
        world: &World,
        from: &str,
        to: &[String],
    ) -> Result<(), Error> {
        let Some(etcd) = world.etcd() else { return Ok(()) };
        let member = |name: &str| etcd.member(&member_of(world, name)?);
        let (Some(leader), Some(leaving)) = (etcd.leader(), member(from)) else {
            return Ok(());
        };
        if leader != leaving.id {
            return Ok(());
        }
        let cluster = self.etcd(world)?;
        // Whatever happens now, what was remembered is old.
        self.memory.forget_etcd(self.ctx.key());
        let mut last = None;
        for target in to.iter().filter_map(|candidate| member(candidate)) {
            match cluster.move_leader(&leaving.name, leaving.id, target.id).await {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        last.map_or(Ok(()), |error| Err(error.into()))
    }

    /// etcd of the workload cluster, ready to be asked.
    fn etcd(&self, world: &World) -> Result<EtcdCluster, Error> {
        let workload = self.workload(world)?;
        observe::cluster(self.ctx, self.settings, self.memory, world, &workload)
    }

    pub(super) async fn remove_etcd_member(&self, world: &World, leaving: Leaving) -> Result<(), Error> {
        let cluster = self.etcd(world)?;
        let mut nodes: Vec<String> = world
            .machines
            .iter()
            .filter_map(|view| world.member_name(view))
            .filter(|node| leaving != Leaving::Named(node.clone()))
            .collect();
        // What is known may be some seconds old; a removal is not undone.
        let healthy = cluster.view(&nodes).await.healthy();
        nodes.sort_by_key(|node| (!healthy.contains(node), node.clone()));
        self.memory.forget_etcd(self.ctx.key());
        cluster.remove_member(&leaving, &nodes, &healthy).await?;
        Ok(())
    }

    /// Notes on the control plane which remediation is in progress.
    pub(super) async fn note_remediation(
        &self,
        world: &mut World,
        record: Option<String>,
    ) -> Result<(), Error> {
        let mut noted = world.control_plane.clone();
        let annotations = noted.metadata.annotations.get_or_insert_default();
        match record {
            Some(record) => annotations.insert(annotations::REMEDIATION_IN_PROGRESS.to_owned(), record),
            None => annotations.remove(annotations::REMEDIATION_IN_PROGRESS),
        };
        // Locked, so that the status that follows knows that nobody else came in between.
        self.ctx.patch_locked(&world.control_plane, &noted).await?;
        world.control_plane = noted;
        Ok(())
    }
}

/// The name of a Machine's etcd member, if it can be told.
pub(super) fn member_of(world: &World, name: &str) -> Option<String> {
    world.member_name(world.machine(name)?)
}
