//! How new Machines are called.
//!
//! A name follows from the MachineSet's uid and the Machines that were seen, so that a retry after a crash, or a second
//! replica of this program, computes the same name, meets what exists and goes on with it.

use std::collections::BTreeSet;

use capi_api::{
    conditions::{get, types},
    core::v1beta2::MachineSet,
    names::{SUFFIX, derived_suffix, truncated},
};
use gotemplate::{Limits, Template, Value};

/// The names' template if none is set.
pub const DEFAULT_TEMPLATE: &str = "{{ .machineSet.name }}-{{ .random }}";

/// What tells a round of creation from former ones, also after a restart: what was asked for, and since when the
/// MachineSet has (not) been scaling up.
pub fn episode(set: &MachineSet) -> String {
    let generation = set.metadata.generation.unwrap_or_default();
    let condition = get(set, types::SCALING_UP);
    let since = condition.map(|c| format!("{}@{}", c.status, c.last_transition_time.0));
    format!("{generation} {}", since.unwrap_or_default())
}

/// What names are made of.
pub struct Namer<'a> {
    /// The naming template.
    pub template: &'a str,
    /// The Cluster's name.
    pub cluster: &'a str,
    /// The MachineSet's name.
    pub set: &'a str,
    /// The MachineSet's uid.
    pub uid: &'a str,
    /// Tells this round of creation from former ones: a Machine that is gone must not lend its name to another, which
    /// would meet what it left behind (a Secret about to be collected, a Node).
    pub episode: &'a str,
}

/// A naming template that gives no names.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NamingError {
    /// The part that makes names differ is missing.
    #[error("cannot generate Machine name: {{{{ .random }}}} is missing in machineNaming.template")]
    NoRandom,
    /// It is no template, or fails.
    #[error("cannot generate Machine name: machineNaming.template: {0}")]
    Broken(#[from] gotemplate::Error),
    /// It asks for something that names are not made of.
    #[error(
        "cannot generate Machine name: machineNaming.template uses something that is not known (known are .cluster.name, .machineSet.name, .random)"
    )]
    Unknown,
}

/// What a naming template may use up.
const LIMITS: Limits = Limits {
    output: 4096,
    steps: 10_000,
};
/// What Go prints for what is not there.
const NO_VALUE: &str = "<no value>";

impl Namer<'_> {
    /// The next name, given the names of all that exist; `taken` are names it must not have.
    pub fn next(&self, seen: &BTreeSet<String>, taken: impl Fn(&str) -> bool) -> Result<String, NamingError> {
        let mut parts: Vec<&str> = vec![self.uid, self.episode];
        parts.extend(seen.iter().map(String::as_str));
        let mut attempt = 0;
        loop {
            let number = attempt.to_string();
            let mut parts = parts.clone();
            parts.push(&number);
            let name = self.render(&derived_suffix(&parts))?;
            if !seen.contains(&name) && !taken(&name) {
                return Ok(name);
            }
            attempt += 1;
        }
    }

    fn render(&self, random: &str) -> Result<String, NamingError> {
        let template = Template::parse(self.template)?;
        let name = template.render(&self.data(random), LIMITS)?;
        if name.contains(NO_VALUE) {
            return Err(NamingError::Unknown);
        }
        if template.render(&self.data("other"), LIMITS)? == name {
            return Err(NamingError::NoRandom);
        }
        // Too long a name loses its middle, not what makes it differ.
        Ok(if name.len() > 63 {
            format!("{}{random}", truncated(&name, SUFFIX))
        } else {
            name
        })
    }

    fn data(&self, random: &str) -> Value {
        let text = |text: &str| Value::Text(text.to_owned());
        let named = |name: &str| Value::Map([("name".to_owned(), text(name))].into());
        let fields = [
            ("cluster", named(self.cluster)),
            ("machineSet", named(self.set)),
            ("random", text(random)),
        ];
        Value::Map(fields.map(|(name, value)| (name.to_owned(), value)).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namer(template: &str) -> Namer<'_> {
        Namer {
            template,
            cluster: "c",
            set: "md-0-abcde",
            uid: "u",
            episode: "",
        }
    }

    #[test]
    fn names_repeat_for_what_was_seen_and_differ_otherwise() {
        let seen: BTreeSet<String> = BTreeSet::new();
        let first = namer(DEFAULT_TEMPLATE).next(&seen, |_| false).unwrap();
        assert_eq!(first, namer(DEFAULT_TEMPLATE).next(&seen, |_| false).unwrap());
        assert!(
            first.starts_with("md-0-abcde-") && first.len() == "md-0-abcde-".len() + 5,
            "{first}"
        );
        let second = namer(DEFAULT_TEMPLATE)
            .next(&[first.clone()].into(), |_| false)
            .unwrap();
        assert_ne!(first, second);
        let other = namer(DEFAULT_TEMPLATE).next(&seen, |name| name == first).unwrap();
        assert_ne!(first, other);
    }

    #[test]
    fn another_round_of_creation_gives_other_names() {
        let none = BTreeSet::new();
        let in_episode = |episode: &str| {
            let namer = Namer {
                episode,
                ..namer(DEFAULT_TEMPLATE)
            };
            namer.next(&none, |_| false).unwrap()
        };
        let at = |status: &str, time: &str| -> MachineSet {
            serde_json::from_value(serde_json::json!({"metadata": {"name": "ms"}, "spec": {"clusterName": "c", "selector": {},
                "template": {"spec": {"clusterName": "c", "bootstrap": {}, "infrastructureRef": {"apiGroup": "g", "kind": "K", "name": "n"}}}},
                "status": {"conditions": [{"type": "ScalingUp", "status": status, "reason": "R", "message": "", "lastTransitionTime": time}]}}))
            .unwrap()
        };
        let first = episode(&at("False", "2026-01-01T00:00:00Z"));
        let second = episode(&at("False", "2026-01-01T00:00:09Z"));
        assert_ne!(in_episode(""), in_episode(&first));
        assert_ne!(in_episode(&first), in_episode(&second));
    }

    #[test]
    fn templates_are_rendered_and_checked() {
        let none = BTreeSet::new();
        assert!(
            namer("x-{{.cluster.name}}-{{ .random }}")
                .next(&none, |_| false)
                .unwrap()
                .starts_with("x-c-")
        );
        assert_eq!(
            namer("{{ .machineSet.name }}").next(&none, |_| false),
            Err(NamingError::NoRandom)
        );
        assert_eq!(
            namer("{{ .foo }}-{{ .random }}").next(&none, |_| false),
            Err(NamingError::Unknown)
        );
        assert!(matches!(
            namer("{{ .random").next(&none, |_| false),
            Err(NamingError::Broken(_))
        ));
        let chosen = "{{ if eq .cluster.name \"c\" }}yes{{ else }}no{{ end }}-{{ slice .machineSet.name 0 2 }}-{{ .random }}";
        assert!(
            namer(chosen)
                .next(&none, |_| false)
                .unwrap()
                .starts_with("yes-md-")
        );
        let long = format!("{}-{{{{ .random }}}}", "a".repeat(70));
        assert_eq!(namer(&long).next(&none, |_| false).unwrap().len(), 63);
    }
}
