//! Load balancers in ERROR, on the in-process OpenStack.

use std::time::Duration;

use capi_runtime::Next;
use serde_json::json;

use super::tests::Bench;

const NAME: &str = "k8s-clusterapi-cluster-ns-c-kubeapi";

#[tokio::test(start_paused = true)]
async fn a_load_balancer_in_error_is_named_and_nobody_waits_inline() {
    let mut bench = Bench::usual();
    bench.cloud.fail_load_balancers(true);
    let start = tokio::time::Instant::now();
    let progress = bench.once().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(matches!(progress.next, Next::After(_)));
    assert!(
        bench
            .message("APIEndpointReady")
            .2
            .ends_with("-kubeapi is PENDING_CREATE")
    );
    tokio::time::sleep(Duration::from_secs(11)).await;
    bench.once().await;
    assert!(
        bench.message("Ready").2.contains("is in ERROR"),
        "{:?}",
        bench.message("Ready")
    );
}

/// Breaks the load balancer of a cluster that is ready.
async fn broken() -> (Bench, String) {
    let mut bench = Bench::usual();
    bench.settle().await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let id = bench.cloud.resources("loadbalancers")[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    bench.cloud.alter("loadbalancers", NAME, |balancer| {
        balancer["provisioning_status"] = "ERROR".into();
        balancer["operating_status"] = "ERROR".into();
    });
    (bench, id)
}

#[tokio::test(start_paused = true)]
async fn a_broken_load_balancer_is_failed_over_where_that_is_allowed() {
    let (mut bench, id) = broken().await;
    bench.cloud.allow_failover(true);
    bench.cloud.clear_log();
    bench.settle().await;
    assert_eq!(
        bench.writes(),
        [format!(
            "PUT /load-balancer/v2.0/lbaas/loadbalancers/{id}/failover"
        )]
    );
    assert_eq!(bench.message("Ready").0, "True");
}

#[tokio::test(start_paused = true)]
async fn else_it_is_made_again_with_its_addresses() {
    let (mut bench, id) = broken().await;
    let before = bench.cloud.inventory();
    let balancer = bench
        .object
        .status
        .clone()
        .unwrap()
        .api_server_managed_load_balancer
        .unwrap();
    let endpoint = bench.object.spec.control_plane_endpoint.clone();
    bench.once().await;
    let (_, _, message) = bench.message("APIEndpointReady");
    assert!(
        message.contains("failover was refused: Policy does not allow this request to be performed."),
        "{message}"
    );
    bench.settle().await;
    let made = bench
        .object
        .status
        .clone()
        .unwrap()
        .api_server_managed_load_balancer
        .unwrap();
    assert_ne!(made.id, id);
    assert_eq!(
        (&made.ip, &made.internal_ip),
        (&balancer.ip, &balancer.internal_ip)
    );
    assert_eq!(bench.object.spec.control_plane_endpoint, endpoint);
    let floating = bench.cloud.resources("floatingips").remove(0);
    assert_eq!(
        floating["port_id"],
        bench.cloud.resources("loadbalancers")[0]["vip_port_id"]
    );
    assert_eq!(
        bench.cloud.inventory(),
        before,
        "the same names, nothing is left over"
    );
}

#[tokio::test(start_paused = true)]
async fn what_breaks_again_and_again_is_tried_ever_more_rarely_and_heals_by_itself() {
    let mut bench = Bench::usual();
    bench.cloud.fail_load_balancers(true);
    let until = tokio::time::Instant::now() + Duration::from_secs(6 * 3600);
    let mut made = Vec::new();
    while tokio::time::Instant::now() < until {
        let progress = bench.once().await;
        let ids: Vec<_> = bench
            .cloud
            .resources("loadbalancers")
            .iter()
            .map(|lb| lb["id"].clone())
            .collect();
        made.extend(
            ids.into_iter()
                .filter(|id| !made.contains(id))
                .collect::<Vec<_>>(),
        );
        match progress.next {
            Next::After(wait) => tokio::time::sleep(wait).await,
            Next::Done => tokio::time::sleep(Duration::from_secs(5)).await,
        }
    }
    assert!(
        (5..40).contains(&made.len()),
        "{} load balancers in six hours",
        made.len()
    );
    assert!(bench.message("Ready").2.contains("ERROR") || bench.message("Ready").2.contains("PENDING"));
    bench.cloud.fail_load_balancers(false);
    bench.settle().await;
    let before = json!(bench.cloud.names("loadbalancers"));
    assert_eq!(before, json!([NAME]));
}
