//! Existing resources that specs refer to, by id or filter: exactly one must be found.

use crate::{
    Error,
    api::{NetworkParam, RouterParam, SecurityGroupParam, SubnetParam},
    cloud::{
        Session,
        network::{Network, Router, Subnet, by},
    },
    rules::filters,
};

fn missing(what: &str, id: &str) -> Error {
    Error::reference(format!("{what} {id}"), "it does not exist in OpenStack")
}

/// A network.
pub async fn network(session: &Session, param: &NetworkParam, external: bool) -> Result<Network, Error> {
    if let Some(id) = &param.id {
        return session.network(id).await?.ok_or_else(|| missing("network", id));
    }
    let mut query = param.filter.as_ref().map(filters::networks).unwrap_or_default();
    if external {
        query.push(by("router:external", "true"));
    }
    Error::only(session.networks(query).await?, || "network filter".to_owned())
}

/// A subnet, perhaps of one network only.
pub async fn subnet(session: &Session, param: &SubnetParam, network: Option<&str>) -> Result<Subnet, Error> {
    if let Some(id) = &param.id {
        let found = session.subnet(id).await?.ok_or_else(|| missing("subnet", id))?;
        return match network {
            Some(network) if found.network_id != network => {
                let reason = format!("it is in network {}, not in {network}", found.network_id);
                Err(Error::reference(format!("subnet {id}"), reason))
            }
            _ => Ok(found),
        };
    }
    let filter = param.filter.clone().unwrap_or_default();
    let found = session.subnets(filters::subnets(&filter, network)).await?;
    Error::only(found, || "subnet filter".to_owned())
}

/// A router.
pub async fn router(session: &Session, param: &RouterParam) -> Result<Router, Error> {
    if let Some(id) = &param.id {
        return session.router(id).await?.ok_or_else(|| missing("router", id));
    }
    let query = param.filter.as_ref().map(filters::routers).unwrap_or_default();
    Error::only(session.routers(query).await?, || "router filter".to_owned())
}

/// Security groups, by id. A filter may match several.
pub async fn security_groups(session: &Session, params: &[SecurityGroupParam]) -> Result<Vec<String>, Error> {
    let mut ids = Vec::new();
    for param in params {
        let found = match (&param.id, &param.filter) {
            (Some(id), _) => vec![id.clone()],
            (None, filter) => {
                let query = filter.as_ref().map(filters::security_groups).unwrap_or_default();
                session
                    .security_groups(query)
                    .await?
                    .into_iter()
                    .map(|group| group.id)
                    .collect()
            }
        };
        if found.is_empty() {
            return Err(Error::reference(
                "security group filter",
                "nothing in OpenStack matches",
            ));
        }
        for id in found {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
    Ok(ids)
}
