//! `clouds.yaml` as users keep it in Secrets. Pure.
//!
//! Read is what other OpenStack clients read from one entry, except for references to files and to public profiles: a
//! Secret has neither. Environment variables never count.

use osauth::InterfaceType;
use serde_json::{Map, Value};

use super::{
    CloudError, Tls,
    keystone::{Credentials, DomainRef, Login, Scope, UserRef},
};

/// One cloud: where it is, and who we are there.
#[derive(Clone, Debug, PartialEq)]
pub struct Cloud {
    /// Credentials and the URL of Keystone.
    pub login: Login,
    /// The region, if services of one region only are meant.
    pub region: Option<String>,
    /// Which of a service's endpoints to use.
    pub interface: InterfaceType,
    /// How far the certificate is trusted.
    pub tls: Tls,
}

fn wrong(what: impl Into<String>, reason: impl Into<String>) -> CloudError {
    CloudError::Config {
        what: what.into(),
        reason: reason.into(),
    }
}

/// Reads one entry of a clouds.yaml. `region` wins over that of the entry; `cacert` is a PEM bundle beside the file.
pub fn parse(
    yaml: &[u8],
    cloud_name: &str,
    region: Option<&str>,
    cacert: Option<&[u8]>,
) -> Result<Cloud, CloudError> {
    let text = std::str::from_utf8(yaml).map_err(|_| wrong("clouds.yaml", "it is not UTF-8"))?;
    // Through JSON: YAML's own types (dates, octal numbers) mean nothing here.
    let file: Value =
        serde_saphyr::from_str(text).map_err(|error| wrong("clouds.yaml", error.to_string()))?;
    let clouds = file
        .get("clouds")
        .and_then(Value::as_object)
        .ok_or_else(|| wrong("clouds.yaml", "it has no `clouds`"))?;
    let entry = clouds.get(cloud_name).and_then(Value::as_object).ok_or_else(|| {
        let known: Vec<&str> = clouds.keys().map(String::as_str).collect();
        wrong(
            format!("clouds.yaml: cloud {cloud_name}"),
            format!("there is no such entry; there are: {}", known.join(", ")),
        )
    })?;
    let empty = Map::new();
    let auth = entry.get("auth").and_then(Value::as_object).unwrap_or(&empty);
    let fields = Fields {
        cloud_name,
        auth,
        entry,
    };
    let insecure = match entry.get("verify") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(verify)) => !verify,
        Some(Value::String(text)) => matches!(text.to_lowercase().as_str(), "false" | "no" | "0"),
        Some(_) => return Err(fields.wrong("verify", "it must be true or false")),
    };
    Ok(Cloud {
        login: Login {
            url: fields.required("auth_url")?,
            credentials: credentials(&fields)?,
            scope: scope(&fields),
        },
        region: region
            .map(str::to_owned)
            .or_else(|| text_of(entry, "region_name")),
        interface: interface(&fields)?,
        tls: Tls {
            authorities: cacert.filter(|pem| !pem.is_empty()).map(<[u8]>::to_vec),
            insecure,
        },
    })
}

struct Fields<'a> {
    cloud_name: &'a str,
    auth: &'a Map<String, Value>,
    entry: &'a Map<String, Value>,
}

fn text_of(map: &Map<String, Value>, key: &str) -> Option<String> {
    match map.get(key)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        // Passwords and names may look like numbers.
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

impl Fields<'_> {
    fn get(&self, key: &str) -> Option<String> {
        text_of(self.auth, key)
    }

    fn first(&self, keys: &[&str]) -> Option<String> {
        keys.iter().find_map(|key| self.get(key))
    }

    fn wrong(&self, key: &str, reason: &str) -> CloudError {
        wrong(format!("clouds.yaml: cloud {}: {key}", self.cloud_name), reason)
    }

    fn required(&self, key: &str) -> Result<String, CloudError> {
        self.get(key).ok_or_else(|| self.wrong(key, "it is missing"))
    }

    fn domain(&self, ids: &[&str], names: &[&str]) -> Option<DomainRef> {
        let id = self.first(ids).map(DomainRef::Id);
        id.or_else(|| self.first(names).map(DomainRef::Name))
    }

    /// The domain of the user; the one called `default` if nothing is said.
    fn user_domain(&self) -> DomainRef {
        self.domain(
            &["user_domain_id", "domain_id"],
            &["user_domain_name", "domain_name"],
        )
        .or_else(|| self.get("default_domain").map(DomainRef::Id))
        .unwrap_or_else(|| DomainRef::Id("default".to_owned()))
    }

    fn project_domain(&self) -> DomainRef {
        self.domain(
            &["project_domain_id", "domain_id"],
            &["project_domain_name", "domain_name"],
        )
        .or_else(|| self.domain(&["user_domain_id"], &["user_domain_name"]))
        .or_else(|| self.get("default_domain").map(DomainRef::Id))
        .unwrap_or_else(|| DomainRef::Id("default".to_owned()))
    }

    fn user(&self) -> Option<UserRef> {
        let id = self.first(&["user_id"]).map(UserRef::Id);
        id.or_else(|| {
            Some(UserRef::Name {
                name: self.first(&["username", "user_name"])?,
                domain: self.user_domain(),
            })
        })
    }
}

fn credentials(fields: &Fields<'_>) -> Result<Credentials, CloudError> {
    let has = |key| fields.get(key).is_some();
    let named = text_of(fields.entry, "auth_type");
    let method = match named.as_deref() {
        Some("password" | "v3password" | "v2password") => "password",
        Some("token" | "v3token" | "v2token") => "token",
        Some("v3applicationcredential") => "application credential",
        Some(_) => {
            let reason = "it is none of password, v3password, token, v3token, v3applicationcredential";
            return Err(fields.wrong("auth_type", reason));
        }
        None if has("application_credential_id") || has("application_credential_name") => {
            "application credential"
        }
        None if has("token") => "token",
        None => "password",
    };
    let user = |key| {
        fields
            .user()
            .ok_or_else(|| fields.wrong(key, "neither it nor user_id is there"))
    };
    Ok(match method {
        "password" => Credentials::Password {
            user: user("username")?,
            password: fields.required("password")?,
        },
        "token" => Credentials::Token {
            token: fields.required("token")?,
        },
        _ => match fields.get("application_credential_id") {
            Some(id) => Credentials::ApplicationCredentialId {
                id,
                secret: fields.required("application_credential_secret")?,
            },
            None => Credentials::ApplicationCredentialName {
                name: fields.required("application_credential_name")?,
                user: user("username")?,
                secret: fields.required("application_credential_secret")?,
            },
        },
    })
}

fn scope(fields: &Fields<'_>) -> Scope {
    if let Some(id) = fields.first(&["project_id", "tenant_id"]) {
        return Scope::ProjectId(id);
    }
    if let Some(name) = fields.first(&["project_name", "tenant_name"]) {
        return Scope::ProjectName {
            name,
            domain: fields.project_domain(),
        };
    }
    if fields.get("system_scope").is_some() {
        return Scope::System;
    }
    match fields.domain(&["domain_id"], &["domain_name"]) {
        Some(domain) => Scope::Domain(domain),
        None => Scope::Unscoped,
    }
}

fn interface(fields: &Fields<'_>) -> Result<InterfaceType, CloudError> {
    let (key, text) = ["interface", "endpoint_type"]
        .into_iter()
        .find_map(|key| Some((key, text_of(fields.entry, key)?)))
        .unwrap_or(("interface", "public".to_owned()));
    // Old configurations say "publicURL".
    match text.trim_end_matches("URL") {
        "public" => Ok(InterfaceType::Public),
        "internal" => Ok(InterfaceType::Internal),
        "admin" => Ok(InterfaceType::Admin),
        _ => Err(fields.wrong(key, "it is none of public, internal, admin")),
    }
}
