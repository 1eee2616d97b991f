//! A new version, and what follows the control plane without one.

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    core::v1::ConfigMap,
};
use kube::ResourceExt;
use serde_json::json;

use super::{super::*, *};

#[tokio::test(start_paused = true)]
async fn a_new_version_replaces_the_machine_and_then_the_add_ons() {
    let world = world(1).await;
    let old = up(&world).await;
    hold(&world, &old).await;
    world.workload.add_addons("v1.35.0", "v1.13.1").await;
    let dns = json!({ "clusterConfiguration": { "dns": { "imageTag": "v1.14.2" } } });
    world
        .merge::<KubeadmControlPlane>(
            "cp",
            json!({ "spec": { "version": "v1.36.0", "kubeadmConfigSpec": dns } }),
        )
        .await;
    let new = boot_next(&world).await;
    eventually("the old one is deleted", || is_deleting(&world, &old)).await;
    assert_eq!(world.json::<Machine>(&new).await["spec"]["version"], "v1.36.0");
    let stored = world.workload.system::<ConfigMap>("kubeadm-config").await;
    let stored = stored["data"]["ClusterConfiguration"].as_str().unwrap();
    assert!(stored.contains("kubernetesVersion: v1.36.0"), "{stored}");
    let proxy = |set: &Value| set["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    assert_eq!(
        proxy(&world.workload.system::<DaemonSet>("kube-proxy").await),
        "registry.k8s.io/kube-proxy:v1.35.0",
        "add-ons come last"
    );
    let_go(&world, &old).await;
    eventually("kube-proxy follows", || async {
        proxy(&world.workload.system::<DaemonSet>("kube-proxy").await) == "registry.k8s.io/kube-proxy:v1.36.0"
    })
    .await;
    eventually("CoreDNS follows", || async {
        proxy(&world.workload.system::<Deployment>("coredns").await)
            == "registry.k8s.io/coredns/coredns:v1.14.2"
    })
    .await;
    let map = world.workload.system::<ConfigMap>("coredns").await;
    assert!(map["data"]["Corefile"].as_str().unwrap().contains("endpoint a\n"));
    assert!(
        map["data"]["Corefile-backup"]
            .as_str()
            .unwrap()
            .contains("endpoint a b\n")
    );
    let deployment = world.workload.system::<Deployment>("coredns").await;
    let volume = &deployment["spec"]["template"]["spec"]["volumes"][0];
    assert_eq!(volume["configMap"]["items"][0]["key"], "Corefile");
    settle().await;
    let done = control_plane(&world).await;
    assert_eq!(done["status"]["version"], "v1.36.0");
    assert_eq!(condition(&done, "RollingOut").0, "False");
    assert_eq!(
        done["status"]["observedGeneration"],
        done["metadata"]["generation"]
    );
}

#[tokio::test(start_paused = true)]
async fn labels_come_and_go_on_machines_and_what_they_refer_to() {
    let world = world(1).await;
    let name = up(&world).await;
    let labels = |object: &Value| object["metadata"]["labels"].clone();
    let seen = || async {
        [
            labels(&world.json::<Machine>(&name).await),
            labels(&world.json::<KubeadmConfig>(&name).await),
            json!(world.foreign("DevMachine").get(&name).await.unwrap().labels()),
        ]
    };
    let set = |labels: Value| json!({ "spec": { "machineTemplate": { "metadata": { "labels": labels } } } });
    world
        .merge::<KubeadmControlPlane>("cp", set(json!({ "team": "a", "stage": "x" })))
        .await;
    eventually("all have them", || async {
        seen()
            .await
            .iter()
            .all(|labels| labels["team"] == "a" && labels["stage"] == "x")
    })
    .await;
    world
        .merge::<KubeadmControlPlane>("cp", set(json!({ "team": "b", "stage": null })))
        .await;
    eventually("all have changed", || async {
        seen()
            .await
            .iter()
            .all(|labels| labels["team"] == "b" && labels.get("stage").is_none())
    })
    .await;
    assert_eq!(machines(&world).await.len(), 1, "and nothing was rolled out");
    settle().await;
    world.requests.clear();
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert_eq!(world.requests.writes(), Vec::<String>::new());
}
