//! A management and a workload cluster in this process, with this provider running between them in simulated time.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]
#![allow(dead_code, reason = "each test uses a part")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use capi_api::bootstrap::v1beta2::KubeadmConfig;
use capi_runtime::workload::{ConnectError, WorkloadConnection, WorkloadConnector};
use capi_runtime::{Key, Manager};
use cluster_pki::PooledKeys;
use embedded_apiserver::{Audit, AuditEvent, Server};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use parking_lot::Mutex;
use seams::{SeededRandomness, SimulatedClock};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::Service;

/// Every write that reached the management cluster: `verb resource/name[/subresource] code`.
#[derive(Default)]
pub struct Writes(Mutex<Vec<String>>);

impl Audit for Writes {
    fn observe(&self, event: &AuditEvent) {
        if event.is_write() && event.user_agent.starts_with("provider") {
            let subresource = if event.subresource.is_empty() {
                String::new()
            } else {
                format!("/{}", event.subresource)
            };
            let line = format!(
                "{} {}/{}{subresource} {}",
                event.verb, event.resource, event.name, event.code
            );
            self.0.lock().push(line);
        }
    }
}

impl Writes {
    /// All so far, and forgets them.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// Leads every kubeconfig to the same server.
struct Workload(Client);

#[async_trait]
impl WorkloadConnector for Workload {
    async fn connect(&self, _: &Key, _: &str) -> Result<WorkloadConnection, ConnectError> {
        Ok(WorkloadConnection {
            client: self.0.clone(),
            upgrades: self.0.clone(),
        })
    }
}

/// Counts the writes of a provider and cuts it off at a chosen one: the write is done, but the provider does not hear of
/// it, and nothing it sends gets through any more. That is what a crash looks like from outside.
#[derive(Clone, Default)]
pub struct Gate(Arc<GateState>);

#[derive(Default)]
struct GateState {
    last: Option<usize>,
    writes: AtomicUsize,
    closed: AtomicBool,
}

impl Gate {
    /// Closes at the `last`th write.
    pub fn closing_at(last: usize) -> Self {
        Self(Arc::new(GateState {
            last: Some(last),
            ..GateState::default()
        }))
    }

    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::SeqCst)
    }

    /// Counts a write; true if it is the last.
    fn count(&self) -> bool {
        let last = Some(self.0.writes.fetch_add(1, Ordering::SeqCst) + 1) == self.0.last;
        self.0.closed.fetch_or(last, Ordering::SeqCst);
        last
    }

    fn client(&self, server: &Server) -> Client {
        let (gate, service) = (self.clone(), server.service());
        let pass = move |mut request: http::Request<kube::client::Body>| {
            let (gate, mut service) = (gate.clone(), service.clone());
            async move {
                if gate.is_closed() {
                    return Err(ConnectError::from("cut off"));
                }
                let write = request.method() != http::Method::GET;
                request.headers_mut().insert(
                    http::header::USER_AGENT,
                    http::HeaderValue::from_static("provider"),
                );
                let response = match service.call(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                if write && gate.count() {
                    Err(ConnectError::from("cut off"))
                } else {
                    Ok(response)
                }
            }
        };
        Client::new(tower::service_fn(pass), "default")
    }
}

pub struct Plane {
    pub client: Client,
    pub workload: Client,
    pub writes: Arc<Writes>,
    clock: Arc<SimulatedClock>,
    randomness: Arc<SeededRandomness>,
    stop: Mutex<CancellationToken>,
    servers: [Server; 2],
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.stop.lock().cancel();
        self.servers.iter().for_each(Server::shutdown);
    }
}

impl Plane {
    /// Both clusters, with the provider running.
    pub async fn start() -> Self {
        let plane = Self::without_provider().await;
        plane.run_provider(&Gate::default());
        plane
    }

    /// Both clusters, with nobody at work.
    pub async fn without_provider() -> Self {
        let clock = Arc::new(SimulatedClock::starting_at(
            "2026-01-01T00:00:00Z".parse().unwrap(),
        ));
        let randomness = Arc::new(SeededRandomness::new(7));
        let writes = Arc::new(Writes::default());
        let server = |audit: Arc<Writes>| {
            Server::builder()
                .clock(clock.clone())
                .randomness(randomness.clone())
                .audit(audit)
                .build()
        };
        let management = server(writes.clone()).await.unwrap();
        let workload = server(Arc::new(Writes::default())).await.unwrap();
        let definitions: Api<CustomResourceDefinition> = Api::all(management.client());
        for shipped in capi_api::crd::crds().unwrap() {
            definitions
                .create(&PostParams::default(), &shipped.definition)
                .await
                .unwrap();
        }
        Self {
            client: management.client(),
            workload: workload.client(),
            writes,
            clock,
            randomness,
            stop: Mutex::default(),
            servers: [management, workload],
        }
    }

    /// Starts the provider behind `gate`, in place of one that may be there.
    pub fn run_provider(&self, gate: &Gate) {
        let [management, workload] = &self.servers;
        let mut manager = Manager::builder(gate.client(management))
            .clock(self.clock.clone())
            .randomness(self.randomness.clone())
            .keys(Arc::new(PooledKeys::new()))
            .workload_connector(Arc::new(Workload(gate.client(workload))))
            .build()
            .unwrap();
        bootstrap_kubeadm::register(&mut manager);
        let stop = CancellationToken::new();
        std::mem::replace(&mut *self.stop.lock(), stop.clone()).cancel();
        tokio::spawn(manager.run(stop));
    }

    /// Creates an object; its status, which create ignores, follows.
    pub async fn create(&self, object: Value) -> DynamicObject {
        let api = self.api_of(&object);
        let made = api
            .create(
                &PostParams::default(),
                &serde_json::from_value(object.clone()).unwrap(),
            )
            .await;
        let made = made.unwrap_or_else(|error| panic!("{object}: {error:?}"));
        match object.get("status") {
            Some(status) => {
                let name = made.metadata.name.clone().unwrap();
                let patch = Patch::Merge(json!({ "status": status }));
                api.patch_status(&name, &PatchParams::default(), &patch)
                    .await
                    .unwrap()
            }
            None => made,
        }
    }

    /// Merges `change` into an object, and its status into the status.
    pub async fn change(&self, kind: &str, name: &str, mut change: Value) {
        let api = self.api(kind);
        if let Some(status) = change.as_object_mut().unwrap().remove("status") {
            let patch = Patch::Merge(json!({ "status": status }));
            api.patch_status(name, &PatchParams::default(), &patch)
                .await
                .unwrap();
        }
        api.patch(name, &PatchParams::default(), &Patch::Merge(change))
            .await
            .unwrap();
    }

    pub fn api(&self, kind: &str) -> Api<DynamicObject> {
        let api_version = match kind {
            "KubeadmConfig" => "bootstrap.cluster.x-k8s.io/v1beta2",
            "Secret" | "ConfigMap" => "v1",
            _ => "cluster.x-k8s.io/v1beta2",
        };
        self.api_of(&json!({ "apiVersion": api_version, "kind": kind }))
    }

    fn api_of(&self, object: &Value) -> Api<DynamicObject> {
        let (api_version, kind) = (
            object["apiVersion"].as_str().unwrap(),
            object["kind"].as_str().unwrap(),
        );
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            plural: format!("{}s", kind.to_lowercase()),
        };
        Api::namespaced_with(self.client.clone(), "default", &resource)
    }

    pub fn tokens(&self) -> Api<Secret> {
        Api::namespaced(self.workload.clone(), "kube-system")
    }

    /// A configuration as soon as `holds`, within a minute.
    pub async fn config_that(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&KubeadmConfig) -> bool,
    ) -> KubeadmConfig {
        let api: Api<KubeadmConfig> = Api::namespaced(self.client.clone(), "default");
        for _ in 0..600 {
            if let Some(config) = api.get_opt(name).await.unwrap()
                && holds(&config)
            {
                return config;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!(
            "{name} never {what}: {:#?}",
            api.get_opt(name).await.unwrap().map(|config| config.status)
        )
    }

    /// The user data of a configuration that has some.
    pub async fn user_data(&self, name: &str) -> (Secret, String) {
        let config = self
            .config_that(name, "has data", |config| secret_name(config).is_some())
            .await;
        let api: Api<Secret> = Api::namespaced(self.client.clone(), "default");
        let secret = api.get(&secret_name(&config).unwrap()).await.unwrap();
        let text = String::from_utf8(secret.data.as_ref().unwrap()["value"].0.clone()).unwrap();
        (secret, text)
    }

    /// Lets everything come to rest, and forgets what was written for that.
    pub async fn settle(&self) {
        tokio::time::sleep(Duration::from_secs(5)).await;
        self.writes.take();
    }
}

pub fn secret_name(config: &KubeadmConfig) -> Option<String> {
    config.status.as_ref()?.data_secret_name.clone()
}

/// `status reason: message` of a condition.
pub fn condition(config: &KubeadmConfig, type_: &str) -> String {
    let conditions = config.status.iter().flat_map(|status| &status.conditions);
    let found = conditions.into_iter().find(|condition| condition.type_ == type_);
    found.map_or_else(String::new, |c| {
        format!("{} {}: {}", c.status, c.reason, c.message)
    })
}
