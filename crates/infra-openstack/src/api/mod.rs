//! The kinds of this provider: data only.
//!
//! `v1beta2` is the stored version of clusters, machines and their templates, `v1alpha1` that of servers, pools and
//! identities. Names are unique, so all of them are found here. [`v1beta1`] is served beside `v1beta2`.

mod api_server;
mod identity;
mod networks;
mod openstack_cluster;
mod openstack_cluster_identity;
mod openstack_cluster_template;
mod openstack_floating_ip_pool;
mod openstack_machine;
mod openstack_machine_template;
mod openstack_server;
mod params;
mod ports;
mod schemas;
mod security_groups;
mod servers;
pub mod v1beta1;
mod volumes;
mod wire;

pub use api_server::*;
pub use identity::*;
pub use networks::*;
pub use openstack_cluster::*;
pub use openstack_cluster_identity::*;
pub use openstack_cluster_template::*;
pub use openstack_floating_ip_pool::*;
pub use openstack_machine::*;
pub use openstack_machine_template::*;
pub use openstack_server::*;
pub use params::*;
pub use ports::*;
pub use security_groups::*;
pub use servers::*;
pub use volumes::*;

capi_api::conditions_access!(
    OpenStackCluster,
    OpenStackMachine,
    OpenStackMachineTemplate,
    OpenStackServer,
    OpenStackFloatingIPPool
);
