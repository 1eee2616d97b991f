//! What `deploy/` holds of every provider and is generated, so that it cannot differ from the code: definitions, webhook
//! configurations, permissions, the Deployment with what surrounds it, and what clusterctl wants to know.
//!
//! | module | what is in it |
//! |---|---|
//! | [`providers`] | one description per provider: names, flags, size |
//! | [`rbac`] | what each provider may do |
//! | [`manifests`] | the objects around a manager, made from its description |
//! | [`release`] | the same as one components file per provider, with variables, in the folders that clusterctl reads |
//! | [`usage`] | granted permissions compared with an API server's audit log |

pub mod manifests;
pub mod providers;
pub mod rbac;
pub mod release;
pub mod usage;

use std::collections::BTreeMap;

use anyhow::Context as _;
use capi_api::crd::{self, Shipped};
use capi_runtime::{
    Manager,
    webhook::configuration::{mutating, validating},
};
use embedded_apiserver::Server;
use serde::Serialize;

use providers::{PROVIDERS, Provider};

/// The definitions of all providers. Those of kinds with several versions name the webhook that converts them.
fn definitions(hooks: &BTreeMap<&'static str, Hooks>) -> anyhow::Result<Vec<Shipped>> {
    let mut definitions = crd::crds()?;
    definitions.extend(infra_inmemory::crds()?);
    definitions.extend(infra_openstack::crds()?);
    for shipped in &mut definitions {
        let provider = PROVIDERS
            .iter()
            .find(|provider| provider.folder == shipped.provider);
        let name = shipped.definition.metadata.name.clone().unwrap_or_default();
        if let Some(provider) = provider.filter(|p| hooks[p.folder].definitions.contains(&name)) {
            shipped.definition.spec.conversion = Some(provider.names().conversion());
        }
    }
    Ok(definitions)
}

/// What the API server asks of a manager.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    /// The webhook configurations as YAML documents.
    configurations: Vec<String>,
    /// Whether there is a configuration for defaults.
    mutating: bool,
    /// Whether there is one for validation.
    validating: bool,
    /// The names of the definitions whose objects it converts.
    definitions: Vec<String>,
}

impl Hooks {
    /// True if it serves webhooks at all.
    pub fn any(&self) -> bool {
        !self.configurations.is_empty() || !self.definitions.is_empty()
    }
}

/// What each provider registers, by folder.
pub async fn hooks() -> anyhow::Result<BTreeMap<&'static str, Hooks>> {
    // Never asked anything: rules are registered, not applied.
    let server = Server::builder().build().await?;
    let mut all = BTreeMap::new();
    for provider in PROVIDERS {
        let mut manager = Manager::builder(server.client()).name(provider.manager).build()?;
        (provider.register)(&mut manager);
        let (names, kinds) = (provider.names(), manager.admission().kinds());
        let mut configurations = Vec::new();
        let mutates = kinds.iter().any(|kind| kind.defaults);
        let validates = kinds.iter().any(|kind| kind.validates);
        if mutates {
            configurations.push(yaml("configuration", &mutating(&names, &kinds))?);
        }
        if validates {
            configurations.push(yaml("configuration", &validating(&names, &kinds))?);
        }
        let definitions = manager.conversions().definitions();
        all.insert(
            provider.folder,
            Hooks {
                configurations,
                mutating: mutates,
                validating: validates,
                definitions,
            },
        );
    }
    server.shutdown();
    Ok(all)
}

/// All generated files below `deploy`: path and text.
pub async fn files() -> anyhow::Result<BTreeMap<String, String>> {
    let hooks = hooks().await?;
    let mut files = crd::render(&definitions(&hooks)?)?;
    for provider in PROVIDERS {
        let folder = provider.folder;
        let hooks = &hooks[folder];
        if !hooks.configurations.is_empty() {
            files.insert(
                format!("{folder}/webhooks.yaml"),
                hooks.configurations.join("---\n"),
            );
        }
        let managers = manifests::objects(provider, hooks, manifests::default_value);
        files.insert(format!("{folder}/manager.yaml"), documents(&managers)?);
        files.insert(
            format!("{folder}/metadata.yaml"),
            yaml("metadata", &manifests::metadata())?,
        );
        let kustomization = manifests::kustomization(resources(provider, &files));
        files.insert(
            format!("{folder}/kustomization.yaml"),
            yaml("kustomization", &kustomization)?,
        );
        files.insert(
            format!("{folder}/Containerfile"),
            manifests::container_file(provider),
        );
    }
    Ok(files)
}

/// The files of a provider that hold objects, relative to its folder, in the order of installation.
fn resources(provider: &Provider, files: &BTreeMap<String, String>) -> Vec<String> {
    let prefix = format!("{}/", provider.folder);
    let mut resources: Vec<String> = files
        .keys()
        .filter_map(|path| path.strip_prefix(&prefix))
        .filter(|path| path.starts_with("crds/"))
        .map(str::to_owned)
        .collect();
    resources.push("manager.yaml".to_owned());
    if files.contains_key(&format!("{prefix}webhooks.yaml")) {
        resources.push("webhooks.yaml".to_owned());
    }
    resources
}

fn documents(objects: &[serde_json::Value]) -> anyhow::Result<String> {
    let texts: Vec<String> = objects
        .iter()
        .map(|object| yaml("object", object))
        .collect::<anyhow::Result<_>>()?;
    Ok(texts.join("---\n"))
}

fn yaml(what: &str, object: &impl Serialize) -> anyhow::Result<String> {
    let value = serde_json::to_value(object)?;
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(&value, options).with_context(|| format!("write the {what}"))
}
