//! What signing requests must look like, and which changes of their state are no changes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{GROUP, LEGACY, certificate, request};
use crate::auth::quote;
use crate::registry::Resource;
use crate::registry::names::NameRule;
use crate::schema::FieldError;
use crate::verbs::Part;

const CONDITIONS: &str = "status.conditions";
/// Conditions that are true or absent.
const FINAL: [&str; 3] = ["Approved", "Denied", "Failed"];

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn conditions(object: &Value) -> &[Value] {
    object["status"]["conditions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn of_type<'a>(object: &'a Value, kind: &str) -> Vec<&'a Value> {
    conditions(object)
        .iter()
        .filter(|condition| condition["type"] == kind)
        .collect()
}

/// Checks a signing request; nothing for other resources.
pub(crate) fn validate(resource: &Resource, part: Part, old: Option<&Value>, new: &Value) -> Vec<FieldError> {
    if !resource.is(GROUP, "certificatesigningrequests") {
        return Vec::new();
    }
    let mut errors = Vec::new();
    spec(old, new, &mut errors);
    state(old, new, &mut errors);
    if old.is_none_or(|old| old["status"]["certificate"] != new["status"]["certificate"])
        && let Err(problem) = check_certificate(text(&new["status"], "certificate"))
    {
        errors.push(FieldError::invalid(
            "status.certificate",
            "<certificate data>",
            problem,
        ));
    }
    if let Some(old) = old {
        change(part, old, new, &mut errors);
    }
    errors
}

fn spec(old: Option<&Value>, new: &Value, errors: &mut Vec<FieldError>) {
    let spec = &new["spec"];
    if let Err(problem) = request::of(new) {
        errors.push(FieldError::invalid(
            "spec.request",
            text(spec, "request"),
            problem,
        ));
    }
    let usages: Vec<&str> = spec["usages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if usages.is_empty() {
        errors.push(FieldError::required("spec.usages", ""));
    }
    // The spec never changes after creation, so what is stored is never refused for it.
    let known = certificate::known_usages();
    for (i, usage) in usages.iter().enumerate().filter(|_| old.is_none()) {
        let path = format!("spec.usages[{i}]");
        if !known.contains(usage) {
            errors.push(FieldError::not_supported(path.as_str(), *usage, &known));
        }
        if usages[..i].contains(usage) {
            errors.push(FieldError::duplicate(path, *usage));
        }
    }
    let signer = text(spec, "signerName");
    match signer == LEGACY && old.is_none() {
        true => {
            let detail = "the legacy signerName is not allowed via this API version";
            errors.push(FieldError::invalid("spec.signerName", signer, detail));
        }
        false => check_signer(signer, errors),
    }
    if let Some(seconds) = spec["expirationSeconds"]
        .as_i64()
        .filter(|seconds| *seconds < 600)
    {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(FieldError::invalid("spec.expirationSeconds", seconds, detail));
    }
}

fn check_signer(signer: &str, errors: &mut Vec<FieldError>) {
    const PATH: &str = "spec.signerName";
    let mut refuse = |value: &str, detail: String| errors.push(FieldError::invalid(PATH, value, detail));
    let (domain, path) = match signer.split('/').collect::<Vec<_>>()[..] {
        [""] => return errors.push(FieldError::required(PATH, "")),
        [domain, path] => (domain, path),
        _ => {
            let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
            return refuse(signer, detail.to_owned());
        }
    };
    let first = |part: &str, rule: NameRule| {
        part.split('.')
            .find_map(|label| {
                let problems = rule.check(label, false);
                (!problems.is_empty()).then(|| (label.to_owned(), problems))
            })
            .unwrap_or_default()
    };
    let (label, problems) = first(domain, NameRule::Label);
    for problem in problems {
        refuse(domain, format!("validating label {}: {problem}", quote(&label)));
    }
    if !domain.contains('.') {
        refuse(
            domain,
            "should be a domain with at least two segments separated by dots".to_owned(),
        );
    }
    let (label, problems) = first(path, NameRule::Subdomain);
    for problem in problems {
        refuse(path, format!("validating label {}: {problem}", quote(&label)));
    }
}

fn state(old: Option<&Value>, new: &Value, errors: &mut Vec<FieldError>) {
    let all = conditions(new);
    let tolerated = |problem: fn(&[Value]) -> bool| old.is_some_and(|old| problem(conditions(old)));
    let both = tolerated(|all| {
        ["Approved", "Denied"]
            .iter()
            .all(|kind| all.iter().any(|c| c["type"] == *kind))
    });
    let twice = tolerated(|all| {
        all.iter()
            .enumerate()
            .any(|(i, c)| all[..i].iter().any(|b| b["type"] == c["type"]))
    });
    let nameless = tolerated(|all| all.iter().any(|c| text(c, "type").is_empty()));
    for (i, condition) in all.iter().enumerate() {
        let (kind, status) = (text(condition, "type"), text(condition, "status"));
        let path = format!("{CONDITIONS}[{i}]");
        if kind.is_empty() && !nameless {
            errors.push(FieldError::required(format!("{path}.type"), ""));
        }
        let allowed: &[&str] = match FINAL.contains(&kind) {
            true => &["True"],
            false => &["False", "True", "Unknown"],
        };
        match status {
            "" => errors.push(FieldError::required(format!("{path}.status"), "")),
            status if !allowed.contains(&status) => {
                errors.push(FieldError::not_supported(
                    format!("{path}.status"),
                    status,
                    allowed,
                ));
            }
            _ => {}
        }
        let other = match kind {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "",
        };
        if !both && !other.is_empty() && all[..i].iter().any(|before| before["type"] == other) {
            let detail = "Approved and Denied conditions are mutually exclusive";
            errors.push(FieldError::invalid(CONDITIONS, kind, detail));
        }
        if !twice && all[..i].iter().any(|before| before["type"] == condition["type"]) {
            errors.push(FieldError::duplicate(format!("{path}.type"), kind));
        }
    }
}

fn change(part: Part, old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let mut forbid = |path: &str, detail: String| errors.push(FieldError::forbidden(path, detail));
    for kind in FINAL {
        if of_type(new, kind).len() < of_type(old, kind).len() {
            forbid(
                CONDITIONS,
                format!("updates may not remove a condition of type {}", quote(kind)),
            );
        }
    }
    for kind in ["Approved", "Denied"]
        .into_iter()
        .filter(|_| part != Part::Approval)
    {
        let (before, after) = (of_type(old, kind), of_type(new, kind));
        if after.len() > before.len() {
            forbid(
                CONDITIONS,
                format!("updates may not add a condition of type {}", quote(kind)),
            );
        } else if after.len() == before.len() && after != before {
            forbid(
                CONDITIONS,
                format!("updates may not modify a condition of type {}", quote(kind)),
            );
        }
    }
    let (before, after) = (
        text(&old["status"], "certificate"),
        text(&new["status"], "certificate"),
    );
    if before != after {
        if part != Part::Status {
            forbid(
                "status.certificate",
                "updates may not set certificate content".to_owned(),
            );
        } else if !before.is_empty() {
            let detail = "updates may not modify existing certificate content";
            forbid("status.certificate", detail.to_owned());
        }
    }
}

/// Checks that a certificate (base64 of PEM) is one.
fn check_certificate(text: &str) -> Result<(), String> {
    let bytes = STANDARD.decode(text).unwrap_or_default();
    if bytes.is_empty() {
        return Ok(());
    }
    let blocks = pem::parse_many(&bytes).unwrap_or_default();
    for block in &blocks {
        if block.tag() != "CERTIFICATE" {
            return Err(format!(
                "only CERTIFICATE PEM blocks are allowed, found {}",
                quote(block.tag())
            ));
        }
        if block.headers().iter().next().is_some() {
            return Err("no PEM block headers are permitted".to_owned());
        }
        x509_parser::parse_x509_certificate(block.contents())
            .map_err(|_| "x509: malformed certificate".to_owned())?;
    }
    match blocks.is_empty() {
        true => Err("must contain at least one CERTIFICATE PEM block".to_owned()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signer_names_are_domain_and_path() {
        let cases = [
            ("example.com/a", 0),
            ("kubernetes.io/kubelet-serving", 0),
            ("", 1),
            ("a", 1),
            ("a/b/c", 1),
            ("example/a", 1),
            ("Example.com/a", 1),
            ("example.com/A", 1),
        ];
        for (signer, expected) in cases {
            let mut errors = Vec::new();
            check_signer(signer, &mut errors);
            assert_eq!(errors.len(), expected, "{signer}: {errors:?}");
        }
    }
}
