//! The kubeadm control plane provider as a process of its own.

use std::{process::ExitCode, time::Duration};

use controlplane_kubeadm::{Settings, workload::etcd::Timeouts};

/// Flags of this provider.
#[derive(Debug, clap::Args)]
struct Flags {
    /// How long to wait for a connection to an etcd member, in seconds or as Go writes durations (10s).
    #[arg(long = "etcd-dial-timeout-duration", default_value = "10s", value_parser = duration)]
    etcd_dial_timeout: Duration,
    /// How long to wait for an answer of an etcd member.
    #[arg(long = "etcd-call-timeout-duration", default_value = "15s", value_parser = duration)]
    etcd_call_timeout: Duration,
    /// How long conditions that come from a workload cluster stay after it was last reached.
    #[arg(long = "remote-conditions-grace-period", default_value = "5m", value_parser = duration)]
    remote_conditions_grace_period: Duration,
    /// Accepted for compatibility; logging is set by the general flags.
    #[arg(long = "etcd-client-log-level", default_value = "info", hide = true)]
    _etcd_client_log_level: String,
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
    capi_runtime::cli::run_with::<Flags>(
        "capi-kubeadm-control-plane-controller-manager",
        |manager, flags| {
            let settings = Settings {
                etcd_timeouts: Timeouts {
                    dial: flags.etcd_dial_timeout,
                    call: flags.etcd_call_timeout,
                },
                remote_conditions_grace_period: flags.remote_conditions_grace_period,
                ..Settings::default()
            };
            controlplane_kubeadm::register_with(manager, settings);
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, seconds) in [
            ("15s", 15),
            ("5m", 300),
            ("1h30m", 5400),
            ("90", 90),
            ("1m30s", 90),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert!(duration("soon").is_err());
    }
}
