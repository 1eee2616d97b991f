//! What `deploy/` holds of every provider and is generated, so that it cannot differ from the code: definitions and
//! webhook configurations.

use std::collections::BTreeMap;

use anyhow::Context as _;
use capi_api::crd;
use capi_runtime::{
    Manager,
    webhook::configuration::{Names, mutating, validating},
};
use embedded_apiserver::Server;
use serde::Serialize;

/// A provider with admission rules: its folder, its manager, its namespace, and how it registers.
struct Provider {
    folder: &'static str,
    manager: &'static str,
    namespace: &'static str,
    register: fn(&mut Manager),
}

const PROVIDERS: &[Provider] = &[
    Provider {
        folder: "capi-core",
        manager: "capi-controller-manager",
        namespace: "capi-system",
        register: capi_core::register,
    },
    Provider {
        folder: "bootstrap-kubeadm",
        manager: "capi-kubeadm-bootstrap-controller-manager",
        namespace: "capi-kubeadm-bootstrap-system",
        register: bootstrap_kubeadm::register,
    },
    Provider {
        folder: "controlplane-kubeadm",
        manager: "capi-kubeadm-control-plane-controller-manager",
        namespace: "capi-kubeadm-control-plane-system",
        register: controlplane_kubeadm::register,
    },
];

/// All generated files below `deploy`: path and text.
pub async fn files() -> anyhow::Result<BTreeMap<String, String>> {
    let mut definitions = crd::crds()?;
    definitions.extend(infra_inmemory::crds()?);
    definitions.extend(infra_openstack::crds()?);
    let mut files = crd::render(&definitions)?;
    // Never asked anything: rules are registered, not applied.
    let server = Server::builder().build().await?;
    for provider in PROVIDERS {
        let mut manager = Manager::builder(server.client()).name(provider.manager).build()?;
        (provider.register)(&mut manager);
        let names = Names::of(provider.manager, provider.namespace);
        let kinds = manager.admission().kinds();
        let text = format!(
            "{}---\n{}",
            yaml("MutatingWebhookConfiguration", &mutating(&names, &kinds))?,
            yaml("ValidatingWebhookConfiguration", &validating(&names, &kinds))?
        );
        files.insert(format!("{}/webhooks.yaml", provider.folder), text);
    }
    server.shutdown();
    Ok(files)
}

fn yaml(kind: &str, object: &impl Serialize) -> anyhow::Result<String> {
    let value = serde_json::to_value(object)?;
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(&value, options).with_context(|| format!("write the {kind}"))
}
