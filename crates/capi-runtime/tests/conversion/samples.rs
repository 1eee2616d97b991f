//! Objects as people write them, in both versions.

use capi_api::annotations::CONVERSION_DATA;
use serde_json::Value;

use super::rounds::conversions;

const SAMPLES: &[(&str, &str)] = &[
    ("cluster", include_str!("samples/cluster.yaml")),
    ("control plane", include_str!("samples/control-plane.yaml")),
    ("health check", include_str!("samples/health-check.yaml")),
    ("machine", include_str!("samples/machine.yaml")),
    (
        "machine deployment",
        include_str!("samples/machine-deployment.yaml"),
    ),
    ("topology", include_str!("samples/topology.yaml")),
];

#[test]
fn objects_as_people_write_them() {
    let conversions = conversions();
    for (name, text) in SAMPLES {
        let pair: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
        let [old, new] = pair.as_slice() else {
            panic!("{name}: the older version and v1beta2 are wanted");
        };
        let version = |object: &Value| object["apiVersion"].as_str().unwrap().to_owned();
        let up = conversions.convert(old.clone(), &version(new)).unwrap();
        assert!(up == *new, "{name}\nfound {up:#}\nexpected {new:#}");
        let mut down = conversions.convert(new.clone(), &version(old)).unwrap();
        if let Some(metadata) = down["metadata"].as_object_mut()
            && let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut)
        {
            annotations.remove(CONVERSION_DATA);
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
        assert!(down == *old, "{name}\nfound {down:#}\nexpected {old:#}");
    }
}
