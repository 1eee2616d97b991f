//! Releases as clusterctl reads them from a folder: `<label>/<version>/` with `metadata.yaml` and one components file per
//! provider, in which variables stand for what operators set.

use std::collections::BTreeMap;

use anyhow::Context as _;

use super::{
    Hooks, files, hooks,
    manifests::{self, VERSION},
    providers::{PROVIDERS, Provider},
};

/// All files of a release: path and text.
pub async fn release() -> anyhow::Result<BTreeMap<String, String>> {
    let (files, hooks) = (files().await?, hooks().await?);
    let mut release = BTreeMap::new();
    for provider in PROVIDERS {
        let folder = format!("{}/{VERSION}", provider.label);
        let metadata = files.get(&format!("{}/metadata.yaml", provider.folder));
        let metadata = metadata.context("a provider without metadata")?;
        release.insert(format!("{folder}/metadata.yaml"), metadata.clone());
        release.insert(
            format!("{folder}/{}", provider.components),
            components(provider, &hooks[provider.folder], &files)?,
        );
    }
    Ok(release)
}

/// Everything of a provider in one file.
fn components(
    provider: &Provider,
    hooks: &Hooks,
    files: &BTreeMap<String, String>,
) -> anyhow::Result<String> {
    let mut texts = Vec::new();
    for path in super::resources(provider, files) {
        if path == "manager.yaml" {
            texts.push(super::documents(&manifests::objects(
                provider,
                hooks,
                manifests::variable,
            ))?);
        } else {
            let text = files.get(&format!("{}/{path}", provider.folder));
            texts.push(text.with_context(|| format!("{path} is missing"))?.clone());
        }
    }
    Ok(texts.join("---\n"))
}
