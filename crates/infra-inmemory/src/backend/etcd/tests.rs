//! The rules of membership, elections and quorums.

use super::{EtcdCluster, EtcdError};

fn cluster(names: &[&str]) -> EtcdCluster {
    let mut cluster = EtcdCluster::default();
    let mut next = 100;
    for name in names {
        let fresh = || {
            next += 1;
            next
        };
        cluster.start(name, fresh).unwrap();
    }
    cluster
}

#[test]
fn the_first_member_leads_and_restarting_it_keeps_its_id() {
    let mut cluster = cluster(&["a"]);
    let status = cluster.status("a").unwrap();
    assert_eq!(
        (cluster.leader(), status.leader, status.header.unwrap().cluster_id),
        (Some("a"), 102, 101)
    );
    cluster.stop("a");
    assert_eq!(cluster.status("a"), Err(EtcdError::Stopped));
    assert_eq!(cluster.start("a", || 7), Ok(102));
    assert_eq!(cluster.leader(), Some("a"));
}

#[test]
fn another_member_takes_over_when_the_leader_stops_and_none_without_a_quorum() {
    let mut cluster = cluster(&["a", "b", "c"]);
    cluster.stop("a");
    assert_eq!(cluster.leader(), Some("b"));
    cluster.stop("b");
    assert_eq!(cluster.leader(), None);
    let status = cluster.status("c").unwrap();
    assert_eq!((status.leader, status.errors.len()), (0, 1));
    assert_eq!(cluster.list("c", true), Err(EtcdError::NoLeader));
    assert_eq!(cluster.list("c", false).unwrap().1.len(), 3);
}

#[test]
fn leadership_is_handed_over_by_the_leader_to_a_running_member() {
    let mut cluster = cluster(&["a", "b", "c"]);
    let id = |cluster: &EtcdCluster, name: &str| {
        cluster
            .members()
            .into_iter()
            .find(|member| member.name == name)
            .unwrap()
            .id
    };
    let (b, c) = (id(&cluster, "b"), id(&cluster, "c"));
    assert_eq!(cluster.move_leader("b", c), Err(EtcdError::NotLeader));
    assert_eq!(cluster.move_leader("a", 1), Err(EtcdError::BadTransferee));
    cluster.stop("c");
    assert_eq!(cluster.move_leader("a", c), Err(EtcdError::BadTransferee));
    cluster.move_leader("a", b).unwrap();
    assert_eq!(cluster.leader(), Some("b"));
}

#[test]
fn removals_keep_a_quorum() {
    let mut three = cluster(&["a", "b", "c"]);
    let ids: Vec<_> = three.members().iter().map(|member| member.id).collect();
    assert_eq!(three.remove("a", 1), Err(EtcdError::MemberNotFound));
    three.stop("c");
    assert_eq!(
        three.remove("a", ids[1]),
        Err(EtcdError::Unhealthy),
        "one of three is down already"
    );
    assert_eq!(
        three.remove("a", ids[2]).unwrap().1.len(),
        2,
        "the one that is down may go"
    );
    assert!(!three.is_running("c"));
    assert_eq!(
        three.remove("a", ids[0]).unwrap().1.len(),
        1,
        "a member may remove itself"
    );
    assert_eq!(three.leader(), Some("b"));
    assert_eq!(three.remove("b", ids[1]), Err(EtcdError::NotEnoughStarted));
}

fn id_of(cluster: &EtcdCluster, name: &str) -> u64 {
    let members = cluster.members();
    members.iter().find(|member| member.name == name).unwrap().id
}

#[test]
fn a_joining_member_learns_first_and_votes_when_it_is_promoted() {
    let mut cluster = cluster(&["a"]);
    let b = cluster.add_learner("b", || 200).unwrap();
    assert_eq!(cluster.add_learner("b", || 7), Ok(b), "asked twice");
    let members = cluster.members();
    assert_eq!(
        members.iter().map(|member| member.is_learner).collect::<Vec<_>>(),
        [false, true]
    );
    assert!(cluster.status("b").unwrap().is_learner);
    assert_eq!(cluster.list("b", false), Err(EtcdError::Learner));
    assert_eq!(cluster.move_leader("a", b), Err(EtcdError::BadTransferee));
    assert!(!cluster.serves("b"));
    assert_eq!(cluster.add_learner("c", || 300), Err(EtcdError::TooManyLearners));
    assert_eq!(cluster.start("b", || 7), Ok(b));
    assert!(cluster.serves("b") && !cluster.members()[1].is_learner);
    cluster.stop("a");
    assert_eq!(cluster.leader(), None, "both vote now");
}

#[test]
fn nobody_joins_or_votes_while_the_cluster_is_not_well() {
    let mut three = cluster(&["a", "b", "c"]);
    three.stop("c");
    assert_eq!(
        three.add_learner("d", || 9),
        Err(EtcdError::Unhealthy),
        "one of three is down"
    );
    three.remove("a", id_of(&three, "c")).unwrap();
    three.add_learner("d", || 9).unwrap();
    three.stop("b");
    assert_eq!(
        three.start("d", || 9),
        Err(EtcdError::NoLeader),
        "no quorum, no promotion"
    );
    three.resume("b");
    three.start("d", || 9).unwrap();
    assert_eq!(three.voters().count(), 3);
    three.stop("a");
    three.stop("b");
    assert_eq!(three.add_learner("e", || 10), Err(EtcdError::NoLeader));
}

#[test]
fn a_learner_that_never_voted_may_always_go() {
    let mut one = cluster(&["a"]);
    let b = one.add_learner("b", || 200).unwrap();
    assert_eq!(one.remove("a", b).unwrap().1.len(), 1);
    assert_eq!(one.leader(), Some("a"));
}

#[test]
fn a_removed_member_and_one_without_data_do_not_come_back() {
    let mut three = cluster(&["a", "b", "c"]);
    three.lose("c");
    three.resume("c");
    assert!(!three.is_running("c"));
    assert_eq!(three.start("c", || 9), Ok(id_of(&three, "c")));
    assert!(!three.is_running("c"), "its data is gone");
    assert_eq!(three.members().len(), 3, "it stays in the list");
    three.remove("a", id_of(&three, "c")).unwrap();
    three.resume("c");
    assert_eq!(three.start("c", || 9), Err(EtcdError::Removed));
    assert_eq!(three.add_learner("c", || 9), Err(EtcdError::Removed));
}

#[test]
fn of_five_members_two_may_be_down() {
    let mut five = cluster(&["a", "b", "c", "d", "e"]);
    five.stop("a");
    five.stop("b");
    assert_eq!(five.leader(), Some("c"));
    assert!(five.serves("c") && !five.serves("a"));
    five.stop("c");
    assert!(!five.serves("d"));
    five.resume("a");
    assert!(five.serves("d"));
}
