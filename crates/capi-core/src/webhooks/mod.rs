//! Defaults and validation of the core kinds: pure functions, one file a kind, and their registration.
//!
//! The controllers call the same defaults ([`machine_set::default_in_place`] and its kin), so that objects that came
//! past the webhook work too.

pub mod cluster;
pub mod cluster_resource_set;
pub mod cluster_resource_set_binding;
pub mod machine;
pub mod machine_deployment;
pub mod machine_health_check;
pub mod machine_set;
mod rules;

use async_trait::async_trait;
use capi_api::{
    addons::v1beta2::{ClusterResourceSet, ClusterResourceSetBinding},
    core::v1beta2::{Cluster, Machine, MachineDeployment, MachineHealthCheck, MachineSet},
};
use capi_runtime::{
    Manager,
    webhook::{Defaulter, Request, Validator, Verdict},
};

/// Registers defaults and validation of all kinds of this provider.
pub fn register(manager: &mut Manager) {
    manager.webhook::<Cluster>(Rules, Rules);
    manager.webhook::<Machine>(Rules, Rules);
    manager.webhook::<MachineSet>(Rules, Rules);
    manager.webhook::<MachineDeployment>(Rules, Rules);
    manager.webhook::<MachineHealthCheck>(Rules, Rules);
    manager.webhook::<ClusterResourceSet>(Rules, Rules);
    manager.webhook::<ClusterResourceSetBinding>(Rules, Rules);
}

/// The rules of this module as an admission plug-in.
struct Rules;

macro_rules! admit {
    ($kind:ty, $rules:ident) => {
        #[async_trait]
        impl Defaulter<$kind> for Rules {
            async fn default(
                &self,
                _: &Request,
                old: Option<&$kind>,
                object: &mut $kind,
            ) -> Result<(), String> {
                $rules::default(object, old);
                Ok(())
            }
        }

        #[async_trait]
        impl Validator<$kind> for Rules {
            async fn create(&self, _: &Request, new: &$kind) -> Verdict {
                Verdict::of($rules::validate(new, None))
            }

            async fn update(&self, _: &Request, old: &$kind, new: &$kind) -> Verdict {
                Verdict::of($rules::validate(new, Some(old)))
            }
        }
    };
}

admit!(Cluster, cluster);
admit!(Machine, machine);
admit!(MachineSet, machine_set);
admit!(MachineDeployment, machine_deployment);
admit!(MachineHealthCheck, machine_health_check);
admit!(ClusterResourceSet, cluster_resource_set);
admit!(ClusterResourceSetBinding, cluster_resource_set_binding);
