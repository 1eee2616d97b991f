//! What the controllers wrote, for counting: each accepted or refused write of the management API, Events included,
//! Leases not.

use std::{collections::BTreeMap, time::Duration};

use embedded_apiserver::AuditEvent;
use parking_lot::Mutex;
use serde_json::Value;

/// A write of the controllers.
#[derive(Clone, Debug)]
pub struct Write {
    /// How long after the system's start.
    pub at: Duration,
    /// The verb, and the resource with its subresource.
    pub what: String,
    /// The object's name; of an Event, that of the object it is about.
    pub name: String,
    /// The HTTP code of the answer.
    pub code: u16,
    /// The request's body.
    pub body: String,
}

/// All writes in order.
#[derive(Default)]
pub struct Ledger(Mutex<Vec<Write>>);

impl Ledger {
    pub(crate) fn note(&self, at: Duration, event: &AuditEvent) {
        if !event.is_write() || event.resource == "leases" {
            return;
        }
        let subresource = match event.subresource.is_empty() {
            true => String::new(),
            false => format!("/{}", event.subresource),
        };
        let given = || {
            let body: Value = serde_json::from_slice(&event.body).ok()?;
            Some(body.pointer("/metadata/name")?.as_str()?.to_owned())
        };
        let name = match event.name.is_empty() {
            true => given().unwrap_or_default(),
            false => event.name.clone(),
        };
        let name = match event.resource.as_str() {
            "events" => name.rsplit_once('.').map_or(&*name, |(about, _)| about),
            _ => &name,
        };
        self.0.lock().push(Write {
            at,
            what: format!("{} {}{subresource}", event.verb, event.resource),
            name: name.to_owned(),
            code: event.code,
            body: String::from_utf8_lossy(&event.body).into_owned(),
        });
    }

    /// The writes from number `start` on.
    pub fn since(&self, start: usize) -> Vec<Write> {
        self.0.lock().iter().skip(start).cloned().collect()
    }

    /// How many there were so far.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether there was none yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The writes by what was written, one line.
pub fn table<'a>(writes: impl IntoIterator<Item = &'a Write>) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for write in writes {
        let refused = match write.code < 300 {
            true => String::new(),
            false => format!(" refused with {}", write.code),
        };
        *counts.entry(format!("{}{refused}", write.what)).or_default() += 1;
    }
    let mut lines: Vec<_> = counts.into_iter().collect();
    lines.sort_by_key(|(what, count)| (std::cmp::Reverse(*count), what.clone()));
    let lines: Vec<_> = lines
        .iter()
        .map(|(what, count)| format!("{what} {count}"))
        .collect();
    lines.join(", ")
}
