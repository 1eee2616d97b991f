//! The arrows of the architecture point one way: provider -> capi-runtime -> capi-api. No provider knows another.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code: a failure is a panic"
)]

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

const PROVIDERS: &[&str] = &[
    "capi-core",
    "bootstrap-kubeadm",
    "controlplane-kubeadm",
    "infra-inmemory",
    "infra-openstack",
];

/// What each kind of crate may depend on inside the workspace (normal and build dependencies).
fn allowed(package: &str) -> Option<&'static [&'static str]> {
    Some(match package {
        "seams" | "unify" | "etcd-api" | "gotemplate" => &[],
        "capi-api" => &[],
        "cluster-pki" => &["seams"],
        "embedded-apiserver" => &["seams"],
        "capi-runtime" => &["capi-api", "cluster-pki", "seams"],
        "controlplane-kubeadm" => &[
            "capi-api",
            "capi-runtime",
            "cluster-pki",
            "etcd-api",
            "gotemplate",
            "seams",
        ],
        "infra-inmemory" => &[
            "capi-api",
            "capi-runtime",
            "cluster-pki",
            "embedded-apiserver",
            "etcd-api",
            "seams",
        ],
        "capi-core" | "bootstrap-kubeadm" => {
            &["capi-api", "capi-runtime", "cluster-pki", "gotemplate", "seams"]
        }
        "infra-openstack" => &["capi-api", "capi-runtime", "cluster-pki", "seams"],
        // They stand on top and may use everything.
        "capictl" | "e2e" => return None,
        other => panic!("say in {} what crate {other} may depend on", file!()),
    })
}

fn workspace_dependencies(kinds: &[DependencyKind]) -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let members: BTreeSet<_> = metadata.packages.iter().map(|p| p.name.to_string()).collect();
    metadata
        .packages
        .iter()
        .map(|package| {
            let inside = package
                .dependencies
                .iter()
                .filter(|d| kinds.contains(&d.kind) && members.contains(&d.name));
            (package.name.to_string(), inside.map(|d| d.name.clone()).collect())
        })
        .collect()
}

#[test]
fn crates_depend_only_on_what_the_architecture_allows() {
    for (package, dependencies) in workspace_dependencies(&[DependencyKind::Normal, DependencyKind::Build]) {
        let Some(allowed) = allowed(&package) else {
            continue;
        };
        for dependency in dependencies {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{package} must not depend on {dependency}"
            );
        }
    }
}

#[test]
fn no_provider_depends_on_another_not_even_in_tests() {
    let all = [
        DependencyKind::Normal,
        DependencyKind::Build,
        DependencyKind::Development,
    ];
    let dependencies = workspace_dependencies(&all);
    for provider in PROVIDERS {
        let others: Vec<_> = dependencies[*provider]
            .iter()
            .filter(|d| PROVIDERS.contains(&d.as_str()))
            .collect();
        assert!(
            others.is_empty(),
            "provider {provider} depends on provider {others:?}"
        );
    }
}
