//! Tokens of service accounts: made, checked, asked for.

mod claims;
mod jwt;
pub(crate) mod pods;
pub(crate) mod request;

use super::{ServiceAccounts, User};
use crate::server::Inner;
pub(crate) use claims::legacy as legacy_claims;

/// Makes and checks tokens.
pub(crate) struct Issuer {
    name: String,
    audiences: Vec<String>,
    signer: jwt::Signer,
}

impl Issuer {
    /// From what the host gave; the error tells what is wrong with the key.
    pub fn new(config: &ServiceAccounts) -> Result<Self, String> {
        Ok(Self {
            name: config.issuer.clone(),
            audiences: match config.audiences.is_empty() {
                true => vec![config.issuer.clone()],
                false => config.audiences.clone(),
            },
            signer: jwt::Signer::new(&config.signing_key)?,
        })
    }

    /// Whom tokens must be for to be taken by this server.
    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }

    /// A signed token; `iss` is set here, `legacy` tokens have a fixed one.
    pub fn sign(&self, mut claims: serde_json::Value, legacy: bool) -> Result<String, String> {
        claims["iss"] = match legacy {
            true => claims::LEGACY_ISSUER,
            false => &self.name,
        }
        .into();
        self.signer.sign(&claims)
    }
}

/// The user of a token and the audiences among `asked` that it is for; `None` if this is no token of a service account.
pub(crate) fn verify(
    inner: &Inner,
    issuer: &Issuer,
    token: &str,
    asked: &[String],
) -> Result<Option<(User, Vec<String>)>, String> {
    let Some(unproven) = jwt::unverified(token) else {
        return Ok(None);
    };
    let legacy = match unproven["iss"].as_str() {
        Some(claims::LEGACY_ISSUER) => true,
        Some(name) if name == issuer.name => false,
        _ => return Ok(None),
    };
    let Some(claims) = issuer.signer.verify(token)? else {
        return Ok(None);
    };
    let mut audiences = claims::audiences(&claims);
    if audiences.is_empty() {
        audiences = issuer.audiences.clone();
    }
    let common: Vec<String> = audiences
        .iter()
        .filter(|audience| asked.contains(audience))
        .cloned()
        .collect();
    if common.is_empty() {
        return Err(format!(
            "token audiences {} is invalid for the target audiences {}",
            super::quote_list(&audiences),
            super::quote_list(asked)
        ));
    }
    let user = match legacy {
        true => claims::check_legacy(inner, &claims, token)?,
        false => claims::check(inner, &claims)?,
    };
    Ok(Some((user, common)))
}
