//! Kubeconfigs with client certificates: built, written, read, and checked for expiry.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use jiff::{SignedDuration, Timestamp};
use seams::Randomness;
use serde_json::{Value, json};

use crate::{
    CertificateAuthority, CertificateInfo, CertificateRequest, Error, KeyAlgorithm, KeySource, PemPair,
    Result, Validity,
};

/// How long the client certificate of a cluster's admin kubeconfig is valid (8760 hours).
pub const ADMIN_CERTIFICATE_LIFETIME: SignedDuration = SignedDuration::from_hours(8760);

/// A kubeconfig with one cluster, one user and one context: what Cluster API keeps for each workload cluster.
///
/// Reading takes the entries that the current context names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubeconfig {
    /// The name of the cluster entry.
    pub cluster_name: String,
    /// The name of the user entry.
    pub user_name: String,
    /// The name of the current context.
    pub context_name: String,
    /// `https://<host>:<port>`.
    pub server: String,
    /// The certificates that the server is checked against, PEM; `None` means those of the machine.
    pub certificate_authority: Option<String>,
    /// The client certificate and key; `None` if the user authenticates otherwise.
    pub client: Option<PemPair>,
    /// A bearer token.
    pub token: Option<String>,
}

/// What the admin kubeconfig of a cluster is made for.
#[derive(Clone, Debug)]
pub struct AdminKubeconfig<'a> {
    /// The name of the Cluster.
    pub cluster_name: &'a str,
    /// The API server's URL, see [`Kubeconfig::server_url`].
    pub server: &'a str,
    /// The algorithm of the client key.
    pub algorithm: KeyAlgorithm,
    /// The present time.
    pub now: Timestamp,
}

impl Kubeconfig {
    /// `https://<host>:<port>`, with brackets around an IPv6 address.
    pub fn server_url(host: &str, port: u16) -> String {
        match host.contains(':') && !host.starts_with('[') {
            true => format!("https://[{host}]:{port}"),
            false => format!("https://{host}:{port}"),
        }
    }

    /// The kubeconfig `<cluster>-admin@<cluster>` with the given client certificate.
    pub fn new(cluster_name: &str, server: &str, certificate_authority: &str, client: PemPair) -> Self {
        let user_name = format!("{cluster_name}-admin");
        Self {
            context_name: format!("{user_name}@{cluster_name}"),
            cluster_name: cluster_name.to_owned(),
            user_name,
            server: server.to_owned(),
            certificate_authority: Some(certificate_authority.to_owned()),
            client: Some(client),
            token: None,
        }
    }

    /// The kubeconfig of a cluster's administrator: a new key and a certificate for user `kubernetes-admin` in group
    /// `system:masters`, valid for [`ADMIN_CERTIFICATE_LIFETIME`].
    pub fn admin(
        authority: &CertificateAuthority,
        request: &AdminKubeconfig<'_>,
        keys: &dyn KeySource,
        randomness: &dyn Randomness,
    ) -> Result<Self> {
        let validity =
            Validity::from_now(request.now, ADMIN_CERTIFICATE_LIFETIME).starting(authority.info().not_before);
        let certificate =
            CertificateRequest::client("kubernetes-admin", validity).organization("system:masters");
        let client = authority.issue_pair(&certificate, keys, request.algorithm, randomness)?;
        Ok(Self::new(
            request.cluster_name,
            request.server,
            authority.certificate_pem(),
            client,
        ))
    }

    /// Writes it as YAML.
    pub fn to_yaml(&self) -> Result<String> {
        let mut cluster = json!({ "server": self.server });
        if let Some(authority) = &self.certificate_authority {
            cluster["certificate-authority-data"] = json!(BASE64.encode(authority));
        }
        let mut user = json!({});
        if let Some(client) = &self.client {
            user["client-certificate-data"] = json!(BASE64.encode(&client.certificate));
            user["client-key-data"] = json!(BASE64.encode(&client.key));
        }
        if let Some(token) = &self.token {
            user["token"] = json!(token);
        }
        let document = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": self.cluster_name, "cluster": cluster }],
            "contexts": [{
                "name": self.context_name,
                "context": { "cluster": self.cluster_name, "user": self.user_name },
            }],
            "current-context": self.context_name,
            "users": [{ "name": self.user_name, "user": user }],
        });
        serde_saphyr::to_string(&document).map_err(|e| Error::Kubeconfig(e.to_string()))
    }

    /// Reads the cluster and user of the current context of a kubeconfig (YAML or JSON).
    pub fn parse(text: &str) -> Result<Self> {
        let document: Value = serde_saphyr::from_str(text).map_err(|e| Error::Kubeconfig(e.to_string()))?;
        let context_name = text_of(&document, "current-context")
            .filter(|name| !name.is_empty())
            .ok_or_else(|| Error::Kubeconfig("current-context is not set".into()))?;
        let context = named(&document, "contexts", "context", &context_name)?;
        let cluster_name = text_of(context, "cluster").unwrap_or_default();
        let user_name = text_of(context, "user").unwrap_or_default();
        let cluster = named(&document, "clusters", "cluster", &cluster_name)?;
        let user = named(&document, "users", "user", &user_name)?;
        let server = text_of(cluster, "server")
            .ok_or_else(|| Error::Kubeconfig(format!("cluster {cluster_name:?} has no server")))?;
        let client = match (
            data(user, "client-certificate-data")?,
            data(user, "client-key-data")?,
        ) {
            (Some(certificate), Some(key)) => Some(PemPair { certificate, key }),
            _ => None,
        };
        Ok(Self {
            certificate_authority: data(cluster, "certificate-authority-data")?,
            token: text_of(user, "token"),
            cluster_name,
            user_name,
            context_name,
            server,
            client,
        })
    }

    /// When the client certificate of the current context's user expires; `None` without a client certificate.
    pub fn client_certificate_expiry(&self) -> Result<Option<Timestamp>> {
        let Some(client) = &self.client else {
            return Ok(None);
        };
        Ok(Some(CertificateInfo::from_pem(&client.certificate)?.not_after))
    }

    /// The same kubeconfig with another client certificate.
    pub fn with_client(self, client: PemPair) -> Self {
        Self {
            client: Some(client),
            ..self
        }
    }
}

fn text_of(value: &Value, field: &str) -> Option<String> {
    value.get(field).and_then(Value::as_str).map(str::to_owned)
}

fn named<'a>(document: &'a Value, list: &str, field: &str, name: &str) -> Result<&'a Value> {
    document
        .get(list)
        .and_then(Value::as_array)
        .and_then(|entries| {
            entries
                .iter()
                .find(|entry| entry.get("name").and_then(Value::as_str) == Some(name))
        })
        .and_then(|entry| entry.get(field))
        .ok_or_else(|| Error::Kubeconfig(format!("{list} has no entry {name:?}")))
}

fn data(value: &Value, field: &str) -> Result<Option<String>> {
    let Some(text) = value
        .get(field)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
    else {
        return Ok(None);
    };
    let bytes = BASE64
        .decode(text.trim())
        .map_err(|e| Error::Kubeconfig(format!("{field}: {e}")))?;
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| Error::Kubeconfig(format!("{field} is not text")))
}
