//! The body of `POST /v3/auth/tokens`. Pure.

use serde_json::{Value, json};

use super::{Credentials, DomainRef, Login, Scope, UserRef};

fn domain(domain: &DomainRef) -> Value {
    match domain {
        DomainRef::Id(id) => json!({ "id": id }),
        DomainRef::Name(name) => json!({ "name": name }),
    }
}

fn user(user: &UserRef) -> Value {
    match user {
        UserRef::Id(id) => json!({ "id": id }),
        UserRef::Name { name, domain: of } => json!({ "name": name, "domain": domain(of) }),
    }
}

/// The request that these credentials and this scope make.
pub fn login_body(login: &Login) -> Value {
    let identity = match &login.credentials {
        Credentials::Password { user: who, password } => {
            let mut who = user(who);
            who["password"] = password.as_str().into();
            json!({ "methods": ["password"], "password": { "user": who } })
        }
        Credentials::ApplicationCredentialId { id, secret } => json!({
            "methods": ["application_credential"],
            "application_credential": { "id": id, "secret": secret },
        }),
        Credentials::ApplicationCredentialName {
            name,
            user: who,
            secret,
        } => json!({
            "methods": ["application_credential"],
            "application_credential": { "name": name, "secret": secret, "user": user(who) },
        }),
        Credentials::Token { token } => json!({ "methods": ["token"], "token": { "id": token } }),
    };
    let mut auth = json!({ "identity": identity });
    let scope = match &login.scope {
        // An application credential belongs to one project; Keystone refuses to hear it again.
        _ if matches!(
            login.credentials,
            Credentials::ApplicationCredentialId { .. } | Credentials::ApplicationCredentialName { .. }
        ) =>
        {
            None
        }
        Scope::ProjectId(id) => Some(json!({ "project": { "id": id } })),
        Scope::ProjectName { name, domain: of } => {
            Some(json!({ "project": { "name": name, "domain": domain(of) } }))
        }
        Scope::Domain(of) => Some(json!({ "domain": domain(of) })),
        Scope::System => Some(json!({ "system": { "all": true } })),
        Scope::Unscoped => None,
    };
    if let Some(scope) = scope {
        auth["scope"] = scope;
    }
    json!({ "auth": auth })
}
