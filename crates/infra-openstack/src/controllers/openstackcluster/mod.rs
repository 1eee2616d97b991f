//! The controller of OpenStackCluster: network, router, security groups, load balancer, endpoint.
//!
//! [`observe`](observe::observe) reads the cloud, [`plan`](plan::plan) says what comes next, [`act`](act::act) does it
//! and enters the result into the world; so until nothing is left or something takes time. Nothing is waited for inline.

pub mod act;
pub mod bastion;
pub mod delete;
pub mod endpoint;
#[cfg(test)]
mod fault_tests;
pub mod interests;
pub mod observe;
pub mod plan;
pub mod repair;
#[cfg(test)]
mod repair_tests;
pub mod status;
#[cfg(test)]
mod tests;
pub mod world;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use capi_api::{
    annotations,
    conditions::{self, Draft},
    core::v1beta2::{Cluster, Machine},
};
use capi_runtime::{Context, Controller, Failure, Key, Next, Reconciler, Stores, meta};
use jiff::Timestamp;
use kube::ResourceExt;

use self::{
    plan::{Stage, Step},
    status::Outcome,
};
use super::{
    identity,
    watching::{Remains, Watching},
};
use crate::{
    Error,
    api::{OpenStackCluster, OpenStackServer},
    cloud::{Session, Sessions, watch::Interest},
    rules::names::ClusterNames,
};

/// Keeps the object until OpenStack has nothing of the cluster any more.
pub const FINALIZER: &str = "openstackcluster.infrastructure.cluster.x-k8s.io";
const GROUP: &str = "infrastructure.cluster.x-k8s.io";
/// Says that credentials work.
pub const AUTHENTICATED: &str = "OpenStackAuthenticationSucceeded";
/// More steps than any cluster needs; a plan that never ends is a defect.
const MOST_STEPS: usize = 100;
/// How long to wait for Machines whose deletion should have woken us.
const LAST_RESORT: Duration = Duration::from_secs(15);

/// OpenStack tells nobody when something of a cluster breaks, so a finished cluster is looked at after this time.
const AUDIT: Duration = Duration::from_secs(600);

/// How far a cluster came.
#[derive(Debug)]
pub struct Progress {
    /// The object with its new status.
    pub after: OpenStackCluster,
    /// When to look again.
    pub next: Next,
    /// What went wrong.
    pub result: Result<(), Error>,
    /// Whose changes should wake the object.
    pub interests: Vec<Interest>,
}

/// Brings the cloud as far as it can be brought now.
pub async fn converge(
    session: &Session,
    cluster: OpenStackCluster,
    names: ClusterNames,
    now: Timestamp,
) -> Progress {
    let mut world = match observe::observe(session, cluster.clone(), names).await {
        Ok(world) => world::World { now, ..world },
        Err(error) => {
            let world = world::World {
                cluster,
                ..world::World::default()
            };
            return failed(&world, Stage::Network, error, now, false);
        }
    };
    for _ in 0..MOST_STEPS {
        match plan::plan(&world) {
            Ok(Step::Done(host)) => {
                let after = status::report(&world, &Outcome::Done(&host), now);
                return Progress {
                    after,
                    next: Next::Done,
                    result: Ok(()),
                    interests: interests::of(&world),
                };
            }
            Ok(Step::Wait(stage, message, wait)) => {
                let after = status::report(&world, &Outcome::Waiting(stage, &message), now);
                return Progress {
                    after,
                    next: Next::After(wait),
                    result: Ok(()),
                    interests: interests::of(&world),
                };
            }
            Ok(Step::Act(stage, actions)) => {
                for action in actions {
                    tracing::info!(cluster = world.cluster.name_any(), ?stage, ?action, "acting");
                    if let Err(error) = act::act(session, &mut world, &action).await {
                        return failed(&world, stage, error.into(), now, true);
                    }
                }
            }
            Err((stage, error)) => return failed(&world, stage, error, now, true),
        }
    }
    let error = Error::reference(
        "plan",
        format!("it did not end after {MOST_STEPS} steps; this is a defect"),
    );
    failed(&world, Stage::Endpoint, error, now, true)
}

fn failed(world: &world::World, stage: Stage, error: Error, now: Timestamp, observed: bool) -> Progress {
    let mut after = status::report(world, &Outcome::Failed(stage, &error), now);
    if !observed {
        // What could not be looked at is not known to be gone.
        let before = world.cluster.status.clone().unwrap_or_default();
        let conditions = std::mem::take(&mut after.status.get_or_insert_default().conditions);
        after.status = Some(crate::api::OpenStackClusterStatus { conditions, ..before });
    }
    Progress {
        after,
        next: Next::Done,
        result: Err(error),
        interests: Vec::new(),
    }
}

/// Takes the cluster's resources away; says what is left.
pub async fn remove(
    session: &Session,
    cluster: &OpenStackCluster,
    names: &ClusterNames,
) -> Result<Option<Remains>, Error> {
    for _ in 0..MOST_STEPS {
        let world = observe::observe(session, cluster.clone(), names.clone()).await?;
        match delete::plan(&world) {
            delete::Step::Done => return Ok(None),
            delete::Step::Wait(message, wait) => {
                return Ok(Some(Remains {
                    message,
                    wait,
                    interests: interests::of(&world),
                }));
            }
            delete::Step::Remove(removals) => {
                for removal in &removals {
                    tracing::info!(cluster = cluster.name_any(), ?removal, "removing");
                    delete::remove(session, removal).await?;
                }
            }
        }
    }
    Err(Error::reference(
        "deletion",
        format!("resources still come back after {MOST_STEPS} rounds"),
    ))
}

/// The controller, ready to be registered.
pub fn controller(sessions: Arc<Sessions>) -> Controller<OpenStackCluster> {
    let watching = Watching::new("OpenStackCluster", sessions.clone());
    let waker = watching.waker().clone();
    let reconciler = OpenStackClusterReconciler { sessions, watching };
    Controller::<OpenStackCluster>::new("openstackcluster", reconciler)
        .woken_by(&waker)
        .watches::<Cluster>(|cluster, _| {
            let reference = cluster.spec.infrastructure_ref.as_ref();
            let ours = reference.filter(|found| found.kind == "OpenStackCluster" && found.api_group == GROUP);
            ours.map(|found| Key::of(cluster).sibling(found.name.clone()))
                .into_iter()
                .collect()
        })
        .watches_owned::<OpenStackServer>()
        .watches_changes::<Machine>(|_, new, stores| match new {
            // The last Machine that goes lets its cluster go.
            Some(machine) if !meta::is_deleting(&machine.metadata) => Vec::new(),
            _ => deleted_clusters(stores),
        })
}

/// Clusters that wait to go. There are few at a time.
fn deleted_clusters(stores: &Stores) -> Vec<Key> {
    let all = stores.declare::<OpenStackCluster>().list(None);
    all.iter()
        .filter(|cluster| meta::is_deleting(&cluster.metadata))
        .map(|cluster| Key::of(&**cluster))
        .collect()
}

struct OpenStackClusterReconciler {
    sessions: Arc<Sessions>,
    watching: Watching,
}

#[async_trait]
impl Reconciler for OpenStackClusterReconciler {
    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Next, Failure> {
        let Some(object) = ctx.get::<OpenStackCluster>(key) else {
            return Ok(Next::Done);
        };
        let Some(owner) = meta::owner_of_kind(&object.metadata, "cluster.x-k8s.io", "Cluster") else {
            return Ok(Next::Done);
        };
        let Some(cluster) = ctx.get::<Cluster>(&key.sibling(owner.name.clone())) else {
            return Ok(Next::Done);
        };
        let managed_elsewhere = object.annotations().contains_key(annotations::MANAGED_BY);
        let paused = cluster.spec.paused == Some(true) || meta::has_paused_annotation(&object.metadata);
        if managed_elsewhere || paused {
            return Ok(Next::Done);
        }
        let names = ClusterNames::new(key.namespace.clone(), cluster.name_any());
        match meta::is_deleting(&object.metadata) {
            true => Ok(self.delete(ctx, &object, &cluster, &names).await?),
            false => Ok(self.ensure(ctx, &object, names).await?),
        }
    }
}

impl OpenStackClusterReconciler {
    async fn ensure(
        &self,
        ctx: &Context,
        object: &OpenStackCluster,
        names: ClusterNames,
    ) -> Result<Next, Error> {
        if ctx.ensure_finalizer(object, FINALIZER).await? {
            return Ok(Next::Done);
        }
        let mut seen = object.clone();
        let session = self.session(ctx, object, &mut seen).await?;
        let mut progress = converge(&session, seen, names.clone(), ctx.now()).await;
        if progress.result.is_ok() && progress.next == Next::Done {
            let made = bastion::reconcile(ctx, &session, &names, object, &mut progress.after).await;
            if let Err(error) = made {
                let draft = Draft::is_false("Ready", "OpenStackError", error.to_string());
                conditions::set(&mut progress.after, draft, ctx.now());
                progress.result = Err(error);
            }
        }
        ctx.patch(object, &progress.after).await?;
        progress.result?;
        let wait = match progress.next {
            Next::After(wait) => wait,
            Next::Done => AUDIT,
        };
        let wait = session.watches().patience(wait, &progress.interests);
        self.watching.set(ctx, &session, progress.interests);
        Ok(Next::After(seams::jittered(ctx.randomness(), wait, 0.2)))
    }

    async fn delete(
        &self,
        ctx: &Context,
        object: &OpenStackCluster,
        cluster: &Cluster,
        names: &ClusterNames,
    ) -> Result<Next, Error> {
        if !meta::has_finalizer(&object.metadata, FINALIZER) {
            return Ok(Next::Done);
        }
        if !ctx.store::<Machine>().by_cluster(&Key::of(cluster)).is_empty() {
            return Ok(Next::After(LAST_RESORT));
        }
        let mut seen = object.clone();
        let session = self.session(ctx, object, &mut seen).await?;
        if !bastion::reconcile(ctx, &session, names, object, &mut seen).await? {
            // The end of its server wakes us.
            ctx.patch(object, &seen).await?;
            return Ok(Next::Done);
        }
        let (message, next, result) = match remove(&session, object, names).await {
            Ok(None) => {
                self.watching.forget(ctx);
                ctx.remove_finalizer(object, FINALIZER).await?;
                return Ok(Next::Done);
            }
            Ok(Some(remains)) => {
                let wait = session.watches().patience(remains.wait, &remains.interests);
                self.watching.set(ctx, &session, remains.interests);
                (remains.message, Next::After(wait), Ok(()))
            }
            Err(error) => (error.to_string(), Next::Done, Err(error)),
        };
        conditions::set(
            &mut seen,
            Draft::is_false("Ready", "OpenStackError", message),
            ctx.now(),
        );
        ctx.patch(object, &seen).await?;
        result.map(|()| next)
    }

    /// The session; says in the conditions of `seen` whether the credentials work, and writes that if they do not.
    async fn session(
        &self,
        ctx: &Context,
        object: &OpenStackCluster,
        seen: &mut OpenStackCluster,
    ) -> Result<Arc<Session>, Error> {
        let namespace = object.namespace().unwrap_or_default();
        match identity::session(ctx, &self.sessions, &namespace, &object.spec.identity_ref).await {
            Ok(session) => {
                conditions::set(seen, Draft::is_true(AUTHENTICATED, "Ready", ""), ctx.now());
                Ok(session)
            }
            Err(error) => {
                if error.is_for_users() {
                    let message = error.to_string();
                    let reason = "OpenStackAuthenticationFailed";
                    conditions::set(
                        seen,
                        Draft::is_false(AUTHENTICATED, reason, message.as_str()),
                        ctx.now(),
                    );
                    conditions::set(
                        seen,
                        Draft::is_false("Ready", "OpenStackError", message),
                        ctx.now(),
                    );
                    ctx.patch(object, seen).await?;
                }
                Err(error)
            }
        }
    }
}
