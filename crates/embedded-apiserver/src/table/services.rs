//! The columns of services, and what endpoints show.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Column;
use super::cells::{age, at, int_at, labels_text, list_at, or, str_at, text, wide};

pub(super) fn service_columns() -> Vec<Column> {
    vec![
        text("Type", |o, _| str_at(o, &["spec", "type"]).into()),
        text("Cluster-IP", |o, _| {
            let first = list_at(o, &["spec", "clusterIPs"])
                .first()
                .and_then(Value::as_str);
            first
                .unwrap_or_else(|| or(str_at(o, &["spec", "clusterIP"]), "<none>"))
                .into()
        }),
        text("External-IP", |o, _| external_ip(o).into()),
        text("Port(s)", |o, _| service_ports(o).into()),
        age("string"),
        wide("Selector", |o, _| {
            labels_text(at(o, &["spec", "selector"])).into()
        }),
    ]
}

fn external_ip(service: &Value) -> String {
    let external: Vec<&str> = list_at(service, &["spec", "externalIPs"])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    match str_at(service, &["spec", "type"]) {
        "ClusterIP" | "NodePort" if external.is_empty() => "<none>".to_owned(),
        "ClusterIP" | "NodePort" => external.join(","),
        "LoadBalancer" => {
            let ingress: BTreeSet<&str> = list_at(service, &["status", "loadBalancer", "ingress"])
                .iter()
                .map(|i| or(str_at(i, &["ip"]), str_at(i, &["hostname"])))
                .filter(|address| !address.is_empty())
                .collect();
            let all: Vec<&str> = ingress.into_iter().chain(external).collect();
            if all.is_empty() {
                "<pending>".to_owned()
            } else {
                all.join(",")
            }
        }
        "ExternalName" => str_at(service, &["spec", "externalName"]).to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

fn service_ports(service: &Value) -> String {
    let ports: Vec<String> = list_at(service, &["spec", "ports"])
        .iter()
        .map(|port| {
            let (number, node, protocol) = (
                int_at(port, &["port"]),
                int_at(port, &["nodePort"]),
                str_at(port, &["protocol"]),
            );
            if node > 0 {
                format!("{number}:{node}/{protocol}")
            } else {
                format!("{number}/{protocol}")
            }
        })
        .collect();
    if ports.is_empty() {
        "<none>".to_owned()
    } else {
        ports.join(",")
    }
}

/// At most three entries, and how many more there are.
fn first_three(all: &[String]) -> String {
    const MOST: usize = 3;
    match all.len() {
        0 => "<none>".to_owned(),
        n if n > MOST => format!("{} + {} more...", all[..MOST].join(","), n - MOST),
        _ => all.join(","),
    }
}

pub(super) fn endpoints(object: &Value) -> String {
    let mut all = Vec::new();
    for subset in list_at(object, &["subsets"]) {
        let addresses: Vec<&str> = list_at(subset, &["addresses"])
            .iter()
            .map(|a| str_at(a, &["ip"]))
            .collect();
        let ports = list_at(subset, &["ports"]);
        if ports.is_empty() {
            all.extend(addresses.iter().map(|ip| (*ip).to_owned()));
        }
        for port in ports {
            let number = int_at(port, &["port"]);
            all.extend(addresses.iter().map(|ip| {
                if ip.contains(':') {
                    format!("[{ip}]:{number}")
                } else {
                    format!("{ip}:{number}")
                }
            }));
        }
    }
    if all.is_empty() && !list_at(object, &["subsets"]).is_empty() {
        String::new()
    } else {
        first_three(&all)
    }
}

pub(super) fn slice_ports(slice: &Value) -> String {
    let ports: Vec<String> = list_at(slice, &["ports"])
        .iter()
        .map(|port| match (at(port, &["port"]), at(port, &["name"])) {
            (Some(number), _) => number.to_string(),
            (None, Some(name)) => name.as_str().unwrap_or_default().to_owned(),
            (None, None) => "*".to_owned(),
        })
        .collect();
    if ports.is_empty() {
        "<unset>".to_owned()
    } else {
        first_three(&ports)
    }
}

pub(super) fn slice_endpoints(slice: &Value) -> String {
    let addresses: Vec<String> = list_at(slice, &["endpoints"])
        .iter()
        .flat_map(|endpoint| list_at(endpoint, &["addresses"]))
        .filter_map(|address| address.as_str().map(str::to_owned))
        .collect();
    if addresses.is_empty() {
        "<unset>".to_owned()
    } else {
        first_three(&addresses)
    }
}
