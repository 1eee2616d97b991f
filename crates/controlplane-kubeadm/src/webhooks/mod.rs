//! Admission rules of this provider's kinds. The rules themselves are pure functions in the modules below.

mod changes;
mod kubeadm_config;
mod kubeadm_control_plane;
mod kubeadm_control_plane_template;

use async_trait::async_trait;
use capi_api::annotations;
use capi_api::bootstrap::{
    jinja,
    rules::{IGNITION_FEATURE, IgnitionGate},
    v1beta2::KubeadmConfigSpec,
};
use capi_api::controlplane::v1beta2::{KubeadmControlPlane, KubeadmControlPlaneTemplate};
use capi_runtime::{
    Manager,
    webhook::{Defaulter, Request, Validator, Verdict},
};
use kube::ResourceExt;

pub use kubeadm_control_plane::{set_defaults, validate, validate_change};

/// Adds the admission rules to a manager.
pub fn register(manager: &mut Manager) {
    let ignition = IgnitionGate::of(manager.feature(IGNITION_FEATURE, false));
    let rules = KubeadmControlPlaneRules { ignition };
    manager.webhook::<KubeadmControlPlane>(rules, rules);
    let rules = TemplateRules { ignition };
    manager.webhook::<KubeadmControlPlaneTemplate>(rules, rules);
}

/// Advice on a configuration that is valid and yet will not work.
fn advised(verdict: Verdict, config: Option<&KubeadmConfigSpec>, path: &str) -> Verdict {
    let warnings = config.map_or_else(Vec::new, |config| jinja::warnings(config, path));
    warnings.into_iter().fold(verdict, Verdict::warn)
}

#[derive(Clone, Copy)]
struct KubeadmControlPlaneRules {
    ignition: IgnitionGate,
}

impl KubeadmControlPlaneRules {
    fn advised(verdict: Verdict, plane: &KubeadmControlPlane) -> Verdict {
        advised(
            verdict,
            plane.spec.kubeadm_config_spec.as_ref(),
            "spec.kubeadmConfigSpec",
        )
    }
}

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
        Self::advised(Verdict::of(validate(&new.spec, self.ignition)), new)
    }

    async fn update(&self, _: &Request, old: &KubeadmControlPlane, new: &KubeadmControlPlane) -> Verdict {
        // What is unchanged was admitted once; and what is on its way out must be able to go.
        if old.spec == new.spec || new.metadata.deletion_timestamp.is_some() {
            return Verdict::allow();
        }
        let skips_dns = new.annotations().contains_key(annotations::SKIP_CORE_DNS);
        // The new one has its defaults; what was stored before there were any is compared as if it had them.
        let mut stored = old.spec.clone();
        set_defaults(&mut stored);
        let errors = validate_change(&stored, &new.spec, skips_dns, self.ignition);
        Self::advised(Verdict::of(errors), new)
    }

    fn judges_scale(&self) -> bool {
        true
    }
}

#[derive(Clone, Copy)]
struct TemplateRules {
    ignition: IgnitionGate,
}

impl TemplateRules {
    fn advised(verdict: Verdict, template: &KubeadmControlPlaneTemplate) -> Verdict {
        let config = template.spec.template.spec.as_ref();
        let config = config.and_then(|spec| spec.kubeadm_config_spec.as_ref());
        advised(verdict, config, "spec.template.spec.kubeadmConfigSpec")
    }
}

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
        let errors = kubeadm_control_plane_template::validate(&new.spec, self.ignition);
        Self::advised(Verdict::of(errors), new)
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
        let before = kubeadm_control_plane_template::validate(&old.spec, self.ignition);
        let mut errors = kubeadm_control_plane_template::validate(&new.spec, self.ignition);
        errors.retain(|error| !before.contains(error));
        errors.extend(kubeadm_control_plane_template::validate_change(
            request.dry_run,
            old,
            new,
        ));
        Self::advised(Verdict::of(errors), new)
    }
}
