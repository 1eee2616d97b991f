//! The kubeadm bootstrap provider as a manager of its own.

use std::process::ExitCode;

use bootstrap_kubeadm::Options;
use jiff::SignedDuration;

/// Flags of this provider.
#[derive(clap::Args)]
struct BootstrapFlags {
    /// How long bootstrap tokens work, for example 15m.
    #[arg(long = "bootstrap-token-ttl", default_value = "15m")]
    token_ttl: SignedDuration,
}

fn main() -> ExitCode {
    capi_runtime::cli::run_with::<BootstrapFlags>(
        "capi-kubeadm-bootstrap-controller-manager",
        |manager, flags| {
            bootstrap_kubeadm::register_with(
                manager,
                Options {
                    token_ttl: flags.token_ttl,
                },
            );
        },
    )
}
