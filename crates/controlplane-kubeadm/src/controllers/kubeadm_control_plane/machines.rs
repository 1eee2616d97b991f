//! What the objects of a control plane Machine should look like. Pure: the same inputs give the same objects.

use std::collections::BTreeMap;

use capi_api::{
    annotations,
    bootstrap::v1beta2::{ClusterConfiguration, KubeadmConfig, KubeadmConfigSpec},
    conditions::types,
    contract::{self, NewClone},
    core::v1beta2::{
        Bootstrap, ContractVersionedObjectReference, Machine, MachineDeletionSpec, MachineReadinessGate,
        MachineSpec,
    },
    labels, names,
};
use kube::{
    ResourceExt,
    api::ObjectMeta,
    core::{ApiResource, DynamicObject},
};
use semver::Version;
use serde_json::{Value, json};

use super::world::{Template, World};
use crate::Error;

/// The API group of KubeadmConfig.
pub const BOOTSTRAP_GROUP: &str = "bootstrap.cluster.x-k8s.io";

/// The feature gate that lets a joining kubelet talk to its own API server.
const LOCAL_MODE: &str = "ControlPlaneKubeletLocalMode";

/// Whether a machine starts the control plane or joins it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The first: `kubeadm init`.
    Init,
    /// Every other: `kubeadm join`.
    Join,
}

/// A Machine that is to be created, with the objects it refers to.
#[derive(Clone, Debug)]
pub struct NewMachine {
    /// The bootstrap configuration; written first.
    pub config: KubeadmConfig,
    /// The clone of the infrastructure template; written second.
    pub infrastructure: DynamicObject,
    /// The resource of the clone.
    pub infrastructure_resource: ApiResource,
    /// The Machine; written last.
    pub machine: Machine,
}

/// The labels of all objects of a control plane Machine.
fn machine_labels(world: &World) -> BTreeMap<String, String> {
    let template = world.control_plane.spec.machine_template.metadata.as_ref();
    let mut labels = template
        .map(|metadata| metadata.labels.clone())
        .unwrap_or_default();
    labels.insert(labels::CLUSTER_NAME.into(), world.cluster_name());
    labels.insert(labels::CONTROL_PLANE.into(), String::new());
    labels.insert(
        labels::CONTROL_PLANE_NAME.into(),
        names::label_value(&world.control_plane.name_any()),
    );
    labels
}

fn machine_annotations(world: &World) -> BTreeMap<String, String> {
    let template = world.control_plane.spec.machine_template.metadata.as_ref();
    template
        .map(|metadata| metadata.annotations.clone())
        .unwrap_or_default()
}

/// From 1.31 on the kubelet of a control plane node may need its API server to the end, so the hook that removes the
/// etcd member lets the infrastructure go only after that.
fn has_cleanup_hook(version: Option<&Version>) -> bool {
    version.is_none_or(|version| (version.major, version.minor) >= (1, 31))
}

/// The next Machine's name. It follows from the control plane and from the Machines there are, so that a repetition
/// after a crash meets what was created before; names that are still in use somewhere are passed over.
pub fn next_name(world: &World, in_use: impl Fn(&str) -> bool) -> String {
    let uid = world.control_plane.uid().unwrap_or_default();
    let mut seen: Vec<String> = world
        .machines
        .iter()
        .filter_map(|view| view.machine.uid())
        .collect();
    seen.sort();
    let mut attempt: u32 = 0;
    loop {
        let attempt_text = attempt.to_string();
        let mut parts: Vec<&str> = vec![&uid, &attempt_text];
        parts.extend(seen.iter().map(String::as_str));
        let name = machine_name(world, &names::derived_suffix(&parts));
        if !in_use(&name) || attempt == 100 {
            return name;
        }
        attempt += 1;
    }
}

/// The name of a Machine by the control plane's naming template.
fn machine_name(world: &World, random: &str) -> String {
    let control_plane = world.control_plane.name_any();
    let template = world
        .control_plane
        .spec
        .machine_naming
        .as_ref()
        .and_then(|naming| naming.template.as_deref());
    let template = template.unwrap_or("{{ .kubeadmControlPlane.name }}-{{ .random }}");
    let rendered = render_name(template, &control_plane, &world.cluster_name(), random);
    match rendered.len() <= names::MAX_NAME {
        true => rendered,
        false => format!("{}{random}", names::truncated(&rendered, random.len())),
    }
}

/// Replaces the three variables of naming templates; everything else is text.
fn render_name(template: &str, control_plane: &str, cluster: &str, random: &str) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let Some((expression, tail)) = after.split_once("}}") else {
            out.push_str("{{");
            rest = after;
            continue;
        };
        match expression.trim() {
            ".kubeadmControlPlane.name" => out.push_str(control_plane),
            ".cluster.name" => out.push_str(cluster),
            ".random" => out.push_str(random),
            _ => {}
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// The kubeadm configuration of a machine of this role, as the control plane's spec wants it today.
pub fn desired_config(world: &World, role: Role) -> KubeadmConfigSpec {
    let mut spec = world.config_spec();
    match role {
        Role::Init => spec.join_configuration = None,
        Role::Join => {
            spec.init_configuration = None;
            spec.join_configuration
                .get_or_insert_default()
                .control_plane
                .get_or_insert_default();
        }
    }
    if world
        .version()
        .is_some_and(|version| version.major == 1 && (31..36).contains(&version.minor))
    {
        let cluster: &mut ClusterConfiguration = spec.cluster_configuration.get_or_insert_default();
        cluster.feature_gates.entry(LOCAL_MODE.to_owned()).or_insert(true);
    }
    spec
}

/// The conditions that make a control plane Machine ready, besides those of every Machine.
pub fn readiness_gates(world: &World) -> Vec<MachineReadinessGate> {
    let mut gates = vec![
        types::NODE_KUBEADM_LABELS_AND_TAINTS_SET,
        types::API_SERVER_POD_HEALTHY,
        types::CONTROLLER_MANAGER_POD_HEALTHY,
        types::SCHEDULER_POD_HEALTHY,
    ];
    if world.etcd_is_managed() {
        gates.extend([types::ETCD_POD_HEALTHY, types::ETCD_MEMBER_HEALTHY]);
    }
    let mut gates: Vec<MachineReadinessGate> = gates
        .into_iter()
        .map(|type_| MachineReadinessGate {
            condition_type: type_.to_owned(),
            polarity: None,
        })
        .collect();
    for gate in &world.control_plane.spec.machine_template.spec.readiness_gates {
        if !gates
            .iter()
            .any(|other| other.condition_type == gate.condition_type)
        {
            gates.push(gate.clone());
        }
    }
    gates
}

fn deletion(world: &World) -> Option<MachineDeletionSpec> {
    let template = world.control_plane.spec.machine_template.spec.deletion.as_ref()?;
    Some(MachineDeletionSpec {
        node_drain_timeout_seconds: template.node_drain_timeout_seconds,
        node_volume_detach_timeout_seconds: template.node_volume_detach_timeout_seconds,
        node_deletion_timeout_seconds: template.node_deletion_timeout_seconds,
    })
}

/// The objects of a new Machine.
pub fn new_machine(
    world: &World,
    name: &str,
    role: Role,
    failure_domain: Option<String>,
) -> Result<NewMachine, Error> {
    let (template, template_resource) = match &world.template {
        Template::Found { object, resource } => (object, resource),
        Template::Missing => return Err(missing_template(world, "it does not exist".into())),
        Template::Unresolved(reason) => return Err(missing_template(world, reason.clone())),
    };
    let (namespace, cluster) = (world.namespace(), world.cluster_name());
    let (labels, annotations) = (machine_labels(world), machine_annotations(world));
    let infrastructure = contract::Template::new(template).cloned(NewClone {
        name: name.to_owned(),
        namespace: namespace.clone(),
        cluster: cluster.clone(),
        labels: labels.clone(),
        annotations: annotations.clone(),
        owner: Some(world.owner()),
    })?;
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace),
        labels: Some(labels),
        annotations: (!annotations.is_empty()).then_some(annotations),
        ..ObjectMeta::default()
    };
    let config = KubeadmConfig {
        metadata: ObjectMeta {
            owner_references: Some(vec![world.owner()]),
            ..metadata.clone()
        },
        spec: desired_config(world, role),
        status: None,
    };
    let machine = new_machine_object(world, metadata, name, failure_domain);
    let infrastructure_resource = contract::Template::cloned_resource(template_resource);
    Ok(NewMachine {
        config,
        infrastructure,
        infrastructure_resource,
        machine,
    })
}

fn new_machine_object(
    world: &World,
    metadata: ObjectMeta,
    name: &str,
    failure_domain: Option<String>,
) -> Machine {
    let reference = |api_group: &str, kind: &str| ContractVersionedObjectReference {
        api_group: api_group.to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
    };
    let template = &world.control_plane.spec.machine_template.spec;
    let mut machine = Machine {
        metadata: ObjectMeta {
            owner_references: Some(vec![world.controller()]),
            ..metadata
        },
        spec: MachineSpec {
            cluster_name: world.cluster_name(),
            bootstrap: Bootstrap {
                config_ref: Some(reference(BOOTSTRAP_GROUP, "KubeadmConfig")),
                data_secret_name: None,
            },
            infrastructure_ref: reference(
                &template.infrastructure_ref.api_group,
                &world.infrastructure_kind(),
            ),
            version: Some(capi_api::versions::with_v(&world.control_plane.spec.version)),
            failure_domain,
            readiness_gates: readiness_gates(world),
            deletion: deletion(world),
            taints: template.taints.clone(),
            ..MachineSpec::default()
        },
        status: None,
    };
    if has_cleanup_hook(world.version().as_ref()) {
        let annotations = machine.metadata.annotations.get_or_insert_default();
        annotations.insert(annotations::KCP_PRE_TERMINATE_HOOK.to_owned(), String::new());
    }
    machine
}

/// What is applied to a Machine, new or existing: everything that the control plane decides. What it decides once
/// (version, failure domain, references, the hook) stays as the Machine has it.
pub fn intent(world: &World, machine: &Machine) -> Value {
    let mut annotations = machine_annotations(world);
    if machine
        .annotations()
        .contains_key(annotations::KCP_PRE_TERMINATE_HOOK)
    {
        annotations.insert(annotations::KCP_PRE_TERMINATE_HOOK.to_owned(), String::new());
    }
    let spec = MachineSpec {
        cluster_name: world.cluster_name(),
        bootstrap: Bootstrap {
            config_ref: machine.spec.bootstrap.config_ref.clone(),
            data_secret_name: None,
        },
        infrastructure_ref: machine.spec.infrastructure_ref.clone(),
        version: machine.spec.version.clone(),
        failure_domain: machine.spec.failure_domain.clone(),
        readiness_gates: readiness_gates(world),
        deletion: deletion(world),
        taints: world.control_plane.spec.machine_template.spec.taints.clone(),
        ..MachineSpec::default()
    };
    let mut metadata = json!({ "labels": machine_labels(world), "ownerReferences": [world.controller()] });
    if !annotations.is_empty() {
        metadata["annotations"] = json!(annotations);
    }
    json!({ "metadata": metadata, "spec": spec })
}

/// The port on which the API server of a machine with this configuration listens.
pub fn api_server_port(config: &KubeadmConfigSpec) -> u16 {
    let init = config
        .init_configuration
        .as_ref()
        .and_then(|init| init.local_api_endpoint.as_ref());
    let join = config
        .join_configuration
        .as_ref()
        .and_then(|join| join.control_plane.as_ref());
    let endpoint = init.or_else(|| join.and_then(|join| join.local_api_endpoint.as_ref()));
    endpoint
        .and_then(|endpoint| endpoint.bind_port)
        .and_then(|port| u16::try_from(port).ok())
        .unwrap_or(6443)
}

fn missing_template(world: &World, reason: String) -> Error {
    let reference = &world.control_plane.spec.machine_template.spec.infrastructure_ref;
    Error::Template {
        kind: reference.kind.clone(),
        name: reference.name.clone(),
        reason,
    }
}

/// The Machine with everything that follows the control plane without a new machine: metadata of the template, gates,
/// timeouts and taints. `None` if nothing differs.
pub fn synced(world: &World, machine: &Machine) -> Option<Machine> {
    let mut wanted = machine.clone();
    let (labels, annotations) = (machine_labels(world), machine_annotations(world));
    wanted.metadata.labels.get_or_insert_default().extend(labels);
    if !annotations.is_empty() {
        wanted
            .metadata
            .annotations
            .get_or_insert_default()
            .extend(annotations);
    }
    wanted.spec.readiness_gates = readiness_gates(world);
    wanted.spec.taints = world.control_plane.spec.machine_template.spec.taints.clone();
    if let Some(deletion) = deletion(world) {
        // What is unset here has a default in the API server.
        let current = wanted.spec.deletion.get_or_insert_default();
        current.node_drain_timeout_seconds = deletion.node_drain_timeout_seconds;
        current.node_volume_detach_timeout_seconds = deletion.node_volume_detach_timeout_seconds;
        current.node_deletion_timeout_seconds = deletion
            .node_deletion_timeout_seconds
            .or(current.node_deletion_timeout_seconds);
    }
    (wanted != *machine).then_some(wanted)
}

/// The failure domain for a new Machine: of those meant for control planes the one with the fewest Machines that are up
/// to date, then with the fewest at all, then by name.
pub fn failure_domain(world: &World, up_to_date: impl Fn(&Machine) -> bool) -> Option<String> {
    let domains = world
        .cluster
        .status
        .as_ref()
        .map(|status| status.failure_domains.as_slice())
        .unwrap_or_default();
    domains
        .iter()
        .filter(|domain| domain.control_plane == Some(true))
        .map(|domain| {
            let inside = || {
                world
                    .living()
                    .filter(|view| view.machine.spec.failure_domain.as_deref() == Some(domain.name.as_str()))
            };
            (
                inside().filter(|view| up_to_date(&view.machine)).count(),
                inside().count(),
                domain.name.clone(),
            )
        })
        .min()
        .map(|(_, _, name)| name)
}
