//! Until when the API server of one machine may be spoken to: read from the certificate that it shows.

use std::time::Duration;

use capi_runtime::WorkloadClient;
use cluster_pki::CertificateInfo;
use jiff::Timestamp;
use tokio::time::timeout;

use super::{etcd::SYSTEM_NAMESPACE, tls::ServerTls};

/// How long a machine may take to answer.
const LIMIT: Duration = Duration::from_secs(15);

/// The end of validity of the certificate that the API server on `node` shows; it must come from `authority`.
pub async fn of_api_server(
    workload: &WorkloadClient,
    node: &str,
    port: u16,
    authority: &str,
    now: Timestamp,
) -> Result<Timestamp, String> {
    let pod = format!("kube-apiserver-{node}");
    let ask = async {
        let stream = workload
            .port_forward(SYSTEM_NAMESPACE, &pod, port)
            .await
            .map_err(|error| error.to_string())?;
        let tls = ServerTls::anonymous(authority, now).map_err(|error| error.to_string())?;
        let stream = tls
            .connect(stream, "kube-apiserver")
            .await
            .map_err(|error| error.to_string())?;
        let (_, session) = stream.get_ref();
        let shown = session
            .peer_certificates()
            .and_then(|chain| chain.first())
            .ok_or("it shows no certificate")?;
        CertificateInfo::from_der(shown).map_err(|error| error.to_string())
    };
    match timeout(LIMIT, ask).await {
        Ok(info) => info.map(|info| info.not_after),
        Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs())),
    }
}
