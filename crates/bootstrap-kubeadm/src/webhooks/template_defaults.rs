//! What a KubeadmConfigTemplate is completed with, and when.
//!
//! Templates were defaulted on every write once. They are no longer; but when a topology compares a template with the one
//! it would write now, by a dry run, what was stored then must not look different.

use async_trait::async_trait;
use capi_api::annotations::TOPOLOGY_DRY_RUN;
use capi_api::bootstrap::v1beta2::{Format, ImagePullPolicy, KubeadmConfigSpec, KubeadmConfigTemplate};
use capi_runtime::webhook::{Defaulter, Request};
use kube::ResourceExt;

/// Defaults KubeadmConfigTemplates in the dry runs of topologies.
#[derive(Clone, Copy, Debug)]
pub struct TemplateDefaults;

#[async_trait]
impl Defaulter<KubeadmConfigTemplate> for TemplateDefaults {
    async fn default(
        &self,
        request: &Request,
        _: Option<&KubeadmConfigTemplate>,
        template: &mut KubeadmConfigTemplate,
    ) -> Result<(), String> {
        complete(request.dry_run, template);
        Ok(())
    }
}

fn complete(dry_run: bool, template: &mut KubeadmConfigTemplate) {
    if dry_run && template.annotations().contains_key(TOPOLOGY_DRY_RUN) {
        apply_previous_defaults(template.spec.template.spec.get_or_insert_default());
    }
}

/// The defaults of old.
pub fn apply_previous_defaults(spec: &mut KubeadmConfigSpec) {
    spec.format.get_or_insert(Format::CloudConfig);
    let init = spec.init_configuration.get_or_insert_default();
    let node = init.node_registration.get_or_insert_default();
    node.image_pull_policy
        .get_or_insert(ImagePullPolicy::IfNotPresent);
    let join = spec.join_configuration.get_or_insert_default();
    let node = join.node_registration.get_or_insert_default();
    node.image_pull_policy
        .get_or_insert(ImagePullPolicy::IfNotPresent);
    let file = join
        .discovery
        .as_mut()
        .and_then(|discovery| discovery.file.as_mut());
    let user = file
        .and_then(|file| file.kube_config.as_mut())
        .map(|config| &mut config.user);
    if let Some(exec) = user.and_then(|user| user.exec.as_mut()) {
        exec.api_version
            .get_or_insert_with(|| "client.authentication.k8s.io/v1".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_dry_run_of_a_topology_completes_a_template() {
        let template = |annotations: serde_json::Value| -> KubeadmConfigTemplate {
            serde_json::from_value(json!({
                "metadata": {"name": "t", "annotations": annotations},
                "spec": {"template": {"spec": {"verbosity": 2, "joinConfiguration": {"discovery": {"file": {
                    "kubeConfigPath": "/k", "kubeConfig": {"user": {"exec": {"command": "c"}}}}}}}}},
            }))
            .unwrap()
        };
        let annotated = json!({TOPOLOGY_DRY_RUN: ""});
        for (dry_run, annotations, completed) in [
            (true, annotated.clone(), true),
            (true, json!({}), false),
            (false, annotated, false),
        ] {
            let mut after = template(annotations);
            let before = after.clone();
            complete(dry_run, &mut after);
            assert_eq!(after != before, completed);
            let once = after.clone();
            complete(dry_run, &mut after);
            assert_eq!(after, once, "completing again changes nothing");
            if completed {
                assert_eq!(
                    serde_json::to_value(after.spec.template.spec).unwrap(),
                    json!({
                        "format": "cloud-config", "verbosity": 2,
                        "initConfiguration": {"nodeRegistration": {"imagePullPolicy": "IfNotPresent"}},
                        "joinConfiguration": {
                            "nodeRegistration": {"imagePullPolicy": "IfNotPresent"},
                            "discovery": {"file": {"kubeConfigPath": "/k", "kubeConfig": {"user": {"exec": {
                                "command": "c", "apiVersion": "client.authentication.k8s.io/v1"}}}}}},
                    })
                );
            }
        }
    }
}
