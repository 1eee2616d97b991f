//! Bootstrap tokens: what a machine shows to join a cluster.

use std::{fmt, str::FromStr};

use seams::Randomness;

use crate::{Error, Result};

/// A bootstrap token `<id>.<secret>`.
#[derive(Clone, PartialEq, Eq)]
pub struct BootstrapToken {
    id: String,
    secret: String,
}

const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

impl BootstrapToken {
    /// A new token.
    pub fn generate(randomness: &dyn Randomness) -> Self {
        Self {
            id: letters(randomness, 6),
            secret: letters(randomness, 16),
        }
    }

    /// The public part: names the Secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The secret part.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The name of its Secret in `kube-system`.
    pub fn secret_name(&self) -> String {
        format!("bootstrap-token-{}", self.id)
    }
}

/// Letters without bias: bytes beyond the largest multiple of 36 are thrown away.
fn letters(randomness: &dyn Randomness, length: usize) -> String {
    let mut out = String::with_capacity(length);
    while out.len() < length {
        for byte in randomness.next_u64().to_le_bytes() {
            if byte < 252 && out.len() < length {
                out.push(char::from(ALPHABET[usize::from(byte % 36)]));
            }
        }
    }
    out
}

impl fmt::Display for BootstrapToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.id, self.secret)
    }
}

impl fmt::Debug for BootstrapToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BootstrapToken({}.…)", self.id)
    }
}

impl FromStr for BootstrapToken {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let valid =
            |part: &str, length| part.len() == length && part.bytes().all(|byte| ALPHABET.contains(&byte));
        match text.split_once('.') {
            Some((id, secret)) if valid(id, 6) && valid(secret, 16) => Ok(Self {
                id: id.to_owned(),
                secret: secret.to_owned(),
            }),
            _ => Err(Error::Token),
        }
    }
}

#[cfg(test)]
mod tests {
    use seams::SeededRandomness;

    use super::*;

    #[test]
    fn a_generated_token_parses_and_repeats_from_its_seed() {
        let token = BootstrapToken::generate(&SeededRandomness::new(3));
        assert_eq!(token.to_string().parse::<BootstrapToken>().unwrap(), token);
        assert_eq!(BootstrapToken::generate(&SeededRandomness::new(3)), token);
        assert_ne!(BootstrapToken::generate(&SeededRandomness::new(4)), token);
        assert_eq!(token.secret_name(), format!("bootstrap-token-{}", token.id()));
        assert!(
            !format!("{token:?}").contains(token.secret()),
            "the secret part stays out of logs"
        );
    }

    #[test]
    fn malformed_tokens_are_refused() {
        for text in [
            "",
            "abcdef",
            "abcdef.",
            "abcdef.0123456789abcde",
            "ABCDEF.0123456789abcdef",
            "abcdef.0123456789abcdef0",
        ] {
            assert!(text.parse::<BootstrapToken>().is_err(), "{text}");
        }
    }
}
