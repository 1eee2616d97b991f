//! The core provider as a process of its own.

use std::{process::ExitCode, time::Duration};

use capi_core::{
    Settings,
    controllers::{machine::KeyPatterns, machine_set::preflight},
};

/// Flags of this provider.
#[derive(Debug, clap::Args)]
struct Flags {
    /// For how long after the last good probe a workload cluster still counts as reachable.
    #[arg(long = "remote-connection-grace-period", default_value = "50s", value_parser = duration)]
    remote_connection_grace: Duration,
    /// For how long what was last seen of a workload cluster's Nodes counts without a connection.
    #[arg(long = "remote-conditions-grace-period", default_value = "5m", value_parser = duration)]
    remote_conditions_grace: Duration,
    /// Regular expressions for keys of Machine labels to copy to Nodes besides those of the well-known domains
    #[arg(long = "additional-sync-machine-labels", value_delimiter = ',', value_parser = pattern)]
    sync_labels: Vec<String>,
    /// Regular expressions for keys of Machine annotations to copy to Nodes
    #[arg(long = "additional-sync-machine-annotations", value_delimiter = ',', value_parser = pattern)]
    sync_annotations: Vec<String>,
    /// Checks to make before Machines are created: All, or names
    #[arg(long = "machineset-preflight-checks", value_delimiter = ',', default_value = "All", value_parser = check)]
    preflight_checks: Vec<String>,
}

/// A regular expression that compiles.
fn pattern(text: &str) -> Result<String, String> {
    KeyPatterns::compile(&[text]).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

/// The name of a preflight check.
fn check(text: &str) -> Result<String, String> {
    match text.is_empty() || preflight::is_known(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("must be among {}", preflight::NAMES.join(", "))),
    }
}

/// Reads `90`, `90s`, `5m`, `1h30m`.
fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let span: jiff::SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    Duration::try_from(span).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    capi_runtime::cli::run_with::<Flags>("capi-controller-manager", |manager, flags| {
        let mut settings = Settings::default();
        settings.cluster.remote_connection_grace = flags.remote_connection_grace;
        settings.machine.remote_conditions_grace = flags.remote_conditions_grace;
        // The flags' parser has compiled them once.
        settings.machine.sync_labels = KeyPatterns::compile(&flags.sync_labels).unwrap_or_default();
        settings.machine.sync_annotations = KeyPatterns::compile(&flags.sync_annotations).unwrap_or_default();
        settings.machine_set.preflight_checks = flags.preflight_checks.iter().cloned().collect();
        capi_core::register_with(manager, settings);
    })
}
