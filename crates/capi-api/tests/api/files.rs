//! The files in `deploy` are what the types say. `WRITE_CRDS=1 cargo test -p capi-api --test api` rewrites them.

use std::{fs, path::PathBuf};

use capi_api::crd;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

fn deploy() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

#[test]
fn the_files_in_deploy_are_up_to_date() {
    let shipped = crd::crds().unwrap();
    let files = crd::render(&shipped).unwrap();
    if std::env::var_os("WRITE_CRDS").is_some() {
        for (path, text) in &files {
            let path = deploy().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }
    for (path, text) in &files {
        let on_disk = fs::read_to_string(deploy().join(path)).unwrap_or_default();
        assert!(on_disk == *text, "deploy/{path} is out of date: run `make crds`");
    }
    let mut providers: Vec<_> = shipped.iter().map(|one| one.provider).collect();
    providers.dedup();
    for provider in providers {
        for entry in fs::read_dir(deploy().join(provider).join("crds")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(
                files.contains_key(&format!("{provider}/crds/{name}")),
                "deploy/{provider}/crds/{name} belongs to no kind"
            );
        }
    }
}

#[test]
fn files_say_the_same_as_the_definitions() {
    for shipped in crd::crds().unwrap() {
        let text = crd::to_yaml(&shipped.definition).unwrap();
        let read: CustomResourceDefinition = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read, shipped.definition);
    }
}

#[test]
fn json_objects_keep_their_keys_sorted() {
    // Hashes and request logs rely on it: serde_json must be built without `preserve_order`.
    let text = serde_json::json!({ "b": 1, "a": 2, "c": { "z": 1, "y": 2 } }).to_string();
    assert_eq!(text, r#"{"a":2,"b":1,"c":{"y":2,"z":1}}"#);
}
