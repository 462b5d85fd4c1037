//! Where a redirect leads. Pure.

use std::net::{IpAddr, SocketAddr};

use i2kit_contract::Scheme;

/// Where a GET goes, its host apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// With or without TLS.
    pub scheme: Scheme,
    /// TCP port.
    pub port: u16,
    /// Path and query.
    pub path: String,
}

impl Place {
    /// For people.
    pub fn url(&self, address: IpAddr) -> String {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let host = SocketAddr::new(address, self.port);
        format!("{scheme}://{host}{}", self.path)
    }
}

/// The place that a `Location` (RFC 9110, 10.2.2) names, if it is on the same host.
pub fn follow(from: &Place, host: IpAddr, location: &str) -> Option<Place> {
    let location = location.split('#').next().unwrap_or_default();
    if location.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return None;
    }
    let lower = location.to_ascii_lowercase();
    let (scheme, rest) = if lower.starts_with("http://") {
        (Scheme::Http, location.get(5..)?)
    } else if lower.starts_with("https://") {
        (Scheme::Https, location.get(6..)?)
    } else {
        (from.scheme, location)
    };
    let Some(authority) = rest.strip_prefix("//") else {
        return Some(Place {
            path: resolve(&from.path, rest),
            ..from.clone()
        });
    };
    let end = authority.find(['/', '?']).unwrap_or(authority.len());
    let (authority, path) = authority.split_at(end);
    let port = port(authority, host, scheme)?;
    Some(Place {
        scheme,
        port,
        path: resolve("/", path),
    })
}

/// The port of an authority on this host.
fn port(authority: &str, host: IpAddr, scheme: Scheme) -> Option<u16> {
    let name = match host {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let default = match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    match authority.strip_prefix(&name)? {
        "" | ":" => Some(default),
        rest => rest.strip_prefix(':')?.parse().ok(),
    }
}

fn resolve(base: &str, reference: &str) -> String {
    if reference.starts_with('/') {
        return reference.to_owned();
    }
    let path = base.split('?').next().unwrap_or_default();
    if reference.is_empty() || reference.starts_with('?') {
        return format!("{path}{reference}");
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{folder}/{reference}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn from() -> Place {
        Place {
            scheme: Scheme::Http,
            port: 8080,
            path: "/a/b?c".into(),
        }
    }

    #[test]
    fn locations_are_followed_on_the_same_host_only() {
        let host: IpAddr = [10, 0, 0, 1].into();
        for (location, expected) in [
            ("/x?y#z", Some("http://10.0.0.1:8080/x?y")),
            ("x", Some("http://10.0.0.1:8080/a/x")),
            ("?q", Some("http://10.0.0.1:8080/a/b?q")),
            ("http://10.0.0.1/", Some("http://10.0.0.1:80/")),
            ("HTTPS://10.0.0.1:8443", Some("https://10.0.0.1:8443/")),
            ("//10.0.0.1:81?x", Some("http://10.0.0.1:81/?x")),
            ("http://10.0.0.11/", None),
            ("http://10.0.0.1.example/", None),
            ("https://example.org/", None),
            ("/a b", None),
            ("/a\r\nX: y", None),
        ] {
            let place = follow(&from(), host, location);
            assert_eq!(
                place.map(|place| place.url(host)).as_deref(),
                expected,
                "{location}"
            );
        }
        let six: IpAddr = "fd00::1".parse().unwrap();
        let place = follow(&from(), six, "http://[fd00::1]:81/").unwrap();
        assert_eq!(place.url(six), "http://[fd00::1]:81/");
    }

    proptest! {
        #[test]
        fn what_is_followed_can_be_sent(location: String) {
            if let Some(place) = follow(&from(), [127, 0, 0, 1].into(), &location) {
                prop_assert!(place.path.starts_with('/'));
                prop_assert!(place.path.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
