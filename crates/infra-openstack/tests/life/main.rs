//! The whole provider on the embedded API server: [`scenarios`] run on the OpenStack in this process and on a real one.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests fail like tests"
)]

mod adoption;
mod place;
mod scenarios;
mod simulation;
mod system;
mod templates;

use adoption::what_upstream_made_goes_on_without_a_change;
use scenarios::*;

/// Tests of each scenario, in this process and on a real OpenStack.
macro_rules! everywhere {
    ($($scenario:ident),* $(,)?) => {
        mod here {
            $(#[test] fn $scenario() { crate::place::here(|system| Box::pin(crate::$scenario(system))); })*
        }
        mod on_a_real_openstack {
            $(#[test] fn $scenario() { crate::place::there(|system| Box::pin(crate::$scenario(system))); })*
        }
    };
}

everywhere!(
    a_cluster_with_machines_comes_up_and_leaves_nothing,
    machines_have_volumes_groups_trunks_and_tags,
    a_bastion_comes_and_goes,
    a_pool_gives_floating_ips_and_takes_them_back,
    wrong_credentials_are_said_and_forgiven_when_the_secret_is_corrected,
    quotas_are_quoted_and_more_of_them_is_enough,
    what_upstream_made_goes_on_without_a_change,
);
