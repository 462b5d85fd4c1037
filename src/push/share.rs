//! With whom an AMI is shared.

use std::collections::BTreeSet;

/// Digits of an account's number.
const ACCOUNT: usize = 12;

/// One that may launch an AMI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// An account, 12 digits.
    Account(String),
    /// The ARN of an organization.
    Organization(String),
    /// The ARN of an organizational unit.
    Unit(String),
    /// Everybody.
    Public,
}

impl Recipient {
    /// What a flag says, if it says one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_account = text.len() == ACCOUNT && text.bytes().all(|b| b.is_ascii_digit());
        let resource = text
            .strip_prefix("arn:")
            .and_then(|arn| arn.split_once(":organizations::"))
            .and_then(|(_, rest)| rest.split_once(':'))
            .map(|(_, resource)| resource);
        let resource = resource.unwrap_or_default();
        if text == "public" {
            Some(Self::Public)
        } else if is_account {
            Some(Self::Account(text.to_owned()))
        } else if resource.starts_with("organization/") {
            Some(Self::Organization(text.to_owned()))
        } else if resource.starts_with("ou/") {
            Some(Self::Unit(text.to_owned()))
        } else {
            None
        }
    }
}

/// All that may launch an AMI besides its owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Accounts.
    pub accounts: BTreeSet<String>,
    /// ARNs of organizations.
    pub organizations: BTreeSet<String>,
    /// ARNs of organizational units.
    pub units: BTreeSet<String>,
    /// Everybody.
    pub public: bool,
}

impl Share {
    /// With these.
    #[must_use]
    pub fn with(recipients: &[Recipient]) -> Self {
        let mut share = Self::default();
        for recipient in recipients.iter().cloned() {
            match recipient {
                Recipient::Account(number) => share.accounts.extend([number]),
                Recipient::Organization(arn) => share.organizations.extend([arn]),
                Recipient::Unit(arn) => share.units.extend([arn]),
                Recipient::Public => share.public = true,
            }
        }
        share
    }

    /// True where nobody but the owner may launch it.
    #[must_use]
    pub fn is_private(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_are_told_apart() {
        let organization = "arn:aws:organizations::123456789012:organization/o-abc";
        let unit = "arn:aws-cn:organizations::123456789012:ou/o-abc/ou-1";
        let parsed = |text: &str| Recipient::parse(text).unwrap();
        assert_eq!(parsed("public"), Recipient::Public);
        assert_eq!(
            parsed("123456789012"),
            Recipient::Account("123456789012".to_owned())
        );
        assert_eq!(
            parsed(organization),
            Recipient::Organization(organization.to_owned())
        );
        assert_eq!(parsed(unit), Recipient::Unit(unit.to_owned()));
        for bad in [
            "",
            "12345678901",
            "all",
            "arn:aws:iam::123456789012:user/x",
            "Public",
        ] {
            assert_eq!(Recipient::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn nothing_is_shared_by_default() {
        assert!(Share::with(&[]).is_private());
        let account = Recipient::Account("123456789012".to_owned());
        let share = Share::with(&[Recipient::Public, account]);
        assert!(share.public && share.accounts.len() == 1 && !share.is_private());
    }
}
