//! What the audit log tells about replicas that were killed: how long until what somebody changed right after a kill was put
//! right, and whether two replicas ever wrote about one cluster at the same time.
//!
//! The clusters' names have no dash, and the names of what belongs to them begin with theirs. Changes are writes to `status` by
//! somebody who is no ServiceAccount: they pass no admission, so that only the controllers are measured.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// A successful write to an object of Cluster API.
#[derive(Clone, Debug)]
struct Write {
    from: Timestamp,
    to: Timestamp,
    user: String,
    /// The pod it came from, none if it was no pod.
    pod: Option<String>,
    cluster: String,
    object: String,
    what: String,
}

/// How long after a kill a change was put right, and which.
type Delay = (SignedDuration, String);

/// Prints what was found; fails if two wrote at once, a change stayed, or the 99th percentile of the time until useful work
/// was done again is above `limit`.
pub fn judge(audit: &Path, kills: &Path, limit: SignedDuration) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(audit).with_context(|| format!("read {}", audit.display()))?;
    let mut writes: Vec<Write> = text.lines().filter_map(write).collect();
    writes.sort_by_key(|write| write.from);
    let kills = std::fs::read_to_string(kills).with_context(|| format!("read {}", kills.display()))?;
    let kills: Vec<Timestamp> = kills
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(time, _)| time.parse().context("time of a kill"))
        .collect::<anyhow::Result<_>>()?;
    let (mut first, mut each, mut stayed) = (Vec::new(), Vec::new(), Vec::new());
    for (index, kill) in kills.iter().enumerate() {
        let (mut delays, unanswered) = put_right(&writes, *kill, kills.get(index + 1).copied());
        stayed.extend(unanswered);
        delays.sort();
        first.extend(delays.first().cloned());
        each.extend(delays);
    }
    first.sort();
    each.sort();
    let clashes = clashes(&writes);
    let pods = writes.iter().filter(|write| write.pod.is_some()).count();
    let said = format!(
        "{} kills; after {} of them something was changed; useful work was done again after {}; \
         each of {} changes was put right after {}; {pods} writes, {} of them while another replica wrote about the same cluster",
        kills.len(),
        first.len(),
        summary(&first),
        each.len(),
        summary(&each),
        clashes.len(),
    );
    if !clashes.is_empty() {
        bail!("{said}: {}", clashes[..clashes.len().min(5)].join("; "));
    }
    if !stayed.is_empty() {
        bail!("{said}; never put right: {}", stayed.join("; "));
    }
    if percentile(&first, 99).is_none_or(|(delay, _)| *delay > limit) {
        bail!("{said}");
    }
    Ok(said)
}

fn write(line: &str) -> Option<Write> {
    let event: Value = serde_json::from_str(line).ok()?;
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let name = text("/objectRef/name");
    if matches!(text("/verb"), "get" | "list" | "watch")
        || !text("/objectRef/apiGroup").ends_with("cluster.x-k8s.io")
        || event
            .pointer("/responseStatus/code")
            .and_then(Value::as_u64)
            .unwrap_or(500)
            >= 300
    {
        return None;
    }
    let object = format!("{} {name}", text("/objectRef/resource"));
    Some(Write {
        from: text("/requestReceivedTimestamp").parse().ok()?,
        to: text("/stageTimestamp").parse().ok()?,
        user: text("/user/username").to_owned(),
        pod: event
            .pointer("/user/extra/authentication.kubernetes.io~1pod-name/0")
            .and_then(Value::as_str)
            .map(str::to_owned),
        cluster: name.split('-').next().filter(|name| !name.is_empty())?.to_owned(),
        what: format!("{} {object} {}", text("/verb"), text("/objectRef/subresource"))
            .trim_end()
            .to_owned(),
        object,
    })
}

/// The changes between a kill and the next: how long after the kill the API server was asked to put each right, and those that
/// nobody put right. (How long the API server then took says nothing about replicas.)
fn put_right(writes: &[Write], kill: Timestamp, next: Option<Timestamp>) -> (Vec<Delay>, Vec<String>) {
    let (mut delays, mut stayed) = (Vec::new(), Vec::new());
    let changes = writes.iter().filter(|write| {
        write.pod.is_none()
            && write.what.ends_with(" status")
            && write.from >= kill
            && next.is_none_or(|next| write.from < next)
    });
    for change in changes {
        let answer = writes
            .iter()
            .find(|write| write.pod.is_some() && write.object == change.object && write.from > change.from);
        match answer {
            Some(answer) => {
                let pod = answer.pod.as_deref().unwrap_or_default();
                delays.push((
                    answer.from.duration_since(kill),
                    format!("{} by {pod} after {kill}", answer.what),
                ));
            }
            None => stayed.push(format!("{} after {kill}", change.object)),
        }
    }
    (delays, stayed)
}

fn percentile(sorted: &[Delay], percent: usize) -> Option<&Delay> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?)
}

fn summary(sorted: &[Delay]) -> String {
    let (Some(middle), Some(high), Some(longest)) =
        (percentile(sorted, 50), percentile(sorted, 99), sorted.last())
    else {
        return "(nothing)".to_owned();
    };
    format!(
        "{:.2} s (median), {:.2} s (99th percentile), {:.2} s (longest, {})",
        middle.0.as_secs_f64(),
        high.0.as_secs_f64(),
        longest.0.as_secs_f64(),
        longest.1
    )
}

/// Pairs of writes about one cluster by two replicas of one provider that overlap in time.
fn clashes(writes: &[Write]) -> Vec<String> {
    let mut by_share: BTreeMap<(&str, &str), Vec<(&Write, &str)>> = BTreeMap::new();
    for write in writes {
        if let Some(pod) = &write.pod {
            let share = by_share.entry((&write.user, &write.cluster)).or_default();
            share.push((write, pod));
        }
    }
    let mut found = Vec::new();
    for share in by_share.values() {
        // The one that ends last so far: a long write overlaps more than the next one.
        let mut open: BTreeMap<&str, &Write> = BTreeMap::new();
        for (write, pod) in share {
            for (other, earlier) in &open {
                if other != pod && write.from < earlier.to {
                    found.push(format!(
                        "{} by {pod} at {} while {} by {other} until {}",
                        write.what, write.from, earlier.what, earlier.to
                    ));
                }
            }
            let last = open.entry(pod).or_insert(write);
            if last.to < write.to {
                *last = write;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    fn at(pod: Option<&str>, from: i64, to: i64) -> Write {
        Write {
            from: time(from),
            to: time(to),
            user: "u".into(),
            pod: pod.map(str::to_owned),
            cluster: "c".into(),
            object: "clusters c".into(),
            what: "patch clusters c status".into(),
        }
    }

    #[test]
    fn the_time_until_a_change_is_put_right_counts_from_the_kill() {
        let writes = [
            at(Some("a"), 0, 10),
            at(None, 150, 160),
            at(Some("b"), 690, 700),
            at(None, 2000, 2010),
        ];
        let (delays, stayed) = put_right(&writes, time(100), Some(time(1000)));
        assert_eq!((delays.len(), delays[0].0), (1, SignedDuration::from_millis(590)));
        assert!(stayed.is_empty(), "{stayed:?}");
        let (delays, stayed) = put_right(&writes, time(1000), None);
        assert_eq!((delays.len(), stayed.len()), (0, 1));
    }

    #[test]
    fn writes_of_two_replicas_that_overlap_are_found_also_behind_a_shorter_one() {
        let of = |pod, from, to| at(Some(pod), from, to);
        assert!(clashes(&[of("a", 0, 10), of("b", 10, 20), at(None, 5, 15)]).is_empty());
        assert_eq!(clashes(&[of("a", 0, 10), of("b", 9, 20)]).len(), 1);
        let hidden = [of("a", 0, 100), of("a", 1, 2), of("b", 50, 60)];
        assert_eq!(clashes(&hidden).len(), 1);
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let delays: Vec<Delay> = (1..=200)
            .map(|ms| (SignedDuration::from_millis(ms), String::new()))
            .collect();
        assert_eq!(
            percentile(&delays, 99).unwrap().0,
            SignedDuration::from_millis(198)
        );
        assert_eq!(
            percentile(&delays[..60], 99).unwrap().0,
            SignedDuration::from_millis(60)
        );
        assert!(percentile(&[], 99).is_none());
    }
}
