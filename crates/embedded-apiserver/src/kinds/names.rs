//! The forms that names inside objects must have, with the texts that tell so.

use crate::registry::names::NameRule;

fn joined(rule: NameRule, name: &str) -> Option<String> {
    let errors = rule.check(name, false);
    (!errors.is_empty()).then(|| errors.join(","))
}

/// What is wrong with an RFC 1035 label.
pub(crate) fn dns_label_1035(name: &str) -> Option<String> {
    joined(NameRule::Label1035, name)
}

/// What is wrong with an RFC 1123 label.
pub(crate) fn dns_label(name: &str) -> Option<String> {
    // Names inside objects are not told apart by dots.
    let errors = NameRule::Label.check(&name.replace('.', "_"), false);
    (!errors.is_empty()).then(|| errors.join(","))
}

/// What is wrong with an RFC 1123 subdomain.
pub(crate) fn subdomain(name: &str) -> Option<String> {
    joined(NameRule::Subdomain, name)
}
