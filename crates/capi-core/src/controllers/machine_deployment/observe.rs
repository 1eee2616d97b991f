//! What a MachineDeployment's reconcile looks at.

use std::sync::Arc;

use capi_api::core::v1beta2::{Cluster, Machine, MachineDeployment, MachineSet};
use capi_runtime::{Context, Error, Key, meta};
use kube::ResourceExt;

use crate::{
    foreign::{Foreign, follow},
    propagate::Known,
    selector,
};

/// A MachineDeployment and everything that matters to it.
#[derive(Clone, Debug)]
pub struct World {
    /// The MachineDeployment.
    pub deployment: Arc<MachineDeployment>,
    /// Its Cluster.
    pub cluster: Arc<Cluster>,
    /// The MachineSets it controls, and those it may adopt.
    pub sets: Vec<Arc<MachineSet>>,
    /// The Machines it selects.
    pub machines: Vec<Arc<Machine>>,
    /// What its bootstrap template reference leads to.
    pub bootstrap_template: Foreign,
    /// What its infrastructure template reference leads to.
    pub infrastructure_template: Foreign,
    /// What was last carried to its MachineSets.
    pub known: Known,
}

impl World {
    /// Whether the MachineDeployment is being deleted.
    pub fn is_deleting(&self) -> bool {
        self.deployment.metadata.deletion_timestamp.is_some()
    }

    /// Whether all references could be followed.
    pub fn is_readable(&self) -> bool {
        ![&self.bootstrap_template, &self.infrastructure_template]
            .iter()
            .any(|f| matches!(f, Foreign::Unreadable(_)))
    }
}

/// Reads the world of a MachineDeployment.
pub async fn observe(
    ctx: &Context,
    deployment: Arc<MachineDeployment>,
    cluster: Arc<Cluster>,
    failures: &mut Vec<Error>,
) -> World {
    let namespace = deployment.namespace().unwrap_or_default();
    let spec = &deployment.spec.template.spec;
    World {
        bootstrap_template: follow(ctx, &namespace, spec.bootstrap.config_ref.as_ref(), failures).await,
        infrastructure_template: follow(ctx, &namespace, Some(&spec.infrastructure_ref), failures).await,
        sets: sets_of(&deployment, &ctx.store::<MachineSet>().list(Some(&namespace))),
        machines: machines_of(
            &deployment,
            &ctx.store::<Machine>().by_cluster(&Key::of(&*cluster)),
        ),
        known: Known::new(),
        deployment,
        cluster,
    }
}

/// The MachineSets a MachineDeployment controls or selects, without those that belong to somebody else.
pub fn sets_of(deployment: &MachineDeployment, all: &[Arc<MachineSet>]) -> Vec<Arc<MachineSet>> {
    let uid = deployment.uid().unwrap_or_default();
    let selector = &deployment.spec.selector;
    let selects = |set: &MachineSet| {
        !selector::is_empty(selector) && selector::matches(selector, set.metadata.labels.as_ref())
    };
    all.iter()
        .filter(|set| match meta::controller_of(&set.metadata) {
            Some(owner) => owner.uid == uid,
            None => selects(set),
        })
        .cloned()
        .collect()
}

fn machines_of(deployment: &MachineDeployment, all: &[Arc<Machine>]) -> Vec<Arc<Machine>> {
    let selector = &deployment.spec.selector;
    if selector::is_empty(selector) {
        return Vec::new();
    }
    all.iter()
        .filter(|m| selector::matches(selector, m.metadata.labels.as_ref()))
        .cloned()
        .collect()
}
