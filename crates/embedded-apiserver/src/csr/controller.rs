//! Approving what kubelets ask for themselves, and signing what was approved.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use super::request::{self, Request};
use super::{Authority, CLIENT, GROUP, KUBELET_CLIENT, KUBELET_SERVING, certificate, resource};
use crate::auth::User;
use crate::auth::attributes::Attributes;
use crate::http::handle::internal;
use crate::server::Inner;

const AGENT: &str = "kube-controller-manager";
const NODE_PREFIX: &str = "system:node:";

fn texts(value: &Value) -> Vec<String> {
    let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

fn has(object: &Value, kind: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == kind && condition["status"] == "True")
}

/// Does the next thing that a request needs, if it is this server's business.
pub(crate) async fn look(inner: &Arc<Inner>, name: &str) {
    let Some(authority) = inner.auth.authority.as_ref() else {
        return;
    };
    let Some(object) = inner.read(&resource(), name) else {
        return;
    };
    let signed = object["status"]["certificate"]
        .as_str()
        .is_some_and(|text| !text.is_empty());
    if signed || has(&object, "Failed") || has(&object, "Denied") {
        return;
    }
    let Ok(request) = request::of(&object) else { return };
    let path = format!("/apis/{GROUP}/v1/certificatesigningrequests/{name}");
    let (path, changed) = match has(&object, "Approved") {
        false => match approved(inner, &object, &request) {
            Some(changed) => (format!("{path}/approval"), changed),
            None => return,
        },
        true => match finished(inner, authority, &object, &request) {
            Some(changed) => (format!("{path}/status"), changed),
            None => return,
        },
    };
    // A conflict means that the request changed, which brings us back.
    let _ = internal(inner, AGENT, Method::PUT, &path, Some(changed)).await;
}

fn with_condition(object: &Value, condition: Value) -> Value {
    let mut changed = object.clone();
    match changed["status"]["conditions"].as_array_mut() {
        Some(list) => list.push(condition),
        None => changed["status"]["conditions"] = json!([condition]),
    }
    changed
}

/// The request with an approval, if it is one of a kubelet who may ask.
fn approved(inner: &Inner, object: &Value, request: &Request) -> Option<Value> {
    let spec = &object["spec"];
    let usages = texts(&spec["usages"]);
    if spec["signerName"] != KUBELET_CLIENT || check_kubelet_client(request, &usages).is_err() {
        return None;
    }
    let extra = spec["extra"].as_object().into_iter().flatten();
    let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
    let user = User {
        name: text("username"),
        uid: text("uid"),
        groups: texts(&spec["groups"]),
        extra: extra.map(|(key, values)| (key.clone(), texts(values))).collect(),
    };
    let may = |subresource: &'static str| {
        let mut asked = Attributes::on(&user, "create", GROUP, "certificatesigningrequests");
        asked.subresource = subresource.into();
        inner.auth.allows(&asked)
    };
    let message = if user.name == request.common_name && may("selfnodeclient") {
        "Auto approving self kubelet client certificate after SubjectAccessReview."
    } else if may("nodeclient") {
        "Auto approving kubelet client certificate after SubjectAccessReview."
    } else {
        return None;
    };
    Some(with_condition(
        object,
        json!({"type": "Approved", "status": "True", "reason": "AutoApproved", "message": message}),
    ))
}

/// The request with its certificate, or with the reason why it gets none; `None` for signers that are somewhere else.
fn finished(inner: &Inner, authority: &Authority, object: &Value, request: &Request) -> Option<Value> {
    let spec = &object["spec"];
    let usages = texts(&spec["usages"]);
    let fits = match spec["signerName"].as_str().unwrap_or_default() {
        CLIENT => check_client(&usages),
        KUBELET_CLIENT => check_kubelet_client(request, &usages),
        KUBELET_SERVING => check_kubelet_serving(request, &usages),
        _ => return None,
    };
    if let Err(message) = fits {
        return Some(with_condition(
            object,
            json!({
                "type": "Failed", "status": "True", "reason": "SignerValidationFailure", "message": message,
                "lastUpdateTime": inner.now_text(),
            }),
        ));
    }
    let seconds = spec["expirationSeconds"].as_i64();
    let made = certificate::sign(
        authority,
        request,
        &usages,
        seconds,
        inner.now(),
        &*inner.randomness,
    );
    match made {
        Ok(pem) => {
            let mut changed = object.clone();
            changed["status"]["certificate"] = STANDARD.encode(pem).into();
            Some(changed)
        }
        Err(error) => {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            tracing::warn!(name, %error, "a certificate signing request was not signed");
            None
        }
    }
}

fn check_client(usages: &[String]) -> Result<(), String> {
    const OPTIONAL: [&str; 2] = ["digital signature", "key encipherment"];
    const NEEDED: &str = "client auth";
    if let Some(odd) = usages
        .iter()
        .find(|u| *u != NEEDED && !OPTIONAL.contains(&u.as_str()))
    {
        return Err(format!("invalid usage for client certificate: {odd}"));
    }
    match usages.iter().any(|usage| usage == NEEDED) {
        true => Ok(()),
        false => Err(format!("missing required usage for client certificate: {NEEDED}")),
    }
}

fn check_nodes_group(request: &Request) -> Result<(), String> {
    match request.organizations == ["system:nodes"] {
        true => Ok(()),
        false => Err("subject organization is not system:nodes".to_owned()),
    }
}

fn check_node_name(request: &Request) -> Result<(), String> {
    match request.common_name.starts_with(NODE_PREFIX) {
        true => Ok(()),
        false => Err("subject common name does not begin with system:node:".to_owned()),
    }
}

fn check_usages(usages: &[String], last: &str) -> Result<(), String> {
    let found: BTreeSet<&str> = usages.iter().map(String::as_str).collect();
    let mut wanted = ["digital signature", "key encipherment", last];
    wanted.sort_unstable();
    let without = BTreeSet::from(["digital signature", last]);
    match found == BTreeSet::from(wanted) || found == without {
        true => Ok(()),
        false => Err(format!("usages did not match [{}]", wanted.join(" "))),
    }
}

fn check_kubelet_client(request: &Request, usages: &[String]) -> Result<(), String> {
    check_nodes_group(request)?;
    let kinds = [
        ("DNS", request.dns_names.is_empty()),
        ("Email", request.emails.is_empty()),
        ("IP", request.addresses.is_empty()),
        ("URI", request.uris.is_empty()),
    ];
    if let Some((kind, _)) = kinds.iter().find(|(_, empty)| !empty) {
        return Err(format!("{kind} subjectAltNames are not allowed"));
    }
    check_node_name(request)?;
    check_usages(usages, "client auth")
}

fn check_kubelet_serving(request: &Request, usages: &[String]) -> Result<(), String> {
    check_nodes_group(request)?;
    if request.dns_names.is_empty() && request.addresses.is_empty() {
        return Err("DNS or IP subjectAltName is required".to_owned());
    }
    for (kind, names) in [("Email", &request.emails), ("URI", &request.uris)] {
        if !names.is_empty() {
            return Err(format!("{kind} subjectAltNames are not allowed"));
        }
    }
    check_usages(usages, "server auth")?;
    check_node_name(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str, group: &str, dns: &str) -> Request {
        Request {
            common_name: name.to_owned(),
            organizations: vec![group.to_owned()],
            dns_names: Some(dns.to_owned())
                .filter(|dns| !dns.is_empty())
                .into_iter()
                .collect(),
            ..Request::default()
        }
    }

    #[test]
    fn signers_look_at_what_they_sign() {
        let client = ["digital signature", "client auth"].map(str::to_owned);
        let serving = ["server auth", "digital signature", "key encipherment"].map(str::to_owned);
        let node = |dns| request("system:node:a", "system:nodes", dns);
        assert_eq!(check_kubelet_client(&node(""), &client), Ok(()));
        assert_eq!(check_kubelet_serving(&node("a"), &serving), Ok(()));
        let refused = [
            check_kubelet_client(&node(""), &serving),
            check_kubelet_client(&node("a"), &client),
            check_kubelet_client(&request("a", "system:nodes", ""), &client),
            check_kubelet_client(&request("system:node:a", "x", ""), &client),
            check_kubelet_serving(&node(""), &serving),
            check_client(&serving),
            check_client(&serving[1..]),
        ];
        let expected = [
            "usages did not match [client auth digital signature key encipherment]",
            "DNS subjectAltNames are not allowed",
            "subject common name does not begin with system:node:",
            "subject organization is not system:nodes",
            "DNS or IP subjectAltName is required",
            "invalid usage for client certificate: server auth",
            "missing required usage for client certificate: client auth",
        ];
        for (found, expected) in refused.into_iter().zip(expected) {
            assert_eq!(found, Err(expected.to_owned()));
        }
    }
}
