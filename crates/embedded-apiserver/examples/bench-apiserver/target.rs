//! A server under measurement: how it is reached, which processes it is, where its data lies.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::client::Connection;

pub struct Target {
    pub name: &'static str,
    /// Host and port.
    pub address: String,
    pub tls: Arc<rustls::ClientConfig>,
    pids: Vec<u32>,
    child: Option<(Child, tempfile::TempDir)>,
}

/// Address and TLS configuration of a kubeconfig.
fn connect(path: &Path) -> anyhow::Result<(String, Arc<rustls::ClientConfig>)> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let config: Value = serde_saphyr::from_str(&text)?;
    let field = |value: &Value| STANDARD.decode(value.as_str().unwrap_or_default());
    let (cluster, user) = (&config["clusters"][0]["cluster"], &config["users"][0]["user"]);
    let server = cluster["server"].as_str().unwrap_or_default();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&field(
        &cluster["certificate-authority-data"],
    )?)?)?;
    let certificate = CertificateDer::from_pem_slice(&field(&user["client-certificate-data"])?)?;
    let key = PrivateKeyDer::from_pem_slice(&field(&user["client-key-data"])?)?;
    let tls = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)?;
    Ok((server.trim_start_matches("https://").to_owned(), Arc::new(tls)))
}

impl Target {
    /// The real one, which runs already.
    pub fn oracle(kubeconfig: &Path, pids: &[u32]) -> anyhow::Result<Self> {
        let (address, tls) = connect(kubeconfig)?;
        Ok(Self {
            name: "kube-apiserver + etcd",
            address,
            tls,
            pids: pids.to_vec(),
            child: None,
        })
    }

    /// Starts the embedded one.
    pub async fn embedded(program: &Path, on_disk: bool) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let kubeconfig = directory.path().join("kubeconfig");
        let mut command = Command::new(program);
        command
            .args(["--listen", "127.0.0.1:0", "--kubeconfig"])
            .arg(&kubeconfig)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if on_disk {
            command.arg("--data-dir").arg(directory.path().join("data"));
        }
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        for _ in 0..500 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let Ok((address, tls)) = connect(&kubeconfig) else {
                continue;
            };
            let target = Self {
                name: if on_disk {
                    "embedded, disk"
                } else {
                    "embedded, memory"
                },
                address,
                tls,
                pids: child.id().into_iter().collect(),
                child: None,
            };
            if let Ok(mut connection) = Connection::open(&target).await
                && connection.get("/readyz").await.is_ok()
            {
                let child = Some((child, directory));
                return Ok(Self { child, ..target });
            }
        }
        bail!("{} does not answer", program.display())
    }

    /// Resident memory of all its processes in MiB.
    pub fn memory(&self) -> anyhow::Result<f64> {
        let mut kib = 0.0;
        for pid in &self.pids {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let number = line.and_then(|line| line.split_whitespace().next());
            kib += number.context("no VmRSS")?.parse::<f64>()?;
        }
        Ok(kib / 1024.0)
    }

    pub async fn stop(self) -> anyhow::Result<()> {
        if let Some((mut child, _directory)) = self.child {
            child.kill().await?;
        }
        Ok(())
    }
}
