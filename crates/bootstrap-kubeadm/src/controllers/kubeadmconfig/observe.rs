//! Reads what a plan needs: the stores always, the API servers only for what the stage at hand asks for.

use std::sync::Arc;

use capi_api::bootstrap::v1beta2::KubeadmConfig;
use capi_api::contract::ControlPlane;
use capi_api::core::v1beta2::{Cluster, Machine, MachinePool};
use capi_runtime::{Context, Key};
use cluster_pki::BootstrapToken;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, ResourceExt};

use super::certificates::Certificates;
use super::contents::{ControlPlaneVersion, has_templates, referenced_secrets};
use super::discovery::{self, TOKEN_NAMESPACE};
use super::error::Error;
use super::world::{Facts, Lock, Owner, Stage, TokenFact, World};

/// The key of the lock's ConfigMap that names its holder.
pub(super) const LOCK_KEY: &str = "lock-information";

/// The name of a cluster's init lock.
pub(super) fn lock_name(cluster: &str) -> String {
    format!("{cluster}-lock")
}

/// What the stores tell.
pub(super) fn world(ctx: &Context, config: Arc<KubeadmConfig>) -> World {
    let owner = owner(ctx, &config);
    let namespace = config.namespace().unwrap_or_default();
    let cluster = owner
        .cluster_name()
        .and_then(|name| ctx.get::<Cluster>(&Key::new(namespace, name)));
    World {
        config,
        owner,
        cluster,
    }
}

/// The Machine or MachinePool among the owner references. Without one of these, the control plane that made the
/// configuration may still own it alone.
fn owner(ctx: &Context, config: &KubeadmConfig) -> Owner {
    let namespace = config.namespace().unwrap_or_default();
    for reference in config.owner_references() {
        if capi_runtime::meta::group_of(reference) != "cluster.x-k8s.io" {
            continue;
        }
        let key = Key::new(namespace.clone(), reference.name.clone());
        let found = match reference.kind.as_str() {
            "Machine" => ctx.get::<Machine>(&key).map(Owner::Machine),
            "MachinePool" => ctx.get::<MachinePool>(&key).map(Owner::MachinePool),
            _ => continue,
        };
        return found.unwrap_or_else(|| Owner::Unknown {
            kind: reference.kind.clone(),
            name: reference.name.clone(),
        });
    }
    Owner::Nobody
}

/// What the stage needs beyond the stores. `token_due` says whether it is time to look after the token again.
pub(super) async fn facts(ctx: &Context, world: &World, token_due: bool) -> Result<Facts, Error> {
    let stage = world.stage();
    let (renders, may_replace) = match stage {
        Stage::Init | Stage::Join => (true, false),
        Stage::KeepToken | Stage::RotateToken => (false, token_due && world.owner.is_pool()),
        _ => return Ok(Facts::default()),
    };
    let Some(cluster) = &world.cluster else {
        return Ok(Facts::default());
    };
    let mut facts = Facts::default();
    if stage != Stage::Init && (renders || token_due) {
        facts.workload = workload(ctx, world, &Key::of(&**cluster)).await?;
        facts.fresh_token = Some(BootstrapToken::generate(ctx.randomness()));
    }
    if renders || may_replace {
        read_for_rendering(ctx, world, cluster, stage, &mut facts).await?;
    }
    Ok(facts)
}

async fn read_for_rendering(
    ctx: &Context,
    world: &World,
    cluster: &Cluster,
    stage: Stage,
    facts: &mut Facts,
) -> Result<(), Error> {
    let (spec, namespace) = (&world.config.spec, world.config.namespace().unwrap_or_default());
    let certificates = if world.owner.is_control_plane() {
        Certificates::of_control_plane(spec.cluster_configuration.as_ref())
    } else {
        Certificates::of_worker()
    };
    let cluster_name = cluster.name_any();
    for purpose in certificates.purposes() {
        let key = Key::new(namespace.clone(), purpose.name_for(&cluster_name));
        facts
            .certificates
            .insert(purpose, ctx.get_live::<Secret>(&key).await?);
    }
    for name in referenced_secrets(spec) {
        let secret = ctx
            .get_live::<Secret>(&Key::new(namespace.clone(), name.clone()))
            .await?;
        facts
            .contents
            .insert(name, secret.map(|secret| secret.data.unwrap_or_default()));
    }
    if has_templates(spec) {
        facts.control_plane_version = control_plane_version(ctx, cluster).await?;
    }
    facts.data = ctx.get_live::<Secret>(&Key::of(&*world.config)).await?;
    if matches!(stage, Stage::Init | Stage::Join) {
        let lock = ctx
            .get_live::<ConfigMap>(&Key::new(namespace, lock_name(&cluster_name)))
            .await?;
        facts.lock = lock.map(|lock| read_lock(ctx, &lock));
    }
    Ok(())
}

/// The version that the Cluster's control plane is to have.
async fn control_plane_version(ctx: &Context, cluster: &Cluster) -> Result<ControlPlaneVersion, Error> {
    let Some(reference) = &cluster.spec.control_plane_ref else {
        return Ok(None);
    };
    let namespace = cluster.namespace().unwrap_or_default();
    let described = format!("{} {namespace}/{}", reference.kind, reference.name);
    let found = match ctx.external(&namespace, reference).await {
        Ok(found) => found,
        Err(
            error @ (capi_runtime::Error::CrdMissing { .. } | capi_runtime::Error::ContractMissing { .. }),
        ) => {
            return Ok(Some(Err(error.to_string())));
        }
        Err(error) => return Err(error.into()),
    };
    let Some(object) = found.object else {
        return Ok(Some(Err(format!("{described} does not exist"))));
    };
    match ControlPlane::new(&object, found.contract).version() {
        Ok(version) => Ok(version
            .filter(|version| !version.is_empty())
            .map(|version| Ok(version.to_owned()))),
        Err(error) => Ok(Some(Err(error.to_string()))),
    }
}

/// Who holds the lock. One that cannot be read is nobody's.
fn read_lock(ctx: &Context, lock: &ConfigMap) -> Lock {
    let information = lock
        .data
        .as_ref()
        .and_then(|data| data.get(LOCK_KEY))
        .map(String::as_str)
        .unwrap_or_default();
    let information: serde_json::Value = serde_json::from_str(information).unwrap_or_default();
    let holder = information["machineName"].as_str().unwrap_or_default().to_owned();
    let machine = ctx.get::<Machine>(&Key::new(lock.namespace().unwrap_or_default(), holder.clone()));
    let holder_lives = machine.is_some_and(|machine| machine.metadata.deletion_timestamp.is_none());
    Lock {
        holder,
        holder_lives,
        uid: lock.uid(),
    }
}

/// What the workload cluster knows of the configuration's token.
async fn workload(
    ctx: &Context,
    world: &World,
    cluster: &Key,
) -> Result<Option<Result<TokenFact, String>>, Error> {
    let connection = match ctx.workload(cluster) {
        Ok(connection) => connection,
        Err(disconnected) => return Ok(Some(Err(disconnected.reason))),
    };
    let Some(Ok(token)) = world.token().map(str::parse::<BootstrapToken>) else {
        return Ok(Some(Ok(TokenFact::Missing)));
    };
    let name = token.secret_name();
    let secrets: Api<Secret> = Api::namespaced(connection.client(), TOKEN_NAMESPACE);
    let secret = secrets.get_opt(&name).await.map_err(|source| Error::Workload {
        what: format!("get Secret {TOKEN_NAMESPACE}/{name}"),
        cluster: cluster.to_string(),
        source: source.into(),
    })?;
    Ok(Some(Ok(match secret {
        None => TokenFact::Missing,
        Some(secret) => TokenFact::Expires(discovery::expiration(&secret.data.unwrap_or_default())),
    })))
}
