//! Whether anything may be remediated at all. Pure.
//!
//! When too many Machines are unhealthy, the cause is elsewhere (a network, a control plane), and replacing Machines
//! would make it worse.

use capi_api::core::v1beta2::MachineHealthCheckRemediationTriggerIf;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// How many Machines are checked and how many of them are healthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All Machines that are checked.
    pub expected: i32,
    /// Those that are healthy: suspicious ones are not.
    pub healthy: i32,
    /// Those that are unhealthy for too long.
    pub unhealthy: i32,
}

impl Counts {
    /// Those that count against the limit: unhealthy, suspicious and not started ones.
    fn not_healthy(self) -> i32 {
        self.expected - self.healthy
    }
}

/// Whether remediation is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// It is, and so many more Machines may become unhealthy.
    Allowed(i32),
    /// It is not, for this reason.
    Refused(String),
    /// The limit cannot be understood.
    Unreadable(String),
}

/// Judges the counts by the limits; a range wins over a limit.
pub fn judge(limits: Option<&MachineHealthCheckRemediationTriggerIf>, counts: Counts) -> Allowance {
    let text = limits.and_then(|l| l.unhealthy_in_range.as_deref());
    if let Some(text) = text.filter(|t| !t.is_empty()) {
        return in_range(text, counts);
    }
    let limit = limits.and_then(|l| l.unhealthy_less_than_or_equal_to.clone());
    let limit = limit.unwrap_or_else(|| IntOrString::String("100%".to_owned()));
    let Some(most) = scaled_down(&limit, counts.expected) else {
        return Allowance::Unreadable(format!(
            "spec.remediation.triggerIf.unhealthyLessThanOrEqualTo {} is neither a number nor a percentage",
            shown(&limit)
        ));
    };
    let not_healthy = counts.not_healthy();
    if not_healthy <= most {
        return Allowance::Allowed(most - not_healthy);
    }
    Allowance::Refused(format!(
        "Remediation is not allowed, the number of not started or unhealthy machines exceeds maxUnhealthy \
         (total: {}, unhealthy: {}, maxUnhealthy: {})",
        counts.expected,
        counts.unhealthy,
        shown(&limit)
    ))
}

fn in_range(text: &str, counts: Counts) -> Allowance {
    let Some((least, most)) = range(text) else {
        return Allowance::Unreadable(format!(
            "spec.remediation.triggerIf.unhealthyInRange {text} is not a range as in [1-3]"
        ));
    };
    let not_healthy = counts.not_healthy();
    if (least..=most).contains(&not_healthy) {
        return Allowance::Allowed(most - not_healthy);
    }
    Allowance::Refused(format!(
        "Remediation is not allowed, the number of not started or unhealthy machines does not fall within the range \
         (total: {}, unhealthy: {}, unhealthyRange: {text})",
        counts.expected, counts.unhealthy
    ))
}

/// The ends of a range as in `[1-3]`.
pub fn range(text: &str) -> Option<(i32, i32)> {
    let (least, most) = text.strip_prefix('[')?.strip_suffix(']')?.split_once('-')?;
    let (least, most) = (least.parse::<i32>().ok()?, most.parse::<i32>().ok()?);
    (0 <= least && least <= most).then_some((least, most))
}

/// A number, or a part of `total` in percent, rounded down.
pub fn scaled_down(value: &IntOrString, total: i32) -> Option<i32> {
    match value {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(text) => {
            let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
            let part = percent.checked_mul(i64::from(total))?.div_euclid(100);
            i32::try_from(part).ok()
        }
    }
}

fn shown(value: &IntOrString) -> String {
    match value {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => text.clone(),
    }
}
