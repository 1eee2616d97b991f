//! Definitions as files. Whether those in `deploy` are up to date is asked where all providers meet (`e2e --test deploy`).

use capi_api::crd;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

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
