//! kube-proxy and CoreDNS in a workload cluster: what runs there, and changing it. What it should be is decided elsewhere.

use capi_runtime::WorkloadClient;
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    core::v1::{ConfigMap, Container, PodSpec},
    rbac::v1::{ClusterRole, PolicyRule},
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::etcd::SYSTEM_NAMESPACE;
use crate::Error;

const KUBE_PROXY: &str = "kube-proxy";
const COREDNS: &str = "coredns";
const COREFILE: &str = "Corefile";
/// Where the Corefile from before a migration is kept.
const BACKUP: &str = "Corefile-backup";
const CONFIG_VOLUME: &str = "config-volume";
const COREDNS_ROLE: &str = "system:coredns";
const TRIES: u32 = 5;

/// The add-ons that run; what does not exist is none of our business.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addons {
    /// The image of kube-proxy.
    pub kube_proxy: Option<String>,
    /// CoreDNS.
    pub coredns: Option<CoreDns>,
}

/// CoreDNS as it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoreDns {
    /// Its image.
    pub image: String,
    /// Its configuration. If a migration was interrupted, the one from before it.
    pub corefile: String,
    /// Its pods still read the configuration from before a migration.
    pub reads_backup: bool,
}

/// What CoreDNS is to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreDnsUpdate {
    /// Its image.
    pub image: String,
    /// Its configuration now, to be kept.
    pub backup: String,
    /// Its configuration then.
    pub corefile: String,
    /// The repository for kubeadm's configuration, if one is set.
    pub repository: Option<String>,
    /// The tag for kubeadm's configuration, if one is set.
    pub tag: Option<String>,
}

fn container<'a>(spec: Option<&'a PodSpec>, name: &str) -> Option<&'a Container> {
    spec?.containers.iter().find(|container| container.name == name)
}

/// Reads what runs.
pub async fn observe(workload: &WorkloadClient) -> Result<Addons, kube::Error> {
    let sets: Api<DaemonSet> = Api::namespaced(workload.client(), SYSTEM_NAMESPACE);
    let kube_proxy = sets.get_opt(KUBE_PROXY).await?.and_then(|set| {
        let spec = set.spec.template.spec;
        container(spec.as_ref(), KUBE_PROXY)?.image.clone()
    });
    Ok(Addons {
        kube_proxy,
        coredns: coredns(workload).await?,
    })
}

async fn coredns(workload: &WorkloadClient) -> Result<Option<CoreDns>, kube::Error> {
    let deployments: Api<Deployment> = Api::namespaced(workload.client(), SYSTEM_NAMESPACE);
    let maps: Api<ConfigMap> = Api::namespaced(workload.client(), SYSTEM_NAMESPACE);
    let Some(deployment) = deployments.get_opt(COREDNS).await? else {
        return Ok(None);
    };
    let Some(data) = maps.get_opt(COREDNS).await?.and_then(|map| map.data) else {
        return Ok(None);
    };
    let spec = deployment.spec.template.spec;
    let reads_backup = config_key(spec.as_ref()).as_deref() == Some(BACKUP);
    let corefile = match reads_backup {
        true => data.get(BACKUP).or(data.get(COREFILE)),
        false => data.get(COREFILE),
    };
    let image = container(spec.as_ref(), COREDNS).and_then(|container| container.image.clone());
    let Some((image, corefile)) = image.zip(corefile.cloned()) else {
        return Ok(None);
    };
    Ok(Some(CoreDns {
        image,
        corefile,
        reads_backup,
    }))
}

/// The key of the ConfigMap that the pods read.
fn config_key(spec: Option<&PodSpec>) -> Option<String> {
    let volumes = spec?.volumes.as_deref().unwrap_or_default();
    let volume = volumes.iter().find(|volume| volume.name == CONFIG_VOLUME)?;
    let items = volume.config_map.as_ref()?.items.as_deref().unwrap_or_default();
    let known = |key: &str| [COREFILE, BACKUP].contains(&key);
    items
        .iter()
        .map(|item| item.key.clone())
        .find(|key| known(key.as_str()))
}

/// Gives kube-proxy another image.
pub async fn set_kube_proxy(workload: &WorkloadClient, image: &str) -> Result<(), kube::Error> {
    let api: Api<DaemonSet> = Api::namespaced(workload.client(), SYSTEM_NAMESPACE);
    let container = json!([{ "name": KUBE_PROXY, "image": image }]);
    let patch = json!({ "spec": { "template": { "spec": { "containers": container } } } });
    api.patch(KUBE_PROXY, &PatchParams::default(), &Patch::Strategic(patch))
        .await
        .map(drop)
}

/// Brings CoreDNS to another version. While its configuration changes, its pods read the one from before; a stop after
/// any of the writes leaves a DNS server that works, and the next try starts over.
pub async fn update_coredns(workload: &WorkloadClient, update: &CoreDnsUpdate) -> Result<(), Error> {
    super::kubeadm_config::update_dns(workload, update.repository.as_deref(), update.tag.as_deref()).await?;
    // What worked before is kept even if nothing in it has to change: whoever goes back looks for it there.
    set_corefile(workload, &update.backup, &update.backup).await?;
    if update.corefile != update.backup {
        patch_deployment(workload, None, BACKUP).await?;
        set_corefile(workload, &update.corefile, &update.backup).await?;
    }
    allow_endpoint_slices(workload).await?;
    patch_deployment(workload, Some(&update.image), COREFILE).await
}

async fn set_corefile(workload: &WorkloadClient, corefile: &str, backup: &str) -> Result<(), Error> {
    let api: Api<ConfigMap> = Api::namespaced(workload.client(), SYSTEM_NAMESPACE);
    let patch = json!({ "data": { COREFILE: corefile, BACKUP: backup } });
    api.patch(COREDNS, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .map(drop)
        .map_err(Error::Workload)
}

/// Sets the image, if one is given, and which Corefile the pods read.
async fn patch_deployment(workload: &WorkloadClient, image: Option<&str>, key: &str) -> Result<(), Error> {
    let api: Api<Deployment> = Api::namespaced(workload.client(), SYSTEM_NAMESPACE);
    let mut tries = 0;
    loop {
        let mut deployment = api.get(COREDNS).await.map_err(Error::Workload)?;
        let before = deployment.clone();
        if let Some(spec) = deployment.spec.template.spec.as_mut() {
            change(spec, image, key);
        }
        if deployment == before {
            return Ok(());
        }
        tries += 1;
        match api.replace(COREDNS, &PostParams::default(), &deployment).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 && tries < TRIES => {}
            Err(error) => return Err(Error::Workload(error)),
        }
    }
}

fn change(spec: &mut PodSpec, image: Option<&str>, key: &str) {
    if let Some(image) = image
        && let Some(container) = spec.containers.iter_mut().find(|found| found.name == COREDNS)
    {
        container.image = Some(image.to_owned());
    }
    let volumes = spec.volumes.iter_mut().flatten();
    for volume in volumes.filter(|volume| volume.name == CONFIG_VOLUME) {
        let items = volume.config_map.as_mut().and_then(|map| map.items.as_mut());
        for item in items.into_iter().flatten() {
            if [COREFILE, BACKUP].contains(&item.key.as_str()) {
                item.key = key.to_owned();
            }
        }
    }
}

/// CoreDNS reads EndpointSlices since 1.8.1; clusters that were made before that do not let it.
async fn allow_endpoint_slices(workload: &WorkloadClient) -> Result<(), Error> {
    let api: Api<ClusterRole> = Api::all(workload.client());
    let Some(role) = api.get_opt(COREDNS_ROLE).await.map_err(Error::Workload)? else {
        return Ok(());
    };
    let rules = role.rules.clone().unwrap_or_default();
    let covers = |rule: &PolicyRule| {
        let has = |list: &Option<Vec<String>>, word: &str| list.iter().flatten().any(|found| found == word);
        has(&rule.api_groups, "discovery.k8s.io")
            && has(&rule.resources, "endpointslices")
            && has(&Some(rule.verbs.clone()), "list")
            && has(&Some(rule.verbs.clone()), "watch")
    };
    if rules.iter().any(covers) {
        return Ok(());
    }
    let mut all: Vec<Value> = rules.iter().map(|rule| json!(rule)).collect();
    all.push(json!({ "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"] }));
    let patch = json!({ "metadata": { "resourceVersion": role.metadata.resource_version }, "rules": all });
    api.patch(COREDNS_ROLE, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .map(drop)
        .map_err(Error::Workload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_and_configuration_of_the_pods_change_and_nothing_else() {
        let spec = |image: &str, key: &str| -> PodSpec {
            serde_json::from_value(json!({
                "containers": [{ "name": "coredns", "image": image }, { "name": "side", "image": "s" }],
                "volumes": [{ "name": "config-volume", "configMap": { "name": "coredns", "items": [
                    { "key": key, "path": "Corefile" }, { "key": "hosts", "path": "hosts" } ] } }],
            }))
            .unwrap()
        };
        let mut changed = spec("old", COREFILE);
        change(&mut changed, None, BACKUP);
        assert_eq!(changed, spec("old", BACKUP));
        assert_eq!(config_key(Some(&changed)).as_deref(), Some(BACKUP));
        change(&mut changed, Some("new"), COREFILE);
        assert_eq!(changed, spec("new", COREFILE));
    }
}
