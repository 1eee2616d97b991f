//! Carries out a plan: its writes in order, the status last. Every write can be repeated after a crash.

use capi_api::core::v1beta2::Cluster;
use capi_api::labels;
use capi_runtime::{Context, Key};
use cluster_pki::BootstrapToken;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::certificates;
use super::conditions::Report;
use super::discovery::{self, EXPIRATION_KEY, TOKEN_NAMESPACE};
use super::error::Error;
use super::lock::DroppedLocks;
use super::observe::{LOCK_KEY, lock_name};
use super::plan::{Action, Plan};
use super::world::{Lock, Owner, World};

/// Does what the plan says.
pub(super) async fn act(
    ctx: &Context,
    world: &World,
    plan: &Plan,
    locks: &DroppedLocks,
) -> Result<(), Error> {
    let mut config = (*world.config).clone();
    for action in &plan.actions {
        match action {
            Action::WriteSpec(spec) => {
                let mut after = config.clone();
                after.spec = (**spec).clone();
                // Locked, so that the status can follow on the version that this makes.
                ctx.patch_locked(&config, &after).await?;
                // The API server counts a changed spec as one more generation.
                after.metadata.generation = config.metadata.generation.map(|generation| generation + 1);
                config = after;
            }
            other => carry_out(ctx, world, other, locks).await?,
        }
    }
    let mut after = config.clone();
    plan.report
        .write(&mut after, config.metadata.generation, ctx.now());
    if plan.report != Report::default() {
        // Written together with the rest: a write of its own would say nothing more.
        let (_, draft) = capi_runtime::meta::paused_condition("KubeadmConfig", false, &config.metadata);
        capi_api::conditions::set(&mut after, draft, ctx.now());
    }
    ctx.patch(&config, &after).await?;
    Ok(())
}

async fn carry_out(ctx: &Context, world: &World, action: &Action, locks: &DroppedLocks) -> Result<(), Error> {
    let Some(cluster) = &world.cluster else {
        return Ok(());
    };
    match action {
        Action::DropLock(lock) => {
            let key = Key::of(&**cluster);
            if !locks.claim(&key, lock.uid.as_deref().unwrap_or_default()) {
                return Ok(());
            }
            let result = drop_lock(ctx, world, cluster, lock).await;
            if result.is_err() {
                locks.release(&key);
            }
            result
        }
        Action::TakeLock => take_lock(ctx, world, cluster).await,
        Action::Generate(purposes) => {
            for purpose in purposes {
                let configuration = world.config.spec.cluster_configuration.as_ref();
                let pair = certificates::generate(*purpose, configuration, ctx.keys(), ctx.now())?;
                create_unless_there(ctx, &certificates::secret(cluster, *purpose, &world.config, pair))
                    .await?;
            }
            Ok(())
        }
        Action::CreateToken(token, expires) => create_token(ctx, &Key::of(&**cluster), token, *expires).await,
        Action::ExtendToken(token, expires) => extend_token(ctx, &Key::of(&**cluster), token, *expires).await,
        Action::CreateData(secret) => {
            ctx.create(&**secret).await?;
            tracing::info!(config = %Key::of(&*world.config), owner = %world.owner.describe(), "user data is in its Secret");
            Ok(())
        }
        Action::ReplaceData(before, after) => {
            ctx.patch_locked(&**before, &**after).await?;
            tracing::info!(config = %Key::of(&*world.config), owner = %world.owner.describe(), "user data was replaced");
            Ok(())
        }
        Action::WriteSpec(_) => Ok(()),
    }
}

/// Somebody who was faster is fine: what is there is read in the next round.
async fn create_unless_there(ctx: &Context, secret: &Secret) -> Result<(), Error> {
    match ctx.create(secret).await {
        Err(error) if error.is_already_exists() => Ok(()),
        result => Ok(result.map(drop)?),
    }
}

async fn drop_lock(ctx: &Context, world: &World, cluster: &Cluster, lock: &Lock) -> Result<(), Error> {
    let metadata = ObjectMeta {
        name: Some(lock_name(&cluster.name_any())),
        namespace: world.config.namespace(),
        uid: lock.uid.clone(),
        ..ObjectMeta::default()
    };
    Ok(ctx
        .delete(&ConfigMap {
            metadata,
            ..ConfigMap::default()
        })
        .await?)
}

/// Fails with a conflict if another machine was faster.
async fn take_lock(ctx: &Context, world: &World, cluster: &Cluster) -> Result<(), Error> {
    let Owner::Machine(machine) = &world.owner else {
        return Ok(());
    };
    let information = json!({ "machineName": machine.name_any() }).to_string();
    let lock = ConfigMap {
        metadata: ObjectMeta {
            name: Some(lock_name(&cluster.name_any())),
            namespace: world.config.namespace(),
            labels: Some([(labels::CLUSTER_NAME.to_owned(), cluster.name_any())].into()),
            owner_references: Some(vec![capi_runtime::meta::owner_reference(cluster)]),
            ..ObjectMeta::default()
        },
        data: Some([(LOCK_KEY.to_owned(), information)].into()),
        ..ConfigMap::default()
    };
    ctx.create(&lock).await?;
    Ok(())
}

fn tokens(ctx: &Context, cluster: &Key) -> Result<Api<Secret>, Error> {
    let connection = ctx.workload(cluster).map_err(capi_runtime::Error::from)?;
    Ok(Api::namespaced(connection.client(), TOKEN_NAMESPACE))
}

fn failed(what: &str, token: &BootstrapToken, cluster: &Key, source: kube::Error) -> Error {
    let what = format!("{what} Secret {TOKEN_NAMESPACE}/{}", token.secret_name());
    Error::Workload {
        what,
        cluster: cluster.to_string(),
        source: source.into(),
    }
}

async fn create_token(
    ctx: &Context,
    cluster: &Key,
    token: &BootstrapToken,
    expires: Timestamp,
) -> Result<(), Error> {
    let secret = discovery::token_secret(token, expires);
    match tokens(ctx, cluster)?
        .create(&PostParams::default(), &secret)
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
        Err(source) => Err(failed("create", token, cluster, source)),
    }
}

async fn extend_token(
    ctx: &Context,
    cluster: &Key,
    token: &BootstrapToken,
    expires: Timestamp,
) -> Result<(), Error> {
    let body = json!({ "stringData": { EXPIRATION_KEY: discovery::rfc3339(expires) } });
    let patch = Patch::Merge(&body);
    match tokens(ctx, cluster)?
        .patch(&token.secret_name(), &PatchParams::default(), &patch)
        .await
    {
        Ok(_) => Ok(()),
        Err(source) => Err(failed("patch", token, cluster, source)),
    }
}
