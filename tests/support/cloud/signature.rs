//! Checks Signature Version 4 ("AWS Signature Version 4 for API requests").

use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::answer::{Outcome, Refusal};
use super::http::Request;
use super::time;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// How far clocks may be apart.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// What the signature says of itself.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The access key's id.
    pub key: String,
    pub date: String,
    pub region: String,
    pub service: String,
    headers: Vec<String>,
    signature: String,
}

impl Signed {
    /// Reads the header `Authorization`.
    pub fn of(request: &Request) -> Outcome<Self> {
        let missing = "Request is missing Authentication Token";
        let missing = || Refusal::new(403, "MissingAuthenticationToken", missing);
        let header = request.header("authorization").ok_or_else(missing)?;
        Self::parse(header).ok_or_else(|| {
            let message = format!("Authorization header is not complete: {}", header.len());
            Refusal::new(403, "IncompleteSignature", message)
        })
    }

    fn parse(header: &str) -> Option<Self> {
        let rest = header.strip_prefix(ALGORITHM)?.trim_start();
        let mut parts = rest.split(',').map(str::trim);
        let credential = parts.next()?.strip_prefix("Credential=")?;
        let headers = parts.next()?.strip_prefix("SignedHeaders=")?;
        let signature = parts.next()?.strip_prefix("Signature=")?;
        let scope: Vec<_> = credential.split('/').map(str::to_owned).collect();
        let [key, date, region, service, end] = <[String; 5]>::try_from(scope).ok()?;
        (end == "aws4_request" && parts.next().is_none()).then(|| Self {
            key,
            date,
            region,
            service,
            headers: headers.split(';').map(str::to_owned).collect(),
            signature: signature.to_owned(),
        })
    }

    /// Checks the signature with the key's secret at the time `now`. `body` is the SHA-256 of what
    /// came; `may_be_unsigned` where the service model says `v4-unsigned-body`.
    pub fn check(
        &self,
        request: &Request,
        secret: &str,
        body: &[u8; 32],
        may_be_unsigned: bool,
        now: SystemTime,
    ) -> Outcome<()> {
        let date = request.header("x-amz-date").unwrap_or_default();
        self.check_time(date, now)?;
        self.check_headers(request)?;
        let hash = hex::encode(body);
        let payloads = match request.header("x-amz-content-sha256") {
            Some(UNSIGNED) if may_be_unsigned => vec![UNSIGNED.to_owned()],
            Some(given) if given != hash => return Err(self.refused("the payload is another")),
            None if may_be_unsigned => vec![UNSIGNED.to_owned(), hash],
            _ => vec![hash],
        };
        let key = self.signing_key(secret);
        let is_right = |payload: &String| {
            let text = self.text_to_sign(date, &self.canonical(request, payload));
            hex::encode(mac(&key, &text)) == self.signature
        };
        if payloads.iter().any(is_right) {
            return Ok(());
        }
        let canonical = self.canonical(request, &payloads[0]);
        Err(self.refused(&format!(
            "The request signature we calculated does not match the signature you provided. The \
             canonical string should have been: {canonical}"
        )))
    }

    fn check_time(&self, date: &str, now: SystemTime) -> Outcome<()> {
        let Some(signed) = time::parse(date) else {
            return Err(self.refused("no X-Amz-Date"));
        };
        if !date.starts_with(&self.date) {
            return Err(self.refused("Date in Credential scope does not match X-Amz-Date"));
        }
        let (now_text, signed_text) = (time::iso(now), time::iso(signed));
        if signed + TOLERANCE < now {
            let message =
                format!("Signature expired: {signed_text} is now earlier than {now_text}");
            return Err(self.too_late(message));
        }
        if now + TOLERANCE < signed {
            let message =
                format!("Signature not yet current: {signed_text} is still later than {now_text}");
            return Err(self.too_late(message));
        }
        Ok(())
    }

    fn too_late(&self, message: String) -> Refusal {
        match self.service.as_str() {
            "ec2" => Refusal::new(400, "RequestExpired", "Request has expired."),
            "ebs" | "ssm" => Refusal::new(403, "InvalidSignatureException", message),
            _ => Refusal::new(403, "SignatureDoesNotMatch", message),
        }
    }

    fn refused(&self, message: &str) -> Refusal {
        match self.service.as_str() {
            "ec2" => Refusal::new(403, "SignatureDoesNotMatch", message),
            "ebs" | "ssm" => Refusal::new(403, "InvalidSignatureException", message),
            _ => Refusal::new(403, "SignatureDoesNotMatch", message),
        }
    }

    /// What must be signed is.
    fn check_headers(&self, request: &Request) -> Outcome<()> {
        let must = |name: &str| {
            name == "host" || (name.starts_with("x-amz-") && name != "x-amz-user-agent")
        };
        let signed = |name: &String| self.headers.contains(name);
        if let Some(name) = request
            .headers
            .keys()
            .find(|name| must(name) && !signed(name))
        {
            return Err(self.refused(&format!("'{name}' must be a 'SignedHeader'")));
        }
        if !self.headers.is_sorted() {
            return Err(self.refused("SignedHeaders must be sorted"));
        }
        Ok(())
    }

    fn canonical(&self, request: &Request, payload: &str) -> String {
        let lines: String = self
            .headers
            .iter()
            .map(|name| {
                let value = request.header(name).unwrap_or_default();
                let words: Vec<_> = value.split_whitespace().collect();
                format!("{name}:{}\n", words.join(" "))
            })
            .collect();
        // Everything but S3 encodes what was encoded for the way once more.
        let path = encoded(&request.path, b"/");
        let mut query: Vec<_> = request
            .pairs()
            .iter()
            .map(|(name, value)| (encoded(name, b""), encoded(value, b"")))
            .collect();
        query.sort();
        let query: Vec<_> = query
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let (method, names) = (&request.method, self.headers.join(";"));
        let query = query.join("&");
        format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{payload}")
    }

    fn text_to_sign(&self, date: &str, canonical: &str) -> String {
        let scope = [&self.date, &self.region, &self.service].map(String::as_str);
        let digest = hex::encode(Sha256::digest(canonical));
        format!(
            "{ALGORITHM}\n{date}\n{}/aws4_request\n{digest}",
            scope.join("/")
        )
    }

    fn signing_key(&self, secret: &str) -> Vec<u8> {
        let mut key = format!("AWS4{secret}").into_bytes();
        let scope = [&self.date, &self.region, &self.service].map(String::as_str);
        for part in scope.into_iter().chain(["aws4_request"]) {
            key = mac(&key, part);
        }
        key
    }
}

pub fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn encoded(text: &str, kept: &[u8]) -> String {
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
