//! Fault switches: annotations by which a user breaks a simulated machine or cluster, and repairs it by taking them away.
//!
//! Here is what switches exist, how they are read and how they are told: pure functions of the annotations. What they do
//! to machines is in [`crate::backend`], when it is done in the controllers' plans. Switches may also come through a
//! template's metadata, as all annotations do.

use std::collections::BTreeMap;

use capi_api::conditions::Draft;
use jiff::SignedDuration;

use crate::controllers::devmachine::parse_go_duration;

/// What the names of all switches start with.
pub const PREFIX: &str = "simulation.capi-rs.io/";
/// On a DevMachine: [`NEVER_BOOTS`].
pub const VM: &str = "simulation.capi-rs.io/vm";
/// On a DevMachine: [`NEVER_JOINS`], [`NOT_READY`] or [`UNKNOWN`].
pub const NODE: &str = "simulation.capi-rs.io/node";
/// On a DevMachine: [`DOWN`].
pub const API_SERVER: &str = "simulation.capi-rs.io/api-server";
/// On a DevMachine: [`DOWN`] or [`LOST`].
pub const ETCD: &str = "simulation.capi-rs.io/etcd";
/// On a DevMachine: a duration such as `30s`, added to each of its delays.
pub const SLOW: &str = "simulation.capi-rs.io/slow";
/// On a DevCluster: [`UNREACHABLE`].
pub const ENDPOINT: &str = "simulation.capi-rs.io/endpoint";

/// The virtual machine is never provisioned.
pub const NEVER_BOOTS: &str = "never-boots";
/// The virtual machine runs, but no Node appears.
pub const NEVER_JOINS: &str = "never-joins";
/// The kubelet reports that the Node is not ready.
pub const NOT_READY: &str = "not-ready";
/// The kubelet is gone: the Node's conditions are Unknown.
pub const UNKNOWN: &str = "unknown";
/// The process is stopped.
pub const DOWN: &str = "down";
/// The process is stopped and its data is gone.
pub const LOST: &str = "lost";
/// The endpoint refuses connections.
pub const UNREACHABLE: &str = "unreachable";

/// The condition that tells of switches; absent while none is set.
pub const CONDITION: &str = "FaultInjected";
/// Its reason while switches are set.
pub const SWITCHES_SET: &str = "SwitchesSet";
/// Its reason once an etcd member has lost its data, which no repair brings back. It is also how a later process knows.
pub const ETCD_DATA_LOST: &str = "EtcdDataLost";
/// Its reason while no switch that is set can be understood.
pub const NOT_UNDERSTOOD: &str = "SwitchesNotUnderstood";

/// What is wrong with a Node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeFault {
    /// It does not appear.
    NeverJoins,
    /// Its kubelet says that it is not ready.
    NotReady,
    /// Its kubelet says nothing any more.
    Unknown,
}

/// What is wrong with an etcd member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtcdFault {
    /// Its process is stopped.
    Down,
    /// Its process is stopped and its data is gone: it never comes back as that member.
    Lost,
}

/// What is wrong with a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachineFaults {
    /// The virtual machine is never provisioned; one that runs already goes on running.
    pub never_boots: bool,
    /// The Node.
    pub node: Option<NodeFault>,
    /// The machine's API server is stopped.
    pub api_server_down: bool,
    /// The machine's etcd member.
    pub etcd: Option<EtcdFault>,
    /// Added to each of the machine's delays.
    pub slow: Option<SignedDuration>,
}

impl MachineFaults {
    /// What is wrong if both this and `other` are.
    pub fn with(&self, other: &Self) -> Self {
        Self {
            never_boots: self.never_boots || other.never_boots,
            node: self.node.or(other.node),
            api_server_down: self.api_server_down || other.api_server_down,
            etcd: match (self.etcd, other.etcd) {
                (Some(EtcdFault::Lost), _) | (_, Some(EtcdFault::Lost)) => Some(EtcdFault::Lost),
                (one, another) => one.or(another),
            },
            slow: self.slow.or(other.slow),
        }
    }
}

/// What is wrong with a cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClusterFaults {
    /// Its endpoint refuses connections.
    pub endpoint_unreachable: bool,
}

/// The switches of an object, as far as they are understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Switches<F> {
    /// What is broken.
    pub faults: F,
    /// A sentence for each switch that is ignored because its name or value is not known.
    pub ignored: Vec<String>,
}

/// How far a machine is, which decides what a switch can still do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stage {
    /// The virtual machine runs.
    pub booted: bool,
    /// It is a Node.
    pub joined: bool,
    /// It belongs to the control plane.
    pub control_plane: bool,
}

type Annotations = BTreeMap<String, String>;

/// The switches on a DevMachine.
pub fn of_machine(annotations: Option<&Annotations>) -> Switches<MachineFaults> {
    let mut faults = MachineFaults::default();
    let ignored = read(annotations, &[VM, NODE, API_SERVER, ETCD, SLOW], |key, value| {
        match (key, value) {
            (VM, NEVER_BOOTS) => faults.never_boots = true,
            (VM, _) => return Some(NEVER_BOOTS.to_owned()),
            (NODE, NEVER_JOINS) => faults.node = Some(NodeFault::NeverJoins),
            (NODE, NOT_READY) => faults.node = Some(NodeFault::NotReady),
            (NODE, UNKNOWN) => faults.node = Some(NodeFault::Unknown),
            (NODE, _) => return Some(format!("{NEVER_JOINS}, {NOT_READY}, {UNKNOWN}")),
            (API_SERVER, DOWN) => faults.api_server_down = true,
            (API_SERVER, _) => return Some(DOWN.to_owned()),
            (ETCD, DOWN) => faults.etcd = Some(EtcdFault::Down),
            (ETCD, LOST) => faults.etcd = Some(EtcdFault::Lost),
            (ETCD, _) => return Some(format!("{DOWN}, {LOST}")),
            (_, text) => match parse_go_duration(text).filter(|duration| !duration.is_negative()) {
                Some(duration) => faults.slow = Some(duration),
                None => return Some("a duration such as 30s".to_owned()),
            },
        }
        None
    });
    Switches { faults, ignored }
}

/// The switches on a DevCluster.
pub fn of_cluster(annotations: Option<&Annotations>) -> Switches<ClusterFaults> {
    let mut faults = ClusterFaults::default();
    let ignored = read(annotations, &[ENDPOINT], |_, value| {
        faults.endpoint_unreachable = value == UNREACHABLE;
        (!faults.endpoint_unreachable).then(|| UNREACHABLE.to_owned())
    });
    Switches { faults, ignored }
}

/// Gives each known switch to `take`, which answers with the possible values if it does not know the one it got.
fn read(
    annotations: Option<&Annotations>,
    known: &[&str],
    mut take: impl FnMut(&str, &str) -> Option<String>,
) -> Vec<String> {
    let switches = annotations
        .into_iter()
        .flatten()
        .filter(|(key, _)| key.starts_with(PREFIX));
    let mut ignored = Vec::new();
    for (key, value) in switches {
        if !known.contains(&key.as_str()) {
            let known = known.join(", ");
            ignored.push(format!("{key} is ignored: the switches of this kind are {known}"));
        } else if let Some(values) = take(key, value) {
            ignored.push(format!(
                "{key}: {value} is ignored: the value must be {values}",
                values = one_of(&values)
            ));
        }
    }
    ignored
}

fn one_of(values: &str) -> String {
    match values.contains(", ") {
        true => format!("one of {values}"),
        false => values.to_owned(),
    }
}

/// What a switch does, as a sentence for conditions.
pub fn told(key: &str, value: &str, effect: &str) -> String {
    format!("{key}: {value} is set: {effect}")
}

/// The condition of a DevMachine whose switches are these.
pub fn machine_condition(switches: &Switches<MachineFaults>, stage: Stage, data_lost: bool) -> Option<Draft> {
    let faults = &switches.faults;
    let mut effects = Vec::new();
    if faults.never_boots {
        let effect = match stage.booted {
            true => "no effect, the machine runs already",
            false => "the machine is never provisioned",
        };
        effects.push(told(VM, NEVER_BOOTS, effect));
    }
    effects.extend(faults.node.map(|fault| match fault {
        NodeFault::NeverJoins if stage.joined => {
            told(NODE, NEVER_JOINS, "no effect, the Node exists already")
        }
        NodeFault::NeverJoins => told(NODE, NEVER_JOINS, "the machine runs, but no Node appears"),
        NodeFault::NotReady => told(NODE, NOT_READY, "the kubelet reports Ready False"),
        NodeFault::Unknown => told(NODE, UNKNOWN, "the kubelet does not report any more"),
    }));
    let idle = |effect: &'static str| match stage.control_plane {
        true => effect,
        false => "no effect, the machine does not belong to the control plane",
    };
    if faults.api_server_down {
        effects.push(told(
            API_SERVER,
            DOWN,
            idle("the machine's API server is stopped"),
        ));
    }
    effects.extend(faults.etcd.map(|fault| match fault {
        EtcdFault::Down => told(ETCD, DOWN, idle("the machine's etcd member is stopped")),
        EtcdFault::Lost if data_lost => {
            format!("{ETCD}: {LOST} was set: the machine's etcd member has lost its data and does not come back, replace the Machine")
        }
        EtcdFault::Lost => told(ETCD, LOST, idle("the machine's etcd member does not start")),
    }));
    if let Some(slow) = faults.slow {
        effects.push(told(
            SLOW,
            &format!("{slow:#}"),
            "added to each delay of the machine",
        ));
    }
    let reason = if data_lost { ETCD_DATA_LOST } else { SWITCHES_SET };
    condition(effects, &switches.ignored, reason)
}

/// The condition of a DevCluster whose switches are these.
pub fn cluster_condition(switches: &Switches<ClusterFaults>) -> Option<Draft> {
    let effects = match switches.faults.endpoint_unreachable {
        true => vec![told(
            ENDPOINT,
            UNREACHABLE,
            "the cluster's endpoint refuses connections",
        )],
        false => Vec::new(),
    };
    condition(effects, &switches.ignored, SWITCHES_SET)
}

fn condition(effects: Vec<String>, ignored: &[String], reason: &str) -> Option<Draft> {
    let broken = !effects.is_empty();
    let lines: Vec<String> = effects.into_iter().chain(ignored.iter().cloned()).collect();
    let message = match &lines[..] {
        [] => return None,
        [one] => one.clone(),
        many => many
            .iter()
            .map(|line| format!("* {line}"))
            .collect::<Vec<_>>()
            .join("\n"),
    };
    Some(match broken {
        true => Draft::is_true(CONDITION, reason, message),
        false => Draft::is_false(CONDITION, NOT_UNDERSTOOD, message),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotations(pairs: &[(&str, &str)]) -> Annotations {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn machine(pairs: &[(&str, &str)]) -> Switches<MachineFaults> {
        of_machine(Some(&annotations(pairs)))
    }

    #[test]
    fn each_switch_of_a_machine_breaks_what_it_names() {
        let none = MachineFaults::default();
        for (key, value, faults) in [
            (
                VM,
                "never-boots",
                MachineFaults {
                    never_boots: true,
                    ..none.clone()
                },
            ),
            (
                NODE,
                "never-joins",
                MachineFaults {
                    node: Some(NodeFault::NeverJoins),
                    ..none.clone()
                },
            ),
            (
                NODE,
                "not-ready",
                MachineFaults {
                    node: Some(NodeFault::NotReady),
                    ..none.clone()
                },
            ),
            (
                NODE,
                "unknown",
                MachineFaults {
                    node: Some(NodeFault::Unknown),
                    ..none.clone()
                },
            ),
            (
                API_SERVER,
                "down",
                MachineFaults {
                    api_server_down: true,
                    ..none.clone()
                },
            ),
            (
                ETCD,
                "down",
                MachineFaults {
                    etcd: Some(EtcdFault::Down),
                    ..none.clone()
                },
            ),
            (
                ETCD,
                "lost",
                MachineFaults {
                    etcd: Some(EtcdFault::Lost),
                    ..none.clone()
                },
            ),
            (
                SLOW,
                "1m30s",
                MachineFaults {
                    slow: Some(SignedDuration::from_secs(90)),
                    ..none.clone()
                },
            ),
        ] {
            let want = Switches {
                faults,
                ignored: Vec::new(),
            };
            assert_eq!(
                machine(&[(key, value), ("other.example.com/vm", "x")]),
                want,
                "{key}: {value}"
            );
        }
        assert_eq!(of_machine(None), Switches::default());
    }

    #[test]
    fn what_is_not_known_is_ignored_and_told_with_the_remedy() {
        for (key, value, message) in [
            (
                VM,
                "sleepy",
                "simulation.capi-rs.io/vm: sleepy is ignored: the value must be never-boots",
            ),
            (
                NODE,
                "",
                "simulation.capi-rs.io/node:  is ignored: the value must be one of never-joins, not-ready, unknown",
            ),
            (
                SLOW,
                "soon",
                "simulation.capi-rs.io/slow: soon is ignored: the value must be a duration such as 30s",
            ),
            (
                SLOW,
                "-3s",
                "simulation.capi-rs.io/slow: -3s is ignored: the value must be a duration such as 30s",
            ),
        ] {
            let switches = machine(&[(key, value)]);
            assert_eq!(
                (switches.faults.clone(), &*switches.ignored),
                (MachineFaults::default(), &[message.to_owned()][..])
            );
            let draft = machine_condition(&switches, Stage::default(), false).unwrap();
            assert_eq!(
                (draft.status.as_str(), &*draft.reason, &*draft.message),
                ("False", NOT_UNDERSTOOD, message)
            );
        }
        let endpoint = machine(&[(ENDPOINT, UNREACHABLE)]);
        assert!(
            endpoint.ignored[0]
                .starts_with("simulation.capi-rs.io/endpoint is ignored: the switches of this kind are")
        );
        let cluster = of_cluster(Some(&annotations(&[(ENDPOINT, "gone")])));
        assert_eq!(
            cluster.ignored,
            ["simulation.capi-rs.io/endpoint: gone is ignored: the value must be unreachable"]
        );
        assert!(!cluster.faults.endpoint_unreachable);
    }

    #[test]
    fn the_condition_tells_what_is_set_and_what_it_still_does() {
        let switches = machine(&[(VM, NEVER_BOOTS), (ETCD, DOWN)]);
        let worker = Stage {
            booted: true,
            ..Stage::default()
        };
        let draft = machine_condition(&switches, worker, false).unwrap();
        assert_eq!((draft.status.as_str(), &*draft.reason), ("True", SWITCHES_SET));
        assert_eq!(
            draft.message,
            "* simulation.capi-rs.io/vm: never-boots is set: no effect, the machine runs already\n\
             * simulation.capi-rs.io/etcd: down is set: no effect, the machine does not belong to the control plane"
        );
        assert_eq!(machine_condition(&Switches::default(), worker, false), None);
        let cluster = of_cluster(Some(&annotations(&[(ENDPOINT, UNREACHABLE)])));
        assert_eq!(
            cluster_condition(&cluster).unwrap().message,
            "simulation.capi-rs.io/endpoint: unreachable is set: the cluster's endpoint refuses connections"
        );
    }

    #[test]
    fn lost_data_wins_over_a_stopped_process() {
        let fault = |etcd| MachineFaults {
            etcd: Some(etcd),
            ..MachineFaults::default()
        };
        let (down, lost) = (fault(EtcdFault::Down), fault(EtcdFault::Lost));
        assert_eq!(down.with(&lost), lost);
        assert_eq!(lost.with(&down), lost);
        assert_eq!(down.with(&MachineFaults::default()), down);
    }
}
