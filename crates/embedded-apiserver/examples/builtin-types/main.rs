//! Writes the table of built-in types (src/schema/types/builtin.types) from kube-apiserver's OpenAPI v3 documents.
//!
//! `cargo run -p embedded-apiserver -p unify --example builtin-types -- FOLDER VERSION > .../builtin.types`, where FOLDER is
//! `api/openapi-spec/v3` of the Kubernetes module that hack/envtest builds from. `hack/builtin-types` does the same with the
//! documents of a running server, and `make conformance` compares the table with them.

mod table;

use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments
        .next()
        .ok_or("the folder of the OpenAPI documents is missing")?;
    let version = arguments.next().ok_or("the version is missing")?;
    let mut documents = Vec::new();
    for document in table::DOCUMENTS {
        let text = std::fs::read_to_string(format!("{folder}/{document}_openapi.json"))?;
        documents.push(serde_json::from_str(&text)?);
    }
    std::io::stdout().write_all(table::write(&documents, &version)?.as_bytes())?;
    Ok(())
}
