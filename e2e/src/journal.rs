//! What the controllers asked for: every request to the management API and to the workload clusters, in order.
//!
//! On demand the journal also copies the whole system after writes, so that it can be started again from there. Two
//! writes of the same site (same verb, kind, subresource and fields) leave a system in a state of the same sort.

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
    time::Duration,
};

use embedded_apiserver::{Audit, AuditEvent, MemoryStorage, Server};
use infra_inmemory::{World, backend::WorldSnapshot};
use jiff::Timestamp;
use parking_lot::Mutex;
use seams::SharedClock;
use serde_json::Value;
use tokio::time::Instant;

use crate::{ledger::Ledger, observer::Observer};

/// What the controllers call themselves; requests of others do not count as theirs.
pub const MANAGER: &str = "capi-manager";

/// What a system leaves behind when it is stopped: all that a restarted process would find.
pub struct Saved {
    pub(crate) storage: MemoryStorage,
    pub(crate) world: WorldSnapshot,
    pub(crate) at: Timestamp,
    /// The write after which it was saved.
    pub after: String,
    /// The site of that write.
    pub site: String,
}

impl Saved {
    /// The same, found so much later.
    pub fn later(mut self, duration: Duration) -> Self {
        self.at += duration;
        self
    }
}

/// After which writes the system is saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Save {
    /// None.
    #[default]
    Nothing,
    /// The first of each site.
    Sites,
    /// All.
    Everything,
}

#[derive(Default)]
struct Saving {
    mode: Save,
    sites: BTreeSet<String>,
    saved: Vec<Saved>,
    etcd: String,
}

/// The requests of the controllers.
pub struct Journal {
    started: Instant,
    lines: Mutex<Vec<String>>,
    saving: Mutex<Saving>,
    system: OnceLock<(Server, World, SharedClock)>,
    /// Judges every state that a write leaves behind.
    pub observer: Observer,
    /// The writes to the management API, to be counted.
    pub ledger: Ledger,
}

impl Journal {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            lines: Mutex::default(),
            saving: Mutex::default(),
            system: OnceLock::new(),
            observer: Observer::default(),
            ledger: Ledger::default(),
        })
    }

    /// From now on the system can be saved and observed.
    pub(crate) fn attach(&self, server: Server, world: World, clock: SharedClock) {
        let _ = self.system.set((server, world, clock));
    }

    /// All requests so far, one line each.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().clone()
    }

    /// How many requests there were so far.
    pub fn len(&self) -> usize {
        self.lines.lock().len()
    }

    /// Whether there was no request yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The write attempts, failed ones included, among the lines from `start` on.
    pub fn write_attempts_since(&self, start: usize) -> Vec<String> {
        let lines = self.lines.lock();
        let writes = lines.iter().skip(start).filter(|line| line.contains(" WRITE "));
        writes.cloned().collect()
    }

    /// Saves the system after writes from now on.
    pub fn save(&self, mode: Save) {
        self.saving.lock().mode = mode;
    }

    /// The system as it was after the writes that were to be saved.
    pub fn take_saved(&self) -> Vec<Saved> {
        std::mem::take(&mut self.saving.lock().saved)
    }

    /// Takes note of an answered request.
    fn note(&self, request: &Noted<'_>) {
        let line = format!(
            "{:>10.3} {} {}{} {} {} {}",
            self.started.elapsed().as_secs_f64(),
            if request.write { "WRITE" } else { "read" },
            request.place,
            request.verb,
            request.path,
            request.code,
            request.hash,
        );
        self.lines.lock().push(line.clone());
        if request.write && matches!(request.code, 400 | 403 | 422) {
            self.observer
                .complain(format!("what a controller wrote was refused: {line}"));
        }
        let Some((server, world, clock)) = self.system.get() else {
            return;
        };
        if request.write && request.code < 300 {
            self.observer.look(server, world, &line);
            self.consider(server, world, clock, line.clone(), (request.site)());
        }
        // Calls to etcd go through a tunnel that nobody reads along; what they changed shows by itself.
        let etcd = members(world);
        let changed = {
            let mut saving = self.saving.lock();
            !etcd.is_empty() && std::mem::replace(&mut saving.etcd, etcd.clone()) != etcd
        };
        if changed {
            let what = format!("etcd: {etcd}, seen at {line}");
            let names = etcd.split(", ").filter(|name| !name.is_empty()).count();
            self.consider(server, world, clock, what, format!("etcd of {names}"));
        }
    }

    fn consider(&self, server: &Server, world: &World, clock: &SharedClock, after: String, site: String) {
        let mut saving = self.saving.lock();
        let wanted = match saving.mode {
            Save::Nothing => false,
            Save::Sites => saving.sites.insert(site.clone()),
            Save::Everything => true,
        };
        if wanted {
            saving.saved.push(Saved {
                storage: server.fork(),
                world: world.snapshot(),
                at: clock.now(),
                after,
                site,
            });
        }
    }

    /// Takes note of an answered request to a workload cluster.
    pub(crate) fn note_workload(&self, method: &http::Method, uri: &http::Uri, body: &[u8], code: u16) {
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        let verb = method.as_str().to_lowercase();
        self.note(&Noted {
            place: "workload ",
            verb: &verb,
            path,
            write: method != http::Method::GET && !path.contains("/portforward"),
            code,
            hash: &hash(body),
            site: &|| {
                let path = uri.path().split('/').take(5).collect::<Vec<_>>().join("/");
                format!("workload {verb} {path} {}", fields(body))
            },
        });
    }
}

/// The etcd members of all workload clusters and who leads them.
fn members(world: &World) -> String {
    let clusters = world.clusters();
    let etcds = clusters.iter().filter_map(|cluster| world.etcd(cluster));
    etcds
        .map(|etcd| {
            let etcd = etcd.lock();
            let names = etcd.leader().map(|leader| {
                let members = etcd.list(leader, false).map(|(_, members)| members);
                let names = members.unwrap_or_default().into_iter().map(|m| m.name);
                format!("{} led by {leader}", names.collect::<Vec<_>>().join(", "))
            });
            names.unwrap_or_default()
        })
        .collect::<Vec<_>>()
        .join("; ")
}

struct Noted<'a> {
    place: &'a str,
    verb: &'a str,
    path: &'a str,
    write: bool,
    code: u16,
    hash: &'a str,
    site: &'a dyn Fn() -> String,
}

impl Audit for Journal {
    fn observe(&self, event: &AuditEvent) {
        if !event.user_agent.starts_with(MANAGER) {
            // The garbage collector and users change things too.
            if let Some((server, world, _)) = self.system.get().filter(|_| event.is_write()) {
                self.observer
                    .look(server, world, &format!("{} {}", event.verb, event.path));
            }
            return;
        }
        self.ledger.note(self.started.elapsed(), event);
        self.note(&Noted {
            place: "",
            verb: &event.verb,
            path: &event.path,
            write: event.is_write(),
            code: event.code,
            hash: &event.body_hash()[..16],
            site: &|| {
                let apply = if event.content_type.contains("apply-patch") {
                    "apply "
                } else {
                    ""
                };
                format!(
                    "{apply}{} {}/{}/{} {}",
                    event.verb,
                    event.group,
                    event.resource,
                    event.subresource,
                    match event.verb.as_str() {
                        "create" => String::new(),
                        _ => fields(&event.body),
                    }
                )
            },
        });
    }
}

fn hash(body: &[u8]) -> String {
    // Enough to tell two bodies apart in a log.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in body {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}")
}

/// What a body writes, roughly: fields of metadata with their keys, others by the first two levels; what a status counts
/// and sums up is one.
fn fields(body: &[u8]) -> String {
    let Ok(Value::Object(top)) = serde_json::from_slice(body) else {
        return String::new();
    };
    let mut found = BTreeSet::new();
    for (section, value) in &top {
        for (field, value) in value.as_object().into_iter().flatten() {
            match (section.as_str(), field.as_str()) {
                (
                    "metadata",
                    "resourceVersion" | "uid" | "name" | "namespace" | "generation" | "managedFields",
                ) => {}
                ("metadata", "labels" | "annotations") => {
                    let keys = value.as_object().into_iter().flatten();
                    found.extend(keys.map(|(key, _)| format!("{field}.{key}")));
                }
                ("status", "deprecated" | "observedGeneration" | "lastUpdated") => {}
                ("status", "conditions" | "phase" | "versions" | "selector" | "controlPlane" | "workers") => {
                    found.insert("status".to_owned());
                }
                ("status", name) if name.ends_with("eplicas") => {
                    found.insert("status".to_owned());
                }
                _ => {
                    found.insert(format!("{section}.{field}"));
                }
            }
        }
    }
    found.into_iter().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_site_names_what_is_written_and_not_its_values() {
        for (body, expected) in [
            (
                json!({"metadata": {"resourceVersion": "7", "finalizers": ["a"], "annotations": {"k": "v"}}}),
                "annotations.k metadata.finalizers",
            ),
            (
                json!({"status": {"replicas": 1, "readyReplicas": 2, "conditions": [], "observedGeneration": 3}}),
                "status",
            ),
            (json!({"spec": {"replicas": 3}}), "spec.replicas"),
            (json!([1]), ""),
        ] {
            assert_eq!(fields(body.to_string().as_bytes()), expected);
        }
    }
}
