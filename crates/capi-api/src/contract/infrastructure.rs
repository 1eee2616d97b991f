//! Infrastructure clusters, infrastructure machines and bootstrap configs.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::DynamicObject;
use serde_json::Value;

use super::{ContractVersion, FieldError, View};
use crate::{
    conditions::all_of_foreign,
    core::v1beta2::{APIEndpoint, FailureDomain, MachineAddress},
};

macro_rules! role {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name<'a>(pub(super) View<'a>);

        impl<'a> $name<'a> {
            /// Reads `object` by the rules of `contract`.
            pub fn new(object: &'a DynamicObject, contract: ContractVersion) -> Self {
                Self(View { object, contract })
            }

            /// Its kind.
            pub fn kind(&self) -> &'a str {
                self.0.object.types.as_ref().map_or("", |t| t.kind.as_str())
            }

            /// Its conditions, of whichever generation; the error is a sentence.
            pub fn conditions(&self) -> Result<Vec<Condition>, String> {
                all_of_foreign(self.0.object)
            }

            /// `status.failureReason`, only to be shown in deprecated fields.
            pub fn failure_reason(&self) -> Option<&'a str> {
                self.0.failure_reason()
            }

            /// `status.failureMessage`, only to be shown in deprecated fields.
            pub fn failure_message(&self) -> Option<&'a str> {
                self.0.failure_message()
            }
        }
    };
}
pub(super) use role;

role! {
    /// What surrounds the machines of a cluster: network, load balancer.
    InfraCluster
}

impl InfraCluster<'_> {
    /// Whether it is provisioned; absent is false.
    pub fn provisioned(&self) -> Result<bool, FieldError> {
        Ok(self.0.bool(self.provisioned_path())?.unwrap_or(false))
    }

    /// The field behind [`provisioned`](Self::provisioned).
    pub fn provisioned_path(&self) -> &'static str {
        self.0.path("status.ready", "status.initialization.provisioned")
    }

    /// Where the API server will be reached, once host and port are known.
    pub fn control_plane_endpoint(&self) -> Result<Option<APIEndpoint>, FieldError> {
        endpoint(&self.0)
    }

    /// The failure domains, sorted by name.
    pub fn failure_domains(&self) -> Result<Vec<FailureDomain>, FieldError> {
        const PATH: &str = "status.failureDomains";
        const EXPECTED: &str = "failure domains";
        let list = match (self.0.contract, self.0.value(PATH)) {
            (_, None) => return Ok(Vec::new()),
            (ContractVersion::V1Beta2, Some(list)) => list.clone(),
            (ContractVersion::V1Beta1, Some(Value::Object(map))) => map
                .iter()
                .map(|(name, domain)| {
                    let mut domain = domain.clone();
                    if let Some(fields) = domain.as_object_mut() {
                        fields.insert("name".to_owned(), Value::String(name.clone()));
                    }
                    domain
                })
                .collect(),
            (ContractVersion::V1Beta1, Some(_)) => return Err(self.0.wrong(PATH, EXPECTED)),
        };
        let mut domains: Vec<FailureDomain> =
            serde_json::from_value(list).map_err(|_| self.0.wrong(PATH, EXPECTED))?;
        domains.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(domains)
    }
}

/// `spec.controlPlaneEndpoint` if host and port are set.
pub(super) fn endpoint(view: &View<'_>) -> Result<Option<APIEndpoint>, FieldError> {
    const PATH: &str = "spec.controlPlaneEndpoint";
    let host = view.text("spec.controlPlaneEndpoint.host")?;
    let port = view
        .int("spec.controlPlaneEndpoint.port")?
        .filter(|port| *port != 0);
    match (host, port) {
        (Some(_), Some(_)) => view.parsed(PATH, "a host and a port"),
        _ => Ok(None),
    }
}

role! {
    /// The host behind a Machine.
    InfraMachine
}

impl<'a> InfraMachine<'a> {
    /// Whether the host is provisioned; absent is false.
    pub fn provisioned(&self) -> Result<bool, FieldError> {
        Ok(self.0.bool(self.provisioned_path())?.unwrap_or(false))
    }

    /// The field behind [`provisioned`](Self::provisioned).
    pub fn provisioned_path(&self) -> &'static str {
        self.0.path("status.ready", "status.initialization.provisioned")
    }

    /// The identifier that the Node will carry too.
    pub fn provider_id(&self) -> Result<Option<&'a str>, FieldError> {
        self.0.text("spec.providerID")
    }

    /// The failure domain the host really is in.
    pub fn failure_domain(&self) -> Result<Option<&'a str>, FieldError> {
        self.0
            .text(self.0.path("spec.failureDomain", "status.failureDomain"))
    }

    /// The older field, `spec.failureDomain`, which still fills the Machine's.
    pub fn spec_failure_domain(&self) -> Result<Option<&'a str>, FieldError> {
        self.0.text("spec.failureDomain")
    }

    /// Where the host is reached.
    pub fn addresses(&self) -> Result<Vec<MachineAddress>, FieldError> {
        Ok(self
            .0
            .parsed("status.addresses", "a list of {type, address}")?
            .unwrap_or_default())
    }

    /// Whether the host can be taken away at short notice.
    pub fn interruptible(&self) -> Result<bool, FieldError> {
        Ok(self.0.bool("status.interruptible")?.unwrap_or(false))
    }
}

role! {
    /// What makes the bootstrap data of a Machine.
    BootstrapConfig
}

impl<'a> BootstrapConfig<'a> {
    /// Whether the data exists; absent is false.
    pub fn data_secret_created(&self) -> Result<bool, FieldError> {
        Ok(self.0.bool(self.data_secret_created_path())?.unwrap_or(false))
    }

    /// The field behind [`data_secret_created`](Self::data_secret_created).
    pub fn data_secret_created_path(&self) -> &'static str {
        self.0
            .path("status.ready", "status.initialization.dataSecretCreated")
    }

    /// The Secret with the data.
    pub fn data_secret_name(&self) -> Result<Option<&'a str>, FieldError> {
        self.0.text("status.dataSecretName")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::contract::testing::object;
    use ContractVersion::{V1Beta1, V1Beta2};

    #[test]
    fn the_contract_decides_where_provisioned_is_read() {
        let old = object("OldCluster", json!({"status": {"ready": true}}));
        let new = object(
            "NewCluster",
            json!({"status": {"initialization": {"provisioned": true}}}),
        );
        assert!(InfraCluster::new(&old, V1Beta1).provisioned().unwrap());
        assert!(!InfraCluster::new(&old, V1Beta2).provisioned().unwrap());
        assert!(InfraCluster::new(&new, V1Beta2).provisioned().unwrap());
        assert!(InfraMachine::new(&new, V1Beta2).provisioned().unwrap());
        assert!(
            !InfraMachine::new(&object("M", json!({})), V1Beta2)
                .provisioned()
                .unwrap()
        );
    }

    #[test]
    fn an_endpoint_counts_when_host_and_port_are_set() {
        let read = |endpoint: Value| {
            let object = object("C", json!({"spec": {"controlPlaneEndpoint": endpoint}}));
            InfraCluster::new(&object, V1Beta2)
                .control_plane_endpoint()
                .unwrap()
        };
        assert!(read(json!({"host": "", "port": 6443})).is_none());
        assert!(read(json!({"host": "h"})).is_none());
        assert!(read(json!({"host": "h", "port": 0})).is_none());
        assert!(read(json!({"host": "h", "port": 6443})).is_some());
    }

    #[test]
    fn failure_domains_of_both_contracts_come_out_sorted() {
        let old = object(
            "C",
            json!({"status": {"failureDomains": {"b": {"controlPlane": true}, "a": {}}}}),
        );
        let new = object(
            "C",
            json!({"status": {"failureDomains": [{"name": "b", "controlPlane": true}, {"name": "a"}]}}),
        );
        let old = InfraCluster::new(&old, V1Beta1).failure_domains().unwrap();
        let new = InfraCluster::new(&new, V1Beta2).failure_domains().unwrap();
        assert_eq!(old, new);
        assert_eq!(
            new.iter().map(|d| d.name.as_str()).collect::<Vec<_>>(),
            ["a", "b"]
        );
    }

    #[test]
    fn a_wrong_type_names_object_and_path() {
        let object = object("M", json!({"spec": {"providerID": 3}}));
        let error = InfraMachine::new(&object, V1Beta2).provider_id().unwrap_err();
        assert_eq!(
            error.to_string(),
            "M ns/x: spec.providerID should be a string; ask its provider, this breaks the contract"
        );
    }

    #[test]
    fn bootstrap_data_is_found_by_contract() {
        let data = json!({"status": {"ready": true, "dataSecretName": "s"}});
        let object = object("B", data);
        let config = BootstrapConfig::new(&object, V1Beta1);
        assert_eq!(
            (config.data_secret_created(), config.data_secret_name()),
            (Ok(true), Ok(Some("s")))
        );
    }
}
