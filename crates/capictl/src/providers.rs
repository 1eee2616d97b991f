//! All providers in one process: their definitions, their controllers, and their admission called in place.
//!
//! Used by `quickstart`, and by whoever tests whole systems. Sockets and files must not be here.

use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use async_trait::async_trait;
use capi_api::crd::Shipped;
use capi_runtime::{
    Manager,
    webhook::{self, conversion::Conversions},
};
use embedded_apiserver::{AdmissionPhase, Converter};
use infra_inmemory::World;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinition, WebhookClientConfig, WebhookConversion,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::{
        DynamicObject,
        admission::{AdmissionRequest, AdmissionResponse, Operation},
    },
};

/// The CustomResourceDefinitions of all providers. They are derived from the types once a process, as that takes a while.
pub fn definitions() -> anyhow::Result<&'static [Shipped]> {
    static DEFINITIONS: OnceLock<Vec<Shipped>> = OnceLock::new();
    if let Some(definitions) = DEFINITIONS.get() {
        return Ok(definitions);
    }
    let mut definitions = capi_api::crd::crds()?;
    definitions.extend(infra_inmemory::crds()?);
    Ok(DEFINITIONS.get_or_init(|| definitions))
}

/// Applies the definitions to an API server.
pub async fn install_definitions(client: &Client) -> anyhow::Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for shipped in definitions()? {
        let mut definition = shipped.definition.clone();
        if definition.spec.versions.len() > 1 {
            definition.spec.conversion = Some(in_process());
        }
        let name = definition.metadata.name.clone().unwrap_or_default();
        api.patch(
            &name,
            &PatchParams::apply("capictl").force(),
            &Patch::Apply(&definition),
        )
        .await
        .with_context(|| format!("cannot install the CustomResourceDefinition {name}"))?;
    }
    Ok(())
}

/// Says that objects are converted; [`InProcessConversion`] answers before anybody calls the address.
fn in_process() -> CustomResourceConversion {
    CustomResourceConversion {
        strategy: "Webhook".to_owned(),
        webhook: Some(WebhookConversion {
            client_config: Some(WebhookClientConfig {
                url: Some("https://in-process.invalid/convert".to_owned()),
                ..WebhookClientConfig::default()
            }),
            conversion_review_versions: vec!["v1".to_owned()],
        }),
    }
}

/// The conversions of a manager for the embedded API server, which is built before it.
#[derive(Clone, Default)]
pub struct InProcessConversion(Arc<OnceLock<Conversions>>);

impl InProcessConversion {
    /// Takes the conversions of a manager; later calls change nothing.
    pub fn set(&self, conversions: Conversions) {
        let _ = self.0.set(conversions);
    }
}

impl Converter for InProcessConversion {
    fn review(&self, review: &serde_json::Value) -> Option<serde_json::Value> {
        Some(self.0.get()?.review(review))
    }
}

/// Registers the controllers of all providers.
pub fn register(manager: &mut Manager, world: World) {
    capi_core::register(manager);
    bootstrap_kubeadm::register(manager);
    controlplane_kubeadm::register(manager);
    infra_inmemory::register(manager, world);
}

/// The providers' admission as a plugin of the embedded API server. The server is built before the manager that knows
/// the rules; until [`InProcessAdmission::set`], nothing is asked.
#[derive(Clone, Default)]
pub struct InProcessAdmission(Arc<OnceLock<webhook::Admission>>);

impl InProcessAdmission {
    /// Takes the rules of a manager; later calls change nothing.
    pub fn set(&self, rules: webhook::Admission) {
        let _ = self.0.set(rules);
    }
}

#[async_trait]
impl embedded_apiserver::Admission for InProcessAdmission {
    fn name(&self) -> String {
        "capi-rs".to_owned()
    }

    fn handles(
        &self,
        phase: AdmissionPhase,
        operation: &Operation,
        group: &str,
        version: &str,
        resource: &str,
    ) -> bool {
        let wanted = !matches!(
            (phase, operation),
            (AdmissionPhase::Mutating, Operation::Delete) | (_, Operation::Connect)
        );
        let kind = |k: &webhook::AdmittedKind| {
            let scaled = resource.strip_suffix("/scale").filter(|_| k.judges_scale);
            k.group == group && k.version == version && k.plural == scaled.unwrap_or(resource)
        };
        wanted && self.0.get().is_some_and(|rules| rules.kinds().iter().any(kind))
    }

    async fn admit(
        &self,
        phase: AdmissionPhase,
        request: AdmissionRequest<DynamicObject>,
    ) -> AdmissionResponse {
        match (self.0.get(), phase) {
            (None, _) => AdmissionResponse::from(&request),
            (Some(rules), AdmissionPhase::Mutating) => rules.mutate(&request).await,
            (Some(rules), AdmissionPhase::Validating) => rules.validate(&request).await,
        }
    }
}
