//! Gathers the [`World`] of one control plane: from stores, and live only where a stale answer would hurt.

use std::{collections::BTreeMap, sync::Arc};

use capi_api::{
    bootstrap::v1beta2::KubeadmConfig,
    controlplane::v1beta2::KubeadmControlPlane,
    core::v1beta2::{Cluster, Machine, MachineDeployment, MachinePool},
    secrets::Purpose,
};
use capi_runtime::{Context, Key, WorkloadClient};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt;
use parking_lot::Mutex;

use super::{
    addons, certificates,
    world::{MachineView, Template, Workload, WorkloadView, World, is_control_plane_machine},
};
use crate::{
    Error, Settings,
    workload::{
        self,
        etcd::{EtcdCluster, EtcdView, ThroughApiServer},
        tls::{EtcdCredentials, ServerTls},
    },
};

/// How long a good answer of etcd is used again while nothing has changed.
const ETCD_ANSWER_LIFE: SignedDuration = SignedDuration::from_secs(20);

/// What is kept between reconciles; losing it costs only questions.
#[derive(Default)]
pub struct Memory {
    credentials: EtcdCredentials,
    etcd: Mutex<BTreeMap<Key, Answer>>,
    /// What the add-ons were last made to fit.
    addons: Mutex<BTreeMap<Key, String>>,
    /// Until when control planes rest.
    resting: Mutex<BTreeMap<Key, Timestamp>>,
}

/// What etcd answered, and how it was asked.
#[derive(Clone)]
pub struct Answer {
    at: Timestamp,
    fingerprint: Vec<String>,
    /// The Cluster.
    pub cluster: Key,
    /// The Nodes whose members were asked.
    pub asked: Vec<String>,
    /// The client certificate and the authority.
    pub tls: ServerTls,
    /// What they said.
    pub view: EtcdView,
}

impl Memory {
    /// Forgets a control plane that is gone.
    pub fn forget(&self, key: &Key) {
        self.forget_etcd(key);
        self.addons.lock().remove(key);
        self.resting.lock().remove(key);
    }

    /// Whether the add-ons were made to fit this.
    pub fn addons_fit(&self, key: &Key, fingerprint: &str) -> bool {
        self.addons
            .lock()
            .get(key)
            .is_some_and(|known| known == fingerprint)
    }

    /// The control plane rests until then.
    pub fn rest_until(&self, key: &Key, until: Timestamp) {
        self.resting.lock().insert(key.clone(), until);
    }

    /// Until when the control plane rests, which is over if nobody says so again.
    pub fn take_rest(&self, key: &Key) -> Option<Timestamp> {
        self.resting.lock().remove(key)
    }

    /// What etcd answered last.
    pub fn answer(&self, key: &Key) -> Option<Answer> {
        self.etcd.lock().get(key).cloned()
    }

    /// The add-ons fit.
    pub fn note_addons(&self, key: &Key, fingerprint: String) {
        self.addons.lock().insert(key.clone(), fingerprint);
    }

    /// What etcd answered is not true any more.
    pub fn forget_etcd(&self, key: &Key) {
        self.etcd.lock().remove(key);
    }
}

/// Everything about a control plane.
pub async fn observe(
    ctx: &Context,
    settings: &Settings,
    memory: &Memory,
    control_plane: &KubeadmControlPlane,
    cluster: Arc<Cluster>,
) -> Result<World, Error> {
    let key = Key::of(control_plane);
    let cluster_key = Key::of(&*cluster);
    let uid = control_plane.uid().unwrap_or_default();
    let machines = ctx.store::<Machine>();
    let mut views = Vec::new();
    for machine in machines.by_owner(&uid) {
        if capi_runtime::meta::is_controlled_by(&machine.metadata, &uid) {
            views.push(view(ctx, machine).await?);
        }
    }
    let orphans = machines
        .by_cluster(&cluster_key)
        .into_iter()
        .filter(|machine| {
            is_control_plane_machine(machine, &cluster_key.name)
                && capi_runtime::meta::controller_of(&machine.metadata).is_none()
                && machine.metadata.deletion_timestamp.is_none()
        })
        .collect();
    let foreign = machines
        .by_cluster(&cluster_key)
        .into_iter()
        .filter(|machine| {
            is_control_plane_machine(machine, &cluster_key.name)
                && capi_runtime::meta::controller_of(&machine.metadata)
                    .is_some_and(|controller| controller.uid != uid)
        })
        .map(|machine| machine.name_any())
        .collect();
    let deleting = control_plane.metadata.deletion_timestamp.is_some();
    let unfinished = ctx
        .store::<KubeadmConfig>()
        .by_owner(&uid)
        .into_iter()
        .filter(|config| {
            config.metadata.deletion_timestamp.is_none()
                && machines.get(&key.sibling(config.name_any())).is_none()
        })
        .collect();
    let template_ref = &control_plane.spec.machine_template.spec.infrastructure_ref;
    let template = match ctx.external(&key.namespace, template_ref).await {
        Ok(found) => match found.object {
            Some(object) => Template::Found {
                object,
                resource: found.resource,
            },
            None => Template::Missing,
        },
        Err(error) => Template::Unresolved(error.to_string()),
    };
    let mut world = World {
        control_plane: control_plane.clone(),
        secrets: BTreeMap::new(),
        machines: views,
        orphans,
        foreign,
        template,
        unfinished,
        workers: if deleting {
            workers(ctx, &cluster_key)
        } else {
            Vec::new()
        },
        workload: Workload::NotAsked,
        cluster,
    };
    world.secrets = secrets(ctx, &world, &cluster_key).await?;
    world.workload = observe_workload(ctx, settings, memory, &world, &cluster_key).await;
    Ok(world)
}

async fn view(ctx: &Context, machine: Arc<Machine>) -> Result<MachineView, Error> {
    let key = Key::of(&*machine);
    let config = match &machine.spec.bootstrap.config_ref {
        Some(reference) if reference.kind == "KubeadmConfig" => ctx
            .store::<KubeadmConfig>()
            .get(&key.sibling(reference.name.clone())),
        _ => None,
    };
    // A kind whose definition is gone must not keep the control plane from being looked after.
    let infrastructure = match ctx
        .external(&key.namespace, &machine.spec.infrastructure_ref)
        .await
    {
        Ok(found) => found.object,
        Err(capi_runtime::Error::CrdMissing { .. } | capi_runtime::Error::ContractMissing { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(MachineView {
        machine,
        config,
        infrastructure,
    })
}

/// The Secrets of the cluster. Those that the store does not know are read live: users' own certificates carry no label,
/// and generating a second authority would be worse than a question.
async fn secrets(
    ctx: &Context,
    world: &World,
    cluster: &Key,
) -> Result<BTreeMap<Purpose, Arc<Secret>>, Error> {
    let store = ctx.store::<Secret>();
    let mut found = BTreeMap::new();
    for purpose in world
        .needed_certificates()
        .iter()
        .copied()
        .chain([Purpose::Kubeconfig])
    {
        let key = cluster.sibling(purpose.name_for(&cluster.name));
        let secret = match store.get(&key) {
            Some(secret) => Some(secret),
            None if world.deleting() || !world.infrastructure_provisioned() => None,
            None => ctx.get_live::<Secret>(&key).await?.map(Arc::new),
        };
        found.extend(secret.map(|secret| (purpose, secret)));
    }
    Ok(found)
}

fn workers(ctx: &Context, cluster: &Key) -> Vec<(&'static str, Vec<String>)> {
    let machines: Vec<String> = ctx
        .store::<Machine>()
        .by_cluster(cluster)
        .iter()
        .filter(|machine| !is_control_plane_machine(machine, &cluster.name))
        .map(|machine| machine.name_any())
        .collect();
    let deployments: Vec<String> = ctx
        .store::<MachineDeployment>()
        .by_cluster(cluster)
        .iter()
        .map(|found| found.name_any())
        .collect();
    let pools: Vec<String> = ctx
        .store::<MachinePool>()
        .by_cluster(cluster)
        .iter()
        .map(|found| found.name_any())
        .collect();
    [
        ("MachineDeployments", deployments),
        ("MachinePools", pools),
        ("worker Machines", machines),
    ]
    .into_iter()
    .filter(|(_, names)| !names.is_empty())
    .collect()
}

async fn observe_workload(
    ctx: &Context,
    settings: &Settings,
    memory: &Memory,
    world: &World,
    cluster: &Key,
) -> Workload {
    // Afterwards a missing kubeconfig is a lost connection, and no sign that it is too early.
    let too_early = !world.initialized() && !world.secrets.contains_key(&Purpose::Kubeconfig);
    if world.deleting() || too_early {
        return Workload::NotAsked;
    }
    let client = match ctx.workload(cluster) {
        Ok(client) => client,
        Err(disconnected) => {
            return Workload::Disconnected {
                since: disconnected.since,
                last_success: ctx.workload_probe(cluster).and_then(|probe| probe.last_success),
                reason: disconnected.reason,
            };
        }
    };
    let initialized = world.initialized() || workload::is_initialized(&client).await;
    let mut view = WorkloadView {
        initialized,
        ..WorkloadView::default()
    };
    if !initialized {
        return Workload::Connected(Box::new(view));
    }
    view.nodes = workload::control_plane_nodes(&client);
    for name in world.machines.iter().filter_map(MachineView::node_name) {
        if let Some(node) = workload::node(&client, name) {
            view.nodes.entry(name.to_owned()).or_insert(node);
        }
    }
    let pods = workload::static_pods(&client);
    if world.etcd_is_managed() && !world.machines.is_empty() {
        view.etcd = observe_etcd(ctx, settings, memory, world, &client, &view, &pods).await;
    }
    if addons::is_due(world) && !memory.addons_fit(ctx.key(), &addons::fingerprint(world)) {
        view.addons = match workload::addons::observe(&client).await {
            Ok(addons) => Some(addons),
            Err(error) => {
                tracing::debug!(control_plane = %ctx.key(), %error, "cannot look at the add-ons");
                None
            }
        };
    }
    view.pods = pods.into_iter().map(|(name, pod)| (name, Ok(pod))).collect();
    Workload::Connected(Box::new(view))
}

async fn observe_etcd(
    ctx: &Context,
    settings: &Settings,
    memory: &Memory,
    world: &World,
    client: &WorkloadClient,
    view: &WorkloadView,
    pods: &BTreeMap<String, Arc<Pod>>,
) -> Option<EtcdView> {
    let now = ctx.now();
    let pod_of = |node: &String| pods.get(&format!("etcd-{node}"));
    let (asked, absent): (Vec<String>, Vec<String>) = view
        .nodes
        .keys()
        .cloned()
        .partition(|node| pod_of(node).is_some());
    if asked.is_empty() {
        return None;
    }
    let version = |node: &String| {
        pod_of(node)
            .and_then(|pod| pod.resource_version())
            .unwrap_or_default()
    };
    let fingerprint: Vec<String> = asked
        .iter()
        .map(|node| format!("{node}@{}", version(node)))
        .collect();
    if let Some(known) = memory.etcd.lock().get(ctx.key()) {
        let young = known
            .at
            .checked_add(ETCD_ANSWER_LIFE)
            .is_ok_and(|until| now < until);
        if young && absent.is_empty() && known.fingerprint == fingerprint && is_good(&known.view) {
            return Some(known.view.clone());
        }
    }
    let mut etcd = match credentials(ctx, memory, world) {
        Ok(tls) => {
            let etcd = EtcdCluster {
                reach: reach(settings, client.clone(), tls.clone()),
                timeouts: settings.etcd_timeouts,
            };
            let view = etcd.view(&asked).await;
            let answer = Answer {
                at: now,
                fingerprint,
                cluster: Key::of(&*world.cluster),
                asked,
                tls,
                view: view.clone(),
            };
            memory.etcd.lock().insert(ctx.key().clone(), answer);
            view
        }
        Err(error) => EtcdView {
            members: Err(format!("Failed to connect to etcd: {error}")),
            alarms: Ok(BTreeMap::new()),
            answers: BTreeMap::new(),
        },
    };
    for node in absent {
        let reason = format!("Pod etcd-{node} does not exist");
        etcd.answers.insert(node, Err(reason));
    }
    Some(etcd)
}

/// Nothing is wrong with etcd.
pub fn is_good(view: &EtcdView) -> bool {
    view.members.is_ok()
        && view.alarms.as_ref().is_ok_and(BTreeMap::is_empty)
        && view.answers.values().all(|answer| {
            answer
                .as_ref()
                .is_ok_and(|answer| answer.is_well() && view.disagreement(answer).is_none())
        })
}

/// etcd of this cluster, ready to be asked.
pub fn cluster(
    ctx: &Context,
    settings: &Settings,
    memory: &Memory,
    world: &World,
    client: &WorkloadClient,
) -> Result<EtcdCluster, Error> {
    Ok(EtcdCluster {
        reach: reach(settings, client.clone(), credentials(ctx, memory, world)?),
        timeouts: settings.etcd_timeouts,
    })
}

/// The way to etcd through the API server.
pub fn reach(settings: &Settings, workload: WorkloadClient, tls: ServerTls) -> Arc<ThroughApiServer> {
    Arc::new(ThroughApiServer {
        dialer: settings.etcd_dialer.clone(),
        workload,
        tls,
    })
}

fn credentials(ctx: &Context, memory: &Memory, world: &World) -> Result<ServerTls, Error> {
    let authority = certificates::authority(world, Purpose::EtcdCa)?;
    let algorithm = world.key_algorithm();
    memory
        .credentials
        .tls(&authority, algorithm, ctx.keys(), ctx.randomness(), ctx.now())
}
