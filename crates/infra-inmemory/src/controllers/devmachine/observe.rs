//! Gathers what a plan for a DevMachine is made from.

use std::sync::Arc;

use capi_api::{
    conditions::Draft,
    core::v1beta2::{Cluster, Machine},
    labels::CLUSTER_NAME,
    secrets::{FORMAT_KEY, Purpose, VALUE_KEY},
};
use capi_runtime::{Context, Key};
use k8s_openapi::api::core::v1::Secret;

use super::{
    observed::{Guest, Observed},
    plan::needs_guest,
};
use crate::{
    api::{DevCluster, DevMachine},
    backend::{
        Endpoint, World,
        guest::{
            BootstrapData, Discovery, Host, Mode,
            join::{Authorities, ClusterFacts},
        },
    },
    controllers::{devcluster, secrets},
    error::Error,
    faults,
};

/// What there is to see.
pub enum Sight {
    /// Something that must come first does not exist; its appearance wakes us.
    Nothing,
    /// A backend that this provider does not have.
    Unsupported(Draft),
    /// Enough for a plan.
    Observed(Box<Observed>),
}

/// The Cluster of a DevMachine: by its label, else by its Machine.
pub fn cluster_of(
    ctx: &Context,
    dev_machine: &DevMachine,
    machine: Option<&Machine>,
) -> Option<Arc<Cluster>> {
    let label = dev_machine
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(CLUSTER_NAME))
        .cloned();
    let name = label.or_else(|| machine.map(|machine| machine.spec.cluster_name.clone()))?;
    ctx.get::<Cluster>(&Key::of(dev_machine).sibling(name))
}

/// Looks at everything around a DevMachine.
pub async fn observe(
    ctx: &Context,
    world: &World,
    dev_machine: &DevMachine,
    machine: &Machine,
    cluster: &Cluster,
) -> Result<Sight, Error> {
    let infrastructure = devcluster::infrastructure_of(cluster).and_then(|key| ctx.get::<DevCluster>(&key));
    let Some(dev_cluster) = infrastructure else {
        return Ok(Sight::Nothing);
    };
    if dev_machine.spec.backend.in_memory.is_none() {
        let message = "spec.backend.docker is not supported by this provider, use spec.backend.inMemory";
        return Ok(Sight::Unsupported(Draft::is_false(
            "Ready",
            "BackendNotSupported",
            message,
        )));
    }
    if dev_cluster.spec.backend.in_memory.is_none() {
        let message = format!(
            "DevCluster {} has no spec.backend.inMemory",
            Key::of(&*dev_cluster).name
        );
        return Ok(Sight::Unsupported(Draft::is_false(
            "Ready",
            "BackendNotSupported",
            message,
        )));
    }
    let cluster_key = Key::of(cluster);
    // After a restart a DevMachine may be looked at before its DevCluster.
    if world.cluster(&cluster_key).is_none()
        && let Some(endpoint) = endpoint_of(&dev_cluster)
        && endpoint.host == world.host()
    {
        world.ensure_cluster(&cluster_key, &endpoint).await?;
        let faults = faults::of_cluster(dev_cluster.metadata.annotations.as_ref()).faults;
        world.set_cluster_faults(&cluster_key, faults).await?;
    }
    let mut observed = Observed {
        dev_machine: dev_machine.clone(),
        machine: machine.clone(),
        cluster: cluster.clone(),
        simulated: world.machine(&Key::of(dev_machine)),
        guest: None,
    };
    if needs_guest(&observed, ctx.now()) {
        if world.cluster(&cluster_key).is_none() {
            return Ok(Sight::Nothing);
        }
        observed.guest = Some(guest(ctx, world, &observed, &cluster_key).await?);
    }
    Ok(Sight::Observed(Box::new(observed)))
}

fn endpoint_of(dev_cluster: &DevCluster) -> Option<Endpoint> {
    let endpoint = dev_cluster.spec.control_plane_endpoint.as_ref()?;
    let port = u16::try_from(endpoint.port?).ok().filter(|port| *port > 0)?;
    Some(Endpoint {
        host: endpoint.host.clone()?,
        port,
    })
}

async fn guest(ctx: &Context, world: &World, observed: &Observed, cluster: &Key) -> Result<Guest, Error> {
    let joins = observed
        .simulated
        .as_ref()
        .is_none_or(|machine| machine.node.is_none());
    let data = match joins {
        true => Some(bootstrap_data(ctx, observed).await?),
        false => None,
    };
    let authorities = authorities(ctx, cluster, observed.is_control_plane()).await?;
    let view = world.cluster(cluster).unwrap_or_default();
    let mut facts = ClusterFacts {
        endpoint: view.endpoint.to_string(),
        serving: view.serving,
        initialized_by: view.initialized_by,
        certificates_dir: view.certificates_dir,
        ..ClusterFacts::default()
    };
    if let Some(id) = data
        .as_ref()
        .and_then(|data| data.as_ref().ok())
        .and_then(token_id)
        && let Some(token) = world.token(cluster, id).await?
    {
        facts.tokens.insert(id.to_owned(), token);
    }
    if joins && observed.is_control_plane() {
        let configuration = world.configuration(cluster).await?;
        facts.kubernetes_version = configuration
            .as_ref()
            .and_then(|configuration| configuration["kubernetesVersion"].as_str())
            .map(str::to_owned);
        let etcd = world.etcd(cluster).filter(|etcd| etcd.lock().id() != 0);
        let named = data
            .as_ref()
            .and_then(|data| data.as_ref().ok()?.kubeadm.registration.name.clone());
        let node = named.unwrap_or_else(|| Key::of(&observed.dev_machine).name);
        facts.etcd_problem = etcd.and_then(|etcd| etcd.lock().may_join(&node).err());
    }
    Ok(Guest {
        data,
        authorities: Some(authorities),
        cluster: facts,
    })
}

fn token_id(data: &BootstrapData) -> Option<&str> {
    match &data.kubeadm.mode {
        Mode::Join {
            discovery: Discovery::Token { token, .. },
            ..
        } => Some(&token.id),
        Mode::Join {
            discovery: Discovery::File { token, .. },
            ..
        } => token.as_ref().map(|token| token.id.as_str()),
        Mode::Init { .. } => None,
    }
}

async fn bootstrap_data(ctx: &Context, observed: &Observed) -> Result<Result<BootstrapData, String>, Error> {
    let namespace = Key::of(&observed.machine);
    let Some(name) = observed.machine.spec.bootstrap.data_secret_name.clone() else {
        return Ok(Err("the Machine has no spec.bootstrap.dataSecretName".to_owned()));
    };
    let key = namespace.sibling(name);
    // Stores do not keep user data.
    let Some(secret) = ctx.get_live::<Secret>(&key).await? else {
        return Ok(Err(format!("bootstrap data Secret {key} does not exist")));
    };
    Ok(parse(&secret, observed).map_err(|problem| format!("bootstrap data Secret {key}: {problem}")))
}

fn parse(secret: &Secret, observed: &Observed) -> Result<BootstrapData, String> {
    let value = secret
        .data
        .as_ref()
        .and_then(|data| data.get(VALUE_KEY))
        .ok_or_else(|| format!("has no {VALUE_KEY}"))?;
    let name = observed.dev_machine.metadata.name.as_deref().unwrap_or_default();
    let host = Host {
        name,
        instance_id: name,
        kubernetes_version: observed.machine.spec.version.as_deref(),
    };
    BootstrapData::parse(&value.0, secrets::text(secret, FORMAT_KEY).as_deref(), host)
        .map_err(|error| error.to_string())
}

/// Workers need the cluster's authority only, to check the hash that they were given.
async fn authorities(
    ctx: &Context,
    cluster: &Key,
    control_plane: bool,
) -> Result<Result<Authorities, String>, Error> {
    let own = match secrets::authority(ctx, cluster, Purpose::ClusterCa).await? {
        Ok(own) => own,
        Err(missing) => return Ok(Err(missing)),
    };
    let ca_hashes = match cluster_pki::public_key_hashes(&own.certificate) {
        Ok(hashes) => hashes,
        Err(error) => {
            return Ok(Err(format!(
                "Secret {}: {error}",
                Purpose::ClusterCa.name_for(&cluster.name)
            )));
        }
    };
    let etcd = match control_plane {
        // A key that is missing means that the user runs etcd.
        true => secrets::authority(ctx, cluster, Purpose::EtcdCa)
            .await?
            .ok()
            .filter(|etcd| !etcd.key.is_empty()),
        false => None,
    };
    Ok(Ok(Authorities {
        cluster: own,
        etcd,
        ca_hashes,
    }))
}
