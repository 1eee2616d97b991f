//! One suite about the membership of etcd, through the client of the control plane provider, on two backends: the
//! imitation inside the simulated workload clusters, and real etcd processes. Both must answer alike.
//!
//! The imitation runs first. Each of its answers is what the real etcd is expected to say; since that takes its time (a
//! member counts as healthy only after five seconds), questions are repeated until the answer is the expected one, or it
//! is too late and the difference is reported. Without an etcd binary the comparison is skipped aloud, and what the
//! imitation says is held to the transcript in this file alone.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test")]

mod etcd_backends;

use std::{sync::Arc, time::Duration};

use controlplane_kubeadm::workload::etcd::{EtcdCluster, EtcdError, Leaving, Reach, Timeouts};
use etcd_api::Client;
use etcd_backends::{Backend, Imitation, Processes, real_etcd};

/// How long an answer may be another one than expected.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long a call may take.
const CALL: Duration = Duration::from_secs(9);

/// Runs scenarios on a backend and writes down what it answers.
struct Suite<B> {
    backend: Arc<B>,
    transcript: Vec<String>,
    /// What another backend answered.
    expected: Option<Vec<String>>,
}

struct Through<B>(Arc<B>);

#[async_trait::async_trait]
impl<B: Backend> Reach for Through<B> {
    async fn connect(&self, node: &str) -> Result<Client, EtcdError> {
        self.0.connect(node).await.map_err(|reason| EtcdError::Dial {
            node: node.to_owned(),
            reason,
        })
    }
}

fn code(error: &etcd_api::Error) -> String {
    match error {
        etcd_api::Error::Call { status, .. } => match status.code() {
            // What exactly is unavailable is a matter of timing.
            etcd_api::Code::Unavailable | etcd_api::Code::DeadlineExceeded => "unavailable".to_owned(),
            code => format!("{code:?}: {}", status.message()),
        },
        _ => "no connection".to_owned(),
    }
}

fn kind(error: &EtcdError) -> String {
    match error {
        EtcdError::Dial { .. } => "no connection".to_owned(),
        EtcdError::Late { .. } => "unavailable".to_owned(),
        EtcdError::Call { source, .. } => code(source),
        EtcdError::NobodyAnswers => "nobody answers".to_owned(),
        EtcdError::Quorum { .. } => error.to_string(),
    }
}

impl<B: Backend> Suite<B> {
    fn new(backend: B, expected: Option<Vec<String>>) -> Self {
        Self {
            backend: Arc::new(backend),
            transcript: Vec::new(),
            expected,
        }
    }

    fn cluster(&self) -> EtcdCluster {
        EtcdCluster {
            reach: Arc::new(Through(self.backend.clone())),
            timeouts: Timeouts {
                dial: Duration::from_secs(2),
                call: CALL,
            },
        }
    }

    /// Asks until the answer is the expected one, and notes it.
    async fn ask<F: Future<Output = String>>(&mut self, question: &str, answer: impl Fn(EtcdCluster) -> F) {
        let expected = self
            .expected
            .as_ref()
            .and_then(|lines| lines.get(self.transcript.len()).cloned());
        let begun = tokio::time::Instant::now();
        let line = loop {
            let line = format!("{question}: {}", answer(self.cluster()).await);
            let as_expected = expected.as_ref().is_none_or(|expected| *expected == line);
            if as_expected || begun.elapsed() > PATIENCE {
                break line;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        };
        if let Some(expected) = expected.filter(|expected| *expected != line) {
            println!("imitation: {expected}\n     real: {line}");
        }
        self.transcript.push(line);
    }

    /// What a member says of the members, by name.
    async fn members(&mut self, of: &str) {
        let of = of.to_owned();
        self.ask(&format!("members by {of}"), |cluster| {
            let of = of.clone();
            async move { members(&cluster, &of, false).await }
        })
        .await;
    }

    /// What a quorum says of the members, asked through one of them.
    async fn members_for_sure(&mut self, of: &str) {
        let of = of.to_owned();
        self.ask(&format!("members for sure by {of}"), |cluster| {
            let of = of.clone();
            async move { members(&cluster, &of, true).await }
        })
        .await;
    }

    /// How a member is: what the health conditions of a control plane are made of.
    async fn view(&mut self, nodes: &[&str]) {
        let nodes: Vec<String> = nodes.iter().map(|node| (*node).to_owned()).collect();
        self.ask(&format!("view of {}", nodes.join(" ")), |cluster| {
            let nodes = nodes.clone();
            async move { view(&cluster, &nodes).await }
        })
        .await;
    }

    /// A call to one member that changes something. It is repeated only while the member says that it is not ready.
    async fn change(&mut self, what: &str, node: &str, change: Change) {
        let (backend, node) = (self.backend.clone(), node.to_owned());
        self.ask(&format!("{what} by {node}"), |_| {
            let (backend, node, change) = (backend.clone(), node.clone(), change.clone());
            async move {
                // Without a quorum etcd never answers a call that has no deadline.
                match tokio::time::timeout(CALL, changed(&*backend, &node, &change)).await {
                    Ok(Ok(())) => "done".to_owned(),
                    Ok(Err(error)) => error,
                    Err(_) => "unavailable".to_owned(),
                }
            }
        })
        .await;
    }

    async fn grow(&mut self, name: &str, by: &str) {
        self.change(
            &format!("add learner {name}"),
            by,
            Change::Add(self.backend.peer_url(name)),
        )
        .await;
        self.members(by).await;
        self.backend.begin(name).await;
        self.members(by).await;
        self.change(&format!("promote {name}"), by, Change::Promote(name.to_owned()))
            .await;
        self.members(by).await;
    }

    /// The provider's own way to take a member out.
    async fn take_out(&mut self, name: &str, nodes: &[&str], healthy: &[&str]) {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let (name, nodes, healthy) = (name.to_owned(), owned(nodes), owned(healthy));
        self.ask(&format!("take {name} out"), |cluster| {
            let (leaving, nodes, healthy) = (Leaving::Named(name.clone()), nodes.clone(), healthy.clone());
            async move {
                match cluster.remove_member(&leaving, &nodes, &healthy).await {
                    Ok(()) => "done".to_owned(),
                    Err(error) => kind(&error),
                }
            }
        })
        .await;
    }

    /// The provider's own way to hand the leadership over.
    async fn lead(&mut self, nodes: &[&str], to: &str) {
        let nodes: Vec<String> = nodes.iter().map(|node| (*node).to_owned()).collect();
        let to = to.to_owned();
        self.ask(&format!("leadership to {to}"), |cluster| {
            let (nodes, to) = (nodes.clone(), to.clone());
            async move { hand_over(&cluster, &nodes, &to).await }
        })
        .await;
    }
}

/// A change that one member is asked for.
#[derive(Clone)]
enum Change {
    Add(String),
    Promote(String),
    Remove(String),
    RemoveUnknown,
    MoveLeader(String),
    MoveLeaderToNobody,
}

async fn changed(backend: &impl Backend, node: &str, change: &Change) -> Result<(), String> {
    let mut client = backend
        .connect(node)
        .await
        .map_err(|_| "no connection".to_owned())?;
    let mut id = async |name: &str| {
        let list = client.member_list(false).await.map_err(|error| code(&error))?;
        let found = list.members.iter().find(|member| member.name == name);
        found.map(|member| member.id).ok_or("no such name".to_owned())
    };
    let target = match change {
        Change::Promote(name) | Change::Remove(name) | Change::MoveLeader(name) => id(name).await?,
        _ => 1,
    };
    let result = match change {
        Change::Add(url) => client.member_add(vec![url.clone()], true).await.map(drop),
        Change::Promote(_) => client.member_promote(target).await.map(drop),
        Change::Remove(_) | Change::RemoveUnknown => client.member_remove(target).await.map(drop),
        Change::MoveLeader(_) | Change::MoveLeaderToNobody => client.move_leader(target).await,
    };
    result.map_err(|error| code(&error))
}

fn described(mut members: Vec<(String, bool)>) -> String {
    members.sort();
    let words: Vec<String> = members
        .into_iter()
        .map(|(name, learner)| {
            let name = if name.is_empty() { "(not started)" } else { &name };
            format!("{name}{}", if learner { " (learner)" } else { "" })
        })
        .collect();
    words.join(", ")
}

async fn members(cluster: &EtcdCluster, of: &str, for_sure: bool) -> String {
    let Ok(mut client) = cluster.reach.connect(of).await else {
        return "no connection".to_owned();
    };
    let list = tokio::time::timeout(cluster.timeouts.call, client.member_list(for_sure)).await;
    match list {
        Err(_) => "unavailable".to_owned(),
        Ok(Err(error)) => code(&error),
        Ok(Ok(list)) => described(
            list.members
                .into_iter()
                .map(|member| (member.name, member.is_learner))
                .collect(),
        ),
    }
}

async fn view(cluster: &EtcdCluster, nodes: &[String]) -> String {
    let view = cluster.view(nodes).await;
    let members = match &view.members {
        Ok(members) => described(
            members
                .iter()
                .map(|member| (member.name.clone(), member.learner))
                .collect(),
        ),
        Err(_) => "unknown".to_owned(),
    };
    let answers: Vec<String> = view
        .answers
        .iter()
        .map(|(node, answer)| match answer {
            Err(_) => format!("{node} does not answer"),
            Ok(answer) => {
                let disagrees = view.disagreement(answer).map(|text| {
                    // Identifiers differ from run to run.
                    let words: Vec<&str> = text.split(' ').take(4).collect();
                    format!(" [{}]", words.join(" "))
                });
                let leader = if answer.leader == 0 {
                    "no leader"
                } else {
                    "a leader"
                };
                format!("{node} has {leader}{}", disagrees.unwrap_or_default())
            }
        })
        .collect();
    format!(
        "{members}; {}; healthy: {}; alarms: {:?}",
        answers.join(", "),
        view.healthy().join(" "),
        view.alarms.map(|alarms| alarms.len()).map_err(|_| "unknown")
    )
}

async fn hand_over(cluster: &EtcdCluster, nodes: &[String], to: &str) -> String {
    let view = cluster.view(nodes).await;
    let Ok(members) = &view.members else {
        return "unknown".to_owned();
    };
    let id_of = |name: &str| {
        members
            .iter()
            .find(|member| member.name == name)
            .map(|member| member.id)
    };
    let leader = members.iter().find(|member| Some(member.id) == view.leader());
    let (Some(leader), Some(target)) = (leader, id_of(to)) else {
        return "unknown".to_owned();
    };
    if leader.id != target
        && let Err(error) = cluster.move_leader(&leader.name, leader.id, target).await
    {
        return kind(&error);
    }
    let after = cluster.view(nodes).await;
    match after.leader() == Some(target) {
        true => format!("{to} leads"),
        false => "somebody else leads".to_owned(),
    }
}

/// The whole suite: one cluster's life, in the order in which a control plane would live it.
async fn life<B: Backend>(suite: &mut Suite<B>) {
    suite.backend.found("a").await;
    suite.members("a").await;
    suite.members_for_sure("a").await;
    suite.view(&["a"]).await;

    // A member that has been added and does not start blocks the next one and cannot be promoted.
    let url = suite.backend.peer_url("b");
    suite.change("add learner b", "a", Change::Add(url.clone())).await;
    suite.members("a").await;
    suite.change("add the same again", "a", Change::Add(url)).await;
    let other = suite.backend.peer_url("c");
    suite.change("add another learner", "a", Change::Add(other)).await;
    suite
        .change("promote what has no name", "a", Change::Promote(String::new()))
        .await;
    suite.view(&["a"]).await;

    // Once it runs it learns, answers its status alone, and is promoted.
    suite.backend.begin("b").await;
    suite.members("a").await;
    suite.members("b").await;
    suite.view(&["a", "b"]).await;
    suite.change("promote b", "a", Change::Promote("b".into())).await;
    suite
        .change("promote b again", "a", Change::Promote("b".into()))
        .await;
    suite.members("b").await;
    suite.grow("c", "a").await;
    suite.view(&["a", "b", "c"]).await;

    // Leadership.
    suite.lead(&["a", "b", "c"], "b").await;
    suite.lead(&["a", "b", "c"], "a").await;
    suite
        .change("move leadership", "b", Change::MoveLeader("c".into()))
        .await;
    suite
        .change("move leadership to nobody", "a", Change::MoveLeaderToNobody)
        .await;
    suite.change("remove nobody", "a", Change::RemoveUnknown).await;

    // One of three stops: nobody else may join or leave.
    suite.backend.stop("c").await;
    suite.view(&["a", "b", "c"]).await;
    suite.members_for_sure("a").await;
    let url = suite.backend.peer_url("d");
    suite.change("add learner d", "a", Change::Add(url)).await;
    suite.change("remove b", "a", Change::Remove("b".into())).await;
    suite.take_out("b", &["a"], &["a"]).await;
    suite.backend.resume("c").await;
    suite.view(&["a", "b", "c"]).await;

    // Two of three stop: the quorum is lost and comes back.
    suite.backend.stop("b").await;
    suite.backend.stop("c").await;
    suite.view(&["a", "b", "c"]).await;
    suite.members("a").await;
    suite.members_for_sure("a").await;
    suite.change("remove c", "a", Change::Remove("c".into())).await;
    suite.backend.resume("b").await;
    suite.view(&["a", "b", "c"]).await;

    // One has lost its machine and its data: it stays in the list until it is taken out.
    suite.backend.lose("c").await;
    suite.view(&["a", "b", "c"]).await;
    suite.take_out("c", &["a", "b"], &["a", "b"]).await;
    suite.take_out("c", &["a", "b"], &["a", "b"]).await;
    suite.view(&["a", "b"]).await;

    // The leader itself is taken out; its process ends.
    suite.lead(&["a", "b"], "a").await;
    suite.take_out("a", &["b"], &["b"]).await;
    suite.members("b").await;
    suite.view(&["a", "b"]).await;
    suite.take_out("b", &["b"], &[]).await;
    suite
        .change("remove the last", "b", Change::Remove("b".into()))
        .await;

    // A member of another cluster.
    suite.backend.found("stranger").await;
    suite.view(&["b", "stranger"]).await;
    suite.grow("e", "b").await;
    suite.view(&["b", "e", "stranger"]).await;
}

async fn of_imitation() -> Vec<String> {
    let mut suite = Suite::new(Imitation::default(), None);
    life(&mut suite).await;
    suite.transcript
}

#[tokio::test(start_paused = true)]
async fn the_imitation_answers_as_etcd_is_known_to() {
    let transcript = of_imitation().await;
    let expected = include_str!("etcd_transcript.txt");
    let text = transcript.join("\n") + "\n";
    if std::env::var_os("ETCD_TRANSCRIPT").is_some() {
        println!("{text}");
    }
    assert!(
        text == expected,
        "the transcript differs; run with ETCD_TRANSCRIPT=1 to see it:\n{text}"
    );
    assert_eq!(of_imitation().await, transcript, "and always alike");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_etcd_answers_like_the_imitation() {
    let Some(binary) = real_etcd() else {
        println!(
            "SKIPPED etcd: no etcd binary; set KUBEBUILDER_ASSETS to the folder that hack/envtest/build prints"
        );
        return;
    };
    let expected = of_imitation().await;
    let mut suite = Suite::new(Processes::new(binary), Some(expected.clone()));
    life(&mut suite).await;
    let differences: Vec<String> = expected
        .iter()
        .zip(&suite.transcript)
        .filter(|(expected, found)| expected != found)
        .map(|(expected, found)| format!("imitation: {expected}\n     real: {found}"))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
