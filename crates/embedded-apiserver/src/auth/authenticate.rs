//! From credentials to users: bearer tokens of each kind, and those who have none.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::{User, aggregate_text, bootstrap_token, service_account};
use crate::server::Inner;

/// A user, and which of the asked-for audiences the credential is for.
#[derive(Debug)]
pub(crate) struct Authenticated {
    pub user: User,
    pub audiences: Vec<String>,
}

const INVALID: &str = "invalid bearer token";

/// The bearer token of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?.trim();
    let mut words = header.splitn(3, ' ');
    let scheme = words
        .next()
        .filter(|scheme| scheme.eq_ignore_ascii_case("bearer"));
    scheme.and(words.next()).filter(|token| !token.is_empty())
}

/// Who sends a request that its connection proved nothing for; `None` if that is to be refused.
pub(super) fn request(inner: &Inner, headers: &HeaderMap) -> Option<User> {
    let authentication = &inner.auth.authentication;
    match bearer(headers) {
        Some(text) => match token(inner, text, &[]) {
            Ok(found) => Some(found.user),
            Err(error) => {
                tracing::debug!(%error, "a bearer token was refused");
                None
            }
        },
        None => authentication.anonymous.then(User::anonymous),
    }
}

/// The user of a token for some of the audiences (none: those of this server); the error is for eyes that may see it.
pub(crate) fn token(inner: &Inner, text: &str, audiences: &[String]) -> Result<Authenticated, String> {
    let auth = &inner.auth;
    let own = auth.issuer.as_ref().map_or(&[][..], |issuer| issuer.audiences());
    let asked = match audiences.is_empty() {
        true => own,
        false => audiences,
    };
    let mut errors = Vec::new();
    // Tokens that know nothing of audiences are for this server.
    let plain: Vec<String> = own
        .iter()
        .filter(|audience| asked.contains(audience))
        .cloned()
        .collect();
    let plain_fits = asked.is_empty() || !plain.is_empty();
    let found = |user: User, audiences: Vec<String>| {
        Ok(Authenticated {
            user: user.authenticated(),
            audiences,
        })
    };
    if plain_fits && let Some(user) = auth.authentication.tokens.get(text) {
        return found(user.clone(), plain);
    }
    if let Some(issuer) = &auth.issuer {
        match service_account::verify(inner, issuer, text, asked) {
            Ok(Some((user, audiences))) => return found(user, audiences),
            Ok(None) => {}
            Err(error) => errors.push(error),
        }
    }
    if plain_fits
        && auth.authentication.bootstrap_tokens
        && let Some(user) = bootstrap_token::user(inner, text)
    {
        return found(user, plain);
    }
    match errors.is_empty() {
        true => Err(INVALID.to_owned()),
        false => Err(format!("[{INVALID}, {}]", aggregate_text(&errors))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_tokens_are_found_in_headers() {
        let cases = [
            ("Bearer abc", Some("abc")),
            ("bearer abc more", Some("abc")),
            ("  BEARER abc ", Some("abc")),
            ("Bearer", None),
            ("Bearer  abc", None),
            ("Basic abc", None),
            ("", None),
        ];
        for (header, expected) in cases {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, header.parse().unwrap())]);
            assert_eq!(bearer(&headers), expected, "{header:?}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
