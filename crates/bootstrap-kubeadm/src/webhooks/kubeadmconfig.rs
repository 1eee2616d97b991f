//! Which KubeadmConfigs are refused, beyond what the schema says, and what their users are warned of.
//!
//! The rules themselves are shared with whoever embeds a KubeadmConfig: [`capi_api::bootstrap::rules`]. KubeadmConfigs
//! are not defaulted; kubeadm does that on the machine.

use async_trait::async_trait;
use capi_api::bootstrap::{
    jinja,
    rules::{IgnitionGate, validate},
    v1beta2::{File, FileContentFormat, Format, KubeadmConfig, KubeadmConfigSpec, KubeadmConfigTemplate},
};
use capi_api::core::metadata;
use capi_runtime::webhook::{FieldError, Request, Validator, Verdict};

use crate::ignition as rendering;

/// Judges KubeadmConfigs and their templates.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Whether Ignition may be used.
    pub ignition: IgnitionGate,
}

impl Rules {
    fn config(self, config: &KubeadmConfig) -> Vec<FieldError> {
        validate(&config.spec, "spec", self.ignition)
    }

    fn template(self, template: &KubeadmConfigTemplate) -> Vec<FieldError> {
        let resource = &template.spec.template;
        let spec = resource.spec.iter();
        let of_spec = spec.flat_map(|spec| validate(spec, "spec.template.spec", self.ignition));
        let of_metadata = resource
            .metadata
            .iter()
            .flat_map(|meta| metadata::validate(meta, "spec.template.metadata"));
        of_spec.chain(of_metadata).collect()
    }
}

/// What is wrong with `new`, and what may be. What was wrong before a change is no reason to refuse the change: it may
/// have been stored under other rules.
fn verdict(old: &[FieldError], new: Vec<FieldError>, warnings: Vec<String>) -> Verdict {
    let verdict = Verdict::of(new.into_iter().filter(|error| !old.contains(error)).collect());
    warnings.into_iter().fold(verdict, Verdict::warn)
}

/// Advice on parts of `spec` that are valid and yet will not work.
pub fn warnings(spec: &KubeadmConfigSpec, path: &str) -> Vec<String> {
    let mut warnings = template_faults(spec, path);
    warnings.extend(jinja::warnings(spec, path));
    if spec.format == Some(Format::Ignition) {
        warnings.extend(ignition_doubts(spec, path));
    }
    warnings
}

/// Templates in files that nothing can be rendered from, whatever the version of the control plane is.
fn template_faults(spec: &KubeadmConfigSpec, path: &str) -> Vec<String> {
    let fault = |(index, file): (usize, &File)| {
        let content = file
            .content
            .as_deref()
            .filter(|_| file.content_format == Some(FileContentFormat::Template))?;
        let error = gotemplate::Template::parse(content).err()?;
        Some(format!(
            "{path}.files[{index}].content is a template that cannot be rendered ({error}): machines will wait for it to be corrected"
        ))
    };
    spec.files.iter().enumerate().filter_map(fault).collect()
}

/// What the compiler of the additional Container Linux Config has to say.
fn ignition_doubts(spec: &KubeadmConfigSpec, path: &str) -> Vec<String> {
    let config = spec
        .ignition
        .as_ref()
        .and_then(|i| i.container_linux_config.as_ref());
    let Some((config, text)) = config.and_then(|c| Some((c, c.additional_config.as_deref()?))) else {
        return Vec::new();
    };
    let doubts = rendering::doubts(text, config.strict == Some(true));
    let doubts = doubts.into_iter();
    doubts
        .map(|doubt| format!("{path}.ignition.containerLinuxConfig.additionalConfig: {doubt}"))
        .collect()
}

#[async_trait]
impl Validator<KubeadmConfig> for Rules {
    async fn create(&self, _: &Request, new: &KubeadmConfig) -> Verdict {
        verdict(&[], self.config(new), warnings(&new.spec, "spec"))
    }

    async fn update(&self, _: &Request, old: &KubeadmConfig, new: &KubeadmConfig) -> Verdict {
        verdict(&self.config(old), self.config(new), warnings(&new.spec, "spec"))
    }
}

#[async_trait]
impl Validator<KubeadmConfigTemplate> for Rules {
    async fn create(&self, _: &Request, new: &KubeadmConfigTemplate) -> Verdict {
        verdict(&[], self.template(new), template_warnings(new))
    }

    async fn update(&self, _: &Request, old: &KubeadmConfigTemplate, new: &KubeadmConfigTemplate) -> Verdict {
        verdict(&self.template(old), self.template(new), template_warnings(new))
    }
}

fn template_warnings(template: &KubeadmConfigTemplate) -> Vec<String> {
    template
        .spec
        .template
        .spec
        .iter()
        .flat_map(|spec| warnings(spec, "spec.template.spec"))
        .collect()
}

#[cfg(test)]
mod tests;
