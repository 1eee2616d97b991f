//! Who belongs to an etcd cluster, who leads it and what may be changed: etcd's own rules, without its log.
//!
//! A member whose process stops stays in the list until somebody removes it, as in the real thing. Elections take no
//! time: the longest-serving running voter wins as soon as there is a quorum.

use etcd_api::messages::{AlarmMember, Member, ResponseHeader, StatusResponse};
use etcd_api::{Code, Status};

/// The version that members report.
const VERSION: &str = "3.6.5";

/// Why etcd refuses a call; the texts and codes are etcd's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EtcdError {
    /// The asked member's process does not run.
    #[error("etcdserver: server stopped")]
    Stopped,
    /// Too few members run to agree on anything.
    #[error("etcdserver: no leader")]
    NoLeader,
    /// No member has that id.
    #[error("etcdserver: member not found")]
    MemberNotFound,
    /// Only the leader can hand over leadership.
    #[error("etcdserver: not leader")]
    NotLeader,
    /// The leader-to-be is unknown or does not run.
    #[error("etcdserver: bad leader transferee")]
    BadTransferee,
    /// Too few members would be left.
    #[error("etcdserver: re-configuration failed due to not enough started members")]
    NotEnoughStarted,
    /// Too few running members would be left.
    #[error("etcdserver: unhealthy cluster")]
    Unhealthy,
}

impl From<EtcdError> for Status {
    fn from(error: EtcdError) -> Self {
        let code = match error {
            EtcdError::Stopped | EtcdError::NoLeader | EtcdError::Unhealthy => Code::Unavailable,
            EtcdError::MemberNotFound => Code::NotFound,
            EtcdError::NotLeader | EtcdError::BadTransferee | EtcdError::NotEnoughStarted => {
                Code::FailedPrecondition
            }
        };
        Status::new(code, error.to_string())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Voter {
    id: u64,
    name: String,
    running: bool,
}

/// The membership of one etcd cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EtcdCluster {
    id: u64,
    term: u64,
    leader: Option<u64>,
    /// In the order in which they joined.
    voters: Vec<Voter>,
    alarms: Vec<AlarmMember>,
}

impl EtcdCluster {
    /// A member's process starts; a new member joins, a known one comes back. `fresh_id` is called for new ids.
    pub fn start(&mut self, name: &str, mut fresh_id: impl FnMut() -> u64) -> u64 {
        if self.id == 0 {
            self.id = fresh_id().max(1);
        }
        let id = match self.voters.iter_mut().find(|voter| voter.name == name) {
            Some(voter) => {
                voter.running = true;
                voter.id
            }
            None => {
                let id = fresh_id().max(1);
                self.voters.push(Voter {
                    id,
                    name: name.to_owned(),
                    running: true,
                });
                id
            }
        };
        self.elect();
        id
    }

    /// A member's process stops; the member stays in the list.
    pub fn stop(&mut self, name: &str) {
        if let Some(voter) = self.voters.iter_mut().find(|voter| voter.name == name) {
            voter.running = false;
            self.elect();
        }
    }

    /// The cluster's id, 0 before the first member.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The name of the leader's machine.
    pub fn leader(&self) -> Option<&str> {
        self.voters
            .iter()
            .find(|voter| Some(voter.id) == self.leader)
            .map(|voter| voter.name.as_str())
    }

    /// Whether the process of that member runs. A removed member's process ends by itself.
    pub fn is_running(&self, name: &str) -> bool {
        self.voters
            .iter()
            .any(|voter| voter.name == name && voter.running)
    }

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
            storage_version: "3.6.0".to_owned(),
            ..StatusResponse::default()
        })
    }

    /// `Cluster.MemberList` of a member; a linearizable one needs a leader.
    pub fn list(&self, name: &str, linearizable: bool) -> Result<(ResponseHeader, Vec<Member>), EtcdError> {
        let header = self.header(name)?;
        if linearizable && self.leader.is_none() {
            return Err(EtcdError::NoLeader);
        }
        Ok((header, self.members()))
    }

    /// `Maintenance.Alarm` of a member, for listing.
    pub fn alarms(&self, name: &str) -> Result<(ResponseHeader, Vec<AlarmMember>), EtcdError> {
        Ok((self.header(name)?, self.alarms.clone()))
    }

    /// `Cluster.MemberRemove`, asked of the member `name`.
    pub fn remove(&mut self, name: &str, id: u64) -> Result<(ResponseHeader, Vec<Member>), EtcdError> {
        let header = self.header(name)?;
        if self.leader.is_none() {
            return Err(EtcdError::NoLeader);
        }
        let target = self
            .voters
            .iter()
            .find(|voter| voter.id == id)
            .ok_or(EtcdError::MemberNotFound)?;
        let left = self.voters.len() - 1;
        let running = self.voters.iter().filter(|voter| voter.running).count();
        if left < 1 {
            return Err(EtcdError::NotEnoughStarted);
        }
        // Taking away a member that is down never makes things worse.
        if target.running && running - 1 < quorum(left) {
            return Err(EtcdError::Unhealthy);
        }
        self.voters.retain(|voter| voter.id != id);
        self.alarms.retain(|alarm| alarm.member_id != id);
        self.elect();
        Ok((header, self.members()))
    }

    /// `Maintenance.MoveLeader`, asked of the member `name`, which must lead.
    pub fn move_leader(&mut self, name: &str, target: u64) -> Result<ResponseHeader, EtcdError> {
        let header = self.header(name)?;
        if self.leader != Some(header.member_id) {
            return Err(EtcdError::NotLeader);
        }
        if !self
            .voters
            .iter()
            .any(|voter| voter.id == target && voter.running)
        {
            return Err(EtcdError::BadTransferee);
        }
        if self.leader != Some(target) {
            self.leader = Some(target);
            self.term += 1;
        }
        Ok(header)
    }

    fn header(&self, name: &str) -> Result<ResponseHeader, EtcdError> {
        let voter = self
            .voters
            .iter()
            .find(|voter| voter.name == name && voter.running)
            .ok_or(EtcdError::Stopped)?;
        Ok(ResponseHeader {
            cluster_id: self.id,
            member_id: voter.id,
            revision: 1,
            raft_term: self.term,
        })
    }

    fn members(&self) -> Vec<Member> {
        let url = |voter: &Voter, port: u16| vec![format!("https://{}:{port}", voter.name)];
        let mut members: Vec<_> = self
            .voters
            .iter()
            .map(|voter| Member {
                id: voter.id,
                name: voter.name.clone(),
                peer_urls: url(voter, 2380),
                client_urls: url(voter, 2379),
                is_learner: false,
            })
            .collect();
        members.sort_by_key(|member| member.id);
        members
    }

    /// Keeps the leader while it runs and has a quorum; else the next one takes over.
    fn elect(&mut self) {
        let running = self.voters.iter().filter(|voter| voter.running);
        let enough = running.clone().count() >= quorum(self.voters.len());
        let leader = match self.leader {
            _ if !enough => None,
            Some(leader) if running.clone().any(|voter| voter.id == leader) => Some(leader),
            _ => running.clone().next().map(|voter| voter.id),
        };
        if leader.is_some() && leader != self.leader {
            self.term += 1;
        }
        self.leader = leader;
    }
}

fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(names: &[&str]) -> EtcdCluster {
        let mut cluster = EtcdCluster::default();
        let mut next = 100;
        for name in names {
            cluster.start(name, || {
                next += 1;
                next
            });
        }
        cluster
    }

    #[test]
    fn the_first_member_leads_and_restarting_it_keeps_its_id() {
        let mut cluster = cluster(&["a"]);
        let status = cluster.status("a").unwrap();
        assert_eq!(
            (cluster.leader(), status.leader, status.header.unwrap().cluster_id),
            (Some("a"), 102, 101)
        );
        cluster.stop("a");
        assert_eq!(cluster.status("a"), Err(EtcdError::Stopped));
        assert_eq!(cluster.start("a", || 7), 102);
        assert_eq!(cluster.leader(), Some("a"));
    }

    #[test]
    fn another_member_takes_over_when_the_leader_stops_and_none_without_a_quorum() {
        let mut cluster = cluster(&["a", "b", "c"]);
        cluster.stop("a");
        assert_eq!(cluster.leader(), Some("b"));
        cluster.stop("b");
        assert_eq!(cluster.leader(), None);
        let status = cluster.status("c").unwrap();
        assert_eq!((status.leader, status.errors.len()), (0, 1));
        assert_eq!(cluster.list("c", true), Err(EtcdError::NoLeader));
        assert_eq!(cluster.list("c", false).unwrap().1.len(), 3);
    }

    #[test]
    fn leadership_is_handed_over_by_the_leader_to_a_running_member() {
        let mut cluster = cluster(&["a", "b", "c"]);
        let id = |cluster: &EtcdCluster, name: &str| {
            cluster
                .members()
                .into_iter()
                .find(|member| member.name == name)
                .unwrap()
                .id
        };
        let (b, c) = (id(&cluster, "b"), id(&cluster, "c"));
        assert_eq!(cluster.move_leader("b", c), Err(EtcdError::NotLeader));
        assert_eq!(cluster.move_leader("a", 1), Err(EtcdError::BadTransferee));
        cluster.stop("c");
        assert_eq!(cluster.move_leader("a", c), Err(EtcdError::BadTransferee));
        cluster.move_leader("a", b).unwrap();
        assert_eq!(cluster.leader(), Some("b"));
    }

    #[test]
    fn removals_keep_a_quorum() {
        let mut three = cluster(&["a", "b", "c"]);
        let ids: Vec<_> = three.members().iter().map(|member| member.id).collect();
        assert_eq!(three.remove("a", 1), Err(EtcdError::MemberNotFound));
        three.stop("c");
        assert_eq!(
            three.remove("a", ids[1]),
            Err(EtcdError::Unhealthy),
            "one of three is down already"
        );
        assert_eq!(
            three.remove("a", ids[2]).unwrap().1.len(),
            2,
            "the one that is down may go"
        );
        assert!(!three.is_running("c"));
        assert_eq!(
            three.remove("a", ids[0]).unwrap().1.len(),
            1,
            "a member may remove itself"
        );
        assert_eq!(three.leader(), Some("b"));
        assert_eq!(three.remove("b", ids[1]), Err(EtcdError::NotEnoughStarted));
    }
}
