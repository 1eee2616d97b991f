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
    finalizers, labels, names,
};
use capi_runtime::meta;
use kube::{
    ResourceExt,
    api::ObjectMeta,
    core::{ApiResource, DynamicObject},
};
use serde_json::{Value, json};

use super::{
    remediation,
    world::{MachineView, Template, World},
};
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

/// The annotations of a Machine: those of the template, the hook by which its etcd member leaves before its infrastructure
/// does, and what it replaces.
fn own_annotations(world: &World, machine: Option<&Machine>) -> BTreeMap<String, String> {
    let mut all = machine_annotations(world);
    all.insert(annotations::KCP_PRE_TERMINATE_HOOK.to_owned(), String::new());
    let replaces = match machine {
        Some(machine) => machine.annotations().get(annotations::REMEDIATION_FOR).cloned(),
        None => remediation::in_progress(world)
            .filter(|_| !remediation::is_over(world))
            .map(|record| record.text()),
    };
    all.extend(replaces.map(|record| (annotations::REMEDIATION_FOR.to_owned(), record)));
    all
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
    // The successor of a Machine that was given up never takes its name.
    seen.extend(remediation::in_progress(world).map(|record| record.text()));
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
    Machine {
        metadata: ObjectMeta {
            owner_references: Some(vec![world.controller()]),
            annotations: Some(own_annotations(world, None)),
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
    }
}

/// What is applied to a Machine, new or existing: everything that the control plane decides. What it decides once
/// (version, failure domain, references, what it replaces) stays as the Machine has it.
pub fn intent(world: &World, machine: &Machine) -> Value {
    let annotations = own_annotations(world, Some(machine));
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
    let mut metadata = json!({
        "labels": machine_labels(world), "annotations": annotations, "ownerReferences": [world.controller()] });
    // At birth: one write less than when the Machine controller adds it. From then on it is kept as long as it is there:
    // what an apply leaves out, it gives up.
    if machine.uid().is_none() || meta::has_finalizer(&machine.metadata, finalizers::MACHINE) {
        metadata["finalizers"] = json!([finalizers::MACHINE]);
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

/// Labels and annotations of the template, for the objects that a Machine refers to.
pub fn children_metadata(world: &World) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    (machine_labels(world), machine_annotations(world))
}

/// Whether a Machine or the objects that it refers to differ in what follows the control plane without a new machine:
/// metadata of the template, gates, timeouts and taints. What was taken out of the template cannot be seen on them, so a
/// spec that has not been seen through yet counts too.
pub fn needs_sync(world: &World, view: &MachineView) -> bool {
    if view.deleting() {
        return with_timeouts(world, &view.machine) != *view.machine;
    }
    let (labels, annotations) = children_metadata(world);
    let lacks = |meta: &ObjectMeta| lacks(meta, &labels, &annotations);
    world.spec_is_new()
        || is_out_of_sync(world, &view.machine)
        || view.config.as_ref().is_some_and(|config| lacks(&config.metadata))
        || view
            .infrastructure
            .as_ref()
            .is_some_and(|object| lacks(&object.metadata))
}

/// Whether a Machine itself differs in what follows the control plane.
pub fn is_out_of_sync(world: &World, machine: &Machine) -> bool {
    synced(world, machine) != *machine
}

/// Whether an object is without some of these labels and annotations.
pub fn lacks(
    meta: &ObjectMeta,
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) -> bool {
    let missing = |wanted: &BTreeMap<String, String>, has: &Option<BTreeMap<String, String>>| {
        wanted
            .iter()
            .any(|(key, value)| has.as_ref().and_then(|has| has.get(key)) != Some(value))
    };
    missing(labels, &meta.labels) || missing(annotations, &meta.annotations)
}

/// The Machine with everything that follows the control plane without a new machine.
fn synced(world: &World, machine: &Machine) -> Machine {
    let mut wanted = with_timeouts(world, machine);
    wanted
        .metadata
        .labels
        .get_or_insert_default()
        .extend(machine_labels(world));
    wanted
        .metadata
        .annotations
        .get_or_insert_default()
        .extend(own_annotations(world, Some(machine)));
    wanted.spec.readiness_gates = readiness_gates(world);
    wanted.spec.taints = world.control_plane.spec.machine_template.spec.taints.clone();
    wanted
}

/// The Machine with the timeouts of the template: all that still matters to one that is deleted.
pub fn with_timeouts(world: &World, machine: &Machine) -> Machine {
    let mut wanted = machine.clone();
    if let Some(deletion) = deletion(world) {
        // What is unset here has a default in the API server.
        let current = wanted.spec.deletion.get_or_insert_default();
        current.node_drain_timeout_seconds = deletion.node_drain_timeout_seconds;
        current.node_volume_detach_timeout_seconds = deletion.node_volume_detach_timeout_seconds;
        current.node_deletion_timeout_seconds = deletion
            .node_deletion_timeout_seconds
            .or(current.node_deletion_timeout_seconds);
    }
    wanted
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
