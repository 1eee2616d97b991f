//! Conditions of a whole object: which field they are in, and the object's generation beside them.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{Draft, get_in, set_in};

/// An object with `status.conditions`. Implement it with [`conditions_access!`](crate::conditions_access).
pub trait ConditionsAccess {
    /// The conditions, none if there is no status yet.
    fn conditions(&self) -> &[Condition];
    /// The conditions to write to; creates the status.
    fn conditions_mut(&mut self) -> &mut Vec<Condition>;
    /// `metadata.generation`.
    fn observed_generation(&self) -> Option<i64>;
}

/// Implements [`ConditionsAccess`] for kinds with `status: Option<_>` and `conditions: Vec<Condition>` in it.
#[macro_export]
macro_rules! conditions_access {
    ($($kind:ty),+ $(,)?) => {$(
        impl $crate::conditions::ConditionsAccess for $kind {
            fn conditions(&self) -> &[::k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition] {
                self.status.as_ref().map_or(&[], |status| &status.conditions)
            }
            fn conditions_mut(&mut self) -> &mut Vec<::k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
                &mut self.status.get_or_insert_default().conditions
            }
            fn observed_generation(&self) -> Option<i64> {
                self.metadata.generation
            }
        }
    )+};
}

/// The object's condition of a type.
pub fn get<'a>(object: &'a impl ConditionsAccess, type_: &str) -> Option<&'a Condition> {
    get_in(object.conditions(), type_)
}

/// Writes a condition; see [`set_in`]. Returns whether anything changed.
pub fn set(object: &mut impl ConditionsAccess, draft: Draft, now: Timestamp) -> bool {
    let generation = object.observed_generation();
    set_in(object.conditions_mut(), draft, generation, now)
}

/// Takes a condition away. Returns whether it was there.
pub fn remove(object: &mut impl ConditionsAccess, type_: &str) -> bool {
    if get(object, type_).is_none() {
        return false;
    }
    object.conditions_mut().retain(|c| c.type_ != type_);
    true
}

/// Whether the condition exists and is `True`.
pub fn is_true(object: &impl ConditionsAccess, type_: &str) -> bool {
    get(object, type_).is_some_and(|c| c.status == "True")
}

/// Whether the condition exists and is `False`.
pub fn is_false(object: &impl ConditionsAccess, type_: &str) -> bool {
    get(object, type_).is_some_and(|c| c.status == "False")
}

/// Whether the condition is absent or `Unknown`.
pub fn is_unknown(object: &impl ConditionsAccess, type_: &str) -> bool {
    get(object, type_).is_none_or(|c| c.status == "Unknown")
}

mod own_kinds {
    use crate::{
        addons::v1beta2::ClusterResourceSet,
        bootstrap::v1beta2::KubeadmConfig,
        controlplane::v1beta2::KubeadmControlPlane,
        core::v1beta2::{
            Cluster, ClusterClass, Machine, MachineDeployment, MachineHealthCheck, MachinePool, MachineSet,
        },
    };

    crate::conditions_access!(
        Cluster,
        ClusterClass,
        ClusterResourceSet,
        KubeadmConfig,
        KubeadmControlPlane,
        Machine,
        MachineDeployment,
        MachineHealthCheck,
        MachinePool,
        MachineSet,
    );
    crate::v1beta1_conditions_access!(
        Cluster,
        ClusterResourceSet,
        KubeadmConfig,
        KubeadmControlPlane,
        Machine,
        MachineDeployment,
        MachineHealthCheck,
        MachinePool,
        MachineSet,
    );
}
