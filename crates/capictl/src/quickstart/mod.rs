//! `capictl quickstart`: an API server, all providers and a first cluster in one process, nothing else needed.

pub mod manifest;
pub mod plane;
pub mod progress;
pub mod timeline;

use std::{fmt, path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use console::style;
use seams::{Clock as _, SystemClock};
use tokio::time::Instant;

use crate::{
    cli::{QuickstartArgs, print},
    describe,
    inventory::Kinds,
    quickstart::{
        plane::Plane,
        progress::{Progress, View, critical_path, seconds},
        timeline::Timeline,
    },
};

const DEFAULT_MANIFEST: &str = include_str!("../../../../docs/quickstart.yaml");

/// How often the display looks at the objects.
const GLANCE: Duration = Duration::from_millis(100);

/// A Cluster to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Runs the command.
pub async fn run(args: QuickstartArgs) -> anyhow::Result<ExitCode> {
    let (text, origin) = match &args.manifest {
        Some(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            (text, path.display().to_string())
        }
        None => (DEFAULT_MANIFEST.to_owned(), "the built-in manifest".to_owned()),
    };
    let objects = manifest::parse(&text, &origin)?;
    if !manifest::has_cluster(&objects) {
        bail!("{origin} holds no Cluster: there would be nothing to bring up");
    }
    plane::init_logs();

    let plane = Plane::start(args.listen).await?;
    plane.write_kubeconfig(&args.kubeconfig_out)?;
    print(&format!(
        "API server with all providers on {} (export KUBECONFIG={})\n",
        plane.url(),
        args.kubeconfig_out.display()
    ));
    let outcome = tokio::select! {
        biased;
        (signal, code) = asked_to_end() => {
            let kubeconfig = args.kubeconfig_out.display();
            print(&format!("\n{signal}: the API server, its clusters and {kubeconfig} are gone.\n"));
            Ok(ExitCode::from(code))
        }
        outcome = bring_up(&plane, &args, objects) => outcome,
    };
    plane.stop().await;
    // The file describes a server that is gone.
    let _ = std::fs::remove_file(&args.kubeconfig_out);
    outcome
}

/// Waits for Ctrl-C or for whoever ends processes; returns which, and the exit code that shells know it by.
async fn asked_to_end() -> (&'static str, u8) {
    let terminated = async {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut signals) => {
                signals.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => ("Interrupted", 130),
        () = terminated => ("Terminated", 143),
    }
}

async fn bring_up(
    plane: &Plane,
    args: &QuickstartArgs,
    objects: Vec<kube::core::DynamicObject>,
) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    let clusters = manifest::apply(&plane.client(), objects).await?;
    let kinds = Kinds::discover(&plane.client()).await?;
    let mut timeline = Timeline::default();
    let available = wait(plane, &kinds, &clusters, &mut timeline, start, args.timeout).await?;

    let mut verdicts = Vec::new();
    for cluster in &clusters {
        let inventory = kinds.read(&plane.client(), &cluster.namespace).await?;
        let description = describe::of_inventory(&inventory, &cluster.name, false, SystemClock.now())?;
        let reached = timeline.at("Cluster", &cluster.namespace, &cluster.name, "available");
        if let Some((at, object)) = reached.zip(inventory.cluster(&cluster.name)) {
            print(&format!(
                "\n{}",
                critical_path(&timeline.critical_path(&inventory, object))
            ));
            let running = inventory.of_kind("Machine").filter(|m| {
                m.text("/spec/clusterName") == Some(&cluster.name)
                    && m.text("/status/phase") == Some("Running")
            });
            verdicts.push(format!(
                "Cluster {cluster} Available: {} machines Running in {}",
                running.count(),
                seconds_of(at)
            ));
        } else {
            let cause = description
                .cause
                .map_or_else(|| "no cause found".to_owned(), |c| c.to_string());
            verdicts.push(cause);
        }
        print(&format!("\n{}", description.text));
    }
    if !args.exit {
        print(&how_to_go_on(&clusters, &args.kubeconfig_out));
    }
    // Clusters that did not come up last: their cause is the last line.
    verdicts.sort_by_key(|v| !v.starts_with("Cluster ") || !v.contains(" Available: "));
    print(&format!("\n{}\n", verdicts.join("\n")));
    match (args.exit, available) {
        (true, true) => Ok(ExitCode::SUCCESS),
        (true, false) => Ok(ExitCode::FAILURE),
        (false, _) => std::future::pending().await,
    }
}

/// `T s`, with one decimal.
fn seconds_of(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// Watches the clusters until all are Available with all their machines (true) or the time is over (false).
async fn wait(
    plane: &Plane,
    kinds: &Kinds,
    clusters: &[Subject],
    timeline: &mut Timeline,
    start: Instant,
    timeout: Duration,
) -> anyhow::Result<bool> {
    let mut progress = Progress::new();
    loop {
        let elapsed = start.elapsed();
        let mut inventories = Vec::new();
        let mut new = Vec::new();
        for cluster in clusters {
            let inventory = kinds.read(&plane.client(), &cluster.namespace).await?;
            new.extend(timeline.note(&inventory, elapsed));
            inventories.push(inventory);
        }
        progress.show(
            &View {
                clusters,
                inventories: &inventories,
                timeline,
                elapsed,
            },
            &new,
        );
        if clusters.iter().all(|c| {
            timeline
                .at("Cluster", &c.namespace, &c.name, "available")
                .is_some()
        }) {
            return Ok(true);
        }
        if elapsed >= timeout {
            print(&format!(
                "\nNot all Clusters were Available with all their machines within {}.\n",
                seconds(timeout)
            ));
            return Ok(false);
        }
        plane.check()?;
        tokio::time::sleep(GLANCE).await;
    }
}

fn how_to_go_on(clusters: &[Subject], kubeconfig: &Path) -> String {
    let Some(Subject { namespace, name }) = clusters.first() else {
        return String::new();
    };
    let kubeconfig = kubeconfig.display();
    format!(
        "\n{}
  export KUBECONFIG={kubeconfig}
  kubectl get clusters,machinedeployments,machines -n {namespace} -o wide
  kubectl scale machinedeployment -n {namespace} --all --replicas 3
  capictl describe cluster {name} -n {namespace}
  capictl get kubeconfig {name} -n {namespace} > {name}-workload.kubeconfig
  kubectl --kubeconfig {name}-workload.kubeconfig get nodes
  kubectl delete cluster {name} -n {namespace}
Serving until Ctrl-C.
",
        style("How to go on, in another terminal:").bold()
    )
}
