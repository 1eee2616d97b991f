//! The webhook configurations that a provider ships, made from the admission rules that it registers, so that the two
//! cannot differ. Registering them with an API server is the installer's work; their certificate authority is put in by
//! the manager itself (`inject`).

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations, ServiceReference, ValidatingWebhook,
    ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    self as definition, CustomResourceConversion, WebhookConversion,
};
use kube::api::ObjectMeta;

use super::AdmittedKind;

/// How a provider's manager is reached from the API server, named as upstream names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    prefix: String,
    namespace: String,
}

impl Names {
    /// Of the manager with this name, for example `capi-controller-manager`, in a namespace, for example `capi-system`.
    pub fn of(manager: &str, namespace: &str) -> Self {
        let prefix = manager.strip_suffix("-controller-manager").unwrap_or(manager);
        Self {
            prefix: prefix.to_owned(),
            namespace: namespace.to_owned(),
        }
    }

    /// The Service in front of the webhook server.
    pub fn service(&self) -> String {
        format!("{}-webhook-service", self.prefix)
    }

    /// The Secret with the certificate authority of the webhook server.
    pub fn secret(&self) -> String {
        format!("{}-webhook-ca", self.prefix)
    }

    /// The MutatingWebhookConfiguration.
    pub fn mutating(&self) -> String {
        format!("{}-mutating-webhook-configuration", self.prefix)
    }

    /// The ValidatingWebhookConfiguration.
    pub fn validating(&self) -> String {
        format!("{}-validating-webhook-configuration", self.prefix)
    }

    /// Under what names the API server may call the Service.
    pub fn hosts(&self) -> Vec<String> {
        let service = format!("{}.{}", self.service(), self.namespace);
        ["", ".svc", ".svc.cluster.local"]
            .map(|suffix| format!("{service}{suffix}"))
            .into()
    }

    /// How the definition of a kind with several versions says who converts its objects.
    pub fn conversion(&self) -> CustomResourceConversion {
        CustomResourceConversion {
            strategy: "Webhook".to_owned(),
            webhook: Some(WebhookConversion {
                client_config: Some(definition::WebhookClientConfig {
                    service: Some(definition::ServiceReference {
                        name: self.service(),
                        namespace: self.namespace.clone(),
                        path: Some("/convert".to_owned()),
                        port: None,
                    }),
                    ..definition::WebhookClientConfig::default()
                }),
                conversion_review_versions: vec!["v1".to_owned()],
            }),
        }
    }

    fn client(&self, path: String) -> WebhookClientConfig {
        WebhookClientConfig {
            service: Some(ServiceReference {
                name: self.service(),
                namespace: self.namespace.clone(),
                path: Some(path),
                port: None,
            }),
            ..WebhookClientConfig::default()
        }
    }
}

/// The configuration for the defaulting rules among `kinds`.
pub fn mutating(names: &Names, kinds: &[AdmittedKind]) -> MutatingWebhookConfiguration {
    let webhooks = kinds
        .iter()
        .filter(|kind| kind.defaults)
        .map(|kind| MutatingWebhook {
            name: name(kind, "default"),
            client_config: names.client(kind.path("mutate")),
            rules: Some(vec![rule(kind, &["CREATE", "UPDATE"], vec![kind.plural.clone()])]),
            failure_policy: Some("Fail".into()),
            match_policy: Some("Equivalent".into()),
            side_effects: "None".into(),
            admission_review_versions: vec!["v1".into()],
            timeout_seconds: Some(TIMEOUT),
            ..MutatingWebhook::default()
        });
    MutatingWebhookConfiguration {
        metadata: named(names.mutating()),
        webhooks: Some(webhooks.collect()),
    }
}

/// The configuration for the validating rules among `kinds`, deletion and scaling included.
pub fn validating(names: &Names, kinds: &[AdmittedKind]) -> ValidatingWebhookConfiguration {
    let webhooks = kinds.iter().filter(|kind| kind.validates).map(|kind| {
        let mut operations = vec!["CREATE", "UPDATE"];
        operations.extend(kind.judges_deletion.then_some("DELETE"));
        let mut resources = vec![kind.plural.clone()];
        resources.extend(kind.judges_scale.then(|| format!("{}/scale", kind.plural)));
        ValidatingWebhook {
            name: name(kind, "validation"),
            client_config: names.client(kind.path("validate")),
            rules: Some(vec![rule(kind, &operations, resources)]),
            failure_policy: Some("Fail".into()),
            match_policy: Some("Equivalent".into()),
            side_effects: "None".into(),
            admission_review_versions: vec!["v1".into()],
            timeout_seconds: Some(TIMEOUT),
            ..ValidatingWebhook::default()
        }
    });
    ValidatingWebhookConfiguration {
        metadata: named(names.validating()),
        webhooks: Some(webhooks.collect()),
    }
}

/// How long the API server waits for an answer, in seconds.
const TIMEOUT: i32 = 10;

fn named(name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        ..ObjectMeta::default()
    }
}

fn name(kind: &AdmittedKind, verb: &str) -> String {
    format!("{verb}.{}.{}", kind.kind.to_lowercase(), kind.group)
}

fn rule(kind: &AdmittedKind, operations: &[&str], resources: Vec<String>) -> RuleWithOperations {
    RuleWithOperations {
        api_groups: Some(vec![kind.group.clone()]),
        api_versions: Some(vec![kind.version.clone()]),
        operations: Some(operations.iter().map(ToString::to_string).collect()),
        resources: Some(resources),
        scope: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(defaults: bool, judges_scale: bool, judges_deletion: bool) -> AdmittedKind {
        AdmittedKind {
            group: "controlplane.cluster.x-k8s.io".into(),
            version: "v1beta2".into(),
            kind: "KubeadmControlPlane".into(),
            plural: "kubeadmcontrolplanes".into(),
            defaults,
            validates: true,
            judges_scale,
            judges_deletion,
        }
    }

    #[test]
    fn a_rule_asks_for_what_its_validator_judges() {
        let names = Names::of("capi-kubeadm-control-plane-controller-manager", "some-system");
        assert_eq!(
            mutating(&names, &[kind(false, false, false)]).webhooks,
            Some(vec![])
        );
        for (scale, deletion, resources, operations) in [
            (
                false,
                false,
                vec!["kubeadmcontrolplanes"],
                vec!["CREATE", "UPDATE"],
            ),
            (
                true,
                true,
                vec!["kubeadmcontrolplanes", "kubeadmcontrolplanes/scale"],
                vec!["CREATE", "UPDATE", "DELETE"],
            ),
        ] {
            let configuration = validating(&names, &[kind(true, scale, deletion)]);
            let webhook = configuration.webhooks.unwrap().remove(0);
            assert_eq!(
                webhook.name,
                "validation.kubeadmcontrolplane.controlplane.cluster.x-k8s.io"
            );
            let service = webhook.client_config.service.unwrap();
            assert_eq!(service.name, "capi-kubeadm-control-plane-webhook-service");
            assert_eq!(
                service.path.as_deref(),
                Some("/validate-controlplane-cluster-x-k8s-io-v1beta2-kubeadmcontrolplane")
            );
            let rule = webhook.rules.unwrap().remove(0);
            assert_eq!(rule.resources.unwrap(), resources);
            assert_eq!(rule.operations.unwrap(), operations);
        }
    }
}
