//! Checks before a Machine is created: would it join, and stay? Pure.
//!
//! A Machine that comes up while the control plane is upgraded, or with a version the control plane does not go with,
//! would be replaced at once or never join. An operator chooses the checks, an annotation leaves some out.

use std::collections::BTreeSet;

use capi_api::{
    annotations,
    contract::ControlPlane,
    core::v1beta2::{Cluster, MachineSet},
    versions::parse_tolerant,
};
use kube::ResourceExt;

use crate::foreign::{Foreign, Found};

/// All checks.
pub const ALL: &str = "All";
const STABLE: &str = "ControlPlaneIsStable";
const KUBERNETES: &str = "KubernetesVersionSkew";
const KUBEADM: &str = "KubeadmVersionSkew";
const SAME_VERSION: &str = "ControlPlaneVersionSkew";

/// The names of the checks, and the one that stands for all.
pub const NAMES: [&str; 5] = [ALL, STABLE, SAME_VERSION, KUBEADM, KUBERNETES];

/// How many minor versions a kubelet may be behind.
const MINOR_SKEW: u64 = 3;

/// Whether this is the name of a check.
pub fn is_known(name: &str) -> bool {
    NAMES.contains(&name)
}

/// The checks an annotation asks to leave out.
pub fn skipped(object: &impl ResourceExt) -> BTreeSet<&str> {
    let list = object.annotations().get(annotations::SKIP_PREFLIGHT_CHECKS);
    list.into_iter()
        .flat_map(|l| l.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect()
}

/// What speaks against new Machines of a MachineSet now; nothing if the checks pass.
pub fn failures(
    set: &MachineSet,
    cluster: &Cluster,
    control_plane: &Foreign,
    enabled: &BTreeSet<String>,
) -> Vec<String> {
    let skipped = skipped(set);
    let runs = |check: &str| {
        (enabled.contains(ALL) || enabled.contains(check))
            && !skipped.contains(ALL)
            && !skipped.contains(check)
    };
    if enabled.is_empty() || skipped.contains(ALL) {
        return Vec::new();
    }
    let found = match control_plane {
        Foreign::Unset => return Vec::new(),
        Foreign::Found(found) => found,
        Foreign::Missing => {
            let reference = cluster.spec.control_plane_ref.as_ref();
            let (kind, name) = reference.map_or(("", ""), |r| (&r.kind, &r.name));
            return vec![format!("{kind} {} does not exist", in_namespace(set, name))];
        }
        Foreign::Unreadable(why) => return vec![why.clone()],
    };
    match checked(set, cluster, found, &runs) {
        Ok(failures) => failures,
        Err(text) => vec![text],
    }
}

fn in_namespace(set: &MachineSet, name: &str) -> String {
    format!("{}/{name}", set.namespace().unwrap_or_default())
}

fn checked(
    set: &MachineSet,
    cluster: &Cluster,
    found: &Found,
    runs: &impl Fn(&str) -> bool,
) -> Result<Vec<String>, String> {
    let object = ControlPlane::new(&found.object, found.contract);
    let text = |error: capi_api::contract::FieldError| error.to_string();
    // A control plane without a version cannot be compared with anything.
    let Some(wanted) = object.version().map_err(text)? else {
        return Ok(Vec::new());
    };
    let seen = object.status_versions().map_err(text)?;
    let current = seen.first().map_or(wanted, |v| v.version.as_str());
    let number = |version: &str| {
        parse_tolerant(version).ok_or_else(|| format!("{version:?} is not a version; correct spec.version"))
    };
    let name = in_namespace(set, &found.object.name_any());
    let who = format!("{} {name}", found.resource.kind);
    let mut failures = Vec::new();
    if runs(STABLE) {
        let topology = cluster.spec.topology.as_ref().map(|t| t.version.as_str());
        let problem = match topology.filter(|version| *version != wanted) {
            Some(version) => Some(format!("has a pending version upgrade to {version}")),
            None if object.is_provisioning().map_err(text)? => Some("is provisioning".to_owned()),
            None if object.is_upgrading().map_err(text)? => Some("is upgrading".to_owned()),
            None => None,
        };
        failures.extend(problem.map(|p| format!("{who} {p} ({STABLE:?} preflight check failed)")));
    }
    let Some(own) = set
        .spec
        .template
        .spec
        .version
        .as_deref()
        .filter(|v| !v.is_empty())
    else {
        return Ok(failures);
    };
    let (machines, control) = (number(own)?, number(current)?);
    let both = format!("MachineSet version ({machines}) and ControlPlane version ({control})");
    if runs(KUBERNETES) {
        let problem = if machines.minor > control.minor {
            Some("MachineSet version is higher than ControlPlane version".to_owned())
        } else if machines.minor + MINOR_SKEW < control.minor {
            Some(format!(
                "MachineSet version is more than {MINOR_SKEW} minor versions older than the ControlPlane version"
            ))
        } else {
            None
        };
        failures.extend(problem.map(|p| {
            format!("{both} do not conform to the kubernetes version skew policy as {p} ({KUBERNETES:?} preflight check failed)")
        }));
    }
    let bootstrap = set.spec.template.spec.bootstrap.config_ref.as_ref();
    let kubeadm = bootstrap
        .is_some_and(|r| r.kind == "KubeadmConfigTemplate" && r.api_group == "bootstrap.cluster.x-k8s.io");
    if runs(KUBEADM) && kubeadm && machines.minor != control.minor {
        failures.push(format!(
            "{both} do not conform to kubeadm version skew policy as kubeadm only supports joining with the same major+minor version as the control plane ({KUBEADM:?} preflight check failed)"
        ));
    }
    if runs(SAME_VERSION) && cluster.spec.topology.is_some() && own != current {
        failures.push(format!(
            "MachineSet version ({own}) is not yet the same as the ControlPlane version ({current}), waiting for version to be propagated to the MachineSet ({SAME_VERSION:?} preflight check failed)"
        ));
    }
    Ok(failures)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::foreign::testing::found;

    fn set(version: &str, bootstrap: &str, annotations: Value) -> MachineSet {
        serde_json::from_value(json!({"metadata": {"name": "ms", "namespace": "ns", "annotations": annotations},
            "spec": {"clusterName": "c", "selector": {}, "template": {"spec": {"clusterName": "c", "version": version,
                "bootstrap": {"configRef": {"apiGroup": "bootstrap.cluster.x-k8s.io", "kind": bootstrap, "name": "t"}},
                "infrastructureRef": {"apiGroup": "g", "kind": "K", "name": "n"}}}}}))
        .unwrap()
    }

    fn control_plane(wanted: &str, seen: Value) -> Foreign {
        found(
            json!({"apiVersion": "controlplane.cluster.x-k8s.io/v1beta2", "kind": "KubeadmControlPlane",
            "metadata": {"name": "cp", "namespace": "ns"}, "spec": {"version": wanted}, "status": {"versions": seen}}),
        )
    }

    fn failed(set: &MachineSet, cluster: Value, control_plane: &Foreign, enabled: &[&str]) -> Vec<String> {
        let cluster: Cluster =
            serde_json::from_value(json!({"metadata": {"name": "c"}, "spec": cluster})).unwrap();
        let enabled = enabled.iter().map(|e| (*e).to_owned()).collect();
        // The check's name is enough to tell them apart.
        failures(set, &cluster, control_plane, &enabled)
            .iter()
            .map(|text| text.split('"').nth(1).unwrap_or(text).to_owned())
            .collect()
    }

    #[test]
    fn machines_wait_for_a_stable_control_plane_of_a_fitting_version() {
        let at = |version: &str| json!([{"version": version}]);
        let foo = "FooConfigTemplate";
        let kubeadm = "KubeadmConfigTemplate";
        let cases = [
            ("v1.35.0", foo, "v1.35.0", at("v1.35.0"), vec![]),
            ("v1.35.0", foo, "v1.35.0", json!([]), vec![STABLE]),
            ("v1.35.0", foo, "v1.36.0", at("v1.35.0"), vec![STABLE]),
            ("v1.36.0", foo, "v1.36.0", at("v1.35.0"), vec![STABLE, KUBERNETES]),
            ("v1.33.0", foo, "v1.36.0", at("v1.36.0"), vec![]),
            ("v1.32.0", foo, "v1.36.0", at("v1.36.0"), vec![KUBERNETES]),
            ("v1.35.9", kubeadm, "v1.36.0", at("v1.36.0"), vec![KUBEADM]),
            ("v1.36.9", kubeadm, "v1.36.0", at("v1.36.0"), vec![]),
        ];
        for (own, bootstrap, wanted, seen, expected) in cases {
            let got = failed(
                &set(own, bootstrap, json!({})),
                json!({}),
                &control_plane(wanted, seen.clone()),
                &[ALL],
            );
            assert_eq!(got, expected, "{own} {bootstrap} {wanted} {seen}");
        }
    }

    #[test]
    fn checks_can_be_left_out_by_operator_and_annotation() {
        let control_plane = control_plane("v1.36.0", json!([{"version": "v1.30.0"}]));
        let skipping = |list: &str| {
            set(
                "v1.36.0",
                "KubeadmConfigTemplate",
                json!({annotations::SKIP_PREFLIGHT_CHECKS: list}),
            )
        };
        let names =
            |list: &str, enabled: &[&str]| failed(&skipping(list), json!({}), &control_plane, enabled);
        assert_eq!(names("", &[ALL]), [STABLE, KUBERNETES, KUBEADM]);
        assert_eq!(
            names("KubeadmVersionSkew, ControlPlaneIsStable", &[ALL]),
            [KUBERNETES]
        );
        assert!(names("All", &[ALL]).is_empty());
        assert_eq!(names("", &[KUBEADM]), [KUBEADM]);
        assert!(names("", &[]).is_empty());
    }

    #[test]
    fn nothing_to_compare_with_is_no_obstacle_but_a_missing_control_plane_is() {
        let set = set("v1.35.0", "FooConfigTemplate", json!({}));
        assert!(failed(&set, json!({}), &Foreign::Unset, &[ALL]).is_empty());
        let without =
            found(json!({"apiVersion": "a/v1", "kind": "K", "metadata": {"name": "cp"}, "spec": {}}));
        assert!(failed(&set, json!({}), &without, &[ALL]).is_empty());
        let reference =
            json!({"controlPlaneRef": {"apiGroup": "g", "kind": "KubeadmControlPlane", "name": "cp"}});
        assert_eq!(
            failed(&set, reference, &Foreign::Missing, &[ALL]),
            ["KubeadmControlPlane ns/cp does not exist"]
        );
    }

    #[test]
    fn machines_of_a_topology_have_the_control_planes_version() {
        let topology = json!({"topology": {"classRef": {"name": "class"}, "version": "v1.36.0"}});
        let control_plane = control_plane("v1.36.0", json!([{"version": "v1.36.0"}]));
        let older = set("v1.35.0", "FooConfigTemplate", json!({}));
        assert_eq!(failed(&older, topology, &control_plane, &[ALL]), [SAME_VERSION]);
        let pending = json!({"topology": {"classRef": {"name": "class"}, "version": "v1.37.0"}});
        let same = set("v1.36.0", "FooConfigTemplate", json!({}));
        assert_eq!(failed(&same, pending, &control_plane, &[ALL]), [STABLE]);
    }
}
