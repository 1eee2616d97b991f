//! JSON Web Tokens in their compact form, as far as service accounts need them.

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::crypto::PrivateKey;

/// As lenient as Go's about bits that mean nothing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// Signs tokens and checks its own signatures.
pub(super) struct Signer {
    key: PrivateKey,
    /// Names the key without telling it: a hash of the public key.
    id: String,
}

fn part(text: &str) -> Option<Value> {
    serde_json::from_slice(&BASE64.decode(text).ok()?).ok()
}

/// Head, claims and signature of a token.
fn split(token: &str) -> Option<(&str, &str, &str)> {
    let mut parts = token.split('.');
    let found = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then_some(found)
}

/// What a token claims, not to be trusted.
pub(super) fn unverified(token: &str) -> Option<Value> {
    part(split(token)?.1).filter(Value::is_object)
}

impl Signer {
    pub fn new(pem: &str) -> Result<Self, String> {
        let key = PrivateKey::from_pem(pem)?;
        let id = BASE64.encode(Sha256::digest(key.public_der()));
        Ok(Self { key, id })
    }

    pub fn sign(&self, claims: &Value) -> Result<String, String> {
        let head = json!({"alg": self.key.jws_algorithm(), "kid": self.id});
        let text = format!(
            "{}.{}",
            BASE64.encode(head.to_string()),
            BASE64.encode(claims.to_string())
        );
        let signature = self.key.sign_jws(text.as_bytes())?;
        Ok(format!("{text}.{}", BASE64.encode(signature)))
    }

    /// The claims of a token that this key signed; `None` for what is no token.
    pub fn verify(&self, token: &str) -> Result<Option<Value>, String> {
        let Some((head, claims, signature)) = split(token) else {
            return Ok(None);
        };
        let (Some(head_value), Some(claims_value), Ok(signature)) =
            (part(head), part(claims), BASE64.decode(signature))
        else {
            return Ok(None);
        };
        let same_key = head_value["kid"]
            .as_str()
            .is_none_or(|id| id.is_empty() || id == self.id);
        if !same_key {
            return Err("invalid signature, no keys found".to_owned());
        }
        let text = &token[..head.len() + 1 + claims.len()];
        let good =
            head_value["alg"] == self.key.jws_algorithm() && self.key.verify_jws(text.as_bytes(), &signature);
        match good {
            true => Ok(Some(claims_value)),
            false => Err("go-jose/go-jose: error in cryptographic primitive".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer::new(&rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap()
    }

    #[test]
    fn a_token_is_known_by_its_own_key_only() {
        let (own, other) = (signer(), signer());
        let claims = json!({"sub": "x"});
        let token = own.sign(&claims).unwrap();
        assert_eq!(own.verify(&token), Ok(Some(claims.clone())));
        assert_eq!(unverified(&token), Some(claims));
        assert!(other.verify(&token).is_err());
        let (head, _, signature) = split(&token).unwrap();
        let forged = format!("{head}.{}.{signature}", BASE64.encode(r#"{"sub":"y"}"#));
        assert!(own.verify(&forged).is_err());
        // An algorithm that is none must not be believed.
        let unsigned = format!(
            "{}.{}.",
            BASE64.encode(r#"{"alg":"none"}"#),
            BASE64.encode(r#"{"sub":"y"}"#)
        );
        assert!(own.verify(&unsigned).is_err());
        assert_eq!(own.verify("no.token"), Ok(None));
        assert_eq!(own.verify("a.b.c.d"), Ok(None));
    }
}
