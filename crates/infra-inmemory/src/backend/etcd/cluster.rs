//! Who belongs to an etcd cluster, who leads it and what may be changed: etcd's own rules, without its log.
//!
//! A member whose process stops stays in the list until somebody removes it, as in the real thing. A machine that joins
//! is a learner first and votes once it is promoted. Elections take no time: the longest-serving running voter wins as
//! soon as there is a quorum.

use std::collections::BTreeSet;

use etcd_api::messages::{AlarmMember, Member, ResponseHeader, StatusResponse};
use etcd_api::{Code, Status};

/// The version that members report.
const VERSION: &str = "3.6.6";

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
    /// The leader-to-be is unknown, does not vote or does not run.
    #[error("etcdserver: bad leader transferee")]
    BadTransferee,
    /// Too few members would be left.
    #[error("etcdserver: re-configuration failed due to not enough started members")]
    NotEnoughStarted,
    /// Too few running members would be left, or a member is to be added while another one does not run.
    #[error("etcdserver: unhealthy cluster")]
    Unhealthy,
    /// Another member is learning.
    #[error("etcdserver: too many learner members in cluster")]
    TooManyLearners,
    /// A learner was asked.
    #[error("etcdserver: rpc not supported for learner")]
    Learner,
    /// Another member has that peer URL.
    #[error("etcdserver: Peer URLs already exists")]
    PeerUrlExists,
    /// Only a learner can be promoted.
    #[error("etcdserver: can only promote a learner member")]
    MemberNotLearner,
    /// The learner does not know yet what the leader knows.
    #[error("etcdserver: can only promote a learner member which is in sync with leader")]
    LearnerNotReady,
    /// The member was removed from the cluster and cannot come back.
    #[error("the member has been permanently removed from the cluster")]
    Removed,
}

impl From<EtcdError> for Status {
    fn from(error: EtcdError) -> Self {
        let code = match error {
            EtcdError::Stopped | EtcdError::NoLeader | EtcdError::Unhealthy => Code::Unavailable,
            EtcdError::MemberNotFound | EtcdError::Removed => Code::NotFound,
            // That etcd has no better code for this one is known by asking it.
            EtcdError::NotEnoughStarted => Code::Unknown,
            EtcdError::NotLeader
            | EtcdError::BadTransferee
            | EtcdError::TooManyLearners
            | EtcdError::Learner
            | EtcdError::PeerUrlExists
            | EtcdError::MemberNotLearner
            | EtcdError::LearnerNotReady => Code::FailedPrecondition,
        };
        Status::new(code, error.to_string())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Peer {
    id: u64,
    /// Empty until its process has started for the first time.
    name: String,
    /// Where the other members reach it.
    url: String,
    running: bool,
    learner: bool,
    /// Its data is gone: its process never comes back as this member.
    lost: bool,
}

impl Peer {
    fn new(id: u64, name: &str, learner: bool) -> Self {
        Self {
            id,
            name: name.to_owned(),
            url: format!("https://{name}:2380"),
            running: true,
            learner,
            lost: false,
        }
    }
}

/// The membership of one etcd cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EtcdCluster {
    id: u64,
    term: u64,
    leader: Option<u64>,
    /// In the order in which they joined.
    peers: Vec<Peer>,
    /// The names of members that were removed.
    removed: BTreeSet<String>,
    alarms: Vec<AlarmMember>,
}

impl EtcdCluster {
    /// Whether a member of that name can be added at the moment: etcd adds one only while all that vote run.
    pub fn may_join(&self, name: &str) -> Result<(), EtcdError> {
        if self.removed.contains(name) {
            return Err(EtcdError::Removed);
        }
        if self.peer(name).is_some() {
            return Ok(());
        }
        if self.leader.is_none() {
            return Err(EtcdError::NoLeader);
        }
        if self.voters().any(|voter| !voter.running) {
            return Err(EtcdError::Unhealthy);
        }
        if self.peers.iter().any(|peer| peer.learner) {
            return Err(EtcdError::TooManyLearners);
        }
        Ok(())
    }

    /// A new member joins and learns what the others know; [`Self::start`] makes it vote.
    pub fn add_learner(&mut self, name: &str, mut fresh_id: impl FnMut() -> u64) -> Result<u64, EtcdError> {
        self.may_join(name)?;
        if let Some(known) = self.peer(name) {
            return Ok(known.id);
        }
        let id = fresh_id().max(1);
        self.peers.push(Peer::new(id, name, true));
        Ok(id)
    }

    /// A member's process starts; a learner is promoted, a new member joins as a voter, a known one comes back unless it
    /// has lost its data. `fresh_id` is called for new ids.
    pub fn start(&mut self, name: &str, mut fresh_id: impl FnMut() -> u64) -> Result<u64, EtcdError> {
        if self.removed.contains(name) {
            return Err(EtcdError::Removed);
        }
        if self.id == 0 {
            self.id = fresh_id().max(1);
        }
        let leader = self.leader;
        let id = match self.peers.iter_mut().find(|peer| peer.name == name) {
            Some(peer) => {
                if peer.learner && leader.is_none() {
                    return Err(EtcdError::NoLeader);
                }
                peer.learner = false;
                peer.running = !peer.lost;
                peer.id
            }
            None => {
                let id = fresh_id().max(1);
                self.peers.push(Peer::new(id, name, false));
                id
            }
        };
        self.elect();
        Ok(id)
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

    /// The process of a member that was added under this peer URL starts for the first time.
    pub fn begin(&mut self, name: &str, url: &str) -> Result<u64, EtcdError> {
        let added = self
            .peers
            .iter_mut()
            .find(|peer| peer.url == url && peer.name.is_empty());
        let peer = added.ok_or(EtcdError::MemberNotFound)?;
        peer.name = name.to_owned();
        peer.running = true;
        let id = peer.id;
        self.elect();
        Ok(id)
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

    /// A member's process comes back, if the member is still in the list and has its data.
    pub fn resume(&mut self, name: &str) {
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.name == name) {
            peer.running = !peer.lost;
            self.elect();
        }
    }

    /// A member's process stops; the member stays in the list.
    pub fn stop(&mut self, name: &str) {
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.name == name) {
            peer.running = false;
            self.elect();
        }
    }

    /// A member's process stops and its data is gone; the member stays in the list and never runs again.
    pub fn lose(&mut self, name: &str) {
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.name == name) {
            (peer.running, peer.lost) = (false, true);
            self.elect();
        }
    }

    /// The cluster's id, 0 before the first member.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The name of the leader's machine.
    pub fn leader(&self) -> Option<&str> {
        self.peers
            .iter()
            .find(|peer| Some(peer.id) == self.leader)
            .map(|peer| peer.name.as_str())
    }

    /// Whether the process of that member runs. A removed member's process ends by itself.
    pub fn is_running(&self, name: &str) -> bool {
        self.peer(name).is_some_and(|peer| peer.running)
    }

    /// Whether an API server that uses this member gets answers: it votes, runs, and there is a leader.
    pub fn serves(&self, name: &str) -> bool {
        self.leader.is_some() && self.peer(name).is_some_and(|peer| peer.running && !peer.learner)
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

    fn peer(&self, name: &str) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.name == name)
    }

    fn voters(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().filter(|peer| !peer.learner)
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

    fn members(&self) -> Vec<Member> {
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

    /// Keeps the leader while it runs and has a quorum; else the next one takes over.
    fn elect(&mut self) {
        let running: Vec<u64> = self
            .voters()
            .filter(|voter| voter.running)
            .map(|voter| voter.id)
            .collect();
        let leader = match self.leader {
            _ if running.len() < quorum(self.voters().count()) => None,
            Some(leader) if running.contains(&leader) => Some(leader),
            _ => running.first().copied(),
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
            let fresh = || {
                next += 1;
                next
            };
            cluster.start(name, fresh).unwrap();
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
        assert_eq!(cluster.start("a", || 7), Ok(102));
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

    fn id_of(cluster: &EtcdCluster, name: &str) -> u64 {
        let members = cluster.members();
        members.iter().find(|member| member.name == name).unwrap().id
    }

    #[test]
    fn a_joining_member_learns_first_and_votes_when_it_is_promoted() {
        let mut cluster = cluster(&["a"]);
        let b = cluster.add_learner("b", || 200).unwrap();
        assert_eq!(cluster.add_learner("b", || 7), Ok(b), "asked twice");
        let members = cluster.members();
        assert_eq!(
            members.iter().map(|member| member.is_learner).collect::<Vec<_>>(),
            [false, true]
        );
        assert!(cluster.status("b").unwrap().is_learner);
        assert_eq!(cluster.list("b", false), Err(EtcdError::Learner));
        assert_eq!(cluster.move_leader("a", b), Err(EtcdError::BadTransferee));
        assert!(!cluster.serves("b"));
        assert_eq!(cluster.add_learner("c", || 300), Err(EtcdError::TooManyLearners));
        assert_eq!(cluster.start("b", || 7), Ok(b));
        assert!(cluster.serves("b") && !cluster.members()[1].is_learner);
        cluster.stop("a");
        assert_eq!(cluster.leader(), None, "both vote now");
    }

    #[test]
    fn nobody_joins_or_votes_while_the_cluster_is_not_well() {
        let mut three = cluster(&["a", "b", "c"]);
        three.stop("c");
        assert_eq!(
            three.add_learner("d", || 9),
            Err(EtcdError::Unhealthy),
            "one of three is down"
        );
        three.remove("a", id_of(&three, "c")).unwrap();
        three.add_learner("d", || 9).unwrap();
        three.stop("b");
        assert_eq!(
            three.start("d", || 9),
            Err(EtcdError::NoLeader),
            "no quorum, no promotion"
        );
        three.resume("b");
        three.start("d", || 9).unwrap();
        assert_eq!(three.voters().count(), 3);
        three.stop("a");
        three.stop("b");
        assert_eq!(three.add_learner("e", || 10), Err(EtcdError::NoLeader));
    }

    #[test]
    fn a_learner_that_never_voted_may_always_go() {
        let mut one = cluster(&["a"]);
        let b = one.add_learner("b", || 200).unwrap();
        assert_eq!(one.remove("a", b).unwrap().1.len(), 1);
        assert_eq!(one.leader(), Some("a"));
    }

    #[test]
    fn a_removed_member_and_one_without_data_do_not_come_back() {
        let mut three = cluster(&["a", "b", "c"]);
        three.lose("c");
        three.resume("c");
        assert!(!three.is_running("c"));
        assert_eq!(three.start("c", || 9), Ok(id_of(&three, "c")));
        assert!(!three.is_running("c"), "its data is gone");
        assert_eq!(three.members().len(), 3, "it stays in the list");
        three.remove("a", id_of(&three, "c")).unwrap();
        three.resume("c");
        assert_eq!(three.start("c", || 9), Err(EtcdError::Removed));
        assert_eq!(three.add_learner("c", || 9), Err(EtcdError::Removed));
    }

    #[test]
    fn of_five_members_two_may_be_down() {
        let mut five = cluster(&["a", "b", "c", "d", "e"]);
        five.stop("a");
        five.stop("b");
        assert_eq!(five.leader(), Some("c"));
        assert!(five.serves("c") && !five.serves("a"));
        five.stop("c");
        assert!(!five.serves("d"));
        five.resume("a");
        assert!(five.serves("d"));
    }
}
