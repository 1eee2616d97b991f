//! The pods of one round of a drain, and what is said about them. Pure.

use std::collections::BTreeMap;

use capi_api::conditions::{name_list, whole_seconds};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt, core::Status};

use super::rules::{Circumstances, Verdict, verdict};

/// How many names a line lists.
const NAMES: usize = 3;
/// How many kinds of refusals are told apart.
const CAUSES: usize = 5;
/// How disruption budgets begin their refusal.
const BUDGET: &str = "annot evict pod as it would violate the pod's disruption budget.";

/// One round of a drain: only the pods of the lowest order that is left are touched.
#[derive(Clone, Debug, Default)]
pub struct Evictions {
    /// To be evicted now.
    pub now: Vec<Pod>,
    /// The grace period to give them instead of their own, in seconds.
    pub grace: Option<u32>,
    /// Being deleted already.
    leaving: Vec<String>,
    /// To be evicted in a later round.
    later: Vec<String>,
    /// Their end is waited for.
    completing: Vec<String>,
    /// Their end will be waited for in a later round.
    completing_later: Vec<String>,
}

/// How the evictions of a round went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Pods that are being deleted now.
    pub leaving: Vec<String>,
    /// Pods that could not be evicted, by cause.
    pub refused: BTreeMap<String, Vec<String>>,
}

impl Outcome {
    /// A pod that could not be evicted.
    pub fn refuse(&mut self, cause: String, pod: &Pod) {
        self.refused.entry(cause).or_default().push(name_of(pod));
    }
}

/// A pod as `namespace/name`.
pub fn name_of(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}

/// Why an API server refused an eviction, as its status says.
pub fn cause(status: &Status) -> String {
    let causes = || status.details.iter().flat_map(|d| &d.causes);
    if status.code == 403 && causes().any(|c| c.reason == "NamespaceTerminating") {
        return "Cannot evict pod from terminating namespace: unable to create eviction (kube-controller-manager should set deletionTimestamp)".to_owned();
    }
    let details: Vec<&str> = causes().map(|c| c.message.as_str()).collect();
    match status.code {
        429 if !details.is_empty() => format!("{} {}", status.message, details.join(",")),
        _ => status.message.clone(),
    }
}

impl Evictions {
    /// Sorts the pods of a Node into the round that is due.
    pub fn of(seen: &Circumstances<'_>) -> Self {
        let judged: Vec<(&Pod, Verdict)> = seen
            .view
            .pods
            .iter()
            .map(|pod| (pod, verdict(pod, seen)))
            .collect();
        let order = |verdict: &Verdict| match verdict {
            Verdict::Skip => None,
            Verdict::Evict(order) | Verdict::WaitCompleted(order) => Some(*order),
        };
        let lowest = judged.iter().filter_map(|(_, v)| order(v)).min();
        let mut round = Self {
            grace: seen.unreachable.then_some(1),
            ..Self::default()
        };
        for (pod, verdict) in judged {
            let due = order(&verdict) == lowest;
            match verdict {
                Verdict::Skip => {}
                Verdict::Evict(_) if pod.metadata.deletion_timestamp.is_some() => {
                    round.leaving.push(name_of(pod));
                }
                Verdict::Evict(_) if due => round.now.push(pod.clone()),
                Verdict::Evict(_) => round.later.push(name_of(pod)),
                Verdict::WaitCompleted(_) if due => round.completing.push(name_of(pod)),
                Verdict::WaitCompleted(_) => round.completing_later.push(name_of(pod)),
            }
        }
        round
    }

    /// Whether nobody has to leave any more.
    pub fn is_empty(&self) -> bool {
        let rest = [
            &self.leaving,
            &self.later,
            &self.completing,
            &self.completing_later,
        ];
        self.now.is_empty() && rest.iter().all(|names| names.is_empty())
    }

    /// What comes of it if nobody objects.
    pub fn undisturbed(&self) -> Outcome {
        Outcome {
            leaving: self.now.iter().map(name_of).collect(),
            refused: BTreeMap::new(),
        }
    }

    /// The message of the `Deleting` condition after the round.
    pub fn message(&self, started: Timestamp, outcome: &Outcome) -> String {
        let mut lines = vec![head(started)];
        let line = |names: &[String], text: &str| {
            (!names.is_empty()).then(|| format!("* {} {}: {text}", noun(names), name_list(names, NAMES)))
        };
        let leaving: Vec<String> = self.leaving.iter().chain(&outcome.leaving).cloned().collect();
        lines.extend(line(
            &leaving,
            "deletionTimestamp set, but still not removed from the Node",
        ));
        for (cause, pods) in outcome.refused.iter().take(CAUSES) {
            lines.extend(line(pods, &in_words(cause)));
        }
        let others: usize = outcome.refused.values().skip(CAUSES).map(Vec::len).sum();
        match others {
            0 => {}
            1 => lines.push("* 1 Pod with other issues".to_owned()),
            n => lines.push(format!("* {n} Pods with other issues")),
        }
        lines.extend(line(&self.completing, "waiting for completion"));
        if !self.later.is_empty() {
            lines.push(format!(
                "After above Pods have been removed from the Node, the following Pods will be evicted: {}",
                name_list(&self.later, NAMES)
            ));
        }
        if !self.completing_later.is_empty() {
            lines.push(format!(
                "After above Pods have been removed from the Node, waiting for the following Pods to complete without eviction: {}",
                name_list(&self.completing_later, NAMES)
            ));
        }
        lines.join("\n")
    }
}

/// The first line of messages about a drain.
pub fn head(started: Timestamp) -> String {
    format!("Drain not completed yet (started at {}):", whole_seconds(started))
}

fn noun(names: &[String]) -> &'static str {
    if names.len() == 1 { "Pod" } else { "Pods" }
}

/// A refusal as the message has it: summaries look for these words.
fn in_words(cause: &str) -> String {
    match cause.get(1..).filter(|rest| rest.starts_with(BUDGET)) {
        Some(rest) => format!("c{rest}"),
        None => format!("failed to evict Pod, {cause}"),
    }
}

#[cfg(test)]
mod tests {
    use capi_api::core::v1beta2::MachineDrainRule;
    use serde_json::json;

    use super::{super::rules::View, *};

    fn pod(name: &str, app: &str, deleted: bool) -> Pod {
        let mut value = json!({"metadata": {"name": name, "namespace": "ns", "labels": {"app": app}}});
        if deleted {
            value["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        serde_json::from_value(value).unwrap()
    }

    fn rule(app: &str, order: i32) -> MachineDrainRule {
        serde_json::from_value(
            json!({"metadata": {"name": app}, "spec": {"drain": {"behavior": "Drain", "order": order},
            "pods": [{"selector": {"matchLabels": {"app": app}}}]}}),
        )
        .unwrap()
    }

    fn at() -> Timestamp {
        "2026-01-01T00:00:10.5Z".parse().unwrap()
    }

    #[test]
    fn lower_orders_leave_before_higher_ones_are_touched() {
        let rules = [rule("first", -5), rule("last", 5)];
        let rules: Vec<&MachineDrainRule> = rules.iter().collect();
        let round = |pods: Vec<Pod>| {
            let view = View {
                pods,
                ..View::default()
            };
            let seen = Circumstances {
                view: &view,
                rules: &rules,
                unreachable: false,
                now: at(),
            };
            Evictions::of(&seen)
        };
        let names = |round: &Evictions| -> Vec<String> { round.now.iter().map(name_of).collect() };
        let all = [
            pod("a", "first", false),
            pod("b", "web", false),
            pod("c", "last", false),
        ];
        let first = round(all.to_vec());
        assert_eq!(names(&first), ["ns/a"]);
        assert_eq!(
            first.message(at(), &first.undisturbed()),
            "Drain not completed yet (started at 2026-01-01T00:00:10Z):\n\
             * Pod ns/a: deletionTimestamp set, but still not removed from the Node\n\
             After above Pods have been removed from the Node, the following Pods will be evicted: ns/b, ns/c"
        );
        let leaving = round(vec![pod("a", "first", true), all[1].clone(), all[2].clone()]);
        assert_eq!(names(&leaving), Vec::<String>::new(), "the first still leaves");
        assert_eq!(names(&round(all[1..].to_vec())), ["ns/b"]);
        assert!(round(vec![]).is_empty());
    }

    #[test]
    fn refusals_are_quoted_and_counted() {
        let round = Evictions {
            now: vec![pod("a", "", false), pod("b", "", false)],
            completing: vec!["ns/job".into()],
            ..Evictions::default()
        };
        let status: Status = serde_json::from_value(json!({"status": "Failure", "code": 429, "reason": "TooManyRequests",
            "message": "Cannot evict pod as it would violate the pod's disruption budget.",
            "details": {"causes": [{"reason": "DisruptionBudget", "message": "The disruption budget web needs 2 healthy pods and has 2 currently"}]}}))
        .unwrap();
        let mut outcome = Outcome::default();
        outcome.refuse(cause(&status), &round.now[0]);
        outcome.refuse("no way".to_owned(), &round.now[1]);
        assert_eq!(
            round.message(at(), &outcome),
            "Drain not completed yet (started at 2026-01-01T00:00:10Z):\n\
             * Pod ns/a: cannot evict pod as it would violate the pod's disruption budget. The disruption budget web needs 2 healthy pods and has 2 currently\n\
             * Pod ns/b: failed to evict Pod, no way\n\
             * Pod ns/job: waiting for completion"
        );
        for number in 0..9 {
            outcome.refuse(format!("x{number}"), &round.now[0]);
        }
        assert!(
            round
                .message(at(), &outcome)
                .contains("* 6 Pods with other issues")
        );
    }
}
