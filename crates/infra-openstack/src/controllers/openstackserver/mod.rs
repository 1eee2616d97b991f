//! The controller of OpenStackServer: ports, trunks, volumes, one server.
//!
//! What the spec refers to is resolved once and stored before anything is made. A server that vanished is never made
//! again: its machine is replaced. Running servers are watched through one list per identity.

pub mod act;
#[cfg(test)]
mod fault_tests;
pub mod floating_ip;
pub mod interests;
pub mod observe;
pub mod plan;
pub mod resolve;
pub mod status;
#[cfg(test)]
mod tests;
pub mod world;

use std::sync::Arc;

use async_trait::async_trait;
use capi_api::{
    conditions::{self, Draft},
    core::v1beta2::Cluster,
    ipam::v1beta2::{IPAddress, IPAddressClaim},
    labels,
};
use capi_runtime::{Context, Controller, Failure, Key, Next, Reconciler, meta};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    ResourceExt,
    api::{ApiResource, GroupVersionKind},
};

use self::{
    plan::{Action, Step},
    world::World,
};
use super::{
    identity,
    openstackcluster::AUTHENTICATED,
    watching::{Remains, Watching},
};
use crate::{
    Error,
    api::OpenStackServer,
    cloud::{Session, Sessions, watch::Interest},
};

/// Keeps the object until OpenStack has nothing of the server any more.
pub const FINALIZER: &str = "openstackserver.infrastructure.cluster.x-k8s.io";
/// More steps than any server needs; a plan that never ends is a defect.
const MOST_STEPS: usize = 50;

/// How far a server came.
#[derive(Debug)]
pub struct Progress {
    /// The object with its new status.
    pub after: OpenStackServer,
    /// When to look again.
    pub next: Next,
    /// What went wrong.
    pub result: Result<(), Error>,
    /// Whose changes should wake the object.
    pub interests: Vec<Interest>,
}

/// Brings the server as far as it can be brought now. The status must hold what the spec was resolved to.
pub async fn converge(
    session: &Session,
    object: OpenStackServer,
    user_data: Option<Vec<u8>>,
    now: Timestamp,
) -> Progress {
    let resolved = object
        .status
        .as_ref()
        .and_then(|status| status.resolved.clone())
        .unwrap_or_default();
    let mut world = match observe::observe(session, object.clone(), resolved).await {
        Ok(world) => world,
        Err(error) => {
            let world = World {
                object,
                ..World::default()
            };
            return failed(&world, error, false, now);
        }
    };
    world.user_data = user_data;
    for _ in 0..MOST_STEPS {
        match plan::plan(&world) {
            Step::Done => {
                let (after, next) = status::report(&world, now);
                return Progress {
                    after,
                    next,
                    result: Ok(()),
                    interests: interests::of(&world),
                };
            }
            Step::Lost(id) => {
                let after = status::lost(&world, &id, now);
                return Progress {
                    after,
                    next: Next::Done,
                    result: Ok(()),
                    interests: Vec::new(),
                };
            }
            Step::Wait(message, wait) => {
                let after = status::waiting(&world, &message, now);
                return Progress {
                    after,
                    next: Next::After(wait),
                    result: Ok(()),
                    interests: interests::of(&world),
                };
            }
            Step::Act(actions) => {
                for action in actions {
                    let creating = matches!(action, Action::CreateServer(..));
                    tracing::info!(server = world.name(), action = action.summary(), "acting");
                    if let Err(error) = act::act(session, &mut world, &action).await {
                        return failed(&world, error.into(), creating, now);
                    }
                }
            }
        }
    }
    let error = Error::reference(
        "plan",
        format!("it did not end after {MOST_STEPS} steps; this is a defect"),
    );
    failed(&world, error, false, now)
}

impl Action {
    /// What it is, without bodies: user data is secret.
    fn summary(&self) -> String {
        match self {
            Self::CreatePort(index, _) => format!("create port {index}"),
            Self::CreateVolume(index, _) => format!("create volume {index}"),
            Self::CreateServer(..) => "create server".to_owned(),
            other => format!("{other:?}"),
        }
    }
}

fn failed(world: &World, error: Error, creating: bool, now: Timestamp) -> Progress {
    Progress {
        after: status::failed(world, &error, creating, now),
        next: Next::Done,
        result: Err(error),
        interests: Vec::new(),
    }
}

/// Takes the server and what belongs to it away; says what is left.
pub async fn remove(session: &Session, object: &OpenStackServer) -> Result<Option<Remains>, Error> {
    for _ in 0..MOST_STEPS {
        let mut world = observe::remains(session, object.clone()).await?;
        match plan::plan_removal(&world) {
            Step::Done | Step::Lost(_) => return Ok(None),
            Step::Wait(message, wait) => {
                return Ok(Some(Remains {
                    message,
                    wait,
                    interests: interests::of(&world),
                }));
            }
            Step::Act(actions) => {
                for action in actions {
                    tracing::info!(server = world.name(), action = action.summary(), "removing");
                    act::act(session, &mut world, &action).await?;
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
pub fn controller(sessions: Arc<Sessions>) -> Controller<OpenStackServer> {
    let watching = Watching::new("OpenStackServer", sessions.clone());
    let waker = watching.waker().clone();
    let reconciler = OpenStackServerReconciler { sessions, watching };
    Controller::<OpenStackServer>::new("openstackserver", reconciler)
        .woken_by(&waker)
        .watches_owned::<IPAddressClaim>()
        .reads::<IPAddress>()
        .watches_changes::<Cluster>(|old, new, stores| {
            let paused = |cluster: Option<&Cluster>| cluster.map(|cluster| cluster.spec.paused == Some(true));
            let Some(cluster) = new.filter(|_| paused(old) != paused(new)) else {
                return Vec::new();
            };
            let servers = stores.declare::<OpenStackServer>().by_cluster(&Key::of(cluster));
            servers.iter().map(|server| Key::of(&**server)).collect()
        })
}

struct OpenStackServerReconciler {
    sessions: Arc<Sessions>,
    watching: Watching,
}

#[async_trait]
impl Reconciler for OpenStackServerReconciler {
    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Next, Failure> {
        let Some(object) = ctx.get::<OpenStackServer>(key) else {
            return Ok(Next::Done);
        };
        let cluster = object
            .labels()
            .get(labels::CLUSTER_NAME)
            .and_then(|name| ctx.get::<Cluster>(&key.sibling(name.clone())));
        let paused = cluster.is_some_and(|cluster| cluster.spec.paused == Some(true));
        if paused || meta::has_paused_annotation(&object.metadata) {
            return Ok(Next::Done);
        }
        let deleting = meta::is_deleting(&object.metadata);
        if deleting && !meta::has_finalizer(&object.metadata, FINALIZER) {
            return Ok(Next::Done);
        }
        if !deleting && ctx.ensure_finalizer(&*object, FINALIZER).await? {
            return Ok(Next::Done);
        }
        Ok(self.reconcile_object(ctx, &object, deleting).await?)
    }
}

impl OpenStackServerReconciler {
    async fn reconcile_object(
        &self,
        ctx: &Context,
        object: &OpenStackServer,
        deleting: bool,
    ) -> Result<Next, Error> {
        let mut seen = object.clone();
        let namespace = object.namespace().unwrap_or_default();
        let session = match identity::session(ctx, &self.sessions, &namespace, &object.spec.identity_ref)
            .await
        {
            Ok(session) => session,
            Err(error) => {
                if error.is_for_users() {
                    let draft =
                        Draft::is_false(AUTHENTICATED, "OpenStackAuthenticationFailed", error.to_string());
                    conditions::set(&mut seen, draft, ctx.now());
                    ctx.patch(object, &seen).await?;
                }
                return Err(error);
            }
        };
        conditions::set(&mut seen, Draft::is_true(AUTHENTICATED, "Ready", ""), ctx.now());
        let jittered = |wait| Next::After(seams::jittered(ctx.randomness(), wait, 0.2));
        if deleting {
            return match remove(&session, object).await? {
                Some(remains) => {
                    let wait = session.watches().patience(remains.wait, &remains.interests);
                    self.watching.set(ctx, &session, remains.interests);
                    Ok(jittered(wait))
                }
                None => {
                    self.watching.forget(ctx);
                    floating_ip::give_back(ctx, object).await?;
                    ctx.remove_finalizer(object, FINALIZER).await?;
                    Ok(Next::Done)
                }
            };
        }
        if object
            .status
            .as_ref()
            .and_then(|status| status.resolved.as_ref())
            .is_none()
        {
            return self.resolve(ctx, object, seen, &session).await;
        }
        let user_data = self.user_data(ctx, object).await?;
        let mut progress = converge(&session, seen, user_data, ctx.now()).await;
        if progress.after.status.as_ref().is_some_and(|status| status.ready) && progress.result.is_ok() {
            progress.result = floating_ip::ensure(ctx, &session, object, &mut progress.after).await;
        }
        ctx.patch(object, &progress.after).await?;
        progress.result?;
        let patience = |wait| session.watches().patience(wait, &progress.interests);
        let next = match progress.next {
            Next::After(wait) => Next::After(patience(wait)),
            next => next,
        };
        self.watching.set(ctx, &session, progress.interests);
        Ok(match next {
            Next::After(wait) => jittered(wait),
            next => next,
        })
    }

    async fn resolve(
        &self,
        ctx: &Context,
        object: &OpenStackServer,
        seen: OpenStackServer,
        session: &Session,
    ) -> Result<Next, Error> {
        let image = self.image(ctx, object).await;
        let resolved = match image {
            Ok(image) => resolve::resolve(session, object, image).await,
            Err(error) => Err(error),
        };
        let world = World {
            object: seen.clone(),
            ..World::default()
        };
        match resolved {
            Ok(resolved) => {
                let mut after = seen;
                after.status.get_or_insert_default().resolved = Some(resolved);
                // The write wakes us.
                ctx.patch(object, &after).await?;
                Ok(Next::Done)
            }
            Err(error) => {
                if error.is_for_users() {
                    ctx.patch(object, &status::failed(&world, &error, false, ctx.now()))
                        .await?;
                }
                Err(error)
            }
        }
    }

    /// The id of the image that an Image object of the resource controller stands for, if the spec refers to one.
    async fn image(&self, ctx: &Context, object: &OpenStackServer) -> Result<Option<String>, Error> {
        let Some(reference) = &object.spec.image.image_ref else {
            return Ok(None);
        };
        let kind = GroupVersionKind::gvk("openstack.k-orc.cloud", "v1alpha1", "Image");
        let resource = ApiResource::from_gvk(&kind);
        let key = Key::new(object.namespace().unwrap_or_default(), reference.name.as_str());
        let what = || format!("Image {key}");
        let image = ctx.get_live_dynamic(&resource, &key).await?;
        let image = image.ok_or_else(|| Error::reference(what(), "it does not exist"))?;
        let status = &image.data["status"];
        let mut conditions = status["conditions"].as_array().into_iter().flatten();
        let available =
            conditions.any(|condition| condition["type"] == "Available" && condition["status"] == "True");
        match status["id"].as_str().filter(|_| available) {
            Some(id) => Ok(Some(id.to_owned())),
            None => Err(Error::reference(what(), "it is not Available yet")),
        }
    }

    /// The user data; needed only until the server is made.
    async fn user_data(&self, ctx: &Context, object: &OpenStackServer) -> Result<Option<Vec<u8>>, Error> {
        let made = object
            .status
            .as_ref()
            .is_some_and(|status| status.instance_id.is_some());
        let Some(reference) = object.spec.user_data_ref.as_ref().filter(|_| !made) else {
            return Ok(None);
        };
        let key = Key::new(object.namespace().unwrap_or_default(), reference.name.as_str());
        let secret: Option<Secret> = ctx.get_live(&key).await?;
        let value = secret
            .and_then(|secret| secret.data)
            .and_then(|mut data| data.remove("value"));
        let value = value.ok_or_else(|| {
            Error::reference(
                format!("userDataRef: Secret {key}"),
                "it does not exist or has no key value",
            )
        })?;
        Ok(Some(value.0))
    }
}
