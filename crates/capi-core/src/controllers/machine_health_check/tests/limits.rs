//! When nothing is remediated because too much is wrong.

use super::*;

#[test]
fn limits_hold_for_all_counts_and_never_grow_with_trouble() {
    let limit =
        |value: IntOrString| serde_json::from_value(json!({"unhealthyLessThanOrEqualTo": value})).unwrap();
    for expected in 0..=20 {
        for healthy in 0..=expected {
            for unhealthy in 0..=expected - healthy {
                let counts = Counts {
                    expected,
                    healthy,
                    unhealthy,
                };
                let bad = expected - healthy;
                assert!(
                    matches!(short_circuit::judge(None, counts), Allowance::Allowed(more) if more == healthy),
                    "without a limit everything is allowed"
                );
                for most in 0..=21 {
                    let number = short_circuit::judge(Some(&limit(IntOrString::Int(most))), counts);
                    assert_eq!(
                        matches!(number, Allowance::Allowed(more) if more == most - bad && more >= 0),
                        bad <= most
                    );
                    let percent = IntOrString::String(format!("{}%", most * 5));
                    let allowed = short_circuit::judge(Some(&limit(percent)), counts);
                    assert_eq!(
                        matches!(allowed, Allowance::Allowed(_)),
                        bad * 100 <= most * 5 * expected || bad == 0
                    );
                    let text = format!("[{}-{most}]", most / 2);
                    let ranged = serde_json::from_value(json!({"unhealthyInRange": text})).unwrap();
                    let ranged = short_circuit::judge(Some(&ranged), counts);
                    assert_eq!(
                        matches!(ranged, Allowance::Allowed(_)),
                        (most / 2..=most).contains(&bad)
                    );
                }
            }
        }
    }
}

#[test]
fn limits_are_read_as_upstream_reads_them() {
    for (text, expected) in [
        ("[1-3]", Some((1, 3))),
        ("[0-0]", Some((0, 0))),
        ("[3-1]", None),
        ("1-3", None),
        ("[a-3]", None),
    ] {
        assert_eq!(range(text), expected, "{text}");
    }
    for (value, total, expected) in [
        (IntOrString::Int(3), 10, Some(3)),
        (IntOrString::String("33%".into()), 10, Some(3)),
        (IntOrString::String("100%".into()), 7, Some(7)),
        (IntOrString::String("3".into()), 10, None),
        (IntOrString::String("x%".into()), 10, None),
    ] {
        assert_eq!(scaled_down(&value, total), expected, "{value:?}");
    }
    for (seconds, text) in [(0, "0s"), (30, "30s"), (300, "5m0s"), (3661, "1h1m1s")] {
        assert_eq!(go_duration(seconds), text);
    }
}
