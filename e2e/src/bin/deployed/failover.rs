//! What the audit log tells about replicas that were killed: how long until another one did their work, and whether two ever
//! wrote about one cluster at the same time. The clusters' names have no dash, and what belongs to them begins with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// A write about a cluster by a pod.
#[derive(Clone, Debug)]
struct Write {
    from: Timestamp,
    to: Timestamp,
    user: String,
    pod: String,
    cluster: String,
    what: String,
}

/// Prints what was found; fails if two wrote at once or somebody took longer than `limit`.
pub fn judge(audit: &Path, kills: &Path, limit: SignedDuration) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(audit).with_context(|| format!("read {}", audit.display()))?;
    let mut writes: Vec<Write> = text.lines().filter_map(write).collect();
    writes.sort_by_key(|write| write.from);
    let kills = std::fs::read_to_string(kills).with_context(|| format!("read {}", kills.display()))?;
    let kills: Vec<(Timestamp, String)> = kills
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(time, pod)| anyhow::Ok((time.parse().context("time of a kill")?, pod.to_owned())))
        .collect::<anyhow::Result<_>>()?;
    let mut delays: Vec<(SignedDuration, String)> = kills
        .iter()
        .filter_map(|(time, pod)| taken_over(&writes, *time, pod))
        .collect();
    delays.sort();
    let clashes = clashes(&writes);
    let longest = delays.last().cloned().unwrap_or_default();
    let middle = delays.get(delays.len() / 2).cloned().unwrap_or_default();
    let said = format!(
        "{} kills; for {} of them there was work, which went on after {:.2} s (median), {:.2} s (longest, {}); \
         {} writes, {} of them while another replica wrote about the same cluster",
        kills.len(),
        delays.len(),
        middle.0.as_secs_f64(),
        longest.0.as_secs_f64(),
        longest.1,
        writes.len(),
        clashes.len()
    );
    if !clashes.is_empty() {
        bail!("{said}: {}", clashes[..clashes.len().min(5)].join("; "));
    }
    if longest.0 > limit || delays.is_empty() {
        bail!("{said}");
    }
    Ok(said)
}

fn write(line: &str) -> Option<Write> {
    let event: Value = serde_json::from_str(line).ok()?;
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let object = text("/objectRef/name");
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
    Some(Write {
        from: text("/requestReceivedTimestamp").parse().ok()?,
        to: text("/stageTimestamp").parse().ok()?,
        user: text("/user/username").to_owned(),
        pod: event
            .pointer("/user/extra/authentication.kubernetes.io~1pod-name/0")?
            .as_str()?
            .to_owned(),
        cluster: object
            .split('-')
            .next()
            .filter(|name| !name.is_empty())?
            .to_owned(),
        what: format!("{} {} {object}", text("/verb"), text("/objectRef/resource")),
    })
}

/// How long after a kill another process wrote about a cluster that was the killed one's. None if nobody had to.
fn taken_over(writes: &[Write], time: Timestamp, pod: &str) -> Option<(SignedDuration, String)> {
    let before = writes.iter().filter(|write| write.from <= time);
    let mut last: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for write in before {
        last.insert((&write.user, &write.cluster), &write.pod);
    }
    let theirs: BTreeSet<(&str, &str)> = last
        .into_iter()
        .filter(|(_, owner)| *owner == pod)
        .map(|(key, _)| key)
        .collect();
    let next = writes
        .iter()
        .filter(|write| write.from > time + SignedDuration::from_millis(50))
        .find(|write| theirs.contains(&(write.user.as_str(), write.cluster.as_str())))?;
    Some((
        next.from.duration_since(time),
        format!("{} by {}", next.what, next.pod),
    ))
}

/// Pairs of writes about one cluster by two replicas of one provider that overlap in time.
fn clashes(writes: &[Write]) -> Vec<String> {
    let mut by_share: BTreeMap<(&str, &str), Vec<&Write>> = BTreeMap::new();
    for write in writes {
        by_share
            .entry((&write.user, &write.cluster))
            .or_default()
            .push(write);
    }
    let mut found = Vec::new();
    for share in by_share.values() {
        for pair in share.windows(2) {
            if pair[0].pod != pair[1].pod && pair[1].from < pair[0].to {
                found.push(format!(
                    "{} by {} while {} by {}",
                    pair[1].what, pair[1].pod, pair[0].what, pair[0].pod
                ));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(pod: &str, from: i64, to: i64) -> Write {
        let time = |ms: i64| Timestamp::from_millisecond(ms).unwrap();
        Write {
            from: time(from),
            to: time(to),
            user: "u".into(),
            pod: pod.into(),
            cluster: "c".into(),
            what: "patch x".into(),
        }
    }

    #[test]
    fn the_time_until_another_works_and_overlapping_writes_are_found() {
        let writes = [at("a", 0, 10), at("a", 20, 30), at("b", 700, 710)];
        let time = Timestamp::from_millisecond(100).unwrap();
        assert_eq!(
            taken_over(&writes, time, "a").unwrap().0,
            SignedDuration::from_millis(600)
        );
        assert!(taken_over(&writes, time, "b").is_none());
        assert!(clashes(&writes).is_empty());
        assert_eq!(clashes(&[at("a", 0, 10), at("b", 9, 20)]).len(), 1);
    }
}
