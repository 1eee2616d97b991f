//! kubeadm's side of the bootstrap data: which subcommand runs, and what its configuration file says.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{GuestError, Host, cloud_config::one_line, kubeadm_fields as fields};

pub use fields::ApiVersion;

/// Where certificates live unless the configuration says otherwise.
pub const CERTIFICATES_DIR: &str = "/etc/kubernetes/pki";

/// The subcommand found in the machine's commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Whether it is `kubeadm init`, else `kubeadm join`.
    pub init: bool,
    /// The path of its configuration file.
    pub config: String,
}

/// What kubeadm is told to do.
#[derive(Debug, Clone, PartialEq)]
pub struct KubeadmRun {
    /// The version of the configuration API.
    pub version: ApiVersion,
    /// How the node registers.
    pub registration: NodeRegistration,
    /// Phases left out.
    pub skip_phases: Vec<String>,
    /// Starting or joining a cluster.
    pub mode: Mode,
}

/// How a node registers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeRegistration {
    /// The Node's name, where it is not the host name.
    pub name: Option<String>,
    /// The Node's taints; `None` means kubeadm's default.
    pub taints: Option<Vec<Value>>,
    /// Labels given through the kubelet's `node-labels` argument.
    pub labels: BTreeMap<String, String>,
    /// The kubelet's `provider-id` argument, without the quotes that its service file is read with.
    pub provider_id: Option<String>,
}

/// The two things kubeadm does.
#[derive(Debug, Clone, PartialEq)]
pub enum Mode {
    /// `kubeadm init`.
    Init {
        /// The ClusterConfiguration document as written.
        cluster: Value,
    },
    /// `kubeadm join`.
    Join {
        /// Whether the machine becomes part of the control plane.
        control_plane: bool,
        /// How the cluster is found and trusted.
        discovery: Discovery,
    },
}

/// How a joining machine finds the cluster and why it trusts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovery {
    /// By a bootstrap token and the hash of the cluster's CA.
    Token {
        /// The token.
        token: Token,
        /// `host:port` of the API server.
        endpoint: String,
        /// Accepted hashes; empty means that the CA is not checked.
        ca_hashes: Vec<String>,
    },
    /// By a kubeconfig file.
    File {
        /// `host:port` of the API server.
        endpoint: String,
        /// The CA certificates, PEM.
        ca: Option<String>,
        /// The bootstrap token it authenticates with, where it uses one.
        token: Option<Token>,
    },
}

/// A bootstrap token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The public part, which names its Secret.
    pub id: String,
    /// The secret part.
    pub secret: String,
}

impl Token {
    /// Reads `id.secret`.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.split_once('.')?;
        let valid = |part: &str, length| {
            part.len() == length && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        (valid(id, 6) && valid(secret, 16)).then(|| Self {
            id: id.to_owned(),
            secret: secret.to_owned(),
        })
    }
}

/// The one command that runs kubeadm.
pub fn find_command(commands: &[Vec<String>]) -> Result<Command, GuestError> {
    let mut found = commands.iter().filter_map(|words| kubeadm_command(words));
    let command = found.next().ok_or(GuestError::NoKubeadm)?;
    if found.next().is_some() {
        Err(GuestError::SeveralKubeadm)
    } else {
        Ok(command)
    }
}

fn kubeadm_command(words: &[String]) -> Option<Command> {
    let program = words
        .iter()
        .position(|word| word == "kubeadm" || word.ends_with("/kubeadm"))?;
    let init = match words.get(program + 1)?.as_str() {
        "init" => true,
        "join" => false,
        _ => return None,
    };
    let mut arguments = words[program + 2..]
        .iter()
        .take_while(|word| !matches!(word.as_str(), "&&" | "||" | ";" | "|"));
    while let Some(word) = arguments.next() {
        if let Some(path) = word.strip_prefix("--config=") {
            return Some(Command {
                init,
                config: path.to_owned(),
            });
        }
        if word == "--config" {
            return arguments.next().map(|path| Command {
                init,
                config: path.clone(),
            });
        }
    }
    None
}

/// Reads the configuration that `command` points at.
pub fn parse(
    command: &Command,
    file: &[u8],
    files: &BTreeMap<String, Vec<u8>>,
    host: Host<'_>,
) -> Result<KubeadmRun, String> {
    let documents = documents(file)?;
    let main_kind = if command.init {
        "InitConfiguration"
    } else {
        "JoinConfiguration"
    };
    let (version, main) = documents
        .get(main_kind)
        .ok_or_else(|| format!("it holds no document of kind {main_kind}"))?;
    check_api_version(*version, host.kubernetes_version)?;
    let mode = if command.init {
        let (_, cluster) = documents
            .get("ClusterConfiguration")
            .ok_or("it holds no document of kind ClusterConfiguration")?;
        check_kubernetes_version(cluster, host.kubernetes_version)?;
        check_networking(cluster)?;
        Mode::Init {
            cluster: cluster.clone(),
        }
    } else {
        Mode::Join {
            control_plane: main.get("controlPlane").is_some_and(|value| !value.is_null()),
            discovery: discovery(main, files)?,
        }
    };
    Ok(KubeadmRun {
        version: *version,
        registration: registration(*version, main),
        skip_phases: strings(main.get("skipPhases")),
        mode,
    })
}

/// The file's documents of kubeadm's own group, by kind, each checked field by field.
fn documents(file: &[u8]) -> Result<BTreeMap<String, (ApiVersion, Value)>, String> {
    let text = std::str::from_utf8(file).map_err(|_| "it is not text".to_owned())?;
    let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| format!("it is not valid YAML: {}", one_line(&error.to_string())))?;
    let mut found = BTreeMap::new();
    for document in documents {
        let field = |name: &str| {
            document
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (api_version, kind) = (field("apiVersion"), field("kind"));
        if api_version.starts_with("kubelet.config.k8s.io/")
            || api_version.starts_with("kubeproxy.config.k8s.io/")
        {
            continue;
        }
        let version = ApiVersion::parse(&api_version).ok_or_else(|| {
            format!("apiVersion `{api_version}` of kind `{kind}` is not one that kubeadm reads")
        })?;
        fields::check(&kind, version, &document)?;
        if found.insert(kind.clone(), (version, document)).is_some() {
            return Err(format!("it holds more than one document of kind {kind}"));
        }
    }
    Ok(found)
}

fn check_api_version(version: ApiVersion, kubernetes: Option<&str>) -> Result<(), String> {
    let Some(minor) = kubernetes.and_then(minor) else {
        return Ok(());
    };
    let (first, last) = version.minors();
    if minor < first || last.is_some_and(|last| minor > last) {
        let name = format!("{version:?}").to_lowercase();
        return Err(format!(
            "kubeadm of Kubernetes 1.{minor} does not read kubeadm.k8s.io/{name}"
        ));
    }
    Ok(())
}

/// The minor of a Kubernetes version with or without the leading `v`.
fn minor(version: &str) -> Option<u64> {
    semver::Version::parse(version.trim_start_matches('v'))
        .ok()
        .map(|version| version.minor)
}

fn check_kubernetes_version(cluster: &Value, want: Option<&str>) -> Result<(), String> {
    let got = cluster
        .get("kubernetesVersion")
        .and_then(Value::as_str)
        .unwrap_or_default();
    match want {
        _ if got.is_empty() => {
            Err("ClusterConfiguration.kubernetesVersion: is not set, and a simulated machine has no internet to ask".to_owned())
        }
        Some(want) if want.trim_start_matches('v') != got.trim_start_matches('v') => {
            Err(format!("ClusterConfiguration.kubernetesVersion: is {got}, but the machine's image holds {want}"))
        }
        _ => Ok(()),
    }
}

/// kubeadm refuses subnets that are none.
fn check_networking(cluster: &Value) -> Result<(), String> {
    let is_subnet = |text: &str| {
        let Some((address, length)) = text.split_once('/') else {
            return false;
        };
        let address = address.parse::<std::net::IpAddr>();
        let bits = address.map(|address| if address.is_ipv4() { 32 } else { 128 });
        bits.is_ok_and(|bits| length.parse::<u8>().is_ok_and(|length| length <= bits))
    };
    for field in ["podSubnet", "serviceSubnet"] {
        let subnets = cluster
            .pointer(&format!("/networking/{field}"))
            .and_then(Value::as_str);
        let subnets = subnets.filter(|subnets| !subnets.is_empty());
        let wrong = subnets.and_then(|subnets| subnets.split(',').find(|subnet| !is_subnet(subnet)));
        if let Some(wrong) = wrong {
            return Err(format!(
                "ClusterConfiguration.networking.{field}: `{wrong}` is no subnet such as 192.168.0.0/16"
            ));
        }
    }
    Ok(())
}

fn registration(version: ApiVersion, document: &Value) -> NodeRegistration {
    let registration = document.get("nodeRegistration").unwrap_or(&Value::Null);
    let kubelet = |name| argument(version, registration.get("kubeletExtraArgs"), name);
    let labels = kubelet("node-labels").unwrap_or_default();
    NodeRegistration {
        name: registration
            .get("name")
            .and_then(Value::as_str)
            .filter(|name| !name.is_empty())
            .map(str::to_lowercase),
        taints: registration.get("taints").and_then(Value::as_array).cloned(),
        labels: labels
            .split(',')
            .filter_map(|label| label.trim().split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        provider_id: kubelet("provider-id").map(|id| id.replace(['\'', '"'], "")),
    }
}

/// The value of a component's argument, in the form of either version.
fn argument(version: ApiVersion, arguments: Option<&Value>, name: &str) -> Option<String> {
    let value = match version {
        ApiVersion::V1Beta3 => arguments?.get(name),
        ApiVersion::V1Beta4 => arguments?
            .as_array()?
            .iter()
            .rfind(|argument| argument.get("name").and_then(Value::as_str) == Some(name))?
            .get("value"),
    };
    value?.as_str().map(str::to_owned)
}

fn discovery(join: &Value, files: &BTreeMap<String, Vec<u8>>) -> Result<Discovery, String> {
    let discovery = join
        .get("discovery")
        .filter(|value| !value.is_null())
        .ok_or("JoinConfiguration.discovery: is not set")?;
    let text = |pointer: &str| {
        discovery
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let token_at = |pointer: &str| match text(pointer) {
        token if token.is_empty() => Ok(None),
        token => Token::parse(&token).map(Some).ok_or_else(|| {
            format!(
                "JoinConfiguration.discovery{}: is not of the form id.secret",
                pointer.replace('/', ".")
            )
        }),
    };
    let by_token = discovery
        .get("bootstrapToken")
        .is_some_and(|value| !value.is_null());
    let by_file = discovery.get("file").is_some_and(|value| !value.is_null());
    match (by_token, by_file) {
        (true, false) => {
            let ca_hashes = strings(discovery.pointer("/bootstrapToken/caCertHashes"));
            let skip =
                discovery.pointer("/bootstrapToken/unsafeSkipCAVerification") == Some(&Value::Bool(true));
            if ca_hashes.is_empty() && !skip {
                return Err("JoinConfiguration.discovery.bootstrapToken: needs caCertHashes or unsafeSkipCAVerification".to_owned());
            }
            Ok(Discovery::Token {
                token: token_at("/bootstrapToken/token")?
                    .ok_or("JoinConfiguration.discovery.bootstrapToken.token: is not set")?,
                endpoint: text("/bootstrapToken/apiServerEndpoint"),
                ca_hashes,
            })
        }
        (false, true) => {
            let path = text("/file/kubeConfigPath");
            let content = files
                .get(path.trim_start_matches("file://"))
                .ok_or_else(|| format!("JoinConfiguration.discovery.file: `{path}` is not in write_files"))?;
            let (endpoint, ca, token) =
                discovery_file(content).map_err(|reason| format!("{path}: {reason}"))?;
            Ok(Discovery::File {
                endpoint,
                ca,
                token: token_at("/tlsBootstrapToken")?.or(token),
            })
        }
        _ => {
            Err("JoinConfiguration.discovery: exactly one of bootstrapToken and file must be set".to_owned())
        }
    }
}

/// Server, CA and token of the current context of a kubeconfig.
fn discovery_file(content: &[u8]) -> Result<(String, Option<String>, Option<Token>), String> {
    let text = std::str::from_utf8(content).map_err(|_| "is not text".to_owned())?;
    let config: Value = serde_saphyr::from_str(text).map_err(|error| one_line(&error.to_string()))?;
    let named = |list: &str, name: &str, value: &str| -> Option<Value> {
        let mut items = config.get(list)?.as_array()?.iter();
        items
            .find(|item| item.get("name").and_then(Value::as_str) == Some(name))?
            .get(value)
            .cloned()
    };
    let text = |value: &Value, key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let context =
        named("contexts", &text(&config, "current-context"), "context").ok_or("has no current context")?;
    let cluster =
        named("clusters", &text(&context, "cluster"), "cluster").ok_or("has no cluster for its context")?;
    let user = named("users", &text(&context, "user"), "user").unwrap_or_default();
    let server = text(&cluster, "server");
    let endpoint = server
        .strip_prefix("https://")
        .ok_or_else(|| format!("server `{server}` is not an https URL"))?;
    let ca = match text(&cluster, "certificate-authority-data") {
        data if data.is_empty() => None,
        data => {
            use base64::Engine;
            let pem = base64::engine::general_purpose::STANDARD
                .decode(data)
                .ok()
                .and_then(|pem| String::from_utf8(pem).ok());
            Some(pem.ok_or("certificate-authority-data is not base64")?)
        }
    };
    Ok((
        endpoint.trim_end_matches('/').to_owned(),
        ca,
        Token::parse(&text(&user, "token")),
    ))
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let items = value
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    items
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}
