//! The plan at every step of a machine's life.

use std::time::Duration;

use capi_api::{
    conditions::{self, Draft},
    core::v1beta2::{ClusterInitializationStatus, ClusterStatus},
    labels,
};
use capi_runtime::Key;
use jiff::{SignedDuration, Timestamp};

use super::{
    conditions::{Part, State, write},
    observed::{Guest, Observed},
    plan::{Action, needs_guest, plan},
};
use crate::{
    api::{
        BOOTSTRAPPED_ANNOTATION, CommonProvisioningSettings, DevInitializationStatus, DevMachineStatus,
        InMemoryComponent, InMemoryMachineBackendSpec,
    },
    backend::{
        NodeRecord, SimulatedMachine,
        guest::{
            BootstrapData, Host,
            join::{Authorities, AuthorityFiles, ClusterFacts, TokenSecret},
        },
    },
    faults,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600).unwrap() + SignedDuration::from_secs(seconds)
}

fn component(duration: &str) -> Option<InMemoryComponent> {
    let settings = CommonProvisioningSettings {
        startup_duration: duration.to_owned(),
        startup_jitter: None,
    };
    Some(InMemoryComponent {
        provisioning: Some(settings),
    })
}

/// A machine with upstream's delays, everything around it ready, not created yet.
fn observed(control_plane: bool) -> Observed {
    let mut observed = Observed::default();
    observed.dev_machine.metadata.name = Some("dev-1".into());
    observed.dev_machine.metadata.uid = Some("uid-1".into());
    observed.dev_machine.spec.backend.in_memory = Some(InMemoryMachineBackendSpec {
        vm: component("10s"),
        node: component("2s"),
        api_server: component("3s"),
        etcd: component("2s"),
    });
    observed.machine.spec.bootstrap.data_secret_name = Some("data".into());
    observed.machine.spec.version = Some("v1.35.0".into());
    if control_plane {
        observed.machine.metadata.labels = Some([(labels::CONTROL_PLANE.to_owned(), String::new())].into());
    }
    observed.cluster.status = Some(ClusterStatus {
        initialization: Some(ClusterInitializationStatus {
            infrastructure_provisioned: Some(true),
            ..ClusterInitializationStatus::default()
        }),
        ..ClusterStatus::default()
    });
    observed
}

fn created(mut observed: Observed) -> Observed {
    observed.simulated = Some(SimulatedMachine::ordered(Key::new("ns", "c"), at(0)));
    observed
}

fn joined(observed: Observed, seconds: i64) -> Observed {
    let mut observed = created(observed);
    if let Some(machine) = &mut observed.simulated {
        machine.node = Some(NodeRecord::for_tests("dev-1", at(seconds)));
    }
    observed
}

fn with_guest(mut observed: Observed, data: &str) -> Observed {
    let host = Host {
        name: "dev-1",
        instance_id: "dev-1",
        kubernetes_version: Some("v1.35.0"),
    };
    let pair = |name: &str| AuthorityFiles {
        certificate: format!("{name} certificate"),
        key: format!("{name} key"),
    };
    let token = TokenSecret {
        secret: "0123456789abcdef".into(),
        expiration: None,
        authentication: true,
        signing: true,
    };
    observed.guest = Some(Guest {
        data: Some(BootstrapData::parse(data.as_bytes(), None, host).map_err(|error| error.to_string())),
        authorities: Some(Ok(Authorities {
            cluster: pair("ca"),
            etcd: Some(pair("etcd")),
            ca_hashes: vec![format!("sha256:{}1", "0".repeat(63))],
        })),
        cluster: ClusterFacts {
            endpoint: "127.0.0.1:20000".into(),
            serving: true,
            tokens: [("abcdef".to_owned(), token)].into(),
            ..ClusterFacts::default()
        },
    });
    observed
}

const INIT: &str = include_str!("../../../testdata/init.cloud-config");
const JOIN: &str = include_str!("../../../testdata/join-worker.cloud-config");

fn states(observed: &Observed, seconds: i64) -> Vec<State> {
    plan(observed, at(seconds))
        .states
        .into_iter()
        .map(|(_, state)| state)
        .collect()
}

#[test]
fn nothing_is_created_before_everything_it_needs() {
    let mut early = observed(true);
    early.cluster.status = None;
    assert_eq!(states(&early, 0)[0], State::WaitingForClusterInfrastructure);
    assert_eq!(states(&early, 0)[3], State::WaitingFor(Part::Vm));
    assert!(plan(&early, at(0)).actions.is_empty());

    let mut no_data = observed(true);
    no_data.machine.spec.bootstrap.data_secret_name = None;
    assert_eq!(states(&no_data, 0)[0], State::WaitingForBootstrapData);

    let mut worker = observed(false);
    worker.machine.spec.bootstrap.data_secret_name = None;
    assert_eq!(
        states(&worker, 0),
        [State::WaitingForControlPlane, State::WaitingFor(Part::Vm)]
    );
    let initialized = Draft::is_true("ControlPlaneInitialized", "Initialized", "");
    let status = worker.cluster.status.as_mut().unwrap();
    conditions::set_in(&mut status.conditions, initialized, None, at(0));
    assert_eq!(states(&worker, 0)[0], State::WaitingForBootstrapData);
}

#[test]
fn a_machine_boots_after_its_delay_and_is_looked_at_again_exactly_then() {
    let first = plan(&observed(false), at(0));
    assert_eq!(
        (first.actions, first.next),
        (vec![Action::CreateVm], Some(Duration::from_secs(10)))
    );
    let waiting = created(observed(false));
    let later = plan(&waiting, at(4));
    assert_eq!(
        (later.actions.len(), later.next, later.provisioned),
        (0, Some(Duration::from_secs(6)), false)
    );
    let booted = plan(&waiting, at(10));
    assert!(booted.provisioned);
    assert_eq!(booted.next, Some(Duration::from_secs(2)));
    assert_eq!(
        booted.states,
        [(Part::Vm, State::Provisioned), (Part::Node, State::Starting)]
    );
}

#[test]
fn secrets_are_read_only_at_the_steps_that_need_them() {
    for (control_plane, made, seconds, want) in [
        (false, false, 0, false),
        (false, true, 11, false),
        (false, true, 12, true),
    ] {
        let observed = if made {
            created(observed(control_plane))
        } else {
            observed(control_plane)
        };
        assert_eq!(needs_guest(&observed, at(seconds)), want, "{made} {seconds}");
    }
    assert!(
        !needs_guest(&joined(observed(false), 12), at(60)),
        "a worker that joined needs nothing more"
    );
    assert!(!needs_guest(&joined(observed(true), 12), at(13)));
    assert!(needs_guest(&joined(observed(true), 12), at(14)), "etcd is due");
    let mut complete = joined(observed(true), 12);
    let machine = complete.simulated.as_mut().unwrap();
    (machine.etcd, machine.api_server) = (true, true);
    assert!(!needs_guest(&complete, at(60)));
    let mut at_once = observed(false);
    at_once.dev_machine.spec.backend.in_memory = Some(InMemoryMachineBackendSpec::default());
    assert!(
        needs_guest(&at_once, at(0)),
        "a machine without delays joins in its first plan"
    );
}

#[test]
fn a_worker_joins_when_its_data_is_valid() {
    let plan = plan(&with_guest(created(observed(false)), JOIN), at(12));
    assert!(matches!(&plan.actions[..], [Action::BecomeNode(Some(_))]));
    assert_eq!(plan.next, None);
}

#[test]
fn a_machine_whose_data_is_bad_stays_outside_and_says_why() {
    let mut broken = with_guest(created(observed(false)), JOIN);
    broken.guest.as_mut().unwrap().data = Some(Err("bootstrap data Secret ns/data: x".into()));
    let got = plan(&broken, at(12));
    assert_eq!(
        got.states[1].1,
        State::BootstrapFailed("bootstrap data Secret ns/data: x".into())
    );
    assert_eq!(
        (got.actions.len(), got.next),
        (0, None),
        "a machine does not read its data twice"
    );

    let wrong_role = with_guest(created(observed(true)), JOIN);
    let State::BootstrapFailed(message) = &states(&wrong_role, 12)[1] else {
        panic!("joined")
    };
    assert!(message.contains("its bootstrap data makes a worker"), "{message}");
}

#[test]
fn kubeadm_tries_to_join_for_five_minutes() {
    let mut alone = with_guest(created(observed(false)), JOIN);
    alone.guest.as_mut().unwrap().cluster.serving = false;
    let trying = plan(&alone, at(12));
    assert_eq!(trying.next, Some(Duration::from_secs(5)));
    let State::BootstrapFailed(message) = &trying.states[1].1 else {
        panic!("joined")
    };
    assert!(message.contains("connection refused"), "{message}");
    let given_up = plan(&alone, at(12 + 300));
    let State::BootstrapFailed(message) = &given_up.states[1].1 else {
        panic!("joined")
    };
    assert!(
        message.contains("gave up after 5 minutes, replace the Machine"),
        "{message}"
    );
    assert_eq!(given_up.next, None);
}

#[test]
fn a_missing_authority_is_looked_for_again() {
    let mut missing = with_guest(created(observed(true)), INIT);
    missing.guest.as_mut().unwrap().authorities = Some(Err("Secret ns/c-ca does not exist".into()));
    let got = plan(&missing, at(12));
    assert_eq!(got.next, Some(Duration::from_secs(30)));
    assert_eq!(
        got.states[1].1,
        State::BootstrapFailed("Secret ns/c-ca does not exist".into())
    );
}

#[test]
fn the_control_plane_starts_after_the_node() {
    let first = plan(&with_guest(created(observed(true)), INIT), at(12));
    assert!(matches!(&first.actions[..], [Action::BecomeNode(Some(_))]));
    assert_eq!(first.next, Some(Duration::from_secs(2)));
    assert_eq!(
        first.states[2..],
        [(Part::Etcd, State::Starting), (Part::ApiServer, State::Starting)]
    );

    let second = plan(&with_guest(joined(observed(true), 12), INIT), at(14));
    assert_eq!(
        (second.actions, second.next),
        (vec![Action::StartEtcd], Some(Duration::from_secs(1)))
    );

    let mut third = with_guest(joined(observed(true), 12), INIT);
    third.simulated.as_mut().unwrap().etcd = true;
    let third = plan(&third, at(15));
    assert_eq!((third.actions, third.next), (vec![Action::StartApiServer], None));
}

#[test]
fn what_is_about_to_change_is_not_reported() {
    let waiting = |created: i64| {
        let mut waiting = observed(true);
        waiting.machine.spec.bootstrap.data_secret_name = None;
        let time = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(created));
        waiting.dev_machine.metadata.creation_timestamp = Some(time);
        waiting
    };
    let wait =
        |observed: &Observed, seconds: i64| plan(observed, at(seconds)).worth_waiting(observed, at(seconds));
    assert_eq!(wait(&waiting(0), 1), Some(Duration::from_secs(2)));
    assert_eq!(wait(&waiting(0), 2), None, "it lasts");

    let mut booting = created(observed(true));
    assert_eq!(wait(&booting, 0), Some(Duration::from_secs(10)), "it boots soon");
    write(
        &mut booting.dev_machine,
        &[(Part::Vm, State::WaitingForBootstrapData)],
        at(0),
    );
    assert_eq!(wait(&booting, 0), None, "what is told already must not grow old");

    let mut running = with_guest(created(observed(true)), INIT);
    assert_eq!(
        wait(&running, 10),
        Some(Duration::from_secs(2)),
        "its Node follows"
    );
    running.dev_machine.spec.provider_id = Some("in-memory://dev-1".into());
    running.dev_machine.status = Some(DevMachineStatus {
        initialization: Some(DevInitializationStatus {
            provisioned: Some(true),
        }),
        ..DevMachineStatus::default()
    });
    write(
        &mut running.dev_machine,
        &[(Part::Vm, State::Provisioned)],
        at(10),
    );
    assert_eq!(wait(&running, 12), Some(Duration::from_secs(2)), "etcd follows");
    let slow = switched(running.clone(), &[(faults::SLOW, "1s")]);
    assert_eq!(wait(&slow, 13), None, "switches are always told");
    running.guest.as_mut().unwrap().data = Some(Err("bad".into()));
    assert_eq!(wait(&running, 12), None, "so are failures");
}

#[test]
fn after_a_restart_a_machine_that_joined_once_is_rebuilt_at_once() {
    let mut lost = observed(true);
    lost.machine.metadata.annotations = Some([(BOOTSTRAPPED_ANNOTATION.to_owned(), String::new())].into());
    assert!(needs_guest(&lost, at(500)));
    let mut lost = with_guest(lost, INIT);
    lost.guest.as_mut().unwrap().data = Some(Err("the Secret is gone".into()));
    let plan = plan(&lost, at(500));
    assert_eq!(
        plan.actions,
        [
            Action::CreateVm,
            Action::BecomeNode(None),
            Action::StartEtcd,
            Action::StartApiServer
        ]
    );
    assert!(plan.states.iter().all(|(_, state)| *state == State::Provisioned));
}

#[test]
fn a_machine_whose_last_part_is_said_to_run_was_a_node_before() {
    let mut lost = observed(true);
    let mut parts = vec![(Part::Vm, State::Provisioned), (Part::Node, State::Provisioned)];
    write(&mut lost.dev_machine, &parts, at(12));
    assert!(!lost.was_bootstrapped(), "its API server has not come up yet");
    parts.extend([
        (Part::Etcd, State::Provisioned),
        (Part::ApiServer, State::Provisioned),
    ]);
    write(&mut lost.dev_machine, &parts, at(14));
    assert!(lost.was_bootstrapped() && !lost.is_marked());
    assert_eq!(plan(&with_guest(lost, INIT), at(500)).actions.len(), 4, "at once");
}

#[test]
fn a_machine_that_was_reported_as_running_does_not_boot_again_after_a_restart() {
    let mut lost = observed(false);
    lost.dev_machine.status = Some(DevMachineStatus {
        initialization: Some(DevInitializationStatus {
            provisioned: Some(true),
        }),
        ..DevMachineStatus::default()
    });
    write(&mut lost.dev_machine, &[(Part::Vm, State::Provisioned)], at(99));
    let plan = plan(&lost, at(100));
    assert_eq!(plan.actions, [Action::CreateVm]);
    assert_eq!(
        (plan.provisioned, plan.next),
        (true, Some(Duration::from_secs(1))),
        "2 s after 99 s"
    );
}

#[test]
fn a_setting_that_cannot_be_read_is_named() {
    let mut odd = observed(false);
    odd.dev_machine.spec.backend.in_memory.as_mut().unwrap().vm = component("soon");
    let State::Failed(message) = &states(&odd, 0)[0] else {
        panic!("accepted")
    };
    assert_eq!(
        message,
        "spec.backend.inMemory.vm: startupDuration `soon` is not a duration such as 10s or 1m30s"
    );
}

fn switched(mut observed: Observed, switches: &[(&str, &str)]) -> Observed {
    let switches = switches
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    observed.dev_machine.metadata.annotations = Some(switches.collect());
    observed
}

#[test]
fn a_switch_holds_back_what_has_not_started_and_says_so() {
    let never_boots = switched(observed(false), &[(faults::VM, faults::NEVER_BOOTS)]);
    let first = plan(&never_boots, at(0));
    assert_eq!(first.actions[0], Action::CreateVm);
    let later = plan(&created(never_boots), at(600));
    assert_eq!((later.provisioned, later.next), (false, None));
    assert_eq!(
        later.states[0].1,
        State::Held("simulation.capi-rs.io/vm: never-boots is set: the machine is never provisioned".into())
    );
    assert_eq!(later.faults.unwrap().reason, faults::SWITCHES_SET);

    let never_joins = switched(created(observed(false)), &[(faults::NODE, faults::NEVER_JOINS)]);
    assert!(!needs_guest(&never_joins, at(600)));
    let later = plan(&never_joins, at(600));
    assert!(later.provisioned && matches!(later.states[1].1, State::Held(_)));

    let no_etcd = switched(joined(observed(true), 12), &[(faults::ETCD, faults::LOST)]);
    let later = plan(&with_guest(no_etcd, INIT), at(60));
    assert_eq!(later.actions[1..], [Action::StartApiServer]);
    assert!(matches!(later.states[2].1, State::Held(_)));
    assert_eq!(
        later.faults.unwrap().reason,
        faults::SWITCHES_SET,
        "there is no data to lose yet"
    );
}

#[test]
fn a_machine_without_its_switch_goes_on_at_once() {
    let repaired = plan(&created(observed(false)), at(600));
    assert!(repaired.provisioned);
    assert_eq!(repaired.faults, None);
}

#[test]
fn the_world_is_told_of_a_switch_once() {
    let mut broken = switched(joined(observed(true), 12), &[(faults::API_SERVER, faults::DOWN)]);
    let machine = broken.simulated.as_mut().unwrap();
    (machine.etcd, machine.api_server) = (true, true);
    let down = crate::faults::MachineFaults {
        api_server_down: true,
        ..Default::default()
    };
    let first = plan(&broken, at(60));
    assert_eq!(first.actions, [Action::SetFaults(down.clone())]);
    assert!(
        first.states.iter().all(|(_, state)| *state == State::Provisioned),
        "it was provisioned all the same"
    );
    broken.simulated.as_mut().unwrap().faults = down;
    assert_eq!(plan(&broken, at(60)).actions, []);
    broken.dev_machine.metadata.annotations = None;
    assert_eq!(
        plan(&broken, at(60)).actions,
        [Action::SetFaults(Default::default())]
    );
}

#[test]
fn a_slow_machine_takes_longer_at_each_step() {
    let slow = switched(created(observed(true)), &[(faults::SLOW, "30s")]);
    let booting = plan(&slow, at(10));
    assert_eq!(booting.next, Some(Duration::from_secs(30)));
    assert_eq!(
        booting.states[0].1,
        State::Held(format!(
            "simulation.capi-rs.io/slow: 30s is set: this takes until {}",
            at(40)
        ))
    );
    let joined = switched(joined(observed(true), 72), &[(faults::SLOW, "30s")]);
    assert_eq!(
        plan(&joined, at(72)).next,
        Some(Duration::from_secs(32)),
        "etcd comes first"
    );
}

#[test]
fn lost_data_stays_lost_without_its_switch_and_after_a_restart() {
    let mut lost = joined(observed(true), 12);
    let machine = lost.simulated.as_mut().unwrap();
    (machine.etcd, machine.api_server) = (true, true);
    let mut broken = switched(lost.clone(), &[(faults::ETCD, faults::LOST)]);
    let told = plan(&broken, at(60)).faults.unwrap();
    assert_eq!(told.reason, faults::ETCD_DATA_LOST);
    super::conditions::write_faults(&mut broken.dev_machine, Some(told), at(60));
    broken.dev_machine.metadata.annotations = None;
    broken.simulated = None;
    broken.machine.metadata.annotations = Some([(BOOTSTRAPPED_ANNOTATION.to_owned(), String::new())].into());
    let rebuilt = plan(&with_guest(broken, INIT), at(90));
    let kept = crate::faults::MachineFaults {
        etcd: Some(crate::faults::EtcdFault::Lost),
        ..Default::default()
    };
    assert_eq!(rebuilt.actions[..2], [Action::CreateVm, Action::SetFaults(kept)]);
    assert_eq!(rebuilt.actions[3..], [Action::StartEtcd, Action::StartApiServer]);
    assert_eq!(rebuilt.faults.unwrap().reason, faults::ETCD_DATA_LOST);
}

#[test]
fn conditions_have_upstreams_words_in_both_forms() {
    let mut machine = observed(true).dev_machine;
    let waiting = [
        (Part::Vm, State::WaitingForClusterInfrastructure),
        (Part::Node, State::WaitingFor(Part::Vm)),
        (Part::Etcd, State::WaitingFor(Part::Vm)),
        (Part::ApiServer, State::WaitingFor(Part::Vm)),
    ];
    write(&mut machine, &waiting, at(0));
    let ready = conditions::get(&machine, "Ready").unwrap();
    assert_eq!(
        (ready.status.as_str(), ready.reason.as_str()),
        ("False", "NotReady")
    );
    assert_eq!(
        ready.message,
        "* VMProvisioned: WaitingForClusterInfrastructureReady\n* NodeProvisioned: WaitingForVMProvisioned\n* EtcdProvisioned: WaitingForVMProvisioned\n* APIServerProvisioned: WaitingForVMProvisioned"
    );
    let old = machine
        .status
        .as_ref()
        .unwrap()
        .deprecated
        .as_ref()
        .unwrap()
        .v1beta1
        .as_ref()
        .unwrap();
    let texts: Vec<_> = old
        .conditions
        .iter()
        .map(|c| {
            (
                c.type_.as_str(),
                c.status.as_str(),
                c.reason.as_deref(),
                c.message.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        texts,
        [
            (
                "Ready",
                "False",
                Some("WaitingForClusterInfrastructure"),
                Some("0 of 4 completed")
            ),
            (
                "VMProvisioned",
                "False",
                Some("WaitingForClusterInfrastructure"),
                None
            ),
        ]
    );
    let done = Part::all(true)
        .iter()
        .map(|part| (*part, State::Provisioned))
        .collect::<Vec<_>>();
    write(&mut machine, &done, at(1));
    assert!(conditions::is_true(&machine, "Ready"));
    assert_eq!(
        conditions::get(&machine, "APIServerProvisioned").unwrap().reason,
        "Provisioned"
    );
}
