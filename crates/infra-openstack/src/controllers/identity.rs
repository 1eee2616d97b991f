//! From an `identityRef` to a session.

use std::{collections::BTreeMap, sync::Arc};

use capi_runtime::{Context, Key};
use k8s_openapi::{
    api::core::v1::{Namespace, Secret},
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};

use crate::{
    Error,
    api::{IdentityType, OpenStackClusterIdentity, OpenStackIdentityReference},
    cloud::{Identity, Session, Sessions},
};

/// The session of an identity, for an object of this namespace.
pub async fn session(
    ctx: &Context,
    sessions: &Sessions,
    namespace: &str,
    identity: &OpenStackIdentityReference,
) -> Result<Arc<Session>, Error> {
    let name = format!(
        "{namespace}/{}/{}/{}/{}",
        identity.type_.unwrap_or_default(),
        identity.name,
        identity.cloud_name,
        identity.region.as_deref().unwrap_or_default()
    );
    if let Some(session) = sessions.recent(&name) {
        match session.log_in().await {
            Ok(()) => return Ok(session),
            Err(error) if error.is_authentication() => sessions.forget(&name),
            Err(error) => return Err(error.into()),
        }
    }
    let secret = secret_key(ctx, namespace, identity).await?;
    let found: Secret = ctx
        .get_live(&secret)
        .await?
        .ok_or_else(|| Error::reference(format!("identityRef: Secret {secret}"), "it does not exist"))?;
    let data = found.data.unwrap_or_default();
    let clouds = data.get("clouds.yaml").ok_or_else(|| {
        Error::reference(
            format!("identityRef: Secret {secret}"),
            "it has no key clouds.yaml",
        )
    })?;
    let session = sessions.get(Identity {
        clouds_yaml: &clouds.0,
        cloud_name: &identity.cloud_name,
        region: identity.region.as_deref().filter(|region| !region.is_empty()),
        cacert: data.get("cacert").map(|pem| pem.0.as_slice()),
    })?;
    session.log_in().await?;
    sessions.remember(name, session.clone());
    Ok(session)
}

async fn secret_key(
    ctx: &Context,
    namespace: &str,
    identity: &OpenStackIdentityReference,
) -> Result<Key, Error> {
    if identity.type_.unwrap_or_default() == IdentityType::Secret {
        return Ok(Key::new(namespace, identity.name.as_str()));
    }
    let what = || format!("identityRef: OpenStackClusterIdentity {}", identity.name);
    let found: OpenStackClusterIdentity = ctx
        .get_live(&Key::new("", identity.name.as_str()))
        .await?
        .ok_or_else(|| Error::reference(what(), "it does not exist"))?;
    if let Some(selector) = &found.spec.namespace_selector {
        let of_namespace = ctx.get_live::<Namespace>(&Key::new("", namespace)).await?;
        let labels = of_namespace
            .and_then(|namespace| namespace.metadata.labels)
            .unwrap_or_default();
        if !selects(selector, &labels) {
            return Err(Error::reference(
                what(),
                format!("its namespaceSelector does not admit namespace {namespace}"),
            ));
        }
    }
    let secret = &found.spec.secret_ref;
    Ok(Key::new(secret.namespace.as_str(), secret.name.as_str()))
}

/// True if a selector selects labels; an empty one selects all.
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value));
    let meets = |requirement: &LabelSelectorRequirement| {
        let value = labels.get(&requirement.key);
        let listed =
            value.is_some_and(|value| requirement.values.iter().flatten().any(|wanted| wanted == value));
        match requirement.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    };
    equal && selector.match_expressions.iter().flatten().all(meets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_select_as_everywhere_in_kubernetes() {
        let labels: BTreeMap<String, String> = [("a".to_owned(), "1".to_owned())].into();
        let selector = |key: &str, operator: &str, values: &[&str]| LabelSelector {
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: key.into(),
                operator: operator.into(),
                values: Some(values.iter().map(|value| (*value).to_owned()).collect()),
            }]),
            ..LabelSelector::default()
        };
        for (selector, expected) in [
            (LabelSelector::default(), true),
            (selector("a", "In", &["1", "2"]), true),
            (selector("a", "NotIn", &["1"]), false),
            (selector("b", "NotIn", &["1"]), true),
            (selector("b", "Exists", &[]), false),
            (selector("b", "DoesNotExist", &[]), true),
            (
                LabelSelector {
                    match_labels: Some([("a".to_owned(), "2".to_owned())].into()),
                    ..LabelSelector::default()
                },
                false,
            ),
        ] {
            assert_eq!(selects(&selector, &labels), expected, "{selector:?}");
        }
    }
}
