//! Who may approve and sign requests, and which requests nobody may make.

use serde_json::Value;

use super::request;
use super::{CLIENT, GROUP};
use crate::auth::attributes::Attributes;
use crate::auth::quote;
use crate::auth::user::MASTERS;
use crate::faults::{Fault, broken};
use crate::http::status::{ApiError, ApiResult};
use crate::verbs::{Call, Part};

/// Whether the writer may `approve` or `sign` for a signer, by name or by domain.
fn may(call: &Call<'_>, verb: &str, signer: &str) -> bool {
    let domain = signer.split('/').next().unwrap_or_default();
    [signer.to_owned(), format!("{domain}/*")].iter().any(|name| {
        let asked = Attributes::on(&call.request.user, verb, GROUP, "signers").named(name);
        call.inner.auth.allows(&asked)
    })
}

/// Refuses writes that their writer may not do.
pub(crate) fn check(call: &Call<'_>, part: Part, old: Option<&Value>, new: &Value) -> ApiResult<()> {
    if !call.served.resource.is(GROUP, "certificatesigningrequests") {
        return Ok(());
    }
    let refuse = |why: String| {
        let name = new["metadata"]["name"].as_str().unwrap_or_default();
        Err(ApiError::forbidden(call.gr(), name, &why))
    };
    let Some(old) = old else {
        if new["spec"]["signerName"] != CLIENT {
            return Ok(());
        }
        return match request::of(new) {
            Err(error) => refuse(format!("failed to parse CSR: {error}")),
            Ok(request) if request.organizations.iter().any(|group| group == MASTERS) => refuse(format!(
                "use of {CLIENT} signer with system:masters group is not allowed"
            )),
            Ok(_) => Ok(()),
        };
    };
    let signer = old["spec"]["signerName"].as_str().unwrap_or_default();
    let (before, after) = (&old["status"], &new["status"]);
    let verb = match part {
        Part::Approval => "approve",
        Part::Status
            if before["certificate"] != after["certificate"]
                || before["conditions"] != after["conditions"] =>
        {
            "sign"
        }
        _ => return Ok(()),
    };
    match may(call, verb, signer) || broken(Fault::OpenApproval) {
        true => Ok(()),
        false => refuse(format!(
            "user not permitted to {verb} requests with signerName {}",
            quote(signer)
        )),
    }
}
