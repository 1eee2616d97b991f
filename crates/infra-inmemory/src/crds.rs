//! The definitions that this provider ships.

use capi_api::crd::{Builder, Error, Shipped, older};

use crate::api::{DevCluster, DevClusterTemplate, DevMachine, DevMachineTemplate};

/// The definitions of this provider's kinds.
///
/// v1beta1 is served and not stored; it needs the conversion webhook.
pub fn crds() -> Result<Vec<Shipped>, Error> {
    let mut v1beta1 = older("older.yaml", include_str!("api/older.yaml"))?;
    [
        Builder::of::<DevCluster>(),
        Builder::of::<DevClusterTemplate>(),
        Builder::of::<DevMachine>(),
        Builder::of::<DevMachineTemplate>(),
    ]
    .into_iter()
    .map(|builder| {
        let versions = v1beta1.remove(builder.kind()).unwrap_or_default();
        let builder = builder
            .older(versions)
            .spec_optional()
            .label("cluster.x-k8s.io/provider", "infrastructure-inmemory");
        Ok(Shipped {
            provider: "infra-inmemory",
            definition: builder
                .label("cluster.x-k8s.io/v1beta1", "v1beta1")
                .label("cluster.x-k8s.io/v1beta2", "v1beta2")
                .build()?,
        })
    })
    .collect()
}
