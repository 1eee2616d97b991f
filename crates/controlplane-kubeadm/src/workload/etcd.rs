//! etcd of a workload cluster: dialing its members and asking them.
//!
//! The judgement over the answers is elsewhere (`machine_conditions`, `quorum`); here are only I/O and its plain results.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use capi_runtime::WorkloadClient;
use etcd_api::{Client, Code, messages::AlarmType};
use futures::future::join_all;
use tokio::time::timeout;

use super::tls::ServerTls;

/// Namespace of the static pods.
pub const SYSTEM_NAMESPACE: &str = "kube-system";
/// The port on which etcd serves clients.
const CLIENT_PORT: u16 = 2379;

/// A member as the cluster's list tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EtcdMember {
    /// Its identifier.
    pub id: u64,
    /// Its name, which is that of its Node; empty while it has not started.
    pub name: String,
    /// It does not vote yet.
    pub learner: bool,
}

/// What the member on one Node answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberAnswer {
    /// The member that it follows; 0 without a leader.
    pub leader: u64,
    /// The cluster that it belongs to; 0 if it does not tell.
    pub cluster: u64,
    /// The members that it knows, sorted by identifier; none if it is a learner.
    pub members: Vec<EtcdMember>,
    /// What it says is wrong with it.
    pub errors: Vec<String>,
}

impl MemberAnswer {
    /// It follows a leader and reports no errors.
    pub fn is_well(&self) -> bool {
        self.leader != 0 && self.errors.is_empty()
    }
}

/// A member that is to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// The member of this name.
    Named(String),
    /// The member with this identifier, whatever its name.
    Id(u64),
}

impl Leaving {
    fn is(&self, member: &EtcdMember) -> bool {
        match self {
            Self::Named(name) => member.name == *name,
            Self::Id(id) => member.id == *id,
        }
    }
}

/// What etcd says, each part with an error text where it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdView {
    /// The members; the error is a whole sentence for conditions.
    pub members: Result<Vec<EtcdMember>, String>,
    /// Names of alarms by member; the error is a whole sentence for conditions.
    pub alarms: Result<BTreeMap<u64, Vec<String>>, String>,
    /// The status of the member on each Node that was asked.
    pub answers: BTreeMap<String, Result<MemberAnswer, String>>,
}

impl EtcdView {
    /// The member of a Node.
    pub fn member(&self, node: &str) -> Option<&EtcdMember> {
        self.members
            .as_ref()
            .ok()?
            .iter()
            .find(|member| member.name == node)
    }

    /// Nodes whose members answered, follow a leader, agree with the others and have no alarm.
    pub fn healthy(&self) -> Vec<String> {
        let alarmed = |node: &str| {
            let member = self.member(node);
            let alarms = self.alarms.as_ref().ok().zip(member);
            alarms.is_some_and(|(alarms, member)| {
                alarms.get(&member.id).is_some_and(|alarms| !alarms.is_empty())
            })
        };
        self.answers
            .iter()
            .filter(|(node, answer)| {
                answer
                    .as_ref()
                    .is_ok_and(|answer| answer.is_well() && self.disagreement(answer).is_none())
                    && !alarmed(node)
            })
            .map(|(node, _)| node.clone())
            .collect()
    }

    /// The cluster that most answers name; among equals that of whose list of members counts.
    fn cluster(&self) -> Option<u64> {
        let mut votes: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
        for answer in self.answers.values().flatten() {
            let agrees = self
                .members
                .as_ref()
                .is_ok_and(|members| answer.members == *members);
            let (all, agreeing) = votes.entry(answer.cluster).or_default();
            *all += 1;
            *agreeing += usize::from(agrees);
        }
        votes
            .into_iter()
            .max_by_key(|(cluster, count)| (*count, *cluster))
            .map(|(cluster, _)| cluster)
    }

    /// How an answer contradicts what most members say; none if it does not.
    pub fn disagreement(&self, answer: &MemberAnswer) -> Option<String> {
        let cluster = self.cluster();
        if let Some(cluster) = cluster.filter(|cluster| *cluster != 0)
            && answer.cluster != 0
            && answer.cluster != cluster
        {
            return Some(format!(
                "Etcd member has cluster ID {}, but all previously seen etcd members have cluster ID {cluster}",
                answer.cluster
            ));
        }
        let members = self.members.as_ref().ok()?;
        let ids = |members: &[EtcdMember]| members.iter().map(|member| member.id).collect::<Vec<_>>();
        if answer.members.is_empty() || ids(&answer.members) == ids(members) {
            return None;
        }
        Some(format!(
            "Etcd member reports the cluster is composed by members {}, but all previously seen etcd members are reporting {}",
            names(&answer.members),
            names(members)
        ))
    }

    /// The member that most answers name as the leader.
    pub fn leader(&self) -> Option<u64> {
        let mut votes: BTreeMap<u64, usize> = BTreeMap::new();
        for answer in self
            .answers
            .values()
            .flatten()
            .filter(|answer| answer.leader != 0)
        {
            *votes.entry(answer.leader).or_default() += 1;
        }
        votes
            .into_iter()
            .max_by_key(|(id, count)| (*count, *id))
            .map(|(id, _)| id)
    }
}

/// Names of members for messages; one that has not started has none.
fn names(members: &[EtcdMember]) -> String {
    let names: Vec<String> = members
        .iter()
        .map(|member| match member.name.is_empty() {
            true => member.id.to_string(),
            false => member.name.clone(),
        })
        .collect();
    format!("[{}]", names.join(" "))
}

/// Why etcd could not be asked or changed.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// No connection to the member on a Node.
    #[error("cannot reach etcd on Node {node}: {reason}")]
    Dial {
        /// The Node.
        node: String,
        /// Why.
        reason: String,
    },
    /// A call failed.
    #[error("etcd on Node {node}: {source}")]
    Call {
        /// The Node.
        node: String,
        /// Why.
        #[source]
        source: etcd_api::Error,
    },
    /// A call took too long.
    #[error("etcd on Node {node} did not answer within {} s", .limit.as_secs())]
    Late {
        /// The Node.
        node: String,
        /// The limit.
        limit: Duration,
    },
    /// No member could be reached.
    #[error("no etcd member of the cluster can be reached")]
    NobodyAnswers,
    /// The change would cost the quorum.
    #[error(
        "etcd member {name} cannot be removed now: {healthy} of {voting} remaining members would be healthy, {needed} are needed"
    )]
    Quorum {
        /// The member.
        name: String,
        /// Healthy members that would be left.
        healthy: usize,
        /// Voting members that would be left.
        voting: usize,
        /// Healthy members that are needed.
        needed: usize,
    },
}

/// How long to wait for etcd.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a connection.
    pub dial: Duration,
    /// For an answer.
    pub call: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            dial: Duration::from_secs(10),
            call: Duration::from_secs(15),
        }
    }
}

/// Opens connections to etcd members.
#[async_trait]
pub trait EtcdDialer: Send + Sync + 'static {
    /// A connection to the member whose static pod runs on `node`.
    async fn dial(&self, workload: &WorkloadClient, node: &str, tls: &ServerTls)
    -> Result<Client, EtcdError>;
}

/// A port-forward to the static pod, and TLS with client certificates in it: how real clusters are reached.
#[derive(Clone, Copy, Debug, Default)]
pub struct PortForwardTls;

/// A port-forward without TLS, for simulations.
#[derive(Clone, Copy, Debug, Default)]
pub struct PortForwardPlain;

fn pod(node: &str) -> String {
    format!("etcd-{node}")
}

fn unreachable(node: &str, reason: impl ToString) -> EtcdError {
    EtcdError::Dial {
        node: node.to_owned(),
        reason: reason.to_string(),
    }
}

#[async_trait]
impl EtcdDialer for PortForwardTls {
    async fn dial(
        &self,
        workload: &WorkloadClient,
        node: &str,
        tls: &ServerTls,
    ) -> Result<Client, EtcdError> {
        let stream = workload
            .port_forward(SYSTEM_NAMESPACE, &pod(node), CLIENT_PORT)
            .await
            .map_err(|error| unreachable(node, error))?;
        let stream = tls
            .connect(stream, &pod(node))
            .await
            .map_err(|error| unreachable(node, error))?;
        Client::connect(stream, &pod(node))
            .await
            .map_err(|error| unreachable(node, error))
    }
}

#[async_trait]
impl EtcdDialer for PortForwardPlain {
    async fn dial(&self, workload: &WorkloadClient, node: &str, _: &ServerTls) -> Result<Client, EtcdError> {
        let stream = workload
            .port_forward(SYSTEM_NAMESPACE, &pod(node), CLIENT_PORT)
            .await
            .map_err(|error| unreachable(node, error))?;
        Client::connect(stream, &pod(node))
            .await
            .map_err(|error| unreachable(node, error))
    }
}

/// The way to the members of one cluster.
#[async_trait]
pub trait Reach: Send + Sync + 'static {
    /// A connection to the member on `node`.
    async fn connect(&self, node: &str) -> Result<Client, EtcdError>;
}

/// The way through a workload cluster's API server.
pub struct ThroughApiServer {
    /// Opens connections.
    pub dialer: Arc<dyn EtcdDialer>,
    /// The workload cluster.
    pub workload: WorkloadClient,
    /// The client certificate and the authority.
    pub tls: ServerTls,
}

#[async_trait]
impl Reach for ThroughApiServer {
    async fn connect(&self, node: &str) -> Result<Client, EtcdError> {
        self.dialer.dial(&self.workload, node, &self.tls).await
    }
}

/// The etcd cluster of one workload cluster, ready to be asked.
#[derive(Clone)]
pub struct EtcdCluster {
    /// The way to its members.
    pub reach: Arc<dyn Reach>,
    /// How long to wait.
    pub timeouts: Timeouts,
}

impl EtcdCluster {
    async fn dial(&self, node: &str) -> Result<Client, EtcdError> {
        match timeout(self.timeouts.dial, self.reach.connect(node)).await {
            Ok(result) => result,
            Err(_) => Err(EtcdError::Late {
                node: node.to_owned(),
                limit: self.timeouts.dial,
            }),
        }
    }

    async fn call<T>(
        &self,
        node: &str,
        call: impl Future<Output = Result<T, etcd_api::Error>>,
    ) -> Result<T, EtcdError> {
        match timeout(self.timeouts.call, call).await {
            Ok(result) => result.map_err(|source| EtcdError::Call {
                node: node.to_owned(),
                source,
            }),
            Err(_) => Err(EtcdError::Late {
                node: node.to_owned(),
                limit: self.timeouts.call,
            }),
        }
    }

    /// Asks the members on these Nodes: each for its status and the members that it knows, the first that answers for the
    /// alarms. Where they know different members, the list that most of them tell counts.
    pub async fn view(&self, nodes: &[String]) -> EtcdView {
        let asked = join_all(nodes.iter().map(|node| self.ask(node))).await;
        let mut view = EtcdView {
            members: Err("Failed to get etcd members: no etcd member can be reached".to_owned()),
            alarms: Ok(BTreeMap::new()),
            answers: BTreeMap::new(),
        };
        let mut first: Option<(&String, Client)> = None;
        for (node, answer) in nodes.iter().zip(asked) {
            match answer {
                Err(error) => {
                    if first.is_none() {
                        view.members = Err(format!("Failed to connect to etcd: {error}"));
                    }
                    view.answers.insert(node.clone(), Err(error.to_string()));
                }
                Ok((client, answer)) => {
                    // A learner tells nothing but its status.
                    if !answer.members.is_empty() {
                        first.get_or_insert((node, client));
                    }
                    view.answers.insert(node.clone(), Ok(answer));
                }
            }
        }
        if let Some((node, mut client)) = first {
            if let Some(members) = most_told(view.answers.values().flatten()) {
                view.members = Ok(members);
            }
            view.alarms = self.alarms(node, &mut client).await;
        }
        view
    }

    async fn ask(&self, node: &str) -> Result<(Client, MemberAnswer), EtcdError> {
        let mut client = self.dial(node).await?;
        let status = self.call(node, client.status()).await?;
        let mut members: Vec<EtcdMember> = match status.is_learner {
            true => Vec::new(),
            false => {
                let list = self.call(node, client.member_list(false)).await?;
                list.members.into_iter().map(member).collect()
            }
        };
        members.sort_by_key(|member| member.id);
        let mut errors = status.errors;
        if status.leader == 0 && errors.is_empty() {
            errors.push("etcdserver: no leader".to_owned());
        }
        let answer = MemberAnswer {
            leader: status.leader,
            cluster: status.header.map(|header| header.cluster_id).unwrap_or_default(),
            members,
            errors,
        };
        Ok((client, answer))
    }

    async fn alarms(&self, node: &str, client: &mut Client) -> Result<BTreeMap<u64, Vec<String>>, String> {
        let alarms = self
            .call(node, client.alarms())
            .await
            .map_err(|error| format!("Failed to get etcd alarms: {error}"))?;
        let mut by_member: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for alarm in alarms.iter().filter(|alarm| alarm.alarm() != AlarmType::None) {
            by_member
                .entry(alarm.member_id)
                .or_default()
                .push(alarm.alarm().name().to_owned());
        }
        Ok(by_member)
    }

    /// Makes the member `to` the leader, if the member `from` on `node` leads. It is asked whether it still does: what
    /// was known before may be old.
    pub async fn move_leader(&self, node: &str, from: u64, to: u64) -> Result<(), EtcdError> {
        let mut client = self.dial(node).await?;
        if self.call(node, client.status()).await?.leader != from {
            return Ok(());
        }
        self.call(node, client.move_leader(to)).await
    }

    /// Removes a member, asking the first of `nodes` that answers. Done if there is no such member.
    /// `healthy` are the Nodes whose members are known to be healthy: the list is read again, and nothing happens if the
    /// members that are left would have no quorum.
    pub async fn remove_member(
        &self,
        leaving: &Leaving,
        nodes: &[String],
        healthy: &[String],
    ) -> Result<(), EtcdError> {
        let mut last = EtcdError::NobodyAnswers;
        for node in nodes {
            let (mut client, list) = match self.list(node).await {
                Ok(found) => found,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            let Some(gone) = list.iter().find(|member| leaving.is(member)) else {
                return Ok(());
            };
            super::quorum::check_removal(&list, gone.id, |member| healthy.contains(&member.name))?;
            return match self.call(node, client.member_remove(gone.id)).await {
                // Somebody else was faster.
                Err(EtcdError::Call {
                    source: etcd_api::Error::Call { status, .. },
                    ..
                }) if status.code() == Code::NotFound => Ok(()),
                Err(error) => Err(error),
                Ok(_) => Ok(()),
            };
        }
        Err(last)
    }

    /// The members as a quorum knows them.
    async fn list(&self, node: &str) -> Result<(Client, Vec<EtcdMember>), EtcdError> {
        let mut client = self.dial(node).await?;
        let list = self.call(node, client.member_list(true)).await?;
        Ok((client, list.members.into_iter().map(member).collect()))
    }
}

/// The list of members that most answers tell; among equals that of a member with a leader, and the longer one.
fn most_told<'a>(answers: impl Iterator<Item = &'a MemberAnswer> + Clone) -> Option<Vec<EtcdMember>> {
    let answers = answers.filter(|answer| !answer.members.is_empty());
    let told = |list: &[EtcdMember]| answers.clone().filter(|answer| answer.members == list).count();
    let best = answers
        .clone()
        .max_by_key(|answer| (told(&answer.members), answer.leader != 0, answer.members.len()))?;
    Some(best.members.clone())
}

fn member(member: etcd_api::messages::Member) -> EtcdMember {
    EtcdMember {
        id: member.id,
        name: member.name,
        learner: member.is_learner,
    }
}
