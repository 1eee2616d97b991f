//! What servers do when they boot: read their user data, start or join a cluster, and take their processes along when
//! they go.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use capi_runtime::Key;
use infra_inmemory::{
    World,
    backend::{
        Endpoint, NodeOrder,
        guest::{
            BootstrapData, Discovery, Host, Mode,
            join::{
                Authorities, AuthorityFiles, ClusterFacts, Refusal, certificates_dir, check_init, check_join,
            },
        },
    },
    faults::ClusterFaults,
};
use seams::SharedClock;
use serde_json::Value;
use tokio::time::Instant;

use crate::{route::Routes, server::Server};

/// How long a guest waits before it tries again what it cannot do yet.
const RETRY: Duration = Duration::from_secs(2);

/// How far a guest has come.
enum Stage {
    /// It boots, or tries again at this time.
    Booting(Instant),
    /// It is a Node.
    Node,
    /// It never becomes one: it has no user data, or useless ones.
    Idle,
}

struct Guest {
    server: Server,
    stage: Stage,
    /// What was last said of it, so that nothing is said twice.
    said: String,
}

/// A workload cluster.
struct Cluster {
    authorities: Authorities,
    /// When to look at its route again.
    look: Instant,
    reachable: bool,
}

/// All servers of the lab.
pub struct Guests {
    world: World,
    clock: SharedClock,
    routes: Routes,
    route_interval: Duration,
    guests: BTreeMap<String, Guest>,
    clusters: BTreeMap<Key, Cluster>,
}

/// What became of an attempt.
enum Attempt {
    Joined(String),
    Later(String),
    /// It was told nothing, as bastions are.
    Alone,
}

impl Guests {
    /// No servers yet.
    pub fn new(world: World, clock: SharedClock, routes: Routes, route_interval: Duration) -> Self {
        Self {
            world,
            clock,
            routes,
            route_interval,
            guests: BTreeMap::new(),
            clusters: BTreeMap::new(),
        }
    }

    /// Brings the guests in line with the servers that run.
    pub async fn follow(&mut self, servers: BTreeMap<String, Server>) {
        let gone: Vec<String> = self
            .guests
            .keys()
            .filter(|id| !servers.contains_key(*id))
            .cloned()
            .collect();
        for id in gone {
            self.end(&id).await;
        }
        for (id, server) in servers {
            let now = Instant::now();
            let guest = self.guests.entry(id.clone()).or_insert_with(|| Guest {
                server,
                stage: Stage::Booting(now),
                said: String::new(),
            });
            if matches!(guest.stage, Stage::Booting(due) if due <= now) {
                let server = guest.server.clone();
                let attempt = self.boot(&server).await;
                self.note(&id, attempt);
            }
        }
        self.forget_empty_clusters().await;
        self.follow_routes().await;
    }

    fn note(&mut self, id: &str, attempt: anyhow::Result<Attempt>) {
        let Some(guest) = self.guests.get_mut(id) else {
            return;
        };
        let (stage, said) = match attempt {
            Ok(Attempt::Joined(said)) => (Stage::Node, said),
            Ok(Attempt::Later(said)) => (Stage::Booting(Instant::now() + RETRY), said),
            Ok(Attempt::Alone) => (Stage::Idle, "runs without user data".to_owned()),
            Err(error) => (Stage::Idle, format!("is no node: {error:#}")),
        };
        guest.stage = stage;
        if guest.said != said {
            tracing::info!(server = %guest.server.name, "{said}");
            guest.said = said;
        }
    }

    async fn end(&mut self, id: &str) {
        let Some(guest) = self.guests.remove(id) else {
            return;
        };
        tracing::info!(server = %guest.server.name, "is gone");
        if let Err(error) = self.world.delete_machine(&machine_key(&guest.server)).await {
            tracing::warn!(server = %guest.server.name, %error, "cannot be taken away");
        }
    }

    /// A cluster ends with its last server.
    async fn forget_empty_clusters(&mut self) {
        let machines = self.world.machines();
        let inhabited: BTreeSet<Key> = machines
            .iter()
            .filter_map(|machine| Some(self.world.machine(machine)?.cluster))
            .collect();
        for key in self.world.clusters() {
            if !inhabited.contains(&key) {
                tracing::info!(cluster = %key.name, "its last server is gone");
                self.world.delete_cluster(&key).await;
                self.clusters.remove(&key);
            }
        }
    }

    /// Opens endpoints from which OpenStack leads to a running API server, and closes the others.
    async fn follow_routes(&mut self) {
        let now = Instant::now();
        let due: Vec<Key> = self
            .clusters
            .iter()
            .filter(|(_, cluster)| cluster.look <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            let serving = self.serving_addresses(&key);
            let endpoint = self.world.cluster(&key).unwrap_or_default().endpoint;
            let targets = match self.routes.targets(&endpoint).await {
                Ok(targets) => targets,
                Err(error) => {
                    // Packets flow whether OpenStack's API answers or not.
                    tracing::warn!(cluster = %key.name, %error, "OpenStack does not say where the endpoint leads");
                    continue;
                }
            };
            let reachable = !serving.is_disjoint(&targets);
            let Some(cluster) = self.clusters.get_mut(&key) else {
                continue;
            };
            cluster.look = now + self.route_interval;
            if cluster.reachable != reachable {
                cluster.reachable = reachable;
                tracing::info!(cluster = %key.name, %endpoint, reachable, "OpenStack leads the endpoint to {targets:?}, API servers run on {serving:?}");
            }
            if let Err(error) = self.set_reachable(&key, reachable).await {
                tracing::warn!(cluster = %key.name, %error, "its endpoint cannot be opened or closed");
            }
        }
    }

    async fn set_reachable(&self, cluster: &Key, reachable: bool) -> Result<(), infra_inmemory::Error> {
        let faults = ClusterFaults {
            endpoint_unreachable: !reachable,
        };
        self.world.set_cluster_faults(cluster, faults).await
    }

    /// The addresses of servers of a cluster that run an API server.
    fn serving_addresses(&self, cluster: &Key) -> BTreeSet<String> {
        let serves = |guest: &&Guest| {
            let machine = self.world.machine(&machine_key(&guest.server));
            machine.is_some_and(|machine| machine.cluster == *cluster && machine.api_server)
        };
        let guests = self.guests.values().filter(serves);
        guests.flat_map(|guest| guest.server.addresses.clone()).collect()
    }

    /// What cloud-init does at the first boot. An error is final.
    async fn boot(&mut self, server: &Server) -> anyhow::Result<Attempt> {
        let Some(text) = server.user_data() else {
            return Ok(Attempt::Alone);
        };
        let text = text.map_err(anyhow::Error::msg)?;
        let version = server.kubernetes_version();
        let host = Host {
            name: &server.hostname,
            instance_id: &server.id,
            kubernetes_version: version.as_deref(),
        };
        let data = BootstrapData::parse(&text, None, host)?;
        if data.kubeadm.registration.provider_id.is_none() {
            bail!("its kubelet is given no provider-id, and there is no cloud controller manager to set it");
        }
        match &data.kubeadm.mode {
            Mode::Init { cluster } => self.init(server, &data, cluster).await,
            Mode::Join { discovery, .. } => {
                let (Discovery::Token { endpoint, .. } | Discovery::File { endpoint, .. }) = discovery;
                self.join(server, &data, endpoint, version.as_deref()).await
            }
        }
    }

    async fn init(
        &mut self,
        server: &Server,
        data: &BootstrapData,
        configuration: &Value,
    ) -> anyhow::Result<Attempt> {
        let text = |field: &str| {
            configuration
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let endpoint = parse_endpoint(text("controlPlaneEndpoint"))?;
        // Names of clusters may repeat, addresses do not.
        let key = Key::new(endpoint.to_string(), text("clusterName"));
        let authorities = authorities_of(data, certificates_dir(configuration))?;
        let facts = ClusterFacts {
            endpoint: endpoint.to_string(),
            initialized_by: self.world.cluster(&key).and_then(|view| view.initialized_by),
            ..ClusterFacts::default()
        };
        let machine = machine_key(server);
        check_init(&machine.name, data, &facts, &authorities).map_err(|refusal| anyhow!(refusal.message))?;
        self.world.ensure_cluster(&key, &endpoint).await?;
        // Nobody is reached before OpenStack leads there.
        self.set_reachable(&key, false).await?;
        self.world.create_machine(&machine, &key);
        let order = order(server, data, text("kubernetesVersion"), false);
        self.world.become_node(&machine, &order, Some(data)).await?;
        self.world.start_etcd(&machine, authorities.etcd.as_ref()).await?;
        self.world.start_api_server(&machine, &authorities).await?;
        self.clusters.insert(
            key.clone(),
            Cluster {
                authorities,
                look: Instant::now(),
                reachable: false,
            },
        );
        Ok(Attempt::Joined(format!(
            "has started cluster {} at {endpoint} with Kubernetes {} as {}",
            key.name, order.version, order.provider_id
        )))
    }

    async fn join(
        &mut self,
        server: &Server,
        data: &BootstrapData,
        endpoint: &str,
        version: Option<&str>,
    ) -> anyhow::Result<Attempt> {
        let found = self.clusters.iter().find(|(key, _)| key.namespace == endpoint);
        let Some((key, cluster)) = found else {
            return Ok(Attempt::Later(format!(
                "kubeadm join waits: nobody answers at {endpoint}"
            )));
        };
        let (key, authorities) = (key.clone(), cluster.authorities.clone());
        let machine = machine_key(server);
        let configuration = self.world.configuration(&key).await?;
        let configured = configuration
            .as_ref()
            .and_then(|configuration| configuration["kubernetesVersion"].as_str())
            .map(str::to_owned);
        let facts = self.facts(&key, &machine.name, data, configured.clone()).await?;
        match check_join(data, version, &facts, &authorities, self.clock.now()) {
            Ok(()) => {}
            Err(Refusal {
                message,
                retried: true,
            }) => return Ok(Attempt::Later(message)),
            Err(refusal) => bail!(refusal.message),
        }
        self.world.create_machine(&machine, &key);
        let version = version.map(str::to_owned).or(configured).unwrap_or_default();
        let joins_etcd = data.is_control_plane() && authorities.etcd.is_some();
        let order = order(server, data, &version, joins_etcd);
        self.world.become_node(&machine, &order, Some(data)).await?;
        if data.is_control_plane() {
            self.world.start_etcd(&machine, authorities.etcd.as_ref()).await?;
            self.world.start_api_server(&machine, &authorities).await?;
        }
        Ok(Attempt::Joined(format!(
            "has joined cluster {} with Kubernetes {version} as {}",
            key.name, order.provider_id
        )))
    }

    async fn facts(
        &self,
        key: &Key,
        node: &str,
        data: &BootstrapData,
        kubernetes_version: Option<String>,
    ) -> anyhow::Result<ClusterFacts> {
        let view = self.world.cluster(key).unwrap_or_default();
        let mut facts = ClusterFacts {
            endpoint: view.endpoint.to_string(),
            serving: view.serving,
            initialized_by: view.initialized_by,
            certificates_dir: view.certificates_dir,
            kubernetes_version,
            ..ClusterFacts::default()
        };
        let token = match &data.kubeadm.mode {
            Mode::Join {
                discovery: Discovery::Token { token, .. },
                ..
            } => Some(token),
            Mode::Join {
                discovery: Discovery::File { token, .. },
                ..
            } => token.as_ref(),
            Mode::Init { .. } => None,
        };
        if let Some(id) = token.map(|token| &token.id)
            && let Some(token) = self.world.token(key, id).await?
        {
            facts.tokens.insert(id.clone(), token);
        }
        if data.is_control_plane() {
            let etcd = self.world.etcd(key).filter(|etcd| etcd.lock().id() != 0);
            let named = data.kubeadm.registration.name.as_deref().unwrap_or(node);
            facts.etcd_problem = etcd.and_then(|etcd| etcd.lock().may_join(named).err());
        }
        Ok(facts)
    }
}

fn machine_key(server: &Server) -> Key {
    Key::new(server.id.as_str(), server.hostname.as_str())
}

fn order(server: &Server, data: &BootstrapData, version: &str, joins_etcd: bool) -> NodeOrder {
    NodeOrder {
        name: server.hostname.clone(),
        provider_id: data.kubeadm.registration.provider_id.clone().unwrap_or_default(),
        version: version.to_owned(),
        control_plane: data.is_control_plane(),
        joins_etcd,
    }
}

fn parse_endpoint(text: &str) -> anyhow::Result<Endpoint> {
    let wrong = || format!("controlPlaneEndpoint `{text}` is not host:port");
    let (host, port) = text.rsplit_once(':').with_context(wrong)?;
    Ok(Endpoint {
        host: host.trim_matches(['[', ']']).to_owned(),
        port: port.parse().with_context(wrong)?,
    })
}

/// The authorities that the first machine brings along.
fn authorities_of(data: &BootstrapData, dir: &str) -> anyhow::Result<Authorities> {
    let file = |path: &str| data.file(&format!("{dir}/{path}")).unwrap_or_default().to_owned();
    let pair = |name: &str| AuthorityFiles {
        certificate: file(&format!("{name}.crt")),
        key: file(&format!("{name}.key")),
    };
    let cluster = pair("ca");
    let ca_hashes = cluster_pki::public_key_hashes(&cluster.certificate)
        .with_context(|| format!("{dir}/ca.crt in write_files"))?;
    Ok(Authorities {
        cluster,
        etcd: Some(pair("etcd/ca")).filter(|etcd| !etcd.key.is_empty()),
        ca_hashes,
    })
}
