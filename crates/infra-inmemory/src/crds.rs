//! The definitions that this provider ships.

use capi_api::crd::{Builder, Error, Shipped};

use crate::api::{DevCluster, DevClusterTemplate, DevMachine, DevMachineTemplate};

/// The definitions of this provider's kinds.
///
/// `v1beta1` is not served yet, so its contract label is absent although upstream's definitions carry it.
pub fn crds() -> Result<Vec<Shipped>, Error> {
    [
        Builder::of::<DevCluster>(),
        Builder::of::<DevClusterTemplate>(),
        Builder::of::<DevMachine>(),
        Builder::of::<DevMachineTemplate>(),
    ]
    .into_iter()
    .map(|builder| {
        let builder = builder
            .spec_optional()
            .label("cluster.x-k8s.io/provider", "infrastructure-inmemory");
        Ok(Shipped {
            provider: "infra-inmemory",
            definition: builder.label("cluster.x-k8s.io/v1beta2", "v1beta2").build()?,
        })
    })
    .collect()
}
