//! The control plane object of a cluster.

use std::cmp::Ordering;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::DynamicObject;

use super::{
    ContractVersion, FieldError, View,
    infrastructure::{endpoint, role},
};
use crate::{
    conditions::all_of_foreign,
    core::v1beta2::{APIEndpoint, StatusVersion},
    versions,
};

role! {
    /// What runs the control plane of a cluster.
    ControlPlane
}

impl<'a> ControlPlane<'a> {
    /// Whether the API server has been reachable once; absent is false.
    pub fn initialized(&self) -> Result<bool, FieldError> {
        Ok(self.0.bool(self.initialized_path())?.unwrap_or(false))
    }

    /// The field behind [`initialized`](Self::initialized).
    pub fn initialized_path(&self) -> &'static str {
        self.0.path(
            "status.initialized",
            "status.initialization.controlPlaneInitialized",
        )
    }

    /// Where the API server is reached, for control planes that bring their own endpoint.
    pub fn control_plane_endpoint(&self) -> Result<Option<APIEndpoint>, FieldError> {
        endpoint(&self.0)
    }

    /// The version wanted.
    pub fn version(&self) -> Result<Option<&'a str>, FieldError> {
        self.0.text("spec.version")
    }

    /// The versions seen, the lowest first; a control plane that only tells one version has a list of one.
    pub fn status_versions(&self) -> Result<Vec<StatusVersion>, FieldError> {
        let list: Vec<StatusVersion> = self
            .0
            .parsed("status.versions", "a list of {version, replicas}")?
            .unwrap_or_default();
        if !list.is_empty() {
            return Ok(list);
        }
        let single = self.0.text("status.version")?;
        Ok(single
            .map(|v| StatusVersion {
                version: v.to_owned(),
                ..Default::default()
            })
            .into_iter()
            .collect())
    }

    /// The replicas wanted; nothing for control planes that do not count.
    pub fn replicas(&self) -> Result<Option<i32>, FieldError> {
        self.0.int("spec.replicas")
    }

    /// The replicas there are.
    pub fn status_replicas(&self) -> Result<Option<i32>, FieldError> {
        self.0.int("status.replicas")
    }

    /// The ready replicas.
    pub fn ready_replicas(&self) -> Result<Option<i32>, FieldError> {
        self.0.int("status.readyReplicas")
    }

    /// The available replicas; by the older contract what is wanted less what is unavailable.
    pub fn available_replicas(&self) -> Result<Option<i32>, FieldError> {
        match self.0.contract {
            ContractVersion::V1Beta2 => self.0.int("status.availableReplicas"),
            ContractVersion::V1Beta1 => {
                let unavailable = self.0.int("status.unavailableReplicas")?.unwrap_or(0);
                Ok(self.replicas()?.map(|wanted| wanted - unavailable))
            }
        }
    }

    /// The replicas that match the wanted specification.
    pub fn up_to_date_replicas(&self) -> Result<Option<i32>, FieldError> {
        self.0
            .int(self.0.path("status.updatedReplicas", "status.upToDateReplicas"))
    }

    /// Whether the control plane runs outside of the cluster's Machines, so that it survives them.
    pub fn externally_managed(&self) -> Result<bool, FieldError> {
        Ok(self
            .0
            .bool("status.externalManagedControlPlane")?
            .unwrap_or(false))
    }

    /// Whether it is being created for the first time: it has not reported a version.
    pub fn is_provisioning(&self) -> Result<bool, FieldError> {
        Ok(self.status_versions()?.is_empty())
    }

    /// Whether the wanted version is newer than one that runs.
    pub fn is_upgrading(&self) -> Result<bool, FieldError> {
        let wanted = self
            .version()?
            .and_then(versions::parse_tolerant)
            .ok_or_else(|| self.0.wrong("spec.version", "a version"))?;
        for seen in self.status_versions()? {
            let seen = versions::parse_tolerant(&seen.version)
                .ok_or_else(|| self.0.wrong("status.versions", "versions"))?;
            if versions::compare_with_build(&wanted, &seen) == Ordering::Greater {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a counter differs from what is wanted; a missing counter counts as scaling.
    pub fn is_scaling(&self) -> Result<bool, FieldError> {
        let wanted = self.replicas()?;
        if wanted.is_none() {
            return Err(self.0.wrong("spec.replicas", "set"));
        }
        let counters = [
            self.status_replicas()?,
            self.up_to_date_replicas()?,
            self.ready_replicas()?,
            self.available_replicas()?,
        ];
        Ok(counters.iter().any(|counter| *counter != wanted))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::contract::testing::object;
    use ContractVersion::{V1Beta1, V1Beta2};

    #[test]
    fn a_control_plane_is_provisioning_until_it_reports_a_version() {
        let object = object("CP", json!({"spec": {"version": "v1.35.0"}, "status": {}}));
        let control_plane = ControlPlane::new(&object, V1Beta2);
        assert_eq!(
            (control_plane.is_provisioning(), control_plane.is_upgrading()),
            (Ok(true), Ok(false))
        );
    }

    #[test]
    fn it_is_upgrading_while_one_replica_is_older() {
        let upgrading = |status| {
            let object = object("CP", json!({"spec": {"version": "v1.36.0"}, "status": status}));
            ControlPlane::new(&object, V1Beta2).is_upgrading().unwrap()
        };
        assert!(upgrading(
            json!({"versions": [{"version": "v1.35.0"}, {"version": "v1.36.0"}]})
        ));
        assert!(!upgrading(
            json!({"versions": [{"version": "v1.36.0", "replicas": 3}], "version": "v1.35.0"})
        ));
        assert!(upgrading(json!({"version": "v1.35.9"})));
    }

    #[test]
    fn it_is_scaling_while_any_counter_differs_or_misses() {
        let scaling = |contract, status| {
            let object = object("CP", json!({"spec": {"replicas": 3}, "status": status}));
            ControlPlane::new(&object, contract).is_scaling().unwrap()
        };
        let full = json!({"replicas": 3, "readyReplicas": 3, "availableReplicas": 3, "upToDateReplicas": 3});
        assert!(!scaling(V1Beta2, full));
        assert!(scaling(
            V1Beta2,
            json!({"replicas": 3, "readyReplicas": 3, "availableReplicas": 3})
        ));
        assert!(scaling(
            V1Beta2,
            json!({"replicas": 3, "readyReplicas": 2, "availableReplicas": 3, "upToDateReplicas": 3})
        ));
        assert!(!scaling(
            V1Beta1,
            json!({"replicas": 3, "readyReplicas": 3, "updatedReplicas": 3})
        ));
        assert!(scaling(
            V1Beta1,
            json!({"replicas": 3, "readyReplicas": 3, "updatedReplicas": 3, "unavailableReplicas": 1})
        ));
    }
}
