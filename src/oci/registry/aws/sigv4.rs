//! Signature Version 4 ("AWS Signature Version 4 for API requests"), for requests without a query.

use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::{HttpRequest, Keys};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What a signature is good for.
#[derive(Clone, Copy, Debug)]
pub(in crate::oci::registry) struct Scope<'a> {
    pub region: &'a str,
    /// The service's name for signing: `ecr`.
    pub service: &'a str,
    pub now: SystemTime,
}

/// Adds the headers that sign `request`, whose other headers must be complete.
pub(in crate::oci::registry) fn sign(request: &mut HttpRequest, keys: &Keys, scope: Scope<'_>) {
    let time = amz_time(scope.now);
    let date = time.get(..8).unwrap_or_default();
    let place = format!("{date}/{}/{}/aws4_request", scope.region, scope.service);
    request.headers.push(("x-amz-date", time.clone()));
    if let Some(token) = &keys.session_token {
        let token = token.reveal().to_owned();
        request.headers.push(("x-amz-security-token", token));
    }
    let (canonical, signed) = canonical(request);
    let digest = hex::encode(Sha256::digest(canonical));
    let text = format!("{ALGORITHM}\n{time}\n{place}\n{digest}");
    let mut key = format!("AWS4{}", keys.secret.reveal()).into_bytes();
    for part in [date, scope.region, scope.service, "aws4_request"] {
        key = mac(&key, part);
    }
    let signature = hex::encode(mac(&key, &text));
    let authorization = format!(
        "{ALGORITHM} Credential={}/{place}, SignedHeaders={signed}, Signature={signature}",
        keys.id
    );
    request.headers.push(("authorization", authorization));
}

/// The canonical request, and the names of the headers in it.
fn canonical(request: &HttpRequest) -> (String, String) {
    let (_, rest) = request.origin.split_once("://").unwrap_or_default();
    let (host, prefix) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let own = request.headers.iter();
    let own = own.map(|(name, value)| (*name, value.trim()));
    let mut headers: Vec<_> = own.chain([("host", host)]).collect();
    headers.sort_unstable();
    let lines = headers.iter();
    let lines: String = lines
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
    let signed = names.join(";");
    let path = encode(&format!("{prefix}{}", request.path), b"/");
    let payload = hex::encode(Sha256::digest(&request.body));
    let method = request.method;
    let canonical = format!("{method}\n{path}\n\n{lines}\n{signed}\n{payload}");
    (canonical, signed)
}

/// Percent-encoded, but for unreserved characters and those of `kept`.
pub(super) fn encode(text: &str, kept: &[u8]) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Vec::new();
    };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// `20150830T123600Z`.
fn amz_time(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let (days, second) = (seconds / 86400, seconds % 86400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Year, month and day of so many days since 1970, in the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // Counted from 1 March 0000: leap days are then the last of their years, and 400 years are
    // always 146097 days.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // March has 31 days, April 30, …: 153 in five months.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

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

    #[test]
    fn times_are_those_of_date() {
        for seconds in [
            0,
            951_782_399,
            951_782_400,
            951_868_799,
            951_868_800,
            1_440_938_160,
            1_709_164_800,
            4_107_542_399,
            4_107_542_400,
            7_258_118_399,
        ] {
            let arguments = ["-u", "-d", &format!("@{seconds}"), "+%Y%m%dT%H%M%SZ"];
            let output = Command::new("date").args(arguments).output().unwrap();
            let expected = String::from_utf8(output.stdout).unwrap();
            let found = amz_time(UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(found, expected.trim(), "{seconds}");
        }
    }
}
