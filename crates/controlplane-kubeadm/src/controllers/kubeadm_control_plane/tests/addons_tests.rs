use serde_json::json;

use super::{
    super::{
        addons,
        plan::{Action, Plan, plan},
        world::World,
    },
    *,
};
use crate::workload::addons::{Addons, CoreDns, CoreDnsUpdate};

const COREFILE: &str = ".:53 {\n    kubernetes cluster.local {\n        endpoint a b\n    }\n}\n";

fn planned(world: &World) -> Plan {
    plan(world, &NothingInUse, now())
}

/// A control plane whose machines are fine, with old add-ons.
fn world(changes: Value) -> World {
    let mut world = running(3, json!({}));
    let mut value = serde_json::to_value(&world.control_plane).unwrap();
    merge(&mut value, changes);
    world.control_plane = serde_json::from_value(value).unwrap();
    view(&mut world).addons = Some(Addons {
        kube_proxy: Some("registry.k8s.io/kube-proxy:v1.34.0".into()),
        coredns: Some(CoreDns {
            image: "registry.k8s.io/coredns/coredns:v1.13.1".into(),
            corefile: COREFILE.into(),
            reads_backup: false,
        }),
    });
    world
}

fn dns(dns: Value) -> Value {
    json!({ "spec": { "kubeadmConfigSpec": { "clusterConfiguration": { "dns": dns } } } })
}

fn coredns(world: &World) -> Option<CoreDnsUpdate> {
    planned(world)
        .actions
        .into_iter()
        .find_map(|action| match action {
            Action::UpdateCoreDns(update) => Some(update),
            _ => None,
        })
}

#[test]
fn kube_proxy_follows_the_version_of_the_control_plane() {
    let expected = Action::UpdateKubeProxy("registry.k8s.io/kube-proxy:v1.35.0".into());
    assert_eq!(planned(&world(json!({}))).actions, [expected]);
    let skipped = world(
        json!({ "metadata": { "annotations": { "controlplane.cluster.x-k8s.io/skip-kube-proxy": "" } } }),
    );
    assert_eq!(planned(&skipped).actions, []);
}

#[test]
fn add_ons_wait_for_the_last_machine() {
    let mut world = world(json!({ "spec": { "version": "v1.36.0" } }));
    assert!(!addons::is_due(&world));
    let actions = planned(&world).actions;
    assert!(
        !actions
            .iter()
            .any(|action| matches!(action, Action::UpdateKubeProxy(_))),
        "{actions:?}"
    );
    world.control_plane.spec.version = "v1.35.0".into();
    assert!(addons::is_due(&world));
}

#[test]
fn what_the_add_ons_depend_on_decides_whether_they_are_looked_at_again() {
    let first = addons::fingerprint(&world(json!({})));
    assert_eq!(
        first,
        addons::fingerprint(&world(json!({ "spec": { "replicas": 3 } })))
    );
    for changes in [
        json!({ "spec": { "version": "v1.35.1" } }),
        dns(json!({ "imageTag": "v1.14.2" })),
        json!({ "metadata": { "annotations": { "controlplane.cluster.x-k8s.io/skip-coredns": "" } } }),
    ] {
        assert_ne!(first, addons::fingerprint(&world(changes.clone())), "{changes}");
    }
}

#[test]
fn coredns_follows_the_configuration_with_its_corefile() {
    assert_eq!(coredns(&world(json!({}))), None, "nothing is asked for");
    let update = coredns(&world(dns(json!({ "imageTag": "v1.14.2" })))).unwrap();
    assert_eq!(update.image, "registry.k8s.io/coredns/coredns:v1.14.2");
    assert_eq!(update.backup, COREFILE);
    assert!(update.corefile.contains("endpoint a\n"), "{}", update.corefile);
    assert_eq!(
        (update.repository, update.tag.as_deref()),
        (None, Some("v1.14.2"))
    );
    let mut skipped = world(dns(json!({ "imageTag": "v1.14.2" })));
    let annotations = skipped.control_plane.metadata.annotations.get_or_insert_default();
    annotations.insert("controlplane.cluster.x-k8s.io/skip-coredns".into(), String::new());
    assert_eq!(coredns(&skipped), None);
}

#[test]
fn the_repository_of_coredns_is_that_of_its_own_setting_then_that_of_all() {
    let own = dns(json!({ "imageRepository": "own.io/dns/" }));
    assert_eq!(coredns(&world(own)).unwrap().image, "own.io/dns/coredns:v1.13.1");
    let all = json!({ "spec": { "kubeadmConfigSpec": { "clusterConfiguration": { "imageRepository": "all.io" } } } });
    let world_of_all = world(all);
    assert_eq!(coredns(&world_of_all), None, "the Machines come first");
    let mut afterwards = Plan::default();
    addons::plan_addons(&world_of_all, &mut afterwards);
    assert!(
        matches!(afterwards.actions.last(), Some(Action::UpdateCoreDns(update)) if update.image == "all.io/coredns:v1.13.1"),
        "{afterwards:?}"
    );
    let default = dns(json!({ "imageRepository": "registry.k8s.io" }));
    assert_eq!(coredns(&world(default)), None, "which has a folder for it");
}

#[test]
fn an_interrupted_migration_is_finished() {
    let mut world = world(dns(json!({ "imageTag": "v1.13.1" })));
    let addons = view(&mut world).addons.as_mut().unwrap();
    addons.coredns.as_mut().unwrap().reads_backup = true;
    let update = coredns(&world).unwrap();
    assert_eq!(
        (update.corefile.as_str(), update.backup.as_str()),
        (COREFILE, COREFILE)
    );
}

#[test]
fn versions_without_a_way_are_refused_aloud() {
    for (tag, expected) in [
        (
            "v1.12.0",
            "Failed to update CoreDNS: cannot migrate up to '1.12.0' from '1.13.1'",
        ),
        (
            "v1.99.0",
            "Failed to update CoreDNS: cannot migrate up to '1.99.0' from '1.13.1'",
        ),
        ("latest", "Failed to update CoreDNS: latest is no version"),
    ] {
        let plan = planned(&world(dns(json!({ "imageTag": tag }))));
        assert!(
            !plan
                .actions
                .iter()
                .any(|action| matches!(action, Action::UpdateCoreDns(_)))
        );
        assert_eq!(plan.warnings, [("FailedUpdateCoreDNS", expected.to_owned())]);
    }
}
