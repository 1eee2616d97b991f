//! The state: resources by collection, what will happen when, and what was asked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ::http::StatusCode;
use seams::SharedClock;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{FaultAction, FaultRule, http::Reply};
use crate::cloud::HttpRequest;

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub struct Delays {
    /// Until a server is ACTIVE.
    pub server_build: Duration,
    /// Until a deleted server is gone.
    pub server_delete: Duration,
    /// Until a load balancer is ACTIVE after any change.
    pub load_balancer: Duration,
    /// Until a volume is available, or gone.
    pub volume: Duration,
    /// Until Nova has heard of a floating IP.
    pub address: Duration,
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            server_build: Duration::from_secs(20),
            server_delete: Duration::from_secs(5),
            load_balancer: Duration::from_secs(10),
            volume: Duration::from_secs(5),
            address: Duration::from_secs(3),
        }
    }
}

/// A request there was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The status of the answer, 0 if there was none.
    pub status: u16,
}

/// What will happen to a resource.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    ServerBuilt(String),
    ServerGone(String),
    LoadBalancerDone(String),
    LoadBalancerGone(String),
    VolumeAvailable(String),
    VolumeGone(String),
    AddressShown(String),
}

pub(super) struct World {
    pub clock: SharedClock,
    pub delays: Delays,
    pub quotas: BTreeMap<String, usize>,
    pub failing_servers: Vec<(String, String)>,
    pub failing_load_balancers: bool,
    pub failover: bool,
    pub faults: Vec<FaultRule>,
    pub tokens: BTreeSet<String>,
    pub password: String,
    pub log: Vec<Logged>,
    resources: BTreeMap<String, BTreeMap<String, Value>>,
    pub changes: Vec<(Instant, Change)>,
    counter: u64,
}

/// Collections whose content counts when a test compares before and after.
const OWNED: &[&str] = &[
    "floatingips",
    "healthmonitors",
    "listeners",
    "loadbalancers",
    "members",
    "networks",
    "pools",
    "ports",
    "routers",
    "security-groups",
    "servers",
    "subnets",
    "trunks",
    "volumes",
];

/// Collections whose resources count their changes.
const COUNTED: &[&str] = &[
    "floatingips",
    "networks",
    "ports",
    "routers",
    "security-groups",
    "subnets",
];

impl World {
    pub fn new(clock: SharedClock) -> Self {
        Self {
            clock,
            delays: Delays::default(),
            quotas: BTreeMap::new(),
            failing_servers: Vec::new(),
            failing_load_balancers: false,
            failover: false,
            faults: Vec::new(),
            tokens: BTreeSet::new(),
            password: "secret".to_owned(),
            log: Vec::new(),
            resources: BTreeMap::new(),
            changes: Vec::new(),
            counter: 0,
        }
    }

    /// What every cloud has: flavors, an image, zones, an external network.
    pub fn furnish(&mut self) {
        for (id, name, vcpus, ram) in [
            ("1", "m1.tiny", 1, 512),
            ("2", "m1.small", 1, 2048),
            ("3", "m1.large", 4, 8192),
        ] {
            let flavor = json!({ "id": id, "name": name, "vcpus": vcpus, "ram": ram, "disk": 20, "OS-FLV-EXT-DATA:ephemeral": 0 });
            self.insert("flavors", flavor);
        }
        self.insert(
            "images",
            json!({ "name": "ubuntu", "status": "active", "tags": ["k8s"], "os_type": "linux" }),
        );
        for zone in ["az1", "az2"] {
            self.insert("zones", json!({ "name": zone }));
        }
        let network = json!({ "name": "public", "router:external": true, "status": "ACTIVE", "tags": [], "subnets": [] });
        let network = self.insert("networks", network);
        let subnet = json!({ "name": "public-subnet", "network_id": network, "cidr": "203.0.113.0/24", "tags": [],
            "gateway_ip": "203.0.113.1", "dns_nameservers": [], "ip_version": 4 });
        let subnet = self.insert("subnets", subnet);
        self.change("networks", &network, |network| {
            network["subnets"] = json!([subnet])
        });
        self.insert(
            "security-groups",
            json!({ "name": "default", "tags": [], "security_group_rules": [] }),
        );
    }

    /// A new id; ids sort in the order in which they were given.
    pub fn id(&mut self) -> String {
        self.counter += 1;
        format!("{:08x}-0000-4000-8000-000000000000", self.counter)
    }

    /// Adds a resource, with an id if it has none.
    pub fn insert(&mut self, collection: &str, mut resource: Value) -> String {
        let id = match resource["id"].as_str() {
            Some(id) => id.to_owned(),
            None => self.id(),
        };
        resource["id"] = id.as_str().into();
        if COUNTED.contains(&collection) {
            resource["revision_number"] = 0.into();
        }
        self.resources
            .entry(collection.to_owned())
            .or_default()
            .insert(id.clone(), resource);
        id
    }

    pub fn get(&self, collection: &str, id: &str) -> Option<&Value> {
        self.resources.get(collection)?.get(id)
    }

    pub fn list(&self, collection: &str) -> impl Iterator<Item = &Value> {
        self.resources
            .get(collection)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    pub fn change(&mut self, collection: &str, id: &str, change: impl FnOnce(&mut Value)) {
        if let Some(resource) = self.resources.get_mut(collection).and_then(|all| all.get_mut(id)) {
            change(resource);
            if let Some(revision) = resource["revision_number"].as_i64() {
                resource["revision_number"] = (revision + 1).into();
            }
        }
    }

    pub fn remove(&mut self, collection: &str, id: &str) -> Option<Value> {
        self.resources.get_mut(collection)?.remove(id)
    }

    /// Ids of the resources that fit.
    pub fn ids(&self, collection: &str, fits: impl Fn(&Value) -> bool) -> Vec<String> {
        let all = self.list(collection).filter(|resource| fits(resource));
        all.filter_map(|resource| resource["id"].as_str())
            .map(str::to_owned)
            .collect()
    }

    pub fn inventory(&self) -> Vec<(String, Vec<String>)> {
        let named = |collection: &&str| {
            let names = self
                .list(collection)
                .map(|resource| match resource["name"].as_str() {
                    Some(name) if !name.is_empty() => name.to_owned(),
                    _ => resource["id"].as_str().unwrap_or_default().to_owned(),
                });
            ((*collection).to_owned(), names.collect())
        };
        OWNED.iter().map(named).collect()
    }

    /// True if the project may not have one more.
    pub fn is_full(&self, collection: &str) -> bool {
        self.quotas
            .get(collection)
            .is_some_and(|limit| self.list(collection).count() >= *limit)
    }

    pub fn later(&mut self, delay: Duration, change: Change) {
        self.changes.push((Instant::now() + delay, change));
    }

    /// Lets everything happen that is due, in order.
    pub fn settle(&mut self) {
        let now = Instant::now();
        while let Some(index) = (0..self.changes.len())
            .filter(|index| self.changes[*index].0 <= now)
            .min_by_key(|index| (self.changes[*index].0, *index))
        {
            match self.changes.remove(index).1 {
                Change::ServerBuilt(id) => self.server_built(&id),
                Change::ServerGone(id) => self.server_gone(&id),
                Change::LoadBalancerDone(id) => self.load_balancer_done(&id),
                Change::LoadBalancerGone(id) => self.load_balancer_gone(&id),
                Change::VolumeAvailable(id) => {
                    self.change("volumes", &id, |volume| volume["status"] = "available".into());
                }
                Change::VolumeGone(id) => drop(self.remove("volumes", &id)),
                Change::AddressShown(id) => {
                    self.change("floatingips", &id, |floating| floating["shown"] = true.into());
                }
            }
        }
    }

    pub fn disturbance(&mut self, request: &HttpRequest) -> Option<FaultAction> {
        self.faults.iter_mut().find_map(|rule| rule.apply(request))
    }

    pub fn record(&mut self, request: &HttpRequest, status: u16) {
        let query = request
            .url
            .query()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        self.log.push(Logged {
            method: request.method.to_string(),
            path: format!("{}{query}", request.url.path()),
            status,
        });
    }

    /// Answers a request.
    pub fn answer(&mut self, request: &HttpRequest) -> crate::cloud::HttpResponse {
        self.route(request)
            .unwrap_or_else(|refusal| refusal)
            .into_response()
    }

    fn route(&mut self, request: &HttpRequest) -> Result<Reply, Reply> {
        let segments: Vec<String> = request
            .url
            .path_segments()
            .into_iter()
            .flatten()
            .map(str::to_owned)
            .collect();
        let segments: Vec<&str> = segments
            .iter()
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        let query: Vec<(String, String)> = request.url.query_pairs().into_owned().collect();
        let body = match request.body.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&request.body)
                .map_err(|error| Reply::nova(StatusCode::BAD_REQUEST, "badRequest", &error.to_string()))?,
        };
        let Some((service, rest)) = segments.split_first() else {
            return Err(Reply::empty(StatusCode::NOT_FOUND));
        };
        if *service == "identity" {
            return self.identity(request.method.as_str(), rest, &body);
        }
        let token = request
            .headers
            .get("x-auth-token")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if !self.tokens.contains(token) {
            return Err(Reply::keystone(
                StatusCode::UNAUTHORIZED,
                "The request you have made requires authentication.",
            ));
        }
        let method = request.method.as_str();
        match *service {
            "compute" => self.compute(method, rest, &query, &body),
            "network" => self.network(method, rest, &query, &body),
            "load-balancer" => self.load_balancer(method, rest, &query, &body),
            "volume" => self.volume(method, rest, &query, &body),
            "image" => self.image(method, rest, &query),
            _ => Err(Reply::empty(StatusCode::NOT_FOUND)),
        }
    }
}
