//! What a container may do.

use i2kit_contract::{
    ALL_CAPABILITIES, DEFAULT_CAPABILITIES, Seccomp, Security, User, short_capability,
};

use super::{Error, Planned, learned};
use crate::manifest::SeccompType;

impl Planned<'_> {
    /// As containerd's CRI makes it of the `securityContext`s.
    pub(super) fn security(&self) -> Result<Security, Error> {
        let own = &self.container.security;
        if own.privileged {
            // containerd gives a privileged container every capability and no filter.
            return Ok(Security {
                capabilities: Some(ALL_CAPABILITIES.map(str::to_owned).into()),
                privileged: true,
                read_only_root: own.read_only_root,
                unmasked_proc: true,
                ..Security::default()
            });
        }
        Ok(Security {
            capabilities: self.capabilities(),
            privileged: false,
            no_new_privileges: own.allow_privilege_escalation == Some(false),
            read_only_root: own.read_only_root,
            unmasked_proc: own.unmasked_proc,
            seccomp: self.seccomp()?,
        })
    }

    fn seccomp(&self) -> Result<Seccomp, Error> {
        let own = self.container.security.seccomp.as_ref();
        let pod = self.pod.security.seccomp.as_ref();
        match own.or(pod) {
            None | Some(SeccompType::Unconfined) => Ok(Seccomp::Unconfined),
            Some(SeccompType::RuntimeDefault) => Ok(Seccomp::RuntimeDefault),
            Some(SeccompType::Calls(calls)) => Ok(Seccomp::Profile(learned::filter(calls))),
            Some(SeccompType::Localhost(profile)) => {
                let found = self.pod.seccomp_profiles.get(profile).cloned();
                found.map(Seccomp::Profile).ok_or_else(|| Error::NoProfile {
                    container: self.name(),
                    profile: profile.clone(),
                })
            }
        }
    }

    /// `ALL` first, then single ones, added before dropped (containerd's `WithCapabilities`);
    /// `None` for the default.
    fn capabilities(&self) -> Option<Vec<String>> {
        let own = &self.container.security;
        if own.add.is_empty() && own.drop.is_empty() {
            return None;
        }
        let has = |list: &[String], name: &str| list.iter().any(|one| one == name);
        let granted = |full: &&&str| {
            let name = short_capability(full);
            let base = DEFAULT_CAPABILITIES.contains(full) || has(&own.add, "ALL");
            let base = base && !has(&own.drop, "ALL");
            (base || has(&own.add, name)) && !has(&own.drop, name)
        };
        let granted = ALL_CAPABILITIES.iter().filter(granted);
        Some(granted.map(|name| (*name).to_owned()).collect())
    }

    /// Refuses root where the manifest rules it out, as the kubelet does at the start.
    pub(super) fn check_non_root(&self, user: &User) -> Result<(), Error> {
        let own = self.container.security.run_as_non_root;
        let rule = own.or(self.pod.security.run_as_non_root);
        match rule == Some(true) && user.uid == 0 {
            true => Err(Error::Root {
                container: self.name(),
                image: self.image(),
            }),
            false => Ok(()),
        }
    }
}
