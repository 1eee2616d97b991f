//! The protobuf messages of etcd 3.6's `Cluster` and `Maintenance` services. Names and numbers are etcd's.

use prost::{Enumeration, Message};

/// Stands in every response.
#[derive(Clone, PartialEq, Message)]
pub struct ResponseHeader {
    /// The cluster that answered.
    #[prost(uint64, tag = "1")]
    pub cluster_id: u64,
    /// The member that answered.
    #[prost(uint64, tag = "2")]
    pub member_id: u64,
    /// The revision of the key-value store.
    #[prost(int64, tag = "3")]
    pub revision: i64,
    /// The raft term.
    #[prost(uint64, tag = "4")]
    pub raft_term: u64,
}

/// A member of the cluster.
#[derive(Clone, PartialEq, Message)]
pub struct Member {
    /// Its identifier.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Its name; empty while it has not started yet.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Where other members reach it.
    #[prost(string, repeated, tag = "3")]
    pub peer_urls: Vec<String>,
    /// Where clients reach it; empty while it has not started yet.
    #[prost(string, repeated, tag = "4")]
    pub client_urls: Vec<String>,
    /// It does not vote yet.
    #[prost(bool, tag = "5")]
    pub is_learner: bool,
}

/// Asks for the members.
#[derive(Clone, PartialEq, Message)]
pub struct MemberListRequest {
    /// Answer only what a quorum agrees on; otherwise the member answers what it knows itself.
    #[prost(bool, tag = "1")]
    pub linearizable: bool,
}

/// The members.
#[derive(Clone, PartialEq, Message)]
pub struct MemberListResponse {
    /// Who answered.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// All members.
    #[prost(message, repeated, tag = "2")]
    pub members: Vec<Member>,
}

/// Adds a member.
#[derive(Clone, PartialEq, Message)]
pub struct MemberAddRequest {
    /// Where the other members will reach it.
    #[prost(string, repeated, tag = "1")]
    pub peer_urls: Vec<String>,
    /// Add it without a vote.
    #[prost(bool, tag = "2")]
    pub is_learner: bool,
}

/// The member that was added.
#[derive(Clone, PartialEq, Message)]
pub struct MemberAddResponse {
    /// Who answered.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// The new member.
    #[prost(message, optional, tag = "2")]
    pub member: Option<Member>,
    /// All members, with the new one.
    #[prost(message, repeated, tag = "3")]
    pub members: Vec<Member>,
}

/// Removes a member.
#[derive(Clone, PartialEq, Message)]
pub struct MemberRemoveRequest {
    /// Its identifier.
    #[prost(uint64, tag = "1")]
    pub id: u64,
}

/// The members that are left.
#[derive(Clone, PartialEq, Message)]
pub struct MemberRemoveResponse {
    /// Who answered.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// All members without the removed one.
    #[prost(message, repeated, tag = "2")]
    pub members: Vec<Member>,
}

/// Gives a learner its vote.
#[derive(Clone, PartialEq, Message)]
pub struct MemberPromoteRequest {
    /// Its identifier.
    #[prost(uint64, tag = "1")]
    pub id: u64,
}

/// The members after the promotion.
#[derive(Clone, PartialEq, Message)]
pub struct MemberPromoteResponse {
    /// Who answered.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// All members.
    #[prost(message, repeated, tag = "2")]
    pub members: Vec<Member>,
}

/// What an alarm request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub enum AlarmAction {
    /// Lists alarms.
    Get = 0,
    /// Raises an alarm.
    Activate = 1,
    /// Clears an alarm.
    Deactivate = 2,
}

/// What is wrong with a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum AlarmType {
    /// Nothing; in a request: every kind.
    None = 0,
    /// The quota of its database is used up.
    Nospace = 1,
    /// Its data is corrupt.
    Corrupt = 2,
}

impl AlarmType {
    /// etcd's name of the alarm.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Nospace => "NOSPACE",
            Self::Corrupt => "CORRUPT",
        }
    }
}

/// Lists, raises or clears alarms.
#[derive(Clone, PartialEq, Message)]
pub struct AlarmRequest {
    /// What to do.
    #[prost(enumeration = "AlarmAction", tag = "1")]
    pub action: i32,
    /// Whose alarms; 0 for all members.
    #[prost(uint64, tag = "2")]
    pub member_id: u64,
    /// Which alarms.
    #[prost(enumeration = "AlarmType", tag = "3")]
    pub alarm: i32,
}

/// An alarm of a member.
#[derive(Clone, PartialEq, Message)]
pub struct AlarmMember {
    /// The member.
    #[prost(uint64, tag = "1")]
    pub member_id: u64,
    /// What is wrong with it.
    #[prost(enumeration = "AlarmType", tag = "2")]
    pub alarm: i32,
}

/// Alarms.
#[derive(Clone, PartialEq, Message)]
pub struct AlarmResponse {
    /// Who answered.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// The alarms that the request was about.
    #[prost(message, repeated, tag = "2")]
    pub alarms: Vec<AlarmMember>,
}

/// Asks a member for its status.
#[derive(Clone, PartialEq, Message)]
pub struct StatusRequest {}

/// The status of the member that answers.
#[derive(Clone, PartialEq, Message)]
pub struct StatusResponse {
    /// Who answered.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// The size of its database, in bytes.
    #[prost(int64, tag = "3")]
    pub db_size: i64,
    /// The member that it follows; 0 without a leader.
    #[prost(uint64, tag = "4")]
    pub leader: u64,
    /// The raft index that is committed.
    #[prost(uint64, tag = "5")]
    pub raft_index: u64,
    /// The raft term.
    #[prost(uint64, tag = "6")]
    pub raft_term: u64,
    /// The raft index that is applied.
    #[prost(uint64, tag = "7")]
    pub raft_applied_index: u64,
    /// What is wrong with it.
    #[prost(string, repeated, tag = "8")]
    pub errors: Vec<String>,
    /// The part of the database that is in use, in bytes.
    #[prost(int64, tag = "9")]
    pub db_size_in_use: i64,
    /// It does not vote yet.
    #[prost(bool, tag = "10")]
    pub is_learner: bool,
    /// The version of its storage format.
    #[prost(string, tag = "11")]
    pub storage_version: String,
    /// The quota of its database, in bytes.
    #[prost(int64, tag = "12")]
    pub db_size_quota: i64,
}

/// Asks the leader to hand over.
#[derive(Clone, PartialEq, Message)]
pub struct MoveLeaderRequest {
    /// The member that shall lead.
    #[prost(uint64, tag = "1")]
    pub target_id: u64,
}

/// The leader has handed over.
#[derive(Clone, PartialEq, Message)]
pub struct MoveLeaderResponse {
    /// Who answered.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_etcds_encoding() {
        let member = Member {
            id: 300,
            name: "a".into(),
            is_learner: true,
            client_urls: vec!["u".into()],
            ..Member::default()
        };
        let expected: &[u8] = &[0x08, 0xac, 0x02, 0x12, 0x01, b'a', 0x22, 0x01, b'u', 0x28, 0x01];
        assert_eq!(member.encode_to_vec(), expected);
        assert_eq!(Member::decode(expected).unwrap(), member);
        let alarm = AlarmMember {
            member_id: 1,
            alarm: AlarmType::Corrupt.into(),
        };
        assert_eq!(alarm.encode_to_vec(), [0x08, 0x01, 0x10, 0x02]);
        assert_eq!(alarm.alarm().name(), "CORRUPT");
    }

    #[test]
    fn unknown_fields_of_newer_versions_are_skipped() {
        let bytes = [0x20, 0x07, 0x6a, 0x02, 0x08, 0x01];
        assert_eq!(StatusResponse::decode(&bytes[..]).unwrap().leader, 7);
    }
}
