//! Which KubeadmConfigs are refused, beyond what the schema says.
//!
//! KubeadmConfigs themselves are not defaulted; kubeadm does that on the machine.

use std::collections::BTreeSet;
use std::fmt::Display;

use async_trait::async_trait;
use capi_api::bootstrap::v1beta2::{
    DiskSetup, Encoding, File, FileContentFormat, Format, KubeadmConfig, KubeadmConfigSpec,
    KubeadmConfigTemplate, PartitionTableType,
};
use capi_runtime::webhook::{FieldError, Reason, Request, Validator, Verdict};

use super::{jinja, metadata};
use crate::ignition as rendering;

/// Whether the alpha format Ignition may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IgnitionGate {
    /// The feature gate KubeadmBootstrapFormatIgnition is on.
    On,
    /// It is off.
    Off,
}

/// What is wrong with `spec`, whose path is `path` (`spec`, or a longer one where it is embedded).
pub fn validate(spec: &KubeadmConfigSpec, path: &str, gate: IgnitionGate) -> Vec<FieldError> {
    let mut found = Found {
        path,
        errors: Vec::new(),
    };
    files(spec, &mut found);
    users(spec, &mut found);
    discovery(spec, &mut found);
    if let Some(disks) = &spec.disk_setup {
        partitions(disks, &mut found);
    }
    ignition(spec, gate, &mut found);
    found.errors
}

/// Judges KubeadmConfigs and their templates.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Whether Ignition may be used.
    pub ignition: IgnitionGate,
}

impl Rules {
    fn config(self, config: &KubeadmConfig) -> Vec<FieldError> {
        validate(&config.spec, "spec", self.ignition)
    }

    fn template(self, template: &KubeadmConfigTemplate) -> Vec<FieldError> {
        let resource = &template.spec.template;
        let spec = resource.spec.iter();
        let of_spec = spec.flat_map(|spec| validate(spec, "spec.template.spec", self.ignition));
        let of_metadata = resource
            .metadata
            .iter()
            .flat_map(|meta| metadata::validate(meta, "spec.template.metadata"));
        of_spec.chain(of_metadata).collect()
    }
}

/// What is wrong with `new`, and what may be. What was wrong before a change is no reason to refuse the change: it may
/// have been stored under other rules.
fn verdict(old: &[FieldError], new: Vec<FieldError>, warnings: Vec<String>) -> Verdict {
    let verdict = Verdict::of(new.into_iter().filter(|error| !old.contains(error)).collect());
    warnings.into_iter().fold(verdict, Verdict::warn)
}

/// Advice on parts of `spec` that are valid and yet will not work.
pub fn warnings(spec: &KubeadmConfigSpec, path: &str) -> Vec<String> {
    let mut warnings = template_faults(spec, path);
    match spec.format {
        Some(Format::Ignition) => warnings.extend(ignition_doubts(spec, path)),
        _ => warnings.extend(jinja_faults(spec, path)),
    }
    warnings
}

/// Templates in files that nothing can be rendered from, whatever the version of the control plane is.
fn template_faults(spec: &KubeadmConfigSpec, path: &str) -> Vec<String> {
    let fault = |(index, file): (usize, &File)| {
        let content = file.content.as_deref().filter(|_| is_template(file))?;
        let error = gotemplate::Template::parse(content).err()?;
        Some(format!(
            "{path}.files[{index}].content is a template that cannot be rendered ({error}): machines will wait for it to be corrected"
        ))
    };
    spec.files.iter().enumerate().filter_map(fault).collect()
}

fn is_template(file: &File) -> bool {
    file.content_format == Some(FileContentFormat::Template)
}

/// What the compiler of the additional Container Linux Config has to say.
fn ignition_doubts(spec: &KubeadmConfigSpec, path: &str) -> Vec<String> {
    let config = spec
        .ignition
        .as_ref()
        .and_then(|i| i.container_linux_config.as_ref());
    let Some((config, text)) = config.and_then(|c| Some((c, c.additional_config.as_deref()?))) else {
        return Vec::new();
    };
    let doubts = rendering::doubts(text, config.strict == Some(true));
    let doubts = doubts.into_iter();
    doubts
        .map(|doubt| format!("{path}.ignition.containerLinuxConfig.additionalConfig: {doubt}"))
        .collect()
}

fn jinja_faults(spec: &KubeadmConfigSpec, path: &str) -> Vec<String> {
    // Go templates are rendered before the machine sees them.
    let files = spec
        .files
        .iter()
        .enumerate()
        .filter(|(_, file)| file.encoding.is_none() && !is_template(file));
    let files = files.filter_map(|(i, file)| Some((format!("files[{i}].content"), file.content.as_ref()?)));
    let commands = [
        ("bootCommands", &spec.boot_commands),
        ("preKubeadmCommands", &spec.pre_kubeadm_commands),
        ("postKubeadmCommands", &spec.post_kubeadm_commands),
    ];
    let commands = commands.into_iter().flat_map(|(name, list)| {
        list.iter()
            .enumerate()
            .map(move |(i, command)| (format!("{name}[{i}]"), command))
    });
    let warn = |(field, text): (String, &String)| {
        let block = jinja::stumbling_block(text)?;
        Some(format!(
            "{path}.{field} has {block} to cloud-init's template engine: the machine would discard all of its user data. \
             Put {{% raw %}} and {{% endraw %}} around it"
        ))
    };
    files.chain(commands).filter_map(warn).collect()
}

#[async_trait]
impl Validator<KubeadmConfig> for Rules {
    async fn create(&self, _: &Request, new: &KubeadmConfig) -> Verdict {
        verdict(&[], self.config(new), warnings(&new.spec, "spec"))
    }

    async fn update(&self, _: &Request, old: &KubeadmConfig, new: &KubeadmConfig) -> Verdict {
        verdict(&self.config(old), self.config(new), warnings(&new.spec, "spec"))
    }
}

#[async_trait]
impl Validator<KubeadmConfigTemplate> for Rules {
    async fn create(&self, _: &Request, new: &KubeadmConfigTemplate) -> Verdict {
        verdict(&[], self.template(new), template_warnings(new))
    }

    async fn update(&self, _: &Request, old: &KubeadmConfigTemplate, new: &KubeadmConfigTemplate) -> Verdict {
        verdict(&self.template(old), self.template(new), template_warnings(new))
    }
}

fn template_warnings(template: &KubeadmConfigTemplate) -> Vec<String> {
    template
        .spec
        .template
        .spec
        .iter()
        .flat_map(|spec| warnings(spec, "spec.template.spec"))
        .collect()
}

struct Found<'a> {
    path: &'a str,
    errors: Vec<FieldError>,
}

impl Found<'_> {
    fn forbidden(&mut self, field: impl Display, detail: &str) {
        self.errors
            .push(FieldError::forbidden(format!("{}.{field}", self.path), detail));
    }

    fn required(&mut self, field: impl Display) {
        self.errors.push(FieldError::required(
            format!("{}.{field}", self.path),
            "must be set",
        ));
    }

    fn invalid(&mut self, field: impl Display, value: impl serde::Serialize, detail: &str) {
        self.errors.push(FieldError::invalid(
            format!("{}.{field}", self.path),
            value,
            detail,
        ));
    }

    fn duplicate(&mut self, field: impl Display, value: &str) {
        let reason = Reason::Duplicate(format!("{value:?}"));
        let detail = "must be unique among all files".to_owned();
        self.errors.push(FieldError {
            field: format!("{}.{field}", self.path),
            reason,
            detail,
        });
    }
}

fn files(spec: &KubeadmConfigSpec, found: &mut Found<'_>) {
    let mut paths = BTreeSet::new();
    for (index, file) in spec.files.iter().enumerate() {
        if file.content.is_some() && file.content_from.is_some() {
            found.forbidden(
                format_args!("files[{index}]"),
                "only one of content and contentFrom may be set",
            );
        }
        if let Some(from) = &file.content_from {
            if from.secret.name.is_empty() {
                found.required(format_args!("files[{index}].contentFrom.secret.name"));
            }
            if from.secret.key.is_empty() {
                found.required(format_args!("files[{index}].contentFrom.secret.key"));
            }
        }
        if !paths.insert(&file.path) {
            found.duplicate(format_args!("files[{index}].path"), &file.path);
        }
    }
}

fn users(spec: &KubeadmConfigSpec, found: &mut Found<'_>) {
    for (index, user) in spec.users.iter().enumerate() {
        if user.passwd.is_some() && user.passwd_from.is_some() {
            found.forbidden(
                format_args!("users[{index}]"),
                "only one of passwd and passwdFrom may be set",
            );
        }
        if let Some(from) = &user.passwd_from {
            if from.secret.name.is_empty() {
                found.required(format_args!("users[{index}].passwdFrom.secret.name"));
            }
            if from.secret.key.is_empty() {
                found.required(format_args!("users[{index}].passwdFrom.secret.key"));
            }
        }
    }
}

fn discovery(spec: &KubeadmConfigSpec, found: &mut Found<'_>) {
    let discovery = spec
        .join_configuration
        .as_ref()
        .and_then(|join| join.discovery.as_ref());
    let Some(config) = discovery
        .and_then(|d| d.file.as_ref())
        .and_then(|file| file.kube_config.as_ref())
    else {
        return;
    };
    let field = "joinConfiguration.discovery.file.kubeConfig.user";
    match (&config.user.auth_provider, &config.user.exec) {
        (None, None) => found.invalid(field, &config.user, "one of authProvider and exec must be set"),
        (Some(_), Some(_)) => found.forbidden(field, "only one of authProvider and exec may be set"),
        _ => {}
    }
}

fn partitions(disks: &DiskSetup, found: &mut Found<'_>) {
    for (index, partition) in disks.partitions.iter().enumerate() {
        let sum: i64 = partition
            .disk_layout
            .iter()
            .map(|part| i64::from(part.percentage))
            .sum();
        if sum > 100 {
            found.invalid(
                format_args!("diskSetup.partitions[{index}].diskLayout"),
                sum,
                &format!("the percentages sum up to {sum}; they must not exceed 100"),
            );
        }
    }
}

fn ignition(spec: &KubeadmConfigSpec, gate: IgnitionGate, found: &mut Found<'_>) {
    let wanted = spec.format == Some(Format::Ignition);
    if gate == IgnitionGate::Off {
        let reason = "needs the feature gate KubeadmBootstrapFormatIgnition, which is off";
        if wanted {
            found.forbidden("format", reason);
        }
        if spec.ignition.is_some() {
            found.forbidden("ignition", reason);
        }
        return;
    }
    if !wanted {
        if spec.ignition.is_some() {
            found.invalid("format", spec.format, "must be ignition when ignition is set");
        }
        return;
    }
    unsupported_by_ignition(spec, found);
}

fn unsupported_by_ignition(spec: &KubeadmConfigSpec, found: &mut Found<'_>) {
    const UNSUPPORTED: &str = "cannot be used with format ignition";
    for (index, _) in spec
        .users
        .iter()
        .enumerate()
        .filter(|(_, user)| user.inactive == Some(true))
    {
        found.forbidden(format_args!("users[{index}].inactive"), UNSUPPORTED);
    }
    for (index, file) in spec.files.iter().enumerate() {
        if matches!(file.encoding, Some(Encoding::Gzip | Encoding::GzipBase64)) {
            found.forbidden(format_args!("files[{index}].encoding"), UNSUPPORTED);
        }
    }
    if !spec.boot_commands.is_empty() {
        found.forbidden("bootCommands", UNSUPPORTED);
    }
    let Some(disks) = &spec.disk_setup else { return };
    for (index, partition) in disks.partitions.iter().enumerate() {
        if partition
            .table_type
            .is_some_and(|table| table != PartitionTableType::Gpt)
        {
            found.invalid(
                format_args!("diskSetup.partitions[{index}].tableType"),
                partition.table_type,
                "must be gpt with format ignition",
            );
        }
    }
    for (index, filesystem) in disks.filesystems.iter().enumerate() {
        if filesystem.replace_fs.is_some() {
            found.forbidden(
                format_args!("diskSetup.filesystems[{index}].replaceFS"),
                UNSUPPORTED,
            );
        }
        if filesystem.partition.is_some() {
            found.forbidden(
                format_args!("diskSetup.filesystems[{index}].partition"),
                UNSUPPORTED,
            );
        }
    }
}

#[cfg(test)]
mod tests;
