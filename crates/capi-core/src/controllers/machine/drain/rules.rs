//! Which pods a drain evicts, waits for or leaves alone. Pure.
//!
//! The checks run in a fixed order and the first that takes a pod out of the drain decides: pods nobody can wait for,
//! DaemonSet pods, static pods, the pod's own label, MachineDrainRules by name.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use capi_api::{
    core::v1beta2::{Cluster, Machine, MachineDrainRule, MachineDrainRuleDrainBehavior},
    labels,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::Pod,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference},
};
use kube::ResourceExt;

use crate::{
    plan::elapsed,
    selector::{self, is_valid},
};

/// Labels by key.
pub type Labels = BTreeMap<String, String>;

/// What a drain reads in the workload cluster.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The pods on the Node, sorted by namespace and name.
    pub pods: Vec<Pod>,
    /// The labels of namespaces.
    pub namespaces: BTreeMap<String, Labels>,
    /// Namespace and name of the DaemonSets that exist, of those the pods belong to.
    pub daemon_sets: BTreeSet<(String, String)>,
}

/// What a drain does with a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing; it is not waited for either.
    Skip,
    /// It is evicted when its turn comes: low orders go first.
    Evict(i32),
    /// Its end is waited for, in the order of the others.
    WaitCompleted(i32),
}

/// The circumstances of a drain.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// What was read.
    pub view: &'a View,
    /// The rules for this Machine, by name.
    pub rules: &'a [&'a MachineDrainRule],
    /// The kubelet no longer answers: pods that are being deleted never go.
    pub unreachable: bool,
    /// The time.
    pub now: Timestamp,
}

/// The rules that apply to a Machine, by name; or which of all rules has a selector that selects nothing sensible.
pub fn rules_for<'a>(
    all: &'a [Arc<MachineDrainRule>],
    machine: &Machine,
    cluster: &Cluster,
) -> Result<Vec<&'a MachineDrainRule>, String> {
    for rule in all {
        let machines = rule
            .spec
            .machines
            .iter()
            .flat_map(|m| [&m.selector, &m.cluster_selector]);
        let pods = rule
            .spec
            .pods
            .iter()
            .flat_map(|p| [&p.selector, &p.namespace_selector]);
        if !machines.chain(pods).flatten().all(is_valid) {
            return Err(format!(
                "MachineDrainRule {} has an invalid selector; correct or delete it",
                rule.name_any()
            ));
        }
    }
    let applies = |rule: &MachineDrainRule| {
        let machines = &rule.spec.machines;
        machines.is_empty()
            || machines.iter().any(|m| {
                selects(m.selector.as_ref(), machine.metadata.labels.as_ref())
                    && selects(m.cluster_selector.as_ref(), cluster.metadata.labels.as_ref())
            })
    };
    let mut rules: Vec<&MachineDrainRule> = all.iter().map(|r| &**r).filter(|r| applies(r)).collect();
    rules.sort_by_key(|rule| rule.name_any());
    Ok(rules)
}

/// No selector and an empty one select everything.
fn selects(selector: Option<&LabelSelector>, labels: Option<&Labels>) -> bool {
    selector.is_none_or(|s| selector::matches(s, labels))
}

/// Whether one of the rules asks for labels of namespaces.
pub fn ask_for_namespaces(rules: &[&MachineDrainRule]) -> bool {
    rules
        .iter()
        .any(|r| r.spec.pods.iter().any(|p| p.namespace_selector.is_some()))
}

fn controller_of(pod: &Pod) -> Option<&OwnerReference> {
    let owners = pod.metadata.owner_references.iter().flatten();
    owners.into_iter().find(|o| o.controller == Some(true))
}

/// The DaemonSet that controls a pod: namespace and name.
pub fn daemon_set_of(pod: &Pod) -> Option<(String, String)> {
    let owner = controller_of(pod).filter(|o| o.kind == "DaemonSet")?;
    Some((pod.namespace().unwrap_or_default(), owner.name.clone()))
}

/// Whether a pod has run to its end.
fn is_finished(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// What the drain does with a pod.
pub fn verdict(pod: &Pod, seen: &Circumstances<'_>) -> Verdict {
    // API servers date deletions ahead by the grace period, so that a passed date means it should be gone.
    let overdue = |t: &Timestamp| elapsed(*t, seen.now) > SignedDuration::from_secs(1);
    let deleted = pod.metadata.deletion_timestamp.as_ref().map(|t| t.0);
    if seen.unreachable && deleted.as_ref().is_some_and(overdue) {
        return Verdict::Skip;
    }
    // An orphan is not made anew by its DaemonSet, so it can go.
    let has_daemon_set = daemon_set_of(pod).is_some_and(|set| seen.view.daemon_sets.contains(&set));
    if has_daemon_set && !is_finished(pod) {
        return Verdict::Skip;
    }
    if pod.annotations().contains_key("kubernetes.io/config.mirror") {
        return Verdict::Skip;
    }
    match pod
        .labels()
        .get(labels::DRAIN)
        .map(|v| v.to_lowercase())
        .as_deref()
    {
        Some("skip") => return Verdict::Skip,
        Some("wait-completed" | "waitcompleted") => return Verdict::WaitCompleted(0),
        _ => {}
    }
    let namespace = seen.view.namespaces.get(&pod.namespace().unwrap_or_default());
    let applies = |rule: &&&MachineDrainRule| {
        let pods = &rule.spec.pods;
        pods.is_empty()
            || pods.iter().any(|p| {
                selects(p.selector.as_ref(), pod.metadata.labels.as_ref())
                    && selects(p.namespace_selector.as_ref(), namespace)
            })
    };
    match seen.rules.iter().find(applies).map(|rule| &rule.spec.drain) {
        None => Verdict::Evict(0),
        Some(drain) => match drain.behavior {
            MachineDrainRuleDrainBehavior::Drain => Verdict::Evict(drain.order.unwrap_or(0)),
            MachineDrainRuleDrainBehavior::Skip => Verdict::Skip,
            MachineDrainRuleDrainBehavior::WaitCompleted => Verdict::WaitCompleted(0),
        },
    }
}

/// The claims of the pods that the drain leaves alone, as `namespace/name`: their volumes stay attached.
pub fn claims_left_alone(seen: &Circumstances<'_>) -> BTreeSet<String> {
    let skipped = seen
        .view
        .pods
        .iter()
        .filter(|p| verdict(p, seen) == Verdict::Skip);
    skipped
        .flat_map(|pod| {
            let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
            let claims = volumes.filter_map(|v| v.persistent_volume_claim.as_ref());
            let namespace = pod.namespace().unwrap_or_default();
            claims.map(move |c| format!("{namespace}/{}", c.claim_name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(metadata: Value, status: Value) -> Pod {
        let mut value = json!({"metadata": {"name": "p", "namespace": "ns"}, "status": status});
        for (key, part) in metadata.as_object().unwrap() {
            value["metadata"][key] = part.clone();
        }
        serde_json::from_value(value).unwrap()
    }

    fn rule(name: &str, spec: Value) -> MachineDrainRule {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "ns"}, "spec": spec})).unwrap()
    }

    fn now() -> Timestamp {
        "2026-01-01T00:01:00Z".parse().unwrap()
    }

    fn seen<'a>(view: &'a View, rules: &'a [&'a MachineDrainRule], unreachable: bool) -> Circumstances<'a> {
        Circumstances {
            view,
            rules,
            unreachable,
            now: now(),
        }
    }

    #[test]
    fn daemons_static_pods_and_labelled_pods_are_told_apart() {
        let daemon = |name: &str| json!({"ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": name, "uid": "u", "controller": true}]});
        let view = View {
            daemon_sets: [("ns".to_owned(), "there".to_owned())].into(),
            ..View::default()
        };
        let deleted = json!({"deletionTimestamp": "2026-01-01T00:00:30Z"});
        let cases = [
            (pod(json!({}), json!({})), Verdict::Evict(0)),
            (pod(daemon("there"), json!({"phase": "Running"})), Verdict::Skip),
            (
                pod(daemon("there"), json!({"phase": "Succeeded"})),
                Verdict::Evict(0),
            ),
            (
                pod(daemon("gone"), json!({"phase": "Running"})),
                Verdict::Evict(0),
            ),
            (
                pod(
                    json!({"annotations": {"kubernetes.io/config.mirror": ""}}),
                    json!({}),
                ),
                Verdict::Skip,
            ),
            (
                pod(json!({"labels": {"cluster.x-k8s.io/drain": "Skip"}}), json!({})),
                Verdict::Skip,
            ),
            (
                pod(
                    json!({"labels": {"cluster.x-k8s.io/drain": "wait-completed"}}),
                    json!({}),
                ),
                Verdict::WaitCompleted(0),
            ),
            (
                pod(json!({"labels": {"cluster.x-k8s.io/drain": "what"}}), json!({})),
                Verdict::Evict(0),
            ),
            (pod(deleted.clone(), json!({})), Verdict::Evict(0)),
        ];
        for (pod, expected) in &cases {
            assert_eq!(verdict(pod, &seen(&view, &[], false)), *expected, "{pod:?}");
        }
        let lost = pod(deleted, json!({}));
        assert_eq!(verdict(&lost, &seen(&view, &[], true)), Verdict::Skip);
        let leaving = pod(json!({"deletionTimestamp": "2026-01-01T00:01:20Z"}), json!({}));
        assert_eq!(
            verdict(&leaving, &seen(&view, &[], true)),
            Verdict::Evict(0),
            "its grace period runs"
        );
    }

    #[test]
    fn the_first_rule_by_name_that_selects_machine_and_pod_decides() {
        let machine: Machine = serde_json::from_value(json!({"metadata": {"name": "m", "labels": {"pool": "a"}},
            "spec": {"clusterName": "c", "bootstrap": {}, "infrastructureRef": {"apiGroup": "g", "kind": "K", "name": "n"}}}))
        .unwrap();
        let cluster: Cluster =
            serde_json::from_value(json!({"metadata": {"name": "c", "labels": {"env": "prod"}}, "spec": {}}))
                .unwrap();
        let all: Vec<Arc<MachineDrainRule>> = [
            rule("z-all", json!({"drain": {"behavior": "Drain", "order": 9}})),
            rule(
                "b-other-pool",
                json!({"drain": {"behavior": "Skip"}, "machines": [{"selector": {"matchLabels": {"pool": "b"}}}]}),
            ),
            rule(
                "c-portworx",
                json!({"drain": {"behavior": "Drain", "order": 5},
                "machines": [{"selector": {"matchLabels": {"pool": "b"}}}, {"clusterSelector": {"matchLabels": {"env": "prod"}}}],
                "pods": [{"selector": {"matchLabels": {"app": "store"}}, "namespaceSelector": {"matchLabels": {"team": "x"}}}]}),
            ),
            rule(
                "d-batch",
                json!({"drain": {"behavior": "WaitCompleted"},
                "pods": [{"selector": {"matchExpressions": [{"key": "job", "operator": "Exists"}]}}]}),
            ),
        ]
        .map(Arc::new)
        .into();
        let rules = rules_for(&all, &machine, &cluster).unwrap();
        let names: Vec<String> = rules.iter().map(|r| r.name_any()).collect();
        assert_eq!(names, ["c-portworx", "d-batch", "z-all"]);
        assert!(ask_for_namespaces(&rules));
        let view = View {
            namespaces: [("ns".to_owned(), [("team".to_owned(), "x".to_owned())].into())].into(),
            ..View::default()
        };
        for (labels, expected) in [
            (json!({"app": "store"}), Verdict::Evict(5)),
            (json!({"job": "j"}), Verdict::WaitCompleted(0)),
            (json!({"app": "web"}), Verdict::Evict(9)),
            (
                json!({"app": "store", "cluster.x-k8s.io/drain": "skip"}),
                Verdict::Skip,
            ),
        ] {
            let pod = pod(json!({"labels": labels}), json!({}));
            assert_eq!(verdict(&pod, &seen(&view, &rules, false)), expected, "{labels}");
        }
    }

    #[test]
    fn a_rule_with_a_broken_selector_is_named() {
        let broken = rule(
            "broken",
            json!({"drain": {"behavior": "Skip"}, "pods": [{"selector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}}]}),
        );
        let machine = Machine::default();
        let error = rules_for(&[Arc::new(broken)], &machine, &Cluster::default()).unwrap_err();
        assert!(error.contains("MachineDrainRule broken"), "{error}");
    }

    #[test]
    fn volumes_of_pods_that_stay_are_not_waited_for() {
        let mut view = View::default();
        for (name, label) in [("a", "skip"), ("b", "other")] {
            let mut pod = pod(json!({"labels": {"cluster.x-k8s.io/drain": label}}), json!({}));
            pod.metadata.name = Some(name.into());
            pod.spec = serde_json::from_value(json!({"containers": [],
                "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": format!("claim-{name}")}}, {"name": "e", "emptyDir": {}}]}))
            .unwrap();
            view.pods.push(pod);
        }
        let claims = claims_left_alone(&seen(&view, &[], false));
        assert_eq!(claims.into_iter().collect::<Vec<_>>(), ["ns/claim-a"]);
    }
}
