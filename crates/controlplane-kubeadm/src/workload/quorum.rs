//! How many etcd members must be healthy. Pure arithmetic.

use super::etcd::{EtcdError, EtcdMember};

/// How many of `voting` members must be healthy for etcd to accept writes.
pub fn needed(voting: usize) -> usize {
    voting / 2 + 1
}

/// Fails if etcd would have no quorum after the member `id` is removed.
pub fn check_removal(
    members: &[EtcdMember],
    id: u64,
    healthy: impl Fn(&EtcdMember) -> bool,
) -> Result<(), EtcdError> {
    let left: Vec<&EtcdMember> = members
        .iter()
        .filter(|member| member.id != id && !member.learner)
        .collect();
    let healthy = left.iter().filter(|member| healthy(member)).count();
    let needed = needed(left.len());
    match healthy >= needed {
        true => Ok(()),
        false => Err(EtcdError::Quorum {
            name: members
                .iter()
                .find(|member| member.id == id)
                .map(|member| member.name.clone())
                .unwrap_or_default(),
            healthy,
            voting: left.len(),
            needed,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(names: &[&str]) -> Vec<EtcdMember> {
        let member = |(i, name): (usize, &&str)| EtcdMember {
            id: i as u64 + 1,
            name: (*name).to_owned(),
            learner: name.starts_with("learner"),
        };
        names.iter().enumerate().map(member).collect()
    }

    #[test]
    fn a_majority_of_voting_members_is_needed() {
        for (voting, expected) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (7, 4)] {
            assert_eq!(needed(voting), expected, "{voting}");
        }
    }

    #[test]
    fn a_member_may_go_only_if_the_rest_keeps_a_quorum() {
        let cases: &[(&[&str], &str, &[&str], bool)] = &[
            (&["a", "b", "c"], "a", &["b", "c"], true),
            (&["a", "b", "c"], "a", &["a", "b"], false),
            (&["a", "b"], "a", &["b"], true),
            (&["a"], "a", &["a"], false),
            (&["a", "b", "c", "d", "e"], "e", &["a", "b"], false),
            (&["a", "b", "c", "d", "e"], "e", &["a", "b", "c"], true),
            (&["a", "b", "learner"], "b", &["a", "learner"], true),
        ];
        for (names, gone, healthy, allowed) in cases {
            let members = members(names);
            let id = members.iter().find(|member| member.name == *gone).unwrap().id;
            let result = check_removal(&members, id, |member| healthy.contains(&member.name.as_str()));
            assert_eq!(
                result.is_ok(),
                *allowed,
                "{names:?} without {gone}, healthy {healthy:?}"
            );
        }
    }
}
