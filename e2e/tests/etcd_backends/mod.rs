//! The two backends of the etcd suite: the imitation, and processes of the real thing on loopback.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use etcd_api::Client;
use infra_inmemory::backend::{EtcdCluster, SimulatedMember};
use parking_lot::Mutex;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

/// Something that runs etcd members by name.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// A cluster with this one member.
    async fn found(&self, name: &str);
    /// Where the other members would reach a member of this name.
    fn peer_url(&self, name: &str) -> String;
    /// The process of a member that was added starts for the first time.
    async fn begin(&self, name: &str);
    /// Its process stops.
    async fn stop(&self, name: &str);
    /// Its process starts again, if it can.
    async fn resume(&self, name: &str);
    /// Its process stops and its data is gone.
    async fn lose(&self, name: &str);
    /// A connection to it.
    async fn connect(&self, name: &str) -> Result<Client, String>;
}

/// The imitation: clusters by the name of their founder.
#[derive(Default)]
pub struct Imitation {
    clusters: Mutex<BTreeMap<String, Arc<Mutex<EtcdCluster>>>>,
}

impl Imitation {
    /// The cluster of a member; all but founders belong to the first.
    fn cluster(&self, name: &str) -> Arc<Mutex<EtcdCluster>> {
        let clusters = self.clusters.lock();
        clusters.get(name).or(clusters.values().next()).unwrap().clone()
    }
}

#[async_trait]
impl Backend for Imitation {
    async fn found(&self, name: &str) {
        let mut cluster = EtcdCluster::default();
        let mut next = self.clusters.lock().len() as u64 * 1000;
        let fresh = || {
            next += 100;
            next
        };
        cluster.start(name, fresh).unwrap();
        self.clusters
            .lock()
            .insert(name.to_owned(), Arc::new(Mutex::new(cluster)));
    }

    fn peer_url(&self, name: &str) -> String {
        format!("https://{name}:2380")
    }

    async fn begin(&self, name: &str) {
        let cluster = self.cluster(name);
        cluster.lock().begin(name, &self.peer_url(name)).unwrap();
    }

    async fn stop(&self, name: &str) {
        self.cluster(name).lock().stop(name);
    }

    async fn resume(&self, name: &str) {
        self.cluster(name).lock().resume(name);
    }

    async fn lose(&self, name: &str) {
        self.cluster(name).lock().lose(name);
    }

    async fn connect(&self, name: &str) -> Result<Client, String> {
        let cluster = self.cluster(name);
        // Where no process runs nobody listens.
        if !cluster.lock().is_running(name) {
            return Err("connection refused".to_owned());
        }
        let (near, far) = tokio::io::duplex(4096);
        let member = SimulatedMember::new(cluster, name, Box::new(|| Box::pin(async {})));
        tokio::spawn(etcd_api::serve(far, Arc::new(member)));
        Client::connect(near, name)
            .await
            .map_err(|error| error.to_string())
    }
}

/// The etcd binary, wherever the other tests against real servers would find it.
pub fn real_etcd() -> Option<PathBuf> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let cache = std::env::var_os("ENVTEST_CACHE")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/capi-rs/envtest")));
    let built = cache
        .and_then(|cache| std::fs::read_dir(cache).ok())
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = assets.into_iter().chain(built).collect();
    folders.extend(std::env::split_paths(&path));
    folders
        .into_iter()
        .map(|folder| folder.join("etcd"))
        .find(|binary| binary.is_file())
}

/// Real processes. Whatever happens, they end with the test.
pub struct Processes {
    binary: PathBuf,
    folder: tempfile::TempDir,
    members: Mutex<BTreeMap<String, Process>>,
}

struct Process {
    client_port: u16,
    peer_port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Processes {
    /// With this binary.
    pub fn new(binary: PathBuf) -> Self {
        Self {
            binary,
            folder: tempfile::tempdir().unwrap(),
            members: Mutex::default(),
        }
    }

    /// The ports of a member, chosen when it is first spoken of.
    fn ports(&self, name: &str) -> (u16, u16) {
        let mut members = self.members.lock();
        let process = members.entry(name.to_owned()).or_insert_with(|| Process {
            client_port: free_port(),
            peer_port: free_port(),
            arguments: Vec::new(),
            child: None,
        });
        (process.client_port, process.peer_port)
    }

    fn data(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, name: &str) {
        let mut members = self.members.lock();
        let process = members.get_mut(name).unwrap();
        let log = std::fs::File::create(self.folder.path().join(format!("{name}.log"))).unwrap();
        let child = Command::new(&self.binary)
            .args(&process.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        process.child = Some(child);
    }

    async fn start(&self, name: &str, initial: &[(String, String)], state: &str) {
        let (client, peer) = self.ports(name);
        let (client, peer) = (
            format!("http://127.0.0.1:{client}"),
            format!("http://127.0.0.1:{peer}"),
        );
        let initial: Vec<String> = initial
            .iter()
            .map(|(name, url)| format!("{name}={url}"))
            .collect();
        let data = self.data(name).display().to_string();
        let flags = [
            ("name", name),
            ("data-dir", &data),
            ("listen-client-urls", &client),
            ("advertise-client-urls", &client),
            ("listen-peer-urls", &peer),
            ("initial-advertise-peer-urls", &peer),
            ("initial-cluster", &initial.join(",")),
            ("initial-cluster-state", state),
            ("heartbeat-interval", "50"),
            ("election-timeout", "500"),
            ("log-level", "warn"),
        ];
        let mut arguments: Vec<String> = flags
            .iter()
            .map(|(flag, value)| format!("--{flag}={value}"))
            .collect();
        arguments.push("--unsafe-no-fsync".to_owned());
        if let Some(process) = self.members.lock().get_mut(name) {
            process.arguments = arguments;
        }
        self.run(name);
        self.listening(name).await;
    }

    /// Waits until a process listens, or has ended.
    async fn listening(&self, name: &str) {
        let (port, _) = self.ports(name);
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).await.is_ok() || self.has_ended(name) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn has_ended(&self, name: &str) -> bool {
        let mut members = self.members.lock();
        let child = members.get_mut(name).and_then(|process| process.child.as_mut());
        child.is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

#[async_trait]
impl Backend for Processes {
    async fn found(&self, name: &str) {
        let url = self.peer_url(name);
        self.start(name, &[(name.to_owned(), url)], "new").await;
    }

    fn peer_url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}", self.ports(name).1)
    }

    /// With the members that the others know, as kubeadm does.
    async fn begin(&self, name: &str) {
        let own = self.peer_url(name);
        let names: Vec<String> = self.members.lock().keys().cloned().collect();
        for other in names.iter().filter(|other| *other != name) {
            let Ok(mut client) = self.connect(other).await else {
                continue;
            };
            let Ok(list) = client.member_list(false).await else {
                continue;
            };
            let mut initial: Vec<(String, String)> = Vec::new();
            for member in list.members {
                let url = member.peer_urls.first().cloned().unwrap_or_default();
                let known = if url == own { name.to_owned() } else { member.name };
                initial.push((known, url));
            }
            if initial.iter().any(|(_, url)| *url == own) {
                self.start(name, &initial, "existing").await;
                return;
            }
        }
        panic!("nobody knows of {name}");
    }

    async fn stop(&self, name: &str) {
        let child = self
            .members
            .lock()
            .get_mut(name)
            .and_then(|process| process.child.take());
        if let Some(mut child) = child {
            child.kill().await.unwrap();
        }
    }

    async fn resume(&self, name: &str) {
        self.run(name);
        self.listening(name).await;
    }

    async fn lose(&self, name: &str) {
        self.stop(name).await;
        remove(&self.data(name));
    }

    async fn connect(&self, name: &str) -> Result<Client, String> {
        let (port, _) = self.ports(name);
        let stream = TcpStream::connect(("127.0.0.1", port))
            .await
            .map_err(|error| error.to_string())?;
        Client::connect(stream, name)
            .await
            .map_err(|error| error.to_string())
    }
}

fn remove(folder: &Path) {
    if folder.exists() {
        std::fs::remove_dir_all(folder).unwrap();
    }
}
