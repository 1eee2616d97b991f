//! Where releases of providers come from: a folder or an OCI layout on this machine. Nothing is fetched from anywhere.
//!
//! Three layouts are understood:
//!
//! - `<label>/<version>/` with `metadata.yaml` and `*-components.yaml`, as clusterctl's local repositories have it,
//! - `deploy/` of this repository: a folder per provider with `kustomization.yaml` and what it lists,
//! - an OCI image layout (`oci-layout`, `index.json`, `blobs/`), whose manifests are named `<label>-<version>` and whose layers
//!   are these files, with their names in `org.opencontainers.image.title`.

mod oci;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use capi_api::clusterctl::v1alpha3::{MetadataSpec, ProviderType};
use semver::Version;
use serde_json::Value;

/// A provider by its type and name, as in `infrastructure` and `openstack`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProviderId {
    /// What it provides.
    pub kind: Kind,
    /// Its name, without the type.
    pub name: String,
}

/// The types of providers in the order of installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Clusters and machines.
    Core,
    /// Bootstrap data.
    Bootstrap,
    /// Control planes.
    ControlPlane,
    /// Infrastructure.
    Infrastructure,
    /// IP addresses.
    Ipam,
    /// Runtime extensions.
    RuntimeExtension,
    /// Add-ons.
    Addon,
}

/// Each type with the prefix of its labels and files, and its name in the inventory.
const KINDS: [(Kind, &str, ProviderType); 7] = [
    (Kind::Core, "core", ProviderType::Core),
    (Kind::Bootstrap, "bootstrap", ProviderType::Bootstrap),
    (Kind::ControlPlane, "control-plane", ProviderType::ControlPlane),
    (
        Kind::Infrastructure,
        "infrastructure",
        ProviderType::Infrastructure,
    ),
    (Kind::Ipam, "ipam", ProviderType::Ipam),
    (
        Kind::RuntimeExtension,
        "runtime-extension",
        ProviderType::RuntimeExtension,
    ),
    (Kind::Addon, "addon", ProviderType::Addon),
];

impl Kind {
    /// The prefix of labels and of the components file.
    pub fn prefix(self) -> &'static str {
        KINDS
            .iter()
            .find(|(kind, ..)| *kind == self)
            .map_or("", |(_, prefix, _)| prefix)
    }

    /// Its name in the inventory.
    pub fn type_(self) -> ProviderType {
        KINDS
            .iter()
            .find(|(kind, ..)| *kind == self)
            .map_or(ProviderType::Core, |(.., type_)| *type_)
    }

    /// The type with this name in the inventory.
    pub fn of_type(type_: &ProviderType) -> Option<Self> {
        KINDS
            .iter()
            .find(|(.., known)| known == type_)
            .map(|(kind, ..)| *kind)
    }
}

impl ProviderId {
    /// A provider.
    pub fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
        }
    }

    /// The value of the label `cluster.x-k8s.io/provider`.
    pub fn label(&self) -> String {
        match self.kind {
            Kind::Core => self.name.clone(),
            kind => format!("{}-{}", kind.prefix(), self.name),
        }
    }

    /// The provider with this label.
    pub fn of_label(label: &str) -> Self {
        for (kind, prefix, _) in KINDS.into_iter().skip(1) {
            if let Some(name) = label.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-')) {
                return Self::new(kind, name);
            }
        }
        Self::new(Kind::Core, label)
    }
}

impl std::fmt::Display for ProviderId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} provider {}", self.kind.prefix(), self.name)
    }
}

/// A release of a provider: the texts of its files by name.
#[derive(Clone, Debug)]
pub struct Release {
    /// Whose release it is.
    pub provider: ProviderId,
    /// Its version, with a `v`.
    pub version: String,
    files: BTreeMap<String, String>,
}

impl Release {
    /// A file of the release.
    pub fn file(&self, name: &str) -> Option<&str> {
        self.files.get(name).map(String::as_str)
    }

    /// All objects of the provider, as a template.
    pub fn components(&self) -> anyhow::Result<&str> {
        let name = format!("{}-components.yaml", self.provider.kind.prefix());
        let text = self.file(&name).or_else(|| self.file("components.yaml"));
        text.with_context(|| format!("{} {} has no {name}", self.provider, self.version))
    }

    /// The contract that this version follows.
    pub fn contract(&self) -> anyhow::Result<String> {
        let what = || format!("metadata.yaml of {} {}", self.provider, self.version);
        let text = self
            .file("metadata.yaml")
            .with_context(|| format!("there is no {}", what()))?;
        let metadata: MetadataSpec = serde_saphyr::from_str(text).with_context(what)?;
        let version = number(&self.version).with_context(what)?;
        let series = metadata.release_series.iter().find(|series| {
            let number = |part: Option<i32>| part.and_then(|part| u64::try_from(part).ok()).unwrap_or(0);
            number(series.major) == version.major && number(series.minor) == version.minor
        });
        series
            .and_then(|series| series.contract.clone())
            .with_context(|| format!("{} does not tell the contract of this version", what()))
    }
}

/// The number of a version with or without `v`.
pub fn number(version: &str) -> anyhow::Result<Version> {
    Version::parse(version.trim_start_matches('v'))
        .with_context(|| format!("{version:?} is no version like v1.2.3"))
}

/// All releases of a place.
#[derive(Clone, Debug)]
pub struct Repository {
    place: PathBuf,
    releases: Vec<Release>,
}

impl Repository {
    /// Reads a folder of any of the three layouts.
    pub fn open(place: &Path) -> anyhow::Result<Self> {
        let mut releases = match place.join("oci-layout").is_file() {
            true => oci::releases(place),
            false => folder_releases(place),
        }
        .with_context(|| format!("cannot read releases from {}", place.display()))?;
        releases.sort_by(|a, b| a.provider.cmp(&b.provider));
        Ok(Self {
            place: place.to_owned(),
            releases,
        })
    }

    /// The release of a provider: of that version, or the newest that is none for trial.
    pub fn find(&self, provider: &ProviderId, version: Option<&str>) -> anyhow::Result<&Release> {
        let releases: Vec<&Release> = self
            .releases
            .iter()
            .filter(|release| release.provider == *provider)
            .collect();
        let place = self.place.display();
        if releases.is_empty() {
            let known: Vec<String> = self
                .releases
                .iter()
                .map(|release| release.provider.label())
                .collect();
            bail!("{place} has no {provider}; it has: {}", known.join(", "));
        }
        let found = match version {
            Some(version) => releases.iter().find(|release| release.version == version),
            None => {
                let numbered = releases
                    .iter()
                    .filter_map(|release| Some((number(&release.version).ok()?, release)));
                let newest = numbered.max_by_key(|(number, _)| (number.pre.is_empty(), number.clone()));
                newest.map(|(_, release)| release)
            }
        };
        let versions: Vec<&str> = releases.iter().map(|release| release.version.as_str()).collect();
        found.copied().with_context(|| {
            let wanted = version.unwrap_or("usable version");
            format!(
                "{place} has no {wanted} of {provider}; it has: {}",
                versions.join(", ")
            )
        })
    }
}

/// Releases in folders, whichever of the two layouts.
fn folder_releases(place: &Path) -> anyhow::Result<Vec<Release>> {
    let mut releases = Vec::new();
    for (name, folder) in subfolders(place)? {
        if folder.join("kustomization.yaml").is_file() {
            releases.extend(deployed_release(&folder).with_context(|| format!("in {}", folder.display()))?);
            continue;
        }
        for (version, folder) in subfolders(&folder)? {
            if number(&version).is_ok() && folder.join("metadata.yaml").is_file() {
                releases.push(Release {
                    provider: ProviderId::of_label(&name),
                    version,
                    files: files(&folder)?,
                });
            }
        }
    }
    Ok(releases)
}

fn subfolders(place: &Path) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(place)? {
        let path = entry?.path();
        if let (true, Some(name)) = (path.is_dir(), path.file_name().and_then(|name| name.to_str())) {
            found.insert(name.to_owned(), path.clone());
        }
    }
    Ok(found)
}

fn files(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if let (true, Some(name)) = (path.is_file(), path.file_name().and_then(|name| name.to_str())) {
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            found.insert(name.to_owned(), text);
        }
    }
    Ok(found)
}

/// The provider in a folder of `deploy/`: what its kustomization lists, in that order. Its label and its version are those
/// of its Deployment.
fn deployed_release(folder: &Path) -> anyhow::Result<Option<Release>> {
    let mut files = files(folder)?;
    let kustomization: Value =
        serde_saphyr::from_str(&files["kustomization.yaml"]).context("kustomization.yaml")?;
    let resources = kustomization["resources"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let mut texts = Vec::new();
    for resource in resources {
        let text =
            fs::read_to_string(folder.join(resource)).with_context(|| format!("cannot read {resource}"))?;
        // Only components files have variables.
        texts.push(text.replace("${", "$${"));
    }
    let components = texts.join("---\n");
    let objects: Vec<Value> = serde_saphyr::from_multiple(&components).context("its objects")?;
    let Some(deployment) = objects.iter().find(|object| object["kind"] == "Deployment") else {
        return Ok(None);
    };
    let label = deployment
        .pointer("/metadata/labels/cluster.x-k8s.io~1provider")
        .and_then(Value::as_str);
    let provider =
        ProviderId::of_label(label.context("its Deployment has no label cluster.x-k8s.io/provider")?);
    let image = deployment
        .pointer("/spec/template/spec/containers/0/image")
        .and_then(Value::as_str);
    let version = image
        .and_then(|image| image.rsplit_once(':'))
        .map(|(_, tag)| tag.to_owned());
    files.insert(format!("{}-components.yaml", provider.kind.prefix()), components);
    Ok(Some(Release {
        provider,
        version: version.context("its image has no tag")?,
        files,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_name_type_and_provider() {
        for (label, kind, name) in [
            ("cluster-api", Kind::Core, "cluster-api"),
            ("bootstrap-kubeadm", Kind::Bootstrap, "kubeadm"),
            ("control-plane-kubeadm", Kind::ControlPlane, "kubeadm"),
            ("infrastructure-openstack", Kind::Infrastructure, "openstack"),
            ("runtime-extension-nutanix", Kind::RuntimeExtension, "nutanix"),
        ] {
            let provider = ProviderId::of_label(label);
            assert_eq!(provider, ProviderId::new(kind, name));
            assert_eq!(provider.label(), label);
        }
    }

    fn release(version: &str, metadata: &str) -> Release {
        Release {
            provider: ProviderId::of_label("infrastructure-x"),
            version: version.to_owned(),
            files: [("metadata.yaml".to_owned(), metadata.to_owned())].into(),
        }
    }

    #[test]
    fn the_newest_release_that_is_none_for_trial_is_found() {
        let releases = ["v0.9.1", "v0.10.0", "v0.11.0-rc.1"]
            .map(|version| release(version, ""))
            .to_vec();
        let repository = Repository {
            place: "here".into(),
            releases,
        };
        let provider = ProviderId::of_label("infrastructure-x");
        assert_eq!(repository.find(&provider, None).unwrap().version, "v0.10.0");
        assert_eq!(
            repository.find(&provider, Some("v0.11.0-rc.1")).unwrap().version,
            "v0.11.0-rc.1"
        );
        let error = repository
            .find(&provider, Some("v1.0.0"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("has no v1.0.0 of infrastructure provider x; it has: v0.9.1, v0.10.0"),
            "{error}"
        );
    }

    #[test]
    fn the_contract_is_that_of_the_release_series() {
        let metadata = "apiVersion: clusterctl.cluster.x-k8s.io/v1alpha3\nkind: Metadata\nreleaseSeries:\n\
            - {major: 0, minor: 9, contract: v1beta1}\n- {major: 0, minor: 10, contract: v1beta2}\n";
        assert_eq!(release("v0.9.3", metadata).contract().unwrap(), "v1beta1");
        assert_eq!(release("v0.10.0", metadata).contract().unwrap(), "v1beta2");
        assert!(release("v0.11.0", metadata).contract().is_err());
    }
}
