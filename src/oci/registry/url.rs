//! The few things that the client does with URLs: join, compare, show without secrets.

use std::fmt;

use ureq::http::Uri;

/// An absolute `http` or `https` URL without a user's name in it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Url(Uri);

/// Scheme, host and port: whom credentials are for (RFC 6454).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub encrypted: bool,
    pub host: String,
    pub port: u16,
}

impl Url {
    /// # Errors
    /// What is wrong with it; never the text, which may hold a secret.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.split('#').next().unwrap_or_default();
        let uri: Uri = text.parse().map_err(|_| "not a URL")?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err("neither http nor https");
        }
        match uri.authority() {
            Some(authority) if authority.as_str().contains('@') => Err("a user's name in the URL"),
            Some(authority) if !authority.host().is_empty() => Ok(Self(uri)),
            _ => Err("no host in the URL"),
        }
    }

    /// The URL that `reference` names, seen from this one (RFC 3986 §5.2; dots stay).
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn join(&self, reference: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = (self.scheme(), reference);
        let site = || format!("{scheme}://{}", self.authority());
        let path = self.0.path();
        let absolute = if has_scheme(rest) {
            rest.to_owned()
        } else if rest.starts_with("//") {
            format!("{scheme}:{rest}")
        } else if rest.starts_with('/') {
            format!("{}{rest}", site())
        } else if rest.starts_with('?') {
            format!("{}{path}{rest}", site())
        } else {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{}{folder}/{rest}", site())
        };
        Self::parse(&absolute)
    }

    /// The URL with `name=value` added to its query.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn with_query(&self, pairs: &[(&str, &str)]) -> Result<Self, &'static str> {
        let mut text = self.0.to_string();
        for (name, value) in pairs {
            text.push(if text.contains('?') { '&' } else { '?' });
            text.push_str(&format!("{name}={}", encode(value)));
        }
        Self::parse(&text)
    }

    pub fn origin(&self) -> Origin {
        let encrypted = self.is_encrypted();
        Origin {
            encrypted,
            host: self.0.host().unwrap_or_default().to_ascii_lowercase(),
            port: self
                .0
                .port_u16()
                .unwrap_or(if encrypted { 443 } else { 80 }),
        }
    }

    pub fn is_encrypted(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// For the HTTP client.
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    fn scheme(&self) -> &str {
        self.0.scheme_str().unwrap_or_default()
    }

    fn authority(&self) -> &str {
        self.0
            .authority()
            .map_or("", |authority| authority.as_str())
    }
}

/// Percent-encodes a value of a query or a form.
pub(super) fn encode(value: &str) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    // These are safe in both, and the logs of servers read better with them.
    const SET: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~')
        .remove(b':')
        .remove(b'/');
    utf8_percent_encode(value, SET).to_string()
}

fn has_scheme(reference: &str) -> bool {
    let first = reference.split(['/', '?']).next().unwrap_or_default();
    first.contains(':')
}

/// Without the query: redirects to blob stores carry signatures there.
impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let query = if self.0.query().is_some() { "?…" } else { "" };
        let (scheme, authority, path) = (self.scheme(), self.authority(), self.0.path());
        write!(formatter, "{scheme}://{authority}{path}{query}")
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins() {
        let base = Url::parse("https://r.example:5000/v2/a/blobs/uploads/?x=1").unwrap();
        let joined = |reference: &str| base.join(reference).unwrap().0.to_string();
        for (reference, expected) in [
            ("http://other/b?c", "http://other/b?c"),
            ("HTTPS://other/b", "https://other/b"),
            ("//other/b", "https://other/b"),
            ("/b?c=1#d", "https://r.example:5000/b?c=1"),
            ("?y=2", "https://r.example:5000/v2/a/blobs/uploads/?y=2"),
            ("id", "https://r.example:5000/v2/a/blobs/uploads/id"),
        ] {
            assert_eq!(joined(reference), expected);
        }
        for bad in [
            "ftp://x/y",
            "file:///etc/passwd",
            "https://user:secret@host/",
            "https:///x",
            "/a b",
            "javascript:1",
        ] {
            let error = base.join(bad).unwrap_err();
            assert!(!error.contains("secret"), "{bad}");
        }
    }

    #[test]
    fn shows_no_query() {
        let url = Url::parse("https://store/blob?X-Amz-Signature=secret").unwrap();
        assert_eq!(url.to_string(), "https://store/blob?…");
        assert_eq!(format!("{url:?}"), "https://store/blob?…");
    }

    #[test]
    fn origins() {
        let origin = |text: &str| Url::parse(text).unwrap().origin();
        assert_eq!(origin("https://A.b/x"), origin("https://a.B:443/y?z"));
        assert_ne!(origin("https://a.b/"), origin("http://a.b/"));
        assert_ne!(origin("http://a.b/"), origin("http://a.b:81/"));
    }

    #[test]
    fn queries_are_encoded() {
        let url = Url::parse("http://a/token").unwrap();
        let url = url.with_query(&[("scope", "repository:a/b:pull,push"), ("account", "a&b c")]);
        assert_eq!(
            url.unwrap().0.to_string(),
            "http://a/token?scope=repository:a/b:pull%2Cpush&account=a%26b%20c"
        );
    }
}
