//! Admission rules of this provider's kinds. The rules themselves are pure functions in the modules below.

mod changes;
mod kubeadm_config;
mod kubeadm_control_plane;
mod kubeadm_control_plane_template;

use async_trait::async_trait;
use capi_api::annotations;
use capi_api::controlplane::v1beta2::{KubeadmControlPlane, KubeadmControlPlaneTemplate};
use capi_runtime::{
    Manager,
    webhook::{Defaulter, Request, Validator, Verdict},
};
use kube::ResourceExt;

pub use kubeadm_control_plane::{set_defaults, validate, validate_change};

/// Adds the admission rules to a manager.
pub fn register(manager: &mut Manager) {
    manager.webhook::<KubeadmControlPlane>(KubeadmControlPlaneRules, KubeadmControlPlaneRules);
    manager.webhook::<KubeadmControlPlaneTemplate>(TemplateRules, TemplateRules);
}

struct KubeadmControlPlaneRules;

#[async_trait]
impl Defaulter<KubeadmControlPlane> for KubeadmControlPlaneRules {
    async fn default(
        &self,
        _: &Request,
        _: Option<&KubeadmControlPlane>,
        object: &mut KubeadmControlPlane,
    ) -> Result<(), String> {
        set_defaults(&mut object.spec);
        Ok(())
    }
}

#[async_trait]
impl Validator<KubeadmControlPlane> for KubeadmControlPlaneRules {
    async fn create(&self, _: &Request, new: &KubeadmControlPlane) -> Verdict {
        Verdict::of(validate(&new.spec))
    }

    async fn update(&self, _: &Request, old: &KubeadmControlPlane, new: &KubeadmControlPlane) -> Verdict {
        // What is unchanged was admitted once; and what is on its way out must be able to go.
        if old.spec == new.spec || new.metadata.deletion_timestamp.is_some() {
            return Verdict::allow();
        }
        let skips_dns = new.annotations().contains_key(annotations::SKIP_CORE_DNS);
        Verdict::of(validate_change(&old.spec, &new.spec, skips_dns))
    }

    fn judges_scale(&self) -> bool {
        true
    }
}

struct TemplateRules;

#[async_trait]
impl Defaulter<KubeadmControlPlaneTemplate> for TemplateRules {
    async fn default(
        &self,
        _: &Request,
        _: Option<&KubeadmControlPlaneTemplate>,
        object: &mut KubeadmControlPlaneTemplate,
    ) -> Result<(), String> {
        kubeadm_control_plane_template::set_defaults(&mut object.spec);
        Ok(())
    }
}

#[async_trait]
impl Validator<KubeadmControlPlaneTemplate> for TemplateRules {
    async fn create(&self, _: &Request, new: &KubeadmControlPlaneTemplate) -> Verdict {
        Verdict::of(kubeadm_control_plane_template::validate(&new.spec))
    }

    async fn update(
        &self,
        request: &Request,
        old: &KubeadmControlPlaneTemplate,
        new: &KubeadmControlPlaneTemplate,
    ) -> Verdict {
        if old.spec == new.spec || new.metadata.deletion_timestamp.is_some() {
            return Verdict::allow();
        }
        let before = kubeadm_control_plane_template::validate(&old.spec);
        let mut errors = kubeadm_control_plane_template::validate(&new.spec);
        errors.retain(|error| !before.contains(error));
        errors.extend(kubeadm_control_plane_template::validate_change(
            request.dry_run,
            old,
            new,
        ));
        Verdict::of(errors)
    }
}
