//! The choice among old AMIs, on what is known of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use crate::push::cloud::Ami;
use crate::push::{tags, times};

/// What may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The newest of each name that stay, in each region.
    pub keep: usize,
    /// None that is younger goes.
    pub older_than: Option<Duration>,
    /// Only AMIs of this name.
    pub name: Option<String>,
}

/// Why an AMI stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// Among the newest of its name.
    Newest,
    /// Not old enough, or nobody knows how old.
    Young,
    /// It has deregistration protection.
    Protected,
    /// An instance, a launch template or an autoscaling group names it.
    InUse,
    /// It is being made.
    Unfinished,
}

impl Kept {
    /// For a person.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Newest => "among the newest",
            Self::Young => "too young",
            Self::Protected => "protected from being deregistered",
            Self::InUse => "in use",
            Self::Unfinished => "not finished",
        }
    }
}

/// What goes and what stays, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// To be removed.
    pub remove: Vec<Ami>,
    /// Those that stay, and why.
    pub kept: Vec<(Ami, Kept)>,
}

/// Chooses among the AMIs of one region at `now`, seconds since 1970. What i2kit did not make, and
/// what has another name than the rule's, is in neither list.
#[must_use]
pub fn select(amis: Vec<Ami>, rule: &Rule, in_use: &BTreeSet<String>, now: u64) -> Selection {
    let mut by_name: BTreeMap<String, Vec<Ami>> = BTreeMap::new();
    for ami in amis.into_iter().filter(|ami| tags::is_ours(&ami.tags)) {
        let name = ami.tags.get(tags::NAME).cloned().unwrap_or_default();
        if rule.name.as_ref().is_none_or(|wanted| *wanted == name) {
            by_name.entry(name).or_default().push(ami);
        }
    }
    let mut selection = Selection::default();
    for mut amis in by_name.into_values() {
        amis.sort_by(|one, other| tags::order(one).cmp(&tags::order(other)));
        // One that never became available keeps no other from staying.
        let mut newer = amis.iter().filter(|ami| is_available(ami)).count();
        for ami in amis {
            newer -= usize::from(is_available(&ami));
            match kept(&ami, newer, rule, in_use, now) {
                Some(why) => selection.kept.push((ami, why)),
                None => selection.remove.push(ami),
            }
        }
    }
    selection
}

fn is_available(ami: &Ami) -> bool {
    ami.state == "available"
}

/// Why the AMI, of which `newer` available ones are there, stays.
fn kept(ami: &Ami, newer: usize, rule: &Rule, in_use: &BTreeSet<String>, now: u64) -> Option<Kept> {
    let is_young = || {
        rule.older_than.is_some_and(|least| {
            let age = times::seconds(&ami.creation_date).and_then(|then| now.checked_sub(then));
            age.is_none_or(|age| age <= least.as_secs())
        })
    };
    if matches!(ami.state.as_str(), "pending" | "transient") {
        Some(Kept::Unfinished)
    } else if in_use.contains(&ami.id) {
        Some(Kept::InUse)
    } else if ami.protected {
        Some(Kept::Protected)
    } else if newer < rule.keep && is_available(ami) {
        Some(Kept::Newest)
    } else if is_young() {
        Some(Kept::Young)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;

    const DAY: u64 = 24 * 3600;
    const NOW: u64 = 1_769_860_800;

    fn ami(number: usize, name: &str, age_days: u64, state: &str) -> Ami {
        let tags = [(tags::NAME, name), (tags::DISK_DIGEST, "sha256:00")];
        Ami {
            id: format!("ami-{number}"),
            state: state.to_owned(),
            creation_date: times::text(NOW - age_days * DAY).unwrap(),
            tags: tags
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ..Ami::default()
        }
    }

    fn removed(selection: &Selection) -> Vec<&str> {
        selection.remove.iter().map(|ami| ami.id.as_str()).collect()
    }

    #[test]
    fn the_newest_stay_and_the_old_go() {
        let amis = || (0..5).map(|number| ami(number, "web", 10 * number as u64, "available"));
        let mut rule = Rule {
            keep: 2,
            ..Rule::default()
        };
        let none = BTreeSet::new();
        let selection = select(amis().collect(), &rule, &none, NOW);
        assert_eq!(removed(&selection), ["ami-4", "ami-3", "ami-2"]);
        rule.older_than = Some(Duration::from_secs(25 * DAY));
        let selection = select(amis().collect(), &rule, &none, NOW);
        assert_eq!(removed(&selection), ["ami-4", "ami-3"]);
        let in_use = BTreeSet::from(["ami-4".to_owned()]);
        let selection = select(amis().collect(), &rule, &in_use, NOW);
        assert_eq!(removed(&selection), ["ami-3"]);
        rule.name = Some("other".to_owned());
        assert_eq!(
            select(amis().collect(), &rule, &none, NOW),
            Selection::default()
        );
    }

    #[test]
    fn one_that_failed_takes_no_place_among_the_newest() {
        let amis = vec![
            ami(0, "web", 0, "failed"),
            ami(1, "web", 1, "available"),
            ami(2, "web", 2, "pending"),
        ];
        let rule = Rule {
            keep: 1,
            ..Rule::default()
        };
        let selection = select(amis, &rule, &BTreeSet::new(), NOW);
        assert_eq!(removed(&selection), ["ami-0"]);
    }

    #[test]
    fn an_age_that_cannot_be_read_is_young() {
        let mut unreadable = ami(1, "web", 9, "available");
        unreadable.creation_date = "long ago".to_owned();
        let rule = Rule {
            older_than: Some(Duration::from_secs(DAY)),
            ..Rule::default()
        };
        let selection = select(vec![unreadable], &rule, &BTreeSet::new(), NOW);
        assert!(selection.remove.is_empty());
    }

    /// An AMI of any kind.
    fn any_ami(number: usize) -> impl Strategy<Value = Ami> {
        let state = prop::sample::select(vec!["available", "pending", "failed", "disabled"]);
        let name = prop::sample::select(vec!["web", "db", ""]);
        let fields = (name, 0..100u64, state, any::<bool>(), 0..4u8);
        fields.prop_map(move |(name, age, state, protected, theirs)| {
            let mut ami = ami(number, name, age, state);
            ami.protected = protected;
            if theirs == 0 {
                ami.tags.remove(tags::DISK_DIGEST);
            }
            ami
        })
    }

    fn any_amis() -> impl Strategy<Value = Vec<Ami>> {
        vec(any::<prop::sample::Index>(), 0..30)
            .prop_flat_map(|list| (0..list.len()).map(any_ami).collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn nothing_goes_that_must_stay(
            amis in any_amis(),
            used in btree_set(0..30usize, 0..10),
            keep in 0..5usize,
            days in proptest::option::of(0..100u64),
        ) {
            let in_use: BTreeSet<String> = used.iter().map(|one| format!("ami-{one}")).collect();
            let older_than = days.map(|days| Duration::from_secs(days * DAY));
            let rule = Rule { keep, older_than, name: None };
            let selection = select(amis.clone(), &rule, &in_use, NOW);
            let gone: BTreeSet<&str> = removed(&selection).into_iter().collect();
            for ami in &selection.remove {
                prop_assert!(tags::is_ours(&ami.tags) && !ami.protected);
                prop_assert!(!in_use.contains(&ami.id) && ami.state != "pending");
                let age = NOW - times::seconds(&ami.creation_date).unwrap();
                prop_assert!(days.is_none_or(|days| age > days * DAY));
            }
            // Each of ours is in one list.
            let ours = amis.iter().filter(|ami| tags::is_ours(&ami.tags)).count();
            prop_assert_eq!(ours, selection.remove.len() + selection.kept.len());
            for name in ["web", "db", ""] {
                let is_one = |ami: &&Ami| {
                    tags::is_ours(&ami.tags) && is_available(ami) && ami.tags[tags::NAME] == name
                };
                let there = amis.iter().filter(is_one).count();
                let left = amis.iter().filter(is_one).filter(|ami| !gone.contains(ami.id.as_str()));
                prop_assert!(left.count() >= there.min(keep));
            }
            // What stays for no other reason than its age or rank has a younger one beside it, or
            // is itself young: a second run removes nothing more.
            let left = amis.into_iter().filter(|ami| !gone.contains(ami.id.as_str())).collect();
            prop_assert!(select(left, &rule, &in_use, NOW).remove.is_empty());
        }
    }
}
