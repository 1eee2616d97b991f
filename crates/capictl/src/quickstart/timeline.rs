//! When each object reached each phase, as seen from outside, and the path that took the time. Pure: fed with
//! inventories and the time since the start.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use crate::inventory::{Inventory, Object};

/// An object: kind, namespace and name.
type Subject = (String, String, String);

fn subject(kind: &str, namespace: &str, name: &str) -> Subject {
    (kind.to_owned(), namespace.to_owned(), name.to_owned())
}

/// The first moment at which something was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// Time since the start.
    pub at: Duration,
    /// `Kind/name`.
    pub subject: String,
    /// What was reached, in words.
    pub phase: &'static str,
}

/// One step of the critical path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What happened.
    pub what: String,
    /// How long it took.
    pub took: Duration,
    /// How much of that the provider simulates on purpose (the boot of a machine, say).
    pub simulated: Duration,
}

/// The moments seen so far.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    moments: BTreeMap<(Subject, &'static str), Duration>,
}

/// What to look for on an object: phase, and the pointer that is true or set, or the condition that is True.
enum Sign {
    Set(&'static str),
    True(&'static str),
    /// Available, with every machine that is wanted.
    Complete,
}

const PHASES: &[(&str, &str, Sign)] = &[
    (
        "Cluster",
        "infrastructure provisioned",
        Sign::Set("/status/initialization/infrastructureProvisioned"),
    ),
    (
        "Cluster",
        "control plane initialized",
        Sign::Set("/status/initialization/controlPlaneInitialized"),
    ),
    ("Cluster", "available", Sign::Complete),
    ("Machine", "created", Sign::Set("/metadata")),
    (
        "Machine",
        "bootstrap data",
        Sign::Set("/status/initialization/bootstrapDataSecretCreated"),
    ),
    (
        "Machine",
        "infrastructure",
        Sign::Set("/status/initialization/infrastructureProvisioned"),
    ),
    ("Machine", "node", Sign::Set("/status/nodeRef")),
    ("Machine", "ready", Sign::True("Ready")),
    ("DevMachine", "VM", Sign::True("VMProvisioned")),
    ("DevMachine", "node", Sign::True("NodeProvisioned")),
    ("DevMachine", "etcd", Sign::True("EtcdProvisioned")),
    ("DevMachine", "API server", Sign::True("APIServerProvisioned")),
];

impl Timeline {
    /// Notes what is true now and was not before; returns it in the order of the table above.
    pub fn note(&mut self, inventory: &Inventory, at: Duration) -> Vec<Moment> {
        let mut new = Vec::new();
        for (kind, phase, sign) in PHASES {
            for object in inventory.of_kind(kind) {
                let subject = subject(kind, &object.namespace(), &object.name());
                if !is_there(object, sign) || self.moments.contains_key(&(subject.clone(), *phase)) {
                    continue;
                }
                new.push(Moment {
                    at,
                    subject: format!("{kind}/{}", object.name()),
                    phase,
                });
                self.moments.insert((subject, phase), at);
            }
        }
        new
    }

    /// When an object reached a phase.
    pub fn at(&self, kind: &str, namespace: &str, name: &str, phase: &'static str) -> Option<Duration> {
        self.moments
            .get(&(subject(kind, namespace, name), phase))
            .copied()
    }

    /// The phases that an object has reached, earliest first.
    pub fn of(&self, kind: &str, namespace: &str, name: &str) -> Vec<(&'static str, Duration)> {
        let subject = subject(kind, namespace, name);
        let mut phases: Vec<_> = self
            .moments
            .iter()
            .filter(|((s, _), _)| *s == subject)
            .map(|((_, phase), at)| (*phase, *at))
            .collect();
        phases.sort_by_key(|(_, at)| *at);
        phases
    }

    /// The chain of steps that ended with the cluster being Available, for a cluster that came up.
    pub fn critical_path(&self, inventory: &Inventory, cluster: &Object) -> Vec<Step> {
        let mut path = Path::default();
        let (namespace, name) = (&cluster.namespace(), &cluster.name());
        let reached = |phase| self.at("Cluster", namespace, name, phase);
        let machine_at = |m: &Object, phase| self.at("Machine", namespace, &m.name(), phase);
        path.step(
            "cluster infrastructure",
            reached("infrastructure provisioned"),
            Duration::ZERO,
        );
        let members = |control_plane: bool| {
            let mut machines: Vec<_> = inventory
                .of_kind("Machine")
                .filter(|m| m.text("/spec/clusterName") == Some(name))
                .filter(|m| m.label("cluster.x-k8s.io/control-plane").is_some() == control_plane)
                .filter_map(|m| Some((machine_at(m, "created")?, machine_at(m, "ready"), m)))
                .collect();
            machines.sort_by_key(|(created, ..)| *created);
            machines
        };
        let control_plane = members(true);
        if let Some((.., first)) = control_plane.first() {
            self.machine(inventory, first, &mut path);
        }
        path.step(
            "control plane initialized",
            reached("control plane initialized"),
            Duration::ZERO,
        );
        // Control-plane machines come one after the other, workers beside each other: who was last is on the path.
        let worker = members(false).into_iter().max_by_key(|(_, ready, _)| *ready);
        let joined = control_plane.iter().map(|(_, ready, _)| *ready).max().flatten();
        match worker {
            Some((_, ready, worker)) if ready >= joined => self.machine(inventory, worker, &mut path),
            _ => {
                for (.., machine) in control_plane.iter().skip(1) {
                    self.machine(inventory, machine, &mut path);
                }
            }
        }
        path.step(
            &format!("Cluster {name} available"),
            reached("available"),
            Duration::ZERO,
        );
        path.steps
    }

    fn machine(&self, inventory: &Inventory, machine: &Object, path: &mut Path) {
        let (namespace, name) = (machine.namespace(), machine.name());
        let reached = |phase| self.at("Machine", &namespace, &name, phase);
        path.step(
            &format!("{name}: bootstrap data"),
            reached("bootstrap data"),
            Duration::ZERO,
        );
        let infrastructure = machine.text("/spec/infrastructureRef/name").unwrap_or(&name);
        if let Some(simulated) = inventory
            .of_kind("DevMachine")
            .find(|d| d.name() == infrastructure)
        {
            let at = |phase| self.at("DevMachine", &namespace, infrastructure, phase);
            let delay = |part: &str| startup_delay(simulated, part);
            path.step(&format!("{name}: VM boots"), at("VM"), delay("vm"));
            path.step(&format!("{name}: node starts"), at("node"), delay("node"));
            let components = at("etcd").max(at("API server"));
            path.step(
                &format!("{name}: etcd and API server start"),
                components,
                delay("etcd").max(delay("apiServer")),
            );
        } else {
            path.step(
                &format!("{name}: infrastructure"),
                reached("infrastructure"),
                Duration::ZERO,
            );
        }
        path.step(&format!("{name}: ready"), reached("ready"), Duration::ZERO);
    }
}

/// Steps in the order of time; a step that ended before the one before it was not critical and is left out.
#[derive(Default)]
struct Path {
    steps: Vec<Step>,
    reached: Duration,
}

impl Path {
    fn step(&mut self, what: &str, at: Option<Duration>, simulated: Duration) {
        let Some(took) = at.and_then(|at| at.checked_sub(self.reached)) else {
            return;
        };
        if took.is_zero() {
            // Reported together with the step before it, which therefore took the delays of both.
            if let Some(last) = self.steps.last_mut() {
                last.simulated += simulated;
            }
            return;
        }
        self.reached += took;
        self.steps.push(Step {
            what: what.to_owned(),
            took,
            simulated,
        });
    }
}

fn is_there(object: &Object, sign: &Sign) -> bool {
    match sign {
        Sign::Set("/metadata") => true,
        Sign::Set(pointer) => object
            .at(pointer)
            .is_some_and(|v| *v != Value::Bool(false) && !v.is_null()),
        Sign::True(type_) => object.condition(type_).is_some_and(|c| c.status == "True"),
        Sign::Complete => object.is_complete_cluster(),
    }
}

/// `spec.backend.inMemory.<part>.provisioning.startupDuration`, a Go duration.
fn startup_delay(object: &Object, part: &str) -> Duration {
    let text = object.text(&format!(
        "/spec/backend/inMemory/{part}/provisioning/startupDuration"
    ));
    text.and_then(|t| t.parse::<jiff::SignedDuration>().ok())
        .and_then(|d| Duration::try_from(d).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::inventory::samples::{condition, object};

    fn seconds(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn a_phase_is_noted_once_at_its_first_sight() {
        let cluster = object(
            "cluster.x-k8s.io",
            "Cluster",
            "c",
            json!({"status": {"conditions": [condition("Available", "True", "", "")]}}),
        );
        let inventory = Inventory::new(vec![cluster]);
        let mut timeline = Timeline::default();
        assert_eq!(timeline.note(&inventory, seconds(3)).len(), 1);
        assert_eq!(timeline.note(&inventory, seconds(4)), []);
        assert_eq!(
            timeline.at("Cluster", "default", "c", "available"),
            Some(seconds(3))
        );
    }

    #[test]
    fn control_plane_machines_are_followed_one_after_the_other_when_the_last_of_them_was_last() {
        let machine = |name: &str, control_plane: bool, ready: bool| {
            let status = if ready { "True" } else { "False" };
            let mut machine = object(
                "cluster.x-k8s.io",
                "Machine",
                name,
                json!({
                    "spec": {"clusterName": "c", "infrastructureRef": {"name": name}},
                    "status": {"conditions": [condition("Ready", status, "", "")]}}),
            );
            let label = ("cluster.x-k8s.io/control-plane".to_owned(), String::new());
            machine.object.metadata.labels = control_plane.then(|| [label].into());
            machine
        };
        let cluster = object("cluster.x-k8s.io", "Cluster", "c", json!({}));
        let mut timeline = Timeline::default();
        let (a, b, w) = (
            |ready| machine("a", true, ready),
            |ready| machine("b", true, ready),
            |ready| machine("w", false, ready),
        );
        timeline.note(&Inventory::new(vec![a(false)]), seconds(1));
        timeline.note(&Inventory::new(vec![a(true), w(false)]), seconds(5));
        timeline.note(&Inventory::new(vec![a(true), b(false), w(true)]), seconds(8));
        let end = Inventory::new(vec![a(true), b(true), w(true), cluster.clone()]);
        timeline.note(&end, seconds(9));
        let steps = timeline.critical_path(&end, &cluster);
        let path: Vec<_> = steps.iter().map(|s| (s.what.as_str(), s.took)).collect();
        assert_eq!(path, [("a: ready", seconds(5)), ("b: ready", seconds(4))]);
    }

    #[test]
    fn the_critical_path_adds_up_and_knows_what_was_simulated() {
        let dev = json!({
            "spec": {"backend": {"inMemory": {
                "vm": {"provisioning": {"startupDuration": "8s"}},
                "node": {"provisioning": {"startupDuration": "2s"}}}}},
            "status": {"conditions": [
                condition("VMProvisioned", "True", "", ""), condition("NodeProvisioned", "True", "", "")]}});
        let dev = object("infrastructure.cluster.x-k8s.io", "DevMachine", "w", dev);
        let machine = |ready: &str| {
            object(
                "cluster.x-k8s.io",
                "Machine",
                "w",
                json!({
                "spec": {"clusterName": "c", "infrastructureRef": {"name": "w"}},
                "status": {"initialization": {"bootstrapDataSecretCreated": true}, "conditions": [condition("Ready", ready, "", "")]}}),
            )
        };
        let mut timeline = Timeline::default();
        timeline.note(&Inventory::new(vec![machine("False")]), seconds(1));
        timeline.note(&Inventory::new(vec![dev.clone()]), seconds(12));
        let cluster = object("cluster.x-k8s.io", "Cluster", "c", json!({}));
        let end = Inventory::new(vec![dev, machine("True"), cluster.clone()]);
        timeline.note(&end, seconds(13));
        let steps = timeline.critical_path(&end, &cluster);
        assert_eq!(steps.iter().map(|s| s.took).sum::<Duration>(), seconds(13));
        assert_eq!(steps.iter().map(|s| s.simulated).sum::<Duration>(), seconds(10));
        assert_eq!(steps[1].what, "w: VM boots");
    }
}
