//! Text that cloud-init's template engine will stumble over.
//!
//! User data is a Jinja template. One syntax error anywhere discards all of it on the machine: nothing is written, and
//! kubeadm never runs. Shell's `${#array[@]}` and Go templates are the usual culprits.

use super::v1beta2::{FileContentFormat, Format, KubeadmConfigSpec};

/// Advice on files and commands that the machine could not read. `path` is that of `spec`.
pub fn warnings(spec: &KubeadmConfigSpec, path: &str) -> Vec<String> {
    if spec.format == Some(Format::Ignition) {
        return Vec::new();
    }
    // Go templates are rendered before the machine sees them.
    let files = spec.files.iter().enumerate().filter(|(_, file)| {
        file.encoding.is_none() && file.content_format != Some(FileContentFormat::Template)
    });
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
        let block = stumbling_block(text)?;
        Some(format!(
            "{path}.{field} has {block} to cloud-init's template engine: the machine would discard all of its user data. \
             Put {{% raw %}} and {{% endraw %}} around it"
        ))
    };
    files.chain(commands).filter_map(warn).collect()
}

/// What in `text` is no Jinja although it looks like it; none if nothing does. Text with a `{% raw %}` part is trusted.
fn stumbling_block(text: &str) -> Option<&'static str> {
    if text.contains("{% raw %}") || text.contains("{%- raw %}") {
        return None;
    }
    let unclosed = |open: &str, close: &str| {
        text.rfind(open)
            .is_some_and(|at| !text[at + open.len()..].contains(close))
    };
    if unclosed("{#", "#}") {
        return Some("`{#`, which begins a comment");
    }
    if unclosed("{%", "%}") {
        return Some("`{%`, which begins a statement");
    }
    if unclosed("{{", "}}") {
        return Some("`{{`, which begins an expression");
    }
    let of_go = text
        .split("{{")
        .skip(1)
        .any(|rest| rest.trim_start_matches(['-', ' ']).starts_with(['.', '$']));
    of_go.then_some("a Go template, which is no expression here")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_breaks_the_template_is_reported() {
        for (text, reported) in [
            ("echo hello", false),
            ("{{ ds.meta_data.local_hostname }}", false),
            ("{% if x %}a{% endif %} {# note #}", false),
            ("echo ${#array[@]}", true),
            ("echo ${array[@]}", false),
            ("docker ps --format '{{ .Names }}'", true),
            ("docker ps --format '{{.Names}}'", true),
            ("{% raw %}docker ps --format '{{.Names}}'{% endraw %}", false),
            ("printf {{", true),
            ("awk '{%'", true),
        ] {
            assert_eq!(stumbling_block(text).is_some(), reported, "{text}");
        }
    }
}
