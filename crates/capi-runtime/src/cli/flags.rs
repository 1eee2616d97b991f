//! The flags that all provider managers share.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

use clap::{Arg, Args, Command, FromArgMatches};

/// For providers without flags of their own.
#[derive(Args, Clone, Debug, Default)]
pub struct NoFlags {}

/// Upstream's flags of provider managers.
#[derive(Args, Clone, Debug)]
#[group(skip)]
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
    /// Share the work with other replicas; without it, there must be no other
    #[arg(long, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub leader_elect: bool,
}

/// Feature gates by name.
pub type Gates = BTreeMap<String, bool>;

/// Flags of upstream that have no meaning here, unless the provider has one of that name itself.
const IGNORED: [&str; 18] = [
    "leader-elect-lease-duration",
    "leader-elect-renew-deadline",
    "leader-elect-retry-period",
    "profiler-address",
    "contention-profiling",
    "sync-period",
    "kube-api-qps",
    "kube-api-burst",
    "clustercache-client-qps",
    "clustercache-client-burst",
    "clustercache-concurrency",
    "webhook-cert-name",
    "webhook-key-name",
    "tls-min-version",
    "tls-cipher-suites",
    "skip-crd-migration-phases",
    "remote-connection-grace-period",
    "remote-conditions-grace-period",
];

/// Adds those of [`IGNORED`] that the command does not know yet.
fn with_ignored(command: Command) -> Command {
    let known: Vec<String> = command
        .get_arguments()
        .filter_map(|flag| flag.get_long().map(str::to_owned))
        .collect();
    let ignored = |name: &'static str| {
        Arg::new(name)
            .long(name)
            .hide(true)
            .num_args(0..=1)
            .default_missing_value("true")
    };
    let added = IGNORED
        .into_iter()
        .filter(|name| known.iter().all(|flag| flag != name));
    command.args(added.map(ignored))
}

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
        let command = with_ignored(F::augment_args(<Self as Args>::augment_args(command)));
        let matches = command.try_get_matches_from(arguments)?;
        let mut flags = Self::from_arg_matches(&matches)?;
        flags.concurrency = concurrency;
        let own = F::from_arg_matches(&matches)?;
        Ok((flags, own))
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

    mod provider {
        /// Named like the shared ones, and with a flag that other providers ignore.
        #[derive(clap::Args)]
        pub(super) struct Flags {
            #[arg(long, default_value = "5m")]
            pub remote_conditions_grace_period: String,
        }
    }

    #[test]
    fn a_provider_may_give_a_meaning_to_what_others_ignore() {
        let arguments = [
            "manager",
            "--remote-conditions-grace-period=90s",
            "--sync-period=1m",
        ];
        let (_, own) = Flags::parse::<provider::Flags>("manager", arguments.map(OsString::from)).unwrap();
        assert_eq!(own.remote_conditions_grace_period, "90s");
        assert!(parse(&["--remote-conditions-grace-period=90s"]).is_ok());
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
