//! Our definitions mean the same as upstream's.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use capi_api::crd::{self, parity::Allowance};

/// Everything that may differ, and why.
const ALLOWANCES: &[Allowance] = &[];

/// The folder of upstream's definitions: named, or beside the folder of the core kinds.
fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("UPSTREAM_OPENSTACK_CRDS").map(PathBuf::from);
    let beside = || {
        Some(
            Path::new(&std::env::var_os("UPSTREAM_CRDS")?)
                .parent()?
                .join("openstack"),
        )
    };
    named.or_else(beside).filter(|folder| folder.is_dir())
}

#[test]
fn our_definitions_mean_the_same_as_upstreams() {
    let Some(folder) = folder() else {
        // Past the test harness, which would swallow it: skips are counted, by lines that start with the word.
        let why = "neither UPSTREAM_OPENSTACK_CRDS nor a folder openstack beside UPSTREAM_CRDS";
        writeln!(std::io::stderr(), "\nSKIPPED parity of OpenStack kinds: {why}").unwrap();
        return;
    };
    let ours: Vec<_> = infra_openstack::crds()
        .unwrap()
        .into_iter()
        .map(|shipped| shipped.definition)
        .collect();
    let report = crd::parity::check(&ours, &folder, ALLOWANCES).unwrap();
    for difference in &report.unexplained {
        println!("DIFFERENCE: {difference}");
    }
    assert_eq!(
        report.compared,
        ours.len(),
        "every definition has a twin upstream"
    );
    assert_eq!(report.unexplained.len(), 0, "differences are listed above");
    assert_eq!(report.unused, Vec::<&str>::new(), "allowances that nothing needs");
}
