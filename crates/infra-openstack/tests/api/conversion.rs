//! `v1beta1` and `v1beta2`: nothing is lost on the way there and back, whatever the objects say.
//!
//! `CONVERSION_ROUND_TRIPS` says how many objects of each kind and direction are tried; each is made of the schema.

use capi_runtime::webhook::conversion::Conversions;
use infra_openstack::api::{
    OpenStackCluster, OpenStackClusterTemplate, OpenStackMachine, OpenStackMachineTemplate, v1beta1,
};
use kube::Resource;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::generate::Generator;

const GROUP: &str = "infrastructure.cluster.x-k8s.io";
const KEPT: &str = "cluster.x-k8s.io/conversion-data";
const VERSIONS: [&str; 2] = ["v1beta1", "v1beta2"];

fn conversions() -> Conversions {
    let conversions = Conversions::default();
    for conversion in v1beta1::conversions() {
        conversions.add(conversion);
    }
    conversions
}

fn convert(conversions: &Conversions, object: &Value, version: &str) -> Value {
    conversions
        .convert(object.clone(), &format!("{GROUP}/{version}"))
        .unwrap()
}

/// Kind, version and schema of everything that is converted.
fn schemas() -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    for shipped in infra_openstack::crds().unwrap() {
        let definition = serde_json::to_value(shipped.definition).unwrap();
        let versions = definition["spec"]["versions"].as_array().unwrap();
        for version in versions.iter().filter(|_| versions.len() > 1) {
            found.push((
                definition["spec"]["names"]["kind"].as_str().unwrap().to_owned(),
                version["name"].as_str().unwrap().to_owned(),
                version["schema"]["openAPIV3Schema"].clone(),
            ));
        }
    }
    assert_eq!(found.len(), 8);
    found
}

fn other(version: &str) -> &'static str {
    VERSIONS.into_iter().find(|known| *known != version).unwrap()
}

fn round_trips() -> u64 {
    let asked = std::env::var("CONVERSION_ROUND_TRIPS").ok();
    asked.map_or(300, |count| count.parse().unwrap())
}

#[test]
fn any_object_survives_the_way_to_the_other_version_and_back() {
    let conversions = conversions();
    for (kind, version, schema) in schemas() {
        for seed in 0..round_trips() {
            let before = Generator::new(seed).object(&kind, &version, &schema);
            let there = convert(&conversions, &before, other(&version));
            assert_eq!(there["apiVersion"], format!("{GROUP}/{}", other(&version)));
            let back = convert(&conversions, &there, &version);
            assert_eq!(back, before, "{kind} {version}, seed {seed}: by way of {there:#}");
        }
    }
}

/// A change in one version is a change in the other, whatever the annotation says.
#[test]
fn a_change_is_never_undone_by_what_was_kept() {
    let conversions = conversions();
    for (kind, version, schema) in schemas() {
        for seed in 0..round_trips() {
            let generator = Generator::new(seed);
            let first = generator.object(&kind, &version, &schema);
            let mut there = convert(&conversions, &first, other(&version));
            // Somebody writes another object in the newer form, but leaves the annotation.
            let second = generator.object(&kind, &version, &schema);
            let mut written = convert(&conversions, &second, other(&version));
            written["metadata"] = there["metadata"].take();
            let seen = convert(&conversions, &written, &version);
            let again = convert(&conversions, &seen, other(&version));
            for part in ["spec", "status"] {
                assert_eq!(
                    again[part], written[part],
                    "{kind} {version}, seed {seed}: by way of {seen:#}"
                );
            }
        }
    }
}

fn reads<K: DeserializeOwned + Resource<DynamicType = ()>>(object: &Value) {
    let read: Result<K, _> = serde_json::from_value(object.clone());
    // The older version has no enumeration of block device types; the newer one's schema refuses unknown ones.
    let refused = |error: &serde_json::Error| error.to_string().starts_with("unknown variant");
    if let Err(error) = read {
        assert!(refused(&error), "{error}: {object:#}");
    }
}

#[test]
fn what_is_converted_is_what_controllers_read() {
    let conversions = conversions();
    for (kind, _, schema) in schemas().iter().filter(|(_, version, _)| version == "v1beta1") {
        for seed in 0..round_trips() {
            let object = Generator::new(seed).object(kind, "v1beta1", schema);
            let mut hub = convert(&conversions, &object, "v1beta2");
            if hub["spec"].is_null() {
                continue;
            }
            // One of both is demanded by a rule that no generator knows.
            for path in [
                "/spec",
                "/spec/bastion/spec",
                "/spec/template/spec",
                "/spec/template/spec/bastion/spec",
            ] {
                if let Some(spec) = hub.pointer_mut(path).filter(|spec| spec["image"].is_object()) {
                    spec.as_object_mut()
                        .unwrap()
                        .entry("flavor")
                        .or_insert_with(|| json!({ "id": "1" }));
                }
            }
            match kind.as_str() {
                "OpenStackCluster" => reads::<OpenStackCluster>(&hub),
                "OpenStackClusterTemplate" => reads::<OpenStackClusterTemplate>(&hub),
                "OpenStackMachine" => reads::<OpenStackMachine>(&hub),
                _ => reads::<OpenStackMachineTemplate>(&hub),
            }
        }
    }
}

/// Both forms of one object; each is exactly what the other becomes, but for what is kept.
fn golden(kind: &str, old: Value, new: Value) {
    let conversions = conversions();
    let whole = |version: &str, more: &Value| {
        let mut object =
            json!({ "apiVersion": format!("{GROUP}/{version}"), "kind": kind, "metadata": { "name": "n" } });
        for (key, value) in more.as_object().unwrap() {
            object[key] = value.clone();
        }
        object
    };
    for (from, to, before, after) in [
        ("v1beta1", "v1beta2", &old, &new),
        ("v1beta2", "v1beta1", &new, &old),
    ] {
        let mut converted = convert(&conversions, &whole(from, before), to);
        assert!(
            converted["metadata"]["annotations"][KEPT].is_null(),
            "nothing is lost: {converted:#}"
        );
        converted["metadata"] = json!({ "name": "n" });
        assert_eq!(converted, whole(to, after), "from {from}");
    }
}

#[test]
fn a_cluster_in_both_versions() {
    golden(
        "OpenStackCluster",
        json!({ "spec": {
            "identityRef": { "name": "s", "cloudName": "c", "type": "Secret" },
            "apiServerLoadBalancer": { "enabled": true, "allowedCIDRs": ["10.0.0.0/8"] },
            "apiServerFloatingIP": "203.0.113.9", "apiServerFixedIP": "10.6.0.9", "apiServerPort": 443,
            "disableAPIServerFloatingIP": false, "disableExternalNetwork": false,
            "networkMTU": 1400, "disablePortSecurity": true,
            "externalRouterIPs": [{ "fixedIP": "203.0.113.7", "subnet": { "id": "x" } }],
            "managedSecurityGroups": { "allowAllInClusterTraffic": true,
                "allNodesSecurityGroupRules": [{ "name": "bgp", "direction": "ingress" }] },
            "controlPlaneEndpoint": { "host": "203.0.113.9", "port": 443 },
            "bastion": { "enabled": true, "spec": { "flavor": "m1.tiny", "image": { "id": "i" },
                "ports": [{ "disablePortSecurity": true }] } } },
          "status": { "ready": true, "initialization": { "provisioned": true },
            "apiServerLoadBalancer": { "id": "l", "name": "n", "ip": "203.0.113.9", "internalIP": "10.6.0.9" },
            "failureDomains": { "az1": { "controlPlane": true }, "az2": { "controlPlane": false } },
            "bastion": { "id": "b", "resolved": { "ports": [{ "name": "p", "networkID": "N", "description": "" }] } },
            "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": "2026-11-20T12:00:00Z" }] } }),
        json!({ "spec": {
            "identityRef": { "name": "s", "cloudName": "c", "type": "Secret" },
            "apiServer": { "managedLoadBalancer": { "enabled": true, "allowedCIDRs": ["10.0.0.0/8"] },
                "floatingIP": "203.0.113.9", "fixedIP": "10.6.0.9", "port": 443, "enableFloatingIP": true },
            "enableExternalNetwork": true,
            "managedNetwork": { "mtu": 1400, "enablePortSecurity": false },
            "managedRouter": { "externalIPs": [{ "fixedIP": "203.0.113.7", "subnet": { "id": "x" } }] },
            "managedSecurityGroups": { "allowAllInClusterTraffic": true,
                "clusterNodesSecurityGroupRules": [{ "name": "bgp", "direction": "ingress" }] },
            "controlPlaneEndpoint": { "host": "203.0.113.9", "port": 443 },
            "bastion": { "enabled": true, "spec": { "flavor": { "filter": { "name": "m1.tiny" } }, "image": { "id": "i" },
                "ports": [{ "enablePortSecurity": false }] } } },
          "status": { "initialization": { "provisioned": true },
            "apiServerManagedLoadBalancer": { "id": "l", "name": "n", "ip": "203.0.113.9", "internalIP": "10.6.0.9" },
            "failureDomains": [{ "name": "az1", "controlPlane": true }, { "name": "az2", "controlPlane": false }],
            "bastion": { "id": "b", "resolved": { "ports": [{ "name": "p", "networkID": "N" }] } },
            "conditions": [{ "type": "Ready", "status": "True", "reason": "NoReasonReported", "message": "",
                "lastTransitionTime": "2026-11-20T12:00:00Z" }] } }),
    );
}

#[test]
fn machines_and_templates_in_both_versions() {
    let old = |more: Value| {
        let mut spec = json!({ "image": { "id": "i" }, "ports": [{ "disablePortSecurity": false }, {}] });
        spec.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        spec
    };
    let new = |flavor: Value| json!({ "flavor": flavor, "image": { "id": "i" }, "ports": [{ "enablePortSecurity": true }, {}] });
    for (flavor, filter) in [
        (
            json!({ "flavor": "m1.large" }),
            json!({ "filter": { "name": "m1.large" } }),
        ),
        (json!({ "flavorID": "3" }), json!({ "id": "3" })),
    ] {
        golden(
            "OpenStackMachine",
            json!({ "spec": old(flavor.clone()), "status": { "ready": true, "instanceID": "u", "initialization": { "provisioned": true }, "conditions": [
                { "type": "Ready", "status": "True", "reason": "Ready", "lastTransitionTime": "2026-11-20T12:00:00Z" }] } }),
            json!({ "spec": new(filter.clone()), "status": { "instanceID": "u", "initialization": { "provisioned": true },
                "conditions": [{ "type": "Ready", "status": "True", "reason": "Ready", "message": "",
                    "lastTransitionTime": "2026-11-20T12:00:00Z" }] } }),
        );
        golden(
            "OpenStackMachineTemplate",
            json!({ "spec": { "template": { "spec": old(flavor) } }, "status": { "capacity": { "cpu": "4" } } }),
            json!({ "spec": { "template": { "spec": new(filter) } }, "status": { "capacity": { "cpu": "4" } } }),
        );
    }
    golden(
        "OpenStackClusterTemplate",
        json!({ "spec": { "template": { "spec": { "disableExternalNetwork": true } } } }),
        json!({ "spec": { "template": { "spec": { "enableExternalNetwork": false } } } }),
    );
}

/// Upstream stores the whole older object with everything that was written in the older version, and lays it over what
/// it converts; here it only brings back what is missing.
#[test]
fn an_annotation_of_upstream_does_not_hide_what_controllers_wrote() {
    let kept = json!({ "spec": { "identityRef": { "name": "s", "cloudName": "c", "type": "Secret" }, "tags": ["old"] },
        "status": { "ready": false, "failureReason": "UpdateError" } });
    let stored = json!({ "apiVersion": format!("{GROUP}/v1beta2"), "kind": "OpenStackCluster",
        "metadata": { "name": "n", "annotations": { KEPT: kept.to_string() } },
        "spec": { "identityRef": { "name": "s", "cloudName": "c", "type": "Secret" }, "tags": ["new"],
            "controlPlaneEndpoint": { "host": "203.0.113.9", "port": 6443 } },
        "status": { "initialization": { "provisioned": true }, "conditions": [{ "type": "Ready", "status": "True",
            "reason": "Ready", "message": "", "lastTransitionTime": "2026-11-20T12:00:00Z" }] } });
    let read = convert(&conversions(), &stored, "v1beta1");
    assert_eq!(read["spec"]["tags"], json!(["new"]));
    assert_eq!(read["spec"]["controlPlaneEndpoint"]["host"], "203.0.113.9");
    assert_eq!(read["status"]["ready"], true);
    assert_eq!(
        read["status"]["failureReason"], "UpdateError",
        "the newer version cannot say it"
    );
}

/// What 0.14 left behind: a cluster that is ready, without reasons, with its zones in a map.
#[test]
fn an_object_that_an_older_release_stored_is_provisioned() {
    let stored = json!({ "apiVersion": format!("{GROUP}/v1beta1"), "kind": "OpenStackMachine", "metadata": { "name": "n" },
        "spec": { "flavor": "m1.large", "flavorID": "3", "image": { "id": "i" }, "providerID": "openstack:///u" },
        "status": { "ready": true, "instanceID": "u", "conditions": [{ "type": "InstanceReady", "status": "True",
            "lastTransitionTime": "2026-11-20T12:00:00Z" }] } });
    let read = convert(&conversions(), &stored, "v1beta2");
    assert_eq!(read["status"]["initialization"]["provisioned"], true);
    assert_eq!(
        read["spec"]["flavor"],
        json!({ "id": "3" }),
        "an id counts more than a name"
    );
    reads::<OpenStackMachine>(&read);
}
