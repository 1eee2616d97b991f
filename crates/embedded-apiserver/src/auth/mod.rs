//! Who sends a request (authentication) and whether that is allowed (authorization).
//!
//! [`admit`] is where every request from outside comes through: it finds out the user, lets users act as others, and asks
//! the policy. The server's own controllers do not come through here. What is checked later, while an object is written,
//! has rooms of its own: `rbac::escalation`, `crate::csr`.

pub(crate) mod attributes;
mod authenticate;
mod bootstrap_token;
mod config;
pub(crate) mod controllers;
mod impersonate;
pub(crate) mod rbac;
pub(crate) mod reviews;
pub(crate) mod service_account;
pub(crate) mod user;

use std::collections::BTreeMap;

use http::HeaderMap;
use parking_lot::{Mutex, RwLock};

pub(crate) use authenticate::token as authenticate_token;
pub use config::{Authentication, Authorization, ServiceAccounts};
pub use user::User;

use crate::csr::Authority;
use crate::faults::{Fault, broken};
use crate::http::request::Request;
use crate::http::status::{ApiError, ApiResult};
use crate::server::Inner;
use crate::storage::{GroupResource, Object, Store};
use attributes::Attributes;
use rbac::rules::Rule;
use rbac::{Policy, RoleRef};

pub(crate) use crate::schema::quote;

/// A list of strings as Go prints it with `%q`.
pub(crate) fn quote_list<S: AsRef<str>>(list: &[S]) -> String {
    let quoted: Vec<String> = list.iter().map(|text| quote(text.as_ref())).collect();
    format!("[{}]", quoted.join(" "))
}

/// Several errors as upstream prints them together.
pub(crate) fn aggregate_text(errors: &[String]) -> String {
    match errors {
        [one] => one.clone(),
        [] => String::new(),
        several => {
            let mut seen: Vec<&str> = Vec::new();
            for error in several {
                if !seen.contains(&error.as_str()) {
                    seen.push(error);
                }
            }
            match seen.as_slice() {
                [one] => (*one).to_owned(),
                seen => format!("[{}]", seen.join(", ")),
            }
        }
    }
}

/// What authorization decided.
#[derive(Debug)]
pub(crate) struct Decision {
    pub allowed: bool,
    pub reason: String,
}

/// What a server knows about users and what they may do.
pub(crate) struct Auth {
    authentication: Authentication,
    mode: Authorization,
    /// Who makes and checks tokens of service accounts.
    pub issuer: Option<service_account::Issuer>,
    /// Who signs certificates.
    pub authority: Option<Authority>,
    policy: RwLock<Policy>,
    /// The way in which each user acted as somebody else last; it is tried first.
    impersonations: Mutex<BTreeMap<String, impersonate::Mode>>,
}

impl Auth {
    pub fn new(
        authentication: Authentication,
        mode: Authorization,
        issuer: Option<service_account::Issuer>,
        authority: Option<Authority>,
    ) -> Self {
        Self {
            authentication,
            mode,
            issuer,
            authority,
            policy: RwLock::default(),
            impersonations: Mutex::default(),
        }
    }

    /// Takes in what a snapshot holds.
    pub fn load(&self, store: &Store) {
        for resource in Policy::resources() {
            for object in store.list(&resource, "").0 {
                self.note(&resource, &object, false);
            }
        }
    }

    /// Whether there is a policy at all.
    pub fn is_enforced(&self) -> bool {
        self.mode == Authorization::Rbac
    }

    /// Takes in a change of what is stored.
    pub fn note(&self, gr: &GroupResource, object: &Object, deleted: bool) {
        if self.is_enforced() && &*gr.group == rbac::GROUP {
            self.policy.write().note(gr, object, deleted);
        }
    }

    /// Decides, with the reason.
    pub fn decide(&self, asked: &Attributes<'_>) -> Decision {
        if !self.is_enforced() || asked.user.is_in(user::MASTERS) {
            return Decision {
                allowed: true,
                reason: String::new(),
            };
        }
        match self.policy.read().find(asked) {
            Ok(source) => Decision {
                allowed: true,
                reason: format!("RBAC: allowed by {source}"),
            },
            Err(errors) if errors.is_empty() => Decision {
                allowed: false,
                reason: String::new(),
            },
            Err(errors) => Decision {
                allowed: false,
                reason: format!("RBAC: {}", aggregate_text(&errors)),
            },
        }
    }

    /// Decides.
    pub fn allows(&self, asked: &Attributes<'_>) -> bool {
        !self.is_enforced() || asked.user.is_in(user::MASTERS) || self.policy.read().find(asked).is_ok()
    }

    /// Refuses what is not allowed.
    pub fn check(&self, asked: &Attributes<'_>) -> ApiResult<()> {
        // The reason of what is allowed is never shown here, so it is not put together.
        let hole = broken(Fault::RbacHole) && asked.verb == "list";
        if !self.is_enforced() || asked.user.is_in(user::MASTERS) || hole {
            return Ok(());
        }
        match self.policy.read().find(asked) {
            Ok(_) => Ok(()),
            Err(errors) if errors.is_empty() => Err(asked.forbidden("")),
            Err(errors) => Err(asked.forbidden(&format!("RBAC: {}", aggregate_text(&errors)))),
        }
    }

    /// The rules that apply to a user in a namespace, and what went wrong with some.
    pub fn rules_of(&self, user: &User, namespace: &str, asked: Option<&str>) -> (Vec<Rule>, Vec<String>) {
        self.policy.read().rules_of(user, namespace, asked)
    }

    /// The rules of a role; `None` if it is not there.
    pub fn rules_of_role(&self, role: &RoleRef, namespace: &str) -> Option<Vec<Rule>> {
        self.policy.read().role(role, namespace).map(<[Rule]>::to_vec)
    }
}

/// Finds out who sends a request, notes it in the request, and refuses what is not allowed. `caller` is the user whom the
/// connection proved, if it did.
pub(crate) fn admit(
    inner: &Inner,
    headers: &HeaderMap,
    caller: Option<User>,
    request: &mut Request,
) -> ApiResult<()> {
    let user = match caller {
        Some(user) => user,
        None => authenticate::request(inner, headers)
            .ok_or_else(|| ApiError::new(401, "Unauthorized", "Unauthorized"))?,
    };
    request.user = match impersonate::wanted(headers)? {
        None => user,
        Some(wanted) if broken(Fault::OpenImpersonation) => wanted,
        Some(wanted) => impersonate::authorize(&inner.auth, request, &user, wanted)?,
    };
    inner.auth.check(&Attributes::of(request, &request.user))
}
