//! `capictl init`, `init list-images` and `delete`: which providers come and go, decided from the inventory and the releases at
//! hand, before anything is written.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use kube::Client;

use crate::{
    components::Components,
    installation::{Installation, Installed},
    repository::{Kind, ProviderId, Repository},
};

/// The contract of providers that this release works with.
const CONTRACT: &str = "v1beta2";
/// The oldest API server that is good enough.
const OLDEST_SERVER: (u32, u32) = (1, 20);

/// Providers on the command line: `name`, `name:version`, several separated by commas; `-` for none.
#[derive(Clone, Debug, Default, Args)]
pub struct Selection {
    /// The core provider [default on the first run: cluster-api]
    #[arg(long)]
    pub core: Option<String>,
    /// Bootstrap providers [default on the first run: kubeadm]
    #[arg(long, short = 'b', value_delimiter = ',')]
    pub bootstrap: Vec<String>,
    /// Control plane providers [default on the first run: kubeadm]
    #[arg(long, short = 'c', value_delimiter = ',')]
    pub control_plane: Vec<String>,
    /// Infrastructure providers
    #[arg(long, short = 'i', value_delimiter = ',')]
    pub infrastructure: Vec<String>,
    /// IPAM providers
    #[arg(long, value_delimiter = ',')]
    pub ipam: Vec<String>,
    /// Runtime extension providers
    #[arg(long, value_delimiter = ',')]
    pub runtime_extension: Vec<String>,
    /// Add-on providers
    #[arg(long, value_delimiter = ',')]
    pub addon: Vec<String>,
}

/// Where releases are.
#[derive(Clone, Debug, Args)]
pub struct Source {
    /// Folder with releases: deploy/, clusterctl's <label>/<version>/, or an OCI image layout
    #[arg(long, env = "CAPICTL_REPOSITORY", default_value = "deploy")]
    pub from: PathBuf,
}

/// Flags of `init` beside the providers.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Run all providers in this namespace instead of their own
    #[arg(long, short = 'n')]
    pub target_namespace: Option<String>,
    /// Wait until the providers are available
    #[arg(long)]
    pub wait_providers: bool,
    /// How long to wait for each, in seconds
    #[arg(long, default_value_t = 300)]
    pub wait_provider_timeout: u64,
    /// Check that the providers fit together
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub validate: bool,
}

impl Selection {
    /// The chosen providers with the versions that were asked for. `first` says that nothing is installed yet: then the
    /// usual three come unless they are declined.
    pub fn chosen(&self, first: bool) -> Vec<(ProviderId, Option<String>)> {
        let core: Vec<String> = self.core.iter().cloned().collect();
        let lists = [
            (Kind::Core, &core, Some("cluster-api")),
            (Kind::Bootstrap, &self.bootstrap, Some("kubeadm")),
            (Kind::ControlPlane, &self.control_plane, Some("kubeadm")),
            (Kind::Infrastructure, &self.infrastructure, None),
            (Kind::Ipam, &self.ipam, None),
            (Kind::RuntimeExtension, &self.runtime_extension, None),
            (Kind::Addon, &self.addon, None),
        ];
        let mut chosen = Vec::new();
        for (kind, names, usual) in lists {
            if let (true, true, Some(usual)) = (first, names.is_empty(), usual) {
                chosen.push((ProviderId::new(kind, usual), None));
            }
            for name in names.iter().filter(|name| *name != "-") {
                let (name, version) = match name.split_once(':') {
                    Some((name, version)) => (name, Some(version.to_owned())),
                    None => (name.as_str(), None),
                };
                chosen.push((ProviderId::new(kind, name), version));
            }
        }
        chosen
    }
}

/// The value of a variable: from the environment.
pub fn from_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What is to be installed, in order: what is chosen and not installed in that version. Refuses what does not fit.
fn plan(
    chosen: Vec<(ProviderId, Option<String>)>,
    installed: &[Installed],
    repository: &Repository,
    options: &Options,
) -> anyhow::Result<Vec<Components>> {
    let mut planned: Vec<Components> = Vec::new();
    for (provider, version) in chosen {
        let release = repository.find(&provider, version.as_deref())?;
        if let Some(known) = installed.iter().find(|known| known.provider == provider) {
            if known.version == release.version {
                continue;
            }
            bail!(
                "{provider} is installed in {}; init does not change versions",
                known.version
            );
        }
        let components = Components::of(release, options.target_namespace.as_deref(), &from_environment)?;
        if options.validate {
            let contract = release.contract()?;
            if contract != CONTRACT {
                bail!(
                    "{provider} {} follows contract {contract}; {CONTRACT} is needed",
                    release.version
                );
            }
            if let Some(name) = components.misnamed_definitions().first() {
                bail!(
                    "{provider}: the CustomResourceDefinition {name} is not named as references to its kind expect"
                );
            }
            let mut others = installed
                .iter()
                .map(|known| &known.provider)
                .chain(planned.iter().map(|known| &known.provider));
            if let Some(other) = others.find(|other| provider.kind == Kind::Core && other.kind == Kind::Core)
            {
                bail!(
                    "there can be only one core provider: {} and {}",
                    other.name,
                    provider.name
                );
            }
            if planned.iter().any(|known| known.provider == provider) {
                bail!("{provider} is chosen twice");
            }
        }
        planned.push(components);
    }
    let mut providers = installed
        .iter()
        .map(|known| &known.provider)
        .chain(planned.iter().map(|known| &known.provider));
    if options.validate && !planned.is_empty() && !providers.any(|provider| provider.kind == Kind::Core) {
        bail!("no core provider is installed or chosen; add --core cluster-api");
    }
    planned.sort_by(|a, b| a.provider.cmp(&b.provider));
    Ok(planned)
}

/// Installs the chosen providers; returns a line per provider.
pub async fn init(
    client: Client,
    selection: &Selection,
    source: &Source,
    options: &Options,
) -> anyhow::Result<String> {
    check_server(&client).await?;
    let repository = Repository::open(&source.from)?;
    let mut installation = Installation::new(client);
    let installed = installation.inventory().await?;
    let first = !installed.iter().any(|known| known.provider.kind == Kind::Core);
    let chosen = selection.chosen(first);
    let missing = |provider: &ProviderId| !installed.iter().any(|known| known.provider == *provider);
    let kept: Vec<String> = chosen
        .iter()
        .filter(|(provider, _)| !missing(provider))
        .map(|(provider, _)| format!("{provider} is installed already\n"))
        .collect();
    let planned = plan(chosen, &installed, &repository, options)?;
    installation.prepare().await?;
    let mut said = kept.concat();
    for components in &planned {
        let Components {
            provider,
            version,
            namespace,
            ..
        } = components;
        installation
            .install(components)
            .await
            .with_context(|| format!("cannot install {provider} {version}"))?;
        // The core provider is noted last: until then a run that is repeated is a first run.
        if provider.kind != Kind::Core {
            installation.note(components).await?;
        }
        said += &format!("installed {provider} {version} in namespace {namespace}\n");
    }
    for components in planned
        .iter()
        .filter(|components| components.provider.kind == Kind::Core)
    {
        installation.note(components).await?;
    }
    if options.wait_providers {
        for components in &planned {
            installation
                .wait_available(components, Duration::from_secs(options.wait_provider_timeout))
                .await?;
        }
    }
    Ok(said)
}

/// The images that the chosen providers need, one a line.
pub fn list_images(selection: &Selection, source: &Source) -> anyhow::Result<String> {
    let repository = Repository::open(&source.from)?;
    let mut images = BTreeSet::new();
    for (provider, version) in selection.chosen(true) {
        let release = repository.find(&provider, version.as_deref())?;
        images.extend(Components::of(release, None, &from_environment)?.images());
    }
    Ok(images.into_iter().map(|image| image + "\n").collect())
}

/// Deletes the chosen providers, or all; returns a line per provider.
pub async fn delete(
    client: Client,
    selection: &Selection,
    all: bool,
    include_crd: bool,
    include_namespace: bool,
) -> anyhow::Result<String> {
    let mut installation = Installation::new(client);
    let mut installed = installation.inventory().await?;
    let chosen: Vec<ProviderId> = selection
        .chosen(false)
        .into_iter()
        .map(|(provider, _)| provider)
        .collect();
    if !all {
        if chosen.is_empty() {
            bail!("name the providers to delete, or --all");
        }
        if let Some(unknown) = chosen
            .iter()
            .find(|provider| !installed.iter().any(|known| known.provider == **provider))
        {
            let known: Vec<String> = installed.iter().map(|known| known.provider.label()).collect();
            bail!("{unknown} is not installed; there are: {}", known.join(", "));
        }
        installed.retain(|known| chosen.contains(&known.provider));
    }
    let mut said = String::new();
    // The last that came goes first.
    for known in installed.iter().rev() {
        installation
            .delete(known, include_crd, include_namespace)
            .await
            .with_context(|| format!("cannot delete {}", known.provider))?;
        said += &format!("deleted {} {}\n", known.provider, known.version);
    }
    Ok(said)
}

async fn check_server(client: &Client) -> anyhow::Result<()> {
    let version = client
        .apiserver_version()
        .await
        .context("cannot reach the management cluster")?;
    let number = |text: &str| {
        text.trim_end_matches(|c: char| !c.is_ascii_digit())
            .parse()
            .unwrap_or(0)
    };
    if (number(&version.major), number(&version.minor)) < OLDEST_SERVER {
        let (major, minor) = OLDEST_SERVER;
        bail!(
            "the API server is {}; {major}.{minor} or newer is needed",
            version.git_version
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(chosen: &[(ProviderId, Option<String>)]) -> Vec<String> {
        chosen
            .iter()
            .map(|(provider, version)| format!("{}:{}", provider.label(), version.as_deref().unwrap_or("")))
            .collect()
    }

    #[test]
    fn the_usual_three_come_first_unless_they_are_declined() {
        let selection = Selection {
            bootstrap: vec!["-".into()],
            infrastructure: vec!["openstack:v0.1.0".into(), "inmemory".into()],
            ..Selection::default()
        };
        let infrastructure = ["infrastructure-openstack:v0.1.0", "infrastructure-inmemory:"];
        assert_eq!(names(&selection.chosen(false)), infrastructure);
        let first = names(&selection.chosen(true));
        assert_eq!(first[..2], ["cluster-api:", "control-plane-kubeadm:"]);
        assert_eq!(first[2..], infrastructure);
    }

    fn options() -> Options {
        Options {
            target_namespace: None,
            wait_providers: false,
            wait_provider_timeout: 1,
            validate: true,
        }
    }

    fn shipped() -> Repository {
        Repository::open(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")).unwrap()
    }

    #[test]
    fn what_is_shipped_fits_together_and_needs_no_variables() {
        let selection = Selection {
            infrastructure: vec!["inmemory".into(), "openstack".into()],
            ..Selection::default()
        };
        let planned = plan(selection.chosen(true), &[], &shipped(), &options()).unwrap();
        let labels: Vec<_> = planned
            .iter()
            .map(|components| components.provider.label())
            .collect();
        assert_eq!(
            labels,
            [
                "cluster-api",
                "bootstrap-kubeadm",
                "control-plane-kubeadm",
                "infrastructure-inmemory",
                "infrastructure-openstack"
            ]
        );
        for components in &planned {
            assert_eq!(components.images().len(), 1);
            assert_eq!(components.objects[0]["kind"], "Namespace");
        }
    }

    #[test]
    fn what_is_installed_is_kept_and_no_second_core_comes() {
        let installed = |label: &str, version: &str| Installed {
            provider: ProviderId::of_label(label),
            version: version.to_owned(),
            namespace: "x".into(),
        };
        let core = Selection {
            core: Some("cluster-api".into()),
            ..Selection::default()
        };
        let version = shipped()
            .find(&ProviderId::of_label("cluster-api"), None)
            .unwrap()
            .version
            .clone();
        let same = plan(
            core.chosen(false),
            &[installed("cluster-api", &version)],
            &shipped(),
            &options(),
        );
        assert!(same.unwrap().is_empty());
        let other = plan(
            core.chosen(false),
            &[installed("cluster-api", "v0.0.1")],
            &shipped(),
            &options(),
        );
        assert!(other.unwrap_err().to_string().contains("is installed in v0.0.1"));
        let second = plan(
            core.chosen(false),
            &[installed("other-core", "v1.0.0")],
            &shipped(),
            &options(),
        );
        assert!(second.unwrap_err().to_string().contains("only one core provider"));
        let none = Selection {
            infrastructure: vec!["inmemory".into()],
            ..Selection::default()
        };
        let none = plan(none.chosen(false), &[], &shipped(), &options());
        assert!(none.unwrap_err().to_string().contains("no core provider"));
    }
}
