//! The table of built-in types is what the tool makes of the real server's own OpenAPI documents.
//!
//! Needs `CONFORMANCE_KUBECONFIG` (see `conformance.rs`); with `CONFORMANCE_RECORD=1` besides, the table is written anew
//! (`hack/builtin-types`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "conformance/suite.rs"]
mod suite;
#[path = "../examples/builtin-types/table.rs"]
mod table;

use std::path::Path;

use serde_json::Value;
use suite::say;
use suite::target::Target;

#[tokio::test]
async fn the_table_of_built_in_types_comes_from_the_documents_of_the_real_server() {
    let Ok(kubeconfig) = std::env::var("CONFORMANCE_KUBECONFIG") else {
        say("SKIPPED the table of built-in types: CONFORMANCE_KUBECONFIG is not set");
        return;
    };
    let server = Target::real(&kubeconfig).await;
    let mut documents: Vec<Value> = Vec::new();
    for name in table::DOCUMENTS {
        let (code, document) = server
            .plain("GET", &format!("/openapi/v3/{}", name.replace("__", "/")), None)
            .await;
        assert_eq!(code, 200, "{name}");
        documents.push(document);
    }
    let (_, version) = server.plain("GET", "/version", None).await;
    let made = table::write(&documents, version["gitVersion"].as_str().unwrap()).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/schema/types/builtin.types");
    if std::env::var_os("CONFORMANCE_RECORD").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    let differing = kept
        .lines()
        .zip(made.lines())
        .find(|(a, b)| a != b && !a.starts_with("# Types of"));
    assert_eq!(
        differing, None,
        "the table is not what the server's documents say: run hack/builtin-types"
    );
    assert_eq!(kept.lines().count(), made.lines().count());
}
