//! What the tests of the plan share: a world as it should be, and the plan in words.

mod data;
mod init;
mod join;
mod waits;

use std::sync::Arc;

use capi_api::bootstrap::v1beta2::KubeadmConfig;
use capi_api::core::v1beta2::{Cluster, Machine, MachinePool};
use capi_api::secrets::VALUE_KEY;
use cluster_pki::PooledKeys;
use serde_json::{Value, json};

use super::*;
use crate::controllers::kubeadmconfig::certificates::{self, Certificates};
use crate::controllers::kubeadmconfig::world::TokenFact;

const NOW: &str = "2026-01-01T00:00:00Z";
const TOKEN: &str = "abcdef.0123456789abcdef";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn life() -> TokenLife {
    TokenLife {
        ttl: SignedDuration::from_mins(15),
    }
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn cluster(initialized: bool) -> Value {
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
        "metadata": {"name": "c1", "namespace": "ns", "uid": "cluster-uid"},
        "spec": {
            "clusterNetwork": {"pods": {"cidrBlocks": ["192.168.0.0/16"]}, "services": {"cidrBlocks": ["10.96.0.0/12"]}, "serviceDomain": "cluster.local"},
            "controlPlaneEndpoint": {"host": "10.0.0.9", "port": 6443},
            "controlPlaneRef": {"apiGroup": "controlplane.cluster.x-k8s.io", "kind": "KubeadmControlPlane", "name": "cp"}},
        "status": {"initialization": {"infrastructureProvisioned": true, "controlPlaneInitialized": initialized}},
    })
}

fn machine(control_plane: bool) -> Value {
    let labels = if control_plane {
        json!({"cluster.x-k8s.io/control-plane": ""})
    } else {
        json!({})
    };
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine",
        "metadata": {"name": "m1", "namespace": "ns", "labels": labels},
        "spec": {"clusterName": "c1", "version": "v1.36.0", "bootstrap": {},
            "infrastructureRef": {"apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DevMachine", "name": "m1"}},
    })
}

fn config(spec: Value) -> Value {
    json!({
        "apiVersion": "bootstrap.cluster.x-k8s.io/v1beta2", "kind": "KubeadmConfig",
        "metadata": {"name": "k1", "namespace": "ns", "uid": "config-uid", "creationTimestamp": NOW},
        "spec": spec,
    })
}

fn world(config: Value, machine: Value, cluster: Value) -> World {
    World {
        config: Arc::new(read::<KubeadmConfig>(config)),
        owner: Owner::Machine(Arc::new(read::<Machine>(machine))),
        cluster: Some(Arc::new(read::<Cluster>(cluster))),
    }
}

fn init_world() -> World {
    world(
        config(json!({"clusterConfiguration": {"apiServer": {"certSANs": ["x"]}}})),
        machine(true),
        cluster(false),
    )
}

fn join_world(control_plane: bool) -> World {
    world(config(json!({})), machine(control_plane), cluster(true))
}

/// All facts as they should be.
fn facts(world: &World) -> Facts {
    let certificates = Certificates::of_control_plane(None);
    let secret = |purpose| {
        let pair = certificates::generate(purpose, None, &PooledKeys::new(), now()).unwrap();
        Some(certificates::secret(
            world.cluster.as_ref().unwrap(),
            purpose,
            &world.config,
            pair,
        ))
    };
    Facts {
        certificates: certificates
            .purposes()
            .into_iter()
            .map(|purpose| (purpose, secret(purpose)))
            .collect(),
        workload: Some(Ok(TokenFact::Missing)),
        fresh_token: Some(TOKEN.parse().unwrap()),
        ..Facts::default()
    }
}

fn names(plan: &Plan) -> Vec<String> {
    let name = |action: &Action| match action {
        Action::DropLock(lock) => format!("drop lock of {}", lock.holder),
        Action::TakeLock => "take lock".to_owned(),
        Action::Generate(purposes) => format!("generate {}", purposes.len()),
        Action::WriteSpec(_) => "write spec".to_owned(),
        Action::CreateToken(token, expires) => format!("create token {} until {expires}", token.id()),
        Action::ExtendToken(token, expires) => format!("extend token {} until {expires}", token.id()),
        Action::CreateData(_) => "create data".to_owned(),
        Action::ReplaceData(..) => "replace data".to_owned(),
    };
    plan.actions.iter().map(name).collect()
}

fn user_data(plan: &Plan) -> String {
    let secret = plan.actions.iter().find_map(|action| match action {
        Action::CreateData(secret) | Action::ReplaceData(_, secret) => Some(secret.clone()),
        _ => None,
    });
    String::from_utf8(secret.unwrap().data.unwrap()[VALUE_KEY].0.clone()).unwrap()
}

fn message(plan: &Plan) -> String {
    match &plan.report.data {
        Some(Data::Failed(text) | Data::WaitsForControlPlane(text) | Data::WaitsForInfrastructure(text)) => {
            text.clone()
        }
        Some(Data::Available(secret)) => format!("available in {secret}"),
        None => String::new(),
    }
}

fn planned(world: &World, facts: &Facts) -> Plan {
    plan(world, facts, life(), now())
}
