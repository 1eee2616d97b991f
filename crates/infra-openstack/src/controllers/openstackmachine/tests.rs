//! How the API server reaches machines, on the in-process OpenStack.

use std::{sync::Arc, time::Duration};

use capi_runtime::Next;
use jiff::Timestamp;
use seams::{SeededRandomness, SimulatedClock};
use serde_json::{Value, json};

use super::ingress::{self, Ingress};
use crate::{
    api::OpenStackCluster,
    cloud::{Session, Tools, clouds_yaml},
    controllers::openstackcluster::converge,
    fake::{self, FakeCloud, FaultAction, FaultRule},
    rules::names::ClusterNames,
};

struct Bench {
    cloud: FakeCloud,
    session: Session,
    cluster: OpenStackCluster,
    names: ClusterNames,
}

impl Bench {
    async fn new(api_server: Value) -> Self {
        let clock = Arc::new(SimulatedClock::starting_at(
            "2026-11-20T12:00:00Z".parse::<Timestamp>().unwrap(),
        ));
        let cloud = FakeCloud::new(clock.clone());
        let tools = Tools::new(Arc::new(cloud.clone()), clock, Arc::new(SeededRandomness::new(1)));
        let identity = clouds_yaml::parse(fake::CLOUDS_YAML.as_bytes(), "fake", None, None).unwrap();
        let session = Session::new(identity, tools).unwrap();
        let mut cluster: OpenStackCluster = serde_json::from_value(json!({ "apiVersion": "x/v1", "kind": "OpenStackCluster",
            "metadata": { "name": "c", "namespace": "ns" }, "spec": { "identityRef": { "name": "s", "cloudName": "fake" },
                "managedSubnets": [{ "cidr": "10.6.0.0/24" }], "apiServer": api_server } }))
        .unwrap();
        let names = ClusterNames::new("ns", "c");
        loop {
            let progress = converge(&session, cluster, names.clone(), cloud.now()).await;
            cluster = progress.after;
            match progress.next {
                Next::Done => break,
                Next::After(wait) => tokio::time::sleep(wait).await,
            }
        }
        Self {
            cloud,
            session,
            cluster,
            names,
        }
    }

    fn machine<'a>(&'a self, name: &'a str, server: &'a str) -> ingress::Machine<'a> {
        ingress::Machine {
            cluster: &self.cluster,
            names: &self.names,
            name,
            server,
        }
    }

    async fn ensure(&self, name: &str, address: &str) {
        for _ in 0..50 {
            if let Ok(Ingress::Done) = ingress::ensure(&self.session, &self.machine(name, "u"), address).await
            {
                return;
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        panic!("it never gets there");
    }

    fn members(&self) -> Vec<String> {
        let members = self.cloud.resources("members");
        let mut shown: Vec<String> = members
            .iter()
            .map(|member| format!("{} {}", member["address"], member["protocol_port"]))
            .collect();
        shown.sort();
        shown
    }
}

#[tokio::test(start_paused = true)]
async fn machines_are_members_of_every_port_even_when_the_load_balancer_is_busy() {
    let bench =
        Bench::new(json!({ "managedLoadBalancer": { "enabled": true, "additionalPorts": [22623] } })).await;
    bench
        .cloud
        .disturb(FaultRule::new("POST", "/members", FaultAction::LoseAnswer).times(1));
    futures::future::join(bench.ensure("a", "10.6.0.50"), bench.ensure("b", "10.6.0.51")).await;
    let expected = [
        "\"10.6.0.50\" 22623",
        "\"10.6.0.50\" 6443",
        "\"10.6.0.51\" 22623",
        "\"10.6.0.51\" 6443",
    ];
    assert_eq!(bench.members(), expected);
    bench.cloud.clear_log();
    bench.ensure("a", "10.6.0.50").await;
    assert!(bench.cloud.log().iter().all(|logged| logged.method == "GET"));

    bench.ensure("a", "10.6.0.60").await;
    assert_eq!(
        bench.members()[2..],
        ["\"10.6.0.60\" 22623", "\"10.6.0.60\" 6443"]
    );
    while ingress::remove(&bench.session, &bench.machine("a", "u"))
        .await
        .unwrap()
        != Ingress::Done
    {
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    assert_eq!(bench.members(), ["\"10.6.0.51\" 22623", "\"10.6.0.51\" 6443"]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_octavia_could_not_add_is_made_anew() {
    let bench = Bench::new(json!({ "managedLoadBalancer": { "enabled": true } })).await;
    bench.ensure("a", "10.6.0.50").await;
    let name = bench.names.member(6443, "a");
    bench.cloud.alter("members", &name, |member| {
        member["provisioning_status"] = "ERROR".into();
    });
    let error = loop {
        match ingress::ensure(&bench.session, &bench.machine("a", "u"), "10.6.0.50").await {
            Err(error) => break error.to_string(),
            // The load balancer takes no change while another one is under way.
            Ok(Ingress::Busy(_)) => tokio::time::sleep(Duration::from_secs(3)).await,
            Ok(Ingress::Done) => panic!("a member in ERROR is taken for a good one"),
        }
    };
    assert!(error.contains("ERROR"), "{error}");
    bench.ensure("a", "10.6.0.50").await;
    let members = bench.cloud.resources("members");
    assert_eq!(members.len(), 1);
    assert_ne!(members[0]["provisioning_status"], "ERROR");
}

#[tokio::test(start_paused = true)]
async fn a_floating_ip_goes_to_the_next_machine_when_the_first_is_gone() {
    let bench = Bench::new(json!({})).await;
    let network = bench
        .cluster
        .status
        .as_ref()
        .unwrap()
        .network
        .as_ref()
        .unwrap()
        .id
        .clone();
    let port = |server: &str| {
        bench.cloud.put(
            "ports",
            json!({ "network_id": network, "device_id": server, "fixed_ips": [], "name": server }),
        )
    };
    let [first, second] = ["u1", "u2"].map(port);
    let leads_to = || bench.cloud.resources("floatingips")[0]["port_id"].clone();
    for server in ["u1", "u2"] {
        assert_eq!(
            ingress::ensure(&bench.session, &bench.machine("m", server), "10.6.0.50")
                .await
                .unwrap(),
            Ingress::Done
        );
        assert_eq!(leads_to(), first.as_str());
    }
    bench.session.delete_port(&first).await.unwrap();
    ingress::ensure(&bench.session, &bench.machine("m", "u2"), "10.6.0.51")
        .await
        .unwrap();
    assert_eq!(leads_to(), second.as_str());
}
