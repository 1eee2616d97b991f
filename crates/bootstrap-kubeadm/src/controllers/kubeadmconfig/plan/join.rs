//! The plan for machines that join: how they find their cluster, and how long their token lives.

use capi_api::bootstrap::v1beta2::JoinConfiguration;
use capi_api::core::v1beta2::Cluster;
use capi_api::labels;
use capi_api::secrets::Purpose;
use cluster_pki::BootstrapToken;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Taint;
use kube::ResourceExt;

use super::user_data::{finish, namespace, read_certificates, required_version, secret_names, setup};
use super::{Action, Halt, Plan, UNINITIALIZED_TAINT, done};
use crate::controllers::kubeadmconfig::certificates::{Certificates, Pairs};
use crate::controllers::kubeadmconfig::conditions::CertificatesState;
use crate::controllers::kubeadmconfig::discovery::{self, TokenLife};
use crate::controllers::kubeadmconfig::error::Trouble;
use crate::controllers::kubeadmconfig::world::{Facts, Stage, TokenFact, World};
use crate::kubeadm::{self, ConfigVersion};
use crate::machine_setup::{Action as Boot, MachineSetup, NodeFile};

pub(super) fn plan_join(
    world: &World,
    cluster: &Cluster,
    facts: &Facts,
    life: TokenLife,
    now: Timestamp,
) -> Result<Plan, Halt> {
    let control_plane = world.owner.is_control_plane();
    let mut spec = world.config.spec.clone();
    let join = spec.join_configuration.get_or_insert_default();
    if control_plane {
        join.control_plane.get_or_insert_default();
    } else if join.control_plane.is_some() {
        let problem = format!(
            "is set, but {} is a worker (it has no label {}); remove it",
            world.owner.describe(),
            labels::CONTROL_PLANE
        );
        return Err(Trouble::Field {
            field: "spec.joinConfiguration.controlPlane".to_owned(),
            problem,
        }
        .into());
    }
    let certificates = if control_plane {
        Certificates::of_control_plane(world.config.spec.cluster_configuration.as_ref())
    } else {
        Certificates::of_worker()
    };
    let (pairs, missing) = read_certificates(world, cluster, &certificates, facts)?;
    if !missing.is_empty() {
        let text = format!(
            "{} must exist before a machine can join",
            secret_names(world, cluster, &missing)
        );
        return Err(Halt::Certificates(CertificatesState::Corrupted(text)));
    }
    let mut actions = Vec::new();
    let token = complete_discovery(world, cluster, facts, &pairs, join)?;
    let setup = join_setup(world, facts, join, certificates.files(&pairs))?;
    // Rendering went well: from here on it is written.
    if let Some(lock) = &facts.lock {
        actions.push(Action::DropLock(lock.clone()));
    }
    if spec != world.config.spec {
        actions.push(Action::WriteSpec(Box::new(spec)));
    }
    let mut next = None;
    if let Some(token) = token {
        actions.extend(token_action(&token, facts, life, now));
        next = Some(life.interval());
    }
    Ok(Plan {
        next,
        ..finish(world, cluster, facts, &setup, actions)?
    })
}

/// Fills in what the machine needs to find and trust its cluster. Returns the token that has to work.
fn complete_discovery(
    world: &World,
    cluster: &Cluster,
    facts: &Facts,
    pairs: &Pairs,
    join: &mut JoinConfiguration,
) -> Result<Option<BootstrapToken>, Halt> {
    let authority = pairs
        .get(&Purpose::ClusterCa)
        .map(|pair| pair.certificate.as_str())
        .unwrap_or_default();
    let endpoint = discovery::endpoint(cluster);
    let waits = || {
        Halt::Wait(format!(
            "Waiting for spec.controlPlaneEndpoint of Cluster {} to be set",
            cluster.name_any()
        ))
    };
    let discovery = join.discovery.get_or_insert_default();
    if let Some(file) = &mut discovery.file {
        if let Some(config) = &mut file.kube_config {
            let target = config.cluster.get_or_insert_default();
            if target.server.is_none() {
                target.server = Some(format!("https://{}", endpoint.ok_or_else(waits)?));
            }
            if target.certificate_authority_data.is_none() {
                target.certificate_authority_data = Some(ByteString(authority.as_bytes().to_vec()));
            }
        }
        return Ok(None);
    }
    let target = discovery.bootstrap_token.get_or_insert_default();
    // Even if the user allows to do without: kubeadm pins what it is given.
    if target.ca_cert_hashes.is_empty() {
        target.ca_cert_hashes = cluster_pki::public_key_hashes(authority)
            .map_err(|error| Halt::Certificates(CertificatesState::Corrupted(error.to_string())))?;
    }
    if target.api_server_endpoint.is_none() {
        target.api_server_endpoint = Some(endpoint.ok_or_else(waits)?);
    }
    if let Some(Err(reason)) = &facts.workload {
        let cluster = format!("{}/{}", namespace(world), cluster.name_any());
        return Err(Halt::Wait(format!(
            "Waiting for a connection to workload cluster {cluster} to create a bootstrap token: {reason}"
        )));
    }
    let token = match target.token.as_deref().filter(|token| !token.is_empty()) {
        Some(text) => Some(parse_token(text)?),
        None => facts.fresh_token.clone(),
    };
    target.token = token.as_ref().map(ToString::to_string);
    Ok(token)
}

fn parse_token(text: &str) -> Result<BootstrapToken, Halt> {
    text.parse().map_err(|_| {
        let problem = "is not of the form abcdef.0123456789abcdef; remove it to have one made".to_owned();
        Trouble::Field {
            field: "spec.joinConfiguration.discovery.bootstrapToken.token".to_owned(),
            problem,
        }
        .into()
    })
}

fn join_setup(
    world: &World,
    facts: &Facts,
    join: &JoinConfiguration,
    certificates: Vec<NodeFile>,
) -> Result<MachineSetup, Halt> {
    let api = ConfigVersion::for_kubernetes(required_version(world)?)?;
    let action = if world.owner.is_control_plane() {
        Boot::JoinControlPlane {
            join_configuration: kubeadm::join_configuration(api, join)?,
        }
    } else {
        Boot::JoinWorker {
            join_configuration: kubeadm::join_configuration(api, &with_worker_taint(join))?,
        }
    };
    let file = join
        .discovery
        .as_ref()
        .and_then(|d| d.file.as_ref())
        .and_then(discovery::kubeconfig_file);
    setup(world, facts, action, certificates, file)
}

/// A worker starts with a taint that goes when its node got its labels. It is not kept in the object.
fn with_worker_taint(join: &JoinConfiguration) -> JoinConfiguration {
    let mut join = join.clone();
    let taints = join
        .node_registration
        .get_or_insert_default()
        .taints
        .get_or_insert_default();
    if !taints
        .iter()
        .any(|taint| taint.key == UNINITIALIZED_TAINT && taint.effect == "NoSchedule")
    {
        taints.push(Taint {
            key: UNINITIALIZED_TAINT.to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        });
    }
    join
}

pub(super) fn plan_token(
    world: &World,
    cluster: &Cluster,
    facts: &Facts,
    life: TokenLife,
    now: Timestamp,
) -> Result<Plan, Halt> {
    let (report, next) = (done(world).report, Some(life.interval()));
    let fact = match &facts.workload {
        Some(Ok(fact)) => fact,
        // Not reachable, or looked at lately: the machine may still join; the connection or the timer brings us back.
        Some(Err(_)) | None => {
            return Ok(Plan {
                report,
                next,
                ..Plan::default()
            });
        }
    };
    let outdated = match (world.stage(), fact) {
        (_, TokenFact::Missing) => world.owner.is_pool(),
        (Stage::RotateToken, TokenFact::Expires(expires)) => life.needs_rotation(*expires, now),
        _ => false,
    };
    if outdated {
        return replace_token(world, cluster, facts, life, now);
    }
    let token = parse_token(world.token().unwrap_or_default())?;
    let action = match world.stage() {
        Stage::RotateToken => None,
        _ => token_action(&token, facts, life, now),
    };
    Ok(Plan {
        actions: action.into_iter().collect(),
        report,
        next,
        again: false,
    })
}

/// New machines of a pool get a new token in new user data.
fn replace_token(
    world: &World,
    cluster: &Cluster,
    facts: &Facts,
    life: TokenLife,
    now: Timestamp,
) -> Result<Plan, Halt> {
    let mut config = (*world.config).clone();
    let token = config
        .spec
        .join_configuration
        .as_mut()
        .and_then(|join| join.discovery.as_mut())
        .and_then(|discovery| discovery.bootstrap_token.as_mut());
    if let Some(target) = token {
        target.token = facts.fresh_token.as_ref().map(ToString::to_string);
    }
    let facts = Facts {
        workload: Some(Ok(TokenFact::Missing)),
        ..facts.clone()
    };
    let renewed = World {
        config: config.into(),
        ..world.clone()
    };
    let mut plan = plan_join(&renewed, cluster, &facts, life, now)?;
    plan.actions
        .insert(0, Action::WriteSpec(Box::new(renewed.config.spec.clone())));
    Ok(plan)
}

/// What makes `token` work for some time.
fn token_action(token: &BootstrapToken, facts: &Facts, life: TokenLife, now: Timestamp) -> Option<Action> {
    match &facts.workload {
        Some(Ok(TokenFact::Expires(expires))) if life.needs_refresh(*expires, now) => {
            Some(Action::ExtendToken(token.clone(), life.expiry(now)))
        }
        Some(Ok(TokenFact::Expires(_))) | Some(Err(_)) | None => None,
        Some(Ok(TokenFact::Missing)) => Some(Action::CreateToken(token.clone(), life.expiry(now))),
    }
}
