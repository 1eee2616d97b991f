//! What has to be renewed, moved along or waited for while a cluster lives: certificates, kubeconfigs, CoreDNS.

use std::time::Duration;

use capictl::inventory::Inventory;
use e2e::{
    invariants,
    scenario::{self, CONTROL_PLANE, SMALL},
    simulation::{self, Save, Simulation, Start, passes},
};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::Api;
use serde_json::json;

const KUBECONFIG: &str = "quickstart-kubeconfig";

fn kubeconfig(inventory: &Inventory) -> Option<String> {
    let secret = inventory
        .of_kind("Secret")
        .find(|secret| secret.name() == KUBECONFIG)?;
    secret.text("/data/value").map(str::to_owned)
}

#[test]
fn a_deleted_kubeconfig_comes_back_and_works() {
    passes(Start::seed(44), |simulation| async move {
        scenario::create(&simulation, SMALL, 3).await?;
        scenario::delete_one(&simulation, "Secret", KUBECONFIG).await?;
        let back = |inventory: &Inventory| kubeconfig(inventory).is_some();
        simulation
            .until("the kubeconfig is back", scenario::LIMIT, back)
            .await?;
        // No Node could be found without it.
        scenario::scale_workers(&simulation, 3).await?;
        scenario::available(&simulation, 4).await?;
        invariants::check(&simulation).await
    });
}

/// A cluster that was set to renew its certificates 90 days before they expire, as it was left behind.
fn left_behind() -> simulation::Saved {
    let saved = simulation::run(Start::seed(45), |simulation| async move {
        scenario::create(&simulation, SMALL, 3).await?;
        let before = json!({"spec": {"rollout": {"before": {"certificatesExpiryDays": 90}}}});
        scenario::patch(&simulation, "KubeadmControlPlane", CONTROL_PLANE, before).await?;
        simulation.journal.save(Save::Everything);
        scenario::scale_workers(&simulation, 3).await?;
        scenario::available(&simulation, 4).await?;
        tokio::time::sleep(Duration::from_secs(30)).await;
        Ok::<_, String>(simulation.journal.take_saved())
    });
    saved.unwrap().pop().unwrap()
}

#[test]
fn certificates_and_the_kubeconfig_are_renewed_in_time() {
    // A process that comes back so late is the cheapest way to let so many days pass.
    const DAY: Duration = Duration::from_secs(86_400);
    for (days, renewed) in [(100, false), (300, true)] {
        let start = Start {
            seed: 46,
            from: Some(left_behind().later(DAY * days)),
            ..Start::default()
        };
        passes(start, |simulation| async move {
            let before = scenario::machines(&simulation.inventory(), true);
            let old = kubeconfig(&simulation.inventory());
            let rolled = |inventory: &Inventory| {
                let now = scenario::machines(inventory, true);
                (now != before) == renewed && scenario::is_available(inventory, 4)
            };
            tokio::time::sleep(Duration::from_secs(120)).await;
            let what = format!("after {days} days: control plane rolled out is {renewed}");
            simulation.until(&what, scenario::LIMIT, rolled).await?;
            if (kubeconfig(&simulation.inventory()) != old) != renewed {
                return Err(format!("after {days} days: kubeconfig renewed is {}", !renewed));
            }
            invariants::check(&simulation).await
        });
    }
}

async fn addon(simulation: &Simulation) -> Result<(String, Vec<String>), kube::Error> {
    let client = scenario::workload(simulation).unwrap();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "kube-system");
    let maps: Api<ConfigMap> = Api::namespaced(client, "kube-system");
    let deployment = deployments.get("coredns").await?;
    let pod = deployment.spec.template.spec;
    let image = pod.and_then(|pod| pod.containers.into_iter().next()?.image);
    let files = maps.get("coredns").await?.data.unwrap_or_default();
    Ok((image.unwrap_or_default(), files.into_keys().collect()))
}

#[test]
fn coredns_is_brought_to_another_version_with_its_corefile() {
    passes(Start::seed(47), |simulation| async move {
        scenario::create(&simulation, SMALL, 3).await?;
        let dns = json!({"spec": {"kubeadmConfigSpec": {"clusterConfiguration": {"dns": {"imageTag": "v1.14.2"}}}}});
        scenario::patch(&simulation, "KubeadmControlPlane", CONTROL_PLANE, dns).await?;
        tokio::time::sleep(Duration::from_secs(60)).await;
        scenario::available(&simulation, 3).await?;
        let (image, files) = addon(&simulation).await.map_err(|e| e.to_string())?;
        if !image.ends_with("/coredns:v1.14.2") || files != ["Corefile", "Corefile-backup"] {
            return Err(format!("CoreDNS has image {image} and files {files:?}"));
        }
        invariants::check(&simulation).await
    });
}
