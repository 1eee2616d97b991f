//! The controller of OpenStackMachine: asks for a server and tells core what became of it.

pub mod ingress;
pub mod spec;
pub mod state;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use capi_api::{
    conditions::{self, Draft, Status},
    core::v1beta2::{Cluster, Machine},
    labels,
};
use capi_runtime::{Context, Controller, Failure, Key, Next, Reconciler, meta};
use kube::ResourceExt;

use self::{ingress::Ingress, state::State};
use super::{identity, openstackserver::floating_ip, watching::Watching};
use crate::{
    Error,
    api::{MachineInitialization, OpenStackCluster, OpenStackMachine, OpenStackServer},
    cloud::{
        Session, Sessions,
        watch::{Collection, Interest},
    },
    rules::{addresses, names::ClusterNames},
};

/// Keeps the object until its server is gone.
pub const FINALIZER: &str = "openstackmachine.infrastructure.cluster.x-k8s.io";
const GROUP: &str = "infrastructure.cluster.x-k8s.io";
const READY: &str = "Ready";
const INSTANCE_READY: &str = "InstanceReady";
const INGRESS_READY: &str = "APIServerIngressReady";
/// How often a busy load balancer is asked.
const BUSY: Duration = Duration::from_secs(3);
/// How soon a server is looked at again whose floating IP Nova does not know yet.
const SOON: Duration = Duration::from_secs(5);

/// The controller, ready to be registered.
pub fn controller(sessions: Arc<Sessions>) -> Controller<OpenStackMachine> {
    let watching = Watching::new("OpenStackMachine", sessions.clone());
    let waker = watching.waker().clone();
    let reconciler = OpenStackMachineReconciler { sessions, watching };
    Controller::<OpenStackMachine>::new("openstackmachine", reconciler)
        .woken_by(&waker)
        .watches::<Machine>(|machine, _| {
            let reference = &machine.spec.infrastructure_ref;
            let ours = reference.kind == "OpenStackMachine" && reference.api_group == GROUP;
            ours.then(|| Key::of(machine).sibling(reference.name.clone()))
                .into_iter()
                .collect()
        })
        .watches_owned::<OpenStackServer>()
        .watches_changes::<OpenStackCluster>(|old, new, stores| {
            let provisioned = |cluster: Option<&OpenStackCluster>| cluster.is_some_and(is_provisioned);
            let name = new.and_then(|cluster| {
                cluster
                    .metadata
                    .labels
                    .as_ref()?
                    .get(labels::CLUSTER_NAME)
                    .cloned()
            });
            match (new, name) {
                (Some(cluster), Some(name))
                    if provisioned(old) != provisioned(new)
                        || old.and_then(balancer) != new.and_then(balancer)
                        || old.map(|old| &old.spec.identity_ref) != new.map(|new| &new.spec.identity_ref) =>
                {
                    let all = stores
                        .declare::<OpenStackMachine>()
                        .by_cluster(&Key::of(cluster).sibling(name));
                    all.iter().map(|machine| Key::of(&**machine)).collect()
                }
                _ => Vec::new(),
            }
        })
        .watches_changes::<Cluster>(|old, new, stores| {
            let paused = |cluster: Option<&Cluster>| cluster.map(|cluster| cluster.spec.paused == Some(true));
            let Some(cluster) = new.filter(|_| paused(old) != paused(new)) else {
                return Vec::new();
            };
            let all = stores.declare::<OpenStackMachine>().by_cluster(&Key::of(cluster));
            all.iter().map(|machine| Key::of(&**machine)).collect()
        })
}

fn is_provisioned(cluster: &OpenStackCluster) -> bool {
    let status = cluster
        .status
        .as_ref()
        .and_then(|status| status.initialization.as_ref());
    status.is_some_and(|status| status.provisioned == Some(true))
}

struct OpenStackMachineReconciler {
    sessions: Arc<Sessions>,
    watching: Watching,
}

/// The load balancer of a cluster, by id.
fn balancer(cluster: &OpenStackCluster) -> Option<&str> {
    let balancer = cluster
        .status
        .as_ref()?
        .api_server_managed_load_balancer
        .as_ref()?;
    Some(balancer.id.as_str())
}

/// The objects around a machine.
struct Around {
    object: Arc<OpenStackMachine>,
    machine: Arc<Machine>,
    cluster: Arc<OpenStackCluster>,
    names: ClusterNames,
}

#[async_trait]
impl Reconciler for OpenStackMachineReconciler {
    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Next, Failure> {
        let Some(object) = ctx.get::<OpenStackMachine>(key) else {
            return Ok(Next::Done);
        };
        let Some(around) = around(ctx, key, object) else {
            return Ok(Next::Done);
        };
        let deleting = meta::is_deleting(&around.object.metadata);
        Ok(match deleting {
            true => self.delete(ctx, &around).await?,
            false => self.ensure(ctx, &around).await?,
        })
    }
}

/// The owner Machine, its Cluster and that one's OpenStackCluster; nothing if one is missing or it is paused.
fn around(ctx: &Context, key: &Key, object: Arc<OpenStackMachine>) -> Option<Around> {
    let owner = meta::owner_of_kind(&object.metadata, "cluster.x-k8s.io", "Machine")?;
    let machine = ctx.get::<Machine>(&key.sibling(owner.name.clone()))?;
    let cluster = ctx.get::<Cluster>(&key.sibling(machine.spec.cluster_name.clone()))?;
    if cluster.spec.paused == Some(true) || meta::has_paused_annotation(&object.metadata) {
        return None;
    }
    let infrastructure = cluster.spec.infrastructure_ref.as_ref()?.name.clone();
    Some(Around {
        names: ClusterNames::new(key.namespace.clone(), cluster.name_any()),
        cluster: ctx.get::<OpenStackCluster>(&key.sibling(infrastructure))?,
        object,
        machine,
    })
}

fn not_ready(object: &mut OpenStackMachine, reason: &str, message: &str, ctx: &Context) {
    for type_ in [INSTANCE_READY, READY] {
        conditions::set(object, Draft::is_false(type_, reason, message), ctx.now());
    }
}

impl OpenStackMachineReconciler {
    async fn session(&self, ctx: &Context, around: &Around) -> Result<Arc<Session>, Error> {
        let identity = around
            .object
            .spec
            .identity_ref
            .as_ref()
            .unwrap_or(&around.cluster.spec.identity_ref);
        identity::session(
            ctx,
            &self.sessions,
            &around.object.namespace().unwrap_or_default(),
            identity,
        )
        .await
    }

    async fn ensure(&self, ctx: &Context, around: &Around) -> Result<Next, Error> {
        let object = &*around.object;
        let mut after = object.clone();
        if !is_provisioned(&around.cluster) {
            not_ready(
                &mut after,
                "WaitingForClusterInfrastructure",
                "the OpenStackCluster is not provisioned yet",
                ctx,
            );
            ctx.patch(object, &after).await?;
            return Ok(Next::Done);
        }
        if around.machine.spec.bootstrap.data_secret_name.is_none() {
            not_ready(
                &mut after,
                "WaitingForBootstrapData",
                "the bootstrap data is not there yet",
                ctx,
            );
            ctx.patch(object, &after).await?;
            return Ok(Next::Done);
        }
        if ctx.ensure_finalizer(object, FINALIZER).await? {
            return Ok(Next::Done);
        }
        let server = self.server(ctx, around).await?;
        let state = state::of(&server);
        for type_ in [INSTANCE_READY, READY] {
            conditions::set(&mut after, state::draft(type_, &state), ctx.now());
        }
        let result = match &state {
            State::Active(id) => {
                let led = conditions::is_true(&*server, floating_ip::READY);
                self.active(ctx, around, &mut after, id, led).await
            }
            State::Not(..) => Ok(Next::Done),
        };
        ctx.patch(object, &after).await?;
        result
    }

    /// The machine's server; it is asked for if it is not there.
    async fn server(&self, ctx: &Context, around: &Around) -> Result<Arc<OpenStackServer>, Error> {
        if let Some(server) = ctx.get::<OpenStackServer>(ctx.key()) {
            let wanted = spec::identity(&around.object.spec, &around.cluster);
            if server.spec.identity_ref == *wanted {
                return Ok(server);
            }
            // Other credentials for the same project: the only part of a server's spec that may change.
            let mut after = (*server).clone();
            after.spec.identity_ref = wanted.clone();
            ctx.patch(&*server, &after).await?;
            return Ok(Arc::new(after));
        }
        let mut server = OpenStackServer::new(
            &ctx.key().name,
            spec::server(&around.object, &around.machine, &around.cluster),
        );
        let meta = &mut server.metadata;
        meta.namespace = Some(ctx.key().namespace.clone());
        let cluster = around.machine.spec.cluster_name.clone();
        meta.labels = Some([(labels::CLUSTER_NAME.to_owned(), cluster)].into());
        meta.owner_references = Some(vec![meta::controller_reference(&*around.object)]);
        Ok(Arc::new(ctx.create(&server).await?))
    }

    /// What is to be said and done once the server runs. `led`: a floating IP of a pool leads to it.
    async fn active(
        &self,
        ctx: &Context,
        around: &Around,
        after: &mut OpenStackMachine,
        id: &str,
        led: bool,
    ) -> Result<Next, Error> {
        let control_plane = spec::is_control_plane(&around.machine);
        let known = around.object.status.clone().unwrap_or_default();
        let has_external = known
            .addresses
            .iter()
            .any(|address| address.type_ == "ExternalIP");
        let addressed = !known.addresses.is_empty()
            && (has_external || around.object.spec.floating_ip_pool_ref.is_none());
        let complete = addressed && known.instance_id.as_deref() == Some(id);
        let joined = joined(&around.cluster);
        let led_in = conditions::get(&*around.object, INGRESS_READY)
            .is_some_and(|condition| condition.status == "True" && condition.message == joined);
        if complete && (!control_plane || led_in) {
            // Nothing can have changed without the server saying so.
            return Ok(Next::Done);
        }
        let session = self.session(ctx, around).await?;
        let Some(server) = session.server(id).await? else {
            let gone = State::Not(
                Status::False,
                "InstanceDeleted".into(),
                format!("server {id} does not exist in OpenStack"),
            );
            for type_ in [INSTANCE_READY, READY] {
                conditions::set(after, state::draft(type_, &gone), ctx.now());
            }
            return Ok(Next::Done);
        };
        after.spec.provider_id = Some(spec::provider_id(&around.object, id));
        let status = after.status.get_or_insert_default();
        status.instance_id = Some(id.to_owned());
        status.addresses = addresses::of_server(&server);
        status.initialization = Some(MachineInitialization {
            provisioned: Some(true),
        });
        // Nova hears of floating IPs from Neutron, a moment after us, and tells nobody when it has.
        let shown = status
            .addresses
            .iter()
            .any(|address| address.type_ == "ExternalIP");
        let next = match led && !shown {
            true => Next::After(seams::jittered(ctx.randomness(), SOON, 0.2)),
            false => Next::Done,
        };
        if !control_plane {
            return Ok(next);
        }
        let network = around
            .cluster
            .status
            .as_ref()
            .and_then(|status| status.network.as_ref());
        let name = network.map(|network| network.name.as_str()).unwrap_or_default();
        let ingress = match addresses::in_network(&server, name) {
            Some(address) => ingress::ensure(&session, &ingress_of(around, id), address).await,
            None => Err(Error::reference(
                format!("server {}", server.name),
                format!("it has no address in network {name}"),
            )),
        };
        match ingress {
            Ok(Ingress::Done) => {
                self.watching.forget(ctx);
                conditions::set(after, Draft::is_true(INGRESS_READY, "Ready", joined), ctx.now());
                Ok(next)
            }
            Ok(Ingress::Busy(message)) => {
                let draft = Draft::is_false(INGRESS_READY, "LoadBalancerMemberError", message);
                conditions::set(after, draft, ctx.now());
                Ok(self.when_free(ctx, &session, &around.cluster))
            }
            Err(error) => {
                let draft = Draft::is_false(INGRESS_READY, "LoadBalancerMemberError", error.to_string());
                conditions::set(after, draft, ctx.now());
                Err(error)
            }
        }
    }

    /// Is woken when the load balancer has done what it does.
    fn when_free(&self, ctx: &Context, session: &Arc<Session>, cluster: &OpenStackCluster) -> Next {
        let busy = |id| Interest::waiting(Collection::LoadBalancers, id, "PENDING_UPDATE");
        let interests: Vec<Interest> = balancer(cluster).map(busy).into_iter().collect();
        let wait = session.watches().patience(BUSY, &interests);
        self.watching.set(ctx, session, interests);
        Next::After(seams::jittered(ctx.randomness(), wait, 0.5))
    }

    async fn delete(&self, ctx: &Context, around: &Around) -> Result<Next, Error> {
        let object = &*around.object;
        if !meta::has_finalizer(&object.metadata, FINALIZER) {
            return Ok(Next::Done);
        }
        let Some(server) = ctx.get::<OpenStackServer>(ctx.key()) else {
            ctx.remove_finalizer(object, FINALIZER).await?;
            return Ok(Next::Done);
        };
        if spec::is_control_plane(&around.machine) && !meta::is_deleting(&server.metadata) {
            let session = self.session(ctx, around).await?;
            let id = server
                .status
                .as_ref()
                .and_then(|status| status.instance_id.clone())
                .unwrap_or_default();
            if let Ingress::Busy(message) = ingress::remove(&session, &ingress_of(around, &id)).await? {
                let mut after = object.clone();
                conditions::set(
                    &mut after,
                    Draft::is_false(INGRESS_READY, "LoadBalancerMemberError", message),
                    ctx.now(),
                );
                ctx.patch(object, &after).await?;
                return Ok(self.when_free(ctx, &session, &around.cluster));
            }
        }
        self.watching.forget(ctx);
        // Its end wakes us.
        ctx.delete(&*server).await?;
        Ok(Next::Done)
    }
}

/// What the condition says of a machine that the API server is reached through: which load balancer it joined. Another
/// one may take its place.
fn joined(cluster: &OpenStackCluster) -> String {
    balancer(cluster).map_or_else(String::new, |id| format!("member of load balancer {id}"))
}

fn ingress_of<'a>(around: &'a Around, server: &'a str) -> ingress::Machine<'a> {
    ingress::Machine {
        cluster: &around.cluster,
        names: &around.names,
        name: around.object.metadata.name.as_deref().unwrap_or_default(),
        server,
    }
}
