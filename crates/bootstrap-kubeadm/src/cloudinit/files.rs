//! The entries of `write_files`.

use super::line;
use crate::machine_setup::NodeFile;
use crate::yaml;

/// Why the placeholder exists, told to whoever finds it on a machine.
const PLACEHOLDER: &str = "This file only makes sure that the directory /run/cluster-api exists, on Linux and on Windows, where mkdir -p does not.";

pub(super) fn write_file(out: &mut String, file: &NodeFile) {
    line(out, format_args!("-   path: {}", yaml::scalar(&file.path)));
    if let Some(encoding) = file.encoding {
        line(out, format_args!("    encoding: \"{encoding}\""));
    }
    if !file.owner.is_empty() {
        line(out, format_args!("    owner: {}", yaml::scalar(&file.owner)));
    }
    if !file.permissions.is_empty() {
        line(
            out,
            format_args!("    permissions: '{}'", file.permissions.replace('\'', "''")),
        );
    }
    if let Some(append) = file.append {
        line(out, format_args!("    append: {append}"));
    }
    write_content(out, &file.content);
}

/// A literal block, whose every line, the empty one after a final newline included, is indented by 6.
fn write_content(out: &mut String, content: &str) {
    if !content.is_empty() && !yaml::fits_literal_block(content) {
        return line(out, format_args!("    content: {}", yaml::double_quoted(content)));
    }
    let indicator = if yaml::needs_indentation_indicator(content) {
        "2"
    } else {
        ""
    };
    line(out, format_args!("    content: |{indicator}"));
    for text in content.split('\n') {
        line(out, format_args!("      {text}"));
    }
}

/// A file that makes the sentinel's directory.
pub(super) fn write_placeholder(out: &mut String) {
    out.push_str("-   path: /run/cluster-api/placeholder\n    owner: root:root\n    permissions: '0640'\n");
    line(
        out,
        format_args!("    content: {}", yaml::double_quoted(PLACEHOLDER)),
    );
}
