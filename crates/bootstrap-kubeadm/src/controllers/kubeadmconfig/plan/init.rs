//! The plan for the first machine of a control plane.

use capi_api::bootstrap::v1beta2::InitConfiguration;
use capi_api::core::v1beta2::Cluster;
use capi_api::secrets::Purpose;
use kube::ResourceExt;

use super::user_data::{finish, read_certificates, required_version, secret_names, setup};
use super::{Action, Halt, Plan};
use crate::controllers::kubeadmconfig::certificates::Certificates;
use crate::controllers::kubeadmconfig::conditions::CertificatesState;
use crate::controllers::kubeadmconfig::discovery;
use crate::controllers::kubeadmconfig::world::{Facts, Owner, World};
use crate::kubeadm::{self, ClusterValues, ConfigVersion};
use crate::machine_setup::{Action as Boot, MachineSetup, NodeFile};

pub(super) fn plan_init(world: &World, cluster: &Cluster, facts: &Facts) -> Result<Plan, Halt> {
    let spec = &world.config.spec;
    let certificates = Certificates::of_control_plane(spec.cluster_configuration.as_ref());
    let (pairs, missing) = read_certificates(world, cluster, &certificates, facts)?;
    if !missing.is_empty() {
        may_generate(world, cluster, &certificates, &missing)?;
    }
    let setup = init_setup(world, cluster, facts, certificates.files(&pairs))?;
    let mut actions = lock_actions(world, facts)?;
    if !missing.is_empty() {
        actions.push(Action::Generate(missing));
        return Ok(Plan {
            actions,
            again: true,
            ..Plan::default()
        });
    }
    finish(world, cluster, facts, &setup, actions)
}

/// What initialises the cluster; the user's part of the configuration is read from `facts`.
fn init_setup(
    world: &World,
    cluster: &Cluster,
    facts: &Facts,
    certificates: Vec<NodeFile>,
) -> Result<MachineSetup, Halt> {
    let spec = &world.config.spec;
    let version = required_version(world)?;
    let api = ConfigVersion::for_kubernetes(version)?;
    let cluster_configuration = spec.cluster_configuration.clone().unwrap_or_default();
    let init: InitConfiguration = spec.init_configuration.clone().unwrap_or_default();
    let action = Boot::Init {
        cluster_configuration: kubeadm::cluster_configuration(
            api,
            &cluster_configuration,
            &init,
            &cluster_values(cluster, version),
        )?,
        init_configuration: kubeadm::init_configuration(api, &init)?,
    };
    setup(world, facts, action, certificates, None)
}

/// What the Cluster adds to the user's ClusterConfiguration.
fn cluster_values(cluster: &Cluster, version: &str) -> ClusterValues {
    let network = cluster.spec.cluster_network.clone().unwrap_or_default();
    let joined = |ranges: Option<capi_api::core::v1beta2::NetworkRanges>| {
        ranges
            .map(|ranges| ranges.cidr_blocks.join(","))
            .filter(|blocks| !blocks.is_empty())
    };
    ClusterValues {
        kubernetes_version: Some(version.to_owned()),
        cluster_name: Some(cluster.name_any()),
        control_plane_endpoint: discovery::endpoint(cluster),
        dns_domain: network.service_domain.filter(|domain| !domain.is_empty()),
        service_subnet: joined(network.services),
        pod_subnet: joined(network.pods),
    }
}

/// Certificates are made here only where no control plane provider makes them.
fn may_generate(
    world: &World,
    cluster: &Cluster,
    certificates: &Certificates,
    missing: &[Purpose],
) -> Result<(), Halt> {
    match &cluster.spec.control_plane_ref {
        None if missing.iter().all(|purpose| !certificates.is_external(*purpose)) => Ok(()),
        reference => {
            let maker = reference
                .as_ref()
                .map_or("nobody".to_owned(), |r| format!("{} {}", r.kind, r.name));
            Err(Halt::Certificates(CertificatesState::Missing(format!(
                "Waiting for {}, made by {maker}",
                secret_names(world, cluster, missing)
            ))))
        }
    }
}

/// What it takes to hold the init lock.
fn lock_actions(world: &World, facts: &Facts) -> Result<Vec<Action>, Halt> {
    let Owner::Machine(machine) = &world.owner else {
        return Ok(Vec::new());
    };
    match &facts.lock {
        None => Ok(vec![Action::TakeLock]),
        Some(lock) if lock.holder == machine.name_any() => Ok(Vec::new()),
        Some(lock) if !lock.holder_lives => Ok(vec![Action::DropLock(lock.clone()), Action::TakeLock]),
        Some(lock) => Err(Halt::Wait(format!(
            "Waiting for Cluster control plane to be initialized: Machine {} is at it",
            lock.holder
        ))),
    }
}
