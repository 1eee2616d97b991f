//! What is shipped is what the code says.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code: a failure is a panic"
)]

use std::{fs, path::Path};

#[tokio::test]
async fn the_generated_files_are_up_to_date() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    for (path, expected) in e2e::deploy::files().await.unwrap() {
        let found = fs::read_to_string(deploy.join(&path)).unwrap_or_default();
        assert!(
            found == expected,
            "deploy/{path} is not what the code makes; run `make crds`"
        );
    }
}
