//! How many etcd members must be healthy. Pure arithmetic.

use super::etcd::{EtcdError, EtcdMember};

/// How many of `voting` members must be healthy for etcd to accept writes.
pub fn needed(voting: usize) -> usize {
    voting / 2 + 1
}

/// What an etcd cluster would look like after a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    /// Members that vote.
    pub voting: usize,
    /// Members that do not vote yet, and such that have not started.
    pub learners: usize,
    /// Voting members that are healthy.
    pub healthy: usize,
}

impl Projection {
    /// The members without `removed`, and with another one if `added`.
    ///
    /// Of a member that is added the worst is assumed: that it never becomes healthy. Only where there is a single member
    /// the best, as otherwise there could never be two.
    pub fn of(
        members: &[EtcdMember],
        removed: Option<&str>,
        added: bool,
        healthy: impl Fn(&EtcdMember) -> bool,
    ) -> Self {
        let mut projection = Self::default();
        if added {
            projection.voting += 1;
            projection.healthy += usize::from(members.len() <= 1);
        }
        for member in members {
            if removed.is_some_and(|name| !name.is_empty() && name == member.name) {
                continue;
            }
            if member.learner || member.name.is_empty() {
                projection.learners += 1;
                continue;
            }
            projection.voting += 1;
            projection.healthy += usize::from(healthy(member));
        }
        projection
    }

    /// Etcd accepts writes, and nobody is on the way to become a voter.
    pub fn is_safe(&self) -> bool {
        self.learners == 0 && self.healthy >= needed(self.voting)
    }
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
    fn a_change_is_projected_with_the_worst_in_mind() {
        // members, removed, added, healthy, safe
        type Case = (
            &'static [&'static str],
            Option<&'static str>,
            bool,
            &'static [&'static str],
            bool,
        );
        let cases: &[Case] = &[
            (&["a", "b", "c"], Some("c"), false, &["a", "b"], true),
            (&["a", "b", "c"], Some("c"), false, &["a"], false),
            (
                &["a", "b", "c", "d", "e"],
                Some("e"),
                false,
                &["a", "b", "c"],
                true,
            ),
            (&["a", "b", "c", "d", "e"], Some("e"), false, &["a", "b"], false),
            (&["a", "b", "c", "d"], None, true, &["a", "b", "c"], true),
            (&["a", "b", "c", "d"], None, true, &["a", "b"], false),
            (&["a", "b"], None, true, &["a", "b"], true),
            (&["a", "b"], None, true, &["a"], false),
            (&["a"], None, true, &["a"], true),
            (&["a", "b", "c", ""], Some("c"), false, &["a", "b", ""], false),
            (
                &["a", "b", "c", "learner"],
                Some("c"),
                false,
                &["a", "b", "learner"],
                false,
            ),
            (&["a", "b", "learner"], Some("learner"), false, &["a", "b"], true),
            (&["a"], Some("a"), false, &["a"], false),
        ];
        for (names, removed, added, healthy, safe) in cases {
            let projection = Projection::of(&members(names), *removed, *added, |member| {
                healthy.contains(&member.name.as_str())
            });
            assert_eq!(
                projection.is_safe(),
                *safe,
                "{names:?} without {removed:?}, added {added}, healthy {healthy:?}: {projection:?}"
            );
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
