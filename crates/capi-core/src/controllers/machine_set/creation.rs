//! New Machines of a MachineSet: the Machine, and the clones of the templates that it refers to. Pure.
//!
//! The Machine is created before its clones, so that they belong to it from their first moment and nobody has to hand
//! them over. A creation that was interrupted leaves a Machine that refers to what does not exist: the next reconcile
//! makes it.

use std::collections::BTreeSet;

use capi_api::{
    contract::{self, NewClone, Template},
    core::v1beta2::{ContractVersionedObjectReference, Machine, MachineSet},
    finalizers,
};
use capi_runtime::meta;
use kube::{
    ResourceExt,
    core::{ApiResource, DynamicObject, ObjectMeta},
};

use super::{
    names::{DEFAULT_TEMPLATE, Namer, NamingError},
    observe::{Pair, World, is_template},
    plan::machine_labels,
};
use crate::{foreign::Foreign, machines};

/// An object to be created, with its resource. Its owner is filled in once the Machine exists.
pub type New = (Box<DynamicObject>, ApiResource);

/// The clones of a Machine that are to be created.
#[derive(Clone, Debug, Default)]
pub struct Clones {
    /// The bootstrap config.
    pub bootstrap: Option<New>,
    /// The infrastructure machine.
    pub infrastructure: Option<New>,
}

impl Clones {
    /// Whether there is nothing to create.
    pub fn is_empty(&self) -> bool {
        self.bootstrap.is_none() && self.infrastructure.is_none()
    }
}

/// The names of `count` new Machines.
pub fn names(world: &World, set: &MachineSet, count: usize) -> Result<Vec<String>, NamingError> {
    let naming = set
        .spec
        .machine_naming
        .as_ref()
        .and_then(|n| n.template.as_deref())
        .filter(|t| !t.is_empty());
    let (name, uid) = (set.name_any(), set.uid().unwrap_or_default());
    let namer = Namer {
        template: naming.unwrap_or(DEFAULT_TEMPLATE),
        cluster: &set.spec.cluster_name,
        set: &name,
        uid: &uid,
        episode: &world.episode,
    };
    let mut seen: BTreeSet<String> = world.machines.iter().map(|m| m.name_any()).collect();
    let mut names = Vec::new();
    for _ in 0..count {
        let name = namer.next(&seen, |name: &str| world.taken.contains(name))?;
        seen.insert(name.clone());
        names.push(name);
    }
    Ok(names)
}

/// A new Machine.
pub fn machine(set: &MachineSet, name: &str) -> Machine {
    let template = &set.spec.template;
    let annotations = template.metadata.clone().unwrap_or_default().annotations;
    let mut spec = template.spec.clone();
    spec.cluster_name = set.spec.cluster_name.clone();
    spec.infrastructure_ref = clone_reference(&template.spec.infrastructure_ref, name);
    let config = template.spec.bootstrap.config_ref.as_ref();
    spec.bootstrap.config_ref = config.map(|r| clone_reference(r, name));
    Machine {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: set.namespace(),
            labels: Some(machine_labels(set)),
            annotations: Some(annotations).filter(|a| !a.is_empty()),
            owner_references: Some(vec![meta::controller_reference(set)]),
            // At birth: one write less than when the Machine controller adds it.
            finalizers: Some(vec![finalizers::MACHINE.to_owned()]),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}

/// The reference to the clone of a template.
fn clone_reference(
    template: &ContractVersionedObjectReference,
    name: &str,
) -> ContractVersionedObjectReference {
    if !is_template(template) {
        return template.clone();
    }
    ContractVersionedObjectReference {
        api_group: template.api_group.clone(),
        kind: Template::cloned_kind(&template.kind).to_owned(),
        name: name.to_owned(),
    }
}

/// The clones of all templates for a Machine of that name.
pub fn clones(world: &World, set: &MachineSet, name: &str) -> Result<Clones, contract::FieldError> {
    Ok(Clones {
        bootstrap: cloned(&world.bootstrap_template, set, name)?,
        infrastructure: cloned(&world.infrastructure_template, set, name)?,
    })
}

fn cloned(template: &Foreign, set: &MachineSet, name: &str) -> Result<Option<New>, contract::FieldError> {
    let Some(found) = template.found().filter(|f| f.resource.kind.ends_with("Template")) else {
        return Ok(None);
    };
    let annotations = set.spec.template.metadata.clone().unwrap_or_default().annotations;
    let object = Template::new(&found.object).cloned(NewClone {
        name: name.to_owned(),
        namespace: set.namespace().unwrap_or_default(),
        cluster: set.spec.cluster_name.clone(),
        labels: machine_labels(set),
        annotations,
        owner: None,
    })?;
    Ok(Some((
        Box::new(object),
        Template::cloned_resource(&found.resource),
    )))
}

/// The clones that an interrupted creation has left out. A clone that was there once is not made again: its host may
/// still be there.
pub fn missing(
    world: &World,
    set: &MachineSet,
    machine: &Machine,
    pair: &Pair,
) -> Result<Clones, contract::FieldError> {
    if machines::is_deleting(machine) {
        return Ok(Clones::default());
    }
    let name = machine.name_any();
    let initialization = machine.status.as_ref().and_then(|s| s.initialization.as_ref());
    let refers = |reference: Option<&ContractVersionedObjectReference>,
                  template: Option<&ContractVersionedObjectReference>| {
        template.is_some_and(|t| is_template(t) && reference == Some(&clone_reference(t, &name)))
    };
    let (own, template) = (&machine.spec, &set.spec.template.spec);
    let unborn_config = pair.bootstrap.is_missing()
        && refers(
            own.bootstrap.config_ref.as_ref(),
            template.bootstrap.config_ref.as_ref(),
        )
        && own.bootstrap.data_secret_name.is_none()
        && initialization.and_then(|i| i.bootstrap_data_secret_created) != Some(true);
    let unborn_host = pair.infrastructure.is_missing()
        && refers(Some(&own.infrastructure_ref), Some(&template.infrastructure_ref))
        && own.provider_id.as_deref().is_none_or(str::is_empty)
        && initialization.and_then(|i| i.infrastructure_provisioned) != Some(true);
    let mut clones = Clones::default();
    if unborn_config {
        clones.bootstrap = cloned(&world.bootstrap_template, set, &name)?;
    }
    if unborn_host {
        clones.infrastructure = cloned(&world.infrastructure_template, set, &name)?;
    }
    Ok(clones)
}
