//! What tokens of service accounts say, and whether that is still true: the account, and the pod, node or secret that a
//! token is bound to, must be there under the same uid.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::auth::User;
use crate::auth::user::{CREDENTIAL_ID, service_account_name};
use crate::server::Inner;
use crate::storage::{GroupResource, Object, object_key};

/// The issuer of tokens that live in Secrets.
pub(super) const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";
/// How far clocks may be apart, and how long something may be gone.
const LEEWAY: SignedDuration = SignedDuration::from_mins(1);

const PREFIX: &str = "authentication.kubernetes.io/";
const LEGACY: &str = "kubernetes.io/serviceaccount/";

/// What a token is bound to.
#[derive(Debug, Default)]
pub(super) struct Bound {
    /// Name and uid.
    pub pod: Option<(String, String)>,
    pub node: Option<(String, String)>,
    pub secret: Option<(String, String)>,
}

fn reference((name, uid): &(String, String)) -> Value {
    match uid.is_empty() {
        true => json!({"name": name}),
        false => json!({"name": name, "uid": uid}),
    }
}

/// The claims of a token without its issuer.
pub(super) fn new(
    account: &Object,
    bound: &Bound,
    audiences: &[String],
    id: &str,
    now: Timestamp,
    seconds: i64,
    warn_after: Option<i64>,
) -> Value {
    let issued = now.as_second();
    let mut private = json!({
        "namespace": &*account.namespace,
        "serviceaccount": {"name": &*account.name, "uid": &*account.uid},
    });
    for (field, bound) in [
        ("pod", &bound.pod),
        ("node", &bound.node),
        ("secret", &bound.secret),
    ] {
        if let Some(bound) = bound {
            private[field] = reference(bound);
        }
    }
    if let Some(seconds) = warn_after {
        private["warnafter"] = (issued + seconds).into();
    }
    json!({
        "aud": audiences, "exp": issued + seconds, "iat": issued, "jti": id, "kubernetes.io": private, "nbf": issued,
        "sub": service_account_name(&account.namespace, &account.name),
    })
}

/// The claims of a token that lives in a Secret, without its issuer.
pub(crate) fn legacy(account: &Object, secret: &str) -> Value {
    json!({
        "sub": service_account_name(&account.namespace, &account.name),
        format!("{LEGACY}namespace"): &*account.namespace,
        format!("{LEGACY}secret.name"): secret,
        format!("{LEGACY}service-account.name"): &*account.name,
        format!("{LEGACY}service-account.uid"): &*account.uid,
    })
}

/// Whom a token is for.
pub(super) fn audiences(claims: &Value) -> Vec<String> {
    match &claims["aud"] {
        Value::String(one) => vec![one.clone()],
        Value::Array(many) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn check_time(claims: &Value, now: Timestamp) -> Result<(), String> {
    let at = |field: &str| claims[field].as_f64().map(|seconds| seconds as i64);
    let (early, late) = (
        now.as_second() - LEEWAY.as_secs(),
        now.as_second() + LEEWAY.as_secs(),
    );
    let problem = if at("nbf").is_some_and(|begin| late < begin) {
        "is not valid yet"
    } else if at("exp").is_some_and(|end| early > end) {
        "has expired"
    } else if at("iat").is_some_and(|issued| late < issued) {
        "is issued in the future"
    } else {
        return Ok(());
    };
    Err(format!("service account token {problem}"))
}

/// Whether an object has been on its way out for longer than clocks may be apart.
fn is_gone(object: &Object, now: Timestamp) -> bool {
    if !object.terminating {
        return false;
    }
    let since = object.value()["metadata"]["deletionTimestamp"]
        .as_str()
        .and_then(|text| text.parse::<Timestamp>().ok());
    since.is_none_or(|since| since < now - LEEWAY)
}

fn get(inner: &Inner, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
    inner
        .store
        .get(&GroupResource::new("", resource), &object_key(namespace, name))
}

fn account(inner: &Inner, namespace: &str, name: &str) -> Result<Arc<Object>, String> {
    let found = get(inner, "serviceaccounts", namespace, name);
    found.ok_or_else(|| format!("serviceaccounts \"{name}\" not found"))
}

/// Checks what a token is bound to.
fn check_bound(inner: &Inner, kind: &str, namespace: &str, bound: &Value) -> Result<(), String> {
    let (name, uid) = (text(bound, "name"), text(bound, "uid"));
    let invalidated = || "service account token has been invalidated".to_owned();
    let object = get(inner, &format!("{kind}s"), namespace, name).ok_or_else(invalidated)?;
    if *object.uid != *uid {
        let shown = match kind {
            "secret" => "Secret".to_owned(),
            kind => kind.to_owned(),
        };
        let shown = shown.to_lowercase();
        return Err(format!(
            "{shown} UID ({}) does not match service account {shown} ref claim ({uid})",
            object.uid
        ));
    }
    match is_gone(&object, inner.now()) {
        true => Err(invalidated()),
        false => Ok(()),
    }
}

/// The user whom a token with a proven signature names.
pub(super) fn check(inner: &Inner, claims: &Value) -> Result<User, String> {
    check_time(claims, inner.now())?;
    let private = &claims["kubernetes.io"];
    let (namespace, name) = (
        text(private, "namespace"),
        text(&private["serviceaccount"], "name"),
    );
    let uid = text(&private["serviceaccount"], "uid");
    let account = account(inner, namespace, name)?;
    if *account.uid != *uid {
        return Err(format!(
            "service account UID ({}) does not match claim ({uid})",
            account.uid
        ));
    }
    if is_gone(&account, inner.now()) {
        return Err(format!("service account {namespace}/{name} has been deleted"));
    }
    let mut user = User::service_account(namespace, name);
    user.uid = uid.to_owned();
    let mut note = |key: &str, value: &str| {
        if !value.is_empty() {
            user.extra
                .insert(format!("{PREFIX}{key}"), vec![value.to_owned()]);
        }
    };
    let (secret, pod, node) = (&private["secret"], &private["pod"], &private["node"]);
    if secret.is_object() {
        check_bound(inner, "secret", namespace, secret)?;
    }
    if pod.is_object() {
        check_bound(inner, "pod", namespace, pod)?;
        note("pod-name", text(pod, "name"));
        note("pod-uid", text(pod, "uid"));
    }
    if node.is_object() {
        // Which node a pod runs on is only told; a token bound to the node itself needs the node.
        if !pod.is_object() {
            check_bound(inner, "node", "", node)?;
        }
        note("node-name", text(node, "name"));
        note("node-uid", text(node, "uid"));
    }
    let id = text(claims, "jti");
    if !id.is_empty() {
        user.extra
            .insert(CREDENTIAL_ID.to_owned(), vec![format!("JTI={id}")]);
    }
    Ok(user)
}

/// As [`check`], for a token that lives in a Secret.
pub(super) fn check_legacy(inner: &Inner, claims: &Value, token: &str) -> Result<User, String> {
    let field = |name: &str, shown: &str| match text(claims, &format!("{LEGACY}{name}")) {
        "" => Err(format!("{shown} claim is missing")),
        value => Ok(value.to_owned()),
    };
    if text(claims, "sub").is_empty() {
        return Err("sub claim is missing".to_owned());
    }
    let namespace = field("namespace", "namespace")?;
    let secret_name = field("secret.name", "secretName")?;
    let name = field("service-account.name", "serviceAccountName")?;
    let uid = field("service-account.uid", "serviceAccountUID")?;
    if text(claims, "sub") != service_account_name(&namespace, &name) {
        return Err("sub claim is invalid".to_owned());
    }
    let secret = get(inner, "secrets", &namespace, &secret_name).filter(|secret| !secret.terminating);
    let secret = secret.ok_or("Token has been invalidated")?.value();
    let stored = STANDARD
        .decode(text(&secret["data"], "token"))
        .unwrap_or_default();
    if verify_slices_are_equal(&stored, token.as_bytes()).is_err() {
        return Err("Token does not match server's copy".to_owned());
    }
    let account = account(inner, &namespace, &name)?;
    if account.terminating {
        return Err(format!("ServiceAccount {namespace}/{name} has been deleted"));
    }
    if *account.uid != *uid {
        return Err(format!(
            "ServiceAccount UID ({}) does not match claim ({uid})",
            account.uid
        ));
    }
    let mut user = User::service_account(&namespace, &name);
    user.uid = uid;
    Ok(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_live_from_not_before_to_their_end() {
        let claims = json!({"nbf": 1000, "iat": 1000, "exp": 1600});
        let cases = [
            (900, Err("service account token is not valid yet".to_owned())),
            (940, Ok(())),
            (1660, Ok(())),
            (1661, Err("service account token has expired".to_owned())),
        ];
        for (now, expected) in cases {
            let now = Timestamp::from_second(now).unwrap();
            assert_eq!(check_time(&claims, now), expected, "{now}");
        }
    }
}
