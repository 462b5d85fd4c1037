//! Signs the requests of this floor ([`i2kit_sigv4`]).

pub(in crate::oci::registry) use i2kit_sigv4::Scope;
pub(super) use i2kit_sigv4::encode;

use super::{HttpRequest, Keys};

/// Adds the headers that sign `request`, whose other headers must be complete.
pub(in crate::oci::registry) fn sign(request: &mut HttpRequest, keys: &Keys, scope: Scope<'_>) {
    let (_, rest) = request.origin.split_once("://").unwrap_or_default();
    let (host, prefix) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let own = request.headers.iter();
    let own: Vec<_> = own.map(|(name, value)| (*name, value.as_str())).collect();
    let parts = i2kit_sigv4::Request {
        method: request.method,
        host,
        path: &format!("{prefix}{}", request.path),
        headers: &own,
        body: request.body.as_bytes(),
    };
    let token = keys.session_token.as_ref();
    let keys = i2kit_sigv4::Keys {
        id: &keys.id,
        secret: keys.secret.reveal(),
        session_token: token.map(|token| token.reveal()),
    };
    let added = i2kit_sigv4::sign(&parts, &keys, scope);
    request.headers.extend(added);
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::Reach;
    use super::*;
    use crate::oci::registry::Secret;

    const TOKEN: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";

    fn signature(
        method: &'static str,
        path: &str,
        form: Option<&str>,
        token: Option<&str>,
    ) -> String {
        let header = (
            "content-type",
            "application/x-www-form-urlencoded".to_owned(),
        );
        let mut request = HttpRequest {
            method,
            origin: "https://example.amazonaws.com".to_owned(),
            path: path.to_owned(),
            headers: form.iter().map(|_| header.clone()).collect(),
            body: form.unwrap_or_default().to_owned(),
            reach: Reach::Service,
        };
        let keys = Keys {
            id: "AKIDEXAMPLE".to_owned(),
            secret: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned()),
            session_token: token.map(|token| Secret::new(token.to_owned())),
        };
        let scope = Scope {
            region: "us-east-1",
            service: "service",
            now: UNIX_EPOCH + Duration::from_secs(1_440_938_160),
        };
        sign(&mut request, &keys, scope);
        request.headers.pop().unwrap().1
    }

    /// Amazon's published test suite (`aws4_testsuite`), as far as requests have no query.
    #[test]
    fn the_published_requests_get_the_published_signatures() {
        let form = Some("Param1=value1");
        for (method, path, form, token, signed, expected) in [
            (
                "POST",
                "/",
                None,
                None,
                "host;x-amz-date",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "POST",
                "/",
                form,
                None,
                "content-type;host;x-amz-date",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            (
                "POST",
                "/",
                None,
                Some(TOKEN),
                "host;x-amz-date;x-amz-security-token",
                "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
            ),
            (
                "GET",
                "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
                None,
                None,
                "host;x-amz-date",
                "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
            ),
            (
                "GET",
                "/ሴ",
                None,
                None,
                "host;x-amz-date",
                "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
            ),
            (
                "GET",
                "/example space/",
                None,
                None,
                "host;x-amz-date",
                "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
            ),
        ] {
            let expected = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders={signed}, Signature={expected}"
            );
            assert_eq!(
                signature(method, path, form, token),
                expected,
                "{method} {path}"
            );
        }
    }
}
