//! Endpoints of workload clusters as addresses of the loopback device: floating IPs of the lab, to which no packet flows.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    process::Command,
    sync::Arc,
};

use async_trait::async_trait;
use infra_inmemory::backend::{Endpoint, Endpoints, Listeners, endpoints::Backend};
use parking_lot::Mutex;

/// A listener for each address, while any of its ports is open.
#[derive(Default)]
pub struct LoopbackAddresses {
    open: Mutex<BTreeMap<String, Address>>,
}

struct Address {
    listeners: Arc<Listeners>,
    ports: BTreeSet<u16>,
}

#[async_trait]
impl Endpoints for LoopbackAddresses {
    fn reserve(&self, _: u16) -> bool {
        true
    }

    async fn open(&self, endpoint: &Endpoint, backend: Arc<dyn Backend>) -> io::Result<()> {
        let host: IpAddr = endpoint.host.parse().map_err(|_| {
            io::Error::other(format!(
                "{} is not an address, so nobody can be reached there",
                endpoint.host
            ))
        })?;
        change("replace", &host)?;
        let listeners = {
            let mut open = self.open.lock();
            let address = open.entry(endpoint.host.clone()).or_insert_with(|| Address {
                listeners: Arc::new(Listeners::on(&endpoint.host)),
                ports: BTreeSet::new(),
            });
            address.ports.insert(endpoint.port);
            address.listeners.clone()
        };
        listeners.open(endpoint, backend).await
    }

    fn close(&self, endpoint: &Endpoint) {
        let mut open = self.open.lock();
        let Some(address) = open.get_mut(&endpoint.host) else {
            return;
        };
        address.listeners.close(endpoint);
        address.ports.remove(&endpoint.port);
        if address.ports.is_empty() {
            open.remove(&endpoint.host);
            remove(&endpoint.host);
        }
    }
}

impl LoopbackAddresses {
    /// Takes all addresses away again.
    pub fn remove_all(&self) {
        for host in std::mem::take(&mut *self.open.lock()).keys() {
            remove(host);
        }
    }
}

fn remove(host: &str) {
    let removed = host.parse().map_err(io::Error::other);
    if let Err(error) = removed.and_then(|host| change("del", &host)) {
        tracing::warn!(%host, %error, "the address stays on the loopback device");
    }
}

fn change(verb: &str, host: &IpAddr) -> io::Result<()> {
    let length = if host.is_ipv4() { 32 } else { 128 };
    let done = Command::new("ip")
        .args(["address", verb, &format!("{host}/{length}"), "dev", "lo"])
        .output()?;
    match done.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "ip address {verb} {host}: {}",
            String::from_utf8_lossy(&done.stderr).trim()
        ))),
    }
}
