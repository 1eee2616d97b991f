//! The first control-plane machine: the lock, the certificates, its data.

use super::*;

#[test]
fn the_first_control_plane_machine_takes_the_lock_and_gets_its_data() {
    let world = init_world();
    let plan = planned(&world, &facts(&world));
    assert_eq!(names(&plan), ["take lock", "create data"]);
    assert_eq!(message(&plan), "available in k1");
    let text = user_data(&plan);
    for line in [
        "-   path: /etc/kubernetes/pki/etcd/ca.key",
        "      clusterName: c1",
        "      controlPlaneEndpoint: 10.0.0.9:6443",
        "      kubernetesVersion: v1.36.0",
        "        podSubnet: 192.168.0.0/16",
        "  - 'kubeadm init --config /run/kubeadm/kubeadm.yaml  && echo success > /run/cluster-api/bootstrap-success.complete'",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
}

#[test]
fn the_lock_of_another_machine_is_waited_for_unless_that_is_gone() {
    let world = init_world();
    let lock = |holder: &str, holder_lives| Facts {
        lock: Some(Lock {
            holder: holder.to_owned(),
            holder_lives,
            uid: None,
        }),
        ..facts(&world)
    };
    assert_eq!(names(&planned(&world, &lock("m1", true))), ["create data"]);
    assert_eq!(
        names(&planned(&world, &lock("m2", false))),
        ["drop lock of m2", "take lock", "create data"]
    );
    let waits = planned(&world, &lock("m2", true));
    assert!(waits.actions.is_empty() && waits.next.is_some());
    assert_eq!(
        message(&waits),
        "Waiting for Cluster control plane to be initialized: Machine m2 is at it"
    );
}

#[test]
fn certificates_are_made_only_where_no_control_plane_provider_makes_them() {
    let mut world = init_world();
    let missing = Facts::default();
    let waits = planned(&world, &missing);
    assert!(waits.actions.is_empty());
    assert_eq!(
        message(&waits),
        "Waiting for Secrets c1-ca, c1-etcd, c1-proxy, c1-sa in namespace ns, made by KubeadmControlPlane cp"
    );
    assert!(matches!(
        waits.report.certificates,
        Some(CertificatesState::Missing(_))
    ));
    Arc::make_mut(world.cluster.as_mut().unwrap())
        .spec
        .control_plane_ref = None;
    let made = planned(&world, &missing);
    assert_eq!(names(&made), ["take lock", "generate 4"]);
    assert!(made.again && made.report == Report::default());
}
