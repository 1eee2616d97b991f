//! Conditions: reading and writing them, and deriving one from others.
//!
//! Here are the rules every controller shares: when a transition time changes, in which order conditions are written,
//! how a summary (conditions of one object), an aggregate (one condition of many objects) and a mirror (a condition of
//! another object) are computed, down to the text, because tools and people parse it.
//! The older conditions under `status.deprecated.v1beta1` have rules of their own: [`v1beta1`].
//!
//! Not here: what a condition of a certain kind means. That is the business of the controller that sets it.

mod access;
mod merge;
mod mirror;
mod order;
pub mod reasons;
pub mod types;
pub mod v1beta1;

use std::fmt;

use jiff::{Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

pub use access::{ConditionsAccess, get, is_false, is_true, is_unknown, remove, set};
pub use merge::{Child, Part, Priority, Reasons, aggregate, indented, summary, summary_with};
pub use mirror::{all_of_foreign, mirror};
pub use order::sort;

/// The three states of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It cannot be told.
    Unknown,
}

impl Status {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }

    /// Reads the word on the wire; everything unheard of is unknown.
    pub fn of(word: &str) -> Self {
        match word {
            "True" => Self::True,
            "False" => Self::False,
            _ => Self::Unknown,
        }
    }
}

impl From<bool> for Status {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A condition before it is written: what a rule found, without what only the object knows (its generation, the time of
/// the previous transition).
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The condition's type.
    pub type_: String,
    /// Whether it holds.
    pub status: Status,
    /// Why, in one word of the wire format.
    pub reason: String,
    /// Why, for people.
    pub message: String,
    /// When the status changed, if somebody else knows it (a mirrored condition); otherwise the time of writing counts.
    pub since: Option<Timestamp>,
}

impl Draft {
    /// A condition with a status that is computed.
    pub fn new(type_: &str, status: Status, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            type_: type_.to_owned(),
            status,
            reason: reason.into(),
            message: message.into(),
            since: None,
        }
    }

    /// A condition that holds.
    pub fn is_true(type_: &str, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(type_, Status::True, reason, message)
    }

    /// A condition that does not hold.
    pub fn is_false(type_: &str, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(type_, Status::False, reason, message)
    }

    /// A condition nobody can tell.
    pub fn is_unknown(type_: &str, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(type_, Status::Unknown, reason, message)
    }

    /// With the time of its transition.
    #[must_use]
    pub fn since(mut self, time: Timestamp) -> Self {
        self.since = Some(time);
        self
    }

    /// What an existing condition says, under its own name. The epoch stands for a transition time nobody reported.
    pub fn of(condition: &Condition) -> Self {
        let since = condition.last_transition_time.0;
        Self {
            type_: condition.type_.clone(),
            status: Status::of(&condition.status),
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            since: (since != Timestamp::UNIX_EPOCH).then_some(since),
        }
    }
}

/// Writes `draft` into `conditions` and keeps them in their fixed order. Returns whether anything changed.
///
/// The transition time changes only with the status, and has whole seconds.
pub fn set_in(
    conditions: &mut Vec<Condition>,
    draft: Draft,
    generation: Option<i64>,
    now: Timestamp,
) -> bool {
    let written = Condition {
        type_: draft.type_,
        status: draft.status.as_str().to_owned(),
        reason: draft.reason,
        message: draft.message,
        observed_generation: generation,
        last_transition_time: Time(whole_seconds(draft.since.unwrap_or(now))),
    };
    let changed = match conditions.iter_mut().find(|c| c.type_ == written.type_) {
        Some(existing) => {
            let last_transition_time = if existing.status == written.status {
                existing.last_transition_time.clone()
            } else {
                written.last_transition_time.clone()
            };
            let written = Condition {
                last_transition_time,
                ..written
            };
            let changed = *existing != written;
            *existing = written;
            changed
        }
        None => {
            conditions.push(written);
            true
        }
    };
    if changed {
        sort(conditions);
    }
    changed
}

/// The condition of a type.
pub fn get_in<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == type_)
}

/// `time` without its fraction of a second: what the wire can hold.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    time.round(
        jiff::TimestampRound::new()
            .smallest(Unit::Second)
            .mode(jiff::RoundMode::Floor),
    )
    .unwrap_or(time)
}

/// `first, second, third, ... (4 more)`: at most `limit` names, then how many are left. The wording of all lists in
/// conditions.
pub fn name_list<S: AsRef<str>>(names: &[S], limit: usize) -> String {
    let mut parts: Vec<String> = names.iter().take(limit).map(|n| n.as_ref().to_owned()).collect();
    if names.len() > limit {
        parts.push(format!("... ({} more)", names.len() - limit));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_transition_time_changes_only_with_the_status_and_has_whole_seconds() {
        let mut conditions = Vec::new();
        let first = at("2026-01-01T00:00:00.9Z");
        assert!(set_in(
            &mut conditions,
            Draft::is_false("Ready", "NotReady", "a"),
            Some(1),
            first
        ));
        assert_eq!(conditions[0].last_transition_time.0, at("2026-01-01T00:00:00Z"));

        let later = at("2026-01-01T00:01:00Z");
        assert!(set_in(
            &mut conditions,
            Draft::is_false("Ready", "NotReady", "b"),
            Some(2),
            later
        ));
        assert_eq!(conditions[0].last_transition_time.0, at("2026-01-01T00:00:00Z"));
        assert_eq!(
            (conditions[0].message.as_str(), conditions[0].observed_generation),
            ("b", Some(2))
        );

        assert!(!set_in(
            &mut conditions,
            Draft::is_false("Ready", "NotReady", "b"),
            Some(2),
            later
        ));

        assert!(set_in(
            &mut conditions,
            Draft::is_true("Ready", "Ready", ""),
            Some(2),
            later
        ));
        assert_eq!(conditions[0].last_transition_time.0, later);
    }

    #[test]
    fn a_mirrored_transition_time_is_kept_unless_the_status_stays() {
        let mut conditions = Vec::new();
        let (old, now) = (at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"));
        set_in(
            &mut conditions,
            Draft::is_true("NodeReady", "NodeReady", "").since(old),
            None,
            now,
        );
        assert_eq!(conditions[0].last_transition_time.0, old);
        set_in(
            &mut conditions,
            Draft::is_true("NodeReady", "NodeReady", "").since(now),
            None,
            now,
        );
        assert_eq!(conditions[0].last_transition_time.0, old);
    }

    #[test]
    fn a_list_of_names_is_cut() {
        assert_eq!(name_list(&["a", "b"], 3), "a, b");
        assert_eq!(name_list(&["a", "b", "c", "d", "e"], 3), "a, b, c, ... (2 more)");
    }
}
