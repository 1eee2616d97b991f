//! The definitions that this repository ships, and with UPSTREAM_CRDS also those of upstream, are established and served.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod common;

use std::path::{Path, PathBuf};

use common::*;
use serde_json::Value;

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false if path.extension().is_some_and(|e| e == "yaml") => found.push(path),
            false => {}
        }
    }
    found.sort();
    found
}

async fn install(path: &Path) -> usize {
    let (_server, client) = server().await;
    let mut installed = 0;
    let text = std::fs::read_to_string(path).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    for definition in documents
        .iter()
        .filter(|d| d["kind"] == "CustomResourceDefinition")
    {
        let (code, stored) = raw(
            &client,
            "POST",
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            "application/json",
            &definition.to_string(),
        )
        .await;
        assert_eq!(code, 201, "{}: {stored}", path.display());
        let names = &definition["spec"]["names"];
        for version in definition["spec"]["versions"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|v| v["served"] == true)
        {
            let group = definition["spec"]["group"].as_str().unwrap();
            let uri = format!(
                "/apis/{group}/{}/{}",
                version["name"].as_str().unwrap(),
                names["plural"].as_str().unwrap()
            );
            let (code, list) = raw(&client, "GET", &uri, "", "").await;
            assert_eq!(
                (code, list["kind"].as_str()),
                (200, names["listKind"].as_str()),
                "{uri}"
            );
        }
        installed += 1;
    }
    installed
}

#[tokio::test(start_paused = true)]
async fn shipped_definitions_are_established_and_served() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    for path in files(&root)
        .iter()
        .filter(|p| p.components().any(|c| c.as_os_str() == "crds"))
    {
        assert!(install(path).await > 0, "{} holds no definition", path.display());
    }
}

#[tokio::test(start_paused = true)]
async fn upstream_definitions_are_established_and_served() {
    let Some(folder) = std::env::var_os("UPSTREAM_CRDS") else {
        println!("skipped: UPSTREAM_CRDS is not set");
        return;
    };
    let mut installed = 0;
    for path in files(Path::new(&folder)) {
        installed += install(&path).await;
    }
    assert!(installed > 10);
}
