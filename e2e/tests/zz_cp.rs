//! (scratch)
use e2e::{
    scenario,
    simulation::{self, Start},
};
use kube::api::{Patch, PatchParams};
use serde_json::json;
#[test]
fn ha() {
    simulation::run(
        Start {
            seed: 1,
            ..Start::default()
        },
        |simulation| async move {
            scenario::apply(&simulation).await.unwrap();
            scenario::available(&simulation, 3)
                .await
                .unwrap_or_else(|e| panic!("{e}"));
            let api = scenario::dynamic(
                &simulation,
                "controlplane.cluster.x-k8s.io",
                "KubeadmControlPlane",
            );
            let set = async |spec: serde_json::Value| {
                api.patch(
                    "quickstart-control-plane",
                    &PatchParams::default(),
                    &Patch::Merge(json!({"spec": spec})),
                )
                .await
                .unwrap();
            };
            set(json!({"replicas": 3})).await;
            let t = scenario::available(&simulation, 5)
                .await
                .unwrap_or_else(|e| panic!("{e}"));
            println!("UP 3: {t:?}");
            set(json!({"replicas": 1})).await;
            let t = scenario::available(&simulation, 3)
                .await
                .unwrap_or_else(|e| panic!("{e}"));
            println!("DOWN 1: {t:?}");
            set(json!({"version": "v1.36.0"})).await;
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            let t = simulation
                .until("upgraded", std::time::Duration::from_secs(300), |i| {
                    i.of_kind("KubeadmControlPlane").all(|k| {
                        k.text("/status/version") == Some("v1.36.0")
                            && k.number("/status/replicas") == Some(1)
                            && k.number("/status/availableReplicas") == Some(1)
                    })
                })
                .await
                .unwrap_or_else(|e| panic!("{e}"));
            println!("UPGRADED: {t:?}");
            scenario::delete(&simulation)
                .await
                .unwrap_or_else(|e| panic!("{e}"));
        },
    );
}
