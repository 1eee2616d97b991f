//! What kube-proxy and CoreDNS should be once all Machines are what the control plane wants. Pure.

use capi_api::{annotations, bootstrap::v1beta2::ClusterConfiguration};
use kube::ResourceExt;
use semver::Version;

use super::{
    plan::{Action, Plan},
    world::{MachineView, World},
};
use crate::workload::{
    addons::{CoreDns, CoreDnsUpdate},
    corefile,
    image::Image,
};

/// kubeadm's own repository, where CoreDNS has a folder of its own.
const DEFAULT_REPOSITORY: &str = "registry.k8s.io";

/// Whether all Machines are there and of the wanted version: then it is worth a look at the add-ons.
pub fn is_due(world: &World) -> bool {
    let wanted = capi_api::versions::with_v(&world.control_plane.spec.version);
    let settled = |view: &MachineView| {
        !view.deleting() && view.node_name().is_some() && view.machine.spec.version.as_ref() == Some(&wanted)
    };
    let desired = world
        .desired_replicas()
        .and_then(|count| usize::try_from(count).ok());
    world.initialized()
        && !world.machines.is_empty()
        && desired == Some(world.machines.len())
        && world.machines.iter().all(settled)
}

/// Everything that the wanted state of the add-ons depends on. As long as it stays the same, what was looked at once need
/// not be looked at again.
pub fn fingerprint(world: &World) -> String {
    let spec = &world.control_plane.spec;
    let cluster = configuration(world);
    let machines: Vec<String> = world
        .machines
        .iter()
        .map(|view| view.machine.metadata.uid.clone().unwrap_or_default())
        .collect();
    let skips = |name: &str| world.control_plane.annotations().contains_key(name);
    format!(
        "{} {:?} {:?} {} {} {}",
        spec.version,
        cluster.image_repository,
        cluster.dns,
        skips(annotations::SKIP_KUBE_PROXY),
        skips(annotations::SKIP_CORE_DNS),
        machines.join(",")
    )
}

fn configuration(world: &World) -> ClusterConfiguration {
    let spec = world.control_plane.spec.kubeadm_config_spec.as_ref();
    spec.and_then(|spec| spec.cluster_configuration.clone())
        .unwrap_or_default()
}

/// The updates of the add-ons that were looked at.
pub fn plan_addons(world: &World, plan: &mut Plan) {
    let super::world::Workload::Connected(workload) = &world.workload else {
        return;
    };
    let Some(addons) = &workload.addons else { return };
    let skips = |name: &str| world.control_plane.annotations().contains_key(name);
    let cluster = configuration(world);
    if let Some(current) = addons
        .kube_proxy
        .as_ref()
        .filter(|_| !skips(annotations::SKIP_KUBE_PROXY))
    {
        let wanted = Image::parse(current)
            .of_version(&capi_api::versions::with_v(&world.control_plane.spec.version))
            .in_repository(cluster.image_repository.as_deref())
            .to_string();
        if wanted != *current {
            plan.actions.push(Action::UpdateKubeProxy(wanted));
        }
    }
    if let Some(current) = addons
        .coredns
        .as_ref()
        .filter(|_| !skips(annotations::SKIP_CORE_DNS))
    {
        match coredns(&cluster, current) {
            Ok(Some(update)) => plan.actions.push(Action::UpdateCoreDns(update)),
            Ok(None) => {}
            Err(why) => plan
                .warnings
                .push(("FailedUpdateCoreDNS", format!("Failed to update CoreDNS: {why}"))),
        }
    }
}

/// The update of CoreDNS to what the configuration asks for; none if it is that already.
fn coredns(cluster: &ClusterConfiguration, current: &CoreDns) -> Result<Option<CoreDnsUpdate>, String> {
    let dns = cluster.dns.clone().unwrap_or_default();
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (repository, tag) = (filled(&dns.image_repository), filled(&dns.image_tag));
    let from = Image::parse(&current.image);
    if from.tag.is_empty() {
        return Err(format!(
            "image {} of Deployment coredns has no tag",
            current.image
        ));
    }
    let mut to = from
        .clone()
        .in_repository(cluster.image_repository.as_deref())
        .in_repository(repository.as_deref());
    to.tag = tag.clone().unwrap_or(to.tag);
    if to.repository == DEFAULT_REPOSITORY && to.name == "coredns" {
        to.name = "coredns/coredns".to_owned();
    }
    let image = to.to_string();
    if image == current.image && !current.reads_backup {
        return Ok(None);
    }
    let version = |tag: &str| {
        let version = capi_api::versions::parse_tolerant(tag);
        version.ok_or_else(|| format!("{tag} is no version"))
    };
    let (start, end) = (version(&from.tag)?, version(&to.tag)?);
    let plain = |version: &Version| format!("{}.{}.{}", version.major, version.minor, version.patch);
    let (start, end) = (plain(&start), plain(&end));
    let corefile = corefile::migrated(&current.corefile, &start, &end).map_err(|error| error.to_string())?;
    Ok(Some(CoreDnsUpdate {
        image,
        backup: current.corefile.clone(),
        corefile,
        repository,
        tag,
    }))
}
