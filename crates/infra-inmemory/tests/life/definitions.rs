//! Our definitions mean the same as upstream's.

use std::{io::Write, path::Path};

use capi_api::crd::{self, parity::Allowance};

/// Everything that may differ, and why.
const ALLOWANCES: &[Allowance] = &[
    Allowance {
        definition: "devmachinepools.infrastructure.cluster.x-k8s.io",
        path: "",
        why: "machine pools have no in-memory backend upstream",
    },
    Allowance {
        definition: "devmachinepooltemplates.infrastructure.cluster.x-k8s.io",
        path: "",
        why: "templates of machine pools have no in-memory backend upstream",
    },
];

#[test]
fn our_definitions_mean_the_same_as_upstreams() {
    let Some(folder) = std::env::var_os("UPSTREAM_CRDS") else {
        // Past the test harness, which would swallow it: skips are counted, by lines that start with the word.
        writeln!(std::io::stderr(), "\nSKIPPED parity: UPSTREAM_CRDS is not set").unwrap();
        return;
    };
    let ours: Vec<_> = infra_inmemory::crds()
        .unwrap()
        .into_iter()
        .map(|shipped| shipped.definition)
        .collect();
    let mut report = crd::parity::check(&ours, Path::new(&folder), ALLOWANCES).unwrap();
    // Other infrastructure providers' kinds may lie in the same folder.
    report
        .unexplained
        .retain(|difference| difference.definition.starts_with("dev"));
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
