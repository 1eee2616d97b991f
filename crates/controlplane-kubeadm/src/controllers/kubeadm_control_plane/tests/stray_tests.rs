use serde_json::json;

use super::{
    super::{
        plan::{Action, plan},
        stray::{Stray, find},
        world::World,
    },
    *,
};

fn with_member(mut world: World, id: u64, name: &str, learner: bool) -> World {
    let members = view(&mut world).etcd.as_mut().unwrap().members.as_mut().unwrap();
    members.push(EtcdMember {
        id,
        name: name.into(),
        learner,
    });
    world
}

fn removes(id: u64, name: &str) -> Stray {
    Stray::Remove {
        id,
        name: name.into(),
    }
}

#[test]
fn members_without_a_machine_go_one_at_a_time_by_name() {
    assert_eq!(find(&running(3, json!({}))), Stray::None);
    let world = with_member(running(3, json!({})), 9, "z", false);
    assert_eq!(find(&world), removes(9, "z"));
    let world = with_member(with_member(running(5, json!({})), 9, "z", false), 10, "y", false);
    assert_eq!(find(&world), removes(10, "y"));
    let plan = plan(&world, &NothingInUse, now());
    let expected = Action::RemoveStrayMember {
        id: 10,
        name: "y".into(),
    };
    assert_eq!(plan.actions, [expected]);
    assert!(plan.look_again.is_some());
}

#[test]
fn a_member_on_its_way_is_nobody_to_remove() {
    let stray = with_member(running(3, json!({})), 9, "z", false);
    let mut provisioning = stray.clone();
    let machine = Arc::make_mut(&mut provisioning.machines[2].machine);
    machine.status.as_mut().unwrap().node_ref = None;
    assert_eq!(find(&provisioning), Stray::None);

    // A member that never started goes only when every Machine has its own.
    let unstarted = with_member(running(3, json!({})), 9, "", true);
    assert_eq!(find(&unstarted), removes(9, ""));
    let mut joining = unstarted;
    let members = view(&mut joining)
        .etcd
        .as_mut()
        .unwrap()
        .members
        .as_mut()
        .unwrap();
    members.retain(|member| member.name != "n2");
    assert_eq!(find(&joining), Stray::None);
}

#[test]
fn a_stray_member_stays_while_its_removal_would_cost_the_quorum() {
    let mut world = with_member(running(3, json!({})), 9, "z", false);
    let etcd = view(&mut world).etcd.as_mut().unwrap();
    etcd.answers.insert("n0".into(), Err("gone".into()));
    assert_eq!(find(&world), removes(9, "z"), "two of three are enough");
    let etcd = view(&mut world).etcd.as_mut().unwrap();
    etcd.answers.insert("n1".into(), Err("gone".into()));
    let Stray::Keep(why) = find(&world) else { panic!() };
    assert_eq!(
        why,
        "etcd member z cannot be removed now: 1 of 3 remaining members would be healthy, 2 are needed"
    );
}

#[test]
fn external_etcd_is_left_alone() {
    let external = json!({ "spec": { "kubeadmConfigSpec": { "clusterConfiguration": { "etcd": { "external": {
        "endpoints": ["https://e:2379"], "caFile": "a", "certFile": "b", "keyFile": "c" } } } } } });
    let world = with_member(running(3, external), 9, "z", false);
    assert_eq!(find(&world), Stray::None);
}

#[test]
fn members_that_disagree_are_not_healthy() {
    use super::super::machine_conditions::of_machine;
    let said = |world: &World, machine: usize| {
        of_machine(world, &world.machines[machine], now(), SignedDuration::ZERO)
            .into_iter()
            .find(|draft| draft.type_ == "EtcdMemberHealthy")
            .map(|draft| draft.message)
            .unwrap()
    };
    let mut world = running(3, json!({}));
    let etcd = view(&mut world).etcd.as_mut().unwrap();
    let list = etcd.members.clone().unwrap();
    for answer in etcd.answers.values_mut() {
        answer.as_mut().unwrap().members = list.clone();
    }
    etcd.answers
        .get_mut("n2")
        .unwrap()
        .as_mut()
        .unwrap()
        .members
        .truncate(1);
    assert_eq!(etcd.healthy(), ["n0", "n1"]);
    assert_eq!(said(&world, 0), "");
    assert_eq!(
        said(&world, 2),
        "Etcd member reports the cluster is composed by members [n0], but all previously seen etcd members are reporting [n0 n1 n2]"
    );
    let etcd = view(&mut world).etcd.as_mut().unwrap();
    etcd.answers.get_mut("n1").unwrap().as_mut().unwrap().cluster = 8;
    assert_eq!(
        said(&world, 1),
        "Etcd member has cluster ID 8, but all previously seen etcd members have cluster ID 7"
    );
    let etcd = view(&mut world).etcd.as_mut().unwrap();
    let answer = etcd.answers.get_mut("n0").unwrap().as_mut().unwrap();
    (answer.leader, answer.errors) = (0, vec!["etcdserver: no leader".into()]);
    assert_eq!(said(&world, 0), "Etcd reports errors: etcdserver: no leader");
}
