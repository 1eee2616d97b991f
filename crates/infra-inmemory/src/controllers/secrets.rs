//! Reading the Secrets of a cluster: from the store where it holds them, else from the API server.

use capi_api::secrets::{CERTIFICATE_KEY, PRIVATE_KEY_KEY, Purpose};
use capi_runtime::{Context, Key};
use k8s_openapi::api::core::v1::Secret;

use crate::{backend::guest::join::AuthorityFiles, error::Error};

/// A Secret. The store holds those that carry the cluster's label; users' own ones may lack it.
pub async fn read(ctx: &Context, key: &Key) -> Result<Option<Secret>, Error> {
    match ctx.get::<Secret>(key) {
        Some(secret) => Ok(Some((*secret).clone())),
        None => Ok(ctx.get_live::<Secret>(key).await?),
    }
}

/// The text under a key of a Secret, if it is there and not empty.
pub fn text(secret: &Secret, key: &str) -> Option<String> {
    let bytes = &secret.data.as_ref()?.get(key)?.0;
    Some(String::from_utf8_lossy(bytes).into_owned()).filter(|text| !text.is_empty())
}

/// A certificate authority of a cluster, or what its Secret lacks.
pub async fn authority(
    ctx: &Context,
    cluster: &Key,
    purpose: Purpose,
) -> Result<Result<AuthorityFiles, String>, Error> {
    let key = cluster.sibling(purpose.name_for(&cluster.name));
    let Some(secret) = read(ctx, &key).await? else {
        return Ok(Err(format!("Secret {key} does not exist")));
    };
    let Some(certificate) = text(&secret, CERTIFICATE_KEY) else {
        return Ok(Err(format!("Secret {key} has no {CERTIFICATE_KEY}")));
    };
    Ok(Ok(AuthorityFiles {
        certificate,
        key: text(&secret, PRIVATE_KEY_KEY).unwrap_or_default(),
    }))
}
