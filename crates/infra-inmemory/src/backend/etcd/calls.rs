//! The calls that a member answers: what is asked of it, what it refuses, what changes.

use etcd_api::messages::{AlarmMember, Member, ResponseHeader, StatusResponse};

use super::cluster::{EtcdCluster, Peer, quorum};
use super::error::EtcdError;

/// The version that members report.
const VERSION: &str = "3.6.6";

impl EtcdCluster {
    /// `Maintenance.Status` of a member.
    pub fn status(&self, name: &str) -> Result<StatusResponse, EtcdError> {
        let header = self.header(name)?;
        Ok(StatusResponse {
            header: Some(header),
            version: VERSION.to_owned(),
            leader: self.leader.unwrap_or_default(),
            raft_term: self.term,
            errors: if self.leader.is_some() {
                Vec::new()
            } else {
                vec![EtcdError::NoLeader.to_string()]
            },
            is_learner: self.peer(name).is_some_and(|peer| peer.learner),
            storage_version: "3.6.0".to_owned(),
            ..StatusResponse::default()
        })
    }

    /// `Cluster.MemberList` of a member; a linearizable one needs a leader.
    pub fn list(&self, name: &str, linearizable: bool) -> Result<(ResponseHeader, Vec<Member>), EtcdError> {
        let header = self.voter_header(name)?;
        if linearizable && self.leader.is_none() {
            return Err(EtcdError::NoLeader);
        }
        Ok((header, self.members()))
    }

    /// `Maintenance.Alarm` of a member, for listing; a quorum has to agree even on that.
    pub fn alarms(&self, name: &str) -> Result<(ResponseHeader, Vec<AlarmMember>), EtcdError> {
        let header = self.voter_header(name)?;
        match self.leader {
            Some(_) => Ok((header, self.alarms.clone())),
            None => Err(EtcdError::NoLeader),
        }
    }

    /// `Cluster.MemberRemove`, asked of the member `name`.
    pub fn remove(&mut self, name: &str, id: u64) -> Result<(ResponseHeader, Vec<Member>), EtcdError> {
        let header = self.voter_header(name)?;
        if self.leader.is_none() {
            return Err(EtcdError::NoLeader);
        }
        let target = self
            .peers
            .iter()
            .find(|peer| peer.id == id)
            .ok_or(EtcdError::MemberNotFound)?;
        if !target.learner {
            let left = self.voters().count() - 1;
            let running = self.voters().filter(|voter| voter.running).count();
            if left < 1 {
                return Err(EtcdError::NotEnoughStarted);
            }
            // Taking away a member that is down never makes things worse.
            if target.running && running - 1 < quorum(left) {
                return Err(EtcdError::Unhealthy);
            }
        }
        if !target.name.is_empty() {
            self.removed.insert(target.name.clone());
        }
        self.peers.retain(|peer| peer.id != id);
        self.alarms.retain(|alarm| alarm.member_id != id);
        self.elect();
        Ok((header, self.members()))
    }

    /// `Maintenance.MoveLeader`, asked of the member `name`, which must lead.
    pub fn move_leader(&mut self, name: &str, target: u64) -> Result<ResponseHeader, EtcdError> {
        let header = self.voter_header(name)?;
        if self.leader != Some(header.member_id) {
            return Err(EtcdError::NotLeader);
        }
        if !self.voters().any(|voter| voter.id == target && voter.running) {
            return Err(EtcdError::BadTransferee);
        }
        if self.leader != Some(target) {
            self.leader = Some(target);
            self.term += 1;
        }
        Ok(header)
    }

    /// `Cluster.MemberAdd`, asked of the member `name`: the new member is in the list, without name, until its process
    /// starts ([`Self::begin`]).
    pub fn add(
        &mut self,
        name: &str,
        url: &str,
        learner: bool,
    ) -> Result<(ResponseHeader, Member, Vec<Member>), EtcdError> {
        let header = self.voter_header(name)?;
        if self.leader.is_none() {
            return Err(EtcdError::NoLeader);
        }
        if self.voters().any(|voter| !voter.running) {
            return Err(EtcdError::Unhealthy);
        }
        if self.peers.iter().any(|peer| peer.url == url) {
            return Err(EtcdError::PeerUrlExists);
        }
        if learner && self.peers.iter().any(|peer| peer.learner) {
            return Err(EtcdError::TooManyLearners);
        }
        let id = self.peers.iter().map(|peer| peer.id).max().unwrap_or(0) + 1;
        self.peers.push(Peer {
            url: url.to_owned(),
            running: false,
            ..Peer::new(id, "", learner)
        });
        self.elect();
        let added = self.members().into_iter().find(|member| member.id == id);
        Ok((header, added.unwrap_or_default(), self.members()))
    }

    /// `Cluster.MemberPromote`, asked of the member `name`.
    pub fn promote(&mut self, name: &str, id: u64) -> Result<(ResponseHeader, Vec<Member>), EtcdError> {
        let header = self.voter_header(name)?;
        if self.leader.is_none() {
            return Err(EtcdError::NoLeader);
        }
        let peer = self.peers.iter_mut().find(|peer| peer.id == id);
        let peer = peer.ok_or(EtcdError::MemberNotFound)?;
        if !peer.learner {
            return Err(EtcdError::MemberNotLearner);
        }
        if !peer.running {
            return Err(EtcdError::LearnerNotReady);
        }
        peer.learner = false;
        self.elect();
        Ok((header, self.members()))
    }

    fn header(&self, name: &str) -> Result<ResponseHeader, EtcdError> {
        let peer = self
            .peer(name)
            .filter(|peer| peer.running)
            .ok_or(EtcdError::Stopped)?;
        Ok(ResponseHeader {
            cluster_id: self.id,
            member_id: peer.id,
            revision: 1,
            raft_term: self.term,
        })
    }

    /// Of a call that learners do not answer.
    fn voter_header(&self, name: &str) -> Result<ResponseHeader, EtcdError> {
        let header = self.header(name)?;
        match self.peer(name).is_some_and(|peer| peer.learner) {
            true => Err(EtcdError::Learner),
            false => Ok(header),
        }
    }

    pub(super) fn members(&self) -> Vec<Member> {
        let mut members: Vec<_> = self
            .peers
            .iter()
            .map(|peer| Member {
                id: peer.id,
                name: peer.name.clone(),
                peer_urls: vec![peer.url.clone()],
                client_urls: match peer.name.as_str() {
                    "" => Vec::new(),
                    name => vec![format!("https://{name}:2379")],
                },
                is_learner: peer.learner,
            })
            .collect();
        members.sort_by_key(|member| member.id);
        members
    }
}
