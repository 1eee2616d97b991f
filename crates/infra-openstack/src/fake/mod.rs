//! An OpenStack within the process: answers the requests that this provider makes, in simulated time.
//!
//! Resources live in maps of JSON, ids count upwards, and what takes time (a server, a load balancer, a volume) is done
//! when tokio's clock has come that far: nothing runs in the background, so the same requests at the same times always
//! get the same answers. [`FakeCloud`] also is where tests cause trouble: quotas, failing servers, refused requests.
//!
//! What it says is held to a real OpenStack by one suite that runs on both. What must not be here: anything of
//! Kubernetes, and shortcuts that skip HTTP.

mod compute;
mod faults;
mod http;
mod identity;
mod load_balancer;
mod network;
mod security_group;
mod storage;
mod world;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use seams::SharedClock;
use serde_json::Value;

pub use faults::{FaultAction, FaultRule};
use world::World;
pub use world::{Delays, Logged};

use crate::cloud::{CloudError, Fault, HttpRequest, HttpResponse, Tls, Transport, Transports};

/// A small OpenStack: project `demo` with user `demo`, password `secret`; flavors, an image, an external network.
#[derive(Clone)]
pub struct FakeCloud {
    world: Arc<Mutex<World>>,
}

impl fmt::Debug for FakeCloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeCloud")
    }
}

/// The clouds.yaml of [`FakeCloud`], cloud `fake`.
pub const CLOUDS_YAML: &str = "clouds:
  fake:
    auth:
      auth_url: http://openstack.fake/identity
      username: demo
      password: secret
      project_name: demo
      user_domain_name: Default
      project_domain_name: Default
    region_name: RegionOne
";

impl FakeCloud {
    /// An OpenStack with nothing but its furniture.
    pub fn new(clock: SharedClock) -> Self {
        let mut world = World::new(clock);
        world.furnish();
        Self {
            world: Arc::new(Mutex::new(world)),
        }
    }

    fn with<R>(&self, change: impl FnOnce(&mut World) -> R) -> R {
        let mut world = self.world.lock();
        world.settle();
        change(&mut world)
    }

    /// Other delays than usual.
    pub fn set_delays(&self, delays: Delays) {
        self.with(|world| world.delays = delays);
    }

    /// How many of a kind of resource the project may have, as in `("ports", 0)`.
    pub fn set_quota(&self, collection: &str, limit: usize) {
        self.with(|world| world.quotas.insert(collection.to_owned(), limit));
    }

    /// Servers whose name starts with this end in ERROR with these words of Nova.
    pub fn fail_servers(&self, prefix: &str, message: &str) {
        self.with(|world| {
            world
                .failing_servers
                .push((prefix.to_owned(), message.to_owned()))
        });
    }

    /// Servers build normally again.
    pub fn heal_servers(&self) {
        self.with(|world| world.failing_servers.clear());
    }

    /// Load balancers that are created or changed from now on end in ERROR, or not.
    pub fn fail_load_balancers(&self, fail: bool) {
        self.with(|world| world.failing_load_balancers = fail);
    }

    /// Load balancers may be failed over by their users, as in few clouds.
    pub fn allow_failover(&self, allowed: bool) {
        self.with(|world| world.failover = allowed);
    }

    /// Changes a resource behind everybody's back.
    pub fn alter(&self, collection: &str, name: &str, change: impl Fn(&mut Value)) {
        self.with(|world| {
            for id in world.ids(collection, |resource| resource["name"] == name) {
                world.change(collection, &id, &change);
            }
        });
    }

    /// Takes a resource away behind everybody's back.
    pub fn remove(&self, collection: &str, id: &str) {
        self.with(|world| drop(world.remove(collection, id)));
    }

    /// Adds a rule that disturbs requests.
    pub fn disturb(&self, rule: FaultRule) {
        self.with(|world| world.faults.push(rule));
    }

    /// Requests are not disturbed any more.
    pub fn calm(&self) {
        self.with(|world| world.faults.clear());
    }

    /// Tokens that were given out are not accepted any more.
    pub fn revoke_tokens(&self) {
        self.with(|world| world.tokens.clear());
    }

    /// The password of the user changes.
    pub fn set_password(&self, password: &str) {
        self.with(|world| world.password = password.to_owned());
    }

    /// Deletes a server behind everybody's back.
    pub fn lose_server(&self, name: &str) {
        self.with(|world| world.lose_server(name));
    }

    /// What requests there were.
    pub fn log(&self) -> Vec<Logged> {
        self.with(|world| world.log.clone())
    }

    /// Forgets the requests there were.
    pub fn clear_log(&self) {
        self.with(|world| world.log.clear());
    }

    /// All resources of a collection, as in `servers`, in the order in which they were made.
    pub fn resources(&self, collection: &str) -> Vec<Value> {
        self.with(|world| world.list(collection).cloned().collect())
    }

    /// Names of all resources of a collection, sorted.
    pub fn names(&self, collection: &str) -> Vec<String> {
        let mut names: Vec<String> = self
            .resources(collection)
            .iter()
            .map(|resource| resource["name"].as_str().unwrap_or_default().to_owned())
            .collect();
        names.sort();
        names
    }

    /// Everything there is, collection by collection: what must be the same before and after a test.
    pub fn inventory(&self) -> Vec<(String, Vec<String>)> {
        self.with(|world| world.inventory())
    }

    /// Puts a resource there, as somebody else would; returns its id.
    pub fn put(&self, collection: &'static str, resource: Value) -> String {
        self.with(|world| world.insert(collection, resource))
    }

    /// The wall-clock time of the cloud.
    pub fn now(&self) -> Timestamp {
        self.with(|world| world.clock.now())
    }
}

#[async_trait]
impl Transport for FakeCloud {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Fault> {
        // Once before the request is heard, once before its answer is: both may be disturbed.
        let rule = self.with(|world| world.disturbance(&request));
        if let Some(delay) = rule.as_ref().and_then(FaultAction::delay) {
            tokio::time::sleep(delay).await;
        }
        if let Some(outcome) = rule.as_ref().and_then(FaultAction::instead) {
            self.with(|world| {
                world.record(
                    &request,
                    outcome.as_ref().map_or(0, |answer| answer.status.as_u16()),
                )
            });
            return outcome;
        }
        tokio::task::yield_now().await;
        let answer = self.with(|world| {
            let answer = world.answer(&request);
            world.record(&request, answer.status.as_u16());
            answer
        });
        if rule.as_ref().is_some_and(FaultAction::is_silent) {
            std::future::pending::<()>().await;
        }
        match rule.as_ref().and_then(FaultAction::afterwards) {
            Some(outcome) => outcome,
            None => Ok(answer),
        }
    }
}

impl Transports for FakeCloud {
    fn transport(&self, _: &Tls) -> Result<Arc<dyn Transport>, CloudError> {
        Ok(Arc::new(self.clone()))
    }
}
