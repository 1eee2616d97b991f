//! What others refuse: quotas and webhooks.

use std::sync::Arc;

use async_trait::async_trait;
use e2e::scenario::{self, SMALL};
use embedded_apiserver::{Admission, AdmissionPhase};
use kube::core::{
    DynamicObject,
    admission::{AdmissionRequest, AdmissionResponse, Operation},
};

use super::{Case, case};

/// Refuses to create objects of a resource, as a full quota does.
struct Quota(&'static str);

#[async_trait]
impl Admission for Quota {
    fn name(&self) -> String {
        "quota.example.com".to_owned()
    }

    fn handles(
        &self,
        phase: AdmissionPhase,
        operation: &Operation,
        _: &str,
        _: &str,
        resource: &str,
    ) -> bool {
        matches!(
            (phase, operation),
            (AdmissionPhase::Validating, Operation::Create)
        ) && resource == self.0
    }

    async fn admit(&self, _: AdmissionPhase, request: AdmissionRequest<DynamicObject>) -> AdmissionResponse {
        AdmissionResponse::from(&request).deny(format!("the quota of {} is used up", self.0))
    }
}

fn full(what: &'static str, admission: fn() -> Arc<dyn Admission>) -> Case {
    Case {
        admission: Some(admission),
        ..case(what, |s| Box::pin(scenario::apply(s, SMALL)))
    }
}

pub fn cases() -> Vec<Case> {
    vec![
        full(
            "a webhook refuses infrastructure machines: the quota is full",
            || Arc::new(Quota("devmachines")),
        ),
        full("a webhook refuses Machines", || Arc::new(Quota("machines"))),
        full("a webhook refuses bootstrap configurations", || {
            Arc::new(Quota("kubeadmconfigs"))
        }),
        full("a webhook refuses Secrets", || Arc::new(Quota("secrets"))),
        full("a webhook refuses MachineSets", || Arc::new(Quota("machinesets"))),
    ]
}
