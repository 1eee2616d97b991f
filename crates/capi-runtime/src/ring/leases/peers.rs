//! Connections between replicas, on which nothing is said but a name: they end when a process ends.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::{AbortHandle, JoinHandle, JoinSet},
    time::{sleep, timeout},
};

const RETRY: Duration = Duration::from_secs(1);
/// No identity is longer.
const LONGEST: usize = 1024;

/// The listener of this replica and its connections to others. All of it ends when this is dropped.
pub(super) struct Peers {
    /// Where this replica answers, if it has an address.
    pub(super) address: Option<SocketAddr>,
    listener: Option<JoinHandle<()>>,
    followed: BTreeMap<(String, SocketAddr), AbortHandle>,
    tasks: JoinSet<()>,
    told: (mpsc::UnboundedSender<String>, mpsc::UnboundedReceiver<String>),
}

impl Peers {
    /// Listens on any free port, if there is an address to tell others.
    pub(super) async fn start(identity: &str, ip: Option<IpAddr>) -> Self {
        let mut peers = Self {
            address: None,
            listener: None,
            followed: BTreeMap::new(),
            tasks: JoinSet::new(),
            told: mpsc::unbounded_channel(),
        };
        let Some(ip) = ip else { return peers };
        match TcpListener::bind((ip, 0)).await {
            Ok(listener) => {
                peers.address = listener.local_addr().ok();
                peers.listener = Some(tokio::spawn(answer(listener, identity.to_owned())));
            }
            Err(error) => {
                tracing::warn!(%ip, %error, "other replicas cannot connect; a failover waits for the Lease")
            }
        }
        peers
    }

    /// Follows these replicas and no others.
    pub(super) fn follow(&mut self, peers: impl Iterator<Item = (String, SocketAddr)>) {
        let mut former = std::mem::take(&mut self.followed);
        for peer in peers {
            let handle = former.remove(&peer).unwrap_or_else(|| {
                let (identity, address) = peer.clone();
                let told = self.told.0.clone();
                self.tasks.spawn(async move {
                    until_dead(&identity, address).await;
                    let _ = told.send(identity);
                })
            });
            self.followed.insert(peer, handle);
        }
        for handle in former.into_values() {
            handle.abort();
        }
        while self.tasks.try_join_next().is_some() {}
    }

    /// Looks at this replica again when it is followed the next time.
    pub(super) fn forget(&mut self, identity: &str) {
        self.followed.retain(|(known, _), _| known != identity);
    }

    /// The next replica that is found dead.
    pub(super) async fn dead(&mut self) -> Option<String> {
        self.told.1.recv().await
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}

/// Tells everybody who connects who this is, and holds the connection.
async fn answer(listener: TcpListener, identity: String) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((mut stream, _)) => {
                let line = format!("{identity}\n");
                connections.spawn(async move {
                    if stream.write_all(line.as_bytes()).await.is_ok() {
                        let _ = stream.read(&mut [0; 1]).await;
                    }
                });
            }
            Err(_) => sleep(RETRY).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Returns when nobody, or somebody else, listens where the replica did. What cannot be reached is not known to be dead.
async fn until_dead(identity: &str, address: SocketAddr) {
    loop {
        match timeout(RETRY * 3, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => match held(stream, identity).await {
                // It may have been the network: look again at once.
                Ok(true) => continue,
                Ok(false) => return,
                Err(_) => {}
            },
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => return,
            Ok(Err(_)) | Err(_) => {}
        }
        sleep(RETRY).await;
    }
}

/// Holds a connection to its end; false if somebody else answered.
async fn held(mut stream: TcpStream, identity: &str) -> io::Result<bool> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        if line.len() > LONGEST || stream.read_buf(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    if line != format!("{identity}\n").as_bytes() {
        return Ok(false);
    }
    let _ = stream.read(&mut [0; 1]).await;
    Ok(true)
}
