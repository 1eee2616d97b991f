//! The OpenStack infrastructure provider as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    capi_runtime::cli::run("capo-controller-manager", infra_openstack::register)
}
