//! The KubeadmConfig controller: observe, plan, act.

mod act;
mod certificates;
mod conditions;
mod contents;
mod discovery;
mod error;
mod lock;
mod observe;
mod plan;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use capi_api::bootstrap::v1beta2::KubeadmConfig;
use capi_api::core::v1beta2::{Bootstrap, Cluster, Machine, MachinePool};
use capi_api::labels;
use capi_api::secrets::Purpose;
use capi_runtime::{Context, Controller, Failure, Key, Manager, Next, Reconciler, Stores};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::{Resource, ResourceExt};
use parking_lot::Mutex;

use discovery::TokenLife;
pub use error::Error;
use lock::DroppedLocks;
use world::{Stage, World};

/// How often facts may change under a single reconcile (certificates are made, then read).
const ROUNDS: usize = 4;

/// What an operator can choose.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long a bootstrap token works; while its machine has not joined, it is prolonged.
    pub token_ttl: SignedDuration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            token_ttl: SignedDuration::from_mins(15),
        }
    }
}

/// Adds the controller to a manager, with the index it needs.
pub fn register(manager: &mut Manager, options: Options) {
    manager.index::<KubeadmConfig>(BY_AWAITED_SECRET, awaited_secrets);
    // There can be many Secrets, and of most only the name is of interest.
    manager.trim::<PartialObjectMeta<Secret>>(|secret| {
        secret.metadata.annotations = None;
        secret.metadata.labels = None;
    });
    manager.register(controller(options));
}

fn controller(options: Options) -> Controller<KubeadmConfig> {
    let reconciler = KubeadmConfigReconciler {
        life: TokenLife {
            ttl: options.token_ttl,
        },
        token_checks: Mutex::default(),
        locks: DroppedLocks::default(),
    };
    Controller::<KubeadmConfig>::new("kubeadmconfig", reconciler)
        .watches_changes::<Machine>(by_machine)
        .watches::<MachinePool>(|pool, _| configured_by(pool.namespace(), &pool.spec.template.spec.bootstrap))
        .watches_changes::<Cluster>(|old, new, stores| match (old, new) {
            (Some(old), Some(new)) if seen_of_cluster(old) == seen_of_cluster(new) => Vec::new(),
            _ => new
                .or(old)
                .map(|cluster| configs_of(&Key::of(cluster), stores))
                .unwrap_or_default(),
        })
        .watches::<Secret>(|secret, stores| {
            let key = Key::of(secret);
            let known = stores.get::<KubeadmConfig>().get(&key).is_some();
            known.then_some(key).into_iter().collect()
        })
        .watches::<PartialObjectMeta<Secret>>(|secret, stores| {
            let configs = stores
                .get::<KubeadmConfig>()
                .by_index(BY_AWAITED_SECRET, &Key::of(secret).to_string());
            configs.iter().map(|config| Key::of(&**config)).collect()
        })
        // The control plane object, whose version templates may use.
        .watches_referenced(|object, stores| match object.labels().get(labels::CLUSTER_NAME) {
            Some(cluster) => waiting_of(&Key::of(object).sibling(cluster.clone()), stores),
            None => Vec::new(),
        })
        // They wait for answers of workload clusters, and a slow one must not hold up others.
        .concurrency(100)
        .connects_workloads()
}

/// The index of configurations without data by the Secrets that they may wait for.
const BY_AWAITED_SECRET: &str = "awaited-secret";

fn awaited_secrets(config: &KubeadmConfig) -> Vec<String> {
    if has_data(config) {
        return Vec::new();
    }
    let cluster = config.labels().get(labels::CLUSTER_NAME);
    let certificates = cluster.iter().flat_map(|cluster| {
        [
            Purpose::ClusterCa,
            Purpose::EtcdCa,
            Purpose::FrontProxyCa,
            Purpose::ServiceAccount,
            Purpose::ApiServerEtcdClient,
        ]
        .map(|purpose| purpose.name_for(cluster))
    });
    let key = Key::of(config);
    let names = contents::referenced_secrets(&config.spec)
        .into_iter()
        .chain(certificates);
    names.map(|name| key.sibling(name).to_string()).collect()
}

fn has_data(config: &KubeadmConfig) -> bool {
    config
        .status
        .as_ref()
        .is_some_and(|status| status.data_secret_name.is_some())
}

/// The configuration of a machine that changed; and if a control-plane machine goes, all that may wait for its lock.
fn by_machine(old: Option<&Machine>, new: Option<&Machine>, stores: &Stores) -> Vec<Key> {
    if let (Some(old), Some(new)) = (old, new)
        && seen_of_machine(old) == seen_of_machine(new)
    {
        return Vec::new();
    }
    let Some(machine) = new.or(old) else {
        return Vec::new();
    };
    let mut keys = configured_by(machine.namespace(), &machine.spec.bootstrap);
    let lives = |machine: &Machine| machine.metadata.deletion_timestamp.is_none();
    let goes = old.is_some_and(lives) && !new.is_some_and(lives);
    if goes && machine.labels().contains_key(labels::CONTROL_PLANE) {
        let cluster = Key::of(machine).sibling(machine.spec.cluster_name.clone());
        keys.extend(waiting_of(&cluster, stores));
    }
    keys
}

/// What of a Machine matters here; most changes of a Machine do not.
fn seen_of_machine(machine: &Machine) -> impl PartialEq + '_ {
    let joined = machine
        .status
        .as_ref()
        .is_some_and(|status| status.node_ref.is_some());
    (
        &machine.spec,
        &machine.metadata.labels,
        machine.metadata.deletion_timestamp.is_some(),
        joined,
    )
}

/// What of a Cluster matters here.
fn seen_of_cluster(cluster: &Cluster) -> impl PartialEq + '_ {
    (
        &cluster.spec,
        world::infrastructure_provisioned(cluster),
        world::control_plane_initialized(cluster),
    )
}

/// The configuration that a machine refers to.
fn configured_by(namespace: Option<String>, bootstrap: &Bootstrap) -> Vec<Key> {
    let reference = bootstrap.config_ref.iter();
    reference
        .filter(|r| r.kind == KubeadmConfig::kind(&()) && r.api_group == KubeadmConfig::group(&()))
        .map(|r| Key::new(namespace.clone().unwrap_or_default(), r.name.clone()))
        .collect()
}

fn configs_of(cluster: &Key, stores: &Stores) -> Vec<Key> {
    let configs = stores.get::<KubeadmConfig>().by_cluster(cluster);
    configs.iter().map(|config| Key::of(&**config)).collect()
}

/// The configurations of a cluster that have no data yet.
fn waiting_of(cluster: &Key, stores: &Stores) -> Vec<Key> {
    let configs = stores.get::<KubeadmConfig>().by_cluster(cluster);
    let waiting = configs.iter().filter(|config| !has_data(config));
    waiting.map(|config| Key::of(&**config)).collect()
}

struct KubeadmConfigReconciler {
    life: TokenLife,
    /// When the token of a configuration is next to be looked after. Forgetting costs one read, so it is not kept.
    token_checks: Mutex<BTreeMap<Key, Timestamp>>,
    locks: DroppedLocks,
}

#[async_trait]
impl Reconciler for KubeadmConfigReconciler {
    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Next, Failure> {
        let Some(config) = ctx.get::<KubeadmConfig>(key) else {
            self.token_checks.lock().remove(key);
            return Ok(Next::Done);
        };
        if config.metadata.deletion_timestamp.is_some() {
            self.token_checks.lock().remove(key);
            return Ok(Next::Done);
        }
        let world = observe::world(ctx, config);
        let cluster_paused = world
            .cluster
            .as_ref()
            .is_some_and(|cluster| cluster.spec.paused == Some(true));
        let (paused, _) =
            capi_runtime::meta::paused_condition("KubeadmConfig", cluster_paused, &world.config.metadata);
        let was_paused = capi_api::conditions::is_true(&*world.config, capi_api::conditions::types::PAUSED);
        if (paused || was_paused) && ctx.stop_if_paused(cluster_paused, &*world.config).await? {
            return Ok(Next::Done);
        }
        self.mend_owner(ctx, &world).await?;
        for _ in 0..ROUNDS {
            let now = ctx.now();
            let stage = world.stage();
            let due = self.token_checks.lock().get(key).copied();
            let token_due = due.is_none_or(|due| due <= now);
            if matches!(stage, Stage::KeepToken | Stage::RotateToken) && !token_due {
                // Looked after lately; nothing else is left to do.
                let left = due.unwrap_or(now).duration_since(now).unsigned_abs();
                return Ok(Next::After(left));
            }
            let facts = observe::facts(ctx, &world, token_due).await?;
            let reachable = !matches!(facts.workload, Some(Err(_)));
            let plan = plan::plan(&world, &facts, self.life, now);
            act::act(ctx, &world, &plan, &self.locks).await?;
            if plan.again {
                continue;
            }
            self.remember_check(key, &stage, reachable, now);
            return Ok(plan
                .next
                .map_or(Next::Done, |after| Next::After(jittered(ctx, after))));
        }
        Err(Failure::transient(format!(
            "KubeadmConfig {key}: the certificates just made cannot be read back"
        )))
    }
}

impl KubeadmConfigReconciler {
    /// An owner reference that was lost comes back, or the Secret would stay behind when all else is deleted.
    async fn mend_owner(&self, ctx: &Context, world: &World) -> Result<(), Error> {
        let Some(name) = world
            .config
            .status
            .as_ref()
            .and_then(|status| status.data_secret_name.clone())
        else {
            return Ok(());
        };
        let secret = ctx.get::<Secret>(&Key::of(&*world.config).sibling(name));
        if let Some((before, after)) = secret.and_then(|secret| plan::mended_owner(&world.config, &secret)) {
            ctx.patch_locked(&before, &after).await?;
        }
        Ok(())
    }

    fn remember_check(&self, key: &Key, stage: &Stage, reachable: bool, now: Timestamp) {
        let mut checks = self.token_checks.lock();
        match stage {
            Stage::Join | Stage::KeepToken | Stage::RotateToken if reachable => {
                let interval = SignedDuration::try_from(self.life.interval()).unwrap_or(SignedDuration::ZERO);
                checks.insert(
                    key.clone(),
                    now.saturating_add(interval).unwrap_or(Timestamp::MAX),
                );
            }
            _ => drop(checks.remove(key)),
        }
    }
}

/// Timers that were set together do not fire together.
fn jittered(ctx: &Context, after: Duration) -> Duration {
    seams::jittered(ctx.randomness(), after, 0.1)
}
