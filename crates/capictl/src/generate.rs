//! `capictl generate cluster|provider|yaml`: templates with their variables replaced.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Args;
use kube::Client;
use serde_json::json;

use crate::{
    components::{Components, documents, to_yaml},
    envsubst::Template,
    init::{Selection, Source, from_environment},
    installation::Installation,
    repository::{Kind, ProviderId, Repository},
};

/// Flags of `generate cluster`.
#[derive(Clone, Debug, Args)]
pub struct ClusterArgs {
    /// Name of the Cluster
    pub name: String,
    /// Kubernetes version of the cluster, as in v1.35.0
    #[arg(long)]
    pub kubernetes_version: Option<String>,
    /// Number of control-plane machines
    #[arg(long)]
    pub control_plane_machine_count: Option<u32>,
    /// Number of workers
    #[arg(long)]
    pub worker_machine_count: Option<u32>,
    /// Infrastructure provider whose template is taken, name or name:version [default: the one that is installed]
    #[arg(long, short = 'i')]
    pub infrastructure: Option<String>,
    /// Flavor of the template
    #[arg(long, short = 'f')]
    pub flavor: Option<String>,
    /// File to take the template from instead, - for standard input
    #[arg(long)]
    pub template: Option<PathBuf>,
    /// Print the variables of the template only
    #[arg(long)]
    pub list_variables: bool,
}

impl ClusterArgs {
    /// The value of a variable: what the flags say, then the environment.
    fn value(&self, namespace: &str, name: &str) -> Option<String> {
        let count = |count: Option<u32>| count.map(|count| count.to_string());
        let flag = match name {
            "CLUSTER_NAME" => Some(self.name.clone()),
            "NAMESPACE" => Some(namespace.to_owned()),
            "KUBERNETES_VERSION" => self.kubernetes_version.clone(),
            "CONTROL_PLANE_MACHINE_COUNT" => count(self.control_plane_machine_count),
            "WORKER_MACHINE_COUNT" => count(self.worker_machine_count),
            _ => None,
        };
        let usual = || match name {
            "CONTROL_PLANE_MACHINE_COUNT" => Some("1".to_owned()),
            "WORKER_MACHINE_COUNT" => Some("0".to_owned()),
            _ => None,
        };
        flag.or_else(|| from_environment(name)).or_else(usual)
    }
}

/// The manifest of a cluster. `client` is asked only if no infrastructure provider is named.
pub async fn cluster(
    args: &ClusterArgs,
    source: &Source,
    namespace: &str,
    client: impl AsyncFnOnce() -> anyhow::Result<Client>,
) -> anyhow::Result<String> {
    let text = match &args.template {
        Some(path) => read(path)?,
        None => {
            let chosen = match &args.infrastructure {
                Some(name) => name.clone(),
                None => installed_infrastructure(client().await?).await?,
            };
            let selection = Selection {
                infrastructure: vec![chosen],
                ..Selection::default()
            };
            let (provider, version) = selection.chosen(false).remove(0);
            let repository = Repository::open(&source.from)?;
            let release = repository.find(&provider, version.as_deref())?;
            let file = match &args.flavor {
                Some(flavor) => format!("cluster-template-{flavor}.yaml"),
                None => "cluster-template.yaml".to_owned(),
            };
            let text = release.file(&file);
            text.with_context(|| format!("{provider} {} has no {file}", release.version))?
                .to_owned()
        }
    };
    let template = Template::parse(&text)?;
    if args.list_variables {
        return Ok(variables(&template));
    }
    let text = template.render(&|name| args.value(namespace, name))?;
    let mut objects = documents(&text).context("the template is not valid YAML")?;
    for object in &mut objects {
        if object["kind"] != "Namespace" {
            object["metadata"]["namespace"] = json!(namespace);
        }
    }
    to_yaml(&objects)
}

/// The infrastructure provider that is installed, if there is exactly one.
async fn installed_infrastructure(client: Client) -> anyhow::Result<String> {
    let installed = Installation::new(client).inventory().await?;
    let found: Vec<_> = installed
        .iter()
        .filter(|known| known.provider.kind == Kind::Infrastructure)
        .collect();
    match found.as_slice() {
        [one] => Ok(format!("{}:{}", one.provider.name, one.version)),
        [] => bail!("no infrastructure provider is installed; name one with --infrastructure"),
        _ => bail!("several infrastructure providers are installed; name one with --infrastructure"),
    }
}

/// The components of one provider: with variables replaced, as they are (`raw`), or what there is to know of them.
pub fn provider(
    selection: &Selection,
    source: &Source,
    namespace: Option<&str>,
    raw: bool,
    describe: bool,
) -> anyhow::Result<String> {
    let chosen = selection.chosen(false);
    let [(provider, version)] = chosen.as_slice() else {
        bail!("name exactly one provider, for example --core cluster-api");
    };
    let repository = Repository::open(&source.from)?;
    let release = repository.find(provider, version.as_deref())?;
    if raw {
        return Ok(release.components()?.to_owned());
    }
    let components = Components::of(release, namespace, &from_environment)?;
    if !describe {
        return to_yaml(&components.objects);
    }
    let template = Template::parse(release.components()?)?;
    let ProviderId { name, kind } = provider;
    let images: String = components
        .images()
        .iter()
        .map(|image| format!("  {image}\n"))
        .collect();
    Ok(format!(
        "Name:      {name}\nType:      {}\nVersion:   {}\nContract:  {}\nNamespace: {}\nImages:\n{images}Variables:\n{}",
        kind.type_().as_str(),
        release.version,
        release.contract()?,
        components.namespace,
        variables(&template),
    ))
}

/// Any text with its variables replaced.
pub fn yaml(from: &Path, list_variables: bool) -> anyhow::Result<String> {
    let template = Template::parse(&read(from)?)?;
    match list_variables {
        true => Ok(variables(&template)),
        false => Ok(template.render(&from_environment)?),
    }
}

/// Variables with their defaults, one a line.
fn variables(template: &Template) -> String {
    let line = |(name, default): (String, Option<String>)| match default {
        Some(default) => format!("  {name} (default {default:?})\n"),
        None => format!("  {name}\n"),
    };
    template.variables().into_iter().map(line).collect()
}

fn read(path: &Path) -> anyhow::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("cannot read standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source {
            from: Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy"),
        }
    }

    #[tokio::test]
    async fn a_cluster_is_generated_from_the_providers_template() {
        let args = ClusterArgs {
            name: "mine".into(),
            kubernetes_version: Some("v1.35.0".into()),
            control_plane_machine_count: Some(3),
            worker_machine_count: None,
            infrastructure: Some("inmemory".into()),
            flavor: None,
            template: None,
            list_variables: false,
        };
        let nobody = async || bail!("no cluster is needed for this");
        let text = cluster(&args, &source(), "team", nobody).await.unwrap();
        let objects = documents(&text).unwrap();
        assert_eq!(objects[0]["kind"], "Cluster");
        assert!(
            objects
                .iter()
                .all(|object| object["metadata"]["namespace"] == "team")
        );
        let control_plane = objects
            .iter()
            .find(|object| object["kind"] == "KubeadmControlPlane")
            .unwrap();
        assert_eq!(control_plane["spec"]["replicas"], 3);
        assert_eq!(control_plane["spec"]["version"], "v1.35.0");
        let workers = objects
            .iter()
            .find(|object| object["kind"] == "MachineDeployment")
            .unwrap();
        assert_eq!(workers["spec"]["replicas"], 0);
        let without = ClusterArgs {
            kubernetes_version: None,
            ..args
        };
        let error = format!(
            "{:#}",
            cluster(&without, &source(), "team", nobody).await.unwrap_err()
        );
        assert!(error.contains("KUBERNETES_VERSION"), "{error}");
    }

    #[test]
    fn a_provider_is_described() {
        let selection = Selection {
            core: Some("cluster-api".into()),
            ..Selection::default()
        };
        let text = provider(&selection, &source(), Some("elsewhere"), false, true).unwrap();
        assert!(
            text.contains("CoreProvider")
                && text.contains("Namespace: elsewhere")
                && text.contains("v1beta2"),
            "{text}"
        );
    }
}
