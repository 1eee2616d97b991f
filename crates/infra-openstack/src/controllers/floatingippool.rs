//! The controller of OpenStackFloatingIPPool: gives floating IPs to claims, and takes them back.
//!
//! Every floating IP of a pool carries its tag and description; one whose making was interrupted is found by them.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use capi_api::{
    conditions::{self, Draft},
    ipam::v1beta2::{
        IPAddress, IPAddressClaim, IPAddressClaimReference, IPAddressReference, IPPoolReference,
    },
};
use capi_runtime::{Context, Controller, Failure, Key, Next, Reconciler, Stores, meta};
use kube::ResourceExt;
use serde_json::json;

use super::{identity, lookup};
use crate::{
    Error,
    api::{NetworkParam, NetworkStatus, OpenStackFloatingIPPool, ReclaimPolicy},
    cloud::{
        Session, Sessions,
        network::{FloatingIp, Network, by},
    },
    rules::names,
};

/// The kind, as claims name it.
pub const KIND: &str = "OpenStackFloatingIPPool";
const GROUP: &str = "infrastructure.cluster.x-k8s.io";
const FINALIZER: &str = "openstackfloatingippool.infrastructure.cluster.x-k8s.io";
const ADDRESS_FINALIZER: &str = "openstackfloatingippool.infrastructure.cluster.x-k8s.io/delete-floating-ip";
/// The wire name of this condition has its own spelling.
const READY: &str = "OpenstackFloatingIPPoolReadyCondition";

fn is_of(reference: &IPPoolReference, pool: &str) -> bool {
    reference.kind == KIND && reference.api_group == GROUP && reference.name == pool
}

/// The controller, ready to be registered.
pub fn controller(sessions: Arc<Sessions>) -> Controller<OpenStackFloatingIPPool> {
    let pool = |namespace: Option<String>, reference: &IPPoolReference| {
        let ours = reference.kind == KIND && reference.api_group == GROUP;
        let key = ours.then(|| Key::new(namespace.unwrap_or_default(), reference.name.clone()));
        key.into_iter().collect::<Vec<_>>()
    };
    Controller::<OpenStackFloatingIPPool>::new("openstackfloatingippool", PoolReconciler { sessions })
        .watches::<IPAddressClaim>(move |claim, _: &Stores| pool(claim.namespace(), &claim.spec.pool_ref))
        .watches::<IPAddress>(move |address, _: &Stores| pool(address.namespace(), &address.spec.pool_ref))
        .concurrency(1)
}

struct PoolReconciler {
    sessions: Arc<Sessions>,
}

/// What is known about a pool.
struct World {
    pool: OpenStackFloatingIPPool,
    claims: Vec<Arc<IPAddressClaim>>,
    addresses: Vec<Arc<IPAddress>>,
    network: Network,
    /// Those of the pool, and those that were announced and exist.
    ips: Vec<FloatingIp>,
}

impl World {
    fn announced(&self) -> BTreeSet<String> {
        self.pool
            .spec
            .pre_allocated_floating_ips
            .iter()
            .cloned()
            .collect()
    }

    fn in_use(&self) -> BTreeSet<String> {
        self.addresses
            .iter()
            .map(|address| address.spec.address.clone())
            .collect()
    }

    /// Addresses that are free, announced ones first.
    fn available(&self) -> Vec<String> {
        let (announced, used) = (self.announced(), self.in_use());
        let free = self
            .ips
            .iter()
            .map(|ip| ip.floating_ip_address.clone())
            .filter(|address| !used.contains(address));
        let mut free: Vec<String> = free.collect();
        free.sort_by_key(|address| (!announced.contains(address), address.clone()));
        free.dedup();
        free
    }

    /// Announced addresses that do not exist.
    fn missing(&self) -> Vec<String> {
        let exist: BTreeSet<&str> = self
            .ips
            .iter()
            .map(|ip| ip.floating_ip_address.as_str())
            .collect();
        self.announced()
            .into_iter()
            .filter(|address| !exist.contains(address.as_str()))
            .collect()
    }

    /// True if no floating IP may be added.
    fn is_full(&self) -> bool {
        let limit = self.pool.spec.max_ips.filter(|limit| *limit > 0);
        limit.is_some_and(|limit| self.ips.len() as i64 >= limit)
    }

    /// Claims that wait for an address. An address has the name of its claim.
    fn open(&self) -> Vec<Arc<IPAddressClaim>> {
        let served: BTreeSet<String> = self.addresses.iter().map(|address| address.name_any()).collect();
        let open = self
            .claims
            .iter()
            .filter(|claim| !meta::is_deleting(&claim.metadata) && !served.contains(&claim.name_any()));
        open.cloned().collect()
    }
}

#[async_trait]
impl Reconciler for PoolReconciler {
    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Next, Failure> {
        let Some(pool) = ctx.get::<OpenStackFloatingIPPool>(key) else {
            return Ok(Next::Done);
        };
        let deleting = meta::is_deleting(&pool.metadata);
        if meta::has_paused_annotation(&pool.metadata)
            || (deleting && !meta::has_finalizer(&pool.metadata, FINALIZER))
            || (!deleting && ctx.ensure_finalizer(&*pool, FINALIZER).await?)
        {
            return Ok(Next::Done);
        }
        Ok(self.reconcile_pool(ctx, &pool, deleting).await?)
    }
}

impl PoolReconciler {
    async fn reconcile_pool(
        &self,
        ctx: &Context,
        pool: &OpenStackFloatingIPPool,
        deleting: bool,
    ) -> Result<Next, Error> {
        let mut after = pool.clone();
        let result = self.work(ctx, pool, deleting, &mut after).await;
        let draft = match &result {
            Ok(None) => return Ok(Next::Done),
            Ok(Some(draft)) => draft.clone(),
            Err(Error::Reference { what, reason }) => {
                Draft::is_false(READY, "UnableToFindNetwork", format!("{what}: {reason}"))
            }
            Err(error) => Draft::is_false(READY, "OpenStackError", error.to_string()),
        };
        conditions::set(&mut after, draft, ctx.now());
        ctx.patch(pool, &after).await?;
        // Addresses and claims wake us.
        result.map(|_| Next::Done)
    }

    /// Does what there is to do; nothing is returned when the pool is gone, else its condition.
    async fn work(
        &self,
        ctx: &Context,
        pool: &OpenStackFloatingIPPool,
        deleting: bool,
        after: &mut OpenStackFloatingIPPool,
    ) -> Result<Option<Draft>, Error> {
        let session =
            identity::session(ctx, &self.sessions, &ctx.key().namespace, &pool.spec.identity_ref).await?;
        let mut world = observe(ctx, &session, pool).await?;
        take_back(ctx, &session, &mut world).await?;
        if deleting {
            if !world.addresses.is_empty() {
                let message = format!("{} addresses are still in use", world.addresses.len());
                return Ok(Some(Draft::is_false(READY, "OpenStackError", message)));
            }
            let announced = world.announced();
            for ip in world
                .ips
                .iter()
                .filter(|ip| !announced.contains(&ip.floating_ip_address))
            {
                session.delete_floating_ip(&ip.id).await?;
            }
            ctx.remove_finalizer(pool, FINALIZER).await?;
            return Ok(None);
        }
        let mut full = false;
        for claim in world.open() {
            match give(ctx, &session, &mut world, &claim).await? {
                true => {}
                false => full = true,
            }
        }
        for address in &world.addresses {
            refer(ctx, address).await?;
        }
        let status = after.status.get_or_insert_default();
        status.claimed_ips = world.in_use().into_iter().collect();
        status.available_ips = world.available();
        status.failed_ips = world.missing();
        status.floating_ip_network = Some(NetworkStatus {
            id: world.network.id.clone(),
            name: world.network.name.clone(),
            tags: world.network.tags.clone(),
        });
        Ok(Some(match full {
            false => Draft::is_true(READY, "Ready", ""),
            true => Draft::is_false(
                READY,
                "MaxIPsReached",
                "claims wait, but maxIPs floating IPs are in use",
            ),
        }))
    }
}

async fn observe(ctx: &Context, session: &Session, pool: &OpenStackFloatingIPPool) -> Result<World, Error> {
    let (namespace, name) = (ctx.key().namespace.as_str(), ctx.key().name.as_str());
    let claims = ctx.store::<IPAddressClaim>().list(Some(namespace));
    let addresses = ctx.store::<IPAddress>().list(Some(namespace));
    let network = match &pool.spec.floating_ip_network {
        Some(param) => lookup::network(session, param, true).await?,
        None => {
            let outside = NetworkParam::default();
            lookup::network(session, &outside, true).await?
        }
    };
    let mut ips = session
        .floating_ips(vec![by("tags", names::pool_tag(name))])
        .await?;
    // What was made but not tagged, because something came in between.
    for ip in session
        .floating_ips(vec![by("description", names::describe_pool(name))])
        .await?
    {
        if !ips.iter().any(|known| known.id == ip.id) {
            session
                .set_tags("floatingips", &ip.id, &[names::pool_tag(name)])
                .await?;
            ips.push(ip);
        }
    }
    let announced = &pool.spec.pre_allocated_floating_ips;
    if !announced.is_empty() {
        let query = announced
            .iter()
            .map(|address| by("floating_ip_address", address.as_str()))
            .collect();
        for ip in session.floating_ips(query).await? {
            if !ips.iter().any(|known| known.id == ip.id) {
                ips.push(ip);
            }
        }
    }
    Ok(World {
        pool: pool.clone(),
        claims: claims
            .into_iter()
            .filter(|claim| is_of(&claim.spec.pool_ref, name))
            .collect(),
        addresses: addresses
            .into_iter()
            .filter(|address| is_of(&address.spec.pool_ref, name))
            .collect(),
        network,
        ips,
    })
}

/// Takes back the addresses that are given back.
async fn take_back(ctx: &Context, session: &Session, world: &mut World) -> Result<(), Error> {
    let (announced, policy) = (world.announced(), world.pool.spec.reclaim_policy);
    let (going, staying) = world
        .addresses
        .drain(..)
        .partition(|address| meta::is_deleting(&address.metadata));
    world.addresses = staying;
    let going: Vec<Arc<IPAddress>> = going;
    for address in going {
        if policy == ReclaimPolicy::Delete && !announced.contains(&address.spec.address) {
            for ip in world
                .ips
                .iter()
                .filter(|ip| ip.floating_ip_address == address.spec.address)
            {
                session.delete_floating_ip(&ip.id).await?;
            }
            world
                .ips
                .retain(|ip| ip.floating_ip_address != address.spec.address);
        }
        ctx.remove_finalizer(&*address, ADDRESS_FINALIZER).await?;
    }
    Ok(())
}

/// Gives an address to a claim; false if there is none and no more may be made.
async fn give(
    ctx: &Context,
    session: &Session,
    world: &mut World,
    claim: &IPAddressClaim,
) -> Result<bool, Error> {
    let free = match world.available().into_iter().next() {
        Some(free) => free,
        None if world.is_full() => return Ok(false),
        None => {
            let pool = ctx.key().name.as_str();
            let body =
                json!({ "floating_network_id": world.network.id, "description": names::describe_pool(pool) });
            let ip = session.create_floating_ip(body).await?;
            session
                .set_tags("floatingips", &ip.id, &[names::pool_tag(pool)])
                .await?;
            let address = ip.floating_ip_address.clone();
            world.ips.push(ip);
            address
        }
    };
    let mut address = IPAddress::new(&claim.name_any(), Default::default());
    address.metadata.namespace = claim.namespace();
    address.metadata.finalizers = Some(vec![ADDRESS_FINALIZER.to_owned()]);
    address.metadata.owner_references = Some(vec![meta::controller_reference(claim)]);
    address.spec.claim_ref = IPAddressClaimReference {
        name: claim.name_any(),
    };
    address.spec.pool_ref = claim.spec.pool_ref.clone();
    address.spec.address = free;
    address.spec.prefix = 32;
    world.addresses.push(Arc::new(ctx.create(&address).await?));
    Ok(true)
}

/// Tells the claim of an address about it.
async fn refer(ctx: &Context, address: &IPAddress) -> Result<(), Error> {
    let key = ctx.key().sibling(address.spec.claim_ref.name.clone());
    let Some(claim) = ctx.get::<IPAddressClaim>(&key) else {
        return Ok(());
    };
    let mut after = (*claim).clone();
    after.status.get_or_insert_default().address_ref = Some(IPAddressReference {
        name: address.name_any(),
    });
    ctx.patch(&*claim, &after).await?;
    Ok(())
}
