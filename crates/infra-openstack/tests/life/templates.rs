//! The cluster templates in `templates/openstack`: rendered and accepted by an API server with all definitions, and brought
//! up by the provider as far as OpenStack is concerned.

use std::{collections::BTreeMap, path::PathBuf};

use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
};
use serde_json::{Value, json};

use crate::{place::here, system::System};

fn variables() -> BTreeMap<&'static str, String> {
    [
        ("CLUSTER_NAME", "demo"),
        ("KUBERNETES_VERSION", "v1.35.0"),
        ("CONTROL_PLANE_MACHINE_COUNT", "3"),
        ("WORKER_MACHINE_COUNT", "2"),
        ("OPENSTACK_CLOUD", "fake"),
        ("OPENSTACK_CLOUD_YAML_B64", ""),
        ("OPENSTACK_DNS_NAMESERVERS", "9.9.9.9"),
        ("OPENSTACK_IMAGE_NAME", "ubuntu"),
        ("OPENSTACK_CONTROL_PLANE_MACHINE_FLAVOR", "m1.large"),
        ("OPENSTACK_NODE_MACHINE_FLAVOR", "m1.small"),
        ("OPENSTACK_GPU_MACHINE_FLAVOR", "m1.large"),
        ("OPENSTACK_FAILURE_DOMAIN", "az1"),
        ("OPENSTACK_FAILURE_DOMAIN_1", "az1"),
        ("OPENSTACK_FAILURE_DOMAIN_2", "az2"),
        ("OPENSTACK_NETWORK_NAME", "corp"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

/// `${NAME}` and `${NAME:=usual}`.
fn rendered(text: &str, variables: &BTreeMap<&str, String>) -> String {
    let pattern = regex::Regex::new(r"\$\{([A-Z0-9_]+)(?::=([^}]*))?\}").unwrap();
    let value = |found: &regex::Captures<'_>| {
        let usual = found.get(2).map(|usual| usual.as_str().to_owned());
        let value = variables.get(&found[1]).cloned().or(usual);
        value.unwrap_or_else(|| panic!("{} has no value", &found[1]))
    };
    pattern.replace_all(text, value).into_owned()
}

async fn apply(system: &System, mut object: Value) -> DynamicObject {
    object["metadata"]["namespace"] = "default".into();
    let (group, version) = object["apiVersion"]
        .as_str()
        .unwrap()
        .split_once('/')
        .unwrap_or(("", "v1"));
    let kind = object["kind"].as_str().unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    Api::namespaced_with(system.client.clone(), "default", &resource)
        .create(&PostParams::default(), &object)
        .await
        .unwrap_or_else(|error| panic!("{object:#?}: {error}"))
}

async fn every_template(system: &System) {
    let cloud = system.cloud();
    let public = cloud.resources("networks")[0]["id"].as_str().unwrap().to_owned();
    let network = cloud.put("networks", json!({ "name": "corp", "tags": [], "subnets": [] }));
    cloud.put(
        "subnets",
        json!({ "name": "corp", "network_id": network, "cidr": "10.9.0.0/24", "tags": [] }),
    );
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../templates/openstack");
    let files = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 5);
    for (index, file) in files.iter().enumerate() {
        let mut variables = variables();
        let name = format!("demo-{index}");
        variables.insert("CLUSTER_NAME", name.clone());
        variables.insert("OPENSTACK_EXTERNAL_NETWORK_ID", public.clone());
        let encoded = base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            system.place.clouds_yaml.as_bytes(),
        );
        variables.insert("OPENSTACK_CLOUD_YAML_B64", encoded);
        let text = rendered(&std::fs::read_to_string(file).unwrap(), &variables);
        let mut owner = Value::Null;
        for document in text.split("\n---\n") {
            let mut object: Value = serde_saphyr::from_str(document).unwrap();
            let label = json!({ "cluster.x-k8s.io/cluster-name": name });
            if object["kind"] == "OpenStackCluster" {
                object["metadata"]["labels"] = label;
                // What core's controllers do.
                object["metadata"]["ownerReferences"] = json!([owner]);
            }
            let made = apply(system, object.clone()).await;
            if object["kind"] == "Cluster" {
                owner = json!({ "apiVersion": object["apiVersion"], "kind": "Cluster", "name": name, "uid": made.metadata.uid });
            }
        }
        system.until_true("OpenStackCluster", &name, "Ready").await;
        let cluster = system.get("OpenStackCluster", &name).await.unwrap();
        let host = &cluster["spec"]["controlPlaneEndpoint"]["host"];
        assert!(host.is_string(), "{}: {cluster:#}", file.display());
    }
}

#[test]
fn templates_are_accepted_and_their_clusters_get_an_endpoint() {
    here(|system| Box::pin(every_template(system)));
}
