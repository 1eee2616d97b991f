//! What a DevCluster needs: a pure function of the object and of this process's address.

use std::net::IpAddr;

use capi_api::{conditions::Draft, core::v1beta2::APIEndpoint};
use capi_runtime::{Key, meta};

use crate::{
    api::{DEV_CLUSTER_FINALIZER, DevCluster, DevInitializationStatus, LISTENER_ANNOTATION},
    backend::Endpoint,
    faults::{self, ClusterFaults, Switches},
};

/// A DevCluster and what surrounds it.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The object.
    pub dev_cluster: DevCluster,
    /// Its Cluster.
    pub cluster: Key,
    /// The address of this process.
    pub host: String,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// Nothing but to say why.
    Unsupported(Draft),
    /// The workload cluster must exist.
    Provision {
        /// The port that is asked for, or was given before.
        wanted_port: Option<u16>,
        /// The host under which it is reached.
        host: String,
        /// The cluster was reached at another address of this provider before.
        moved: bool,
        /// What users have broken.
        switches: Switches<ClusterFaults>,
    },
}

/// The port in a DevCluster's spec.
pub fn port(dev_cluster: &DevCluster) -> Option<u16> {
    let endpoint = dev_cluster.spec.control_plane_endpoint.as_ref()?;
    endpoint
        .port
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port > 0)
}

/// Decides.
pub fn plan(observed: &Observed) -> Plan {
    let spec = &observed.dev_cluster.spec;
    if spec.backend.in_memory.is_none() {
        return Plan::Unsupported(Draft::is_false(
            "Ready",
            "BackendNotSupported",
            "spec.backend.docker is not supported by this provider, use spec.backend.inMemory",
        ));
    }
    let host = spec
        .control_plane_endpoint
        .as_ref()
        .and_then(|endpoint| endpoint.host.clone())
        .unwrap_or_default();
    let moved =
        was_provisioned(&observed.dev_cluster) && host != observed.host && host.parse::<IpAddr>().is_ok();
    let host = if host.is_empty() || moved {
        observed.host.clone()
    } else {
        host
    };
    Plan::Provision {
        wanted_port: port(&observed.dev_cluster),
        host,
        moved,
        switches: faults::of_cluster(observed.dev_cluster.metadata.annotations.as_ref()),
    }
}

fn was_provisioned(dev_cluster: &DevCluster) -> bool {
    let status = dev_cluster.status.as_ref();
    status
        .and_then(|status| status.initialization.as_ref())
        .and_then(|i| i.provisioned)
        == Some(true)
}

/// The DevCluster once `cluster` has been promised an endpoint, still without a status that says so. A changed spec is
/// a new generation, which the conditions that follow are about.
pub fn claimed(mut dev_cluster: DevCluster, cluster: &Key, endpoint: &Endpoint) -> DevCluster {
    meta::add_finalizer(&mut dev_cluster.metadata, DEV_CLUSTER_FINALIZER);
    let annotations = dev_cluster.metadata.annotations.get_or_insert_default();
    annotations.insert(LISTENER_ANNOTATION.to_owned(), cluster.to_string());
    let wanted = Some(APIEndpoint {
        host: Some(endpoint.host.clone()),
        port: Some(i32::from(endpoint.port)),
    });
    if dev_cluster.spec.control_plane_endpoint != wanted {
        dev_cluster.spec.control_plane_endpoint = wanted;
        dev_cluster.metadata.generation = dev_cluster.metadata.generation.map(|generation| generation + 1);
    }
    dev_cluster
}

/// The DevCluster once its workload cluster exists.
pub fn provisioned(mut after: DevCluster) -> DevCluster {
    let status = after.status.get_or_insert_default();
    status.initialization = Some(DevInitializationStatus {
        provisioned: Some(true),
    });
    after
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DevClusterSpec, DevClusterStatus, InMemoryClusterBackendSpec};

    fn observed(endpoint: Option<(&str, i32)>, provisioned: bool) -> Observed {
        let mut spec = DevClusterSpec::default();
        spec.backend.in_memory = Some(InMemoryClusterBackendSpec {});
        spec.control_plane_endpoint = endpoint.map(|(host, port)| APIEndpoint {
            host: Some(host.to_owned()).filter(|host| !host.is_empty()),
            port: Some(port),
        });
        let mut dev_cluster = DevCluster::new("d", spec);
        dev_cluster.status = provisioned.then(|| DevClusterStatus {
            initialization: Some(DevInitializationStatus {
                provisioned: Some(true),
            }),
            ..DevClusterStatus::default()
        });
        Observed {
            dev_cluster,
            cluster: Key::new("ns", "c"),
            host: "10.0.0.2".to_owned(),
        }
    }

    #[test]
    fn addresses_are_chosen_kept_and_moved() {
        let provision = |wanted_port, host: &str, moved| Plan::Provision {
            wanted_port,
            host: host.to_owned(),
            moved,
            switches: Switches::default(),
        };
        for (endpoint, was_provisioned, want) in [
            (None, false, provision(None, "10.0.0.2", false)),
            (Some(("", 6443)), false, provision(Some(6443), "10.0.0.2", false)),
            (
                Some(("10.0.0.1", 20001)),
                false,
                provision(Some(20001), "10.0.0.1", false),
            ),
            (
                Some(("10.0.0.2", 20001)),
                true,
                provision(Some(20001), "10.0.0.2", false),
            ),
            (
                Some(("10.0.0.1", 20001)),
                true,
                provision(Some(20001), "10.0.0.2", true),
            ),
            (
                Some(("api.example.com", 20001)),
                true,
                provision(Some(20001), "api.example.com", false),
            ),
        ] {
            assert_eq!(plan(&observed(endpoint, was_provisioned)), want, "{endpoint:?}");
        }
    }

    #[test]
    fn the_endpoint_switch_is_part_of_the_plan() {
        let mut broken = observed(None, false);
        let switch = (faults::ENDPOINT.to_owned(), faults::UNREACHABLE.to_owned());
        broken.dev_cluster.metadata.annotations = Some([switch].into());
        let Plan::Provision { switches, .. } = plan(&broken) else {
            panic!("not supported")
        };
        assert!(switches.faults.endpoint_unreachable);
    }

    #[test]
    fn other_backends_are_refused_with_a_remedy() {
        let mut docker = observed(None, false);
        docker.dev_cluster.spec.backend = Default::default();
        let Plan::Unsupported(draft) = plan(&docker) else {
            panic!("supported")
        };
        assert!(draft.message.contains("use spec.backend.inMemory"));
    }

    #[test]
    fn a_provisioned_cluster_says_where_it_is() {
        let before = observed(None, false);
        let endpoint = Endpoint {
            host: "10.0.0.2".into(),
            port: 20_000,
        };
        let claimed = claimed(before.dev_cluster, &before.cluster, &endpoint);
        assert_eq!(claimed.status, None, "not before it exists");
        let after = provisioned(claimed);
        assert_eq!(after.metadata.annotations.unwrap()[LISTENER_ANNOTATION], "ns/c");
        let endpoint = after.spec.control_plane_endpoint.unwrap();
        assert_eq!(
            (endpoint.host.as_deref(), endpoint.port),
            (Some("10.0.0.2"), Some(20_000))
        );
    }
}
