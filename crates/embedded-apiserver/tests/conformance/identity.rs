//! Who sends the requests of a case: `user` acts as somebody else, `bearer` proves it by a token (empty: not at all), and
//! `keep` remembers parts of an answer, such as tokens.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use embedded_apiserver::{
    Authentication, Authorization, Builder, CertificateAuthority, ServiceAccounts, User,
};
use http::{HeaderName, HeaderValue, Request};
use kube::client::Body;
use serde_json::Value;

/// Who sends a request.
#[derive(Default, Clone)]
pub struct Identity {
    headers: Vec<(String, String)>,
    bearer: Option<String>,
    keep: Vec<(String, String)>,
}

impl Identity {
    pub fn read(step: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut headers = Vec::new();
        let mut put = |name: &str, value: &Value| {
            if !value.is_null() {
                headers.push((name.to_owned(), text(value)));
            }
        };
        let user = &step["user"];
        put("impersonate-user", &user["name"]);
        put("impersonate-uid", &user["uid"]);
        for group in user["groups"].as_array().into_iter().flatten() {
            put("impersonate-group", group);
        }
        for (key, values) in user["extra"].as_object().into_iter().flatten() {
            for value in values.as_array().unwrap() {
                put(&format!("impersonate-extra-{key}"), value);
            }
        }
        let keep = step["keep"].as_object().into_iter().flatten();
        Self {
            headers,
            bearer: step["bearer"].as_str().map(str::to_owned),
            keep: keep
                .map(|(name, pointer)| (name.clone(), text(pointer)))
                .collect(),
        }
    }

    /// With the names of the case filled in.
    pub fn filled(&self, fill: &dyn Fn(&str) -> String) -> Self {
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), fill(value)));
        Self {
            headers: headers.collect(),
            bearer: self.bearer.as_deref().map(fill),
            keep: Vec::new(),
        }
    }

    pub fn is_stranger(&self) -> bool {
        self.bearer.is_some()
    }

    pub fn sign(&self, mut request: Request<Body>) -> Request<Body> {
        let bearer = self.bearer.as_deref().filter(|token| !token.is_empty());
        let bearer = bearer.map(|token| ("authorization".to_owned(), format!("Bearer {token}")));
        for (name, value) in self.headers.iter().cloned().chain(bearer) {
            let (name, value) = (
                HeaderName::try_from(name).unwrap(),
                HeaderValue::try_from(value).unwrap(),
            );
            request.headers_mut().append(name, value);
        }
        request
    }

    /// Remembers parts of an answer; a pointer that begins with `base64:` is decoded.
    pub fn keep(&self, body: &Value, names: &mut Vec<(String, String)>) {
        for (name, pointer) in &self.keep {
            let (decode, pointer) = match pointer.strip_prefix("base64:") {
                Some(pointer) => (true, pointer),
                None => (false, pointer.as_str()),
            };
            let text = body.pointer(pointer).and_then(Value::as_str).unwrap_or("nothing");
            let text = match decode {
                true => String::from_utf8(STANDARD.decode(text).unwrap_or_default()).unwrap(),
                false => text.to_owned(),
            };
            names.push((name.clone(), text));
        }
    }
}

/// The embedded server as the real one is started by hack/envtest/run.
pub fn configured(builder: Builder) -> Builder {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = CertificateAuthority {
        certificate: params.self_signed(&key).unwrap().pem(),
        key: Some(key.serialize_pem()),
    };
    let accounts = ServiceAccounts {
        issuer: "https://kubernetes.default.svc".to_owned(),
        ..ServiceAccounts::new(rcgen::KeyPair::generate().unwrap().serialize_pem())
    };
    let mut jane = User::new("jane", &["testers", "friends"]);
    jane.uid = "42".to_owned();
    let authentication = Authentication {
        tokens: [("token-of-jane".to_owned(), jane)].into(),
        service_accounts: Some(accounts),
        ..Authentication::default()
    };
    builder
        .authentication(authentication)
        .authorization(Authorization::Rbac)
        .certificate_authority(authority)
}

/// A configuration that proves nothing.
pub fn without(mut config: kube::Config) -> kube::Config {
    config.auth_info = Default::default();
    config
}
