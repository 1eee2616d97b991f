//! What would run on the servers of the OpenStack lab, where nothing boots: `openstack_guests --servers $LAB_DIR/servers
//! --clouds $LAB_DIR/clouds.yaml --cloud lab`.
//!
//! The lab writes what Nova gave each server (name, user data, addresses) to a file. This program reads these files as
//! the guests would: cloud-init and kubeadm are judged by the code of the in-memory provider, which refuses what they
//! would refuse. A server that passes becomes a Node, with the provider id that its kubelet was told, of a simulated
//! workload cluster; a server that disappears takes its processes with it. Nothing is known but what the guest itself
//! would know: no management cluster is asked.
//!
//! The workload cluster is served at the address of its control-plane endpoint, as an address of the loopback device
//! (hence as root), while OpenStack's records lead from there to a server whose API server runs.
//!
//! [`guests`] is what servers do, [`server`] the files, [`addresses`] the loopback device, [`route`] OpenStack's records.

mod addresses;
mod guests;
mod route;
mod server;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use cluster_pki::FreshKeys;
use infra_inmemory::{World, backend::WorldSettings};
use seams::{SharedClock, SharedRandomness, SystemClock, SystemRandomness};
use tokio::signal::unix::{SignalKind, signal};

use self::{addresses::LoopbackAddresses, guests::Guests, route::Routes};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Plays the guests of the OpenStack lab.
#[derive(Debug, Parser)]
#[command(name = "openstack_guests")]
struct Args {
    /// The folder with a file for each server
    #[arg(long)]
    servers: PathBuf,
    /// The clouds.yaml of the project that the servers are in
    #[arg(long)]
    clouds: PathBuf,
    /// Its entry
    #[arg(long, default_value = "lab")]
    cloud: String,
    /// Seconds between two looks at where OpenStack leads the traffic
    #[arg(long, default_value_t = 2)]
    route_seconds: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let clock: SharedClock = Arc::new(SystemClock);
    let randomness: SharedRandomness = Arc::new(SystemRandomness);
    let clouds = std::fs::read(&args.clouds).with_context(|| args.clouds.display().to_string())?;
    let routes = Routes::new(&clouds, &args.cloud, clock.clone(), randomness.clone())?;
    let addresses = Arc::new(LoopbackAddresses::default());
    let world = World::new(WorldSettings {
        clock: clock.clone(),
        randomness,
        keys: Arc::new(FreshKeys),
        endpoints: addresses.clone(),
        host: "127.0.0.1".to_owned(),
    });
    let mut guests = Guests::new(world, clock, routes, Duration::from_secs(args.route_seconds));
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        tokio::select! {
            biased;
            _ = terminate.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
            () = tokio::time::sleep(LOOK) => guests.follow(server::read_all(&args.servers)?).await,
        }
    }
    addresses.remove_all();
    Ok(())
}
