//! etcd of a workload cluster: dialing its members and asking them.
//!
//! The judgement over the answers is elsewhere (`machine_conditions`, `quorum`); here are only I/O and its plain results.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use capi_runtime::WorkloadClient;
use etcd_api::{Client, messages::AlarmType};
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

/// The etcd cluster of one workload cluster, ready to be asked.
#[derive(Clone)]
pub struct EtcdCluster {
    /// Opens connections.
    pub dialer: Arc<dyn EtcdDialer>,
    /// The workload cluster.
    pub workload: WorkloadClient,
    /// The client certificate and the authority.
    pub tls: ServerTls,
    /// How long to wait.
    pub timeouts: Timeouts,
}

impl EtcdCluster {
    async fn dial(&self, node: &str) -> Result<Client, EtcdError> {
        match timeout(
            self.timeouts.dial,
            self.dialer.dial(&self.workload, node, &self.tls),
        )
        .await
        {
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

    /// Asks the members on these Nodes: each for its status, the first that answers for members and alarms.
    pub async fn view(&self, nodes: &[String]) -> EtcdView {
        let asked = join_all(nodes.iter().map(|node| async move {
            let mut client = self.dial(node).await?;
            let status = self.call(node, client.status()).await?;
            Ok::<_, EtcdError>((node.clone(), client, status))
        }))
        .await;
        let mut view = EtcdView {
            members: Err("Failed to get etcd members: no etcd member can be reached".to_owned()),
            alarms: Ok(BTreeMap::new()),
            answers: BTreeMap::new(),
        };
        let mut listed = false;
        for (node, answer) in nodes.iter().zip(asked) {
            match answer {
                Err(error) => {
                    if !listed {
                        view.members = Err(format!("Failed to connect to etcd: {error}"));
                    }
                    view.answers.insert(node.clone(), Err(error.to_string()));
                }
                Ok((node, mut client, status)) => {
                    if !listed {
                        listed = self.fill(&mut view, &node, &mut client).await;
                    }
                    view.answers.insert(
                        node,
                        Ok(MemberAnswer {
                            leader: status.leader,
                        }),
                    );
                }
            }
        }
        view
    }

    /// Members and alarms from one member; false if it does not tell its members.
    async fn fill(&self, view: &mut EtcdView, node: &str, client: &mut Client) -> bool {
        match self.call(node, client.member_list(false)).await {
            Err(error) => {
                view.members = Err(format!("Failed to get etcd members: {error}"));
                return false;
            }
            Ok(list) => view.members = Ok(list.members.into_iter().map(member).collect()),
        }
        view.alarms = match self.call(node, client.alarms()).await {
            Err(error) => Err(format!("Failed to get etcd alarms: {error}")),
            Ok(alarms) => {
                let mut by_member: BTreeMap<u64, Vec<String>> = BTreeMap::new();
                for alarm in alarms.iter().filter(|alarm| alarm.alarm() != AlarmType::None) {
                    by_member
                        .entry(alarm.member_id)
                        .or_default()
                        .push(alarm.alarm().name().to_owned());
                }
                Ok(by_member)
            }
        };
        true
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

    /// Removes the member named `name`, asking the first of `nodes` that answers. Done if there is no such member.
    /// `healthy` are the Nodes whose members are known to be healthy: the list is read again, and nothing happens if the
    /// members that are left would have no quorum.
    pub async fn remove_member(
        &self,
        name: &str,
        nodes: &[String],
        healthy: &[String],
    ) -> Result<(), EtcdError> {
        for node in nodes.iter().filter(|node| *node != name) {
            let Ok(mut client) = self.dial(node).await else {
                continue;
            };
            let list = self.call(node, client.member_list(true)).await?;
            let members: Vec<EtcdMember> = list.members.into_iter().map(member).collect();
            let Some(gone) = members.iter().find(|member| member.name == name) else {
                return Ok(());
            };
            super::quorum::check_removal(&members, gone.id, |member| healthy.contains(&member.name))?;
            let id = gone.id;
            self.call(node, client.member_remove(id)).await?;
            return Ok(());
        }
        Err(EtcdError::NobodyAnswers)
    }
}

fn member(member: etcd_api::messages::Member) -> EtcdMember {
    EtcdMember {
        id: member.id,
        name: member.name,
        learner: member.is_learner,
    }
}
