//! A system in simulated time: one thread, paused clock, no sockets, one seed. The same seed gives the same requests.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::Duration,
};

use capi_runtime::Manager;
use capictl::{
    inventory::{Inventory, Kinds},
    providers,
};
use cluster_pki::PooledKeys;
use embedded_apiserver::{Audit, AuditEvent, MemoryStorage, Server};
use infra_inmemory::{World, backend::WorldSnapshot};
use jiff::Timestamp;
use kube::Client;
use parking_lot::Mutex;
use seams::{SeededRandomness, SharedClock, SharedRandomness, SimulatedClock};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

/// What the controllers call themselves; requests of others do not count as theirs.
pub const MANAGER: &str = "capi-manager";

/// The namespace of the scenarios.
pub const NAMESPACE: &str = "default";

/// What a system leaves behind when it is stopped: all that a restarted process would find.
pub struct Saved {
    storage: MemoryStorage,
    world: WorldSnapshot,
    at: Timestamp,
    /// The write after which it was saved.
    pub after: String,
}

/// The requests of the controllers; on demand it also saves the system after each of their writes.
pub struct Journal {
    started: Instant,
    lines: Mutex<Vec<String>>,
    writes: Mutex<u64>,
    save: bool,
    saved: Mutex<Vec<Saved>>,
    system: OnceLock<(Server, World, SharedClock)>,
}

impl Journal {
    fn new(save: bool) -> Self {
        Self {
            started: Instant::now(),
            lines: Mutex::default(),
            writes: Mutex::default(),
            save,
            saved: Mutex::default(),
            system: OnceLock::new(),
        }
    }

    /// All requests so far, one line each.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().clone()
    }

    /// How many writes of the controllers succeeded so far.
    pub fn writes(&self) -> u64 {
        *self.writes.lock()
    }

    /// The write attempts, failed ones included, among the lines from `start` on.
    pub fn write_attempts_since(&self, start: usize) -> Vec<String> {
        self.lines
            .lock()
            .iter()
            .skip(start)
            .filter(|line| line.contains(" WRITE "))
            .cloned()
            .collect()
    }

    /// The system as it was after each write so far.
    pub fn take_saved(&self) -> Vec<Saved> {
        std::mem::take(&mut self.saved.lock())
    }
}

impl Audit for Journal {
    fn observe(&self, event: &AuditEvent) {
        if !event.user_agent.starts_with(MANAGER) {
            return;
        }
        let line = format!(
            "{:>10.3} {} {} {} {} {}",
            self.started.elapsed().as_secs_f64(),
            if event.is_write() { "WRITE" } else { "read" },
            event.verb,
            event.path,
            event.code,
            &event.body_hash()[..16],
        );
        if event.is_write() && event.code < 300 {
            *self.writes.lock() += 1;
            if let Some((server, world, clock)) = self.system.get().filter(|_| self.save) {
                let (storage, world) = (server.fork(), world.snapshot());
                self.saved.lock().push(Saved {
                    storage,
                    world,
                    at: clock.now(),
                    after: line.clone(),
                });
            }
        }
        self.lines.lock().push(line);
    }
}

/// A running system.
pub struct Simulation {
    /// The management API server.
    pub server: Server,
    /// The simulated machines and workload clusters.
    pub world: World,
    /// What the controllers asked for.
    pub journal: Arc<Journal>,
    kinds: Kinds,
    clock: SharedClock,
    shutdown: CancellationToken,
    manager: JoinHandle<Result<(), capi_runtime::Error>>,
}

/// How a system is started.
#[derive(Default)]
pub struct Start {
    /// Where all chance comes from.
    pub seed: u64,
    /// Saves the system after each write of the controllers.
    pub save: bool,
    /// Starts from what another system left behind instead of from nothing.
    pub from: Option<Saved>,
}

/// Runs a story on a system of its own, in simulated time. When the story ends, everything that still runs is dropped,
/// as when a process is killed.
pub fn run<T, F>(start: Start, story: impl FnOnce(Simulation) -> F) -> T
where
    F: Future<Output = T>,
{
    // RUST_LOG shows what the controllers log; captured per test.
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_test_writer()
        .without_time()
        .try_init();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime
        .expect("tokio starts")
        .block_on(async { story(Simulation::start(start).await).await })
}

impl Simulation {
    async fn start(start: Start) -> Self {
        let epoch = start
            .from
            .as_ref()
            .map_or_else(|| "2026-01-01T00:00:00Z".parse().expect("a time"), |s| s.at);
        let clock: SharedClock = Arc::new(SimulatedClock::starting_at(epoch));
        let randomness: SharedRandomness = Arc::new(SeededRandomness::new(start.seed));
        let keys = Arc::new(PooledKeys::new());
        let world = World::simulated(clock.clone(), randomness.clone(), keys.clone());
        let restarted = start.from.is_some();
        let (storage, world_before) = match start.from {
            Some(saved) => (saved.storage, Some(saved.world)),
            None => (MemoryStorage::new(), None),
        };
        if let Some(snapshot) = world_before {
            world.restore(snapshot).await.expect("a snapshot can be restored");
        }
        let journal = Arc::new(Journal::new(start.save));
        let admission = providers::InProcessAdmission::default();
        let server = Server::builder()
            .clock(clock.clone())
            .randomness(randomness.clone())
            .storage(storage)
            .audit(journal.clone())
            .admission(Arc::new(admission.clone()))
            .build()
            .await
            .expect("the API server starts");
        if !restarted {
            providers::install_definitions(&server.client())
                .await
                .expect("the definitions are accepted");
        }
        let kinds = Kinds::discover(&server.client())
            .await
            .expect("the definitions can be listed");
        let _ = journal.system.set((server.clone(), world.clone(), clock.clone()));

        let mut manager = Manager::builder(server.client_as(MANAGER))
            .name(MANAGER)
            .clock(clock.clone())
            .randomness(randomness)
            .keys(keys)
            .workload_connector(world.connector().expect("a simulated world has a connector"))
            .build()
            .expect("the manager can be built");
        providers::register(&mut manager, world.clone());
        admission.set(manager.admission());
        let shutdown = CancellationToken::new();
        let manager = tokio::spawn(manager.run(shutdown.clone()));
        Self {
            server,
            world,
            journal,
            kinds,
            clock,
            shutdown,
            manager,
        }
    }

    /// A client that does not count as the controllers.
    pub fn client(&self) -> Client {
        self.server.client_as("user")
    }

    /// The simulated time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// All Cluster API objects.
    pub async fn inventory(&self) -> Inventory {
        self.kinds
            .read(&self.client(), NAMESPACE)
            .await
            .expect("objects can be read")
    }

    /// Waits until `reached`, looking every 100 ms of simulated time; returns how long it took, or why it did not come.
    pub async fn until(
        &self,
        what: &str,
        limit: Duration,
        reached: impl Fn(&Inventory) -> bool,
    ) -> Result<Duration, String> {
        let start = Instant::now();
        let mut inventory = self.inventory().await;
        let mut seen = self.server.revision();
        loop {
            if self.server.revision() != seen {
                seen = self.server.revision();
                inventory = self.inventory().await;
            }
            if reached(&inventory) {
                return Ok(start.elapsed());
            }
            if self.manager.is_finished() {
                return Err(format!("{what}: the manager has ended"));
            }
            if start.elapsed() >= limit {
                let mut text = format!("{what}: not within {limit:?}\n");
                for cluster in inventory.of_kind("Cluster") {
                    let description =
                        capictl::describe::of_inventory(&inventory, &cluster.name(), true, self.now());
                    text += &description.map(|d| d.text).unwrap_or_default();
                }
                let writes = self.journal.write_attempts_since(0);
                text += &format!(
                    "The last of {} writes:\n{}\n",
                    writes.len(),
                    writes[writes.len().saturating_sub(15)..].join("\n")
                );
                return Err(text);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends the controllers as a process does that is asked to, and waits for them.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.manager
            .await
            .expect("no controller panics")
            .expect("the manager ends well");
    }
}
