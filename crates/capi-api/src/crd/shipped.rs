//! Which provider ships which definitions of this crate's kinds.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::{Builder, Error, Versions, older};
use crate::addons::v1beta2::{ClusterResourceSet, ClusterResourceSetBinding};
use crate::bootstrap::v1beta2::{KubeadmConfig, KubeadmConfigTemplate};
use crate::clusterctl::v1alpha3::{Metadata, Provider};
use crate::controlplane::v1beta2::{KubeadmControlPlane, KubeadmControlPlaneTemplate};
use crate::core::v1beta2::{
    Cluster, ClusterClass, Machine, MachineDeployment, MachineDrainRule, MachineHealthCheck, MachinePool,
    MachineSet,
};
use crate::ipam::v1beta2::{IPAddress, IPAddressClaim};
use crate::runtime::v1beta2::ExtensionConfig;

/// A definition and who ships it.
pub struct Shipped {
    /// The folder of the provider below `deploy`.
    pub provider: &'static str,
    /// The definition.
    pub definition: CustomResourceDefinition,
}

/// The definitions of all kinds of this crate, by provider and name.
///
/// Older versions are served and not stored; they need the conversion webhooks of the provider.
pub fn crds() -> Result<Vec<Shipped>, Error> {
    let core = |builder: Builder| builder.label(PROVIDER, "cluster-api");
    let bootstrap = |builder: Builder| {
        builder
            .label(PROVIDER, "bootstrap-kubeadm")
            .label(OLD_CONTRACT, "v1beta1")
            .label(CONTRACT, "v1beta2")
    };
    let control_plane = |builder: Builder| {
        builder
            .label(PROVIDER, "control-plane-kubeadm")
            .label(OLD_CONTRACT, "v1beta1")
            .label(CONTRACT, "v1beta2")
    };
    let mut older = older_versions()?;
    let all = [
        (
            "bootstrap-kubeadm",
            bootstrap(Builder::of::<KubeadmConfig>().spec_optional()),
        ),
        (
            "bootstrap-kubeadm",
            bootstrap(Builder::of::<KubeadmConfigTemplate>().spec_optional()),
        ),
        ("capi-core", core(Builder::of::<Cluster>())),
        ("capi-core", core(Builder::of::<ClusterClass>())),
        ("capi-core", core(Builder::of::<ClusterResourceSet>())),
        ("capi-core", core(Builder::of::<ClusterResourceSetBinding>())),
        ("capi-core", core(Builder::of::<ExtensionConfig>())),
        ("capi-core", core(Builder::of::<IPAddress>())),
        ("capi-core", core(Builder::of::<IPAddressClaim>())),
        ("capi-core", core(Builder::of::<Machine>())),
        ("capi-core", core(Builder::of::<MachineDeployment>())),
        (
            "capi-core",
            core(Builder::of::<MachineDrainRule>().metadata_required()),
        ),
        ("capi-core", core(Builder::of::<MachineHealthCheck>())),
        ("capi-core", core(Builder::of::<MachinePool>())),
        ("capi-core", core(Builder::of::<MachineSet>())),
        (
            "capictl",
            Builder::of::<Provider>().label("clusterctl.cluster.x-k8s.io", ""),
        ),
        (
            "controlplane-kubeadm",
            control_plane(Builder::of::<KubeadmControlPlane>()),
        ),
        (
            "controlplane-kubeadm",
            control_plane(Builder::of::<KubeadmControlPlaneTemplate>().spec_optional()),
        ),
    ];
    all.into_iter()
        .map(|(provider, builder)| {
            let versions = older.remove(builder.kind()).unwrap_or_default();
            Ok(Shipped {
                provider,
                definition: builder.older(versions).build()?,
            })
        })
        .collect()
}

/// What is served besides v1beta2, by kind.
fn older_versions() -> Result<Versions, Error> {
    let mut all = Versions::new();
    for (name, table) in [
        ("addons.yaml", include_str!("older/addons.yaml")),
        ("core.yaml", include_str!("older/core.yaml")),
        ("ipam.yaml", include_str!("older/ipam.yaml")),
        ("kubeadm.yaml", include_str!("older/kubeadm.yaml")),
        ("runtime.yaml", include_str!("older/runtime.yaml")),
    ] {
        all.extend(older(name, table)?);
    }
    Ok(all)
}

/// The definition of the clusterctl Metadata file. No server ever sees it; it documents the format.
pub fn metadata_file_crd() -> Result<CustomResourceDefinition, Error> {
    Builder::of::<Metadata>().build()
}

/// Says which provider a definition belongs to.
const PROVIDER: &str = "cluster.x-k8s.io/provider";
/// Says which versions of a kind follow the contract v1beta1.
const OLD_CONTRACT: &str = "cluster.x-k8s.io/v1beta1";
/// Says which versions of a kind follow the contract v1beta2.
const CONTRACT: &str = "cluster.x-k8s.io/v1beta2";
