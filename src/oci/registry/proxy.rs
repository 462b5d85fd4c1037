//! The usual proxy variables, read as curl and Go read them.

use std::net::IpAddr;

use super::Environment;
use super::endpoint::Secret;
use super::url::{Origin, Url};

/// Which requests go through a proxy. Those to the machine itself never do.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    http: Option<Secret>,
    https: Option<Secret>,
    direct: Vec<Direct>,
}

/// An entry of `NO_PROXY`.
#[derive(Clone, Debug)]
enum Direct {
    All,
    /// A name and everything below it, or below it only.
    Name {
        name: String,
        below_only: bool,
        port: Option<u16>,
    },
    Network(IpAddr, u8),
}

impl Proxies {
    /// From `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in lower case too.
    #[must_use]
    pub fn of_environment(environment: &Environment) -> Self {
        let set = |name: &str| {
            let lower = || environment.text(&name.to_ascii_lowercase());
            environment.text(name).or_else(lower)
        };
        let proxy = |name| {
            set(name)
                .or_else(|| set("ALL_PROXY"))
                .map(|url| Secret::new(url.to_owned()))
        };
        let direct = set("NO_PROXY").unwrap_or_default();
        Self {
            http: proxy("HTTP_PROXY"),
            https: proxy("HTTPS_PROXY"),
            direct: direct
                .split([',', ' '])
                .filter(|entry| !entry.is_empty())
                .map(Direct::parse)
                .collect(),
        }
    }

    /// The proxy's URL for a request to `url`, with whatever login it has.
    pub(super) fn of(&self, url: &Url) -> Option<&Secret> {
        let origin = url.origin();
        let host = origin.host.trim_matches(['[', ']']);
        let address: Option<IpAddr> = host.parse().ok();
        let is_local = host == "localhost" || address.is_some_and(|one| one.is_loopback());
        if is_local
            || self
                .direct
                .iter()
                .any(|one| one.covers(&origin, host, address))
        {
            return None;
        }
        if origin.encrypted {
            self.https.as_ref()
        } else {
            self.http.as_ref()
        }
    }
}

impl Direct {
    fn parse(entry: &str) -> Self {
        if entry == "*" {
            return Self::All;
        }
        if let Some((address, bits)) = entry.split_once('/')
            && let (Ok(address), Ok(bits)) = (address.parse(), bits.parse())
        {
            return Self::Network(address, bits);
        }
        if let Ok(address) = entry.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Self::Network(address, 128);
        }
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) => (name, port.parse().ok()),
            None => (entry, None),
        };
        let below = name.strip_prefix("*.").or_else(|| name.strip_prefix('.'));
        Self::Name {
            name: below.unwrap_or(name).to_ascii_lowercase(),
            below_only: below.is_some(),
            port,
        }
    }

    fn covers(&self, origin: &Origin, host: &str, address: Option<IpAddr>) -> bool {
        match self {
            Self::All => true,
            Self::Name {
                name,
                below_only,
                port,
            } => {
                let is_below = host
                    .strip_suffix(name.as_str())
                    .is_some_and(|rest| rest.ends_with('.'));
                let is_named = is_below || (!below_only && host == name);
                is_named && port.is_none_or(|port| port == origin.port)
            }
            Self::Network(network, bits) => {
                address.is_some_and(|address| in_network(address, *network, *bits))
            }
        }
    }
}

fn in_network(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let (address, network, width): (u128, u128, u32) = match (address, network) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits().into(), other.to_bits().into(), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits(), other.to_bits(), 128),
        _ => return false,
    };
    let ignored = width.saturating_sub(bits.into());
    address.checked_shr(ignored).unwrap_or(0) == network.checked_shr(ignored).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        let variables = variables
            .iter()
            .map(|(key, value)| (key.into(), value.into()));
        Proxies::of_environment(&Environment::new(variables, 0, "/"))
    }

    fn of(proxies: &Proxies, url: &str) -> Option<String> {
        let secret = proxies.of(&Url::parse(url).unwrap())?;
        Some(secret.reveal().to_owned())
    }

    #[test]
    fn each_scheme_has_its_variable_in_either_case() {
        let set = proxies(&[("HTTPS_PROXY", "http://s"), ("http_proxy", "http://p")]);
        assert_eq!(of(&set, "https://a/").unwrap(), "http://s");
        assert_eq!(of(&set, "http://a/").unwrap(), "http://p");
        let all = proxies(&[("ALL_PROXY", "http://all"), ("HTTPS_PROXY", "")]);
        assert_eq!(of(&all, "https://a/").unwrap(), "http://all");
        assert_eq!(of(&proxies(&[]), "https://a/"), None);
    }

    #[test]
    fn exceptions() {
        let list = "one.example, .two.example,*.three.example,four.example:8443,10.1.0.0/16,\
                    192.0.2.7,2001:db8::/32";
        let set = proxies(&[("ALL_PROXY", "http://p"), ("NO_PROXY", list)]);
        for (host, direct) in [
            ("one.example", true),
            ("ONE.example", true),
            ("a.one.example", true),
            ("anone.example", false),
            ("two.example", false),
            ("a.two.example", true),
            ("a.three.example", true),
            ("four.example:8443", true),
            ("four.example", false),
            ("10.1.9.9", true),
            ("10.2.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("[2001:db8::5]", true),
            ("[2001:db9::5]", false),
            ("localhost:5000", true),
            ("127.0.0.9", true),
            ("[::1]", true),
        ] {
            let found = of(&set, &format!("https://{host}/"));
            assert_eq!(found.is_none(), direct, "{host}");
        }
        let none = proxies(&[("ALL_PROXY", "http://p"), ("NO_PROXY", "*")]);
        assert_eq!(of(&none, "https://a/"), None);
    }

    #[test]
    fn its_login_is_not_shown() {
        let set = proxies(&[("HTTPS_PROXY", "http://me:secret@p")]);
        assert!(!format!("{set:?}").contains("secret"));
    }
}
