//! How replicas find each other: each keeps a Lease, in which it also says with which members it works.
//!
//! Shares are given by rendezvous hashing, so two replicas can take the same shard only if one of them does not know the
//! other. Therefore a replica works only while all members it knows have published a view with it in it:
//!
//! - Whoever comes makes a Lease without a view, reads all others, publishes its view, and reads once more; of two that
//!   come at once, one at least sees the other.
//! - Whoever sees a new view stops work on shards that leave, waits for what is in flight, and publishes. Then the newcomer
//!   begins.
//! - Whoever ends deletes its Lease after its last reconcile.
//! - A replica that dies closes its sockets: the others hold a connection to it, and nobody listens any more. Its Lease is
//!   deleted at once. Without an address, or when a whole machine vanishes, the Lease has to expire.
//! - A replica that cannot renew its Lease stops before others may take its Lease for expired.

mod peers;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    pin::pin,
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions},
    runtime::watcher,
};
use seams::{SharedClock, SharedRandomness};
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Ring;
use peers::Peers;

/// After this time without a renewal, a replica counts as gone.
const DURATION: Duration = Duration::from_secs(15);
/// After this time without a renewal, a replica stops by itself.
const DEADLINE: Duration = Duration::from_secs(10);
const RENEWAL: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_secs(1);
/// How long a request may take here, where others wait for it.
const REQUEST: Duration = Duration::from_secs(3);

/// Which manager the Lease of a replica belongs to.
const RING: &str = "runtime.capi-rs.io/ring";
/// The members a replica works with; without it, it does not work yet.
const VIEW: &str = "runtime.capi-rs.io/ring-view";
/// Where a replica answers as long as it lives.
const ADDRESS: &str = "runtime.capi-rs.io/ring-address";

/// Where and as whom a replica takes part.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The manager, which all replicas have in common.
    pub manager: String,
    /// The namespace of the Leases.
    pub namespace: String,
    /// The name of the pod: a process that is started again in its pod replaces its predecessor.
    pub pod: Option<String>,
    /// The address under which the other replicas reach this one.
    pub ip: Option<IpAddr>,
}

impl Membership {
    /// Of this pod, as the environment names it.
    pub fn of_pod(manager: &str, namespace: &str) -> Self {
        let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        Self {
            manager: manager.to_owned(),
            namespace: namespace.to_owned(),
            pod: variable("POD_NAME"),
            ip: variable("POD_IP").and_then(|ip| ip.parse().ok()),
        }
    }
}

/// Another replica, as its Lease shows it.
#[derive(Clone, Debug)]
struct Member {
    lease: String,
    uid: String,
    version: String,
    view: Option<BTreeSet<String>>,
    address: Option<SocketAddr>,
    /// When its Lease last changed, by our clock.
    seen: Instant,
}

/// Keeps the Lease of this replica and tells the ring who the members are.
pub(crate) struct Keeper {
    membership: Membership,
    identity: String,
    lease: String,
    api: Api<Lease>,
    clock: SharedClock,
    ring: Ring,
    /// By identity.
    others: BTreeMap<String, Member>,
    /// The uid of our Lease.
    uid: String,
    renewed: Instant,
    /// The view that is published, if any is.
    published: Option<BTreeSet<String>>,
}

/// Why a life as a member ended.
enum Ended {
    /// Others took it for dead, or it could not renew its Lease: come back.
    Lost,
    /// It was asked to leave.
    Left,
}

impl Keeper {
    pub(crate) fn new(
        membership: Membership,
        client: Client,
        clock: SharedClock,
        randomness: SharedRandomness,
    ) -> Self {
        let unique = seams::uuid(&*randomness);
        let pod = membership
            .pod
            .clone()
            .unwrap_or_else(|| membership.manager.clone());
        let lease = match &membership.pod {
            Some(pod) => format!("ring-{pod}"),
            None => format!(
                "ring-{}-{}",
                membership.manager,
                unique.split('-').next().unwrap_or_default()
            ),
        };
        let identity = format!("{pod}_{unique}");
        Self {
            api: Api::namespaced(client, &membership.namespace),
            ring: Ring::unknown(identity.clone()),
            identity,
            lease,
            membership,
            clock,
            others: BTreeMap::new(),
            uid: String::new(),
            renewed: Instant::now(),
            published: None,
        }
    }

    pub(crate) fn ring(&self) -> Ring {
        self.ring.clone()
    }

    /// Takes part until asked to leave, whatever happens.
    pub(crate) async fn run(mut self, leave: CancellationToken) {
        let mut peers = Peers::start(&self.identity, self.membership.ip).await;
        loop {
            let life = self.life(&mut peers, &leave);
            let ended = tokio::select! {
                biased;
                () = leave.cancelled() => Ended::Left,
                ended = life => ended,
            };
            self.ring.activate(BTreeSet::new(), false);
            self.published = None;
            self.others.clear();
            if let Ended::Left = ended {
                let gone = self.delete(&self.lease, &self.uid, None);
                if gone.await.is_err() {
                    tracing::warn!(
                        lease = self.lease,
                        "the Lease could not be deleted; others wait until it expires"
                    );
                }
                return;
            }
            tracing::warn!(
                lease = self.lease,
                "lost the Lease: nothing is worked on until it is back"
            );
        }
    }

    /// From acquiring the Lease to losing it.
    async fn life(&mut self, peers: &mut Peers, leave: &CancellationToken) -> Ended {
        while let Err(error) = self.acquire(peers.address).await {
            tracing::warn!(lease = self.lease, error = %crate::error::chain(&error), "the Lease cannot be acquired yet");
            sleep(RETRY).await;
        }
        let events = watcher(
            self.api.clone(),
            watcher::Config::default().labels(&self.selector()),
        );
        let mut events = pin!(events);
        let mut renewal = Instant::now() + RENEWAL;
        let mut listed = false;
        let mut initial = BTreeMap::new();
        let mut wanted: Option<BTreeSet<String>> = None;
        loop {
            let expiry = self.others.values().map(|other| other.seen + DURATION).min();
            let expiry = expiry.unwrap_or_else(|| Instant::now() + DURATION);
            tokio::select! {
                biased;
                () = leave.cancelled() => return Ended::Left,
                () = sleep_until(self.renewed + DEADLINE) => return Ended::Lost,
                () = sleep_until(renewal) => match self.renew(None).await {
                    Ok(()) => renewal = Instant::now() + RENEWAL,
                    Err(error) if is_lost(&error) => return Ended::Lost,
                    Err(error) => {
                        tracing::warn!(lease = self.lease, error = %crate::error::chain(&error), "the Lease is not renewed");
                        renewal = Instant::now() + RETRY;
                    }
                },
                Some(dead) = peers.dead() => {
                    // Certain, whatever it wrote last.
                    if !self.bury(&dead, false).await {
                        peers.forget(&dead);
                    }
                }
                () = sleep_until(expiry), if !self.others.is_empty() => {
                    for dead in self.expired() {
                        self.bury(&dead, true).await;
                    }
                }
                event = events.next() => match event {
                    Some(Ok(watcher::Event::Init)) => initial = BTreeMap::new(),
                    Some(Ok(watcher::Event::InitApply(lease))) => self.note(&mut initial, &lease),
                    Some(Ok(watcher::Event::InitDone)) => {
                        self.others = std::mem::take(&mut initial);
                        listed = true;
                    }
                    Some(Ok(watcher::Event::Apply(lease))) => {
                        let mut others = std::mem::take(&mut self.others);
                        self.note(&mut others, &lease);
                        self.others = others;
                    }
                    Some(Ok(watcher::Event::Delete(lease))) => {
                        if lease.uid().as_deref() == Some(&self.uid) {
                            return Ended::Lost;
                        }
                        self.others.retain(|_, other| Some(other.uid.as_str()) != lease.metadata.uid.as_deref());
                    }
                    Some(Err(error)) => {
                        tracing::debug!(%error, "watch of Leases");
                        sleep(RETRY.min(DEADLINE / 10)).await;
                    }
                    None => return Ended::Lost,
                },
                () = self.ring.drained(), if wanted.is_some() => {
                    let view = wanted.take().unwrap_or_default();
                    match self.adopt(view).await {
                        Ok(()) => {}
                        Err(error) if is_lost(&error) => return Ended::Lost,
                        Err(error) => {
                            tracing::warn!(lease = self.lease, error = %crate::error::chain(&error), "the view is not published yet");
                            sleep(RETRY).await;
                        }
                    }
                }
            }
            if !listed {
                continue;
            }
            peers.follow(
                self.others
                    .iter()
                    .filter_map(|(identity, other)| Some((identity.clone(), other.address?))),
            );
            let view = self.view();
            if self.published.as_ref() == Some(&view) {
                wanted = None;
                self.ring.activate(view.clone(), self.is_known());
            } else if wanted.as_ref() != Some(&view) {
                self.ring.restrict(view.clone());
                wanted = Some(view);
            }
        }
    }

    fn selector(&self) -> String {
        format!("{RING}={}", self.membership.manager)
    }

    /// Who should be a member: this replica and all that have published a view.
    fn view(&self) -> BTreeSet<String> {
        let others = self.others.iter().filter(|(_, other)| other.view.is_some());
        let mut view: BTreeSet<String> = others.map(|(identity, _)| identity.clone()).collect();
        view.insert(self.identity.clone());
        view
    }

    /// Whether every other member has published a view with this replica in it.
    fn is_known(&self) -> bool {
        let mut views = self.others.values().filter_map(|other| other.view.as_ref());
        views.all(|view| view.contains(&self.identity))
    }

    fn expired(&self) -> Vec<String> {
        let now = Instant::now();
        let expired = self
            .others
            .iter()
            .filter(|(_, other)| other.seen + DURATION <= now);
        expired.map(|(identity, _)| identity.clone()).collect()
    }

    /// Takes up what a Lease shows.
    fn note(&self, others: &mut BTreeMap<String, Member>, lease: &Lease) {
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
        let Some(identity) = holder.filter(|identity| *identity != self.identity) else {
            return;
        };
        let version = lease.resource_version().unwrap_or_default();
        let known = others.get(&identity).or_else(|| self.others.get(&identity));
        let seen = match known {
            Some(known) if known.version == version => known.seen,
            _ => Instant::now(),
        };
        let view = lease.annotations().get(VIEW);
        let member = Member {
            lease: lease.name_any(),
            uid: lease.uid().unwrap_or_default(),
            version,
            view: view.map(|view| view.split(',').map(str::to_owned).collect()),
            address: lease
                .annotations()
                .get(ADDRESS)
                .and_then(|text| text.parse().ok()),
            seen,
        };
        // One pod has one Lease: a new process in it replaces the old one.
        others.retain(|other, known| *other == identity || known.lease != member.lease);
        others.insert(identity, member);
    }

    /// Makes the Lease, without a view. One that an earlier process of this pod left is taken away.
    async fn acquire(&mut self, address: Option<SocketAddr>) -> Result<(), kube::Error> {
        if let Some(old) = self.api.get_opt(&self.lease).await? {
            self.delete(&self.lease, &old.uid().unwrap_or_default(), None)
                .await?;
        }
        let started = Instant::now();
        let now = MicroTime(self.clock.now());
        let address = address.map(|address| (ADDRESS.to_owned(), address.to_string()));
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.lease.clone()),
                labels: Some([(RING.to_owned(), self.membership.manager.clone())].into()),
                annotations: Some(address.into_iter().collect()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        };
        let made = timely(self.api.create(&PostParams::default(), &lease)).await?;
        self.uid = made.uid().unwrap_or_default();
        self.renewed = started;
        Ok(())
    }

    /// Renews the Lease, and publishes a view with it.
    async fn renew(&mut self, view: Option<&BTreeSet<String>>) -> Result<(), kube::Error> {
        let started = Instant::now();
        let mut patch = json!({
            // Another Lease of the same name is not ours.
            "metadata": {"uid": self.uid},
            "spec": {"renewTime": MicroTime(self.clock.now())},
        });
        if let Some(view) = view {
            let members: Vec<&str> = view.iter().map(String::as_str).collect();
            patch["metadata"]["annotations"] = json!({VIEW: members.join(",")});
        }
        timely(
            self.api
                .patch(&self.lease, &PatchParams::default(), &Patch::Merge(patch)),
        )
        .await?;
        self.renewed = started;
        Ok(())
    }

    /// Publishes a view once nothing is worked on that it does not give us, and reads what others published meanwhile.
    async fn adopt(&mut self, view: BTreeSet<String>) -> Result<(), kube::Error> {
        self.renew(Some(&view)).await?;
        self.published = Some(view);
        let found = timely(self.api.list(&ListParams::default().labels(&self.selector()))).await?;
        let mut others = BTreeMap::new();
        for lease in &found.items {
            self.note(&mut others, lease);
        }
        self.others = others;
        tracing::info!(members = ?self.view(), "members of the ring");
        Ok(())
    }

    /// Takes away the Lease of a member that is gone; of one whose Lease expired, unless it was renewed meanwhile. True if
    /// it is away.
    async fn bury(&mut self, identity: &str, expired: bool) -> bool {
        let Some(dead) = self.others.get(identity).cloned() else {
            return true;
        };
        let version = expired.then_some(dead.version);
        match self.delete(&dead.lease, &dead.uid, version).await {
            Ok(()) => {
                tracing::info!(member = identity, expired, "a member is gone");
                self.others.remove(identity);
                true
            }
            Err(error) => {
                tracing::debug!(member = identity, %error, "its Lease stays");
                if let Some(alive) = self.others.get_mut(identity) {
                    // Asked again only after a while; a conflict means that it lives.
                    alive.seen = Instant::now();
                }
                false
            }
        }
    }

    async fn delete(&self, lease: &str, uid: &str, version: Option<String>) -> Result<(), kube::Error> {
        let params = DeleteParams::default().preconditions(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: version,
        });
        match timely(self.api.delete(lease, &params)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Nobody may hang here while a Lease has to be renewed.
async fn timely<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, kube::Error> {
    match timeout(REQUEST, request).await {
        Ok(result) => result,
        Err(_) => Err(kube::Error::Service(
            "the API server did not answer in time".into(),
        )),
    }
}

/// The Lease is gone or another's.
fn is_lost(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404 || status.code == 409)
}
