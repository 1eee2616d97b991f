//! Which images kubeadm runs: by the cluster's configuration and the version of Kubernetes.

use serde_json::Value;

use super::static_pods::ETCD;

/// What kubeadm installs with a minor version of Kubernetes: the minor, etcd, CoreDNS.
const BY_MINOR: &[(u64, &str, &str)] = &[
    (30, "3.5.15-0", "v1.11.3"),
    (31, "3.5.15-0", "v1.11.3"),
    (32, "3.5.16-0", "v1.11.3"),
    (33, "3.5.21-0", "v1.12.0"),
    (34, "3.6.4-0", "v1.12.1"),
    (35, "3.6.6-0", "v1.13.1"),
    (36, "3.6.8-0", "v1.14.2"),
];

/// The registry that Kubernetes is taken from where a configuration names no other.
pub const REPOSITORY: &str = "registry.k8s.io";

/// Major and minor of a version such as `v1.36.1`.
pub fn minor(version: &str) -> Option<(u64, u64)> {
    let version = semver::Version::parse(version.strip_prefix('v').unwrap_or(version)).ok()?;
    Some((version.major, version.minor))
}

fn installed(version: &str) -> (&'static str, &'static str) {
    let wanted = minor(version).map_or(0, |(_, minor)| minor);
    let known = BY_MINOR.iter().rfind(|(minor, ..)| *minor <= wanted);
    let (_, etcd, coredns) = known.or(BY_MINOR.first()).copied().unwrap_or_default();
    (etcd, coredns)
}

/// The tag of etcd's image.
pub fn etcd_tag(version: &str) -> &'static str {
    installed(version).0
}

/// The tag of CoreDNS's image.
pub fn coredns_tag(version: &str) -> &'static str {
    installed(version).1
}

/// A Kubernetes version as image tags spell it.
pub fn image_tag(version: &str) -> String {
    version.replace('+', "_")
}

/// The images of a control-plane machine's static pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    repository: String,
    version: String,
    etcd: String,
}

impl Images {
    /// Those of a machine whose own version is `own`, in a cluster with this ClusterConfiguration. kubeadm takes the
    /// version from there; a configuration that is newer than the machine was changed after the machine had joined.
    pub fn new(configuration: Option<&Value>, own: &str) -> Self {
        let text = |pointer: &str| {
            let value = configuration?.pointer(pointer)?.as_str();
            value.filter(|text| !text.is_empty())
        };
        let stored = text("/kubernetesVersion").filter(|stored| minor(stored) <= minor(own));
        let version = stored.unwrap_or(own).to_owned();
        let repository = text("/imageRepository").unwrap_or(REPOSITORY).to_owned();
        let etcd = format!(
            "{}/etcd:{}",
            text("/etcd/local/imageRepository").unwrap_or(&repository),
            text("/etcd/local/imageTag").unwrap_or_else(|| etcd_tag(&version))
        );
        Self {
            repository,
            version,
            etcd,
        }
    }

    /// The image of a component.
    pub fn of(&self, component: &str) -> String {
        match component {
            ETCD => self.etcd.clone(),
            _ => format!("{}/{component}:{}", self.repository, image_tag(&self.version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_machine_runs_what_the_cluster_is_configured_for() {
        let stored = |version: &str| json!({ "kubernetesVersion": version });
        for (configuration, own, api_server, etcd) in [
            (
                None,
                "v1.35.0",
                "registry.k8s.io/kube-apiserver:v1.35.0",
                "registry.k8s.io/etcd:3.6.6-0",
            ),
            (
                Some(stored("v1.36.0")),
                "v1.36.0",
                "registry.k8s.io/kube-apiserver:v1.36.0",
                "registry.k8s.io/etcd:3.6.8-0",
            ),
            (
                Some(stored("v1.35.2")),
                "v1.36.0",
                "registry.k8s.io/kube-apiserver:v1.35.2",
                "registry.k8s.io/etcd:3.6.6-0",
            ),
            (
                Some(stored("v1.36.0")),
                "v1.35.0",
                "registry.k8s.io/kube-apiserver:v1.35.0",
                "registry.k8s.io/etcd:3.6.6-0",
            ),
            (
                Some(json!({ "imageRepository": "r/k8s", "etcd": { "local": { "imageTag": "own" } } })),
                "v1.36.0+a",
                "r/k8s/kube-apiserver:v1.36.0_a",
                "r/k8s/etcd:own",
            ),
        ] {
            let images = Images::new(configuration.as_ref(), own);
            assert_eq!(
                (images.of("kube-apiserver"), images.of(ETCD)),
                (api_server.to_owned(), etcd.to_owned())
            );
        }
    }

    #[test]
    fn versions_between_and_beyond_the_table_take_the_one_before() {
        assert_eq!(
            (etcd_tag("v1.37.0"), coredns_tag("v1.37.0")),
            ("3.6.8-0", "v1.14.2")
        );
        assert_eq!(
            (etcd_tag("v1.20.0"), coredns_tag("nonsense")),
            ("3.5.15-0", "v1.11.3")
        );
    }
}
