//! A system in simulated time: one thread, paused clock, no sockets, one seed. The same seed gives the same requests.

use std::{future::Future, sync::Arc, time::Duration};

use capi_runtime::{Manager, transport::RetryLimits};
use capictl::{
    inventory::{Inventory, Object},
    providers,
};
use cluster_pki::PooledKeys;
use embedded_apiserver::{Admission, MemoryStorage, Server};
use infra_inmemory::World;
use jiff::Timestamp;
use kube::{Client, core::DynamicObject};
use seams::{SeededRandomness, SharedClock, SharedRandomness, SimulatedClock};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

pub use crate::journal::{MANAGER, Save, Saved};
use crate::{
    invariants,
    journal::Journal,
    scenario,
    transport::{self, Rates, Ways, Weather},
};

/// The namespace of the scenarios.
pub const NAMESPACE: &str = "default";

/// A running system.
pub struct Simulation {
    /// The management API server.
    pub server: Server,
    /// The simulated machines and workload clusters.
    pub world: World,
    /// What the controllers asked for.
    pub journal: Arc<Journal>,
    /// What happens to their requests.
    pub weather: Arc<Weather>,
    /// How often [`Simulation::until`] looks.
    pub step: Duration,
    clock: SharedClock,
    shutdown: CancellationToken,
    manager: JoinHandle<Result<(), capi_runtime::Error>>,
}

/// How a system is started.
#[derive(Default)]
pub struct Start {
    /// Where all chance comes from.
    pub seed: u64,
    /// Saves the system after writes of the controllers.
    pub save: Save,
    /// Starts from what another system left behind instead of from nothing.
    pub from: Option<Saved>,
    /// Disturbs the way between controllers and API servers.
    pub rates: Option<Rates>,
    /// Further admission on the management API, as webhooks of others would be.
    pub admission: Option<Arc<dyn Admission>>,
    /// A manifest that is stored before anybody judges: what an older release with fewer rules has left.
    pub stored: Option<String>,
}

impl Start {
    /// An undisturbed system from nothing.
    pub fn seed(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }
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

/// Runs a story that must succeed, from one seed.
pub fn passes<F>(start: Start, story: impl FnOnce(Simulation) -> F)
where
    F: Future<Output = Result<(), String>>,
{
    run(start, story).unwrap_or_else(|error| panic!("{error}"));
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
        let storage = match start.from {
            Some(saved) => {
                world
                    .restore(saved.world)
                    .await
                    .expect("a snapshot can be restored");
                saved.storage
            }
            None => MemoryStorage::new(),
        };
        let journal = Journal::new();
        journal.save(start.save);
        let weather = Weather::new(start.seed);
        let admission = providers::InProcessAdmission::default();
        let conversion = providers::InProcessConversion::default();
        let mut server = Server::builder()
            .clock(clock.clone())
            .randomness(randomness.clone())
            .storage(storage)
            .audit(journal.clone())
            .admission(Arc::new(admission.clone()))
            .converter(Arc::new(conversion.clone()));
        if let Some(further) = start.admission {
            server = server.admission(further);
        }
        let server = server.build().await.expect("the API server starts");
        if !restarted {
            providers::install_definitions(&server.client_as("installer"))
                .await
                .expect("the definitions are valid");
        }
        if let Some(manifest) = start.stored {
            scenario::apply_with(&server.client_as("user"), &manifest)
                .await
                .expect("the schema admits what was stored");
        }
        journal.attach(server.clone(), world.clone(), clock.clone());
        weather.set(start.rates);

        let client = transport::through(&weather, server.client_as(MANAGER), RetryLimits::default());
        let connector = Ways {
            connector: world.connector().expect("a simulated world has a connector"),
            weather: weather.clone(),
            journal: journal.clone(),
        };
        let mut manager = Manager::builder(client)
            .name(MANAGER)
            .clock(clock.clone())
            .randomness(randomness)
            .keys(keys)
            .workload_connector(Arc::new(connector))
            .build()
            .expect("the manager can be built");
        providers::register(&mut manager, world.clone());
        admission.set(manager.admission());
        conversion.set(manager.conversions());
        let shutdown = CancellationToken::new();
        let manager = tokio::spawn(manager.run(shutdown.clone()));
        Self {
            server,
            world,
            journal,
            weather,
            step: Duration::from_millis(100),
            clock,
            shutdown,
            manager,
        }
    }

    /// Looks less often, for long stories of many machines.
    pub fn patient(self) -> Self {
        Self {
            step: Duration::from_secs(1),
            ..self
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

    /// All objects of the scenarios' namespace, templates, Secrets and ConfigMaps included, read where they are stored.
    pub fn inventory(&self) -> Inventory {
        let storage = self.server.fork();
        let tables = storage.snapshot().tables.iter();
        let tables = tables.filter(|(table, _)| {
            table.group.ends_with("cluster.x-k8s.io")
                || matches!(&*table.resource, "secrets" | "configmaps") && table.group.is_empty()
        });
        let rows = tables.flat_map(|(table, rows)| rows.values().map(move |row| (table, row)));
        let objects = rows.filter(|(_, row)| &*row.namespace == NAMESPACE);
        let objects = objects.map(|(table, row)| {
            let object: DynamicObject = serde_json::from_slice(&row.json).expect("objects are stored whole");
            Object {
                group: table.group.to_string(),
                kind: object.types.as_ref().map(|t| t.kind.clone()).unwrap_or_default(),
                object,
            }
        });
        Inventory::new(objects.collect())
    }

    /// What `capictl describe` finds out about a cluster.
    pub async fn described(&self, cluster: &str) -> capictl::describe::Description {
        let client = self.client();
        capictl::describe::cluster(&client, NAMESPACE, cluster, true, self.now())
            .await
            .expect("a cluster can be described")
    }

    /// Waits until `reached`, looking every [`Simulation::step`]; returns how long it took, or why it did not come.
    pub async fn until(
        &self,
        what: &str,
        limit: Duration,
        reached: impl Fn(&Inventory) -> bool,
    ) -> Result<Duration, String> {
        let start = Instant::now();
        let mut seen = 0;
        let mut inventory = Inventory::default();
        loop {
            if self.server.revision() != seen {
                seen = self.server.revision();
                inventory = self.inventory();
                invariants::every_object_says_why(self, &inventory);
            }
            if reached(&inventory) {
                return Ok(start.elapsed());
            }
            if self.manager.is_finished() {
                return Err(format!("{what}: the manager has ended"));
            }
            if start.elapsed() >= limit {
                return Err(self.failure(what, limit, &inventory));
            }
            tokio::time::sleep(self.step).await;
        }
    }

    fn failure(&self, what: &str, limit: Duration, inventory: &Inventory) -> String {
        let mut text = format!("{what}: not within {limit:?}\n");
        for cluster in inventory.of_kind("Cluster") {
            let description = capictl::describe::of_inventory(inventory, &cluster.name(), true, self.now());
            text += &description.map(|d| d.text).unwrap_or_default();
        }
        let writes = self.journal.write_attempts_since(0);
        text += &format!(
            "The last of {} writes:\n{}\n",
            writes.len(),
            writes[writes.len().saturating_sub(15)..].join("\n")
        );
        text
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
