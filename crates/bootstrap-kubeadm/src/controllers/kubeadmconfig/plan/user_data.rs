//! What the plans for all machines share: the user data and the Secret it is kept in.

use capi_api::bootstrap::v1beta2::{Format, KubeadmConfig};
use capi_api::core::v1beta2::Cluster;
use capi_api::labels;
use capi_api::secrets::{CLUSTER_SECRET_TYPE, FORMAT_KEY, Purpose, VALUE_KEY};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use kube::{Resource, ResourceExt};

use super::{Action, Halt, Plan};
use crate::controllers::kubeadmconfig::certificates::{Certificates, Pairs};
use crate::controllers::kubeadmconfig::conditions::{CertificatesState, Report};
use crate::controllers::kubeadmconfig::contents;
use crate::controllers::kubeadmconfig::error::Trouble;
use crate::controllers::kubeadmconfig::world::{Facts, World};
use crate::machine_setup::{Action as Boot, MachineSetup, NodeFile};
use crate::{cloudinit, ignition};

pub(super) fn namespace(world: &World) -> String {
    world.config.namespace().unwrap_or_default()
}

pub(super) fn required_version(world: &World) -> Result<&str, Trouble> {
    world.owner.version().ok_or_else(|| Trouble::Field {
        field: format!("spec.version of {}", world.owner.describe()),
        problem: "is not set; set it to the Kubernetes version of the machine, such as v1.36.0".to_owned(),
    })
}

pub(super) fn setup(
    world: &World,
    facts: &Facts,
    action: Boot,
    certificates: Vec<NodeFile>,
    discovery_file: Option<NodeFile>,
) -> Result<MachineSetup, Halt> {
    let (spec, namespace) = (&world.config.spec, namespace(world));
    let version = &facts.control_plane_version;
    let mut files = contents::files(spec, &namespace, &facts.contents, version).map_err(Halt::Files)?;
    files.extend(discovery_file);
    Ok(MachineSetup {
        certificates,
        files,
        users: contents::users(spec, &namespace, &facts.contents).map_err(Halt::Users)?,
        ntp: spec.ntp.clone(),
        disk_setup: spec.disk_setup.clone(),
        mounts: spec.mounts.clone(),
        boot_commands: spec.boot_commands.clone(),
        pre_kubeadm_commands: spec.pre_kubeadm_commands.clone(),
        post_kubeadm_commands: spec.post_kubeadm_commands.clone(),
        verbosity: spec.verbosity,
        container_linux_config: spec
            .ignition
            .as_ref()
            .and_then(|ignition| ignition.container_linux_config.clone()),
        ..MachineSetup::new(action)
    })
}

/// Renders the user data and keeps it in the Secret of the configuration's name.
pub(super) fn finish(
    world: &World,
    cluster: &Cluster,
    facts: &Facts,
    setup: &MachineSetup,
    mut actions: Vec<Action>,
) -> Result<Plan, Halt> {
    let format = world.config.spec.format.unwrap_or(Format::CloudConfig);
    let user_data = match format {
        Format::CloudConfig => cloudinit::render(setup),
        Format::Ignition => ignition::render(setup)?.json,
    };
    let wanted = data_secret(world, cluster, format, user_data);
    match &facts.data {
        None => actions.push(Action::CreateData(Box::new(wanted))),
        Some(existing) => {
            let replaced = replaced_data(world, existing, wanted)?;
            if replaced != *existing {
                actions.push(Action::ReplaceData(
                    Box::new(existing.clone()),
                    Box::new(replaced),
                ));
            }
        }
    }
    Ok(Plan {
        actions,
        report: Report::available(world.config.name_any()),
        next: None,
        again: false,
    })
}

fn data_secret(world: &World, cluster: &Cluster, format: Format, user_data: String) -> Secret {
    let config = &world.config;
    let data = [(VALUE_KEY, user_data), (FORMAT_KEY, format.to_string())];
    Secret {
        metadata: ObjectMeta {
            name: config.metadata.name.clone(),
            namespace: config.metadata.namespace.clone(),
            labels: Some([(labels::CLUSTER_NAME.to_owned(), cluster.name_any())].into()),
            owner_references: config.controller_owner_ref(&()).map(|reference| vec![reference]),
            ..ObjectMeta::default()
        },
        type_: Some(CLUSTER_SECRET_TYPE.to_owned()),
        data: Some(
            data.map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes())))
                .into(),
        ),
        ..Secret::default()
    }
}

/// `existing` with the content of `wanted`, unless it is somebody else's.
fn replaced_data(world: &World, existing: &Secret, wanted: Secret) -> Result<Secret, Halt> {
    let name = format!("Secret {}/{}", namespace(world), existing.name_any());
    let controller = existing
        .owner_references()
        .iter()
        .find(|owner| owner.controller == Some(true));
    if let Some(other) = controller.filter(|o| o.kind != "KubeadmConfig" || o.name != world.config.name_any())
    {
        let problem = format!(
            "belongs to {} {}; delete it or rename this KubeadmConfig",
            other.kind, other.name
        );
        return Err(Trouble::Field { field: name, problem }.into());
    }
    if existing.type_ != wanted.type_ {
        let problem = format!(
            "has type {}, not {CLUSTER_SECRET_TYPE}; delete it",
            existing.type_.as_deref().unwrap_or("Opaque")
        );
        return Err(Trouble::Field { field: name, problem }.into());
    }
    let mut replaced = existing.clone();
    replaced
        .metadata
        .labels
        .get_or_insert_default()
        .extend(wanted.metadata.labels.unwrap_or_default());
    let own = wanted.metadata.owner_references.unwrap_or_default();
    if !own
        .iter()
        .all(|reference| existing.owner_references().contains(reference))
    {
        let others = existing
            .owner_references()
            .iter()
            .filter(|o| o.controller != Some(true))
            .cloned();
        replaced.metadata.owner_references = Some(others.chain(own).collect());
    }
    replaced.data = wanted.data;
    Ok(replaced)
}

/// The certificates that are there, and which are not.
pub(super) fn read_certificates(
    world: &World,
    cluster: &Cluster,
    certificates: &Certificates,
    facts: &Facts,
) -> Result<(Pairs, Vec<Purpose>), Halt> {
    let (mut pairs, mut missing) = (Pairs::new(), Vec::new());
    for purpose in certificates.purposes() {
        match facts.certificates.get(&purpose) {
            Some(Some(secret)) => {
                let pair = certificates.read(purpose, secret).map_err(|trouble| {
                    Halt::Certificates(CertificatesState::Corrupted(trouble.to_string()))
                })?;
                pairs.insert(purpose, pair);
            }
            _ if certificates.is_external(purpose) => {
                let secret = format!("{}/{}", namespace(world), purpose.name_for(&cluster.name_any()));
                let field = "external etcd".to_owned();
                let text = Trouble::SecretMissing { field, secret }.to_string();
                return Err(Halt::Certificates(CertificatesState::Missing(text)));
            }
            _ => missing.push(purpose),
        }
    }
    Ok((pairs, missing))
}

pub(super) fn secret_names(world: &World, cluster: &Cluster, purposes: &[Purpose]) -> String {
    let names: Vec<String> = purposes.iter().map(|p| p.name_for(&cluster.name_any())).collect();
    let noun = if names.len() == 1 { "Secret" } else { "Secrets" };
    format!("{noun} {} in namespace {}", names.join(", "), namespace(world))
}

/// The Secret with the user data, before and after its owner reference is mended, if that is wanting. A Secret of
/// another controller or type is left alone.
pub(in crate::controllers::kubeadmconfig) fn mended_owner(
    config: &KubeadmConfig,
    secret: &Secret,
) -> Option<(Secret, Secret)> {
    let own = config.controller_owner_ref(&())?;
    let owners = secret.owner_references();
    let foreign = owners
        .iter()
        .any(|o| o.controller == Some(true) && (o.kind != own.kind || o.name != own.name));
    if foreign || owners.contains(&own) || secret.type_.as_deref() != Some(CLUSTER_SECRET_TYPE) {
        return None;
    }
    let mut others: Vec<_> = owners
        .iter()
        .filter(|o| o.kind != own.kind || o.name != own.name)
        .cloned()
        .collect();
    others.push(own);
    let mut after = secret.clone();
    after.metadata.owner_references = Some(others);
    Some((secret.clone(), after))
}
