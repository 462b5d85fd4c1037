//! The `network` section: what DHCP and router advertisements would say, or say wrongly.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

/// How the first Ethernet interface is set up. What stands here wins over what DHCP says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Network {
    /// Ask for an IPv4 lease (RFC 2131). Without it: only where no IPv4 address stands here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dhcp4: Option<bool>,
    /// How IPv6 addresses come; see [`Ipv6`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6>,
    /// Static addresses with the length of their prefix, of both families.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Cidr>,
    /// Static routes; where there are any of a family, a lease's routes are not used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Name servers, in order of preference; the C library asks three.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<IpAddr>,
    /// Domains that short names are looked up in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<HostName>,
    /// Largest packet, bytes: 576 to 9216; 1280 at least with IPv6 addresses (RFC 8200, section 5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Mtu>,
}

/// How IPv6 addresses come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ipv6 {
    /// By router advertisements (RFC 4862), and by DHCPv6 where these say so.
    #[default]
    Auto,
    /// Only those that the document names.
    Static,
    /// None at all, not even a link-local one.
    Off,
}

impl Network {
    /// Whether a lease is asked for.
    #[must_use]
    pub fn wants_lease(&self) -> bool {
        let is_static = self.addresses.iter().any(|cidr| cidr.address.is_ipv4());
        self.dhcp4.unwrap_or(!is_static)
    }

    /// What the parts don't say together.
    ///
    /// # Errors
    /// What contradicts what.
    pub(super) fn check(&self) -> Result<(), String> {
        let has_ipv6 = self.addresses.iter().any(|cidr| cidr.address.is_ipv6())
            || self.routes.iter().any(|route| route.is_ipv6());
        if has_ipv6 && self.ipv6 == Some(Ipv6::Off) {
            return Err("network: an IPv6 address or route, and ipv6: off".into());
        }
        if has_ipv6 && self.mtu.is_some_and(|Mtu(mtu)| mtu < 1280) {
            return Err("network: IPv6 needs an mtu of 1280 at least".into());
        }
        match self.routes.iter().find(|route| !route.is_consistent()) {
            Some(route) => Err(format!(
                "network: route to {} via an address of the other family",
                route.to
            )),
            None => Ok(()),
        }
    }
}

/// An address with the length of its network's prefix, as in `10.0.2.15/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    /// The address.
    pub address: IpAddr,
    /// 0 to 32 for IPv4, to 128 for IPv6.
    pub prefix: u8,
}

impl FromStr for Cidr {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            let address: IpAddr = address.parse().ok()?;
            let prefix: u8 = prefix.parse().ok()?;
            let longest = if address.is_ipv4() { 32 } else { 128 };
            (prefix <= longest).then_some(Self { address, prefix })
        };
        parse().ok_or("not an address with its prefix's length, such as 10.0.0.5/24")
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A static route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Where to: a network, or `default`.
    pub to: Destination,
    /// The next hop; on the link itself without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
}

impl Route {
    /// Of IPv6, by its next hop or its network.
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        match (self.to, self.via) {
            (Destination::Network(network), _) => network.address.is_ipv6(),
            (Destination::Default, Some(via)) => via.is_ipv6(),
            (Destination::Default, None) => false,
        }
    }

    fn is_consistent(&self) -> bool {
        self.via.is_none_or(|via| via.is_ipv6() == self.is_ipv6())
    }
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Destination {
    /// Everything that no other route leads to.
    Default,
    /// A network.
    Network(Cidr),
}

impl FromStr for Destination {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "default" => Ok(Self::Default),
            _ => match text.parse() {
                Ok(network) => Ok(Self::Network(network)),
                Err(_) => Err("neither default nor a network such as 10.0.0.0/8"),
            },
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Network(network) => network.fmt(f),
        }
    }
}

/// Bytes of the largest packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16")]
pub struct Mtu(pub u16);

impl TryFrom<u16> for Mtu {
    type Error = &'static str;

    fn try_from(mtu: u16) -> Result<Self, Self::Error> {
        if (576..=9216).contains(&mtu) {
            Ok(Self(mtu))
        } else {
            Err("not an MTU of 576 to 9216 bytes")
        }
    }
}

/// A DNS name (RFC 1123, section 2.1), at most 253 bytes. It is written to `resolv.conf`, so
/// nothing else may be in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

impl HostName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.len() <= 253 && name.split('.').all(is_label) {
            Ok(Self(name.to_owned()))
        } else {
            Err("not a DNS name")
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Letters, digits and hyphens inside, at most 63; underscores, which search domains do have.
pub(super) fn is_label(label: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=63).contains(&label.len())
        && label.bytes().all(is_inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// `TryFrom<String>` and its way back, by the text.
macro_rules! by_text {
    ($($kind:ty),*) => {$(
        impl TryFrom<String> for $kind {
            type Error = &'static str;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$kind> for String {
            fn from(value: $kind) -> Self {
                value.to_string()
            }
        }
    )*};
}

by_text!(Cidr, Destination, HostName);

#[cfg(test)]
mod tests {
    use super::*;

    fn network(json: &str) -> Network {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn addresses_have_a_prefix_of_their_family() {
        for good in ["10.0.2.15/24", "0.0.0.0/0", "fd00::5/128"] {
            assert_eq!(good.parse::<Cidr>().unwrap().to_string(), good);
        }
        for bad in [
            "10.0.2.15",
            "10.0.2.15/33",
            "fd00::/129",
            "/24",
            "10.0.2.15/",
            "a/8",
            "10.0.2.15/-1",
        ] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_fit_into_resolv_conf() {
        for good in ["example.org", "a", "_tcp.example.org", "example.org."] {
            assert!(good.parse::<HostName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "a b",
            "a\nnameserver 1.2.3.4",
            "-a",
            "a-",
            "a..b",
            "ä.de",
            "$(id)",
        ] {
            assert!(bad.parse::<HostName>().is_err(), "{bad}");
        }
        assert!("a.".repeat(128).parse::<HostName>().is_err());
    }

    #[test]
    fn a_static_address_means_no_lease_unless_asked_for() {
        assert!(network("{}").wants_lease());
        assert!(network(r#"{"addresses":["fd00::5/64"]}"#).wants_lease());
        assert!(!network(r#"{"addresses":["10.0.0.5/24"]}"#).wants_lease());
        assert!(network(r#"{"addresses":["10.0.0.5/24"],"dhcp4":true}"#).wants_lease());
    }

    #[test]
    fn contradictions_are_found() {
        for bad in [
            r#"{"addresses":["fd00::5/64"],"ipv6":"off"}"#,
            r#"{"addresses":["fd00::5/64"],"mtu":600}"#,
            r#"{"routes":[{"to":"10.0.0.0/8","via":"fd00::1"}]}"#,
        ] {
            assert!(network(bad).check().is_err(), "{bad}");
        }
        let good = r#"{"routes":[{"to":"default","via":"fd00::1"},{"to":"10.0.0.0/8"}]}"#;
        assert_eq!(network(good).check(), Ok(()));
    }
}
