//! kubeadm's stored ClusterConfiguration (ConfigMap `kube-system/kubeadm-config`): what joining machines read.
//!
//! A rollout changes it before the first machine of the new kind joins. The document is rewritten field by field: what
//! the control plane does not know stays as it is.

use capi_api::bootstrap::v1beta2::{ClusterConfiguration, KubeadmConfigSpec};
use capi_runtime::WorkloadClient;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, api::PostParams};
use semver::Version;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::etcd::SYSTEM_NAMESPACE;
use crate::Error;

const NAME: &str = "kubeadm-config";
const KEY: &str = "ClusterConfiguration";
const COMPONENTS: [&str; 3] = ["apiServer", "controllerManager", "scheduler"];
/// How often a write is tried against other writers.
const TRIES: u32 = 5;

/// Brings the stored configuration in line with the control plane; writes only if something differs.
pub async fn update(
    workload: &WorkloadClient,
    spec: &KubeadmConfigSpec,
    target: &Version,
) -> Result<(), Error> {
    rewrite(workload, |stored| updated(stored, spec, target)).await
}

/// Notes image repository and tag of the DNS server, where they are set.
pub async fn update_dns(
    workload: &WorkloadClient,
    repository: Option<&str>,
    tag: Option<&str>,
) -> Result<(), Error> {
    rewrite(workload, |stored| with_dns(stored, repository, tag)).await
}

async fn rewrite(
    workload: &WorkloadClient,
    change: impl Fn(&str) -> Result<Option<String>, Error>,
) -> Result<(), Error> {
    let api: Api<ConfigMap> = Api::namespaced(workload.client(), SYSTEM_NAMESPACE);
    let mut tries = 0;
    loop {
        let mut map = api.get(NAME).await.map_err(Error::Workload)?;
        let stored = map.data.as_ref().and_then(|data| data.get(KEY));
        let stored = stored.ok_or_else(|| Error::KubeadmConfig(format!("it has no key {KEY}")))?;
        let Some(wanted) = change(stored)? else {
            return Ok(());
        };
        map.data.get_or_insert_default().insert(KEY.to_owned(), wanted);
        tries += 1;
        match api.replace(NAME, &PostParams::default(), &map).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 && tries < TRIES => {}
            Err(error) => return Err(Error::Workload(error)),
        }
    }
}

fn parse(document: &str) -> Result<Map<String, Value>, Error> {
    let broken = |error: &dyn std::fmt::Display| Error::KubeadmConfig(error.to_string());
    let value: Value = match document.trim() {
        "" => json!({}),
        text => serde_saphyr::from_str(text).map_err(|error| broken(&error))?,
    };
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(Error::KubeadmConfig("it is no mapping".to_owned())),
    }
}

/// The text of a changed document; `None` if nothing changes.
fn text_of(before: &Map<String, Value>, after: Map<String, Value>) -> Result<Option<String>, Error> {
    if after == *before {
        return Ok(None);
    }
    serde_saphyr::to_string(&Value::Object(after))
        .map(Some)
        .map_err(|error| Error::KubeadmConfig(error.to_string()))
}

/// The document with another image of the DNS server; `None` if nothing changes.
pub fn with_dns(
    document: &str,
    repository: Option<&str>,
    tag: Option<&str>,
) -> Result<Option<String>, Error> {
    let before = parse(document)?;
    let mut after = before.clone();
    let given = [("imageRepository", repository), ("imageTag", tag)];
    for (field, value) in given
        .into_iter()
        .filter_map(|(field, value)| Some((field, value?)))
    {
        let dns = after.entry("dns").or_insert_with(|| json!({}));
        if !dns.is_object() {
            *dns = json!({});
        }
        dns[field] = json!(value);
    }
    text_of(&before, after)
}

/// The document with the control plane's settings and version; `None` if nothing changes.
pub fn updated(document: &str, spec: &KubeadmConfigSpec, target: &Version) -> Result<Option<String>, Error> {
    let broken = |error: &dyn std::fmt::Display| Error::KubeadmConfig(error.to_string());
    let before = parse(document)?;
    let mut after = before.clone();
    let lists = (target.major, target.minor) >= (1, 31);
    if lists {
        args_to_lists(&mut after);
    }
    if let Some(cluster) = spec
        .cluster_configuration
        .as_ref()
        .filter(|cluster| !is_empty(cluster))
    {
        apply(&mut after, cluster, target).map_err(|error| broken(&error))?;
    }
    let version = if lists { "v1beta4" } else { "v1beta3" };
    after.insert("apiVersion".into(), json!(format!("kubeadm.k8s.io/{version}")));
    after.insert("kind".into(), json!(KEY));
    after.insert("kubernetesVersion".into(), json!(format!("v{target}")));
    if !lists {
        args_to_maps(&mut after);
    }
    text_of(&before, after)
}

fn is_empty(cluster: &ClusterConfiguration) -> bool {
    *cluster == ClusterConfiguration::default()
}

fn apply(
    document: &mut Map<String, Value>,
    cluster: &ClusterConfiguration,
    target: &Version,
) -> Result<(), serde_json::Error> {
    let mut set = |field: &str, value: Option<Value>| match value {
        Some(value) => drop(document.insert(field.to_owned(), value)),
        None => drop(document.remove(field)),
    };
    if let Some(repository) = &cluster.image_repository {
        set("imageRepository", Some(json!(repository)));
    }
    let mut gates = cluster.feature_gates.clone();
    if target.major == 1 && (31..36).contains(&target.minor) {
        gates
            .entry("ControlPlaneKubeletLocalMode".to_owned())
            .or_insert(true);
    }
    set("featureGates", (!gates.is_empty()).then(|| json!(gates)));
    set("apiServer", Some(object(cluster.api_server.as_ref())?));
    set(
        "controllerManager",
        Some(object(cluster.controller_manager.as_ref())?),
    );
    set("scheduler", Some(object(cluster.scheduler.as_ref())?));
    if (target.major, target.minor) >= (1, 31) {
        let period = cluster.certificate_validity_period_days.filter(|days| *days > 0);
        set(
            "certificateValidityPeriod",
            period.map(|days| json!(format!("{}h0m0s", i64::from(days) * 24))),
        );
        set(
            "encryptionAlgorithm",
            cluster
                .encryption_algorithm
                .map(|algorithm| json!(algorithm.as_str())),
        );
    }
    let etcd = cluster.etcd.clone().unwrap_or_default();
    if let Some(local) = &etcd.local {
        let mut local = serde_json::to_value(local)?;
        if local.get("dataDir").is_none() {
            local["dataDir"] = document
                .get("etcd")
                .and_then(|etcd| etcd.pointer("/local/dataDir"))
                .cloned()
                .unwrap_or_else(|| json!("/var/lib/etcd"));
        }
        document.insert("etcd".into(), json!({ "local": local }));
    } else if let Some(external) = &etcd.external {
        document.insert(
            "etcd".into(),
            json!({ "external": serde_json::to_value(external)? }),
        );
    }
    Ok(())
}

fn object<T: Serialize>(part: Option<&T>) -> Result<Value, serde_json::Error> {
    part.map_or_else(|| Ok(json!({})), serde_json::to_value)
}

/// The places with extra arguments.
fn parts(document: &mut Map<String, Value>) -> Vec<&mut Map<String, Value>> {
    document
        .iter_mut()
        .filter_map(|(field, value)| match field.as_str() {
            "etcd" => value.get_mut("local").and_then(Value::as_object_mut),
            field if COMPONENTS.contains(&field) => value.as_object_mut(),
            _ => None,
        })
        .collect()
}

/// From v1beta3: arguments become lists, and what moved elsewhere goes.
fn args_to_lists(document: &mut Map<String, Value>) {
    for part in parts(document) {
        part.remove("timeoutForControlPlane");
        if let Some(Value::Object(args)) = part.get("extraArgs") {
            let list: Vec<Value> = args
                .iter()
                .map(|(name, value)| json!({ "name": name, "value": value }))
                .collect();
            part.insert("extraArgs".into(), Value::Array(list));
        }
    }
}

/// To v1beta3: arguments become maps, the last of a name counts; what it does not know goes.
fn args_to_maps(document: &mut Map<String, Value>) {
    for field in [
        "proxy",
        "encryptionAlgorithm",
        "certificateValidityPeriod",
        "caCertificateValidityPeriod",
    ] {
        document.remove(field);
    }
    for part in parts(document) {
        part.remove("extraEnvs");
        if let Some(Value::Array(args)) = part.get("extraArgs") {
            let map: Map<String, Value> = args
                .iter()
                .filter_map(|arg| Some((arg["name"].as_str()?.to_owned(), arg["value"].clone())))
                .collect();
            part.insert("extraArgs".into(), Value::Object(map));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(cluster: Value) -> KubeadmConfigSpec {
        serde_json::from_value(json!({ "clusterConfiguration": cluster })).unwrap()
    }

    fn rewritten(document: &str, cluster: Value, target: &str) -> Value {
        let text = updated(document, &spec(cluster), &target.parse().unwrap())
            .unwrap()
            .unwrap();
        serde_saphyr::from_str(&text).unwrap()
    }

    #[test]
    fn the_image_of_the_dns_server_is_noted() {
        let noted = with_dns(STORED, None, Some("v1.14.2")).unwrap().unwrap();
        let value: Value = serde_saphyr::from_str(&noted).unwrap();
        assert_eq!(value["dns"], json!({ "imageTag": "v1.14.2" }));
        assert_eq!(with_dns(&noted, None, Some("v1.14.2")).unwrap(), None);
        assert_eq!(with_dns(STORED, None, None).unwrap(), None);
    }

    const STORED: &str = "apiServer: {}\napiVersion: kubeadm.k8s.io/v1beta4\nclusterName: c\nkind: ClusterConfiguration\n\
        kubernetesVersion: v1.35.0\nnetworking:\n  podSubnet: 10.0.0.0/16\nproxy:\n  disabled: true\n";

    #[test]
    fn the_version_changes_and_what_nobody_manages_stays() {
        let after = rewritten(
            STORED,
            json!({ "apiServer": { "certSANs": ["localhost"] } }),
            "1.36.1",
        );
        assert_eq!(after["kubernetesVersion"], "v1.36.1");
        assert_eq!(after["apiServer"], json!({ "certSANs": ["localhost"] }));
        assert_eq!(after["networking"], json!({ "podSubnet": "10.0.0.0/16" }));
        assert_eq!(after["proxy"], json!({ "disabled": true }));
        assert_eq!(after["clusterName"], "c");
    }

    #[test]
    fn nothing_is_written_when_nothing_differs() {
        let none = KubeadmConfigSpec::default();
        assert!(
            updated(STORED, &none, &"1.35.0".parse().unwrap())
                .unwrap()
                .is_none()
        );
        assert!(
            updated(STORED, &none, &"1.35.1".parse().unwrap())
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn an_empty_document_is_filled() {
        let after = rewritten("", json!({ "imageRepository": "r" }), "1.35.0");
        assert_eq!(after["imageRepository"], "r");
        assert_eq!(
            after["featureGates"],
            json!({ "ControlPlaneKubeletLocalMode": true })
        );
        assert_eq!(after["apiVersion"], "kubeadm.k8s.io/v1beta4");
    }

    #[test]
    fn arguments_change_their_form_with_the_version() {
        let old = "apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\nkubernetesVersion: v1.30.0\n\
            apiServer:\n  timeoutForControlPlane: 4m0s\n  extraArgs:\n    v: \"2\"\n";
        let none = KubeadmConfigSpec::default();
        let text = updated(old, &none, &"1.31.0".parse().unwrap()).unwrap().unwrap();
        let after: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(
            after["apiServer"],
            json!({ "extraArgs": [{ "name": "v", "value": "2" }] })
        );

        let args = json!({ "scheduler": { "extraArgs": [{ "name": "v", "value": "1" }, { "name": "v", "value": "3" }] } });
        let after = rewritten(old, args, "1.30.1");
        assert_eq!(after["scheduler"], json!({ "extraArgs": { "v": "3" } }));
        assert_eq!(after["apiVersion"], "kubeadm.k8s.io/v1beta3");
    }

    #[test]
    fn etcd_keeps_its_data_directory() {
        let old =
            "apiVersion: kubeadm.k8s.io/v1beta4\netcd:\n  local:\n    dataDir: /data\n    imageTag: a\n";
        let after = rewritten(old, json!({ "etcd": { "local": { "imageTag": "b" } } }), "1.36.0");
        assert_eq!(
            after["etcd"],
            json!({ "local": { "dataDir": "/data", "imageTag": "b" } })
        );
    }

    #[test]
    fn a_broken_document_is_an_error() {
        assert!(updated("[", &KubeadmConfigSpec::default(), &"1.36.0".parse().unwrap()).is_err());
        assert!(updated("- a", &KubeadmConfigSpec::default(), &"1.36.0".parse().unwrap()).is_err());
    }
}
