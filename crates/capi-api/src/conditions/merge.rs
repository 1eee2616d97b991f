//! One condition out of many: the summary of an object's conditions and the aggregate of its children's.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{Draft, Status, reasons};
use crate::names::plural;

/// How much a condition matters when conditions are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Something is wrong or still missing.
    Issue,
    /// It cannot be told.
    Unknown,
    /// All is as it should be.
    Info,
}

impl Priority {
    /// The priority of a status; for a negative polarity (`Deleting`, `ScalingUp`) `True` is the issue.
    pub fn of(status: Status, negative: bool) -> Self {
        match (status, negative) {
            (Status::True, false) | (Status::False, true) => Self::Info,
            (Status::True, true) | (Status::False, false) => Self::Issue,
            (Status::Unknown, _) => Self::Unknown,
        }
    }
}

/// The reasons of a merged condition.
#[derive(Clone, Debug)]
pub struct Reasons {
    /// When there is an issue.
    pub issue: &'static str,
    /// When there is no issue but something unknown.
    pub unknown: &'static str,
    /// When all is well.
    pub info: &'static str,
}

impl Reasons {
    /// Reasons for issue, unknown and info.
    pub const fn new(issue: &'static str, unknown: &'static str, info: &'static str) -> Self {
        Self { issue, unknown, info }
    }

    /// The words for a `Ready` condition.
    pub const READY: Self = Self::new(reasons::NOT_READY, reasons::READY_UNKNOWN, reasons::READY);
    /// The words for an `Available` condition.
    pub const AVAILABLE: Self = Self::new(
        reasons::NOT_AVAILABLE,
        reasons::AVAILABLE_UNKNOWN,
        reasons::AVAILABLE,
    );
    /// The words for an `UpToDate` condition.
    pub const UP_TO_DATE: Self = Self::new(
        reasons::NOT_UP_TO_DATE,
        reasons::UP_TO_DATE_UNKNOWN,
        reasons::UP_TO_DATE,
    );

    fn of(&self, priority: Priority) -> &'static str {
        match priority {
            Priority::Issue => self.issue,
            Priority::Unknown => self.unknown,
            Priority::Info => self.info,
        }
    }
}

impl Default for Reasons {
    fn default() -> Self {
        Self::new("IssuesReported", "UnknownReported", "InfoReported")
    }
}

/// A condition that takes part in a summary.
#[derive(Clone, Debug)]
pub struct Part {
    type_: String,
    negative: bool,
    optional: bool,
    seen_as: Option<Draft>,
    priority: Option<Priority>,
}

impl Part {
    /// A condition for which `True` is good.
    pub fn positive(type_: impl Into<String>) -> Self {
        Self {
            type_: type_.into(),
            negative: false,
            optional: false,
            seen_as: None,
            priority: None,
        }
    }

    /// A condition for which `False` is good.
    pub fn negative(type_: impl Into<String>) -> Self {
        Self {
            negative: true,
            ..Self::positive(type_)
        }
    }

    /// Left out of the summary while it does not exist.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Enters the summary with another text than the one that is written.
    #[must_use]
    pub fn seen_as(mut self, draft: Draft) -> Self {
        self.seen_as = Some(draft);
        self
    }

    /// Enters the summary with this priority, whatever its status.
    #[must_use]
    pub fn weighing(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }
}

/// The summary of an object's own conditions, in the order in which `parts` names them.
///
/// A part that does not exist counts as unknown, unless it is optional. With no part at all, the summary is good.
pub fn summary(conditions: &[Condition], target: &str, parts: &[Part], reasons: &Reasons) -> Draft {
    summary_with(conditions, target, parts, reasons, |lines| lines)
}

/// [`summary`], with a say in the lines of the message.
pub fn summary_with(
    conditions: &[Condition],
    target: &str,
    parts: &[Part],
    reasons: &Reasons,
    reword: impl FnOnce(Vec<String>) -> Vec<String>,
) -> Draft {
    let mut seen: Vec<(Draft, Priority)> = Vec::new();
    for part in parts {
        let existing = conditions.iter().find(|c| c.type_ == part.type_).map(Draft::of);
        let draft = match (existing, &part.seen_as) {
            (Some(_), Some(other)) => other.clone(),
            (Some(existing), None) => existing,
            (None, _) if part.optional => continue,
            (None, _) => Draft::is_unknown(
                &part.type_,
                reasons::NOT_YET_REPORTED,
                "Condition not yet reported",
            ),
        };
        let priority = part
            .priority
            .unwrap_or_else(|| Priority::of(draft.status, part.negative));
        seen.push((draft, priority));
    }
    let worst = seen.iter().map(|(_, p)| *p).min().unwrap_or(Priority::Info);
    let lines: Vec<String> = seen
        .iter()
        .filter(|(draft, priority)| {
            *priority != Priority::Info || (worst == Priority::Info && !draft.message.is_empty())
        })
        .map(|(draft, _)| {
            let text = if draft.message.is_empty() {
                format!(" {}", draft.reason)
            } else {
                indented(&draft.message)
            };
            format!("* {}:{text}", draft.type_)
        })
        .collect();
    Draft::new(
        target,
        status_of(worst, false),
        reasons.of(worst),
        reword(lines).join("\n"),
    )
}

/// An object whose condition is aggregated.
#[derive(Clone, Debug)]
pub struct Child<'a> {
    /// Its kind.
    pub kind: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Whether it is a Machine of the control plane; these are named first.
    pub control_plane_machine: bool,
    /// Its conditions.
    pub conditions: &'a [Condition],
}

struct Report<'a> {
    kind: &'a str,
    name: &'a str,
    control_plane_machine: bool,
    message: String,
    priority: Priority,
    since: Option<Timestamp>,
}

/// The aggregate of the children's condition `source`; `negative` says that `True` is bad, and then the aggregate has the
/// same polarity. With no children the aggregate is good.
pub fn aggregate(
    children: &[Child<'_>],
    source: &str,
    target: &str,
    negative: bool,
    reasons: &Reasons,
) -> Draft {
    let mut reports: Vec<Report<'_>> = children
        .iter()
        .map(|child| {
            let found = child.conditions.iter().find(|c| c.type_ == source);
            let (message, status, since) = match found {
                Some(c) => (
                    c.message.clone(),
                    Status::of(&c.status),
                    Some(c.last_transition_time.0),
                ),
                None => (
                    format!("Condition {source} not yet reported"),
                    Status::Unknown,
                    None,
                ),
            };
            let priority = Priority::of(status, negative);
            Report {
                kind: child.kind,
                name: child.name,
                control_plane_machine: child.control_plane_machine,
                message,
                priority,
                since,
            }
        })
        .collect();
    reports.sort_by(|a, b| a.since.cmp(&b.since).then_with(|| a.name.cmp(b.name)));
    let worst = reports.iter().map(|r| r.priority).min().unwrap_or(Priority::Info);
    reports.retain(|r| match worst {
        Priority::Info => !r.message.is_empty(),
        _ => r.priority != Priority::Info,
    });
    Draft::new(
        target,
        status_of(worst, negative),
        reasons.of(worst),
        aggregate_lines(&reports).join("\n"),
    )
}

fn status_of(worst: Priority, negative: bool) -> Status {
    match worst {
        Priority::Issue => Status::from(negative),
        Priority::Unknown => Status::Unknown,
        Priority::Info => Status::from(!negative),
    }
}

/// At most this many different messages are shown in one aggregate.
const SHOWN_MESSAGES: usize = 3;
/// At most this many names are shown for one message.
const SHOWN_NAMES: usize = 3;

#[derive(Default)]
struct Weight {
    control_plane: bool,
    priority: Option<Priority>,
}

fn aggregate_lines(reports: &[Report<'_>]) -> Vec<String> {
    // The weight of a message is shared by all kinds that report it.
    let mut weights: BTreeMap<&str, Weight> = BTreeMap::new();
    let mut groups: BTreeMap<&str, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
    let mut control_plane_names = BTreeSet::new();
    for report in reports {
        let weight = weights.entry(&report.message).or_default();
        weight.priority = Some(
            weight
                .priority
                .map_or(report.priority, |p| p.min(report.priority)),
        );
        weight.control_plane |= report.control_plane_machine;
        groups
            .entry(report.kind)
            .or_default()
            .entry(&report.message)
            .or_default()
            .push(report.name);
        if report.control_plane_machine {
            control_plane_names.insert(report.name);
        }
    }
    let mut lines = Vec::new();
    for (kind, messages) in groups {
        let mut ordered: Vec<(&str, Vec<&str>)> = messages.into_iter().collect();
        for (_, names) in &mut ordered {
            names.sort_by_key(|name| (!control_plane_names.contains(name), *name));
        }
        ordered.sort_by(|(a, a_names), (b, b_names)| {
            let key = |message: &str| weights.get(message).map(|w| (!w.control_plane, w.priority));
            key(a)
                .cmp(&key(b))
                .then_with(|| b_names.len().cmp(&a_names.len()))
                .then_with(|| a_names.cmp(b_names))
        });
        let mut others: BTreeMap<Priority, usize> = BTreeMap::new();
        for (message, names) in ordered {
            if lines.len() >= SHOWN_MESSAGES {
                let priority = weights
                    .get(message)
                    .and_then(|w| w.priority)
                    .unwrap_or(Priority::Info);
                *others.entry(priority).or_default() += names.len();
                continue;
            }
            let noun = if names.len() == 1 {
                kind.to_owned()
            } else {
                plural(kind)
            };
            lines.push(format!(
                "* {noun} {}:{}",
                super::name_list(&names, SHOWN_NAMES),
                indented(message)
            ));
        }
        for (priority, count) in others {
            let noun = if count == 1 { kind.to_owned() } else { plural(kind) };
            let what = match priority {
                Priority::Issue => "with other issues",
                Priority::Unknown => "with status unknown",
                Priority::Info => "with additional info",
            };
            lines.push(format!("And {count} {noun} {what}"));
        }
    }
    lines
}

/// A message as it stands behind `* Type:`: on the same line, or, with several lines or bullets of its own, below and
/// indented; a line without a bullet gets one, and the others then move one step further in.
pub fn indented(message: &str) -> String {
    if !message.contains('\n') && !has_bullet(message) {
        return format!(" {message}");
    }
    let all_have_bullets = message.split('\n').all(has_bullet);
    let mut text = String::new();
    for line in message.split('\n') {
        text.push_str(match (all_have_bullets, has_bullet(line)) {
            (true, _) => "\n  ",
            (false, true) => "\n    ",
            (false, false) => "\n  * ",
        });
        text.push_str(line);
    }
    text
}

/// Whether a line carries a bullet: an asterisk with a blank behind it.
fn has_bullet(line: &str) -> bool {
    line.match_indices('*')
        .any(|(at, _)| line[at + 1..].starts_with(char::is_whitespace))
}

#[cfg(test)]
mod tests;
