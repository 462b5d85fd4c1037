//! Signature Version 4 ("AWS Signature Version 4 for API requests"), for requests without a query:
//! for the builder's registries and for the guest's secrets. Pure: the caller has the clock.

use std::time::{SystemTime, UNIX_EPOCH};

// The guest has ring for TLS; another SHA-256 would only make it larger.
use ring::{
    digest::{SHA256, digest},
    hmac,
};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A request to sign.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `GET`, `POST`, …
    pub method: &'a str,
    /// Without a port, unless it is not the scheme's own.
    pub host: &'a str,
    /// Not encoded yet.
    pub path: &'a str,
    /// Names in small letters, without those that signing adds.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body, empty for none.
    pub body: &'a [u8],
}

/// An access key.
#[derive(Clone, Copy)]
pub struct Keys<'a> {
    /// `AKIA…` or `ASIA…`.
    pub id: &'a str,
    /// The key itself.
    pub secret: &'a str,
    /// Temporary keys have one.
    pub session_token: Option<&'a str>,
}

/// What a signature is good for.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// `eu-central-1`.
    pub region: &'a str,
    /// The service's name for signing: `ecr`.
    pub service: &'a str,
    /// Amazon accepts five minutes more or less.
    pub now: SystemTime,
}

/// The headers that sign a request, to be added to it.
#[must_use]
pub fn sign(
    request: &Request<'_>,
    keys: &Keys<'_>,
    scope: Scope<'_>,
) -> Vec<(&'static str, String)> {
    let time = amz_time(scope.now);
    let date = time.get(..8).unwrap_or_default();
    let place = format!("{date}/{}/{}/aws4_request", scope.region, scope.service);
    let mut added = vec![("x-amz-date", time.clone())];
    if let Some(token) = keys.session_token {
        added.push(("x-amz-security-token", token.to_owned()));
    }
    let (canonical, signed) = canonical(request, &added);
    let digest = sha256(canonical.as_bytes());
    let text = format!("{ALGORITHM}\n{time}\n{place}\n{digest}");
    let mut key = format!("AWS4{}", keys.secret).into_bytes();
    for part in [date, scope.region, scope.service, "aws4_request"] {
        key = mac(&key, part);
    }
    let signature = hex::encode(mac(&key, &text));
    let authorization = format!(
        "{ALGORITHM} Credential={}/{place}, SignedHeaders={signed}, Signature={signature}",
        keys.id
    );
    added.push(("authorization", authorization));
    added
}

/// The canonical request, and the names of the headers in it.
fn canonical(request: &Request<'_>, added: &[(&'static str, String)]) -> (String, String) {
    let own = request.headers.iter().copied();
    let added = added.iter().map(|(name, value)| (*name, value.as_str()));
    let mut headers: Vec<(&str, &str)> = own
        .chain(added)
        .map(|(name, value)| (name, value.trim()))
        .chain([("host", request.host)])
        .collect();
    headers.sort_unstable();
    let lines = headers.iter();
    let lines: String = lines
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
    let signed = names.join(";");
    let path = encode(request.path, b"/");
    let payload = sha256(request.body);
    let method = request.method;
    let canonical = format!("{method}\n{path}\n\n{lines}\n{signed}\n{payload}");
    (canonical, signed)
}

/// Percent-encoded, but for unreserved characters and those of `kept`.
#[must_use]
pub fn encode(text: &str, kept: &[u8]) -> String {
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

/// In hexadecimal.
fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
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

    use super::*;

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
