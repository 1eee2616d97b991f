//! Services: defaults, cluster addresses and node ports, checks.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::names::dns_label;
use super::path::{each, items, set, set_text, text};
use super::pod_rules::PORT_RANGE;
use crate::schema::FieldError;

/// Fills in defaults.
pub(super) fn default(value: &mut Value) {
    let spec = &mut value["spec"];
    set_text(spec, "sessionAffinity", "None");
    match text(spec, "sessionAffinity") {
        "ClientIP" => set(
            spec,
            "sessionAffinityConfig",
            json!({"clientIP": {"timeoutSeconds": 10800}}),
        ),
        _ => {
            if let Some(map) = spec.as_object_mut() {
                map.remove("sessionAffinityConfig");
            }
        }
    }
    set_text(spec, "type", "ClusterIP");
    for port in each(spec, "ports") {
        set_text(port, "protocol", "TCP");
        let number = port["port"].clone();
        if matches!(&port["targetPort"], Value::Null) || port["targetPort"] == 0 || port["targetPort"] == "" {
            port["targetPort"] = number;
        }
    }
    let kind = text(spec, "type").to_owned();
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        set_text(spec, "externalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer" | "ClusterIP") {
        set(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", true);
    }
}

/// What the other services of a server have taken.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    pub ips: BTreeSet<String>,
    pub ports: BTreeSet<i64>,
}

/// The cluster's addresses: 10.96.0.0/12, as kubeadm has it; the first ten are kept for those who ask for them by name.
const FIRST: u32 = 0x0a60_0000;
const RESERVED: u32 = 10;
const SIZE: u32 = 1 << 20;
/// Node ports.
const PORTS: std::ops::Range<i64> = 30_000..32_768;

impl Addresses {
    /// Takes in what a service has.
    pub fn note(&mut self, service: &Value) {
        for ip in service["spec"]["clusterIPs"].as_array().into_iter().flatten() {
            self.ips.extend(ip.as_str().map(str::to_owned));
        }
        for (_, port) in items(&service["spec"]["ports"]) {
            self.ports.extend(port["nodePort"].as_i64().filter(|p| *p > 0));
        }
    }

    fn free_ip(&self, seed: u32) -> String {
        let room = SIZE - RESERVED - 2;
        let mut at = seed % room;
        loop {
            let ip = std::net::Ipv4Addr::from(FIRST + RESERVED + 1 + at).to_string();
            if !self.ips.contains(&ip) {
                return ip;
            }
            at = (at + 1) % room;
        }
    }

    fn free_port(&mut self, seed: u32) -> i64 {
        let count = PORTS.end - PORTS.start;
        let mut at = i64::from(seed) % count;
        for _ in 0..count {
            let port = PORTS.start + at;
            if self.ports.insert(port) {
                return port;
            }
            at = (at + 1) % count;
        }
        0
    }

    /// Gives a service what it needs; `seed` spreads services over the range.
    pub fn allocate(&mut self, value: &mut Value, old: Option<&Value>, seed: u32) -> Vec<FieldError> {
        let mut errors = Vec::new();
        carry_over(value, old);
        let kind = text(&value["spec"], "type").to_owned();
        if kind == "ExternalName" {
            if let Some(map) = value["spec"].as_object_mut() {
                for field in [
                    "clusterIP",
                    "clusterIPs",
                    "ipFamilies",
                    "ipFamilyPolicy",
                    "internalTrafficPolicy",
                ] {
                    map.remove(field);
                }
            }
            return errors;
        }
        let spec = &mut value["spec"];
        let ip = match (text(spec, "clusterIP"), spec["clusterIPs"][0].as_str()) {
            ("", Some(first)) => first.to_owned(),
            (given, _) => given.to_owned(),
        };
        let kept = old.is_some_and(|old| text(&old["spec"], "clusterIP") == ip && !ip.is_empty());
        let ip = match ip.as_str() {
            "" => self.free_ip(seed),
            "None" => ip,
            _ if kept => ip,
            _ if self.ips.contains(&ip) => {
                let detail = format!("failed to allocate IP {ip}: provided IP is already allocated");
                errors.push(FieldError::invalid("spec.clusterIPs", json!([ip]), detail));
                ip
            }
            _ => ip,
        };
        let family = if ip.contains(':') { "IPv6" } else { "IPv4" };
        set(spec, "clusterIPs", json!([ip]));
        spec["clusterIP"] = ip.as_str().into();
        set(spec, "ipFamilies", json!([family]));
        set(spec, "ipFamilyPolicy", "SingleStack");
        let balancer = kind == "LoadBalancer" && spec["allocateLoadBalancerNodePorts"] != false;
        if kind == "NodePort" || balancer {
            for (i, port) in each(spec, "ports").enumerate() {
                if port["nodePort"].as_i64().unwrap_or(0) == 0 {
                    port["nodePort"] = self.free_port(seed.wrapping_add(i as u32 * 7)).into();
                }
            }
        }
        errors
    }
}

/// What a replacement may leave out.
fn carry_over(value: &mut Value, old: Option<&Value>) {
    let Some(old) = old else { return };
    let (before, spec) = (&old["spec"], &mut value["spec"]);
    let named = |spec: &Value| text(spec, "type") == "ExternalName";
    if named(before) || named(spec) {
        return;
    }
    if text(spec, "clusterIP").is_empty() && spec["clusterIPs"].as_array().is_none_or(Vec::is_empty) {
        for field in ["clusterIP", "clusterIPs"] {
            set(spec, field, before[field].clone());
        }
    }
    for field in ["ipFamilies", "ipFamilyPolicy"] {
        set(spec, field, before[field].clone());
    }
    let ports = |spec: &Value| matches!(text(spec, "type"), "NodePort" | "LoadBalancer");
    if !ports(before) || !ports(spec) {
        return;
    }
    for port in each(spec, "ports") {
        let same = items(&before["ports"])
            .find(|(_, p)| p["port"] == port["port"] && p["protocol"] == port["protocol"])
            .map(|(_, p)| p["nodePort"].clone());
        if let Some(number) = same.filter(Value::is_i64) {
            set(port, "nodePort", number);
        }
    }
}

/// Checks a service.
pub(super) fn validate(old: Option<&Value>, new: &Value) -> Vec<FieldError> {
    let (mut errors, spec) = (Vec::new(), &new["spec"]);
    let kind = text(spec, "type");
    let headless = text(spec, "clusterIP") == "None";
    let count = spec["ports"].as_array().map_or(0, Vec::len);
    if count == 0 && !headless && kind != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    let known = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    if !kind.is_empty() && !known.contains(&kind) {
        errors.push(FieldError::not_supported("spec.type", kind, &known));
    }
    if !matches!(text(spec, "sessionAffinity"), "" | "None" | "ClientIP") {
        let given = text(spec, "sessionAffinity");
        errors.push(FieldError::not_supported(
            "spec.sessionAffinity",
            given,
            &["ClientIP", "None"],
        ));
    }
    if kind == "ExternalName" && text(spec, "externalName").is_empty() {
        errors.push(FieldError::required("spec.externalName", ""));
    }
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (i, port) in items(&spec["ports"]) {
        let at = format!("spec.ports[{i}]");
        let name = text(port, "name");
        match dns_label(name) {
            _ if name.is_empty() && count > 1 => errors.push(FieldError::required(format!("{at}.name"), "")),
            Some(problem) if !name.is_empty() => {
                errors.push(FieldError::invalid(format!("{at}.name"), name, problem));
            }
            _ if !name.is_empty() && !names.insert(name) => {
                errors.push(FieldError::duplicate(format!("{at}.name"), name));
            }
            _ => {}
        }
        let number = port["port"].as_i64().unwrap_or(0);
        if !(1..=65535).contains(&number) {
            errors.push(FieldError::invalid(format!("{at}.port"), number, PORT_RANGE));
        }
        let protocol = text(port, "protocol");
        if !matches!(protocol, "TCP" | "UDP" | "SCTP") {
            errors.push(FieldError::not_supported(
                format!("{at}.protocol"),
                protocol,
                &["SCTP", "TCP", "UDP"],
            ));
        }
        if let Some(target) = port["targetPort"].as_i64().filter(|p| !(1..=65535).contains(p)) {
            errors.push(FieldError::invalid(
                format!("{at}.targetPort"),
                target,
                PORT_RANGE,
            ));
        }
        if !numbers.insert((number, protocol)) {
            errors.push(FieldError::duplicate(
                at,
                json!({"protocol": protocol, "port": number}),
            ));
        }
    }
    errors.extend(super::selectors::validate(
        &json!({"matchLabels": spec["selector"]}),
        "spec",
    ));
    if let Some(old) = old
        && text(&old["spec"], "type") != "ExternalName"
        && kind != "ExternalName"
        && old["spec"]["clusterIP"] != spec["clusterIP"]
    {
        errors.push(FieldError::invalid(
            "spec.clusterIPs[0]",
            spec["clusterIPs"].clone(),
            "may not change once set",
        ));
    }
    errors
}
