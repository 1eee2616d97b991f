//! The flags that all provider managers share.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

use clap::{Args, Command, FromArgMatches};

/// For providers without flags of their own.
#[derive(Args, Clone, Debug, Default)]
pub struct NoFlags {}

/// Upstream's flags of provider managers.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Watch and reconcile objects of this namespace only
    #[arg(long)]
    pub namespace: Option<String>,
    /// Reconcile only objects whose label cluster.x-k8s.io/watch-filter has this value
    #[arg(long)]
    pub watch_filter: Option<String>,
    /// How to reach the management cluster; without it $KUBECONFIG, ~/.kube/config or the service account
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Address of /healthz and /readyz; 0 switches it off
    #[arg(long, default_value = ":9440")]
    pub health_addr: String,
    /// Address of /metrics, over HTTPS for those whom the API server allows it; 0 switches it off
    #[arg(long, default_value = ":8443")]
    pub diagnostics_address: String,
    /// Serve /metrics over HTTP to everybody
    #[arg(long, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub insecure_diagnostics: bool,
    /// Port of the webhook server; 0 switches it off
    #[arg(long, default_value_t = 9443)]
    pub webhook_port: u16,
    /// Folder with tls.crt and tls.key for the webhook server; without it the manager issues its own certificate
    #[arg(long)]
    pub webhook_cert_dir: Option<PathBuf>,
    /// Switches features on or off: Name=true,Other=false
    #[arg(long, value_parser = parse_gates, default_value = "")]
    pub feature_gates: Gates,
    /// Log level, as klog counts: 4 and more is verbose
    #[arg(short = 'v', long = "v", default_value_t = 2)]
    pub verbosity: u8,
    /// text or json
    #[arg(long, default_value = "text")]
    pub logging_format: String,
    /// Concurrency per controller, from flags --<controller>-concurrency
    #[arg(skip)]
    pub concurrency: BTreeMap<String, usize>,
    /// Accepted for compatibility; replicas share the work by other means
    #[arg(long, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub leader_elect: bool,
    #[command(flatten)]
    ignored: Ignored,
}

/// Feature gates by name.
pub type Gates = BTreeMap<String, bool>;

macro_rules! ignored {
    ($($field:ident),* $(,)?) => {
        /// Flags of upstream that have no meaning here.
        #[derive(Args, Clone, Debug, Default)]
        struct Ignored {
            $(#[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true")] $field: Option<String>,)*
        }

        impl Ignored {
            fn given(&self) -> Vec<&'static str> {
                let mut given = Vec::new();
                $(if self.$field.is_some() { given.push(stringify!($field)); })*
                given
            }
        }
    };
}

ignored!(
    leader_elect_lease_duration,
    leader_elect_renew_deadline,
    leader_elect_retry_period,
    profiler_address,
    contention_profiling,
    sync_period,
    kube_api_qps,
    kube_api_burst,
    clustercache_client_qps,
    clustercache_client_burst,
    clustercache_concurrency,
    webhook_cert_name,
    webhook_key_name,
    tls_min_version,
    tls_cipher_suites,
    skip_crd_migration_phases,
    remote_connection_grace_period,
    remote_conditions_grace_period,
);

fn parse_gates(text: &str) -> Result<Gates, String> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let wrong = || format!("{pair:?} should be like Name=true");
            let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
            Ok((name.to_owned(), value.parse().map_err(|_| wrong())?))
        })
        .collect()
}

impl Flags {
    /// Reads the command line: shared flags and the provider's own.
    pub fn parse<F: Args>(
        name: &'static str,
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<(Self, F), clap::Error> {
        let (arguments, concurrency) = take_concurrency(arguments);
        let command = Command::new(name)
            .about("A manager of Cluster API objects. --<controller>-concurrency N sets how many it works on at a time.");
        let command = F::augment_args(<Self as Args>::augment_args(command));
        let matches = command.try_get_matches_from(arguments)?;
        let mut flags = Self::from_arg_matches(&matches)?;
        flags.concurrency = concurrency;
        for flag in flags.ignored.given() {
            tracing::debug!(flag, "ignored: it has no meaning in this implementation");
        }
        Ok((flags, F::from_arg_matches(&matches)?))
    }
}

/// Takes out `--x-concurrency N` and `--x-concurrency=N`: which there are depends on the controllers registered.
fn take_concurrency(
    arguments: impl IntoIterator<Item = OsString>,
) -> (Vec<OsString>, BTreeMap<String, usize>) {
    let mut rest = Vec::new();
    let mut found = BTreeMap::new();
    let mut arguments = arguments.into_iter().peekable();
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy().into_owned();
        let (flag, value) = match text.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
            None => (text, None),
        };
        let controller = flag
            .strip_prefix("--")
            .and_then(|flag| flag.strip_suffix("-concurrency"))
            .filter(|controller| *controller != "clustercache");
        let Some(controller) = controller else {
            rest.push(argument);
            continue;
        };
        let next = value
            .clone()
            .or_else(|| arguments.peek().map(|next| next.to_string_lossy().into_owned()));
        match next.and_then(|number| number.parse().ok()) {
            Some(number) => {
                if value.is_none() {
                    arguments.next();
                }
                found.insert(controller.to_owned(), number);
            }
            // Let clap complain about it.
            None => rest.push(argument),
        }
    }
    (rest, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Flags, clap::Error> {
        let arguments = ["manager"].iter().chain(arguments).map(OsString::from);
        Flags::parse::<NoFlags>("manager", arguments).map(|(flags, _)| flags)
    }

    #[test]
    fn upstreams_manifests_are_understood() {
        let flags = parse(&[
            "--leader-elect",
            "--diagnostics-address=:8443",
            "--insecure-diagnostics=false",
            "--feature-gates=MachinePool=true,ClusterTopology=false",
            "--sync-period=10m",
            "--kube-api-qps=100",
            "--clustercache-concurrency=100",
            "--machine-concurrency=7",
            "--machineset-concurrency",
            "8",
            "--namespace=",
            "--v=4",
        ])
        .unwrap();
        assert!(flags.leader_elect && !flags.insecure_diagnostics);
        assert_eq!(
            flags.concurrency,
            [("machine".to_owned(), 7), ("machineset".to_owned(), 8)].into()
        );
        assert_eq!(flags.feature_gates.get("ClusterTopology"), Some(&false));
        assert_eq!(flags.verbosity, 4);
    }

    #[test]
    fn wrong_flags_are_refused() {
        for wrong in [
            "--no-such-flag",
            "--webhook-port=x",
            "--feature-gates=A",
            "--machine-concurrency=many",
        ] {
            assert!(parse(&[wrong]).is_err(), "{wrong}");
        }
    }
}
