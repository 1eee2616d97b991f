//! The definitions that this provider ships.

use capi_api::crd::{Builder, Error, Shipped};

use crate::api::{
    OpenStackCluster, OpenStackClusterIdentity, OpenStackClusterTemplate, OpenStackFloatingIPPool,
    OpenStackMachine, OpenStackMachineTemplate, OpenStackServer, v1beta1,
};

/// The folder of this provider below `deploy`.
const FOLDER: &str = "infra-openstack";

/// The definitions of this provider's kinds.
///
/// Who installs them adds `spec.conversion`, since it names the Service of the webhook server.
pub fn crds() -> Result<Vec<Shipped>, Error> {
    [
        Builder::of::<OpenStackCluster>().spec_optional(),
        Builder::of::<OpenStackClusterIdentity>().spec_optional(),
        Builder::of::<OpenStackClusterTemplate>().spec_optional(),
        Builder::of::<OpenStackFloatingIPPool>().spec_optional(),
        Builder::of::<OpenStackMachine>().spec_optional(),
        Builder::of::<OpenStackMachineTemplate>().spec_optional(),
        Builder::of::<OpenStackServer>().spec_optional(),
    ]
    .into_iter()
    .map(|builder| {
        let builder = builder
            .label("cluster.x-k8s.io/provider", "infrastructure-openstack")
            .label("cluster.x-k8s.io/v1beta1", "v1beta1")
            .label("cluster.x-k8s.io/v1beta2", "v1beta2");
        let mut definition = builder.build()?;
        v1beta1::schema::add(&mut definition)?;
        Ok(Shipped {
            provider: FOLDER,
            definition,
        })
    })
    .collect()
}
