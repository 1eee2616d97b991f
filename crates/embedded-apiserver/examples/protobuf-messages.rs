//! Writes the table of protobuf messages of built-in kinds (src/protobuf/messages.table) from Kubernetes' Go modules.
//!
//! `cargo build -p embedded-apiserver -p unify --example protobuf-messages`, then
//! `target/debug/examples/protobuf-messages MODULES > .../messages.table`, where MODULES is
//! the folder of the modules `k8s.io/*` (`$(go env GOMODCACHE)/k8s.io`). Numbers and types come from `generated.proto`,
//! JSON names from the tags of the Go types beside it. The table's grammar stands in its head.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Folder below a module, and the apiVersion of its kinds (empty: types that others use).
const SOURCES: [(&str, &str, &str); 24] = [
    ("apimachinery", "pkg/apis/meta/v1", "meta.k8s.io/v1"),
    ("apimachinery", "pkg/runtime", ""),
    ("apimachinery", "pkg/api/resource", ""),
    ("apimachinery", "pkg/util/intstr", ""),
    ("api", "core/v1", "v1"),
    (
        "api",
        "admissionregistration/v1",
        "admissionregistration.k8s.io/v1",
    ),
    ("api", "apps/v1", "apps/v1"),
    ("api", "authentication/v1", "authentication.k8s.io/v1"),
    ("api", "authorization/v1", "authorization.k8s.io/v1"),
    ("api", "autoscaling/v1", "autoscaling/v1"),
    ("api", "batch/v1", "batch/v1"),
    ("api", "certificates/v1", "certificates.k8s.io/v1"),
    ("api", "coordination/v1", "coordination.k8s.io/v1"),
    ("api", "discovery/v1", "discovery.k8s.io/v1"),
    ("api", "events/v1", "events.k8s.io/v1"),
    ("api", "networking/v1", "networking.k8s.io/v1"),
    ("api", "node/v1", "node.k8s.io/v1"),
    ("api", "policy/v1", "policy/v1"),
    ("api", "rbac/v1", "rbac.authorization.k8s.io/v1"),
    ("api", "resource/v1", "resource.k8s.io/v1"),
    ("api", "scheduling/v1", "scheduling.k8s.io/v1"),
    ("api", "storage/v1", "storage.k8s.io/v1"),
    (
        "apiextensions-apiserver",
        "pkg/apis/apiextensions/v1",
        "apiextensions.k8s.io/v1",
    ),
    (
        "kube-aggregator",
        "pkg/apis/apiregistration/v1",
        "apiregistration.k8s.io/v1",
    ),
];

const HEAD: &str = "\
# Written by examples/protobuf-messages.rs; do not edit.
# @ PACKAGE APIVERSION says whose kinds a package holds.
# A message starts in the first column: NAME, or NAME = TYPE for one that stands for its only field.
# Its fields are indented: NUMBER JSONNAME TYPE [o]; the name - is a struct whose fields stand in the parent.
# TYPE: s string, x bytes, b boolean, i integer, d floating point, @NAME message, []T list, {}T map of strings.
# o: left out of the JSON when it is zero.";

/// What a Go tag says about a field.
struct Tag {
    json: String,
    omitted: bool,
}

/// `a.b.core.v1` is `core.v1`, `a.b.runtime` is `runtime`.
fn short(package: &str) -> String {
    let parts: Vec<&str> = package.split('.').collect();
    let versioned = parts
        .last()
        .is_some_and(|last| last.starts_with('v') && last[1..].starts_with(|c: char| c.is_ascii_digit()));
    parts[parts.len() - if versioned { 2 } else { 1 }..].join(".")
}

fn quoted<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let rest = line.split_once(&format!("{key}:\""))?.1;
    rest.split_once('"').map(|(value, _)| value)
}

/// The tags of all structs of a folder by struct and field number.
fn tags(folder: &Path) -> BTreeMap<String, BTreeMap<u32, Tag>> {
    let mut all: BTreeMap<String, BTreeMap<u32, Tag>> = BTreeMap::new();
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|e| e.path())
        .collect();
    files.retain(|p| p.to_string_lossy().ends_with(".go") && !p.to_string_lossy().contains("generated"));
    files.sort();
    for file in files {
        let mut current = String::new();
        for line in fs::read_to_string(file).unwrap().lines() {
            if let Some(name) = line
                .strip_prefix("type ")
                .and_then(|l| l.strip_suffix(" struct {"))
            {
                current = name.to_owned();
            } else if line == "}" {
                current.clear();
            }
            let (Some(json), Some(protobuf), false) =
                (quoted(line, "json"), quoted(line, "protobuf"), current.is_empty())
            else {
                continue;
            };
            let Some(number) = protobuf.split(',').nth(1).and_then(|n| n.parse().ok()) else {
                continue;
            };
            let pointer = line.split_whitespace().nth(1).is_some_and(|t| t.starts_with('*'));
            let name = json.split(',').next().unwrap();
            let inline = name.is_empty() && json.contains(",inline");
            let tag = Tag {
                json: if inline { "-".into() } else { name.into() },
                omitted: json.contains("omitempty") && !pointer,
            };
            all.entry(current.clone()).or_default().insert(number, tag);
        }
    }
    all
}

fn field_type(text: &str, package: &str) -> String {
    match text {
        "string" => "s".into(),
        "bytes" => "x".into(),
        "bool" => "b".into(),
        "double" | "float" => "d".into(),
        "int32" | "int64" | "uint32" | "uint64" => "i".into(),
        name => match name.strip_prefix('.').unwrap_or(name).rsplit_once('.') {
            Some((other, name)) => format!("@{}.{name}", short(other)),
            None => format!("@{package}.{name}"),
        },
    }
}

fn document(folder: &Path, api_version: &str) {
    let tags = tags(folder);
    let proto = fs::read_to_string(folder.join("generated.proto")).unwrap();
    let mut package = String::new();
    let mut message: Option<(String, Vec<String>)> = None;
    for line in proto
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//"))
    {
        if let Some(name) = line.strip_prefix("package ") {
            package = short(name.trim_end_matches(';'));
            if !api_version.is_empty() {
                println!("@ {package} {api_version}");
            }
        } else if let Some(name) = line.strip_prefix("message ") {
            message = Some((name.trim_end_matches(" {").to_owned(), Vec::new()));
        } else if line == "}" {
            if let Some((name, fields)) = message.take() {
                println!("{package}.{name}");
                fields.iter().for_each(|field| println!("{field}"));
            }
        } else if let (Some((name, fields)), Some((left, number))) = (&mut message, line.split_once(" = ")) {
            let number: u32 = number.trim_end_matches(';').parse().unwrap();
            let (kind, field) = left.rsplit_once(' ').unwrap();
            let kind = match kind.strip_prefix("map<string, ") {
                Some(value) => format!("{{}}{}", field_type(value.trim_end_matches('>'), &package)),
                None => match kind.split_once(' ').unwrap() {
                    ("repeated", item) => format!("[]{}", field_type(item, &package)),
                    (_, item) => field_type(item, &package),
                },
            };
            match tags.get(name.as_str()).and_then(|t| t.get(&number)) {
                Some(tag) => {
                    let omitted = if tag.omitted && !kind.starts_with('@') {
                        " o"
                    } else {
                        ""
                    };
                    fields.push(format!(" {number} {} {kind}{omitted}", tag.json));
                }
                // A named list: the message stands for it.
                None if field == "items" && !tags.contains_key(name.as_str()) => {
                    println!("{package}.{name} = {kind}");
                    message = None;
                }
                None => fields.push(format!(" {number} {field} {kind}")),
            }
        }
    }
}

fn main() {
    let modules = std::env::args()
        .nth(1)
        .unwrap_or_else(|| panic!("usage: protobuf-messages MODULES"));
    println!("{HEAD}");
    for (module, folder, api_version) in SOURCES {
        let mut found: Vec<PathBuf> = fs::read_dir(&modules)
            .unwrap()
            .flatten()
            .map(|e| e.path())
            .collect();
        found.retain(|p| {
            p.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with(&format!("{module}@")))
        });
        found.sort();
        document(
            &found
                .last()
                .unwrap_or_else(|| panic!("no module k8s.io/{module}"))
                .join(folder),
            api_version,
        );
    }
}
