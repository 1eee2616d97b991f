//! Bootstrap tokens: Secrets in `kube-system` by which new nodes say hello.

use std::collections::BTreeSet;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use super::User;
use crate::server::Inner;
use crate::storage::{GroupResource, object_key};

const GROUP: &str = "system:bootstrappers";

fn is_word(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// Whether an extra group has the form `system:bootstrappers:NAME`.
fn is_group(name: &str) -> bool {
    let rest = name.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix(':'));
    rest.is_some_and(|rest| {
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        rest.len() <= 256
            && rest.bytes().all(|b| letter(b) || b == b':' || b == b'-')
            && rest.bytes().last().is_some_and(letter)
    })
}

/// The user of a bootstrap token.
pub(super) fn user(inner: &Inner, token: &str) -> Option<User> {
    let (id, secret) = token.split_once('.')?;
    if !is_word(id, 6) || !is_word(secret, 16) {
        return None;
    }
    let key = object_key("kube-system", &format!("bootstrap-token-{id}"));
    let object = inner.store.get(&GroupResource::new("", "secrets"), &key)?;
    if object.terminating {
        return None;
    }
    user_of(&object.value(), id, secret, inner.now())
}

fn user_of(stored: &Value, id: &str, secret: &str, now: Timestamp) -> Option<User> {
    let data = |key: &str| {
        let text = stored["data"][key].as_str().unwrap_or_default();
        String::from_utf8(STANDARD.decode(text).unwrap_or_default()).unwrap_or_default()
    };
    let same = verify_slices_are_equal(data("token-secret").as_bytes(), secret.as_bytes()).is_ok();
    let usable = stored["type"] == "bootstrap.kubernetes.io/token"
        && same
        && data("token-id") == id
        && data("usage-bootstrap-authentication") == "true";
    let expires = data("expiration");
    let lives = expires.is_empty() || expires.parse::<Timestamp>().is_ok_and(|expires| expires > now);
    if !usable || !lives {
        return None;
    }
    let mut groups = BTreeSet::from([GROUP.to_owned()]);
    let extra = data("auth-extra-groups");
    for group in extra.split(',').filter(|_| !extra.is_empty()) {
        if !is_group(group) {
            return None;
        }
        groups.insert(group.to_owned());
    }
    Some(User {
        name: format!("system:bootstrap:{id}"),
        groups: groups.into_iter().collect(),
        ..User::default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_good_secret_makes_a_user() {
        let secret = |change: &[(&str, &str)]| {
            let mut data = json!({"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true"});
            for (key, value) in change {
                data[*key] = (*value).into();
            }
            let kind = data["type"]
                .as_str()
                .unwrap_or("bootstrap.kubernetes.io/token")
                .to_owned();
            for value in data.as_object_mut().unwrap().values_mut() {
                *value = STANDARD.encode(value.as_str().unwrap()).into();
            }
            json!({"type": kind, "data": data})
        };
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        type Case<'a> = (&'a [(&'a str, &'a str)], Option<&'a [&'a str]>);
        let cases: [Case<'_>; 9] = [
            (&[], Some(&[GROUP])),
            (
                &[(
                    "auth-extra-groups",
                    "system:bootstrappers:b,system:bootstrappers:a",
                )],
                Some(&[GROUP, "system:bootstrappers:a", "system:bootstrappers:b"]),
            ),
            (&[("auth-extra-groups", "system:masters")], None),
            (&[("expiration", "2026-01-01T00:00:01Z")], Some(&[GROUP])),
            (&[("expiration", "2026-01-01T00:00:00Z")], None),
            (&[("expiration", "soon")], None),
            (&[("usage-bootstrap-authentication", "false")], None),
            (&[("token-secret", "0123456789abcdeX")], None),
            (&[("type", "Opaque")], None),
        ];
        for (change, groups) in cases {
            let found = user_of(&secret(change), "abcdef", "0123456789abcdef", now);
            let expected = groups.map(|groups| groups.iter().map(|g| (*g).to_owned()).collect::<Vec<_>>());
            assert_eq!(found.map(|user| user.groups), expected, "{change:?}");
        }
        assert!(user_of(&secret(&[]), "abcdez", "0123456789abcdef", now).is_none());
    }
}
