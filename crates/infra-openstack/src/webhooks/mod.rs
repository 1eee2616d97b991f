//! Admission rules of this provider's kinds. The rules themselves are pure functions in the modules below.

mod openstackcluster;
mod openstackmachine;

use async_trait::async_trait;
use capi_runtime::{
    Manager,
    webhook::{FieldError, Request, Validator, Verdict},
};
use kube::ResourceExt;

use crate::api::{
    OpenStackCluster, OpenStackClusterTemplate, OpenStackMachine, OpenStackMachineTemplate, OpenStackServer,
    v1beta1,
};

/// Adds the admission rules and the conversions to a manager.
pub fn register(manager: &mut Manager) {
    manager.validator::<OpenStackCluster>(Rules);
    manager.validator::<OpenStackClusterTemplate>(Rules);
    manager.validator::<OpenStackMachine>(Rules);
    manager.validator::<OpenStackMachineTemplate>(Rules);
    manager.validator::<OpenStackServer>(Rules);
    for conversion in v1beta1::conversions() {
        manager.conversion(conversion);
    }
}

struct Rules;

/// What may not change.
fn immutable(path: &str, equal: bool) -> Vec<FieldError> {
    match equal {
        true => Vec::new(),
        false => vec![FieldError::forbidden(path, "cannot be modified")],
    }
}

/// True for the dry runs by which topologies compare.
fn is_topology_dry_run(request: &Request, object: &impl ResourceExt) -> bool {
    request.dry_run
        && object
            .annotations()
            .contains_key(capi_api::annotations::TOPOLOGY_DRY_RUN)
}

#[async_trait]
impl Validator<OpenStackCluster> for Rules {
    async fn create(&self, _: &Request, new: &OpenStackCluster) -> Verdict {
        Verdict::of(openstackcluster::validate(&new.spec))
    }

    async fn update(&self, _: &Request, old: &OpenStackCluster, new: &OpenStackCluster) -> Verdict {
        // What is unchanged was admitted once.
        if old.spec == new.spec {
            return Verdict::allow();
        }
        let mut errors = openstackcluster::validate(&new.spec);
        errors.extend(openstackcluster::validate_change(old, new));
        Verdict::of(errors)
    }
}

#[async_trait]
impl Validator<OpenStackClusterTemplate> for Rules {
    async fn create(&self, _: &Request, new: &OpenStackClusterTemplate) -> Verdict {
        Verdict::of(openstackcluster::validate(&new.spec.template.spec))
    }

    async fn update(
        &self,
        _: &Request,
        old: &OpenStackClusterTemplate,
        new: &OpenStackClusterTemplate,
    ) -> Verdict {
        Verdict::of(immutable(
            "spec.template.spec",
            old.spec.template.spec == new.spec.template.spec,
        ))
    }
}

#[async_trait]
impl Validator<OpenStackMachine> for Rules {
    async fn create(&self, _: &Request, new: &OpenStackMachine) -> Verdict {
        Verdict::of(openstackmachine::validate(&new.spec, "spec"))
    }

    async fn update(&self, _: &Request, old: &OpenStackMachine, new: &OpenStackMachine) -> Verdict {
        Verdict::of(immutable(
            "spec",
            openstackmachine::may_follow(&old.spec, &new.spec),
        ))
    }
}

#[async_trait]
impl Validator<OpenStackMachineTemplate> for Rules {
    async fn create(&self, _: &Request, new: &OpenStackMachineTemplate) -> Verdict {
        let path = "spec.template.spec";
        let mut errors = openstackmachine::validate(&new.spec.template.spec, path);
        if new.spec.template.spec.provider_id.is_some() {
            errors.push(FieldError::forbidden(
                format!("{path}.providerID"),
                "cannot be set in templates",
            ));
        }
        Verdict::of(errors)
    }

    async fn update(
        &self,
        request: &Request,
        old: &OpenStackMachineTemplate,
        new: &OpenStackMachineTemplate,
    ) -> Verdict {
        if is_topology_dry_run(request, new) {
            return Verdict::allow();
        }
        let (old, new) = (&old.spec.template.spec, &new.spec.template.spec);
        Verdict::of(immutable(
            "spec.template.spec",
            openstackmachine::template_may_follow(old, new),
        ))
    }
}

#[async_trait]
impl Validator<OpenStackServer> for Rules {
    async fn create(&self, _: &Request, new: &OpenStackServer) -> Verdict {
        Verdict::of(openstackmachine::validate_server(&new.spec))
    }

    async fn update(&self, request: &Request, old: &OpenStackServer, new: &OpenStackServer) -> Verdict {
        if is_topology_dry_run(request, new) {
            return Verdict::allow();
        }
        let mut before = old.spec.clone();
        before.identity_ref = new.spec.identity_ref.clone();
        Verdict::of(immutable("spec", before == new.spec))
    }
}
