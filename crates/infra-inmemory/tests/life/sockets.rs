//! Endpoints on real sockets of this machine's loopback address.

use std::{sync::Arc, time::Duration};

use capi_runtime::{WorkloadConnector, workload::HttpConnector};
use cluster_pki::FreshKeys;
use infra_inmemory::{World, api::DevMachine};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, Config,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use seams::{SharedClock, SystemClock, SystemRandomness};

use super::support::{Bench, is_ready};

async fn list(kubeconfig: &str) -> Result<usize, kube::Error> {
    let config = Kubeconfig::from_yaml(kubeconfig).unwrap();
    let mut config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default())
        .await
        .unwrap();
    config.default_retry = false;
    let client = Client::try_from(config).unwrap();
    Api::<Node>::all(client)
        .list(&ListParams::default())
        .await
        .map(|nodes| nodes.items.len())
}

#[tokio::test]
async fn the_administrator_is_served_over_https_and_strangers_are_not() {
    let clock: SharedClock = Arc::new(SystemClock);
    let world = World::listening(
        clock.clone(),
        Arc::new(SystemRandomness),
        Arc::new(FreshKeys),
        "127.0.0.1",
    );
    let bench = Bench::new(world, clock).await;
    bench.make_cluster().await;
    bench.make_machine("cp-1", true, &bench.init_data()).await;
    let at_once = serde_json::json!({ "spec": { "backend": { "inMemory": { "vm": null, "node": null, "apiServer": null, "etcd": null } } } });
    let api = bench.api::<DevMachine>();
    api.patch("cp-1", &Default::default(), &kube::api::Patch::Merge(at_once))
        .await
        .unwrap();
    bench.until::<DevMachine>("cp-1", is_ready).await;

    let admin = bench.kubeconfig("ca");
    assert_eq!(list(&admin).await.unwrap(), 1);
    let connection = HttpConnector.connect(&bench.cluster(), &admin).await.unwrap();
    assert_eq!(
        Api::<Node>::all(connection.client)
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        1
    );

    assert!(
        list(&bench.kubeconfig("stranger")).await.is_err(),
        "a stranger's certificate"
    );
    let nobody = cluster_pki::Kubeconfig {
        client: None,
        ..cluster_pki::Kubeconfig::parse(&admin).unwrap()
    };
    match list(&nobody.to_yaml().unwrap()).await {
        Err(kube::Error::Api(status)) => assert_eq!(status.code, 401),
        other => panic!("without a certificate: {other:?}"),
    }

    bench
        .world
        .stop_api_server(&bench.cluster().sibling("cp-1"))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(list(&admin).await.is_err(), "no API server runs");
}
