//! Who a container runs as: `USER`, `UID`, `USER:GROUP`, `UID:GID` of the image, looked up in the
//! image's own files (containerd `oci.WithUser`, `WithAdditionalGIDs`), or the manifest's numbers.

use i2kit_contract::User;

use super::{Error, ReadFile};
use crate::manifest::Container;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

pub(super) fn resolve(
    container: &Container,
    image: Option<&str>,
    read: ReadFile<'_>,
) -> Result<User, Error> {
    let files = Files::read(&container.name, read)?;
    let by_manifest = container.run_as_user.map(|uid| uid.to_string());
    let wanted = by_manifest
        .as_deref()
        .or(image.filter(|user| !user.is_empty()))
        .unwrap_or("0");
    let (user, group) = match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (wanted, None),
    };
    let account = files.account(user);
    let number = user.parse().ok();
    let missing = |file, what, name: &str| Error::NoSuchUser {
        container: container.name.clone(),
        file,
        what,
        name: name.to_owned(),
    };
    let uid = account.as_ref().map(|one| one.uid).or(number);
    let uid = uid.ok_or_else(|| missing(PASSWD, "user", user))?;
    let gid = match (container.run_as_group, group) {
        (Some(gid), _) => gid,
        (None, Some(group)) => files
            .gid(group)
            .ok_or_else(|| missing(GROUP, "group", group))?,
        (None, None) => account.as_ref().map_or(0, |one| one.gid),
    };
    let additional_gids = account.map_or_else(Vec::new, |one| files.groups_of(&one.name, gid));
    Ok(User {
        uid,
        gid,
        additional_gids,
    })
}

struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

/// The two files; one that is missing has no lines, lines that make no sense are skipped.
struct Files {
    passwd: String,
    group: String,
}

impl Files {
    fn read(container: &str, read: ReadFile<'_>) -> Result<Self, Error> {
        let file = |file| match read(container, file) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()),
            Err(source) => Err(Error::Read {
                container: container.to_owned(),
                file,
                source,
            }),
        };
        Ok(Self {
            passwd: file(PASSWD)?,
            group: file(GROUP)?,
        })
    }

    /// By name, else by number.
    fn account(&self, user: &str) -> Option<Account> {
        let accounts = || {
            self.passwd.lines().filter_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
                let uid = fields.nth(1)?.parse().ok()?;
                Some(Account {
                    name,
                    uid,
                    gid: fields.next()?.parse().ok()?,
                })
            })
        };
        let number: Option<u32> = user.parse().ok();
        accounts()
            .find(|account| account.name == user)
            .or_else(|| accounts().find(|account| Some(account.uid) == number))
    }

    fn groups(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty())?;
            let gid = fields.nth(1)?.parse().ok()?;
            Some((name, gid, fields.next().unwrap_or_default()))
        })
    }

    fn gid(&self, group: &str) -> Option<u32> {
        let named = self
            .groups()
            .find(|(name, ..)| *name == group)
            .map(|(_, gid, _)| gid);
        named.or_else(|| group.parse().ok())
    }

    /// Supplementary groups, ascending, without the primary one.
    fn groups_of(&self, user: &str, primary: u32) -> Vec<u32> {
        let member = |members: &str| members.split(',').any(|member| member.trim() == user);
        let mut gids: Vec<u32> = self
            .groups()
            .filter(|(_, gid, members)| member(members) && *gid != primary)
            .map(|(_, gid, _)| gid)
            .collect();
        gids.sort_unstable();
        gids.dedup();
        gids
    }
}
