//! The columns of events, in both their groups.

use jiff::Timestamp;
use serde_json::Value;

use super::cells::{age_at, at, column, int_at, or, str_at, text, wide};
use super::{Column, age as ages};

pub(super) fn event_columns() -> Vec<Column> {
    let mut last = column("Name", "string", 1, |o, _| {
        str_at(o, &["metadata", "name"]).into()
    });
    last.format = "name".to_owned();
    vec![
        text("Last Seen", event_last_seen),
        text("Type", |o, _| str_at(o, &["type"]).into()),
        text("Reason", |o, _| str_at(o, &["reason"]).into()),
        text("Object", |o, _| {
            let about = event_about(o);
            let kind = str_at(about, &["kind"]).to_lowercase();
            match str_at(about, &["name"]) {
                "" => kind.into(),
                name => format!("{kind}/{name}").into(),
            }
        }),
        wide("Subobject", |o, _| str_at(event_about(o), &["fieldPath"]).into()),
        wide("Source", |o, _| {
            let source = at(o, &["source"])
                .or_else(|| at(o, &["deprecatedSource"]))
                .unwrap_or(&Value::Null);
            let reporting = or(
                str_at(o, &["reportingComponent"]),
                str_at(o, &["reportingController"]),
            );
            let component = or(str_at(source, &["component"]), reporting);
            match or(str_at(source, &["host"]), str_at(o, &["reportingInstance"])) {
                "" => component.into(),
                instance => format!("{component}, {instance}").into(),
            }
        }),
        text("Message", |o, _| {
            or(str_at(o, &["message"]), str_at(o, &["note"])).trim().into()
        }),
        wide("First Seen", event_first_seen),
        wide("Count", |o, _| {
            let series = at(o, &["series"]).map(|series| int_at(series, &["count"]));
            let plain = int_at(o, &["count"]).max(int_at(o, &["deprecatedCount"]));
            series.unwrap_or(plain.max(1)).into()
        }),
        last,
    ]
}

fn event_about(event: &Value) -> &Value {
    at(event, &["involvedObject"])
        .or_else(|| at(event, &["regarding"]))
        .unwrap_or(&Value::Null)
}

/// The first of some times that is set.
fn first_time<'a>(event: &'a Value, fields: &[&str]) -> Option<&'a str> {
    fields
        .iter()
        .map(|field| str_at(event, &[field]))
        .find(|time| !time.is_empty())
}

fn event_first_seen(event: &Value, now: Timestamp) -> Value {
    ages::cell(
        first_time(
            event,
            &["firstTimestamp", "deprecatedFirstTimestamp", "eventTime"],
        ),
        now,
    )
    .into()
}

fn event_last_seen(event: &Value, now: Timestamp) -> Value {
    if let Some(series) = at(event, &["series"]) {
        return age_at(series, &["lastObservedTime"], now);
    }
    match first_time(event, &["lastTimestamp", "deprecatedLastTimestamp"]) {
        Some(time) => ages::cell(Some(time), now).into(),
        None => event_first_seen(event, now),
    }
}
