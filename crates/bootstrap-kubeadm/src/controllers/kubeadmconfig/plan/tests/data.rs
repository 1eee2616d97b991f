//! Data that exists already: tokens that are kept alive, Secrets that are adopted or left alone.

use super::*;

fn with_data(mut config: Value) -> Value {
    config["status"] = json!({"dataSecretName": "k1", "initialization": {"dataSecretCreated": true}});
    config
}

fn joined_spec() -> Value {
    json!({"joinConfiguration": {"discovery": {"bootstrapToken": {"token": TOKEN, "apiServerEndpoint": "10.0.0.9:6443", "caCertHashes": ["sha256:00"]}}}})
}

#[test]
fn a_token_is_kept_alive_until_its_machine_has_joined() {
    let mut world = world(with_data(config(joined_spec())), machine(false), cluster(true));
    let expires = |minutes| Facts {
        workload: Some(Ok(TokenFact::Expires(Some(
            now() + SignedDuration::from_mins(minutes),
        )))),
        ..facts(&world)
    };
    assert_eq!(names(&planned(&world, &expires(14))), [""; 0]);
    assert_eq!(
        names(&planned(&world, &expires(10))),
        ["extend token abcdef until 2026-01-01T00:15:00Z"]
    );
    // The machine may still boot with the data it got: the very same token is made to work again.
    assert_eq!(
        names(&planned(&world, &facts(&world))),
        ["create token abcdef until 2026-01-01T00:15:00Z"]
    );
    let kept = planned(&world, &facts(&world));
    assert_eq!(
        (message(&kept).as_str(), kept.next),
        ("available in k1", Some(Duration::from_secs(300)))
    );
    let Owner::Machine(machine) = &mut world.owner else {
        panic!()
    };
    Arc::make_mut(machine).status = Some(read(json!({"nodeRef": {"name": "n1"}})));
    let done = planned(&world, &Facts::default());
    assert!(done.actions.is_empty() && done.next.is_none());
}

#[test]
fn a_pool_gets_a_new_token_in_new_data() {
    let pool: MachinePool = read(json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "MachinePool", "metadata": {"name": "p1", "namespace": "ns"},
        "spec": {"clusterName": "c1", "template": {"spec": machine(false)["spec"]}},
        "status": {"nodeRefs": [{"name": "n1"}]},
    }));
    let world = World {
        owner: Owner::MachinePool(Arc::new(pool)),
        ..world(with_data(config(joined_spec())), machine(false), cluster(true))
    };
    let facts = Facts {
        workload: Some(Ok(TokenFact::Expires(Some(now() + SignedDuration::from_mins(5))))),
        fresh_token: Some("zzzzzz.zzzzzzzzzzzzzzzz".parse().unwrap()),
        ..facts(&world)
    };
    let plan = planned(&world, &facts);
    assert_eq!(
        names(&plan),
        [
            "write spec",
            "create token zzzzzz until 2026-01-01T00:15:00Z",
            "create data"
        ]
    );
    assert!(user_data(&plan).contains("token: zzzzzz.zzzzzzzzzzzzzzzz"));
}

#[test]
fn data_that_the_owner_already_has_is_adopted() {
    let mut machine = machine(false);
    machine["spec"]["bootstrap"]["dataSecretName"] = json!("from-backup");
    let plan = planned(
        &world(config(json!({})), machine, cluster(true)),
        &Facts::default(),
    );
    assert_eq!(message(&plan), "available in from-backup");
    assert_eq!(plan.report.certificates, Some(CertificatesState::Available));
}

#[test]
fn somebody_elses_secret_is_left_alone() {
    let world = join_world(false);
    let foreign: Secret = read(json!({
        "metadata": {"name": "k1", "namespace": "ns", "ownerReferences": [
            {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": true}]},
        "type": "cluster.x-k8s.io/secret",
    }));
    let plan = planned(
        &world,
        &Facts {
            data: Some(foreign),
            ..facts(&world)
        },
    );
    assert!(plan.actions.is_empty());
    assert_eq!(
        message(&plan),
        "Secret ns/k1 belongs to Pod p; delete it or rename this KubeadmConfig"
    );
}

#[test]
fn an_own_secret_that_lost_its_owner_gets_it_back() {
    let world = join_world(false);
    let first = planned(&world, &facts(&world));
    let Some(Action::CreateData(secret)) = first.actions.last() else {
        panic!()
    };
    let mut orphan = (**secret).clone();
    orphan.metadata.owner_references = None;
    let plan = planned(
        &world,
        &Facts {
            data: Some(orphan),
            ..facts(&world)
        },
    );
    let Some(Action::ReplaceData(_, after)) = plan.actions.last() else {
        panic!()
    };
    assert_eq!(after.owner_references()[0].uid, "config-uid");
    let mut orphan = (**secret).clone();
    assert_eq!(mended_owner(&world.config, &orphan), None);
    orphan.metadata.owner_references = None;
    let (_, mended) = mended_owner(&world.config, &orphan).unwrap();
    assert_eq!(mended, **secret);
}
