//! The schema of `v1beta1`: that of `v1beta2`, edited. Most edits take away limits that the older version does not have.

use capi_api::crd::Error;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, CustomResourceDefinitionVersion,
    CustomResourceValidation, JSONSchemaProps,
};
use serde_json::{Value, json};

/// Adds the version to the definition of a kind that has it.
pub fn add(definition: &mut CustomResourceDefinition) -> Result<(), Error> {
    let edit = match definition.spec.names.kind.as_str() {
        "OpenStackCluster" => cluster as fn(&mut Schema<'_>),
        "OpenStackClusterTemplate" => cluster_template,
        "OpenStackMachine" => machine,
        "OpenStackMachineTemplate" => machine_template,
        _ => return Ok(()),
    };
    let Some(hub) = definition.spec.versions.first().cloned() else {
        return Ok(());
    };
    let wrong = |source| Error::Definition {
        name: definition.metadata.name.clone().unwrap_or_default(),
        source,
    };
    let mut schema = serde_json::to_value(&hub.schema).map_err(wrong)?;
    edit(&mut Schema(&mut schema["openAPIV3Schema"]));
    let schema: JSONSchemaProps = serde_json::from_value(schema["openAPIV3Schema"].take()).map_err(wrong)?;
    let columns = hub.additional_printer_columns.clone().map(|mut columns| {
        let ready = CustomResourceColumnDefinition {
            name: "Ready".to_owned(),
            type_: "string".to_owned(),
            json_path: ".status.ready".to_owned(),
            ..CustomResourceColumnDefinition::default()
        };
        columns.insert(1.min(columns.len()), ready);
        columns
    });
    let version = CustomResourceDefinitionVersion {
        name: super::VERSION.to_owned(),
        served: true,
        storage: false,
        schema: Some(CustomResourceValidation {
            open_api_v3_schema: Some(schema),
        }),
        additional_printer_columns: columns.filter(|columns| columns.len() > 1),
        ..hub
    };
    definition.spec.versions.insert(0, version);
    Ok(())
}

/// A schema that is edited in place. Paths name fields, separated by dots; `[]` are the items of a list.
struct Schema<'a>(&'a mut Value);

impl Schema<'_> {
    fn at(&mut self, path: &str) -> Option<&mut Value> {
        let mut found = &mut *self.0;
        for part in path.split('.').filter(|part| !part.is_empty()) {
            let name = part.trim_end_matches("[]");
            found = found.get_mut("properties")?.get_mut(name)?;
            if part.ends_with("[]") {
                found = found.get_mut("items")?;
            }
        }
        Some(found)
    }

    fn below(&mut self, path: &str, edit: impl FnOnce(&mut Schema<'_>)) {
        if let Some(found) = self.at(path) {
            edit(&mut Schema(found));
        }
    }

    /// Takes a word out of the schemas of these fields.
    fn drop(&mut self, word: &str, paths: &[&str]) {
        for path in paths {
            if let Some(Value::Object(found)) = self.at(path) {
                found.remove(word);
            }
        }
    }

    fn set(&mut self, word: &str, value: Value) {
        self.0[word] = value;
    }

    /// Takes a field out.
    fn take(&mut self, name: &str) -> Value {
        let properties = self.0.get_mut("properties").and_then(Value::as_object_mut);
        properties
            .and_then(|properties| properties.remove(name))
            .unwrap_or_default()
    }

    /// Adds a field.
    fn field(&mut self, name: &str, description: &str, mut schema: Value) {
        schema["description"] = description.into();
        self.0["properties"][name] = schema;
    }

    fn require(&mut self, names: &[&str]) {
        match names.is_empty() {
            true => self.drop("required", &[""]),
            false => self.set("required", json!(names)),
        }
    }
}

fn flag() -> Value {
    json!({ "type": "boolean" })
}

fn cluster(schema: &mut Schema<'_>) {
    schema.below("spec", cluster_spec);
    schema.below("status", cluster_status);
}

fn cluster_template(schema: &mut Schema<'_>) {
    schema.below("spec.template", |template| drop(template.take("metadata")));
    schema.below("spec.template.spec", cluster_spec);
}

fn machine(schema: &mut Schema<'_>) {
    schema.below("spec", machine_spec);
    schema.below("status", |status| {
        status.field("ready", "Whether the machine can be used.", flag());
        failure(status);
        conditions(status);
        status.drop("x-kubernetes-list-type", &["addresses"]);
        made(status);
    });
}

fn machine_template(schema: &mut Schema<'_>) {
    schema.below("spec.template.spec", machine_spec);
    schema.below("status", conditions);
}

fn failure(status: &mut Schema<'_>) {
    let text = || json!({ "type": "string" });
    status.field("failureReason", "Not written any more.", text());
    status.field("failureMessage", "Not written any more.", text());
}

fn conditions(status: &mut Schema<'_>) {
    for word in ["x-kubernetes-list-type", "x-kubernetes-list-map-keys"] {
        status.drop(word, &["conditions"]);
    }
    status.below("conditions[]", |condition| {
        condition.require(&["lastTransitionTime", "status", "type"]);
        condition.take("observedGeneration");
        condition.field(
            "severity",
            "How bad it is that it is false.",
            json!({ "type": "string", "maxLength": 32 }),
        );
        condition.drop("enum", &["status"]);
        condition.drop("pattern", &["reason", "type"]);
        for (name, longest) in [("type", 256), ("reason", 256), ("message", 10240)] {
            condition.below(name, |field| {
                field.set("minLength", 1.into());
                field.set("maxLength", longest.into());
            });
        }
    });
}

fn identity(spec: &mut Schema<'_>) {
    spec.below("identityRef", |identity| {
        identity.require(&["cloudName", "name", "type"]);
    });
}

fn machine_spec(spec: &mut Schema<'_>) {
    spec.require(&["image"]);
    spec.set(
        "x-kubernetes-validations",
        json!([{ "message": "at least one of flavor or flavorID must be set",
            "rule": "(has(self.flavor) || has(self.flavorID))" }]),
    );
    let text = || json!({ "type": "string", "minLength": 1 });
    spec.field("flavor", "The flavor, by name.", text());
    spec.field("flavorID", "The flavor, by id; counts more than a name.", text());
    identity(spec);
    spec.drop(
        "minLength",
        &[
            "additionalBlockDevices[].name",
            "image.imageRef.name",
            "serverMetadata[].key",
            "serverMetadata[].value",
        ],
    );
    spec.drop(
        "format",
        &[
            "additionalBlockDevices[].sizeGiB",
            "rootVolume.sizeGiB",
            "schedulerHintAdditionalProperties[].value.number",
            "ports[].fixedIPs[].subnet.filter.ipVersion",
        ],
    );
    spec.drop("enum", &["additionalBlockDevices[].storage.type"]);
    spec.drop("x-kubernetes-list-type", &["ports", "securityGroups"]);
    spec.below("ports[]", port);
}

/// A port, as it is asked for or as it was resolved.
fn port(port: &mut Schema<'_>) {
    port.take("enablePortSecurity");
    port.field(
        "disablePortSecurity",
        "Whether security groups and address checks do not apply.",
        flag(),
    );
    port.drop("x-kubernetes-list-type", &["allowedAddressPairs"]);
    let texts = [
        "allowedAddressPairs[].ipAddress",
        "valueSpecs[].key",
        "valueSpecs[].name",
        "valueSpecs[].value",
    ];
    port.drop("minLength", &texts);
}

/// What was resolved and made.
fn made(status: &mut Schema<'_>) {
    status.drop("x-kubernetes-list-type", &["resolved.ports", "resources.ports"]);
    status.drop("minLength", &["resources.ports[].id"]);
    status.below("resolved.ports[]", |resolved| {
        port(resolved);
        resolved.drop("minLength", &["name", "networkID"]);
        resolved.require(&["description", "name", "networkID"]);
    });
}

fn cluster_spec(spec: &mut Schema<'_>) {
    spec.set(
        "x-kubernetes-validations",
        json!([
            { "message": "bastion floating IP cannot be set when disableExternalNetwork is true",
              "rule": "has(self.disableExternalNetwork) && self.disableExternalNetwork ? !has(self.bastion) || !has(self.bastion.floatingIP) : true" },
            { "message": "disableAPIServerFloatingIP cannot be false when disableExternalNetwork is true",
              "rule": "has(self.disableExternalNetwork) && self.disableExternalNetwork ? has(self.disableAPIServerFloatingIP) && self.disableAPIServerFloatingIP : true" },
        ]),
    );
    identity(spec);
    spec.below("bastion.spec", machine_spec);
    api_server(spec);
    spec.take("managedNetwork");
    spec.field(
        "networkMTU",
        "The largest packet of the managed network.",
        json!({ "type": "integer" }),
    );
    spec.field(
        "disablePortSecurity",
        "Whether ports of the managed network have no port security.",
        flag(),
    );
    let mut router = spec.take("managedRouter");
    let ips = router["properties"]["externalIPs"].take();
    spec.field("externalRouterIPs", "Addresses of the router outside.", ips);
    spec.drop("minItems", &["externalRouterIPs"]);
    spec.take("enableExternalNetwork");
    spec.field(
        "disableExternalNetwork",
        "Whether there is no way outside.",
        flag(),
    );
    spec.below("controlPlaneEndpoint", |endpoint| {
        endpoint.drop("minProperties", &[""]);
        endpoint.drop("minLength", &["host"]);
        endpoint.drop("minimum", &["port"]);
        endpoint.drop("maximum", &["port"]);
    });
    spec.below("managedSecurityGroups", |groups| {
        groups.require(&["allowAllInClusterTraffic"]);
        let rules = groups.take("clusterNodesSecurityGroupRules");
        groups.field(
            "allNodesSecurityGroupRules",
            "Further rules for all nodes.",
            rules,
        );
        for list in ["allNodes", "controlPlaneNodes", "workerNodes"] {
            groups.below(&format!("{list}SecurityGroupRules[]"), |rule| {
                rule.drop("minLength", &["name"]);
                rule.drop("format", &["portRangeMin", "portRangeMax"]);
                rule.drop("x-kubernetes-list-type", &["remoteManagedGroups"]);
            });
        }
    });
    spec.below("managedSubnets[]", |subnet| {
        subnet.drop("x-kubernetes-list-type", &["allocationPools", "dnsNameservers"]);
        subnet.drop(
            "minLength",
            &["cidr", "allocationPools[].start", "allocationPools[].end"],
        );
    });
    let versions = [
        "primarySubnet.filter.ipVersion",
        "subnets[].filter.ipVersion",
        "externalRouterIPs[].subnet.filter.ipVersion",
    ];
    spec.drop("format", &versions);
}

fn api_server(spec: &mut Schema<'_>) {
    let mut api = spec.take("apiServer");
    let mut moved = |name: &str| api["properties"][name].take();
    for (old, new, description) in [
        (
            "apiServerLoadBalancer",
            "managedLoadBalancer",
            "The load balancer in front of the API servers.",
        ),
        (
            "apiServerFloatingIP",
            "floatingIP",
            "A floating IP to use; it is never deleted.",
        ),
        (
            "apiServerFixedIP",
            "fixedIP",
            "The address of the load balancer, or of the API server without one.",
        ),
        (
            "apiServerPort",
            "port",
            "The port of the API server; 6443 if not said.",
        ),
    ] {
        spec.field(old, description, moved(new));
    }
    spec.field(
        "disableAPIServerFloatingIP",
        "Whether the API server gets no floating IP.",
        flag(),
    );
    spec.below("apiServerLoadBalancer", |balancer| {
        balancer.require(&["enabled"]);
        balancer.drop(
            "format",
            &[
                "additionalPorts[]",
                "monitor.delay",
                "monitor.timeout",
                "monitor.maxRetries",
                "monitor.maxRetriesDown",
                "subnets[].filter.ipVersion",
            ],
        );
    });
}

fn cluster_status(status: &mut Schema<'_>) {
    status.require(&["ready"]);
    status.field(
        "ready",
        "Whether the cluster can be used.",
        json!({ "type": "boolean", "default": false }),
    );
    failure(status);
    conditions(status);
    let balancer = status.take("apiServerManagedLoadBalancer");
    status.field("apiServerLoadBalancer", "The load balancer as it is.", balancer);
    status.below("failureDomains", |domains| {
        let mut domain = domains.0["items"].take();
        domain["properties"]
            .as_object_mut()
            .map(|fields| fields.remove("name"));
        domain.as_object_mut().map(|fields| fields.remove("required"));
        *domains.0 = json!({ "type": "object", "description": "The availability zones, by name.", "additionalProperties": domain });
    });
    for (resource, texts) in [
        ("network", &["id", "name"][..]),
        ("externalNetwork", &["id", "name"]),
        ("router", &["id", "name"]),
        ("controlPlaneSecurityGroup", &["id", "name"]),
        ("workerSecurityGroup", &["id", "name"]),
        ("bastionSecurityGroup", &["id", "name"]),
        ("apiServerLoadBalancer", &["id", "name", "ip", "internalIP"]),
        ("apiServerLoadBalancer.loadBalancerNetwork", &["id", "name"]),
    ] {
        status.below(resource, |resource| {
            resource.drop("minLength", texts);
            let lists = ["tags", "ips", "subnets", "allowedCIDRs", "subnets[].tags"];
            resource.drop("x-kubernetes-list-type", &lists);
            resource.drop("minLength", &["subnets[].id", "subnets[].name", "subnets[].cidr"]);
        });
    }
    status.below("bastion", made);
}
