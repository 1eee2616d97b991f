//! Compiles a Container Linux Config, the YAML form of Ignition 2.3 that users of Flatcar write.
//!
//! All of the language is understood but `etcd` and `flannel`, which would set up services that a kubeadm machine does not
//! have, and local files: both are errors that say so. Unknown keys are doubtful, not wrong, as upstream has it.

mod convert;
mod language;
mod update;

use serde_json::Value;

use super::Reports;
use super::rules;
use super::types::Config;
use language::ContainerLinux;

/// The Ignition for a Container Linux Config. What is wrong or doubtful goes into `reports`; with errors there, what is
/// returned is of no use.
pub(super) fn compile(text: &str, reports: &mut Reports) -> Option<Config> {
    // YAML 1.1, in which 0644 is octal.
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let parsed: Result<Vec<Option<ContainerLinux>>, _> =
        serde_saphyr::from_str_multiple_with_options(text, options.clone());
    let (config, others) = match parsed {
        Ok(documents) => {
            let others = documents.len() > 1;
            (documents.into_iter().next().flatten(), others)
        }
        Err(error) => {
            // The parser's message may show the lines around the error, and with them what is in a file.
            reports.error("YAML", &first_line(&error.to_string()));
            return None;
        }
    };
    let Some(config) = config else {
        reports.warning("YAML", "the configuration is empty");
        return Some(Config::new());
    };
    if others {
        reports.warning("YAML", "only the first document is used");
    }
    let given: Vec<Value> = serde_saphyr::from_str_multiple_with_options(text, options).unwrap_or_default();
    let given = given.into_iter().next().unwrap_or_default();
    let known = serde_json::to_value(&config).unwrap_or_default();
    unknown_keys(&given, &known, "", reports);
    let made = convert::ignition(&config, reports);
    rules::check(&made, reports);
    Some(made)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// Keys of `given` that did not get into the typed form, which is `known` when written out again.
fn unknown_keys(given: &Value, known: &Value, path: &str, reports: &mut Reports) {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (key, value) in given {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                match known.get(key) {
                    Some(known) => unknown_keys(value, known, &path, reports),
                    None => reports.warning(&path, "is not known and has no effect"),
                }
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (index, (given, known)) in given.iter().zip(known).enumerate() {
                unknown_keys(given, known, &format!("{path}[{index}]"), reports);
            }
        }
        _ => {}
    }
}
