//! The grammar of summaries and aggregates, sentence by sentence.

use super::*;
use crate::conditions::set_in;

fn conditions(list: &[(&str, Status, &str)]) -> Vec<Condition> {
    let mut conditions = Vec::new();
    for (type_, status, message) in list {
        set_in(
            &mut conditions,
            Draft::new(type_, *status, format!("Reason{type_}"), *message),
            None,
            Timestamp::UNIX_EPOCH,
        );
    }
    conditions
}

fn ready(list: &[(&str, Status, &str)], parts: &[Part]) -> (Status, String, String) {
    let draft = summary(&conditions(list), "Ready", parts, &Reasons::READY);
    (draft.status, draft.reason, draft.message)
}

#[test]
fn a_summary_is_true_when_all_parts_are_and_shows_their_messages_if_any() {
    let got = ready(
        &[
            ("A", Status::True, ""),
            ("B", Status::True, "fine"),
            ("Deleting", Status::False, ""),
        ],
        &[
            Part::negative("Deleting"),
            Part::positive("A"),
            Part::positive("B"),
        ],
    );
    assert_eq!(got, (Status::True, "Ready".into(), "* B: fine".into()));
}

#[test]
fn an_issue_beats_unknown_and_both_are_listed_in_declared_order() {
    let got = ready(
        &[
            ("A", Status::False, ""),
            ("B", Status::Unknown, "lost"),
            ("C", Status::True, "fine"),
        ],
        &[Part::positive("C"), Part::positive("B"), Part::positive("A")],
    );
    assert_eq!(
        got,
        (Status::False, "NotReady".into(), "* B: lost\n* A: ReasonA".into())
    );
}

#[test]
fn a_missing_part_is_unknown_unless_it_is_optional() {
    let got = ready(
        &[("A", Status::True, "")],
        &[
            Part::positive("A"),
            Part::positive("B"),
            Part::positive("C").optional(),
        ],
    );
    assert_eq!(
        got,
        (
            Status::Unknown,
            "ReadyUnknown".into(),
            "* B: Condition not yet reported".into()
        )
    );
}

#[test]
fn a_negative_part_is_an_issue_when_it_holds() {
    let got = ready(
        &[("Deleting", Status::True, "bye")],
        &[Part::negative("Deleting")],
    );
    assert_eq!(got, (Status::False, "NotReady".into(), "* Deleting: bye".into()));
}

#[test]
fn a_part_can_be_reworded_and_reweighed() {
    let other = Draft::is_true("Deleting", "Deleting", "in stage X");
    let got = ready(
        &[("Deleting", Status::True, "bye")],
        &[Part::negative("Deleting")
            .seen_as(other)
            .weighing(Priority::Unknown)],
    );
    assert_eq!(
        got,
        (
            Status::Unknown,
            "ReadyUnknown".into(),
            "* Deleting: in stage X".into()
        )
    );
    let got = ready(
        &[],
        &[Part::negative("Deleting")
            .optional()
            .seen_as(Draft::is_true("Deleting", "D", ""))],
    );
    assert_eq!(got.0, Status::True);
}

#[test]
fn messages_of_several_lines_move_below_and_every_line_has_a_bullet() {
    let cases = [
        ("one line", " one line"),
        ("* bullet", "\n  * bullet"),
        ("* a\n* b", "\n  * a\n  * b"),
        ("head:\n* a\n* b", "\n  * head:\n    * a\n    * b"),
        ("a\nb", "\n  * a\n  * b"),
        ("* A:\n  * b", "\n  * A:\n    * b"),
        ("2*3", " 2*3"),
        ("", " "),
    ];
    for (message, expected) in cases {
        assert_eq!(indented(message), expected, "{message:?}");
    }
}

/// One aggregate of machines given as (name, control plane, status, message).
fn machines(list: &[(&str, bool, Status, &str)]) -> (Status, String) {
    let with: Vec<_> = list
        .iter()
        .map(|(n, cp, s, m)| (*n, *cp, conditions(&[("Ready", *s, m)])))
        .collect();
    let children: Vec<Child<'_>> = with
        .iter()
        .map(|(name, cp, c)| Child {
            kind: "Machine",
            name,
            control_plane_machine: *cp,
            conditions: c,
        })
        .collect();
    let draft = aggregate(&children, "Ready", "MachinesReady", false, &Reasons::READY);
    (draft.status, draft.message)
}

#[test]
fn an_aggregate_groups_equal_messages_and_lists_at_most_three_names() {
    use Status::{False, True};
    assert_eq!(
        machines(&[
            ("m2", false, False, "broken"),
            ("m1", false, False, "broken"),
            ("m3", false, True, "x")
        ]),
        (False, "* Machines m1, m2: broken".into())
    );
    assert_eq!(
        machines(&[
            ("m1", false, False, "broken"),
            ("m2", false, False, "broken"),
            ("m3", false, False, "broken"),
            ("m4", false, False, "broken"),
            ("m5", false, False, "* a\n* b"),
        ]),
        (
            False,
            "* Machines m1, m2, m3, ... (1 more): broken\n* Machine m5:\n  * a\n  * b".into()
        )
    );
}

#[test]
fn control_plane_machines_come_first_then_issues_then_the_many() {
    use Status::{False, Unknown};
    assert_eq!(
            machines(&[
                ("w1", false, False, "many"),
                ("w2", false, False, "many"),
                ("w3", false, Unknown, "lost"),
                ("cp", true, Unknown, "gone"),
                ("w4", false, False, "one"),
                ("w5", false, False, "two"),
                ("w6", false, Unknown, "what"),
            ]),
            (
                False,
                "* Machine cp: gone\n* Machines w1, w2: many\n* Machine w4: one\nAnd 1 Machine with other issues\nAnd 2 Machines with status unknown"
                    .into()
            )
        );
}

#[test]
fn info_is_shown_only_when_all_is_well_and_it_says_something() {
    use Status::True;
    assert_eq!(
        machines(&[("a", false, True, ""), ("b", false, True, "")]),
        (True, String::new())
    );
    assert_eq!(
        machines(&[("a", false, True, ""), ("b", false, True, "note")]),
        (True, "* Machine b: note".into())
    );
}

#[test]
fn a_child_without_the_condition_is_unknown() {
    let child = Child {
        kind: "MachineDeployment",
        name: "md",
        control_plane_machine: false,
        conditions: &[],
    };
    let draft = aggregate(
        &[child],
        "Available",
        "WorkersAvailable",
        false,
        &Reasons::AVAILABLE,
    );
    assert_eq!(draft.status, Status::Unknown);
    assert_eq!(
        draft.message,
        "* MachineDeployment md: Condition Available not yet reported"
    );
}

#[test]
fn a_negative_aggregate_is_true_when_one_child_says_so() {
    let with = conditions(&[("ScalingUp", Status::True, "Scaling up from 0 to 3 replicas")]);
    let without = conditions(&[("ScalingUp", Status::False, "")]);
    let children = [
        Child {
            kind: "MachineDeployment",
            name: "md",
            control_plane_machine: false,
            conditions: &without,
        },
        Child {
            kind: "KubeadmControlPlane",
            name: "cp",
            control_plane_machine: false,
            conditions: &with,
        },
    ];
    let draft = aggregate(
        &children,
        "ScalingUp",
        "ScalingUp",
        true,
        &Reasons::new("ScalingUp", "ScalingUpUnknown", "NotScalingUp"),
    );
    assert_eq!((draft.status, draft.reason.as_str()), (Status::True, "ScalingUp"));
    assert_eq!(
        draft.message,
        "* KubeadmControlPlane cp: Scaling up from 0 to 3 replicas"
    );
    let draft = aggregate(
        &children[..1],
        "ScalingUp",
        "ScalingUp",
        true,
        &Reasons::new("ScalingUp", "ScalingUpUnknown", "NotScalingUp"),
    );
    assert_eq!(
        (draft.status, draft.reason.as_str()),
        (Status::False, "NotScalingUp")
    );
}
