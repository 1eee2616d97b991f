//! How far a configuration has come, as its conditions tell it: today's and the older ones.

use capi_api::bootstrap::v1beta2::{KubeadmConfig, KubeadmConfigInitializationStatus};
use capi_api::conditions::v1beta1::{self, Severity};
use capi_api::conditions::{Draft, Part, Reasons, reasons, set_in, summary, types};
use jiff::Timestamp;

/// The user data is there. On the wire.
const DATA_SECRET_AVAILABLE: &str = "DataSecretAvailable";

/// How it stands with the user data.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    /// It is in the Secret of this name.
    Available(String),
    /// The cluster's infrastructure is awaited.
    WaitsForInfrastructure(String),
    /// The control plane is awaited.
    WaitsForControlPlane(String),
    /// Somebody has to mend something.
    Failed(String),
}

/// How it stands with the certificates.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum CertificatesState {
    /// All are there.
    Available,
    /// Those that are not made here are not there.
    Missing(String),
    /// One cannot be used.
    Corrupted(String),
}

/// What the status is to say.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Report {
    /// The user data; none leaves what was said before.
    pub data: Option<Data>,
    /// The certificates; none leaves what was said before.
    pub certificates: Option<CertificatesState>,
}

impl Report {
    /// All is there.
    pub fn available(secret: impl Into<String>) -> Self {
        Self {
            data: Some(Data::Available(secret.into())),
            certificates: Some(CertificatesState::Available),
        }
    }

    /// Only the data's state.
    pub fn data(data: Data) -> Self {
        Self {
            data: Some(data),
            certificates: None,
        }
    }

    /// Writes the report into the status. `generation` is the one that was looked at.
    pub fn write(&self, config: &mut KubeadmConfig, generation: Option<i64>, now: Timestamp) {
        if *self == Self::default() {
            return;
        }
        let status = config.status.get_or_insert_default();
        if let Some(Data::Available(secret)) = &self.data {
            status.data_secret_name = Some(secret.clone());
            status.initialization = Some(KubeadmConfigInitializationStatus {
                data_secret_created: Some(true),
            });
        }
        status.observed_generation = generation.filter(|g| *g > 0);
        let conditions = &mut status.conditions;
        let data = self.data.as_ref().map(data_draft);
        let certificates = self.certificates.as_ref().map(certificates_draft);
        for draft in data.into_iter().chain(certificates) {
            set_in(conditions, draft, generation, now);
        }
        let parts = [
            Part::positive(DATA_SECRET_AVAILABLE),
            Part::positive(types::CERTIFICATES_AVAILABLE),
        ];
        let ready = summary(conditions, types::READY, &parts, &Reasons::READY);
        set_in(conditions, ready, generation, now);
        self.write_older(config, now);
    }

    fn write_older(&self, config: &mut KubeadmConfig, now: Timestamp) {
        let deprecated = config
            .status
            .get_or_insert_default()
            .deprecated
            .get_or_insert_default();
        let conditions = &mut deprecated.v1beta1.get_or_insert_default().conditions;
        if let Some(data) = &self.data {
            v1beta1::set_in(conditions, older_data(data), now);
        }
        if let Some(certificates) = &self.certificates {
            v1beta1::set_in(conditions, older_certificates(certificates), now);
        }
        let parts = [DATA_SECRET_AVAILABLE, types::CERTIFICATES_AVAILABLE];
        if let Some(ready) = v1beta1::summary(conditions, &parts, None) {
            v1beta1::set_in(conditions, ready, now);
        }
    }
}

fn data_draft(data: &Data) -> Draft {
    match data {
        Data::Available(_) => Draft::is_true(DATA_SECRET_AVAILABLE, reasons::AVAILABLE, ""),
        Data::WaitsForInfrastructure(message)
        | Data::WaitsForControlPlane(message)
        | Data::Failed(message) => Draft::is_false(DATA_SECRET_AVAILABLE, reasons::NOT_AVAILABLE, message),
    }
}

fn certificates_draft(state: &CertificatesState) -> Draft {
    let type_ = types::CERTIFICATES_AVAILABLE;
    match state {
        CertificatesState::Available => Draft::is_true(type_, reasons::AVAILABLE, ""),
        CertificatesState::Missing(message) | CertificatesState::Corrupted(message) => {
            Draft::is_unknown(type_, reasons::INTERNAL_ERROR, message)
        }
    }
}

fn older_data(data: &Data) -> v1beta1::V1Beta1Condition {
    let type_ = DATA_SECRET_AVAILABLE;
    match data {
        Data::Available(_) => v1beta1::is_true(type_),
        Data::WaitsForInfrastructure(_) => {
            v1beta1::is_false(type_, "WaitingForClusterInfrastructure", Severity::Info, "")
        }
        Data::WaitsForControlPlane(_) => {
            v1beta1::is_false(type_, "WaitingForControlPlaneAvailable", Severity::Info, "")
        }
        Data::Failed(message) => v1beta1::is_false(
            type_,
            "DataSecretGenerationFailed",
            Severity::Warning,
            message.clone(),
        ),
    }
}

fn older_certificates(state: &CertificatesState) -> v1beta1::V1Beta1Condition {
    let type_ = types::CERTIFICATES_AVAILABLE;
    match state {
        CertificatesState::Available => v1beta1::is_true(type_),
        CertificatesState::Missing(message) => v1beta1::is_false(
            type_,
            "CertificatesGenerationFailed",
            Severity::Warning,
            message.clone(),
        ),
        CertificatesState::Corrupted(message) => {
            v1beta1::is_false(type_, "CertificatesCorrupted", Severity::Error, message.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reports: &[Report]) -> Vec<String> {
        let mut config = KubeadmConfig::default();
        for report in reports {
            report.write(&mut config, Some(3), Timestamp::UNIX_EPOCH);
        }
        let status = config.status.unwrap_or_default();
        let older = status
            .deprecated
            .and_then(|d| d.v1beta1)
            .unwrap_or_default()
            .conditions;
        let today = status
            .conditions
            .iter()
            .map(|c| format!("{} {} {}: {}", c.type_, c.status, c.reason, c.message));
        let older = older.iter().map(|c| {
            format!(
                "old {} {} {}",
                c.type_,
                c.status,
                c.reason.clone().unwrap_or_default()
            )
        });
        today.chain(older).collect()
    }

    #[test]
    fn ready_sums_up_data_and_certificates() {
        let waits = Report::data(Data::WaitsForInfrastructure("Waiting for it".to_owned()));
        assert_eq!(
            written(std::slice::from_ref(&waits)),
            [
                "Ready False NotReady: * DataSecretAvailable: Waiting for it\n* CertificatesAvailable: Condition not yet reported",
                "DataSecretAvailable False NotAvailable: Waiting for it",
                "old Ready False WaitingForClusterInfrastructure",
                "old DataSecretAvailable False WaitingForClusterInfrastructure",
            ]
        );
        assert_eq!(
            written(&[waits, Report::available("s")]),
            [
                "Ready True Ready: ",
                "CertificatesAvailable True Available: ",
                "DataSecretAvailable True Available: ",
                "old Ready True ",
                "old CertificatesAvailable True ",
                "old DataSecretAvailable True ",
            ]
        );
        assert!(
            written(&[Report::default()]).is_empty(),
            "an empty report writes nothing"
        );
    }

    #[test]
    fn a_corrupted_certificate_is_unknown_today_and_an_error_before() {
        let report = Report {
            data: None,
            certificates: Some(CertificatesState::Corrupted("x".to_owned())),
        };
        assert!(written(&[report]).contains(&"CertificatesAvailable Unknown InternalError: x".to_owned()));
    }
}
