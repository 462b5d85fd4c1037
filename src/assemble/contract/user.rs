//! Who a container runs as.

use i2kit_contract::User;

use super::accounts::{Account, Group, Id};
use super::{Error, Planned};

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

impl Planned<'_> {
    /// Who the process runs as. `runAsUser` stands in for the image's `User`, its group included;
    /// `runAsGroup` for the group alone. A user without a group has the one of `/etc/passwd`,
    /// and one that is not there has group 0 (containerd's `oci.WithUser`).
    ///
    /// The image's group counts when there is no `runAsUser`, as in containerd and Docker; the
    /// kubelet loses it on its way to the CRI.
    pub(super) fn user(&self) -> Result<User, Error> {
        let run_as_user = self
            .container
            .security
            .run_as_user
            .or(self.pod.security.run_as_user);
        let run_as_group = self
            .container
            .security
            .run_as_group
            .or(self.pod.security.run_as_group);
        let (user, group) = match run_as_user {
            Some(uid) => (Id::Number(uid), None),
            None => self.image_user()?,
        };
        let group = run_as_group.map(Id::Number).or(group);
        let account = self.account(&user)?;
        let gid = match group {
            Some(Id::Number(gid)) => gid,
            Some(Id::Name(name)) => self.gid_of(name)?,
            None => account.gid,
        };
        Ok(User {
            uid: account.uid,
            gid,
            additional_gids: self.additional_gids(account.name.as_deref(), gid)?,
        })
    }

    /// The config's `User`: `user`, `uid`, and either with `:group` or `:gid`. Root when empty.
    fn image_user(&self) -> Result<(Id<'_>, Option<Id<'_>>), Error> {
        let text = self.config.user().as_deref().unwrap_or_default();
        if text.is_empty() {
            return Ok((Id::Number(0), None));
        }
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let bad = || Error::BadUser {
            container: self.name(),
            image: self.image(),
            user: text.to_owned(),
        };
        let user = Id::parse(user).ok_or_else(bad)?;
        let group = group.map(|group| Id::parse(group).ok_or_else(bad));
        Ok((user, group.transpose()?))
    }

    fn account(&self, user: &Id<'_>) -> Result<Account, Error> {
        let passwd = self.read(PASSWD)?;
        let mut accounts = passwd.lines().filter_map(Account::parse);
        match *user {
            Id::Number(uid) => {
                let found = accounts.find(|account| account.uid == uid);
                Ok(found.unwrap_or(Account {
                    name: None,
                    uid,
                    gid: 0,
                }))
            }
            Id::Name(name) => accounts
                .find(|account| account.name.as_deref() == Some(name))
                .ok_or_else(|| self.unknown("user", name, PASSWD)),
        }
    }

    fn gid_of(&self, name: &str) -> Result<u32, Error> {
        let groups = self.read(GROUP)?;
        let found = groups
            .lines()
            .filter_map(Group::parse)
            .find(|group| group.name == name);
        found
            .map(|group| group.gid)
            .ok_or_else(|| self.unknown("group", name, GROUP))
    }

    /// Groups that list the user as a member, bar the one of the user's own name (containerd's
    /// `oci.WithAdditionalGIDs`), and those of the manifest.
    fn additional_gids(&self, user: Option<&str>, gid: u32) -> Result<Vec<u32>, Error> {
        let asked = &self.pod.pod_security;
        let mut gids = asked.supplemental_groups.clone();
        gids.extend(asked.fs_group.map(|group| group.gid));
        if let Some(user) = user.filter(|_| !asked.strict_groups) {
            let groups = self.read(GROUP)?;
            let groups = groups.lines().filter_map(Group::parse);
            let is_member =
                |g: &Group<'_>| g.name != user && g.members.split(',').any(|m| m == user);
            gids.extend(groups.filter(is_member).map(|g| g.gid));
        }
        gids.retain(|one| *one != gid);
        gids.sort_unstable();
        gids.dedup();
        Ok(gids)
    }

    fn unknown(&self, what: &'static str, name: &str, file: &'static str) -> Error {
        Error::UnknownName {
            container: self.name(),
            image: self.image(),
            what,
            name: name.to_owned(),
            file,
        }
    }

    /// A file's text; nothing when there is no such file.
    fn read(&self, file: &'static str) -> Result<String, Error> {
        let bytes = (self.files)(&self.container.name, file).map_err(|source| Error::Read {
            container: self.name(),
            image: self.image(),
            file,
            source,
        })?;
        Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
    }
}
