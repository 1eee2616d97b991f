//! Who belongs to an etcd cluster, who leads it, whose process runs: etcd's own rules, without its log. What members
//! answer when they are asked is in `calls`.
//!
//! A member whose process stops stays in the list until somebody removes it, as in the real thing. A machine that joins
//! is a learner first and votes once it is promoted. Elections take no time: the longest-serving running voter wins as
//! soon as there is a quorum.

use std::collections::BTreeSet;

use etcd_api::messages::AlarmMember;

use super::error::EtcdError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) id: u64,
    /// Empty until its process has started for the first time.
    pub(super) name: String,
    /// Where the other members reach it.
    pub(super) url: String,
    pub(super) running: bool,
    pub(super) learner: bool,
    /// Its data is gone: its process never comes back as this member.
    pub(super) lost: bool,
}

impl Peer {
    pub(super) fn new(id: u64, name: &str, learner: bool) -> Self {
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
    pub(super) id: u64,
    pub(super) term: u64,
    pub(super) leader: Option<u64>,
    /// In the order in which they joined.
    pub(super) peers: Vec<Peer>,
    /// The names of members that were removed.
    pub(super) removed: BTreeSet<String>,
    pub(super) alarms: Vec<AlarmMember>,
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

    pub(super) fn peer(&self, name: &str) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.name == name)
    }

    pub(super) fn voters(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().filter(|peer| !peer.learner)
    }

    /// Keeps the leader while it runs and has a quorum; else the next one takes over.
    pub(super) fn elect(&mut self) {
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

pub(super) fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}
