//! Text for people: the describe tree, durations, and colours where the output is a terminal. Pure but for colours,
//! which follow the `console` crate's view of the terminal (NO_COLOR and pipes give plain text).

use console::{measure_text_width, style};
use jiff::Timestamp;

use crate::{
    cause::Cause,
    inventory::{Condition, Object},
    tree::{Item, Node},
};

const HEADER: [&str; 8] = [
    "NAME",
    "REPLICAS",
    "AVAILABLE",
    "READY",
    "UP TO DATE",
    "STATUS",
    "REASON",
    "SINCE",
];

/// The answer of `describe`: the cause first, then the tree.
pub fn describe(cluster: &Object, cause: Option<&Cause>, tree: &Node<'_>, now: Timestamp) -> String {
    let mut text = headline(cluster, cause, now);
    text.push('\n');
    text.push_str(&table(tree, now));
    text
}

/// Whether the cluster is Available, and if not, why and what next.
pub fn headline(cluster: &Object, cause: Option<&Cause>, now: Timestamp) -> String {
    match cause {
        None if cluster.headline().is_some_and(|c| c.status == "True") => {
            format!("{} is {}.\n", cluster.described(), style("Available").green())
        }
        None => format!(
            "{} is coming up; nothing reports a problem.\n",
            cluster.described()
        ),
        Some(cause) => {
            let since = cause
                .since
                .map(|t| format!(" (for {})", age(t, now)))
                .unwrap_or_default();
            let verdict = match cluster.headline() {
                Some(c) if c.status == "True" => style("Available").green(),
                _ if cluster.is_deleting() => style("being deleted").yellow(),
                _ => style("not Available").red(),
            };
            format!(
                "{} is {verdict}. Cause: {cause}{since}\nNext: {}\n",
                cluster.described(),
                cause.next
            )
        }
    }
}

/// The tree as a table of plain columns.
pub fn table(tree: &Node<'_>, now: Timestamp) -> String {
    let mut rows = vec![
        HEADER
            .iter()
            .map(|h| style(*h).bold().to_string())
            .chain(["MESSAGE".to_owned()])
            .collect(),
    ];
    collect(tree, "", "", now, &mut rows);
    columns(&rows)
}

fn collect(node: &Node<'_>, lead: &str, follow: &str, now: Timestamp, rows: &mut Vec<Vec<String>>) {
    rows.push(row(node, lead, now));
    let last = node.children.len().saturating_sub(1);
    for (i, child) in node.children.iter().enumerate() {
        let (branch, trunk) = if i == last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        collect(
            child,
            &format!("{follow}{branch}"),
            &format!("{follow}{trunk}"),
            now,
            rows,
        );
    }
}

fn row(node: &Node<'_>, lead: &str, now: Timestamp) -> Vec<String> {
    let named = |name: String| match node.role {
        "" => format!("{lead}{name}"),
        role => format!("{lead}{role} - {name}"),
    };
    let empty = || std::iter::repeat_n(String::new(), 8);
    match &node.item {
        Item::Heading(heading) => std::iter::once(named((*heading).to_owned()))
            .chain(empty())
            .collect(),
        Item::Missing(reference, _) => {
            let mut row: Vec<String> =
                std::iter::once(named(format!("{}/{}", reference.kind, reference.name)))
                    .chain(empty())
                    .collect();
            row[5] = style("Missing").red().to_string();
            row[8] = "does not exist".to_owned();
            row
        }
        Item::Folded(objects) => {
            let names: Vec<_> = objects.iter().take(3).map(|o| o.name()).collect();
            let more = objects.len().saturating_sub(names.len());
            let mut row: Vec<String> = std::iter::once(named(format!("{} Machines...", objects.len())))
                .chain(empty())
                .collect();
            row[5] = style("Ready: True").green().to_string();
            row[8] = format!("{}, ... ({more} more)", names.join(", "));
            row
        }
        Item::Object(object) => {
            let mut row = vec![named(format!("{}/{}", object.kind, object.name()))];
            row.extend(counters(object));
            row.extend(status(object, now));
            row
        }
    }
}

fn counters(object: &Object) -> [String; 4] {
    let at = |pointer: &str| object.number(pointer).map(|n| n.to_string());
    let desired = at("/spec/replicas");
    let current = at("/status/replicas");
    let replicas = match (desired, current) {
        (Some(d), c) => format!("{}/{d}", c.unwrap_or_else(|| "0".to_owned())),
        _ => String::new(),
    };
    let counter = |pointer| at(pointer).unwrap_or_default();
    [
        replicas,
        counter("/status/availableReplicas"),
        counter("/status/readyReplicas"),
        counter("/status/upToDateReplicas"),
    ]
}

fn status(object: &Object, now: Timestamp) -> [String; 4] {
    let Some(condition) = object.headline() else {
        let provisioned = object
            .at("/status/initialization/provisioned")
            .and_then(serde_json::Value::as_bool);
        let word = match provisioned {
            Some(true) => style("Provisioned").green().to_string(),
            _ if object.group.starts_with("infrastructure.") => style("Not provisioned").yellow().to_string(),
            _ => style("Not reported").yellow().to_string(),
        };
        return [word, String::new(), String::new(), String::new()];
    };
    let text = format!("{}: {}", condition.type_, condition.status);
    let text = match condition.status.as_str() {
        "True" => style(text).green(),
        "False" => style(text).red(),
        _ => style(text).yellow(),
    };
    let since = condition.since.map(|t| age(t, now)).unwrap_or_default();
    let state = if object.is_deleting() {
        "Deleting".to_owned()
    } else {
        condition.reason.clone()
    };
    [text.to_string(), state, since, first_line(&condition)]
}

fn first_line(condition: &Condition) -> String {
    let mut lines = condition.message.lines();
    let first = lines.next().unwrap_or_default();
    if lines.next().is_some() {
        format!("{first} ...")
    } else {
        first.to_owned()
    }
}

/// Left-aligned columns, three blanks apart, without trailing blanks; columns without any entry are left out.
fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|i| {
            let used = rows
                .iter()
                .skip(1)
                .any(|row| row.get(i).is_some_and(|cell| !cell.is_empty()));
            let width = rows
                .iter()
                .filter_map(|row| row.get(i))
                .map(|cell| measure_text_width(cell))
                .max();
            if used || i == 0 { width.unwrap_or(0) } else { 0 }
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths).filter(|(_, width)| **width > 0) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width.saturating_sub(measure_text_width(cell)) + 3));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A duration as kubectl shows ages: `45s`, `3m20s`, `2h5m`, `4d`.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=599 if seconds % 60 != 0 => format!("{}m{}s", seconds / 60, seconds % 60),
        120..=10_799 => format!("{}m", seconds / 60),
        10_800..=28_799 if seconds / 60 % 60 != 0 => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
        10_800..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        inventory::{
            Inventory,
            samples::{condition, object},
        },
        tree,
    };

    #[test]
    fn ages_read_like_kubectls() {
        let start = Timestamp::UNIX_EPOCH;
        for (seconds, expected) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (200, "3m20s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (11_000, "3h3m"),
            (172_800, "2d"),
        ] {
            assert_eq!(
                age(start, Timestamp::from_second(seconds).unwrap()),
                expected,
                "{seconds}"
            );
        }
    }

    #[test]
    fn the_tree_is_aligned_and_leaves_empty_columns_out() {
        let cluster = object(
            "cluster.x-k8s.io",
            "Cluster",
            "c",
            json!({
            "spec": {"infrastructureRef": {"apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DevCluster", "name": "c"}},
            "status": {"conditions": [condition("Available", "False", "NotAvailable", "* one\n* two")]}}),
        );
        let inventory = Inventory::new(vec![cluster]);
        let cluster = inventory.cluster("c").unwrap();
        let now = "2026-01-01T00:00:45Z".parse().unwrap();
        let text = table(&tree::of_cluster(&inventory, cluster, true), now);
        let text = console::strip_ansi_codes(&text).into_owned();
        let expected = "\
NAME                                      STATUS             REASON         SINCE   MESSAGE
Cluster/c                                 Available: False   NotAvailable   45s     * one ...
└─ ClusterInfrastructure - DevCluster/c   Missing                                   does not exist
";
        assert_eq!(text, expected);
    }
}
