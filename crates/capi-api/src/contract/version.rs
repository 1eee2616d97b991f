//! Which contract a CRD fulfils and which of its API versions to use.

use std::{cmp::Ordering, collections::BTreeMap, fmt};

use crate::{labels::CONTRACT_GROUP, names::plural};

/// The versions of the contract between Cluster API and its providers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContractVersion {
    /// The older one; still understood.
    V1Beta1,
    /// The current one.
    V1Beta2,
}

impl ContractVersion {
    /// All that are understood, the best first.
    pub const COMPATIBLE: [Self; 2] = [Self::V1Beta2, Self::V1Beta1];

    /// As in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1Beta1 => "v1beta1",
            Self::V1Beta2 => "v1beta2",
        }
    }
}

impl fmt::Display for ContractVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The contract and API version to use for a CRD with these labels: of the contracts the CRD names, the newest that is
/// understood; of the versions listed for it, the highest. Nothing if no label names a version.
pub fn choose(labels: &BTreeMap<String, String>) -> Option<(ContractVersion, String)> {
    ContractVersion::COMPATIBLE.into_iter().find_map(|contract| {
        let versions = labels.get(&format!("{CONTRACT_GROUP}/{contract}"))?;
        Some((contract, newest(versions.split('_'))?.to_owned()))
    })
}

/// The highest of some API versions.
pub fn newest<'a>(versions: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    versions
        .into_iter()
        .filter(|v| !v.is_empty())
        .max_by(|a, b| priority(a, b))
}

/// The name of a kind's CRD.
pub fn crd_name(group: &str, kind: &str) -> String {
    format!("{}.{group}", plural(&kind.to_ascii_lowercase()))
}

/// Orders API versions as Kubernetes does: `v2` > `v1` > `v1beta2` > `v1beta1` > `v1alpha1` > anything else, the
/// rest so that the alphabetically first is the highest.
pub fn priority(a: &str, b: &str) -> Ordering {
    match (parsed(a), parsed(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (None, None) => b.cmp(a),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// Stability (2 stable, 1 beta, 0 alpha), major, minor.
fn parsed(version: &str) -> Option<(u8, u32, u32)> {
    let rest = version.strip_prefix('v')?;
    let number = |text: &str| {
        (!text.is_empty() && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse::<u32>().ok())
            .flatten()
    };
    for (word, stability) in [("beta", 1), ("alpha", 0)] {
        if let Some((major, minor)) = rest.split_once(word) {
            return Some((stability, number(major)?, number(minor)?));
        }
    }
    Some((2, number(rest)?, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter()
            .map(|(k, v)| (format!("cluster.x-k8s.io/{k}"), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn the_newest_contract_and_its_highest_version_are_chosen() {
        use ContractVersion::{V1Beta1, V1Beta2};
        let cases = [
            (labels(&[("v1beta2", "v1beta2")]), Some((V1Beta2, "v1beta2"))),
            (
                labels(&[("v1beta1", "v1alpha4_v1beta1"), ("v1beta2", "v1beta2_v2")]),
                Some((V1Beta2, "v2")),
            ),
            (
                labels(&[("v1beta1", "v1alpha4_v1beta1_v1beta10")]),
                Some((V1Beta1, "v1beta10")),
            ),
            (
                labels(&[("v1beta2", ""), ("v1beta1", "v1")]),
                Some((V1Beta1, "v1")),
            ),
            (labels(&[("v1alpha4", "v1alpha4"), ("provider", "infra")]), None),
        ];
        for (labels, expected) in cases {
            assert_eq!(
                choose(&labels),
                expected.map(|(c, v)| (c, v.to_owned())),
                "{labels:?}"
            );
        }
    }

    #[test]
    fn versions_have_kubernetes_priority() {
        let mut versions = [
            "foo10",
            "v1",
            "v11alpha2",
            "v10beta3",
            "v3beta1",
            "v12alpha1",
            "foo1",
            "v10",
            "v2",
            "v11beta2",
        ];
        versions.sort_by(|a, b| priority(b, a));
        assert_eq!(
            versions,
            [
                "v10",
                "v2",
                "v1",
                "v11beta2",
                "v10beta3",
                "v3beta1",
                "v12alpha1",
                "v11alpha2",
                "foo1",
                "foo10"
            ]
        );
    }

    #[test]
    fn a_crd_is_named_after_the_plural_of_its_kind() {
        assert_eq!(
            crd_name("infrastructure.cluster.x-k8s.io", "DevMachine"),
            "devmachines.infrastructure.cluster.x-k8s.io"
        );
        assert_eq!(crd_name("g", "ClusterClass"), "clusterclasses.g");
    }
}
