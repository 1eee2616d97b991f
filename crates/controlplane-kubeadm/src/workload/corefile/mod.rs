//! CoreDNS' configuration from one version to a newer one: which versions there are, and what each takes away or moves.
//!
//! Pure. Only what would keep a newer CoreDNS from starting is changed, and a text in which nothing has to change comes
//! back as it was, comments included.

mod parse;
mod steps;

use parse::{Corefile, Entry};
use steps::{Rule, STEPS};

/// Why a Corefile cannot be brought to another version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MigrationError {
    /// The version that runs is not known.
    #[error("start version '{0}' not supported")]
    UnknownStart(String),
    /// The wanted version is not known, or it is older.
    #[error("cannot migrate up to '{to}' from '{from}'")]
    NoWay {
        /// The version that runs.
        from: String,
        /// The wanted version.
        to: String,
    },
    /// The text is no Corefile.
    #[error("the Corefile cannot be read: {0}")]
    Text(String),
}

/// The rules on the way between two versions (`1.13.1`, without `v`), each with the version that brings it.
fn way(from: &str, to: &str) -> Result<impl Iterator<Item = &'static Rule>, MigrationError> {
    let position = |version: &str| STEPS.iter().position(|(known, _)| *known == version);
    let start = position(from).ok_or_else(|| MigrationError::UnknownStart(from.to_owned()))?;
    let end = position(to)
        .filter(|end| *end >= start)
        .ok_or_else(|| MigrationError::NoWay {
            from: from.to_owned(),
            to: to.to_owned(),
        })?;
    Ok(STEPS[start + 1..=end].iter().flat_map(|(_, rules)| rules.iter()))
}

/// Whether there is a way between two versions.
pub fn check(from: &str, to: &str) -> Result<(), MigrationError> {
    if from == to {
        return Ok(());
    }
    way(from, to).map(|_| ())
}

/// The Corefile for version `to` of one for version `from`.
pub fn migrated(text: &str, from: &str, to: &str) -> Result<String, MigrationError> {
    if from == to {
        return Ok(text.to_owned());
    }
    let rules = way(from, to)?;
    let before = Corefile::parse(text).map_err(MigrationError::Text)?;
    let mut after = before.clone();
    for rule in rules {
        apply(rule, &mut after);
    }
    Ok(match after == before {
        true => text.to_owned(),
        false => after.to_string(),
    })
}

fn apply(rule: &Rule, corefile: &mut Corefile) {
    for server in &mut corefile.servers {
        match rule {
            Rule::TransferOptionToPlugin => transfer_to_plugin(&mut server.body),
            Rule::DropOption { plugin, option } => {
                for plugin in named(&mut server.body, plugin) {
                    plugin.body.retain(|entry| entry.name() != *option);
                }
            }
            Rule::FirstArgumentOnly { plugin, option } => {
                for plugin in named(&mut server.body, plugin) {
                    for option in named(&mut plugin.body, option) {
                        option.words.truncate(2);
                    }
                }
            }
            Rule::NewDefault { plugin, option } => {
                for plugin in named(&mut server.body, plugin) {
                    if plugin.body.iter().all(|entry| entry.name() != option[0]) {
                        let words = option.iter().map(|word| (*word).to_owned()).collect();
                        plugin.body.push(Entry::line(words));
                    }
                }
            }
        }
    }
}

fn named<'a>(entries: &'a mut [Entry], name: &'a str) -> impl Iterator<Item = &'a mut Entry> {
    entries.iter_mut().filter(move |entry| entry.name() == name)
}

/// `kubernetes ZONE { transfer to ADDRESS... }` becomes `transfer ZONE { to ADDRESS... }` beside it.
fn transfer_to_plugin(plugins: &mut Vec<Entry>) {
    let mut moved = Vec::new();
    for plugin in named(plugins, "kubernetes") {
        let zone = plugin.words.get(1).cloned();
        for option in named(&mut plugin.body, "transfer") {
            if option.words.len() < 3 {
                continue;
            }
            let mut words = vec!["transfer".to_owned()];
            words.extend(zone.clone());
            let mut to = vec!["to".to_owned()];
            to.extend(option.words[2..].iter().cloned());
            moved.push(Entry {
                words,
                body: vec![Entry::line(to)],
            });
        }
        plugin.body.retain(|option| option.name() != "transfer");
    }
    plugins.append(&mut moved);
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBEADM: &str = ".:53 {\n    errors\n    health {\n       lameduck 5s\n    }\n    ready\n    \
        kubernetes cluster.local in-addr.arpa ip6.arpa {\n       pods insecure\n       fallthrough in-addr.arpa ip6.arpa\n       \
        ttl 30\n    }\n    prometheus :9153\n    forward . /etc/resolv.conf {\n       max_concurrent 1000\n    }\n    \
        cache 30 # seconds\n    loop\n    reload\n    loadbalance\n}\n";

    #[test]
    fn what_kubeadm_writes_needs_no_change_since_1_8() {
        for (from, to) in [("1.8.0", "1.14.2"), ("1.13.1", "1.14.2"), ("1.14.2", "1.14.2")] {
            assert_eq!(migrated(KUBEADM, from, to).unwrap(), KUBEADM, "{from} to {to}");
        }
    }

    #[test]
    fn only_known_ways_upwards_are_gone() {
        assert_eq!(
            check("1.5.0", "1.14.2"),
            Err(MigrationError::UnknownStart("1.5.0".into()))
        );
        for (from, to) in [("1.14.2", "1.13.1"), ("1.13.1", "1.99.0"), ("1.8.4", "1.8.2")] {
            assert_eq!(
                check(from, to).unwrap_err().to_string(),
                format!("cannot migrate up to '{to}' from '{from}'")
            );
        }
        assert_eq!(check("1.2.3", "1.2.3"), Ok(()), "nothing has to be done");
    }

    #[test]
    fn versions_are_in_order() {
        let parsed: Vec<semver::Version> = STEPS
            .iter()
            .map(|(version, _)| version.parse().unwrap())
            .collect();
        assert!(parsed.is_sorted());
    }

    #[test]
    fn options_that_went_away_are_taken_out() {
        let old = ".:53 {\n    kubernetes cluster.local {\n        endpoint http://a http://b\n        upstream\n        resyncperiod 5m\n    }\n    forward . /etc/resolv.conf\n}\n";
        let new = migrated(old, "1.6.9", "1.14.2").unwrap();
        assert_eq!(
            new,
            ".:53 {\n    kubernetes cluster.local {\n        endpoint http://a\n    }\n    forward . /etc/resolv.conf {\n        max_concurrent 1000\n    }\n}\n"
        );
        assert_eq!(migrated(&new, "1.6.9", "1.14.2").unwrap(), new, "once is enough");
    }

    #[test]
    fn the_transfer_option_becomes_a_plugin() {
        let old = ".:53 {\n    kubernetes cluster.local {\n        transfer to * 10.0.0.1\n        ttl 30\n    }\n}\n";
        assert_eq!(
            migrated(old, "1.7.1", "1.8.0").unwrap(),
            ".:53 {\n    kubernetes cluster.local {\n        ttl 30\n    }\n    transfer cluster.local {\n        to * 10.0.0.1\n    }\n}\n"
        );
    }

    #[test]
    fn several_servers_and_quoted_words_survive() {
        let old = "# ours\nexample.org:53 {\n    log \"{remote} said\"\n    kubernetes a {\n        endpoint x y\n    }\n}\n\n.:53 {\n    errors\n}\n";
        let new = migrated(old, "1.9.3", "1.14.2").unwrap();
        assert_eq!(
            new,
            "example.org:53 {\n    log \"{remote} said\"\n    kubernetes a {\n        endpoint x\n    }\n}\n\n.:53 {\n    errors\n}\n"
        );
    }

    #[test]
    fn broken_texts_are_refused() {
        for text in [".:53 {\n errors\n", "}\n", ".:53 {\n log \"open\n}\n"] {
            assert!(
                matches!(migrated(text, "1.9.3", "1.14.2"), Err(MigrationError::Text(_))),
                "{text}"
            );
        }
    }
}
