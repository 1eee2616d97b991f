//! Filters of the kinds as parameters of lists.

use crate::{
    api::{NetworkFilter, RouterFilter, SecurityGroupFilter, SubnetFilter},
    cloud::network::{Query, by},
};

/// What filters have in common.
struct Common<'a> {
    name: &'a Option<String>,
    description: &'a Option<String>,
    project: &'a Option<String>,
    tags: &'a [String],
    tags_any: &'a [String],
    not_tags: &'a [String],
    not_tags_any: &'a [String],
}

impl Common<'_> {
    fn query(&self) -> Query {
        let single = [
            ("name", self.name),
            ("description", self.description),
            ("project_id", self.project),
        ];
        let lists = [
            ("tags", self.tags),
            ("tags-any", self.tags_any),
            ("not-tags", self.not_tags),
            ("not-tags-any", self.not_tags_any),
        ];
        let single = single
            .into_iter()
            .filter_map(|(key, value)| Some(by(key, value.clone()?)));
        let lists = lists
            .into_iter()
            .filter(|(_, tags)| !tags.is_empty())
            .map(|(key, tags)| by(key, tags.join(",")));
        single
            .filter(|(_, value)| !value.is_empty())
            .chain(lists)
            .collect()
    }
}

macro_rules! common {
    ($filter:expr) => {
        Common {
            name: &$filter.name,
            description: &$filter.description,
            project: &$filter.project_id,
            tags: &$filter.tags,
            tags_any: &$filter.tags_any,
            not_tags: &$filter.not_tags,
            not_tags_any: &$filter.not_tags_any,
        }
    };
}

/// Parameters that match networks.
pub fn networks(filter: &NetworkFilter) -> Query {
    common!(filter).query()
}

/// Parameters that match routers.
pub fn routers(filter: &RouterFilter) -> Query {
    common!(filter).query()
}

/// Parameters that match security groups.
pub fn security_groups(filter: &SecurityGroupFilter) -> Query {
    common!(filter).query()
}

/// Parameters that match subnets, perhaps of one network only.
pub fn subnets(filter: &SubnetFilter, network: Option<&str>) -> Query {
    let mut query = common!(filter).query();
    let own = [
        ("cidr", filter.cidr.clone()),
        ("gateway_ip", filter.gateway_ip.clone()),
        (
            "ip_version",
            filter
                .ip_version
                .filter(|version| *version != 0)
                .map(|version| version.to_string()),
        ),
        ("ipv6_address_mode", filter.ipv6_address_mode.clone()),
        ("ipv6_ra_mode", filter.ipv6_ra_mode.clone()),
        ("network_id", network.map(str::to_owned)),
    ];
    query.extend(own.into_iter().filter_map(|(key, value)| Some(by(key, value?))));
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_become_parameters() {
        let filter = SubnetFilter {
            name: Some("n".into()),
            tags: vec!["a".into(), "b".into()],
            not_tags_any: vec!["c".into()],
            ip_version: Some(4),
            ..SubnetFilter::default()
        };
        let expected = [
            ("name", "n"),
            ("tags", "a,b"),
            ("not-tags-any", "c"),
            ("ip_version", "4"),
            ("network_id", "x"),
        ];
        assert_eq!(
            subnets(&filter, Some("x")),
            expected.map(|(key, value)| by(key, value))
        );
    }
}
