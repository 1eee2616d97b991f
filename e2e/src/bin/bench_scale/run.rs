//! The course of the benchmark: create in batches, wait, let it rest, measure.

use std::{
    collections::BTreeSet,
    io::Read as _,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use futures::{StreamExt as _, TryStreamExt as _, pin_mut, stream};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::watcher,
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    Args,
    controllers::{Farewell, Providers},
    ledger::Counts,
    manifests::{self, NAMESPACE},
    plane::Plane,
    report::{self, Batch, Idle, Report},
    say,
    usage::Usage,
};

/// How many objects are created at a time.
const CREATORS: usize = 16;

/// How long a process with controllers may take to start, before it is measured.
const SETTLING: Duration = Duration::from_secs(3);

/// So long nothing may be written for the system to count as at rest.
const QUIET: Duration = Duration::from_secs(10);

/// Runs the benchmark and prints its report.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start tokio")?;
    runtime.block_on(bench(args))
}

/// The controllers' process; killed if the benchmark ends early.
struct Controllers(Child);

impl Controllers {
    fn start(plane: &Plane, under: &str, providers: Providers) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder for the kubeconfig")?;
        let path = folder.keep().join("kubeconfig");
        std::fs::write(&path, plane.kubeconfig.to_yaml()?).context("cannot write the kubeconfig")?;
        let program = std::env::current_exe().context("cannot tell the name of this program")?;
        let words: Vec<&str> = under.split_whitespace().collect();
        let mut command = match &words[..] {
            [] => Command::new(program),
            [first, others @ ..] => {
                let mut command = Command::new(first);
                command.args(others).arg(program);
                command
            }
        };
        let child = command
            .arg("--controllers")
            .arg(&path)
            .arg("--providers")
            .arg(providers.name())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the process with the controllers")?;
        Ok(Self(child))
    }

    fn usage(&mut self) -> anyhow::Result<Usage> {
        if let Some(status) = self.0.try_wait()? {
            bail!("the process with the controllers has ended: {status}");
        }
        Usage::of(self.0.id())
    }

    /// Ends the process; answers what it says at its end.
    fn stop(mut self) -> anyhow::Result<Farewell> {
        drop(self.0.stdin.take());
        let mut text = String::new();
        if let Some(mut out) = self.0.stdout.take() {
            out.read_to_string(&mut text)?;
        }
        let status = self.0.wait()?;
        if !status.success() {
            bail!("the process with the controllers ended badly: {status}");
        }
        let mut lines = text.lines().rev();
        lines
            .find_map(|line| serde_json::from_str(line).ok())
            .context("the controllers did not say what they did")
    }
}

impl Drop for Controllers {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn bench(args: &Args) -> anyhow::Result<()> {
    let plane = Plane::start().await?;
    let alone = idle_providers(&plane).await?;
    let before = plane.ledger.counts();
    let mut controllers = Controllers::start(&plane, &args.under, Providers::All)?;
    tokio::time::sleep(SETTLING).await;
    let empty = (controllers.usage()?, own()?);
    let available = Available::follow(plane.client());
    say(&format!(
        "{} clusters of {} machines, {} build; empty: controllers {:.0} MiB, API server and simulation {:.0} MiB",
        args.clusters,
        args.machines,
        report::profile(),
        empty.0.mebibytes(),
        empty.1.mebibytes()
    ));

    let start = Instant::now();
    let mut batches = Vec::new();
    let size = if args.batch == 0 {
        args.clusters
    } else {
        args.batch
    };
    let mut from = 0;
    while from < args.clusters {
        let to = (from + size).min(args.clusters);
        let batch = run_batch(args, &plane, &available, &mut controllers, from..to).await?;
        say(&batch.line());
        batches.push(batch);
        from = to;
    }
    running_machines(&plane.client(), args.clusters * args.machines, args.limit()).await?;
    let wall = start.elapsed();
    let counts = plane.ledger.counts().since_all(&before);

    let idle = rest(args, &plane, &mut controllers).await?;
    let farewell = controllers.stop()?;
    let report = Report {
        clusters: args.clusters,
        machines: args.machines,
        wall,
        empty,
        batches,
        counts,
        idle,
        alone,
        keys: plane.keys.count() + farewell.keys,
        reactions: farewell.reactions,
    };
    say(&report.text());
    Ok(())
}

/// What each provider takes in a process of its own, before there is anything to do.
async fn idle_providers(plane: &Plane) -> anyhow::Result<Vec<(Providers, Usage)>> {
    let mut alone = Vec::new();
    for providers in [Providers::Core, Providers::Bootstrap, Providers::ControlPlane] {
        let mut process = Controllers::start(plane, "", providers)?;
        tokio::time::sleep(SETTLING).await;
        alone.push((providers, process.usage()?));
        process.stop()?;
    }
    Ok(alone)
}

fn own() -> anyhow::Result<Usage> {
    Usage::of(std::process::id())
}

async fn run_batch(
    args: &Args,
    plane: &Plane,
    available: &Available,
    controllers: &mut Controllers,
    numbers: std::ops::Range<usize>,
) -> anyhow::Result<Batch> {
    let before = (controllers.usage()?, own()?);
    let start = Instant::now();
    let client = plane.client();
    stream::iter(numbers.clone())
        .map(|number| {
            create(
                &client,
                manifests::cluster(&manifests::name(number), args.machines),
            )
        })
        .buffer_unordered(CREATORS)
        .try_collect::<Vec<()>>()
        .await?;
    let created = start.elapsed();
    while available.count() < numbers.end {
        if start.elapsed() > args.limit() {
            bail!(
                "after {:?} only {} of {} clusters are Available",
                args.limit(),
                available.count(),
                numbers.end
            );
        }
        controllers.usage()?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let after = (controllers.usage()?, own()?);
    Ok(Batch {
        clusters: numbers.len(),
        total: numbers.end,
        created,
        wall: start.elapsed(),
        controllers: after.0.cpu - before.0.cpu,
        others: after.1.cpu - before.1.cpu,
        resident: (after.0, after.1),
    })
}

async fn create(client: &Client, objects: Vec<Value>) -> anyhow::Result<()> {
    for object in objects {
        let object: DynamicObject = serde_json::from_value(object)?;
        let types = object.types.clone().unwrap_or_default();
        let kind = GroupVersionKind::try_from(&types).context("a kind")?;
        let api: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), NAMESPACE, &ApiResource::from_gvk(&kind));
        api.create(&PostParams::default(), &object)
            .await
            .with_context(|| format!("cannot create {} {}", types.kind, object.name_any()))?;
    }
    Ok(())
}

fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("cluster.x-k8s.io", "v1beta2", kind))
}

/// The Clusters that are Available, as they become so.
struct Available(Arc<Mutex<BTreeSet<String>>>);

impl Available {
    fn follow(client: Client) -> Self {
        let names = Arc::new(Mutex::new(BTreeSet::new()));
        let known = names.clone();
        let api: Api<DynamicObject> = Api::namespaced_with(client, NAMESPACE, &resource("Cluster"));
        tokio::spawn(async move {
            let events = watcher(api, watcher::Config::default());
            pin_mut!(events);
            while let Some(event) = events.next().await {
                if let Ok(watcher::Event::Apply(cluster) | watcher::Event::InitApply(cluster)) = event {
                    let name = cluster.name_any();
                    match is_available(&cluster) {
                        true => known.lock().insert(name),
                        false => known.lock().remove(&name),
                    };
                }
            }
        });
        Self(names)
    }

    fn count(&self) -> usize {
        self.0.lock().len()
    }
}

fn is_available(cluster: &DynamicObject) -> bool {
    let conditions = cluster
        .data
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Available" && condition["status"] == "True")
}

/// Waits until exactly so many Machines are Running.
async fn running_machines(client: &Client, wanted: usize, limit: Duration) -> anyhow::Result<()> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &resource("Machine"));
    let start = Instant::now();
    loop {
        let machines = api.list(&ListParams::default()).await?.items;
        let running = machines
            .iter()
            .filter(|machine| machine.data["status"]["phase"] == "Running");
        let running = running.count();
        if (running, machines.len()) == (wanted, wanted) {
            return Ok(());
        }
        if start.elapsed() > limit {
            bail!(
                "{running} of {} Machines are Running, {wanted} should be",
                machines.len()
            );
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Waits until nothing is written any more, then watches the idle system.
async fn rest(args: &Args, plane: &Plane, controllers: &mut Controllers) -> anyhow::Result<Idle> {
    let start = Instant::now();
    while plane.ledger.quiet_for() < QUIET && start.elapsed() < args.limit() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let settled = start.elapsed().saturating_sub(QUIET);
    let before = (controllers.usage()?, own()?, plane.ledger.counts());
    let watched = Instant::now();
    tokio::time::sleep(args.idle()).await;
    let after = (controllers.usage()?, own()?, plane.ledger.counts());
    Ok(Idle {
        settled,
        watched: watched.elapsed(),
        controllers: (after.0, after.0.cpu - before.0.cpu),
        others: (after.1, after.1.cpu - before.1.cpu),
        writes: Counts::since(&after.2.writes, &before.2.writes),
        reads: Counts::since(&after.2.reads, &before.2.reads),
    })
}
