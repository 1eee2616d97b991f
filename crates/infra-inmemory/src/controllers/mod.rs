//! The controllers: DevCluster and DevMachine turn into calls on the simulated [`crate::backend::World`].

pub mod devcluster;
pub mod devmachine;
mod secrets;

use capi_api::conditions::{self, ConditionsAccess};
use capi_runtime::{Kind, meta};
use jiff::Timestamp;

/// The object as it is once this provider took charge of it: with the finalizer, and said not to be paused. These two
/// go out together with what else there is to report, which saves a write per object.
fn taken_in_charge<K: Kind + ConditionsAccess>(object: &K, finalizer: &str, now: Timestamp) -> K {
    let mut after = object.clone();
    meta::add_finalizer(after.meta_mut(), finalizer);
    let (_, not_paused) = meta::paused_condition(&K::kind(&()), false, object.meta());
    conditions::set(&mut after, not_paused, now);
    after
}

/// Whether an object must be left alone.
fn is_paused(cluster_paused: bool, object: &impl Kind) -> bool {
    cluster_paused || meta::has_paused_annotation(object.meta())
}
