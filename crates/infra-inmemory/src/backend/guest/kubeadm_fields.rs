//! The fields of kubeadm's configuration API, as data: names, shapes and the versions they exist in.
//!
//! kubeadm only warns about a field that it does not know. A simulated machine refuses it, so that a field rendered for
//! the wrong version is found here and not on somebody's hardware. Values are not judged.

use serde_json::Value;

/// A version of kubeadm's configuration API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApiVersion {
    /// Read by Kubernetes 1.22 to 1.36.
    V1Beta3,
    /// Read by Kubernetes 1.31 and later.
    V1Beta4,
}

impl ApiVersion {
    /// The version of an `apiVersion` field of the group.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "kubeadm.k8s.io/v1beta3" => Some(Self::V1Beta3),
            "kubeadm.k8s.io/v1beta4" => Some(Self::V1Beta4),
            _ => None,
        }
    }

    /// The Kubernetes minors (1.x) whose kubeadm reads this version: first and, if it ended, last.
    pub fn minors(self) -> (u64, Option<u64>) {
        match self {
            Self::V1Beta3 => (22, Some(36)),
            Self::V1Beta4 => (31, None),
        }
    }
}

/// In which versions a field exists.
#[derive(Debug, Clone, Copy)]
enum In {
    Both,
    Only(ApiVersion),
}
use ApiVersion::{V1Beta3, V1Beta4};
use In::{Both, Only};

/// The shape of a value.
enum Shape {
    /// Anything: another API's type, judged elsewhere.
    Any,
    Text,
    Flag,
    Number,
    Texts,
    Flags,
    List(&'static Shape),
    Fields(&'static [(&'static str, In, &'static Shape)]),
    /// Arguments of a component: a mapping up to v1beta3, then a list of name and value.
    Arguments,
}
use Shape::{Any, Arguments, Fields, Flag, Flags, List, Number, Text, Texts};

const COMPONENT: Shape = Fields(&[
    ("extraArgs", Both, &Arguments),
    ("extraVolumes", Both, &List(&VOLUME)),
    ("extraEnvs", Only(V1Beta4), &List(&Any)),
]);

const VOLUME: Shape = Fields(&[
    ("name", Both, &Text),
    ("hostPath", Both, &Text),
    ("mountPath", Both, &Text),
    ("readOnly", Both, &Flag),
    ("pathType", Both, &Text),
]);

const IMAGE: [(&str, In, &Shape); 2] = [("imageRepository", Both, &Text), ("imageTag", Both, &Text)];

const CLUSTER_CONFIGURATION: Shape = Fields(&[
    ("apiVersion", Both, &Text),
    ("kind", Both, &Text),
    (
        "etcd",
        Both,
        &Fields(&[
            (
                "local",
                Both,
                &Fields(&[
                    IMAGE[0],
                    IMAGE[1],
                    ("dataDir", Both, &Text),
                    ("extraArgs", Both, &Arguments),
                    ("extraEnvs", Only(V1Beta4), &List(&Any)),
                    ("serverCertSANs", Both, &Texts),
                    ("peerCertSANs", Both, &Texts),
                ]),
            ),
            (
                "external",
                Both,
                &Fields(&[
                    ("endpoints", Both, &Texts),
                    ("httpEndpoints", Only(V1Beta4), &Texts),
                    ("caFile", Both, &Text),
                    ("certFile", Both, &Text),
                    ("keyFile", Both, &Text),
                ]),
            ),
        ]),
    ),
    (
        "networking",
        Both,
        &Fields(&[
            ("serviceSubnet", Both, &Text),
            ("podSubnet", Both, &Text),
            ("dnsDomain", Both, &Text),
        ]),
    ),
    ("kubernetesVersion", Both, &Text),
    ("controlPlaneEndpoint", Both, &Text),
    (
        "apiServer",
        Both,
        &Fields(&[
            ("extraArgs", Both, &Arguments),
            ("extraVolumes", Both, &List(&VOLUME)),
            ("extraEnvs", Only(V1Beta4), &List(&Any)),
            ("certSANs", Both, &Texts),
            ("timeoutForControlPlane", Only(V1Beta3), &Text),
        ]),
    ),
    ("controllerManager", Both, &COMPONENT),
    ("scheduler", Both, &COMPONENT),
    (
        "dns",
        Both,
        &Fields(&[IMAGE[0], IMAGE[1], ("disabled", Only(V1Beta4), &Flag)]),
    ),
    ("proxy", Only(V1Beta4), &Fields(&[("disabled", Both, &Flag)])),
    ("certificatesDir", Both, &Text),
    ("imageRepository", Both, &Text),
    ("featureGates", Both, &Flags),
    ("clusterName", Both, &Text),
    ("encryptionAlgorithm", Only(V1Beta4), &Text),
    ("certificateValidityPeriod", Only(V1Beta4), &Text),
    ("caCertificateValidityPeriod", Only(V1Beta4), &Text),
]);

const NODE_REGISTRATION: Shape = Fields(&[
    ("name", Both, &Text),
    ("criSocket", Both, &Text),
    ("taints", Both, &List(&Any)),
    ("kubeletExtraArgs", Both, &Arguments),
    ("ignorePreflightErrors", Both, &Texts),
    ("imagePullPolicy", Both, &Text),
    ("imagePullSerial", Only(V1Beta4), &Flag),
]);

const API_ENDPOINT: Shape = Fields(&[("advertiseAddress", Both, &Text), ("bindPort", Both, &Number)]);

const PATCHES: Shape = Fields(&[("directory", Both, &Text)]);

const TIMEOUTS: Shape = Fields(&[
    ("controlPlaneComponentHealthCheck", Both, &Text),
    ("kubeletHealthCheck", Both, &Text),
    ("kubernetesAPICall", Both, &Text),
    ("etcdAPICall", Both, &Text),
    ("tlsBootstrap", Both, &Text),
    ("discovery", Both, &Text),
    ("upgradeManifests", Both, &Text),
]);

const INIT_CONFIGURATION: Shape = Fields(&[
    ("apiVersion", Both, &Text),
    ("kind", Both, &Text),
    (
        "bootstrapTokens",
        Both,
        &List(&Fields(&[
            ("token", Both, &Text),
            ("description", Both, &Text),
            ("ttl", Both, &Text),
            ("expires", Both, &Text),
            ("usages", Both, &Texts),
            ("groups", Both, &Texts),
        ])),
    ),
    ("dryRun", Only(V1Beta4), &Flag),
    ("nodeRegistration", Both, &NODE_REGISTRATION),
    ("localAPIEndpoint", Both, &API_ENDPOINT),
    ("certificateKey", Both, &Text),
    ("skipPhases", Both, &Texts),
    ("patches", Both, &PATCHES),
    ("timeouts", Only(V1Beta4), &TIMEOUTS),
]);

const JOIN_CONFIGURATION: Shape = Fields(&[
    ("apiVersion", Both, &Text),
    ("kind", Both, &Text),
    ("dryRun", Only(V1Beta4), &Flag),
    ("nodeRegistration", Both, &NODE_REGISTRATION),
    ("caCertPath", Both, &Text),
    (
        "discovery",
        Both,
        &Fields(&[
            (
                "bootstrapToken",
                Both,
                &Fields(&[
                    ("token", Both, &Text),
                    ("apiServerEndpoint", Both, &Text),
                    ("caCertHashes", Both, &Texts),
                    ("unsafeSkipCAVerification", Both, &Flag),
                ]),
            ),
            ("file", Both, &Fields(&[("kubeConfigPath", Both, &Text)])),
            ("tlsBootstrapToken", Both, &Text),
            ("timeout", Only(V1Beta3), &Text),
        ]),
    ),
    (
        "controlPlane",
        Both,
        &Fields(&[
            ("localAPIEndpoint", Both, &API_ENDPOINT),
            ("certificateKey", Both, &Text),
        ]),
    ),
    ("skipPhases", Both, &Texts),
    ("patches", Both, &PATCHES),
    ("timeouts", Only(V1Beta4), &TIMEOUTS),
]);

/// Checks a document of `kind` and returns what is wrong with it first, by its path.
pub fn check(kind: &str, version: ApiVersion, document: &Value) -> Result<(), String> {
    let shape = match kind {
        "ClusterConfiguration" => &CLUSTER_CONFIGURATION,
        "InitConfiguration" => &INIT_CONFIGURATION,
        "JoinConfiguration" => &JOIN_CONFIGURATION,
        _ => return Err(format!("kind {kind} is not known")),
    };
    walk(shape, version, document, kind)
}

fn walk(shape: &Shape, version: ApiVersion, value: &Value, path: &str) -> Result<(), String> {
    let wrong = |want: &str| Err(format!("{path}: must be {want}"));
    match (shape, value) {
        (_, Value::Null) | (Any, _) | (Text, Value::String(_)) | (Flag, Value::Bool(_)) => Ok(()),
        (Number, Value::Number(number)) if number.is_u64() => Ok(()),
        (Texts, Value::Array(items)) if items.iter().all(Value::is_string) => Ok(()),
        (Flags, Value::Object(items)) if items.values().all(Value::is_boolean) => Ok(()),
        (Arguments, _) => arguments(version, value, path),
        (List(inner), Value::Array(items)) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| walk(inner, version, item, &format!("{path}[{index}]"))),
        (Fields(fields), Value::Object(entries)) => entries.iter().try_for_each(|(name, value)| {
            let field = format!("{path}.{name}");
            match fields.iter().find(|(known, ..)| known == name) {
                None => Err(format!("{field}: unknown field")),
                Some((_, Only(only), _)) if *only != version => Err(format!(
                    "{field}: exists only in kubeadm.k8s.io/{}",
                    format!("{only:?}").to_lowercase()
                )),
                Some((.., shape)) => walk(shape, version, value, &field),
            }
        }),
        (Text, _) => wrong("a string"),
        (Flag, _) => wrong("true or false"),
        (Number, _) => wrong("a whole number"),
        (Texts, _) => wrong("a list of strings"),
        (Flags, _) => wrong("a mapping of names to true or false"),
        (List(_), _) => wrong("a list"),
        (Fields(_), _) => wrong("a mapping"),
    }
}

fn arguments(version: ApiVersion, value: &Value, path: &str) -> Result<(), String> {
    let pair = |item: &Value| {
        item.as_object().is_some_and(|pair| {
            pair.len() == 2
                && ["name", "value"]
                    .iter()
                    .all(|key| pair.get(*key).is_some_and(Value::is_string))
        })
    };
    match (version, value) {
        (V1Beta3, Value::Object(map)) if map.values().all(Value::is_string) => Ok(()),
        (V1Beta4, Value::Array(items)) if items.iter().all(pair) => Ok(()),
        (V1Beta3, _) => Err(format!("{path}: must be a mapping of strings in v1beta3")),
        (V1Beta4, _) => Err(format!("{path}: must be a list of name and value in v1beta4")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refuse(kind: &str, version: ApiVersion, document: Value, want: &str) {
        assert_eq!(check(kind, version, &document).unwrap_err(), want);
    }

    #[test]
    fn known_fields_pass_and_null_counts_as_absent() {
        let document = json!({"kind": "InitConfiguration", "localAPIEndpoint": {},
            "nodeRegistration": {"taints": null, "imagePullSerial": true, "kubeletExtraArgs": [{"name": "a", "value": "b"}]}});
        assert_eq!(check("InitConfiguration", V1Beta4, &document), Ok(()));
    }

    #[test]
    fn what_the_bootstrap_provider_renders_is_accepted() {
        for text in [
            include_str!("../../../testdata/rendered/v1beta3-cluster.yaml"),
            include_str!("../../../testdata/rendered/v1beta3-init.yaml"),
            include_str!("../../../testdata/rendered/v1beta3-join.yaml"),
            include_str!("../../../testdata/rendered/v1beta4-cluster.yaml"),
            include_str!("../../../testdata/rendered/v1beta4-init.yaml"),
            include_str!("../../../testdata/rendered/v1beta4-join.yaml"),
        ] {
            let document: Value = serde_saphyr::from_str(text).unwrap();
            let version = ApiVersion::parse(document["apiVersion"].as_str().unwrap()).unwrap();
            assert_eq!(
                check(document["kind"].as_str().unwrap(), version, &document),
                Ok(()),
                "{text}"
            );
        }
    }

    #[test]
    fn fields_of_the_other_version_are_refused() {
        refuse(
            "ClusterConfiguration",
            V1Beta3,
            json!({"proxy": {}}),
            "ClusterConfiguration.proxy: exists only in kubeadm.k8s.io/v1beta4",
        );
        refuse(
            "JoinConfiguration",
            V1Beta4,
            json!({"discovery": {"timeout": "5m0s"}}),
            "JoinConfiguration.discovery.timeout: exists only in kubeadm.k8s.io/v1beta3",
        );
        refuse(
            "ClusterConfiguration",
            V1Beta3,
            json!({"apiServer": {"extraArgs": []}}),
            "ClusterConfiguration.apiServer.extraArgs: must be a mapping of strings in v1beta3",
        );
    }

    #[test]
    fn wrong_shapes_and_unknown_names_are_refused_by_path() {
        refuse(
            "JoinConfiguration",
            V1Beta4,
            json!({"nodeRegistraton": {}}),
            "JoinConfiguration.nodeRegistraton: unknown field",
        );
        refuse(
            "InitConfiguration",
            V1Beta4,
            json!({"localAPIEndpoint": {"bindPort": "6443"}}),
            "InitConfiguration.localAPIEndpoint.bindPort: must be a whole number",
        );
        refuse(
            "InitConfiguration",
            V1Beta4,
            json!({"bootstrapTokens": [{"token": 1}]}),
            "InitConfiguration.bootstrapTokens[0].token: must be a string",
        );
    }
}
