//! Sample objects survive being read and written.

use infra_openstack::api::{
    OpenStackCluster, OpenStackClusterIdentity, OpenStackFloatingIPPool, OpenStackMachineTemplate,
    OpenStackServer,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

fn survives<K: DeserializeOwned + Serialize>(before: Value) {
    let object: K =
        serde_json::from_value(before.clone()).unwrap_or_else(|error| panic!("{error}: {before}"));
    assert_eq!(serde_json::to_value(&object).unwrap(), before);
}

#[test]
fn a_cluster_survives_being_read_and_written() {
    survives::<OpenStackCluster>(json!({
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2",
        "kind": "OpenStackCluster",
        "metadata": { "name": "c", "namespace": "n" },
        "spec": {
            "identityRef": { "name": "cloud", "cloudName": "lab", "type": "Secret" },
            "managedSubnets": [{ "cidr": "10.6.0.0/24", "dnsNameservers": ["9.9.9.9"],
                "allocationPools": [{ "start": "10.6.0.10", "end": "10.6.0.99" }] }],
            "managedRouter": { "externalIPs": [{ "subnet": { "filter": { "ipv6RAMode": "slaac" } } }] },
            "externalNetwork": { "filter": { "name": "public", "tags": ["a"] } },
            "apiServer": { "enableFloatingIP": true, "fixedIP": "10.6.0.5", "managedLoadBalancer": {
                "enabled": true, "allowedCIDRs": ["10.0.0.0/8"], "monitor": { "delay": 5, "maxRetriesDown": 3 } } },
            "managedSecurityGroups": { "allowAllInClusterTraffic": false, "clusterNodesSecurityGroupRules": [
                { "name": "bgp", "direction": "ingress", "etherType": "IPv4", "portRangeMin": 179, "portRangeMax": 179,
                  "protocol": "tcp", "remoteManagedGroups": ["controlplane", "worker"] }] },
            "controlPlaneEndpoint": { "host": "203.0.113.7", "port": 6443 },
            "bastion": { "enabled": true, "floatingIP": "203.0.113.8", "spec": {
                "flavor": { "id": "1" }, "image": { "imageRef": { "name": "ubuntu" } },
                "rootVolume": { "sizeGiB": 20, "type": "fast", "availabilityZone": { "from": "Machine" } } } },
        },
        "status": {
            "network": { "id": "n1", "name": "net", "subnets": [{ "id": "s1", "name": "sub", "cidr": "10.6.0.0/24" }] },
            "apiServerManagedLoadBalancer": { "id": "l", "name": "lb", "ip": "203.0.113.7", "internalIP": "10.6.0.5" },
            "initialization": { "provisioned": true },
            "failureDomains": [{ "name": "az1", "controlPlane": true }],
        },
    }));
}

#[test]
fn a_machine_template_survives_being_read_and_written() {
    survives::<OpenStackMachineTemplate>(json!({
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2",
        "kind": "OpenStackMachineTemplate",
        "metadata": { "name": "t", "namespace": "n" },
        "spec": { "template": { "spec": {
            "flavor": { "filter": { "name": "m1.large" } },
            "image": { "filter": { "name": "ubuntu", "tags": ["x"] } },
            "ports": [{ "network": { "id": "n1" }, "fixedIPs": [{ "ipAddress": "10.6.0.9" }],
                "profile": { "ovsHWOffload": true, "trustedVF": true }, "hostID": "h",
                "valueSpecs": [{ "name": "a", "key": "k", "value": "v" }] }],
            "schedulerHintAdditionalProperties": [{ "name": "x", "value": { "type": "Number", "number": 3 } }],
            "floatingIPPoolRef": { "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "OpenStackFloatingIPPool", "name": "p" },
        } } },
        "status": { "capacity": { "cpu": "4" } },
    }));
}

#[test]
fn the_kinds_of_v1alpha1_survive_being_read_and_written() {
    survives::<OpenStackServer>(json!({
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1alpha1",
        "kind": "OpenStackServer",
        "metadata": { "name": "s", "namespace": "n" },
        "spec": { "flavor": "m1.large", "image": { "id": "i" }, "sshKeyName": "", "ports": [],
            "identityRef": { "name": "cloud", "cloudName": "lab" }, "userDataRef": { "name": "u" } },
        "status": { "ready": false, "resolved": { "imageID": "i", "flavorID": "f", "ports": [
            { "name": "s-0", "networkID": "n1", "fixedIPs": [{ "subnet": "s1" }], "securityGroups": ["g"] }] } },
    }));
    survives::<OpenStackFloatingIPPool>(json!({
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1alpha1",
        "kind": "OpenStackFloatingIPPool",
        "metadata": { "name": "p", "namespace": "n" },
        "spec": { "identityRef": { "name": "cloud", "cloudName": "lab" }, "reclaimPolicy": "Delete",
            "preAllocatedFloatingIPs": ["203.0.113.9"], "maxIPs": 4 },
        "status": { "availableIPs": ["203.0.113.9"], "claimedIPs": ["203.0.113.10"] },
    }));
    survives::<OpenStackClusterIdentity>(json!({
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1alpha1",
        "kind": "OpenStackClusterIdentity",
        "metadata": { "name": "i" },
        "spec": { "secretRef": { "name": "s", "namespace": "n" }, "namespaceSelector": { "matchLabels": { "a": "b" } } },
    }));
}
