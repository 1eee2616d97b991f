//! One member's answers to etcd's gRPC calls.

use std::sync::Arc;

use async_trait::async_trait;
use etcd_api::{
    Member, Status,
    messages::{
        AlarmAction, AlarmRequest, AlarmResponse, MemberAddRequest, MemberAddResponse, MemberListRequest,
        MemberListResponse, MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest,
        MemberRemoveResponse, MoveLeaderRequest, MoveLeaderResponse, StatusRequest, StatusResponse,
    },
};
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::EtcdCluster;

/// Called after the membership has changed.
pub type Changed = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// The member of one machine.
pub struct SimulatedMember {
    cluster: Arc<Mutex<EtcdCluster>>,
    machine: String,
    changed: Changed,
}

impl SimulatedMember {
    /// The member on `machine`.
    pub fn new(cluster: Arc<Mutex<EtcdCluster>>, machine: &str, changed: Changed) -> Self {
        Self {
            cluster,
            machine: machine.to_owned(),
            changed,
        }
    }
}

#[async_trait]
impl Member for SimulatedMember {
    async fn status(&self, _: StatusRequest) -> Result<StatusResponse, Status> {
        Ok(self.cluster.lock().status(&self.machine)?)
    }

    async fn member_list(&self, request: MemberListRequest) -> Result<MemberListResponse, Status> {
        let (header, members) = self.cluster.lock().list(&self.machine, request.linearizable)?;
        Ok(MemberListResponse {
            header: Some(header),
            members,
        })
    }

    async fn alarm(&self, request: AlarmRequest) -> Result<AlarmResponse, Status> {
        if request.action != AlarmAction::Get as i32 {
            return Err(Status::unimplemented("not implemented: Alarm other than GET"));
        }
        let (header, alarms) = self.cluster.lock().alarms(&self.machine)?;
        Ok(AlarmResponse {
            header: Some(header),
            alarms,
        })
    }

    async fn member_remove(&self, request: MemberRemoveRequest) -> Result<MemberRemoveResponse, Status> {
        let (header, members) = self.cluster.lock().remove(&self.machine, request.id)?;
        (self.changed)().await;
        Ok(MemberRemoveResponse {
            header: Some(header),
            members,
        })
    }

    async fn member_add(&self, request: MemberAddRequest) -> Result<MemberAddResponse, Status> {
        let url = request.peer_urls.first().map_or("", String::as_str);
        let (header, member, members) = self.cluster.lock().add(&self.machine, url, request.is_learner)?;
        (self.changed)().await;
        Ok(MemberAddResponse {
            header: Some(header),
            member: Some(member),
            members,
        })
    }

    async fn member_promote(&self, request: MemberPromoteRequest) -> Result<MemberPromoteResponse, Status> {
        let (header, members) = self.cluster.lock().promote(&self.machine, request.id)?;
        (self.changed)().await;
        Ok(MemberPromoteResponse {
            header: Some(header),
            members,
        })
    }

    async fn move_leader(&self, request: MoveLeaderRequest) -> Result<MoveLeaderResponse, Status> {
        let header = self
            .cluster
            .lock()
            .move_leader(&self.machine, request.target_id)?;
        Ok(MoveLeaderResponse { header: Some(header) })
    }
}
