//! Asking the webhooks: mutating ones one after the other, validating ones beside each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::core::admission::Operation;
use serde_json::Value;

use super::config::Hook;
use super::matter::{Failure, Matter, is_exempt, settle};
use super::review::Verdict;
use crate::http::status::{ApiError, ApiResult};
use crate::patch;
use crate::verbs::{Call, convert};

/// The object on its way through the mutating hooks, in the version that the last of them wanted.
struct Moving<'a> {
    matter: &'a Matter<'a>,
    version: String,
    object: Option<Value>,
    old: Option<Value>,
}

impl Moving<'_> {
    async fn to(&mut self, version: &str) -> ApiResult<()> {
        if version == self.version {
            return Ok(());
        }
        for value in [&mut self.object, &mut self.old].into_iter().flatten() {
            *value = change_version(self.matter, value.take(), version).await?;
        }
        self.version = version.to_owned();
        Ok(())
    }

    /// Applies a hook's patch; tells whether anything changed.
    fn patch(&mut self, hook: &Hook, patch: &[u8]) -> ApiResult<bool> {
        let parsed: Value = serde_json::from_slice(patch).unwrap_or_default();
        if parsed.as_array().is_some_and(Vec::is_empty) {
            return Ok(false);
        }
        let Some(object) = &mut self.object else {
            return Err(ApiError::internal(format!(
                "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
                hook.name
            )));
        };
        let mut patched = patch::json_patch(object, patch).map_err(ApiError::internal)?;
        if let Some(served) = self
            .matter
            .served(&self.version)
            .filter(|_| self.matter.call.request.subresource != "scale")
        {
            convert::normalize(&served, &mut patched);
        }
        let changed = patched != *object;
        *object = patched;
        Ok(changed)
    }
}

async fn change_version(matter: &Matter<'_>, value: Value, version: &str) -> ApiResult<Value> {
    // What is sent for these has a kind of its own, in one version.
    if matches!(matter.call.request.subresource.as_str(), "scale" | "eviction") {
        return Ok(value);
    }
    let served = matter.served(version).ok_or_else(|| {
        ApiError::internal(format!(
            "unable to convert to {}/{version}: unknown kind",
            matter.call.gr().group
        ))
    })?;
    convert::between(matter.call.inner, &served, value)
        .await
        .map_err(|error| ApiError::internal(error.message))
}

/// Asks the mutating webhooks; they change `object`.
pub(crate) async fn mutate(
    call: &Call<'_>,
    operation: &Operation,
    object: Option<&mut Value>,
    old: Option<&Value>,
    warnings: &mut Vec<String>,
) -> ApiResult<()> {
    let hooks = call.inner.webhooks.hooks(call.inner, true);
    if hooks.is_empty() || is_exempt(call) {
        return Ok(());
    }
    let matter = Matter::new(call, operation, object.as_deref(), old)?;
    let mut moving = Moving {
        matter: &matter,
        version: call.version().name.clone(),
        object: object.as_deref().cloned(),
        old: old.cloned(),
    };
    let mut changed = false;
    // Hooks that want to be asked again when a later one changes something, and those for which that happened.
    let (mut asked, mut again) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..2 {
        for hook in hooks.iter() {
            let (object, old) = (moving.object.as_ref(), moving.old.as_ref());
            let Some(version) = matter.version_for(hook, object, old)? else {
                continue;
            };
            if round == 1 && !again.contains(&hook.id) {
                continue;
            }
            moving.to(version).await?;
            let (object, old) = (moving.object.as_ref(), moving.old.as_ref());
            if !matter.wants(hook, version, object, old)? {
                continue;
            }
            let outcome = matter.ask(hook, true, version, object, old).await;
            let verdict = settle(hook, outcome, warnings)?;
            if let Some(verdict) = verdict.filter(|verdict| !verdict.patch.is_empty()) {
                match decodable(hook, &verdict) {
                    Ok(()) if moving.patch(hook, &verdict.patch)? => {
                        changed = true;
                        again.append(&mut asked);
                    }
                    Ok(()) => {}
                    Err(why) => {
                        settle(hook, Err(Failure::Called(why)), warnings)?;
                    }
                }
            }
            if hook.reinvoked {
                asked.insert(hook.id.clone());
            }
        }
        if again.is_empty() {
            break;
        }
    }
    if let (true, Some(object)) = (changed, object) {
        moving.to(&call.version().name).await?;
        *object = moving.object.take().unwrap_or_default();
    }
    Ok(())
}

fn decodable(hook: &Hook, verdict: &Verdict) -> Result<(), String> {
    let why = match serde_json::from_slice::<Value>(&verdict.patch) {
        // An empty patch is of no type.
        Ok(Value::Array(steps)) if steps.is_empty() || verdict.patch_type == "JSONPatch" => return Ok(()),
        Ok(Value::Array(_)) => format!("unsupported patch type {:?}", verdict.patch_type),
        Ok(other) => format!(
            "received undecodable patch in webhook response: json: cannot unmarshal {} into Go value of type jsonpatch.Patch",
            patch::go_kind(&other)
        ),
        Err(error) => format!("received undecodable patch in webhook response: {error}"),
    };
    Err(format!("failed calling webhook {:?}: {why}", hook.name))
}

/// Asks the validating webhooks.
pub(crate) async fn validate(
    call: &Call<'_>,
    operation: &Operation,
    object: Option<&Value>,
    old: Option<&Value>,
    warnings: &mut Vec<String>,
) -> ApiResult<()> {
    let hooks = call.inner.webhooks.hooks(call.inner, false);
    if hooks.is_empty() || is_exempt(call) {
        return Ok(());
    }
    let matter = Matter::new(call, operation, object, old)?;
    let own = call.version().name.as_str();
    // What the hooks see, by version.
    let mut seen: BTreeMap<&str, (Option<Value>, Option<Value>)> = BTreeMap::new();
    seen.insert(own, (object.cloned(), old.cloned()));
    let mut relevant: Vec<(Arc<Hook>, &str)> = Vec::new();
    for hook in hooks.iter() {
        let Some(version) = matter.version_for(hook, object, old)? else {
            continue;
        };
        if !seen.contains_key(version) {
            let mut moving = Moving {
                matter: &matter,
                version: own.to_owned(),
                object: object.cloned(),
                old: old.cloned(),
            };
            moving.to(version).await?;
            seen.insert(version, (moving.object, moving.old));
        }
        let (object, old) = &seen[version];
        if matter.wants(hook, version, object.as_ref(), old.as_ref())? {
            relevant.push((hook.clone(), version));
        }
    }
    let calls = relevant.iter().map(|(hook, version)| {
        let (object, old) = &seen[version];
        matter.ask(hook, false, version, object.as_ref(), old.as_ref())
    });
    let outcomes = futures::future::join_all(calls).await;
    let mut first = Ok(());
    for ((hook, _), outcome) in relevant.iter().zip(outcomes) {
        let settled = settle(hook, outcome, warnings).map(|_| ());
        if first.is_ok() {
            first = settled;
        }
    }
    first
}
