//! What is known about a cluster before anything is decided.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    api::{ManagedSecurityGroupName as Role, OpenStackCluster, OpenStackClusterSpec},
    cloud::{
        Microversion,
        load_balancer::{Listener, LoadBalancer, Monitor, Pool},
        network::{FloatingIp, Network, Port, Router, SecurityGroup, Subnet},
    },
    rules::names::ClusterNames,
};

/// The object, and what OpenStack has of it.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The time.
    pub now: Timestamp,
    /// The object.
    pub cluster: OpenStackCluster,
    /// The names of what belongs to it.
    pub names: Option<ClusterNames>,
    /// Neutron keeps tags.
    pub tagging: bool,
    /// The way outside.
    pub external: Option<Network>,
    /// The network of the nodes.
    pub network: Option<Network>,
    /// Its subnets that are used.
    pub subnets: Vec<Subnet>,
    /// The router.
    pub router: Option<Router>,
    /// The ports by which the router is connected.
    pub interfaces: Vec<Port>,
    /// The ids of the subnets in `managedRouter.externalIPs`, with the addresses there.
    pub external_ips: Vec<(String, Option<String>)>,
    /// The managed security groups.
    pub groups: BTreeMap<Role, SecurityGroup>,
    /// The zones that accept servers.
    pub zones: Vec<String>,
    /// Network and subnets of the virtual address, if not those of the nodes.
    pub balancer_network: Option<(Network, Vec<Subnet>)>,
    /// The load balancer.
    pub balancer: Option<Balancer>,
    /// What Octavia can do: providers, flavors, version. Known only where it matters.
    pub octavia: Octavia,
    /// The floating IP of the API server.
    pub floating_ip: Option<FloatingIp>,
    /// Ports in the managed network. Known only while deleting.
    pub ports: Vec<Port>,
}

/// The load balancer with what is below it.
#[derive(Clone, Debug, Default)]
pub struct Balancer {
    /// Itself.
    pub itself: LoadBalancer,
    /// Its listeners.
    pub listeners: Vec<Listener>,
    /// Its pools.
    pub pools: Vec<Pool>,
    /// The monitors of the pools.
    pub monitors: Vec<Monitor>,
}

/// What Octavia can do.
#[derive(Clone, Debug, Default)]
pub struct Octavia {
    /// The version.
    pub version: Option<Microversion>,
    /// The provider to ask for.
    pub provider: Option<String>,
    /// The flavor to ask for, by id.
    pub flavor: Option<String>,
    /// Monitors are not supported.
    pub no_monitors: bool,
    /// What it said when it was asked to repair a load balancer, and refused.
    pub refusal: Option<String>,
}

impl World {
    /// The spec.
    pub fn spec(&self) -> &OpenStackClusterSpec {
        &self.cluster.spec
    }

    /// The names.
    pub fn names(&self) -> ClusterNames {
        self.names.clone().unwrap_or_else(|| ClusterNames::new("", ""))
    }

    /// True if network, subnet and router are ours.
    pub fn manages_network(&self) -> bool {
        !self.spec().managed_subnets.is_empty()
    }

    /// True if a load balancer is wanted.
    pub fn wants_balancer(&self) -> bool {
        let api = self.spec().api_server.as_ref();
        api.and_then(|api| api.managed_load_balancer.as_ref())
            .is_some_and(|lb| lb.enabled != Some(false))
    }

    /// True if there is a way outside.
    pub fn has_outside(&self) -> bool {
        self.spec().enable_external_network != Some(false)
    }

    /// True if the API server should have a floating IP.
    pub fn wants_floating_ip(&self) -> bool {
        let enabled = self
            .spec()
            .api_server
            .as_ref()
            .and_then(|api| api.enable_floating_ip);
        self.has_outside() && enabled != Some(false)
    }

    /// The endpoint, if it is known.
    pub fn endpoint_host(&self) -> Option<&str> {
        let host = self.spec().control_plane_endpoint.as_ref()?.host.as_deref()?;
        (!host.is_empty()).then_some(host)
    }

    /// The port of the API server.
    pub fn api_port(&self) -> i32 {
        let of_endpoint = self
            .spec()
            .control_plane_endpoint
            .as_ref()
            .and_then(|endpoint| endpoint.port);
        let of_spec = self.spec().api_server.as_ref().and_then(|api| api.port);
        let of_spec = of_spec.and_then(|port| i32::try_from(port).ok());
        of_endpoint
            .into_iter()
            .chain(of_spec)
            .find(|port| *port > 0)
            .unwrap_or(6443)
    }

    /// The ports of the load balancer, that of the API server first.
    pub fn balancer_ports(&self) -> Vec<i32> {
        let balancer = self
            .spec()
            .api_server
            .as_ref()
            .and_then(|api| api.managed_load_balancer.as_ref());
        let further = balancer
            .map(|balancer| balancer.additional_ports.clone())
            .unwrap_or_default();
        let mut ports = vec![self.api_port()];
        for port in further {
            if !ports.contains(&port) {
                ports.push(port);
            }
        }
        ports
    }

    /// True if a bastion is wanted.
    pub fn wants_bastion(&self) -> bool {
        self.spec()
            .bastion
            .as_ref()
            .is_some_and(|bastion| bastion.enabled != Some(false))
    }

    /// The security groups that should be there.
    pub fn wanted_groups(&self) -> Vec<Role> {
        if self.spec().managed_security_groups.is_none() {
            return Vec::new();
        }
        let bastion = self.wants_bastion().then_some(Role::Bastion);
        [Role::ControlPlane, Role::Worker]
            .into_iter()
            .chain(bastion)
            .collect()
    }

    /// The floating IP that somebody asked for or that was used before: that it be this one.
    pub fn wanted_floating_ip(&self) -> Option<String> {
        let status = self.cluster.status.as_ref();
        let used = status
            .and_then(|status| status.api_server_managed_load_balancer.as_ref())
            .map(|lb| lb.ip.clone());
        let asked = self
            .spec()
            .api_server
            .as_ref()
            .and_then(|api| api.floating_ip.clone());
        let endpoint = self
            .endpoint_host()
            .filter(|host| host.parse::<std::net::IpAddr>().is_ok())
            .map(str::to_owned);
        [used, asked, endpoint]
            .into_iter()
            .flatten()
            .find(|address| !address.is_empty())
    }

    /// True if the user named the floating IP, so that it is not ours to delete.
    pub fn floating_ip_is_users(&self) -> bool {
        let asked = self
            .spec()
            .api_server
            .as_ref()
            .and_then(|api| api.floating_ip.as_deref());
        asked.is_some()
            && asked
                == self
                    .floating_ip
                    .as_ref()
                    .map(|ip| ip.floating_ip_address.as_str())
    }
}
