//! What etcd refuses, in its words and with its codes.

use etcd_api::{Code, Status};

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
