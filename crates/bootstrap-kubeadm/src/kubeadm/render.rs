//! From the Cluster API types to kubeadm's documents: what each version gets, and what it loses.

use std::collections::BTreeMap;

use capi_api::bootstrap::v1beta2 as capi;
use serde::Serialize;

use super::types::{
    ApiEndpoint, ApiServer, Arg, Args, BootstrapToken, ClusterConfiguration, Component, Discovery, Empty,
    Etcd, ExternalEtcd, FileDiscovery, HostPathMount, ImageMeta, InitConfiguration, JoinConfiguration,
    JoinControlPlane, LocalEtcd, Networking, NodeRegistration, Patches, Timeouts, TokenDiscovery,
};
use super::{ConfigVersion, Error, go_duration};
use crate::yaml;

/// What the cluster and its first machine add to a ClusterConfiguration; absent values are left to kubeadm.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterValues {
    /// Version of the machine, as written there (with `v`).
    pub kubernetes_version: Option<String>,
    /// Name of the Cluster.
    pub cluster_name: Option<String>,
    /// `host:port` of the cluster's endpoint; a value in the configuration wins.
    pub control_plane_endpoint: Option<String>,
    /// Domain of Services.
    pub dns_domain: Option<String>,
    /// CIDR blocks of Services, joined by commas.
    pub service_subnet: Option<String>,
    /// CIDR blocks of Pods, joined by commas.
    pub pod_subnet: Option<String>,
}

/// The ClusterConfiguration for the first control-plane machine. `init` matters for v1beta3, which keeps one of its
/// timeouts here.
pub fn cluster_configuration(
    version: ConfigVersion,
    spec: &capi::ClusterConfiguration,
    init: &capi::InitConfiguration,
    values: &ClusterValues,
) -> Result<String, Error> {
    let renderer = Renderer(version);
    let v1beta4 = version == ConfigVersion::V1Beta4;
    let days = |days: Option<i32>| {
        days.filter(|d| v1beta4 && *d != 0)
            .map(|d| go_duration(i64::from(d) * 24 * 3600))
    };
    let api_server = spec.api_server.clone().unwrap_or_default();
    let timeout = init
        .timeouts
        .as_ref()
        .and_then(|t| t.control_plane_component_health_check_seconds);
    let document = ClusterConfiguration {
        api_version: version.api_version(),
        kind: "ClusterConfiguration",
        etcd: renderer.etcd(spec.etcd.as_ref())?,
        networking: Networking {
            service_subnet: values.service_subnet.clone(),
            pod_subnet: values.pod_subnet.clone(),
            dns_domain: values.dns_domain.clone(),
        },
        kubernetes_version: values.kubernetes_version.clone(),
        control_plane_endpoint: spec
            .control_plane_endpoint
            .clone()
            .or_else(|| values.control_plane_endpoint.clone()),
        api_server: ApiServer {
            component: renderer.component(
                &api_server.extra_args,
                &api_server.extra_volumes,
                &api_server.extra_envs,
            )?,
            cert_sans: api_server.cert_sans.clone(),
            timeout_for_control_plane: timeout.filter(|_| !v1beta4).map(|s| go_duration(i64::from(s))),
        },
        controller_manager: match &spec.controller_manager {
            Some(c) => renderer.component(&c.extra_args, &c.extra_volumes, &c.extra_envs)?,
            None => Component::default(),
        },
        scheduler: match &spec.scheduler {
            Some(c) => renderer.component(&c.extra_args, &c.extra_volumes, &c.extra_envs)?,
            None => Component::default(),
        },
        dns: spec
            .dns
            .as_ref()
            .map_or_else(ImageMeta::default, |dns| ImageMeta {
                image_repository: dns.image_repository.clone(),
                image_tag: dns.image_tag.clone(),
            }),
        proxy: v1beta4.then_some(Empty {}),
        certificates_dir: spec.certificates_dir.clone(),
        image_repository: spec.image_repository.clone(),
        feature_gates: spec.feature_gates.clone(),
        cluster_name: values.cluster_name.clone(),
        encryption_algorithm: spec
            .encryption_algorithm
            .as_ref()
            .filter(|_| v1beta4)
            .map(serde_json::to_value)
            .transpose()?,
        certificate_validity_period: days(spec.certificate_validity_period_days),
        ca_certificate_validity_period: days(spec.ca_certificate_validity_period_days),
    };
    print(&document)
}

/// The InitConfiguration for the first control-plane machine.
pub fn init_configuration(version: ConfigVersion, spec: &capi::InitConfiguration) -> Result<String, Error> {
    let renderer = Renderer(version);
    print(&InitConfiguration {
        api_version: version.api_version(),
        kind: "InitConfiguration",
        bootstrap_tokens: spec
            .bootstrap_tokens
            .iter()
            .map(bootstrap_token)
            .collect::<Result<_, _>>()?,
        node_registration: renderer.node_registration(spec.node_registration.as_ref())?,
        local_api_endpoint: api_endpoint(spec.local_api_endpoint.as_ref()),
        skip_phases: spec.skip_phases.clone(),
        patches: patches(spec.patches.as_ref()),
        timeouts: renderer.timeouts(spec.timeouts.as_ref()),
    })
}

/// The JoinConfiguration of a machine; one with `controlPlane` set joins the control plane.
pub fn join_configuration(version: ConfigVersion, spec: &capi::JoinConfiguration) -> Result<String, Error> {
    let renderer = Renderer(version);
    // v1beta3 has one timeout, which upstream pairs with the TLS bootstrap.
    let timeout = spec
        .timeouts
        .as_ref()
        .and_then(|t| t.tls_bootstrap_seconds)
        .filter(|_| version == ConfigVersion::V1Beta3);
    let mut discovery = spec.discovery.as_ref().map_or_else(Discovery::default, discovery);
    discovery.timeout = timeout.map(|s| go_duration(i64::from(s)));
    print(&JoinConfiguration {
        api_version: version.api_version(),
        kind: "JoinConfiguration",
        node_registration: renderer.node_registration(spec.node_registration.as_ref())?,
        ca_cert_path: spec.ca_cert_path.clone(),
        discovery,
        control_plane: spec.control_plane.as_ref().map(|c| JoinControlPlane {
            local_api_endpoint: api_endpoint(c.local_api_endpoint.as_ref()),
        }),
        skip_phases: spec.skip_phases.clone(),
        patches: patches(spec.patches.as_ref()),
        timeouts: renderer.timeouts(spec.timeouts.as_ref()),
    })
}

fn print<T: Serialize>(document: &T) -> Result<String, Error> {
    Ok(yaml::to_string(&serde_json::to_value(document)?))
}

/// Conversions that depend on the version.
struct Renderer(ConfigVersion);

impl Renderer {
    fn args(&self, args: &[capi::Arg]) -> Option<Args> {
        if args.is_empty() {
            return None;
        }
        let pairs = args.iter().map(|arg| (arg.name.clone(), arg.value.clone()));
        Some(match self.0 {
            ConfigVersion::V1Beta4 => Args::List(pairs.map(|(name, value)| Arg { name, value }).collect()),
            ConfigVersion::V1Beta3 => Args::Map(pairs.collect::<BTreeMap<_, _>>()),
        })
    }

    fn envs(&self, envs: &[capi::EnvVar]) -> Result<Vec<serde_json::Value>, Error> {
        match self.0 {
            ConfigVersion::V1Beta4 => Ok(envs.iter().map(serde_json::to_value).collect::<Result<_, _>>()?),
            ConfigVersion::V1Beta3 => Ok(Vec::new()),
        }
    }

    fn component(
        &self,
        args: &[capi::Arg],
        volumes: &[capi::HostPathMount],
        envs: &[capi::EnvVar],
    ) -> Result<Component, Error> {
        let volume = |volume: &capi::HostPathMount| HostPathMount {
            name: volume.name.clone(),
            host_path: volume.host_path.clone(),
            mount_path: volume.mount_path.clone(),
            read_only: volume.read_only.unwrap_or_default(),
            path_type: volume.path_type.clone(),
        };
        Ok(Component {
            extra_args: self.args(args),
            extra_volumes: volumes.iter().map(volume).collect(),
            extra_envs: self.envs(envs)?,
        })
    }

    fn etcd(&self, etcd: Option<&capi::Etcd>) -> Result<Etcd, Error> {
        let Some(etcd) = etcd else {
            return Ok(Etcd::default());
        };
        let local = match non_empty(etcd.local.as_ref()) {
            None => None,
            Some(local) => Some(LocalEtcd {
                image: ImageMeta {
                    image_repository: local.image_repository.clone(),
                    image_tag: local.image_tag.clone(),
                },
                data_dir: local.data_dir.clone().unwrap_or_default(),
                extra_args: self.args(&local.extra_args),
                extra_envs: self.envs(&local.extra_envs)?,
                server_cert_sans: local.server_cert_sans.clone(),
                peer_cert_sans: local.peer_cert_sans.clone(),
            }),
        };
        let external = non_empty(etcd.external.as_ref()).map(|external| ExternalEtcd {
            endpoints: external.endpoints.clone(),
            ca_file: external.ca_file.clone(),
            cert_file: external.cert_file.clone(),
            key_file: external.key_file.clone(),
        });
        Ok(Etcd { local, external })
    }

    fn node_registration(
        &self,
        node: Option<&capi::NodeRegistrationOptions>,
    ) -> Result<NodeRegistration, Error> {
        let Some(node) = node else {
            return Ok(NodeRegistration::default());
        };
        let taints = match &node.taints {
            None => None,
            Some(taints) => Some(
                taints
                    .iter()
                    .map(serde_json::to_value)
                    .collect::<Result<_, _>>()?,
            ),
        };
        Ok(NodeRegistration {
            name: node.name.clone(),
            cri_socket: node.cri_socket.clone(),
            taints,
            kubelet_extra_args: self.args(&node.kubelet_extra_args),
            ignore_preflight_errors: node.ignore_preflight_errors.clone(),
            image_pull_policy: node
                .image_pull_policy
                .as_ref()
                .map(serde_json::to_value)
                .transpose()?,
            image_pull_serial: node
                .image_pull_serial
                .filter(|_| self.0 == ConfigVersion::V1Beta4),
        })
    }

    fn timeouts(&self, timeouts: Option<&capi::Timeouts>) -> Option<Timeouts> {
        let timeouts = timeouts.filter(|_| self.0 == ConfigVersion::V1Beta4)?;
        let duration = |seconds: Option<i32>| seconds.map(|s| go_duration(i64::from(s)));
        non_empty(Some(&Timeouts {
            control_plane_component_health_check: duration(
                timeouts.control_plane_component_health_check_seconds,
            ),
            kubelet_health_check: duration(timeouts.kubelet_health_check_seconds),
            kubernetes_api_call: duration(timeouts.kubernetes_api_call_seconds),
            etcd_api_call: duration(timeouts.etcd_api_call_seconds),
            tls_bootstrap: duration(timeouts.tls_bootstrap_seconds),
            discovery: duration(timeouts.discovery_seconds),
        }))
        .cloned()
    }
}

fn bootstrap_token(token: &capi::BootstrapToken) -> Result<BootstrapToken, Error> {
    Ok(BootstrapToken {
        token: Some(token.token.clone()).filter(|token| !token.is_empty()),
        description: token.description.clone(),
        ttl: token.ttl_seconds.map(|s| go_duration(i64::from(s))),
        expires: token.expires.as_ref().map(serde_json::to_value).transpose()?,
        usages: token.usages.clone(),
        groups: token.groups.clone(),
    })
}

fn discovery(discovery: &capi::Discovery) -> Discovery {
    Discovery {
        bootstrap_token: non_empty(discovery.bootstrap_token.as_ref()).map(|token| TokenDiscovery {
            token: token.token.clone().unwrap_or_default(),
            api_server_endpoint: token.api_server_endpoint.clone(),
            ca_cert_hashes: token.ca_cert_hashes.clone(),
            unsafe_skip_ca_verification: token.unsafe_skip_ca_verification.unwrap_or_default(),
        }),
        // The kubeconfig itself travels as a file of the machine.
        file: discovery.file.as_ref().map(|file| FileDiscovery {
            kube_config_path: file.kube_config_path.clone(),
        }),
        tls_bootstrap_token: discovery.tls_bootstrap_token.clone(),
        timeout: None,
    }
}

fn api_endpoint(endpoint: Option<&capi::APIEndpoint>) -> ApiEndpoint {
    endpoint.map_or_else(ApiEndpoint::default, |endpoint| ApiEndpoint {
        advertise_address: endpoint.advertise_address.clone(),
        bind_port: endpoint.bind_port,
    })
}

fn patches(patches: Option<&capi::Patches>) -> Option<Patches> {
    let directory = patches?.directory.clone()?;
    Some(Patches { directory })
}

/// `value` unless it says nothing.
fn non_empty<T: Default + PartialEq>(value: Option<&T>) -> Option<&T> {
    value.filter(|value| **value != T::default())
}
