//! Ignition, the user data of Flatcar and its kin, from a [`MachineSetup`].
//!
//! Upstream renders a Container Linux Config and has it compiled to Ignition 2.3; the same JSON is made here, without the
//! detour for what is generated (`generated`), and with a compiler for the user's additional Container Linux Config
//! (`container_linux`). `rules` says what Ignition would refuse at boot. A machine with Ignition runs kubeadm from a
//! unit of its own, which is tried again at each boot until it succeeded once.
//! Where upstream's result cannot work, this differs; `generated` says how.

mod container_linux;
mod generated;
mod rules;
mod types;
mod unit_file;

use crate::machine_setup::MachineSetup;

/// Where kubeadm's configuration lies on the machine.
pub const CONFIG_PATH: &str = "/etc/kubeadm.yml";
/// The script that runs kubeadm, with the user's commands around it.
pub const SCRIPT_PATH: &str = "/etc/kubeadm.sh";

/// What a machine gets, and what its author should know.
#[derive(Clone, PartialEq)]
pub struct Rendered {
    /// The JSON document.
    pub json: String,
    /// Doubts about the additional configuration.
    pub warnings: Vec<String>,
}

/// Why no Ignition can be made. Texts never quote contents.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// A field has a value that Ignition has no place for.
    #[error("{field} {problem}")]
    Field {
        /// The path under `spec`.
        field: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// What comes of the fields would be refused by the machine.
    #[error("the Ignition configuration made of this spec is not valid: {}", .0.join("; "))]
    Refused(Vec<String>),
    /// The additional configuration cannot be used.
    #[error("spec.ignition.containerLinuxConfig.additionalConfig cannot be used: {}", .0.join("; "))]
    Additional(Vec<String>),
    /// A value cannot be written.
    #[error("the Ignition configuration cannot be written: {0}")]
    Json(String),
}

/// The Ignition for `setup`.
pub fn render(setup: &MachineSetup) -> Result<Rendered, Error> {
    let mut config = generated::config(setup)?;
    let mut doubts = Reports::default();
    rules::check(&config, &mut doubts);
    if !doubts.is_empty() {
        return Err(Error::Refused(doubts.texts()));
    }
    let additional = setup.container_linux_config.as_ref();
    let text = additional
        .and_then(|c| c.additional_config.as_deref())
        .filter(|text| !text.is_empty());
    let mut warnings = Vec::new();
    if let Some(text) = text {
        let strict = additional.and_then(|c| c.strict) == Some(true);
        let (more, doubts) = compile(text, strict).map_err(Error::Additional)?;
        warnings = doubts;
        config.append(more);
    }
    let json = config.to_json().map_err(|error| Error::Json(error.to_string()))?;
    Ok(Rendered { json, warnings })
}

/// What is wrong or doubtful about an additional Container Linux Config.
pub fn doubts(additional_config: &str, strict: bool) -> Vec<String> {
    match compile(additional_config, strict) {
        Ok((_, warnings)) => warnings,
        Err(errors) => errors,
    }
}

/// Compiles a Container Linux Config; what is doubtful comes beside the result, or instead of it.
fn compile(text: &str, strict: bool) -> Result<(types::Config, Vec<String>), Vec<String>> {
    let mut reports = Reports::default();
    match container_linux::compile(text, &mut reports) {
        Some(config) if !(reports.has_errors() || strict && !reports.is_empty()) => {
            Ok((config, reports.texts()))
        }
        _ => Err(reports.texts()),
    }
}

/// What was found wrong, with where.
#[derive(Default)]
pub(crate) struct Reports(Vec<(bool, String)>);

impl Reports {
    fn error(&mut self, path: &str, text: &str) {
        self.0.push((true, format!("{path}: {text}")));
    }

    fn warning(&mut self, path: &str, text: &str) {
        self.0.push((false, format!("{path}: {text}")));
    }

    fn has_errors(&self) -> bool {
        self.0.iter().any(|(error, _)| *error)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn texts(self) -> Vec<String> {
        self.0.into_iter().map(|(_, text)| text).collect()
    }
}

#[cfg(test)]
mod tests;
